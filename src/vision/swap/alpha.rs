//! How much of the new face shows at each place of the mask grid.

use super::analysis::{Analysis, Tools};
use super::bake::Baked;
use super::canonical::{Points, canonical, facing, smoothstep};
use super::features::{BROWS, EYES, LIDS, MOUTH};
use super::hair::away_from;
use super::plane::{Lattice, Plane, Rect};
use super::warp::{Sampler, Visible, draw};

/// Width of the ramp inside the oval, face widths.
const FEATHER: f32 = 0.10;
/// Brows show at least this much: a half-covered tail would be a double brow.
const BROW_ALPHA: f32 = 0.97;
/// Beside the brows' tails, which reach farther in some faces than the mesh says.
const TAILS: [(usize, f32); 6] = [(156, 0.97), (383, 0.97), (71, 0.8), (301, 0.8), (139, 0.7), (368, 0.7)];
/// Vertices steeper than this even in the frontal face (the nose's sides) do not fade as the head turns…
const STEEP: f32 = 0.45;
/// …unless they lie this near to the rim (face widths).
const STEEP_RIM: f32 = 0.1;
/// Of the ring between the opening and the lids' folds, what a closed eye keeps: the lashes and the lid, not its shadow…
const CLOSED: f32 = 0.75;
/// …and below, where the lashes of a closed eye hang over the fold…
const CLOSED_BELOW: f32 = 1.05;
/// …and how far within the opening's rim an open eye begins to be the target's: its lash line is the portrait's.
const OPEN: f32 = -0.14;
/// Less than this does not change a sample.
const MIN_OPACITY: f32 = 0.003;

/// How much of the new face shows at each vertex. `lent_facing`: the portrait's vertex normals; `covered`: 1 behind a hand.
pub fn vertex_alpha(points: &Points, lent_facing: &[f32; 468], covered: Option<&[f32; 468]>) -> [f32; 468] {
    let face = canonical();
    let target_facing = facing(points, &face.triangles);
    let mut alpha: [f32; 468] = std::array::from_fn(|i| smoothstep(0.0, FEATHER, face.depth[i]));
    for &vertex in BROWS.as_flattened() {
        alpha[vertex] = alpha[vertex].max(BROW_ALPHA);
    }
    for (vertex, least) in TAILS {
        alpha[vertex] = alpha[vertex].max(least);
    }
    let pose = |vertex: usize, normal: f32| match face.facing[vertex] < STEEP {
        false => smoothstep(0.15, 0.50, normal),
        true if face.depth[vertex] < STEEP_RIM => smoothstep(0.05, 0.3, normal),
        true => 1.0,
    };
    for (vertex, value) in alpha.iter_mut().enumerate() {
        *value *= pose(vertex, target_facing[vertex]) * pose(vertex, lent_facing[vertex]);
        *value *= 1.0 - covered.map_or(0.0, |covered| covered[vertex]);
    }
    alpha
}

/// What of the target stays.
pub struct Kept<'a> {
    pub face: &'a Analysis,
    /// Mask-grid coordinates.
    pub points: &'a Points,
    /// How closed each eye is (see [`super::eyes::keep_lids`]).
    pub eyelids: [f32; 2],
    /// 0..1.
    pub blend_ratio: f32,
}

/// Planes of the mask grid.
#[derive(Default)]
pub struct Opacity {
    /// The drawn vertex alpha; after [`Opacity::finish`] what is blended with.
    pub alpha: Plane,
    /// The portrait's own cover.
    pub cover: Plane,
    away: Plane,
    kept: Plane,
}

impl Opacity {
    /// Draws alpha, cover and hull (1 where the mesh is).
    pub fn draw(&mut self, mask_grid: &Lattice, mesh: Visible<'_>, alpha: &[f32; 468], lent: &Baked, hull: &mut Plane) {
        for plane in [&mut self.alpha, &mut self.cover, &mut *hull] {
            plane.reset(mask_grid.width, mask_grid.height);
        }
        let Some(sampler) = Sampler::new(&lent.cover) else { return };
        let vertices = std::array::from_fn(|i| {
            let [u, v] = lent.cover_lattice.locate([lent.points[i][0], lent.points[i][1]]);
            [u, v, alpha[i]]
        });
        draw(mask_grid, mesh, &vertices, |span| {
            let columns = span.first..span.first + span.count;
            let ([u, v, start], [du, dv, step]) = (span.values, span.steps);
            sampler.line([u, v], [du, dv], &mut self.cover.row_mut(span.row)[columns.clone()]);
            for (i, value) in self.alpha.row_mut(span.row)[columns.clone()].iter_mut().enumerate() {
                *value = (start + i as f32 * step).clamp(0.0, 1.0);
            }
            hull.row_mut(span.row)[columns].fill(1.0);
        });
    }

    /// From vertex alpha to opacity. `face_width` in grid points.
    pub fn finish(&mut self, keep: &Kept<'_>, face_width: f32, tools: &mut Tools) {
        let Tools { blur, outlines, .. } = tools;
        blur.in_place(&mut self.alpha, 0.015 * face_width);
        for ((alpha, hull), cover) in self.alpha.data.iter_mut().zip(&keep.face.hull.data).zip(&self.cover.data) {
            *alpha *= hull * cover.clamp(0.0, 1.0) * keep.blend_ratio;
        }
        if keep.face.has_hair {
            away_from(&keep.face.hair, 0.05 * face_width, &mut self.away);
            blur.in_place(&mut self.away, 0.012 * face_width);
            // A tail that touches the temple's hair is still a brow.
            self.kept.reset_like(&keep.face.hull);
            BROWS.iter().for_each(|ring| outlines.add(&mut self.kept, keep.points, ring));
            blur.in_place(&mut self.kept, 0.02 * face_width);
            for ((alpha, away), brow) in self.alpha.data.iter_mut().zip(&self.away.data).zip(&self.kept.data) {
                *alpha *= away.max((2.5 * brow).min(1.0));
            }
        }
        let mut keep_out = |rings: [&[usize]; 2], shares: [f32; 2], sigma: f32, gain: f32| {
            let sigma = sigma * face_width;
            let polygon = outlines.between(keep.points, rings, shares);
            let rect = Rect::around(polygon, 3.0 * sigma + 1.0, self.alpha.width, self.alpha.height);
            let Some(rect) = rect else { return };
            self.kept.reset(rect.width, rect.height);
            outlines.fill_last(&mut self.kept, rect);
            blur.in_place(&mut self.kept, sigma);
            for y in 0..rect.height {
                let alphas = &mut self.alpha.row_mut(rect.y + y)[rect.x..];
                for (alpha, kept) in alphas.iter_mut().zip(self.kept.row(y)) {
                    *alpha *= 1.0 - (gain * kept).min(1.0);
                }
            }
        };
        for (eye, closed) in keep.eyelids.into_iter().enumerate() {
            let shares = [CLOSED, CLOSED_BELOW].map(|full| OPEN + (full - OPEN) * closed);
            keep_out([&EYES[eye], &LIDS[eye]], shares, 0.010 + 0.012 * closed, 1.15);
        }
        keep_out([&MOUTH, &MOUTH], [0.0; 2], 0.008, 1.3);
        for alpha in &mut self.alpha.data {
            if alpha.is_nan() || *alpha < MIN_OPACITY {
                *alpha = 0.0;
            }
        }
    }

    /// Columns of each row of the mask grid that are not zero; None if all are.
    pub fn rows(&self) -> Option<Vec<std::ops::Range<usize>>> {
        let used = |y: usize| {
            let row = self.alpha.row(y);
            let first = row.iter().position(|&v| v > 0.0).unwrap_or(0);
            let end = row.iter().rposition(|&v| v > 0.0).map_or(first, |last| last + 1);
            first..end
        };
        let rows: Vec<_> = (0..self.alpha.height).map(used).collect();
        rows.iter().any(|row| !row.is_empty()).then_some(rows)
    }
}
