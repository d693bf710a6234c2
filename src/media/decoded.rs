//! A frame in the decoder's own buffers, seen through [`Pixels`].

use std::sync::Arc;

use ffmpeg::{ffi, frame};
use ffmpeg_next as ffmpeg;

use super::error::MediaError;
use super::pictures;
use super::pixels::{self, Layout};
use super::properties::PictureProperties;
use super::repack;
use crate::frame::{
    ChromaSite, Color, Frame, Matrix, Pixels, PlaneMut, PlaneRef, Sample, Transfer, Turn, YuvMut, YuvRef,
};

/// A decoded frame. Its samples are shared with the decoder, which may still look at them, until they are written to.
///
/// [`Pixels`] needs a frame that has been made [`Decoded::viewable`]; others only pass from decoder to encoder.
pub struct Decoded {
    frame: frame::Video,
    pts: i64,
    properties: Arc<PictureProperties>,
    turn: Turn,
    /// Chroma for those who look at a grey picture.
    no_colour: Option<NoColour>,
    /// What those see who look at RGB.
    shown: Option<Frame<u16>>,
}

/// Cb and Cr of a picture that has none, as bytes or as words. What is written there is never encoded.
struct NoColour {
    bytes: [Vec<u8>; 2],
    words: [Vec<u16>; 2],
}

impl Decoded {
    /// `None` if the frame has no time.
    pub(super) fn new(frame: frame::Video, properties: Arc<PictureProperties>) -> Option<Self> {
        let pts = frame.pts().or_else(|| frame.timestamp())?;
        Some(Self { frame, pts, properties, turn: Turn::None, no_colour: None, shown: None })
    }

    /// The same picture, not copied, at another time.
    pub(super) fn repeated_at(&self, pts: i64) -> Self {
        let mut frame = frame::Video::empty();
        // SAFETY: both frames are ours, and the new one holds nothing yet.
        let code = unsafe { ffi::av_frame_ref(frame.as_mut_ptr(), self.frame.as_ptr()) };
        assert!(code >= 0, "there is memory for a reference to the frame");
        frame.set_pts(Some(pts));
        Self { frame, pts, properties: Arc::clone(&self.properties), turn: self.turn, no_colour: None, shown: None }
    }

    /// `frame` in place of this one's picture.
    pub(super) fn with_picture(&self, frame: frame::Video, properties: Arc<PictureProperties>) -> Self {
        Self { frame, pts: self.pts, properties, turn: self.turn, no_colour: None, shown: None }
    }

    /// When the frame is shown: ticks of the clip's time base after the cut's `base_pts`.
    pub fn pts(&self) -> i64 {
        self.pts
    }

    /// The frame as [`Pixels`] can show it: planar YUV or grey, rows from top to bottom. Most frames are that already;
    /// what the others become is said at [`super::pixel_path`].
    ///
    /// # Errors
    /// [`MediaError::OpaquePixels`].
    pub fn viewable(mut self) -> Result<Self, MediaError> {
        let format = self.frame.format();
        if pixels::rgb_depth(format).is_some() {
            self.shown = Some(repack::shown(&self.frame, self.color()).shown_turned(self.turn));
            return Ok(self);
        }
        let opaque = || MediaError::OpaquePixels { pixel_format: pixels::name(format).to_owned() };
        let planar = pixels::planar(format).ok_or_else(opaque)?;
        if planar != format || !repack::is_plain(&self.frame) {
            self.frame = repack::repack(&self.frame, planar, self.color());
        }
        if self.layout().is_grey {
            self.no_colour = Some(self.no_colour());
        }
        Ok(self)
    }

    /// The same frame of a clip that is turned by `turn` when it is shown. (Neither slices nor frames say so.)
    pub fn shown_turned(self, turn: Turn) -> Self {
        let shown = self.shown.map(|shown| shown.shown_turned(turn));
        Self { turn, shown, ..self }
    }

    /// The frame as `encoder` takes it: mostly as it is, else as said at [`super::pixel_path`].
    ///
    /// # Errors
    /// [`MediaError::UnsupportedPixels`], [`MediaError::EncoderMissing`].
    pub fn encodable(mut self, encoder: &str) -> Result<Self, MediaError> {
        self.settle();
        let accepted = pixels::encodable(self.frame.format(), encoder)?;
        if accepted != self.frame.format() {
            self.frame = repack::repack(&self.frame, accepted, self.color());
        }
        Ok(self)
    }

    /// A picture's frame on its way into video: 4:2:0, as players want it. Other frames, and those that become a picture again, stay as they
    /// are. `encoder` by FFmpeg's name.
    pub fn pictured(mut self, encoder: &str) -> Self {
        if encoder == pictures::lossless::ENCODER || !pictures::is_marked(&self.properties) {
            return self;
        }
        self.settle();
        if let Some((mut frame, properties)) = pictures::to_video(&self.frame) {
            frame.set_pts(Some(self.pts));
            (self.frame, self.properties) = (frame, Arc::new(properties));
        }
        self
    }

    /// Writes what was changed through [`Pixels`] into the frame itself, where it is RGB; others are changed at once.
    /// Pixels that were not changed, and transparency, keep their bits.
    pub(super) fn settle(&mut self) {
        if let Some(shown) = self.shown.take() {
            self.make_writable();
            let color = self.color();
            repack::settle(&mut self.frame, &shown, color);
        }
    }

    fn make_writable(&mut self) {
        // SAFETY: the frame is ours. Afterwards its buffers are, too.
        let code = unsafe { ffi::av_frame_make_writable(self.frame.as_mut_ptr()) };
        assert!(code >= 0, "there is memory for a copy of the frame");
    }

    /// Width to height of a sample; 1 also where nothing is said.
    pub fn sample_aspect(&self) -> f64 {
        let aspect = self.properties().aspect();
        if aspect.num > 0 { f64::from(aspect.num) / f64::from(aspect.den) } else { 1.0 }
    }

    /// FFmpeg's frame, whose buffers are nobody else's from now on.
    pub(super) fn frame_mut(&mut self) -> &mut frame::Video {
        self.make_writable();
        &mut self.frame
    }

    /// FFmpeg's frame.
    pub(super) fn frame(&self) -> &frame::Video {
        &self.frame
    }

    /// What the decoder marked this frame with, and where it said nothing, what the container said.
    pub(super) fn properties(&self) -> PictureProperties {
        // SAFETY: the frame is ours.
        unsafe { PictureProperties::of_frame(self.frame.as_ptr()) }.or(*self.properties)
    }

    fn layout(&self) -> Layout {
        let format = self.frame.format();
        pixels::layout(format).unwrap_or_else(|| panic!("frames of {} are made viewable first", pixels::name(format)))
    }

    fn color(&self) -> Color {
        let properties = self.properties();
        let matrix = match properties.matrix {
            1 | 7 => Matrix::Bt709, // SMPTE 240M is close to it
            4..=6 => Matrix::Bt601, // and FCC to this
            9 | 10 => Matrix::Bt2020,
            _ if self.frame.height() >= 720 => Matrix::Bt709,
            _ => Matrix::Bt601,
        };
        let transfer = match properties.transfer {
            16 => Transfer::Pq,
            18 => Transfer::Hlg,
            _ => Transfer::Sdr,
        };
        let format = self.frame.format();
        let full_range = pixels::name(format).starts_with("yuvj") || properties.range == 2;
        Color { matrix, transfer, full_range, depth: pixels::layout(format).map_or(8, |layout| layout.depth) }
    }

    fn site(&self) -> ChromaSite {
        match self.properties().chroma_location {
            2 | 4 | 6 => ChromaSite::Center, // centre, top, bottom
            _ => ChromaSite::Left,
        }
    }

    fn no_colour(&self) -> NoColour {
        let Place { width, height, .. } = self.place::<u8>(1);
        let mut planes = NoColour { bytes: Default::default(), words: Default::default() };
        match self.layout().bytes() {
            1 => planes.bytes = [(); 2].map(|()| vec![0; width * height]),
            _ => planes.words = [(); 2].map(|()| vec![0; width * height]),
        }
        planes.clear(self.color());
        planes
    }

    fn place<S>(&self, plane: usize) -> Place<S> {
        let (width, height) = self.layout().size(plane, (self.frame.width() as usize, self.frame.height() as usize));
        // SAFETY: the frame is valid.
        let (data, stride) = unsafe { ((*self.frame.as_ptr()).data[plane], (*self.frame.as_ptr()).linesize[plane]) };
        let stride = usize::try_from(stride).expect("a viewable frame's rows run from top to bottom");
        Place { data: data.cast(), stride: stride / size_of::<S>(), width, height }
    }

    fn planes<'a, S: Sample>(&'a self, no_colour: Option<&'a [Vec<S>; 2]>) -> [PlaneRef<'a, S>; 3] {
        std::array::from_fn(|plane| {
            let Place { data, stride, width, height } = self.place::<S>(plane);
            match no_colour {
                Some(chroma) if plane > 0 => PlaneRef { data: &chroma[plane - 1], stride: width, width, height },
                _ => {
                    // SAFETY: the plane is allocated with at least `stride · (height − 1) + width` samples, aligned as
                    // they must be (`repack::is_plain`), and nobody writes to it while the frame is borrowed (a decoder
                    // only reads frames that it has handed out).
                    let data = unsafe { std::slice::from_raw_parts(data, stride * (height - 1) + width) };
                    PlaneRef { data, stride, width, height }
                }
            }
        })
    }
}

/// Where a plane begins, and its measures in samples.
struct Place<S> {
    data: *mut S,
    stride: usize,
    width: usize,
    height: usize,
}

/// # Safety
/// The places must be those of a viewable frame whose buffers are nobody else's, and which is borrowed for `'a`.
unsafe fn planes_mut<'a, S: Sample>(
    places: [Place<S>; 3],
    no_colour: Option<&'a mut [Vec<S>; 2]>,
) -> [PlaneMut<'a, S>; 3] {
    let mut chroma = no_colour.map(|planes| planes.iter_mut());
    let mut index = 0;
    places.map(|Place { data, stride, width, height }| {
        index += 1;
        match &mut chroma {
            Some(planes) if index > 1 => {
                let data = planes.next().expect("there are two chroma planes");
                PlaneMut { data, stride: width, width, height }
            }
            _ => {
                // SAFETY: as in `Decoded::planes`; the buffers are writable, and the planes do not overlap.
                let data = unsafe { std::slice::from_raw_parts_mut(data, stride * (height - 1) + width) };
                PlaneMut { data, stride, width, height }
            }
        }
    })
}

impl NoColour {
    /// All of it neutral.
    fn clear(&mut self, color: Color) {
        fn neutral<S: Sample>(color: Color) -> S {
            S::nearest(color.neutral(), color.max())
        }
        self.bytes.iter_mut().for_each(|plane| plane.fill(neutral(color)));
        self.words.iter_mut().for_each(|plane| plane.fill(neutral(color)));
    }
}

impl Pixels for Decoded {
    fn view(&self) -> YuvRef<'_> {
        if let Some(shown) = &self.shown {
            return shown.view();
        }
        let layout = self.layout();
        let no_colour = self.no_colour.as_ref();
        let planes = match layout.bytes() {
            1 => u8::planes(self.planes(no_colour.map(|planes| &planes.bytes))),
            _ => u16::planes(self.planes(no_colour.map(|planes| &planes.words))),
        };
        YuvRef { planes, shift: layout.shift, color: self.color(), site: self.site(), turn: self.turn }
    }

    fn view_mut(&mut self) -> YuvMut<'_> {
        if self.shown.is_some() {
            return self.shown.as_mut().map(Frame::view_mut).expect("it was just there");
        }
        self.make_writable();
        let (layout, color, site, turn) = (self.layout(), self.color(), self.site(), self.turn);
        let (bytes, words) = (std::array::from_fn(|i| self.place(i)), std::array::from_fn(|i| self.place(i)));
        if let Some(planes) = &mut self.no_colour {
            planes.clear(color); // of what the last user wrote
        }
        let no_colour = self.no_colour.as_mut();
        // SAFETY: the frame is writable, and borrowed mutably as long as the view is.
        let planes = unsafe {
            match layout.bytes() {
                1 => u8::planes_mut(planes_mut(bytes, no_colour.map(|planes| &mut planes.bytes))),
                _ => u16::planes_mut(planes_mut(words, no_colour.map(|planes| &mut planes.words))),
            }
        };
        YuvMut { planes, shift: layout.shift, color, site, turn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Planes, PlanesMut};
    use ffmpeg::format::Pixel;

    fn decoded(frame: frame::Video) -> Decoded {
        let properties = PictureProperties::parse("0 1 0 1 9 16 9 1").unwrap();
        let mut frame = frame;
        frame.set_pts(Some(0));
        Decoded::new(frame, Arc::new(properties)).unwrap()
    }

    fn words(frame: &Decoded) -> [PlaneRef<'_, u16>; 3] {
        let Planes::U16(planes) = frame.view().planes else { panic!("words were expected") };
        planes
    }

    #[test]
    fn deep_frames_are_seen_as_words() {
        let mut frame = frame::Video::new(Pixel::YUV422P10LE, 7, 3);
        let stride = frame.stride(1);
        frame.data_mut(1)[2 * stride + 6..][..2].copy_from_slice(&[0x34, 0x02]); // column 3, row 2
        let mut frame = decoded(frame).viewable().unwrap();
        let color = Color { matrix: Matrix::Bt2020, transfer: Transfer::Pq, full_range: false, depth: 10 };
        assert_eq!((frame.view().color, frame.view().shift), (color, (1, 0)));
        assert_eq!(words(&frame).map(|plane| (plane.width, plane.height)), [(7, 3), (4, 3), (4, 3)]);
        assert_eq!(words(&frame)[1].row(2)[3], 0x234);
        let PlanesMut::U16([_, mut cb, _]) = frame.view_mut().planes else { panic!("words were expected") };
        cb.row_mut(2)[3] = 0x3ff;
        assert_eq!(frame.frame().data(1)[2 * stride + 6..][..2], [0xff, 0x03]);
    }

    #[test]
    fn grey_pictures_have_chroma_for_those_who_look_only() {
        for (format, neutral) in [(Pixel::GRAY10LE, 512), (Pixel::GRAY16LE, 32_768)] {
            let mut frame = decoded(frame::Video::new(format, 5, 3)).viewable().unwrap();
            for round in 0..2 {
                assert_eq!(frame.view().shift, (1, 1));
                assert_eq!(words(&frame).map(|plane| (plane.width, plane.height)), [(5, 3), (3, 2), (3, 2)]);
                let PlanesMut::U16([mut luma, mut cb, _]) = frame.view_mut().planes else { panic!("words") };
                assert!(cb.data.iter().all(|sample| *sample == neutral), "{format:?}, round {round}");
                cb.row_mut(1)[2] = 7;
                luma.row_mut(2)[4] = 77;
                assert_eq!(words(&frame)[0].row(2)[4], 77);
            }
            let encodable = frame.encodable("libx265");
            assert_eq!(encodable.is_ok(), format == Pixel::GRAY10LE, "{format:?}");
            encodable.into_iter().for_each(|frame| assert_eq!(frame.frame().format(), format));
        }
    }

    #[test]
    fn frames_that_lie_upside_down_or_askew_are_copied() {
        let mut frame = frame::Video::new(Pixel::YUV444P10LE, 4, 3);
        for plane in 0..3 {
            let stride = frame.stride(plane);
            for row in 0..3 {
                frame.data_mut(plane)[row * stride..][..2]
                    .copy_from_slice(&(10 * row as u16 + plane as u16).to_le_bytes());
            }
        }
        let rows = |frame: &Decoded| words(frame).map(|plane| [0, 1, 2].map(|row| plane.row(row)[0]));
        let expected = [[20, 10, 0], [21, 11, 1], [22, 12, 2]];
        // SAFETY: the frame is ours; its planes are described from their last rows upwards.
        unsafe {
            let raw = frame.as_mut_ptr();
            for plane in 0..3 {
                (*raw).data[plane] = (*raw).data[plane].offset(2 * (*raw).linesize[plane] as isize);
                (*raw).linesize[plane] *= -1;
            }
        }
        let frame = decoded(frame).viewable().unwrap();
        assert_eq!(rows(&frame), expected);

        // Not a copy where none is needed.
        let plain = frame::Video::new(Pixel::YUV420P, 4, 4);
        let samples = plain.data(0).as_ptr();
        assert_eq!(decoded(plain).viewable().unwrap().frame().data(0).as_ptr(), samples);
    }

    #[test]
    fn what_nobody_can_look_at_is_named() {
        let error = decoded(frame::Video::new(Pixel::MonoWhite, 16, 4)).viewable().err().unwrap();
        assert_eq!(error.to_string(), "pixel format monow cannot be looked at");
    }
}
