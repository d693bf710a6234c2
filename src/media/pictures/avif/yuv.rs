//! Between AV1's samples and red, green and blue.
//!
//! Source: ITU-T H.273, 8.1 and 8.3; where chroma lies: AV1, 6.4.2.

use ffmpeg::format::Pixel;
use ffmpeg::frame;
use ffmpeg_next as ffmpeg;

use super::boxes::Fault;
use crate::media::properties::PictureProperties;

/// Red, green and blue, 0 to 1.
pub(super) type Rgb = [f32; 3];

/// How a frame's samples are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub bits: u8,
    pub is_grey: bool,
    /// log2 of the chroma subsampling, horizontal and vertical.
    shift: (u8, u8),
}

impl Layout {
    /// Of what FFmpeg's AV1 decoders make; `None` for other formats.
    pub(super) fn of(format: Pixel) -> Option<Self> {
        let (bits, is_grey, shift) = match format {
            Pixel::GRAY8 => (8, true, (0, 0)),
            Pixel::GRAY10LE => (10, true, (0, 0)),
            Pixel::GRAY12LE => (12, true, (0, 0)),
            Pixel::YUV420P => (8, false, (1, 1)),
            Pixel::YUV420P10LE => (10, false, (1, 1)),
            Pixel::YUV420P12LE => (12, false, (1, 1)),
            Pixel::YUV422P => (8, false, (1, 0)),
            Pixel::YUV422P10LE => (10, false, (1, 0)),
            Pixel::YUV422P12LE => (12, false, (1, 0)),
            Pixel::YUV444P | Pixel::GBRP => (8, false, (0, 0)),
            Pixel::YUV444P10LE | Pixel::GBRP10LE => (10, false, (0, 0)),
            Pixel::YUV444P12LE | Pixel::GBRP12LE => (12, false, (0, 0)),
            _ => return None,
        };
        Some(Self { bits, is_grey, shift })
    }
}

/// Coefficients of red and blue; `None` for planes that are green, blue and red.
pub(super) fn coefficients(matrix: i32) -> Result<Option<(f32, f32)>, Fault> {
    Ok(Some(match matrix {
        0 => return Ok(None),
        1 => (0.2126, 0.0722),
        4 => (0.30, 0.11),
        // What does not say is taken for what most encoders make, as libavif does.
        2 | 5 | 6 => (0.299, 0.114),
        7 => (0.212, 0.087),
        9 => (0.2627, 0.0593),
        _ => return Err(Fault::Unsupported("its colours are coded by a matrix that is not known here")),
    }))
}

/// Yields each row of a frame as luma, or red, green and blue, 0 to 1. `color` says how they are coded.
pub(super) fn rows(
    frame: &frame::Video,
    color: &PictureProperties,
    grey: bool,
    row: &mut dyn FnMut(usize, &[Rgb]),
) -> Result<(), Fault> {
    let layout = Layout::of(frame.format()).ok_or(Fault::Unsupported("its samples are not those of a picture"))?;
    let coefficients = coefficients(color.matrix)?;
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let scale = Scale::new(layout.bits, color.range == 2);
    let mut line = vec![0.0; width];
    let mut pixels = vec![[0.0; 3]; width];
    if grey || layout.is_grey {
        for y in 0..height {
            samples(frame, 0, y, layout.bits, &mut line);
            pixels.iter_mut().zip(&line).for_each(|(pixel, y)| *pixel = [scale.luma(*y); 3]);
            row(y, &pixels);
        }
        return Ok(());
    }
    if coefficients.is_none() && layout.shift != (0, 0) {
        return Err(Fault::Broken("its planes are red, green and blue, and not of one size"));
    }
    let site = Site::of(color.chroma_location);
    let columns = Taps::new(width, layout.shift.0, site.left);
    let lines = Taps::new(height, layout.shift.1, site.top);
    let chroma_width = width.div_ceil(1 << layout.shift.0);
    let (mut upper, mut lower) = (vec![0.0; chroma_width], vec![0.0; chroma_width]);
    let mut chroma = [vec![0.0; width], vec![0.0; width]];
    for y in 0..height {
        samples(frame, 0, y, layout.bits, &mut line);
        let (first, second, share) = lines.0[y];
        for (plane, chroma) in [1, 2].into_iter().zip(&mut chroma) {
            samples(frame, plane, first, layout.bits, &mut upper);
            if share > 0.0 {
                samples(frame, plane, second, layout.bits, &mut lower);
                upper.iter_mut().zip(&lower).for_each(|(above, below)| *above += (below - *above) * share);
            }
            for (out, &(left, right, share)) in chroma.iter_mut().zip(&columns.0) {
                *out = upper[left] + (upper[right] - upper[left]) * share;
            }
        }
        let [blue, red] = &chroma;
        for (((pixel, &y), &cb), &cr) in pixels.iter_mut().zip(&line).zip(blue).zip(red) {
            *pixel = match coefficients {
                Some((kr, kb)) => {
                    let (y, cb, cr) = (scale.luma(y), scale.chroma(cb), scale.chroma(cr));
                    let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
                    [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b]
                }
                None => [scale.luma(cr), scale.luma(y), scale.luma(cb)],
            };
        }
        row(y, &pixels);
    }
    Ok(())
}

/// From samples to 0..=1, and of chroma to -0.5..=0.5.
struct Scale {
    black: f32,
    luma: f32,
    middle: f32,
    chroma: f32,
}

impl Scale {
    fn new(bits: u8, is_full: bool) -> Self {
        let (most, step) = (f32::from((1_u16 << bits) - 1), f32::from(1_u16 << (bits - 8)));
        match is_full {
            true => Self { black: 0.0, luma: most, middle: 128.0 * step, chroma: most },
            false => Self { black: 16.0 * step, luma: 219.0 * step, middle: 128.0 * step, chroma: 224.0 * step },
        }
    }

    fn luma(&self, sample: f32) -> f32 {
        (sample - self.black) / self.luma
    }

    fn chroma(&self, sample: f32) -> f32 {
        (sample - self.middle) / self.chroma
    }
}

/// Where chroma samples lie: upon the first of their luma samples, or between them.
struct Site {
    left: bool,
    top: bool,
}

impl Site {
    /// FFmpeg's `AVChromaLocation`. What does not say lies between: so do the encoders of pictures.
    fn of(location: i32) -> Self {
        Self { left: matches!(location, 1 | 3), top: location == 3 }
    }
}

/// For each sample of a row the two chroma samples beside it, and the share of the second.
struct Taps(Vec<(usize, usize, f32)>);

impl Taps {
    fn new(count: usize, shift: u8, is_upon: bool) -> Self {
        let step = f32::from(1_u8 << shift);
        let last = count.div_ceil(1 << shift) - 1;
        let tap = |index: usize| {
            let index = index as f32;
            let place = if is_upon { index / step } else { (index + 0.5) / step - 0.5 };
            let place = place.clamp(0.0, last as f32);
            let first = place as usize;
            (first, (first + 1).min(last), place - first as f32)
        };
        Self((0..count).map(tap).collect())
    }
}

fn samples(frame: &frame::Video, plane: usize, y: usize, bits: u8, out: &mut [f32]) {
    let row = &frame.data(plane)[y * frame.stride(plane)..];
    match bits {
        8 => out.iter_mut().zip(row).for_each(|(out, sample)| *out = f32::from(*sample)),
        _ => {
            let words = row.as_chunks::<2>().0;
            out.iter_mut().zip(words).for_each(|(out, word)| *out = f32::from(u16::from_le_bytes(*word)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chroma_lies_where_it_says() {
        let taps = |shift, is_upon| Taps::new(4, shift, is_upon).0;
        assert_eq!(taps(0, false), [(0, 1, 0.0), (1, 2, 0.0), (2, 3, 0.0), (3, 3, 0.0)]);
        assert_eq!(taps(1, false), [(0, 1, 0.0), (0, 1, 0.25), (0, 1, 0.75), (1, 1, 0.0)]);
        assert_eq!(taps(1, true), [(0, 1, 0.0), (0, 1, 0.5), (1, 1, 0.0), (1, 1, 0.0)]);
    }

    #[test]
    fn samples_become_colours() {
        let color = |range, matrix| PictureProperties { range, matrix, ..crate::media::pictures::lossless::PICTURE };
        // BT.709 in limited range, BT.601 in full range, green, blue and red.
        for (color, yuv, rgb) in [
            (color(1, 1), [63, 102, 240], [255, 0, 0]),
            (color(1, 1), [32, 240, 118], [0, 0, 255]),
            (color(2, 6), [150, 44, 21], [0, 255, 1]),
            (color(2, 0), [10, 20, 30], [30, 10, 20]),
        ] {
            let mut frame = frame::Video::new(Pixel::YUV444P, 2, 2);
            (0..3).for_each(|plane| frame.data_mut(plane).fill(yuv[plane]));
            let mut found = Vec::new();
            rows(&frame, &color, false, &mut |_, row| found.push(row[1].map(|value| (value * 255.0).round()))).unwrap();
            assert!(
                found.len() == 2 && found[1].iter().zip(rgb).all(|(a, b)| (a - b as f32).abs() <= 1.0),
                "{found:?}"
            );
        }
    }
}
