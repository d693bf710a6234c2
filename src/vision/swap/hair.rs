//! Hair over forehead and temples: pixels above the brows that are not of the cheeks' colour and hang together with the
//! oval's rim. Portraits lend no fringe, and targets keep theirs.

use super::blur::Blur;
use super::canonical::{Points, smoothstep};
use super::features::{CHEEKS, Outlines};
use super::plane::{Plane, Rect};

/// Smallest deviation that counts, for log luma, Cb, Cr: what a camera's noise and make-up vary by.
const FLOOR: [f32; 3] = [0.16, 4.0, 4.0];
/// Blur before the comparison, face widths.
const SIGMA: [f32; 3] = [0.008, 0.015, 0.015];
/// Squared deviation from which a pixel is hair: exp(−d²/9) < 0.35.
const LIMIT: f32 = 9.4;
/// Looked at around the forehead, face widths.
const REACH: f32 = 0.06;

/// Finds hair; holds its buffers.
#[derive(Default)]
pub struct HairFinder {
    forehead: Plane,
    deviation: Plane,
    blurred: Plane,
    found: Plane,
    hull: Plane,
    rim: Plane,
    samples: Vec<f32>,
    stack: Vec<u32>,
}

/// What the search looks at, all on one grid.
pub struct HairInput<'a> {
    /// Log luma, Cb, Cr.
    pub bands: [&'a Plane; 3],
    /// 1 on brows, eyes, lips, nostrils.
    pub features: &'a Plane,
    /// 1 inside the drawn mesh.
    pub hull: &'a Plane,
    /// In grid coordinates.
    pub points: &'a Points,
    /// In grid points.
    pub face_width: f32,
    /// The direction that is up where the picture is shown.
    pub up: [f32; 2],
}

impl HairFinder {
    /// Fills `hair` with 0 or 1; returns whether there is any.
    pub fn find(&mut self, input: &HairInput<'_>, outlines: &mut Outlines, blur: &mut Blur, hair: &mut Plane) -> bool {
        hair.reset_like(input.hull);
        let Some(skin) = self.skin(input) else { return false };
        let face_width = input.face_width;
        let forehead = outlines.forehead(input.points, face_width, input.up);
        let Some(rect) = Rect::around(forehead, REACH * face_width, hair.width, hair.height) else { return false };
        self.forehead.reset(rect.width, rect.height);
        outlines.fill_last(&mut self.forehead, rect);

        self.deviation.reset(rect.width, rect.height);
        for ((band, (median, spread)), sigma) in input.bands.into_iter().zip(skin).zip(SIGMA) {
            band.cut_into(&rect, &mut self.blurred);
            blur.in_place(&mut self.blurred, sigma * face_width);
            let is_luma = sigma == SIGMA[0];
            for (d, value) in self.deviation.data.iter_mut().zip(&self.blurred.data) {
                let e = (value - median) / spread;
                // Brighter is rarely hair.
                let e = if is_luma && e > 0.0 { 0.5 * e } else { e };
                *d += e * e;
            }
        }
        input.features.cut_into(&rect, &mut self.rim);
        self.found.reset(rect.width, rect.height);
        let looks = self.deviation.data.iter().zip(&self.forehead.data).zip(&self.rim.data);
        for (h, ((d, forehead), feature)) in self.found.data.iter_mut().zip(looks) {
            let is_suspect = *forehead > 0.5 && *d > LIMIT && *feature < 0.5;
            *h = f32::from(is_suspect);
        }
        blur.in_place(&mut self.found, 0.012 * face_width);
        self.found.data.iter_mut().for_each(|h| *h = f32::from(*h > 0.45)); // specks go
        blur.in_place(&mut self.found, 0.02 * face_width);
        for (h, forehead) in self.found.data.iter_mut().zip(&self.forehead.data) {
            *h = f32::from(*h > 0.2 && *forehead > 0.5); // grown by about 0.02 face widths
        }
        input.hull.cut_into(&rect, &mut self.hull);
        blur.gaussian(&self.hull, 0.02 * face_width, &mut self.rim);
        let any = self.keep_touching_rim();
        for y in 0..rect.height {
            hair.row_mut(rect.y + y)[rect.x..][..rect.width].copy_from_slice(self.found.row(y));
        }
        any
    }

    /// Median and spread (1.48 MAD, bounded below) of every band over the cheeks.
    fn skin(&mut self, input: &HairInput<'_>) -> Option<[(f32, f32); 3]> {
        let (width, height) = (input.hull.width as isize, input.hull.height as isize);
        let radius = ((0.02 * input.face_width) as isize).max(1);
        let mut bands = [(0.0, 0.0); 3];
        for (band, (plane, floor)) in bands.iter_mut().zip(input.bands.into_iter().zip(FLOOR)) {
            self.samples.clear();
            for cheek in CHEEKS {
                let [x, y, _] = input.points[cheek].map(|v| v.round() as isize);
                if x < radius || y < radius || x + radius >= width || y + radius >= height {
                    continue;
                }
                for row in y - radius..=y + radius {
                    self.samples
                        .extend_from_slice(&plane.row(row as usize)[(x - radius) as usize..=(x + radius) as usize]);
                }
            }
            let middle = median(&mut self.samples)?;
            self.samples.iter_mut().for_each(|v| *v = (*v - middle).abs());
            *band = (middle, floor.max(1.48 * median(&mut self.samples)?));
        }
        Some(bands)
    }

    /// Keeps what hangs together with the hull's rim; returns whether anything does.
    fn keep_touching_rim(&mut self) -> bool {
        const KEPT: f32 = 2.0;
        let Self { found, hull, rim, stack, .. } = self;
        let (width, height) = (found.width, found.height);
        stack.clear();
        for i in 0..found.data.len() {
            let is_seed = found.data[i] == 1.0 && hull.data[i] > 0.5 && rim.data[i] < 0.85;
            if !is_seed {
                continue;
            }
            found.data[i] = KEPT;
            stack.push(i as u32);
            while let Some(at) = stack.pop() {
                let (x, y) = (at as usize % width, at as usize / width);
                for ny in y.saturating_sub(1)..(y + 2).min(height) {
                    for nx in x.saturating_sub(1)..(x + 2).min(width) {
                        let next = ny * width + nx;
                        if found.data[next] == 1.0 {
                            found.data[next] = KEPT;
                            stack.push(next as u32);
                        }
                    }
                }
            }
        }
        let mut any = false;
        for h in &mut found.data {
            *h = f32::from(*h == KEPT);
            any |= *h > 0.0;
        }
        any
    }
}

/// The middle one of some values; None of none. Puts them into another order.
pub fn median(samples: &mut [f32]) -> Option<f32> {
    let middle = samples.len() / 2;
    (!samples.is_empty()).then(|| *samples.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// 0 on `mask`, rising smoothly to 1 at `far` points away from it (chamfer distance, weights 1 and √2).
pub fn away_from(mask: &Plane, far: f32, out: &mut Plane) {
    let height = mask.height;
    out.reset(mask.width, height);
    out.data.fill(1.0);
    let is_used = |y: &usize| mask.row(*y).iter().any(|&m| m > 0.5);
    let (Some(first), Some(last)) = ((0..height).find(is_used), (0..height).rev().find(is_used)) else { return };
    let reach = far.ceil() as usize;
    let rows = first.saturating_sub(reach)..(last + reach + 1).min(height);
    for y in rows.clone() {
        for (o, m) in out.row_mut(y).iter_mut().zip(mask.row(y)) {
            *o = if *m > 0.5 { 0.0 } else { far };
        }
    }
    let width = mask.width;
    for y in rows.clone() {
        let (before, from) = out.data.split_at_mut(y * width);
        let row = &mut from[..width];
        if y > rows.start {
            relax_from(row, &before[(y - 1) * width..]);
        }
        relax_along(row.iter_mut());
    }
    for y in rows.clone().rev() {
        let (until, after) = out.data.split_at_mut((y + 1) * width);
        let row = &mut until[y * width..];
        if y + 1 < rows.end {
            relax_from(row, &after[..width]);
        }
        relax_along(row.iter_mut().rev());
    }
    for y in rows {
        out.row_mut(y).iter_mut().for_each(|d| *d = smoothstep(0.0, far, *d));
    }
}

/// Distances by way of the neighbouring row.
fn relax_from(row: &mut [f32], neighbour: &[f32]) {
    const DIAGONAL: f32 = std::f32::consts::SQRT_2;
    let last = row.len() - 1;
    for (value, straight) in row.iter_mut().zip(neighbour) {
        *value = value.min(straight + 1.0);
    }
    for (value, left) in row[1..].iter_mut().zip(neighbour) {
        *value = value.min(left + DIAGONAL);
    }
    for (value, right) in row[..last].iter_mut().zip(&neighbour[1..]) {
        *value = value.min(right + DIAGONAL);
    }
}

fn relax_along<'a>(row: impl Iterator<Item = &'a mut f32>) {
    row.fold(f32::MAX, |before, value| {
        *value = value.min(before + 1.0);
        *value
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_rises_from_the_mask() {
        let mut mask = Plane::new(21, 21);
        mask.data[10 * 21 + 10] = 1.0;
        let mut out = Plane::default();
        away_from(&mask, 8.0, &mut out);
        for (x, y, distance) in
            [(10, 10, 0.0), (14, 10, 4.0), (10, 6, 4.0), (13, 13, 3.0 * std::f32::consts::SQRT_2), (20, 20, 14.0)]
        {
            let (found, expected) = (out.row(y)[x], smoothstep(0.0, 8.0, distance));
            assert!((found - expected).abs() < 1e-4, "at {x}, {y}: {found}, expected {expected}");
        }
    }

    #[test]
    fn medians_of_nothing_are_none() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
    }
}
