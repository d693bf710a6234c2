//! How opaque a frame is, for those who draw on what is transparent. Only RGB keeps its transparency on the way through.

use super::decoded::Decoded;
use super::pixels::{Kind, rgb_depth};
use super::repack;
use crate::frame::label::Area;

/// The component behind red, green and blue.
const ALPHA: usize = 3;

impl Decoded {
    /// The opacity of a part of the frame, row by row, 0..=1; `None` for frames that are opaque everywhere.
    pub fn opacity(&self, area: Area) -> Option<Vec<f32>> {
        let (kind, max) = self.transparency()?;
        let mut line = vec![0; area.left + area.width];
        let mut opacity = Vec::with_capacity(area.width * area.height);
        for row in area.top..area.top + area.height {
            repack::read_line(self.frame(), &kind, ALPHA, row, &mut line);
            opacity.extend(line[area.left..].iter().map(|&alpha| f32::from(alpha) / max));
        }
        Some(opacity)
    }

    /// Sets the opacity of a part of the frame, given as [`Decoded::opacity`] does; nothing for frames that have none.
    pub fn set_opacity(&mut self, area: Area, opacity: &[f32]) {
        let Some((kind, max)) = self.transparency() else { return };
        let frame = self.frame_mut();
        let mut line = vec![0; area.left + area.width];
        for (row, opacity) in (area.top..).zip(opacity.chunks_exact(area.width.max(1))) {
            repack::read_line(frame, &kind, ALPHA, row, &mut line);
            for (alpha, opacity) in line[area.left..].iter_mut().zip(opacity) {
                *alpha = (opacity.clamp(0.0, 1.0) * max).round() as u16;
            }
            repack::overwrite_line(frame, &kind, ALPHA, row, &line);
        }
    }

    /// Its format, and what is opaque in it.
    fn transparency(&self) -> Option<(Kind, f32)> {
        let format = self.frame().format();
        rgb_depth(format)?;
        let kind = Kind::of(format).filter(|kind| kind.components.len() > ALPHA)?;
        let max = ((1u32 << kind.components[ALPHA].depth) - 1) as f32;
        Some((kind, max))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ffmpeg::format::Pixel;
    use ffmpeg::frame;
    use ffmpeg_next as ffmpeg;

    use super::*;
    use crate::media::properties::PictureProperties;

    fn decoded(format: Pixel) -> Decoded {
        let mut frame = frame::Video::new(format, 6, 4);
        for plane in 0..frame.planes() {
            frame.data_mut(plane).fill(0x33);
        }
        frame.set_pts(Some(0));
        Decoded::new(frame, Arc::new(PictureProperties::parse("4 3 1 2 0 13 1 0").unwrap())).unwrap()
    }

    #[test]
    fn a_part_becomes_opaque_and_all_else_keeps_its_bits() {
        let area = Area { left: 1, top: 2, width: 3, height: 2 };
        for format in [Pixel::BGRA, Pixel::ARGB, Pixel::GBRAP, Pixel::RGBA64LE, Pixel::GBRAP16LE] {
            let mut frame = decoded(format).viewable().unwrap();
            let before = frame.opacity(area).unwrap();
            assert_eq!(before.len(), 6);
            assert!(before.iter().all(|opacity| (opacity - 0.2).abs() < 1e-3), "{format:?}: {before:?}");
            let wanted = [1.0, 0.2, 0.0, 0.2, 0.2, 0.4];
            frame.set_opacity(area, &wanted);
            let after = frame.opacity(area).unwrap();
            assert!(after.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-3), "{format:?}: {after:?}");
            let changed: usize = (0..frame.frame().planes())
                .map(|plane| frame.frame().data(plane).iter().filter(|&&byte| byte != 0x33).count())
                .sum();
            let bytes = if matches!(format, Pixel::RGBA64LE | Pixel::GBRAP16LE) { 2 } else { 1 };
            assert_eq!(changed, 3 * bytes, "{format:?}: three values have changed");
        }
    }

    #[test]
    fn what_has_no_transparency_has_none() {
        for format in [Pixel::BGRZ, Pixel::GBRP, Pixel::YUV420P, Pixel::GRAY8] {
            let mut frame = decoded(format);
            assert_eq!(frame.opacity(Area { left: 0, top: 0, width: 6, height: 4 }), None, "{format:?}");
            frame.set_opacity(Area { left: 0, top: 0, width: 6, height: 4 }, &[1.0; 24]);
            assert!(frame.frame().data(0)[..6].iter().all(|&byte| byte == 0x33), "{format:?}");
        }
        assert!((decoded(Pixel::YUV420P).sample_aspect() - 4.0 / 3.0).abs() < 1e-9);
    }
}
