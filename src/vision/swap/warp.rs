//! Piecewise affine warp: the fixed triangles of the mesh, drawn far to near, with values that are linear across each.

use super::canonical::{Points, area, canonical};
use super::plane::{Lattice, Plane};

/// Triangles smaller than this (twice the area, square lattice steps) are not drawn.
const MIN_AREA: f32 = 1e-3;
/// Share of a triangle by which it is drawn beyond its sides, so that neighbours leave no gap.
const OVERLAP: f32 = 1e-4;

/// The triangles that face the viewer, farthest first.
pub fn visible_triangles(points: &Points, order: &mut Vec<u16>) {
    let face = canonical();
    let depth = |i: &u16| face.triangles[usize::from(*i)].iter().map(|&v| points[usize::from(v)][2]).sum::<f32>();
    order.clear();
    order.extend(
        (0..face.triangles.len() as u16)
            .filter(|&i| area(points, &face.triangles[usize::from(i)]) * face.winding > MIN_AREA),
    );
    // z grows away from the viewer.
    order.sort_by(|a, b| depth(b).total_cmp(&depth(a)));
}

/// A mesh and those of its triangles that are drawn, in order.
#[derive(Clone, Copy)]
pub struct Visible<'a> {
    pub points: &'a Points,
    pub triangles: &'a [u16],
}

/// A run of lattice points in one row of one triangle.
pub struct Span<const N: usize> {
    pub row: usize,
    pub first: usize,
    pub count: usize,
    /// Values at the first point.
    pub values: [f32; N],
    /// What each next point adds.
    pub steps: [f32; N],
}

/// Draws `mesh` over `lattice`; `paint` is called for every span with the values of `vertices` interpolated.
pub fn draw<const N: usize>(
    lattice: &Lattice,
    mesh: Visible<'_>,
    vertices: &[[f32; N]; 468],
    mut paint: impl FnMut(Span<N>),
) {
    let face = canonical();
    let places = mesh.points.map(|[x, y, _]| lattice.locate([x, y]));
    for &number in mesh.triangles {
        let corners = face.triangles[usize::from(number)].map(usize::from);
        let [a, b, c] = corners.map(|i| places[i]);
        let double_area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
        let inverse = 1.0 / double_area;
        if !inverse.is_finite() {
            continue;
        }
        // Barycentric weights of b and c, relative to a: w = x·(p − a).
        let to_b = [(c[1] - a[1]) * inverse, -(c[0] - a[0]) * inverse];
        let to_c = [-(b[1] - a[1]) * inverse, (b[0] - a[0]) * inverse];
        let to_a = [-to_b[0] - to_c[0], -to_b[1] - to_c[1]];
        let slopes = [to_a[0], to_b[0], to_c[0]].map(f32::recip);
        let [va, vb, vc] = corners.map(|i| vertices[i]);
        let steps: [f32; N] = std::array::from_fn(|n| (vb[n] - va[n]) * to_b[0] + (vc[n] - va[n]) * to_c[0]);
        let down: [f32; N] = std::array::from_fn(|n| (vb[n] - va[n]) * to_b[1] + (vc[n] - va[n]) * to_c[1]);

        let top = ceil_index(a[1].min(b[1]).min(c[1]));
        let bottom = floor_index(a[1].max(b[1]).max(c[1]), lattice.height);
        let (left, right) = (a[0].min(b[0]).min(c[0]), a[0].max(b[0]).max(c[0]));
        for row in top..=bottom {
            let dy = row as f32 - a[1];
            let (mut from, mut to) = (left - 1.0 - a[0], right + 1.0 - a[0]);
            let weights = [1.0 + to_a[1] * dy, to_b[1] * dy, to_c[1] * dy];
            for (weight, (slope, gradient)) in weights.into_iter().zip(slopes.into_iter().zip([to_a, to_b, to_c])) {
                let bound = -(weight + OVERLAP) * slope;
                if gradient[0] > 0.0 {
                    from = from.max(bound);
                } else if gradient[0] < 0.0 {
                    to = to.min(bound);
                } else if weight < -OVERLAP {
                    to = f32::NEG_INFINITY;
                }
            }
            let first = ceil_index(from + a[0]);
            let last = floor_index(to + a[0], lattice.width);
            if first <= last {
                let dx = first as f32 - a[0];
                paint(Span {
                    row: row as usize,
                    first: first as usize,
                    count: (last - first) as usize + 1,
                    values: std::array::from_fn(|n| va[n] + steps[n] * dx + down[n] * dy),
                    steps,
                });
            }
        }
    }
}

/// The first index at or after `value`, at least 0. Casts truncate; the library's `ceil` is a call on plain x86-64.
fn ceil_index(value: f32) -> i32 {
    const FAR: f32 = 1e7; // beyond any picture
    let whole = value.clamp(0.0, FAR) as i32;
    whole + i32::from((whole as f32) < value)
}

/// The last index at or before `value`, below `size`; −1 if there is none.
fn floor_index(value: f32, size: usize) -> i32 {
    if value >= 0.0 { value.min(size as f32 - 1.0) as i32 } else { -1 }
}

/// Bilinear samples along a line.
pub struct Sampler<'a> {
    plane: &'a Plane,
    limit: [f32; 2],
}

impl<'a> Sampler<'a> {
    /// None for planes without a 3×3 interior.
    pub fn new(plane: &'a Plane) -> Option<Self> {
        let is_large_enough = plane.width >= 3 && plane.height >= 3;
        let limit = [plane.width, plane.height].map(|size| size as f32 - 1.51);
        is_large_enough.then_some(Self { plane, limit })
    }

    /// `out[i]` = the plane at `start + i·step`, clamped to its interior.
    pub fn line(&self, start: [f32; 2], step: [f32; 2], out: &mut [f32]) {
        let width = self.plane.width;
        for (i, value) in out.iter_mut().enumerate() {
            let (x, fx) = split((start[0] + i as f32 * step[0]).max(0.5).min(self.limit[0]));
            let (y, fy) = split((start[1] + i as f32 * step[1]).max(0.5).min(self.limit[1]));
            let pair = &self.plane.data[y * width + x..][..width + 2];
            let above = pair[0] + (pair[1] - pair[0]) * fx;
            let below = pair[width] + (pair[width + 1] - pair[width]) * fx;
            *value = above + (below - above) * fy;
        }
    }
}

/// Whole and fractional part of a value ≥ 0.5 and < 2²². Exact integers may come as (n − 1, 1.0).
///
/// Adding 2²³ leaves the rounded integer in the mantissa: cheaper than a saturating cast, and it vectorises.
fn split(value: f32) -> (usize, f32) {
    const SHIFT: f32 = 8_388_608.0;
    let whole = ((value - 0.5) + SHIFT).to_bits() & 0x007f_ffff;
    (whole as usize, value - whole as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontal(scale: f32, centre: [f32; 2]) -> Points {
        canonical().points.map(|[x, y, z]| [x * scale + centre[0], y * scale + centre[1], z * scale])
    }

    fn lattice(width: usize, height: usize) -> Lattice {
        Lattice { origin: [0.0; 2], step: [1.0; 2], width, height }
    }

    #[test]
    fn drawn_values_are_linear_and_leave_no_gaps() {
        let points = frontal(6.0, [60.3, 60.7]);
        let mut order = Vec::new();
        visible_triangles(&points, &mut order);
        let vertices = points.map(|[x, y, _]| [2.0 * x - y + 3.0]);
        let mut plane = Plane::new(120, 130);
        plane.data.fill(f32::NAN);
        draw(&lattice(120, 130), Visible { points: &points, triangles: &order }, &vertices, |span| {
            for i in 0..span.count {
                plane.row_mut(span.row)[span.first + i] = span.values[0] + i as f32 * span.steps[0];
            }
        });
        for (y, x) in (40..80).flat_map(|y| (40..80).map(move |x| (y, x))) {
            let (found, expected) = (plane.row(y)[x], 2.0 * x as f32 - y as f32 + 3.0);
            assert!((found - expected).abs() < 1e-2, "at {x}, {y}: {found}, expected {expected}");
        }
    }

    #[test]
    fn degenerate_and_far_meshes_stay_inside() {
        for points in [
            frontal(0.0, [5.0, 5.0]),
            frontal(500.0, [5.0, 5.0]),
            frontal(6.0, [-300.0, 9000.0]),
            frontal(6.0, [f32::NAN, 5.0]),
            frontal(f32::INFINITY, [5.0, 5.0]),
        ] {
            let order: Vec<u16> = (0..898).collect();
            draw(&lattice(10, 7), Visible { points: &points, triangles: &order }, &[[0.0]; 468], |span| {
                assert!(span.row < 7 && span.first + span.count <= 10);
            });
        }
    }

    #[test]
    fn samples_are_bilinear_inside() {
        let data = (0..20).flat_map(|y| (0..30).map(move |x| (3 * x + 7 * y) as f32)).collect();
        let plane = Plane { width: 30, height: 20, data };
        let sampler = Sampler::new(&plane).unwrap();
        let mut out = [0.0; 8];
        sampler.line([2.0, 3.0], [0.75, 0.5], &mut out);
        for (i, value) in out.into_iter().enumerate() {
            let expected = 3.0 * (2.0 + 0.75 * i as f32) + 7.0 * (3.0 + 0.5 * i as f32);
            assert!((value - expected).abs() < 1e-3, "{i}: {value}, expected {expected}");
        }
        sampler.line([-1e9, f32::NAN], [0.0, 0.0], &mut out); // clamped, no panic
        assert!(Sampler::new(&Plane::new(2, 9)).is_none());
    }
}
