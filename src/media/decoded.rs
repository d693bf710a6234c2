//! A frame in the decoder's own buffers, seen through [`Pixels`].

use std::sync::Arc;

use ffmpeg::format::Pixel;
use ffmpeg::{ffi, frame};
use ffmpeg_next as ffmpeg;

use super::properties::PictureProperties;
use crate::frame::{ChromaSite, Color, Matrix, Pixels, PlaneMut, PlaneRef, YuvMut, YuvRef};

/// A decoded frame. Its samples are shared with the decoder, which may still look at them, until they are written to.
///
/// [`Pixels`] needs a format of [`pixels_supported`]; others only pass from decoder to encoder.
pub struct Decoded {
    frame: frame::Video,
    pts: i64,
    properties: Arc<PictureProperties>,
}

/// Whether [`Pixels::view`] works on frames of this format (FFmpeg's name): 8 bits, planar, 4:2:0, 4:2:2 or 4:4:4.
pub fn pixels_supported(pixel_format: &str) -> bool {
    matches!(pixel_format, "yuv420p" | "yuvj420p" | "yuv422p" | "yuvj422p" | "yuv444p" | "yuvj444p")
}

impl Decoded {
    /// `None` if the frame has no time.
    pub(super) fn new(frame: frame::Video, properties: Arc<PictureProperties>) -> Option<Self> {
        let pts = frame.pts().or_else(|| frame.timestamp())?;
        Some(Self { frame, pts, properties })
    }

    /// The same picture, not copied, at another time.
    pub(super) fn repeated_at(&self, pts: i64) -> Self {
        let mut frame = frame::Video::empty();
        // SAFETY: both frames are ours, and the new one holds nothing yet.
        let code = unsafe { ffi::av_frame_ref(frame.as_mut_ptr(), self.frame.as_ptr()) };
        assert!(code >= 0, "there is memory for a reference to the frame");
        frame.set_pts(Some(pts));
        Self { frame, pts, properties: Arc::clone(&self.properties) }
    }

    /// When the frame is shown: ticks of the clip's time base after the cut's `base_pts`.
    pub fn pts(&self) -> i64 {
        self.pts
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
        let shift = match self.frame.format() {
            Pixel::YUV420P | Pixel::YUVJ420P => (1, 1),
            Pixel::YUV422P | Pixel::YUVJ422P => (1, 0),
            Pixel::YUV444P | Pixel::YUVJ444P => (0, 0),
            other => panic!("pixels of {other:?} are looked at, though pixels_supported says no"),
        };
        let (width, height) = (self.frame.width() as usize, self.frame.height() as usize);
        let chroma = (width.div_ceil(1 << shift.0), height.div_ceil(1 << shift.1));
        // SAFETY: the frame is ours and has a picture of three planes.
        let strides = unsafe { (*self.frame.as_ptr()).linesize };
        let planes = [(width, height), chroma, chroma];
        let stride = |plane: usize| usize::try_from(strides[plane]).expect("decoders lay rows out from top to bottom");
        Layout { shift, planes, strides: [stride(0), stride(1), stride(2)] }
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
        let full = matches!(self.frame.format(), Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P);
        Color { matrix, full_range: full || properties.range == 2 }
    }

    fn site(&self) -> ChromaSite {
        match self.properties().chroma_location {
            2 | 4 | 6 => ChromaSite::Center, // centre, top, bottom
            _ => ChromaSite::Left,
        }
    }
}

struct Layout {
    shift: (u8, u8),
    /// Width and height in samples.
    planes: [(usize, usize); 3],
    /// Bytes from row to row.
    strides: [usize; 3],
}

impl Layout {
    /// Bytes from the first sample to the last.
    fn span(&self, plane: usize) -> usize {
        let (width, height) = self.planes[plane];
        self.strides[plane] * (height - 1) + width
    }
}

impl Pixels for Decoded {
    fn view(&self) -> YuvRef<'_> {
        let layout = self.layout();
        let plane = |index: usize| {
            let (width, height) = layout.planes[index];
            // SAFETY: the plane is allocated with at least `stride · (height − 1) + width` bytes, and nobody
            // writes to it while the frame is borrowed (a decoder only reads frames that it has handed out).
            let data = unsafe { std::slice::from_raw_parts((*self.frame.as_ptr()).data[index], layout.span(index)) };
            PlaneRef { data, stride: layout.strides[index], width, height }
        };
        YuvRef { planes: [plane(0), plane(1), plane(2)], shift: layout.shift, color: self.color(), site: self.site() }
    }

    fn view_mut(&mut self) -> YuvMut<'_> {
        // SAFETY: the frame is ours. Afterwards its buffers are, too.
        let code = unsafe { ffi::av_frame_make_writable(self.frame.as_mut_ptr()) };
        assert!(code >= 0, "there is memory for a copy of the frame");
        let (layout, color, site) = (self.layout(), self.color(), self.site());
        // SAFETY: the frame is valid.
        let data = unsafe { (*self.frame.as_mut_ptr()).data };
        let plane = |index: usize| {
            let (width, height) = layout.planes[index];
            // SAFETY: as in `view`; the buffers are writable, the planes do not overlap, and `self` is borrowed
            // mutably.
            let data = unsafe { std::slice::from_raw_parts_mut(data[index], layout.span(index)) };
            PlaneMut { data, stride: layout.strides[index], width, height }
        };
        YuvMut { planes: [plane(0), plane(1), plane(2)], shift: layout.shift, color, site }
    }
}
