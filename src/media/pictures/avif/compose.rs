//! From tiles, colours and transparency to one picture.

use image::DynamicImage;

use super::boxes::Fault;
use super::level::Level;
use super::yuv::{self, Rgb};
use super::{Avif, UNKNOWN, decode, judged, refusal};
use crate::media::error::MediaError;
use crate::media::properties::PictureProperties;

/// Takes a part of a row: the column and the row at which it begins, and its pixels.
type Put<'a> = dyn FnMut(usize, usize, &[Rgb]) + 'a;

impl Avif {
    /// The picture, cut as it says, and not turned.
    pub(in super::super) fn picture(&mut self) -> Result<DynamicImage, MediaError> {
        let picture = if self.is_wide() { self.composed::<u16>()? } else { self.composed::<u8>()? };
        let (x, y, width, height) = self.crop().map_err(|fault| refusal(&self.path, fault))?;
        let is_whole = (width, height) == (picture.width(), picture.height());
        Ok(if is_whole { picture } else { picture.crop_imm(x, y, width, height) })
    }

    fn composed<S: Level>(&mut self) -> Result<DynamicImage, MediaError> {
        let (width, height) = (self.color.width as usize, self.color.height as usize);
        let colors = if self.color.is_grey { 1 } else { 3 };
        let channels = colors + usize::from(self.alpha.is_some());
        let mut samples = vec![S::default(); width * height * channels];
        let mut put = |x: usize, y: usize, row: &[Rgb]| {
            let start = (y * width + x) * channels;
            for (to, from) in samples[start..].chunks_exact_mut(channels).zip(row) {
                to.iter_mut().zip(&from[..colors]).for_each(|(to, from)| *to = S::of(*from));
            }
        };
        self.fill(false, &mut put)?;
        if self.alpha.is_some() {
            let is_multiplied = self.is_multiplied();
            let mut put = |x: usize, y: usize, row: &[Rgb]| {
                let start = (y * width + x) * channels;
                for (to, &[alpha, ..]) in samples[start..].chunks_exact_mut(channels).zip(row) {
                    if is_multiplied && alpha > 0.0 {
                        to[..colors].iter_mut().for_each(|to| *to = S::of(to.value() / alpha));
                    }
                    to[colors] = S::of(alpha);
                }
            };
            self.fill(true, &mut put)?;
        }
        let size = (self.color.width, self.color.height);
        S::picture(size, channels, samples).ok_or_else(|| refusal(&self.path, Fault::Broken("it has too few samples")))
    }

    fn is_multiplied(&self) -> bool {
        self.items.referred(*b"prem", self.items.primary).next().is_some()
    }

    /// Gives each row of each tile its place.
    fn fill(&mut self, alpha: bool, put: &mut Put<'_>) -> Result<(), MediaError> {
        let plane = if alpha { self.alpha.as_ref() } else { Some(&self.color) };
        let Some(plane) = plane else { return Ok(()) };
        // Transparency is luma, whatever is said of the colours.
        let said = if alpha { PictureProperties { matrix: 6, ..UNKNOWN } } else { self.said(self.items.primary) };
        let (width, height, tile, columns) = (plane.width, plane.height, plane.tile, plane.columns);
        let (bits, is_grey) = (plane.bits, plane.is_grey);
        for (number, id) in plane.tiles.clone().into_iter().enumerate() {
            let (x, y) = (number as u32 % columns * tile.0, number as u32 / columns * tile.1);
            let frame = self.decoded(id, tile)?;
            let color = said.or(decode::color_of(&frame));
            let layout = yuv::Layout::of(frame.format());
            let is_as_said = layout.is_some_and(|layout| layout.bits == bits && layout.is_grey == is_grey);
            let mut check = || -> Result<(), Fault> {
                if !is_as_said {
                    return Err(Fault::Broken("its samples are not those that it says"));
                }
                if !alpha {
                    judged(&color)?;
                }
                yuv::rows(&frame, &color, alpha, &mut |line, row| {
                    let line = y + line as u32;
                    if line < height {
                        put(x as usize, line as usize, &row[..row.len().min((width - x) as usize)]);
                    }
                })
            };
            check().map_err(|fault| refusal(&self.path, fault))?;
        }
        Ok(())
    }
}
