//! A picture made larger by a network, tile by tile.
//!
//! The network sees red, green and blue of a tile with some of its surroundings; neighbouring tiles are mixed where both have surroundings
//! enough, so that no seam shows. It is given the signal as it is coded: PQ and HLG stay PQ and HLG.

use crate::frame::{ChromaSite, Color, PlaneMut, PlanesMut, Sample, Transfer, YuvMut, YuvRef};

use super::aligned::Aligned;
use super::aligned::paste::ToYuv;
use super::card::{Colour, Layout, Role};
use super::catalog::Catalog;
use super::contract::{self, Contract};
use super::error::VisionError;
use super::geometry::Affine;
use super::model::{Execution, Network, Tensor};

/// What makes pictures larger, and how much of it is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct UpscalerSettings {
    /// Id of the network.
    pub id: String,
    /// Share of what it makes in the result, 0..=1; the rest is the picture, interpolated.
    pub blend: f32,
}

/// A network that makes pictures larger, ready to run.
pub struct Upscaler {
    network: Network,
    contract: contract::Upscaler,
    output: usize,
    /// For each plane of the input: which of red, green and blue, its mean and its factor.
    planes: [(usize, f32, f32); 3],
    blend: f32,
    input: Vec<f32>,
}

/// By how much the network called `id` enlarges either side.
///
/// # Errors
/// As [`Catalog::of`].
pub fn factor(catalog: &Catalog, id: &str) -> Result<usize, VisionError> {
    let card = catalog.of(Role::Upscaler, id)?.card;
    match card.contract {
        Some(Contract::Upscaler(contract)) => Ok(contract.factor),
        _ => Err(card.refuse("has no [contract.upscaler]".to_owned())),
    }
}

impl Upscaler {
    /// Loads the network.
    ///
    /// # Errors
    /// As [`Catalog::of`] and [`Network::load`]; [`VisionError::Card`] if its input is not planar.
    pub fn load(catalog: &Catalog, settings: &UpscalerSettings, execution: &Execution) -> Result<Self, VisionError> {
        let model = catalog.of(Role::Upscaler, &settings.id)?;
        let card = &model.card;
        let Some(Contract::Upscaler(contract)) = card.contract.clone() else {
            return Err(card.refuse("has no [contract.upscaler]".to_owned()));
        };
        let picture = card.picture()?;
        if picture.layout != Layout::Nchw {
            return Err(card.refuse("its picture is nhwc (expected nchw)".to_owned()));
        }
        let order = match picture.colour {
            Colour::Rgb => [0, 1, 2],
            Colour::Bgr => [2, 1, 0],
        };
        let scale = picture.scale.each();
        Ok(Self {
            output: card.output_index(&contract.face.output)?,
            planes: [0, 1, 2].map(|plane| (order[plane], picture.mean[plane], scale[plane])),
            network: Network::load(&model, execution)?,
            contract,
            blend: settings.blend,
            input: Vec::new(),
        })
    }

    /// By how much it enlarges either side.
    pub fn factor(&self) -> usize {
        self.contract.factor
    }

    /// Fills `larger` with `picture`. Takes 12 bytes for each of its pixels meanwhile.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    ///
    /// # Panics
    /// Unless `larger` has [`Self::factor`] times the sides of `picture`.
    pub fn enlarge(&mut self, picture: &YuvRef<'_>, larger: &mut YuvMut<'_>) -> Result<(), VisionError> {
        let size = (picture.width(), picture.height());
        let enlarged = (size.0 * self.factor(), size.1 * self.factor());
        assert_eq!(larger.as_ref().planes.size(0), enlarged, "the picture to fill has the factor's size");
        let rgb = self.rgb(picture)?;
        fill(&rgb, larger);
        Ok(())
    }

    /// Planes of red, green and blue, 0..=255, of the larger picture.
    fn rgb(&mut self, picture: &YuvRef<'_>) -> Result<Vec<f32>, VisionError> {
        let contract::Upscaler { factor, tile, .. } = self.contract;
        let signal = Color { transfer: Transfer::Sdr, ..picture.color };
        let picture = YuvRef { color: signal, ..*picture };
        let (width, height) = (picture.width(), picture.height());
        let (across, down) = (self.tiles(width), self.tiles(height));
        let plane = factor * factor * width * height;
        let mut rgb = vec![0.0f32; 3 * plane];
        for row in &down {
            for column in &across {
                let to_picture = Affine([[1.0, 0.0, column.start as f64], [0.0, 1.0, row.start as f64]]);
                let seen = Aligned::sample(&picture, to_picture, tile);
                let made = self.run(&seen)?;
                for (made, sum) in made.chunks_exact(factor * factor * tile * tile).zip(rgb.chunks_exact_mut(plane)) {
                    for (y, down) in row.weights.iter().enumerate() {
                        let line = &made[(row.offset + y) * factor * tile..][..factor * tile];
                        let sums = &mut sum[(row.first + y) * factor * width + column.first..];
                        let weighted = line[column.offset..].iter().zip(&column.weights);
                        for (sum, (value, across)) in sums.iter_mut().zip(weighted) {
                            *sum += value * across * down;
                        }
                    }
                }
            }
        }
        Ok(rgb)
    }

    /// A tile made larger: planes of red, green and blue, 0..=255.
    fn run(&mut self, seen: &Aligned) -> Result<Vec<f32>, VisionError> {
        let contract::Upscaler { factor, tile, face: contract::Pixels { gain, shift, .. }, .. } = &self.contract;
        let (factor, tile) = (*factor, *tile);
        self.input.clear();
        for (channel, mean, scale) in self.planes {
            self.input.extend(seen.channel(channel).iter().map(|value| (value - mean) * scale));
        }
        let shape = [1, 3, tile, tile];
        let outputs = self.network.run(&[Tensor { shape: &shape, data: &self.input }])?;
        let elements = outputs.finite(self.output, 3 * factor * factor * tile * tile)?;
        let mut made: Vec<f32> = elements.iter().map(|element| (element * gain + shift).clamp(0.0, 255.0)).collect();
        if self.blend < 1.0 {
            let plane = factor * factor * tile * tile;
            for (made, seen) in made.chunks_exact_mut(plane).zip(seen.rgb.chunks_exact(tile * tile)) {
                mix(made, seen, tile, factor, self.blend);
            }
        }
        Ok(made)
    }

    /// The tiles along an axis of `size` pixels.
    fn tiles(&self, size: usize) -> Vec<Tile> {
        let contract::Upscaler { factor, tile, overlap, .. } = self.contract;
        let step = tile - 2 * overlap;
        let count = size.div_ceil(step);
        let of_place = |place: usize| {
            let start = (place * step) as i64 - overlap as i64;
            // Half of the overlap is surroundings only; in the other half, and as much on the other side, neighbours are mixed.
            let reach = overlap / 2;
            let is_last = place + 1 == count;
            let from = if place == 0 { 0 } else { place * step - (overlap - reach) };
            let to = if is_last { size } else { (place + 1) * step + (overlap - reach) }.min(size);
            let (first, offset) = (from * factor, (from as i64 - start) as usize * factor);
            let mixed = (2 * (overlap - reach) * factor) as f32;
            let weight = |pixel: usize| {
                let (before, after) = (pixel as f32 + 0.5, ((to - from) * factor - pixel) as f32 - 0.5);
                let left = if place == 0 || mixed == 0.0 { 1.0 } else { (before / mixed).min(1.0) };
                // A tile whose end was cut off by the picture's is mixed as if it were not.
                let cut = ((place + 1) * step + (overlap - reach)).saturating_sub(to) * factor;
                let right = if is_last || mixed == 0.0 { 1.0 } else { ((after + cut as f32) / mixed).min(1.0) };
                left * right
            };
            Tile { start, first, offset, weights: (0..(to - from) * factor).map(weight).collect() }
        };
        (0..count).map(of_place).collect()
    }
}

/// One tile along an axis.
struct Tile {
    /// Where what the network sees begins, picture pixels.
    start: i64,
    /// The first pixel of the larger picture that it is for.
    first: usize,
    /// That pixel's place in the larger tile.
    offset: usize,
    /// Shares of the pixels from there on; those of all tiles add up to 1.
    weights: Vec<f32>,
}

/// Mixes a plane of a larger tile with what it was, interpolated.
fn mix(made: &mut [f32], seen: &[f32], tile: usize, factor: usize, share: f32) {
    let place = |pixel: usize| {
        let at = ((pixel as f32 + 0.5) / factor as f32 - 0.5).clamp(0.0, (tile - 1) as f32);
        (at as usize, (at as usize + 1).min(tile - 1), at.fract())
    };
    let columns: Vec<_> = (0..factor * tile).map(place).collect();
    for (row, line) in made.chunks_exact_mut(factor * tile).enumerate() {
        let (above, below, down) = place(row);
        let (above, below) = (&seen[above * tile..][..tile], &seen[below * tile..][..tile]);
        for (value, &(left, right, across)) in line.iter_mut().zip(&columns) {
            let of = |row: &[f32]| row[left] + (row[right] - row[left]) * across;
            let was = of(above) + (of(below) - of(above)) * down;
            *value = was + (*value - was) * share;
        }
    }
}

/// Writes planes of red, green and blue, 0..=255, as the picture's own samples.
fn fill(rgb: &[f32], picture: &mut YuvMut<'_>) {
    let (shift, site) = (picture.shift, picture.site);
    let color = Color { transfer: Transfer::Sdr, ..picture.color };
    match &mut picture.planes {
        PlanesMut::U8(planes) => fill_planes(rgb, planes, shift, site, color),
        PlanesMut::U16(planes) => fill_planes(rgb, planes, shift, site, color),
    }
}

fn fill_planes<S: Sample>(
    rgb: &[f32],
    [luma, cb, cr]: &mut [PlaneMut<'_, S>; 3],
    shift: (u8, u8),
    site: ChromaSite,
    color: Color,
) {
    let to_yuv = ToYuv::new(color);
    let (width, height, max) = (luma.width, luma.height, color.max());
    let (red, rest) = rgb.split_at(width * height);
    let (green, blue) = rest.split_at(width * height);
    let across = spread(shift.0, site == ChromaSite::Left);
    let rows = 1usize << shift.1;
    // Of the luma rows that share one row of chroma.
    let mut chroma = [vec![0.0f32; width], vec![0.0f32; width]];
    for y in 0..height {
        if y % rows == 0 {
            chroma.iter_mut().for_each(|line| line.fill(0.0));
        }
        // The last row stands for those that the picture lacks.
        let times = if y + 1 == height { rows - y % rows } else { 1 } as f32 / rows as f32;
        let line = y * width..(y + 1) * width;
        let pixels = red[line.clone()].iter().zip(&green[line.clone()]).zip(&blue[line]);
        for (x, ((red, green), blue)) in pixels.enumerate() {
            let [y_, cb_, cr_] = to_yuv.yuv([*red, *green, *blue]);
            luma.row_mut(y)[x] = S::nearest(y_, max);
            chroma[0][x] += times * cb_;
            chroma[1][x] += times * cr_;
        }
        if y % rows == rows - 1 || y + 1 == height {
            for (plane, sums) in [&mut *cb, &mut *cr].into_iter().zip(&chroma) {
                for (column, sample) in plane.row_mut(y / rows).iter_mut().enumerate() {
                    let first = (column << shift.0) as i64;
                    let at = |offset: i64| sums[(first + offset).clamp(0, width as i64 - 1) as usize];
                    let value: f32 = across.iter().map(|(offset, weight)| weight * at(*offset)).sum();
                    *sample = S::nearest(value, max);
                }
            }
        }
    }
}

/// Of which luma columns, from its first on, a chroma sample is the mean: those around it where it lies on the left one.
fn spread(shift: u8, is_left: bool) -> Vec<(i64, f32)> {
    let columns = 1i64 << shift;
    match is_left {
        true => {
            let whole = (columns * columns) as f32;
            (1 - columns..columns).map(|offset| (offset, (columns - offset.abs()) as f32 / whole)).collect()
        }
        false => (0..columns).map(|offset| (offset, 1.0 / columns as f32)).collect(),
    }
}

#[cfg(test)]
mod tests;
