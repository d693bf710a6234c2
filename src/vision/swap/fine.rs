//! Fine detail: the new face is made no sharper and no softer than the target around it.

use crate::frame::YuvRef;

use super::alpha::Opacity;
use super::analysis::Analysis;
use super::blur::Blur;
use super::levels::log_line;
use super::plane::{Interpolation, Lines, Plane, Region};

/// Standard deviation of the blur whose remainder is fine detail, face widths.
const SIGMA: f32 = 0.014;
/// Fine detail counts up to here (log luma).
const LIMIT: f32 = 0.12;
/// Features lose at most a quarter of their detail.
const FEATURE_FLOOR: f32 = 0.75;

/// What is compared.
pub struct Input<'a> {
    pub samples: &'a YuvRef<'a>,
    pub region: &'a Region,
    pub face: &'a Analysis,
    pub opacity: &'a Opacity,
    /// Robust skin weight, mask grid.
    pub weight: &'a Plane,
    /// The portrait's detail at the target's place, pixels.
    pub detail: &'a Plane,
    /// The target's light, mask grid.
    pub light: &'a Plane,
}

/// How log luma is put together: base + detail · portrait + own · fine band of the target. On the mask grid.
#[derive(Default)]
pub struct FineBand {
    pub base: Plane,
    /// Share of the portrait's detail.
    pub detail: Plane,
    /// The target's log luma, blurred.
    pub blurred: Plane,
    /// Share of the target's own fine detail.
    pub own: Plane,
    /// Whether `own` is anything but zero.
    pub has_own: bool,
    skin: Plane,
    measured: Plane,
    reduced: Plane,
    soft_detail: Plane,
    to_pixels: Interpolation,
    lines: [Lines; 3],
    log: Vec<f32>,
}

impl FineBand {
    /// Compares the energy of both fine bands over the skin and sets the shares.
    pub fn match_sharpness(&mut self, input: Input<'_>, blur: &mut Blur) {
        let face_width = input.region.face_width / input.region.cell as f32;
        self.reduced.reset_like(input.light);
        reduce(input.detail, input.region, &mut self.reduced);
        blur.gaussian(&self.reduced, SIGMA * face_width, &mut self.soft_detail);
        blur.gaussian(&input.face.log, SIGMA * face_width, &mut self.blurred);
        blur.gaussian(&input.face.features, 0.01 * face_width, &mut self.skin);
        self.skin.data.iter_mut().for_each(|v| *v = 1.0 - *v);

        let (target, portrait) = self.energies(&input);
        let lent = (target / (portrait + 1e-9)).sqrt().min(1.0);
        let own = (1.0 - portrait / (target + 1e-9)).max(0.0).sqrt();
        let lent_features = lent.max(FEATURE_FLOOR);

        self.has_own = own > 0.0;
        self.base.copy_from(input.light);
        self.detail.reset_like(input.light);
        self.own.reset_like(input.light);
        let outputs = self.base.data.iter_mut().zip(&mut self.detail.data).zip(&mut self.own.data);
        for (((base, detail), own_share), (skin, soft)) in
            outputs.zip(self.skin.data.iter().zip(&self.soft_detail.data))
        {
            let removed = (1.0 - lent) * skin + (1.0 - lent_features) * (1.0 - skin);
            // detail − removed·(detail − soft)
            *base += removed * soft;
            *detail = 1.0 - removed;
            *own_share = own * skin;
        }
    }

    /// Mean squares of the target's and the portrait's fine band where both show skin.
    fn energies(&mut self, input: &Input<'_>) -> (f32, f32) {
        let Input { region, opacity, .. } = input;
        self.measured.reset_like(input.weight);
        let shown = opacity.alpha.data.iter().zip(&opacity.cover.data);
        for ((m, w), (alpha, cover)) in self.measured.data.iter_mut().zip(&input.weight.data).zip(shown) {
            *m = if *alpha > 0.5 && *cover > 0.5 { *w } else { 0.0 };
        }
        self.to_pixels.prepare(&region.mask_grid(), &region.pixels());
        self.lines.iter_mut().for_each(Lines::restart);
        let [target_lines, detail_lines, measured_lines] = &mut self.lines;
        let mut sums = [0.0f64; 3];
        let window = region.window;
        for y in (0..window.height).step_by(2 * region.cell) {
            log_line(input.samples, window.y + y, window.x..window.x + window.width, &mut self.log);
            let target = target_lines.at(&self.to_pixels, &self.blurred, y);
            let detail = detail_lines.at(&self.to_pixels, &self.soft_detail, y);
            let measured = measured_lines.at(&self.to_pixels, &self.measured, y);
            let row = row_energies(&self.log, input.detail.row(y), target, detail, measured);
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(value));
        }
        let [target, portrait, count] = sums;
        ((target / (count + 1.0)) as f32, (portrait / (count + 1.0)) as f32)
    }
}

type Pair<'a> = (&'a [f32], &'a [f32], f32);

fn row_energies(
    log: &[f32],
    detail: &[f32],
    soft_log: Pair<'_>,
    soft_detail: Pair<'_>,
    measured: Pair<'_>,
) -> [f32; 3] {
    const LANES: usize = 8;
    let n = log.len();
    let (detail, soft_log, soft_detail, measured) =
        (&detail[..n], cut(soft_log, n), cut(soft_detail, n), cut(measured, n));
    let mut sums = [[0.0f32; LANES]; 3];
    for i in 0..n / LANES * LANES {
        let lane = i % LANES;
        let m = lerp(measured, i);
        let t = (log[i] - lerp(soft_log, i)).clamp(-LIMIT, LIMIT);
        let p = (detail[i] - lerp(soft_detail, i)).clamp(-LIMIT, LIMIT);
        sums[0][lane] += t * t * m;
        sums[1][lane] += p * p * m;
        sums[2][lane] += m;
    }
    sums.map(|lanes| lanes.iter().sum())
}

fn cut((above, below, share): Pair<'_>, n: usize) -> Pair<'_> {
    (&above[..n], &below[..n], share)
}

#[inline(always)]
fn lerp((above, below, share): Pair<'_>, i: usize) -> f32 {
    above[i] + (below[i] - above[i]) * share
}

/// Means of the window's values over the cells of the mask grid.
fn reduce(detail: &Plane, region: &Region, out: &mut Plane) {
    let (cell, window) = (region.cell, region.window);
    let (first_column, first_row) = ((window.x - region.x) / cell, (window.y - region.y) / cell);
    for (j, rows) in detail.data.chunks(detail.width * cell).enumerate() {
        let sums = &mut out.row_mut(first_row + j)[first_column..];
        let whole = 1.0 / (cell * rows.len() / detail.width) as f32;
        for row in rows.chunks(detail.width) {
            match cell {
                1 => add::<1>(row, whole, sums),
                2 => add::<2>(row, whole, sums),
                4 => add::<4>(row, whole, sums),
                _ => add_cells(row, cell, whole, sums),
            }
        }
    }
}

fn add<const N: usize>(row: &[f32], weight: f32, sums: &mut [f32]) {
    let (cells, rest) = row.as_chunks::<N>();
    for (sum, cell) in sums.iter_mut().zip(cells) {
        *sum += cell.iter().sum::<f32>() * weight;
    }
    if !rest.is_empty() {
        add_cells(rest, N, weight, &mut sums[cells.len()..]);
    }
}

fn add_cells(row: &[f32], cell: usize, weight: f32, sums: &mut [f32]) {
    for (sum, values) in sums.iter_mut().zip(row.chunks(cell)) {
        *sum += values.iter().sum::<f32>() * weight * cell as f32 / values.len() as f32;
    }
}
