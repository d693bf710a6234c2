//! The letters of a label and their dark rim, as shares of each pixel of the picture as shown.

use ab_glyph::OutlinedGlyph;

use super::font;
use super::layout::Layout;
use super::{Area, Cover};

/// How far the rim reaches, em.
const RIM: f32 = 0.15;
/// How dark it is at its darkest, 0..=1.
const DARK: f32 = 0.75;
/// What is blurred is multiplied by this, so that the rim is dark beside the letters and fades from there.
const GAIN: f32 = 3.0;
/// Blurred so often by a box: nearly a Gaussian.
const PASSES: usize = 3;

/// A rendered text.
pub(super) struct Mask {
    /// Of the picture as shown; empty where there is nothing to be seen.
    pub area: Area,
    /// Row by row.
    pub cover: Vec<Cover>,
}

impl Mask {
    /// Renders `layout` in a picture of this size, samples, each `aspect` times as wide as high.
    pub fn new(layout: &Layout, size: (usize, usize), aspect: f32) -> Self {
        let em = (layout.em / aspect, layout.em);
        let outlines = layout.characters.iter().filter_map(|&(character, (x, y))| {
            // Baselines on whole rows are sharper.
            font::outline(character, em, (x / aspect, y.round()))
        });
        let outlines: Vec<OutlinedGlyph> = outlines.collect();
        let reach = |side: f32| (RIM * side).max(1.0).ceil() as usize;
        let (across, down) = (reach(em.0), reach(em.1));
        let Some(area) = around(&outlines, (across, down), size) else {
            return Self { area: Area::default(), cover: Vec::new() };
        };

        let mut letters = vec![0.0f32; area.width * area.height];
        for outline in &outlines {
            let corner = outline.px_bounds().min;
            outline.draw(|x, y, share| {
                // Beyond the picture's edge there is none.
                let x = (corner.x as i64 + i64::from(x)) - area.left as i64;
                let y = (corner.y as i64 + i64::from(y)) - area.top as i64;
                let is_inside = x >= 0 && y >= 0 && x < area.width as i64 && y < area.height as i64;
                if is_inside {
                    let letter = &mut letters[y as usize * area.width + x as usize];
                    *letter = letter.max(share.clamp(0.0, 1.0));
                }
            });
        }
        let mut rim = letters.clone();
        for _ in 0..PASSES {
            // Boxes of a third each reach as far as one of all.
            rim = blurred(&rim, area.width, across.div_ceil(PASSES));
            rim = turned(&blurred(&turned(&rim, area.width), area.height, down.div_ceil(PASSES)), area.height);
        }
        let cover = letters.iter().zip(rim).map(|(&letter, rim)| {
            let dark = DARK * (GAIN * rim).min(1.0);
            let parts = |share: f32| (255.0 * share).round() as u8;
            let white = parts(letter);
            Cover { kept: parts((1.0 - letter) * (1.0 - dark)).min(255 - white), white }
        });
        Self { area, cover: cover.collect() }
    }
}

/// The part of a picture of `size` in which glyphs, and what reaches so far beyond them, lie.
fn around(outlines: &[OutlinedGlyph], (across, down): (usize, usize), size: (usize, usize)) -> Option<Area> {
    let bounds = outlines.iter().map(|outline| outline.px_bounds());
    let bounds = bounds.reduce(|a, b| ab_glyph::Rect {
        min: ab_glyph::point(a.min.x.min(b.min.x), a.min.y.min(b.min.y)),
        max: ab_glyph::point(a.max.x.max(b.max.x), a.max.y.max(b.max.y)),
    })?;
    // A pixel more, for what boxes of whole pixels reach farther.
    let span = |from: f32, to: f32, reach: usize, size: usize| {
        let reach = (reach + PASSES) as f32;
        let [from, to] = [from - reach, to + reach].map(|edge| edge.clamp(0.0, size as f32) as usize);
        (from, to.saturating_sub(from))
    };
    let (left, width) = span(bounds.min.x, bounds.max.x, across, size.0);
    let (top, height) = span(bounds.min.y, bounds.max.y, down, size.1);
    (width * height > 0).then_some(Area { left, top, width, height })
}

/// The mean over `radius` pixels to either side, in each row of `width`; beyond the ends there is nothing.
fn blurred(plane: &[f32], width: usize, radius: usize) -> Vec<f32> {
    let share = 1.0 / (2 * radius + 1) as f32;
    let mut blurred = Vec::with_capacity(plane.len());
    for row in plane.chunks_exact(width) {
        // In f64, so that what is added and taken away again leaves nothing behind.
        let mut sum: f64 = row.iter().take(radius).map(|&value| f64::from(value)).sum();
        for column in 0..width {
            sum += row.get(column + radius).map_or(0.0, |&value| f64::from(value));
            blurred.push((sum as f32 * share).max(0.0));
            sum -= column.checked_sub(radius).map_or(0.0, |behind| f64::from(row[behind]));
        }
    }
    blurred
}

/// Rows become columns.
fn turned(plane: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| plane[column..].iter().step_by(width).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blur_is_the_mean_around_each_pixel() {
        let near = |found: Vec<f32>, expected: &[f32]| {
            let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(found.len() == expected.len() && off < 1e-6, "{found:?}, expected {expected:?}");
        };
        near(blurred(&[0.0, 0.0, 3.0, 0.0, 0.0, 6.0, 0.0, 0.0], 4, 1), &[0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 0.0]);
        near(blurred(&[1.0, 2.0], 2, 3), &[3.0 / 7.0, 3.0 / 7.0]);
        assert_eq!(turned(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
