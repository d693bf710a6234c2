//! Pixels of one video frame as its codec stores them: three planes, never a whole-frame RGB copy.
//!
//! Decoders own their buffers; everything that looks at pixels borrows them through [`YuvRef`] and [`YuvMut`].
//! [`Frame`] owns its planes and is what tests and generators build.

/// The number of a frame in its clip, in display order, counted from 0.
pub type FrameIndex = u64;

/// One plane, 8 bits per sample, rows `stride` bytes apart.
#[derive(Clone, Copy)]
pub struct PlaneRef<'a> {
    /// At least `stride · (height − 1) + width` bytes.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Samples in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// One writable plane; see [`PlaneRef`].
pub struct PlaneMut<'a> {
    /// At least `stride · (height − 1) + width` bytes.
    pub data: &'a mut [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Samples in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl<'a> PlaneRef<'a> {
    /// Row `y`, `width` samples.
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.data[y * self.stride..][..self.width]
    }
}

impl PlaneMut<'_> {
    /// Row `y`, `width` samples.
    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        &mut self.data[y * self.stride..][..self.width]
    }

    /// The same plane, read only.
    pub fn as_ref(&self) -> PlaneRef<'_> {
        PlaneRef { data: self.data, stride: self.stride, width: self.width, height: self.height }
    }
}

/// Luma and chroma coefficients (ITU-T H.273 MatrixCoefficients).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// BT.601 (H.273 codes 5 and 6).
    Bt601,
    /// BT.709 (code 1); also assumed for unmarked pictures of 720 rows and more.
    Bt709,
    /// BT.2020 non-constant luminance (code 9).
    Bt2020,
}

impl Matrix {
    /// (Kr, Kb); Kg = 1 − Kr − Kb. Source: ITU-T H.273, table 4.
    pub fn coefficients(self) -> (f32, f32) {
        match self {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
        }
    }
}

/// How sample values map to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Color {
    /// Luma and chroma coefficients.
    pub matrix: Matrix,
    /// `true`: 0..=255; `false`: luma 16..=235, chroma 16..=240.
    pub full_range: bool,
}

/// Where a chroma sample lies horizontally between its two luma samples (vertically: centred).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChromaSite {
    /// On the left luma sample (MPEG-2, H.264 default).
    Left,
    /// Half way between both (MPEG-1, JPEG).
    Center,
}

/// A borrowed picture. Chroma planes are `ceil(w / 2^x) × ceil(h / 2^y)` with `shift = (x, y)`:
/// 4:2:0 is (1, 1), 4:2:2 is (1, 0), 4:4:4 is (0, 0).
#[derive(Clone, Copy)]
pub struct YuvRef<'a> {
    /// Y, Cb, Cr.
    pub planes: [PlaneRef<'a>; 3],
    /// log2 of the chroma subsampling, horizontal and vertical.
    pub shift: (u8, u8),
    /// Meaning of the values.
    pub color: Color,
    /// Horizontal place of chroma samples.
    pub site: ChromaSite,
}

/// A borrowed, writable picture; see [`YuvRef`].
pub struct YuvMut<'a> {
    /// Y, Cb, Cr.
    pub planes: [PlaneMut<'a>; 3],
    /// log2 of the chroma subsampling, horizontal and vertical.
    pub shift: (u8, u8),
    /// Meaning of the values.
    pub color: Color,
    /// Horizontal place of chroma samples.
    pub site: ChromaSite,
}

impl YuvRef<'_> {
    /// Luma samples in a row.
    pub fn width(&self) -> usize {
        self.planes[0].width
    }

    /// Luma rows.
    pub fn height(&self) -> usize {
        self.planes[0].height
    }
}

impl YuvMut<'_> {
    /// The same picture, read only.
    pub fn as_ref(&self) -> YuvRef<'_> {
        let [y, u, v] = &self.planes;
        YuvRef { planes: [y.as_ref(), u.as_ref(), v.as_ref()], shift: self.shift, color: self.color, site: self.site }
    }
}

/// Anything that holds a picture: a decoder's frame, or [`Frame`].
pub trait Pixels {
    /// The picture.
    fn view(&self) -> YuvRef<'_>;
    /// The picture, made writable (copied first if a decoder still refers to it).
    fn view_mut(&mut self) -> YuvMut<'_>;
}

/// A picture that owns its planes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    planes: [Vec<u8>; 3],
    width: usize,
    height: usize,
    shift: (u8, u8),
    color: Color,
    site: ChromaSite,
}

impl Frame {
    /// A grey picture (Y = 128, no colour), 4:2:0, left-sited.
    pub fn grey(width: usize, height: usize, color: Color) -> Self {
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Self {
            planes: [vec![128; width * height], vec![128; chroma], vec![128; chroma]],
            width,
            height,
            shift: (1, 1),
            color,
            site: ChromaSite::Left,
        }
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
        let color = Color { matrix, full_range: true };
        Self { planes, width, height, shift: (0, 0), color, site: ChromaSite::Center }
    }

    fn size(&self, plane: usize) -> (usize, usize) {
        match plane {
            0 => (self.width, self.height),
            _ => (self.width.div_ceil(1 << self.shift.0), self.height.div_ceil(1 << self.shift.1)),
        }
    }
}

impl Pixels for Frame {
    fn view(&self) -> YuvRef<'_> {
        let plane = |i: usize| {
            let (width, height) = self.size(i);
            PlaneRef { data: &self.planes[i], stride: width, width, height }
        };
        YuvRef { planes: [plane(0), plane(1), plane(2)], shift: self.shift, color: self.color, site: self.site }
    }

    fn view_mut(&mut self) -> YuvMut<'_> {
        let sizes = [self.size(0), self.size(1), self.size(2)];
        let mut planes = self.planes.iter_mut().zip(sizes).map(|(data, (width, height))| PlaneMut {
            data: data.as_mut_slice(),
            stride: width,
            width,
            height,
        });
        let mut next = || planes.next().expect("a frame has three planes");
        YuvMut { planes: [next(), next(), next()], shift: self.shift, color: self.color, site: self.site }
    }
}
