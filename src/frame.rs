//! Pixels of one video frame as its codec stores them: three planes, never a whole-frame RGB copy.
//!
//! Decoders own their buffers; everything that looks at pixels borrows them through [`YuvRef`] and [`YuvMut`].
//! [`Frame`] owns its planes and is what tests and generators build; [`RgbFrame`] owns a picture whose pixels are red,
//! green and blue. Samples are bytes or 16-bit words ([`Sample`]): loops over them are written once for both.

mod color;
pub mod label;
mod rgb;
mod sample;
mod transfer;
mod turn;

pub use color::{ChromaSite, Color, Matrix};
pub use rgb::{RgbConversion, RgbFrame};
pub use sample::Sample;
pub use transfer::{Shown, Transfer};
pub use turn::Turn;

/// The number of a frame in its clip, in display order, counted from 0.
pub type FrameIndex = u64;

/// One plane, rows `stride` samples apart.
#[derive(Clone, Copy)]
pub struct PlaneRef<'a, S = u8> {
    /// At least `stride · (height − 1) + width` samples.
    pub data: &'a [S],
    /// Samples from one row to the next.
    pub stride: usize,
    /// Samples in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// One writable plane; see [`PlaneRef`].
pub struct PlaneMut<'a, S = u8> {
    /// At least `stride · (height − 1) + width` samples.
    pub data: &'a mut [S],
    /// Samples from one row to the next.
    pub stride: usize,
    /// Samples in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl<'a, S> PlaneRef<'a, S> {
    /// Row `y`, `width` samples.
    pub fn row(&self, y: usize) -> &'a [S] {
        &self.data[y * self.stride..][..self.width]
    }
}

impl<S> PlaneMut<'_, S> {
    /// Row `y`, `width` samples.
    pub fn row_mut(&mut self, y: usize) -> &mut [S] {
        &mut self.data[y * self.stride..][..self.width]
    }

    /// The same plane, read only.
    pub fn as_ref(&self) -> PlaneRef<'_, S> {
        PlaneRef { data: self.data, stride: self.stride, width: self.width, height: self.height }
    }
}

/// Y, Cb, Cr. One match on it before a loop, and the loop knows its samples.
#[derive(Clone, Copy)]
pub enum Planes<'a> {
    /// 8 bits per sample.
    U8([PlaneRef<'a, u8>; 3]),
    /// 9 to 16 bits per sample, in the low bits of native words.
    U16([PlaneRef<'a, u16>; 3]),
}

/// Y, Cb, Cr, writable; see [`Planes`].
pub enum PlanesMut<'a> {
    /// 8 bits per sample.
    U8([PlaneMut<'a, u8>; 3]),
    /// 9 to 16 bits per sample, in the low bits of native words.
    U16([PlaneMut<'a, u16>; 3]),
}

impl Planes<'_> {
    /// Samples in a row, and rows, of plane 0, 1 or 2.
    pub fn size(&self, plane: usize) -> (usize, usize) {
        match self {
            Planes::U8(planes) => (planes[plane].width, planes[plane].height),
            Planes::U16(planes) => (planes[plane].width, planes[plane].height),
        }
    }
}

impl PlanesMut<'_> {
    /// The same planes, read only.
    pub fn as_ref(&self) -> Planes<'_> {
        match self {
            PlanesMut::U8([y, u, v]) => Planes::U8([y.as_ref(), u.as_ref(), v.as_ref()]),
            PlanesMut::U16([y, u, v]) => Planes::U16([y.as_ref(), u.as_ref(), v.as_ref()]),
        }
    }
}

/// A borrowed picture. Chroma planes are `ceil(w / 2^x) × ceil(h / 2^y)` with `shift = (x, y)`:
/// 4:2:0 is (1, 1), 4:2:2 is (1, 0), 4:4:4 is (0, 0), 4:4:0 is (0, 1), 4:1:1 is (2, 0), 4:1:0 is (2, 2).
#[derive(Clone, Copy)]
pub struct YuvRef<'a> {
    /// Y, Cb, Cr.
    pub planes: Planes<'a>,
    /// log2 of the chroma subsampling, horizontal and vertical.
    pub shift: (u8, u8),
    /// Meaning of the values.
    pub color: Color,
    /// Horizontal place of chroma samples.
    pub site: ChromaSite,
    /// How the picture is turned when it is shown.
    pub turn: Turn,
}

/// A borrowed, writable picture; see [`YuvRef`].
pub struct YuvMut<'a> {
    /// Y, Cb, Cr.
    pub planes: PlanesMut<'a>,
    /// log2 of the chroma subsampling, horizontal and vertical.
    pub shift: (u8, u8),
    /// Meaning of the values.
    pub color: Color,
    /// Horizontal place of chroma samples.
    pub site: ChromaSite,
    /// How the picture is turned when it is shown.
    pub turn: Turn,
}

impl YuvRef<'_> {
    /// Luma samples in a row.
    pub fn width(&self) -> usize {
        self.planes.size(0).0
    }

    /// Luma rows.
    pub fn height(&self) -> usize {
        self.planes.size(0).1
    }
}

impl YuvMut<'_> {
    /// The same picture, read only.
    pub fn as_ref(&self) -> YuvRef<'_> {
        let Self { shift, color, site, turn, .. } = *self;
        YuvRef { planes: self.planes.as_ref(), shift, color, site, turn }
    }
}

/// Anything that holds a picture: a decoder's frame, [`Frame`], [`RgbFrame`].
pub trait Pixels {
    /// The picture.
    fn view(&self) -> YuvRef<'_>;
    /// The picture, made writable (copied first if a decoder still refers to it).
    fn view_mut(&mut self) -> YuvMut<'_>;
}

/// A picture that owns its planes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<S = u8> {
    planes: [Vec<S>; 3],
    width: usize,
    height: usize,
    shift: (u8, u8),
    color: Color,
    site: ChromaSite,
    turn: Turn,
}

impl<S: Sample> Frame<S> {
    /// A grey picture (Y = half, no colour), left-sited. `color.depth` must fit the samples.
    pub fn grey_at(width: usize, height: usize, shift: (u8, u8), color: Color) -> Self {
        let grey = S::nearest(color.neutral(), color.max());
        let chroma = width.div_ceil(1 << shift.0) * height.div_ceil(1 << shift.1);
        let planes = [vec![grey; width * height], vec![grey; chroma], vec![grey; chroma]];
        Self { planes, width, height, shift, color, site: ChromaSite::Left, turn: Turn::None }
    }

    /// The same picture, turned by `turn` when it is shown.
    pub fn shown_turned(self, turn: Turn) -> Self {
        Self { turn, ..self }
    }

    /// Y, Cb, Cr.
    pub fn planes(&self) -> [PlaneRef<'_, S>; 3] {
        std::array::from_fn(|i| {
            let (width, height) = self.size(i);
            PlaneRef { data: &self.planes[i], stride: width, width, height }
        })
    }

    /// Y, Cb, Cr, writable.
    pub fn planes_mut(&mut self) -> [PlaneMut<'_, S>; 3] {
        let sizes = [self.size(0), self.size(1), self.size(2)];
        let [y, cb, cr] = &mut self.planes;
        let plane = |data, (width, height)| PlaneMut { data, stride: width, width, height };
        [plane(y, sizes[0]), plane(cb, sizes[1]), plane(cr, sizes[2])]
    }

    fn size(&self, plane: usize) -> (usize, usize) {
        match plane {
            0 => (self.width, self.height),
            _ => (self.width.div_ceil(1 << self.shift.0), self.height.div_ceil(1 << self.shift.1)),
        }
    }
}

impl Frame {
    /// A grey picture of 8 bits (Y = 128, no colour), 4:2:0, left-sited.
    pub fn grey(width: usize, height: usize, color: Color) -> Self {
        Self::grey_at(width, height, (1, 1), color)
    }

    /// A photo: `rgb` holds R, G, B of each pixel, row by row. Becomes full-range 4:4:4.
    pub fn from_rgb(width: usize, height: usize, rgb: &[u8], matrix: Matrix) -> Self {
        let (kr, kb) = matrix.coefficients();
        let mut planes = [(); 3].map(|()| Vec::with_capacity(width * height));
        let (pixels, _) = rgb.as_chunks::<3>();
        for pixel in &pixels[..width * height] {
            let [r, g, b] = pixel.map(f32::from);
            let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
            planes[0].push(luma.round() as u8);
            planes[1].push((128.0 + (b - luma) / (2.0 - 2.0 * kb)).round() as u8);
            planes[2].push((128.0 + (r - luma) / (2.0 - 2.0 * kr)).round() as u8);
        }
        let color = Color::sdr(matrix, true);
        Self { planes, width, height, shift: (0, 0), color, site: ChromaSite::Center, turn: Turn::None }
    }
}

impl<S: Sample> Pixels for Frame<S> {
    fn view(&self) -> YuvRef<'_> {
        let Self { shift, color, site, turn, .. } = *self;
        YuvRef { planes: S::planes(self.planes()), shift, color, site, turn }
    }

    fn view_mut(&mut self) -> YuvMut<'_> {
        let Self { shift, color, site, turn, .. } = *self;
        YuvMut { planes: S::planes_mut(self.planes_mut()), shift, color, site, turn }
    }
}
