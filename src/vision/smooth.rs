//! Small jitter goes, motion stays: a mesh smoothed over the frames around it.
//!
//! Pose and shape are smoothed apart, each by a straight line fitted to the window, and each only as far as the fit
//! agrees with the frame's own value: where they differ by more than a few per cent of the inter-ocular distance (IOD)
//! the frame is right.

use std::sync::LazyLock;

use super::geometry::{Reference, wrapped};
use super::{MESH_POINTS, Mesh};

/// Frames on each side that the smoothing looks at.
pub const RADIUS: u64 = 3;

/// Widths of the Gaussian weights, frames.
const POSE_SIGMA: f64 = 1.5;
const SHAPE_SIGMA: f64 = 2.0;
/// Distance between fit and frame from which on the fit is not used, % of the IOD.
const POSE_LIMIT: f64 = 3.0;
const SHAPE_LIMIT: f64 = 3.0;
/// The same for eyes and mouth: a blink must not be smoothed away.
const FEATURE_LIMIT: f64 = 0.8;
/// Width of the neighbourhood over which distances are pooled, in IOD.
const POOL_SIGMA: f64 = 0.10;
/// The neighbourhood ends here, in widths: weights are below 4e-4 of the greatest.
const POOL_END: f64 = 4.0;

/// Contours of both eyes and of the lips, outer and inner (MediaPipe's FACEMESH_LEFT_EYE, RIGHT_EYE, LIPS).
#[rustfmt::skip]
const EYES_AND_MOUTH: [usize; 72] = [
    33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
    263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
];

/// A mesh as pose (x, y, ln scale, angle against the reference shape) and what is left: its shape.
#[derive(Clone, Debug)]
pub struct Posed {
    pose: [f64; 4],
    /// Relative to the mesh's centre, turned upright and scaled to the reference's size.
    shape: Box<[[f64; 3]; MESH_POINTS]>,
}

impl Posed {
    /// Takes a mesh apart.
    pub fn of(mesh: &Mesh) -> Self {
        let fit = Reference::get().fit(mesh);
        let square = fit.a * fit.a + fit.b * fit.b;
        let upright = |point: &[f32; 3]| {
            let (x, y) = (f64::from(point[0]) - fit.to[0], f64::from(point[1]) - fit.to[1]);
            let depth = f64::from(point[2]) / square.sqrt();
            [(fit.a * x + fit.b * y) / square, (fit.a * y - fit.b * x) / square, depth]
        };
        let mut shape = Box::new([[0.0; 3]; MESH_POINTS]);
        for (upright_point, point) in shape.iter_mut().zip(&mesh.0) {
            *upright_point = upright(point);
        }
        Self { pose: [fit.to[0], fit.to[1], 0.5 * square.ln(), fit.angle()], shape }
    }

    fn put_together(&self) -> Mesh {
        let placement = Placement::of(&self.pose);
        let scale = self.pose[2].exp();
        let mut mesh = Mesh([[0.0; 3]; MESH_POINTS]);
        for (point, &[x, y, depth]) in mesh.0.iter_mut().zip(self.shape.iter()) {
            let [x, y] = placement.apply([x, y]);
            *point = [x as f32, y as f32, (depth * scale) as f32];
        }
        mesh
    }
}

/// Rotation, scale and shift of a pose.
struct Placement {
    a: f64,
    b: f64,
    centre: [f64; 2],
}

impl Placement {
    fn of(pose: &[f64; 4]) -> Self {
        let scale = pose[2].exp();
        Self { a: scale * pose[3].cos(), b: scale * pose[3].sin(), centre: [pose[0], pose[1]] }
    }

    fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.a * x - self.b * y + self.centre[0], self.b * x + self.a * y + self.centre[1]]
    }
}

/// The mesh of the frame at time 0, smoothed over `window`: the same face at its times in frames, of which one is 0.
pub fn smooth(window: &[(i64, &Posed)]) -> Mesh {
    let own = window.iter().find(|(time, _)| *time == 0).expect("the window holds the frame itself").1;
    let Some(pose_weights) = line_weights(window, POSE_SIGMA) else { return own.put_together() };
    let Some(shape_weights) = line_weights(window, SHAPE_SIGMA) else { return own.put_together() };
    let pose = smooth_pose(own, window, &pose_weights);
    let shape = smooth_shape(own, window, &shape_weights);
    Posed { pose, shape }.put_together()
}

/// The mean of a number over a window, the nearer in time the more.
pub fn smooth_value(window: impl Iterator<Item = (i64, f32)>) -> f32 {
    let weighed = |(time, value): (i64, f32)| ((-0.5 * (time as f64 / SHAPE_SIGMA).powi(2)).exp(), f64::from(value));
    let (sum, weights) = window
        .map(weighed)
        .fold((0.0, 0.0), |(sum, weights), (weight, value)| (sum + weight * value, weights + weight));
    if weights > 0.0 { (sum / weights) as f32 } else { 0.0 }
}

fn smooth_pose(own: &Posed, window: &[(i64, &Posed)], weights: &[f64]) -> [f64; 4] {
    let mut change = [0.0; 4]; // fit − own
    for ((_, posed), weight) in window.iter().zip(weights) {
        for (change, (theirs, ours)) in change.iter_mut().zip(posed.pose.iter().zip(&own.pose)).take(3) {
            *change += weight * (theirs - ours);
        }
        change[3] += weight * wrapped(posed.pose[3] - own.pose[3]);
    }
    let moved = |part: f64| std::array::from_fn(|axis| own.pose[axis] + part * change[axis]);
    let reference = Reference::get();
    let (here, there) = (Placement::of(&own.pose), Placement::of(&moved(1.0)));
    let apart = |point: &[f64; 2]| distance(here.apply(*point), there.apply(*point));
    let mean = reference.shape.iter().map(apart).sum::<f64>() / MESH_POINTS as f64;
    let percent = 100.0 * mean / (own.pose[2].exp() * reference.iod);
    moved(trust(percent, POSE_LIMIT))
}

fn smooth_shape(own: &Posed, window: &[(i64, &Posed)], weights: &[f64]) -> Box<[[f64; 3]; MESH_POINTS]> {
    let mut change = [[0.0; 3]; MESH_POINTS]; // fit − own
    for ((_, posed), weight) in window.iter().zip(weights) {
        for (change, (theirs, ours)) in change.iter_mut().zip(posed.shape.iter().zip(own.shape.iter())) {
            for axis in 0..3 {
                change[axis] += weight * (theirs[axis] - ours[axis]);
            }
        }
    }
    let squares = change.map(|[x, y, _]| x * x + y * y);
    let pool = Pool::get();
    let percent_per_unit = 100.0 / Reference::get().iod;
    let mut shape = own.shape.clone();
    for (point, smoothed) in shape.iter_mut().enumerate() {
        let part = trust(pool.sum(point, &squares).sqrt() * percent_per_unit, pool.limits[point]);
        for axis in 0..3 {
            smoothed[axis] += part * change[point][axis];
        }
    }
    shape
}

/// How far a fit is used that lies `distance` from the frame's own value: Tukey's biweight.
fn trust(distance: f64, limit: f64) -> f64 {
    let part = (1.0 - (distance / limit).powi(2)).max(0.0);
    part * part
}

/// Weights that give the value at time 0 of the straight line fitted to values at the window's times, each counted with
/// its Gaussian weight; `None` for fewer than three times, which say nothing.
fn line_weights(window: &[(i64, &Posed)], sigma: f64) -> Option<Vec<f64>> {
    if window.len() < 3 {
        return None;
    }
    let times: Vec<f64> = window.iter().map(|&(time, _)| time as f64).collect();
    let gauss = |time: f64| (-0.5 * (time / sigma).powi(2)).exp();
    let sum = |power: i32| times.iter().map(|&time| gauss(time) * time.powi(power)).sum::<f64>();
    let (s0, s1, s2) = (sum(0), sum(1), sum(2));
    let determinant = s0 * s2 - s1 * s1;
    Some(times.iter().map(|&time| gauss(time) * (s2 - s1 * time) / determinant).collect())
}

/// Neighbourhoods on the reference shape.
struct Pool {
    /// For each point its neighbours (itself too) and their weights, which sum to 1.
    neighbours: Vec<Vec<(usize, f64)>>,
    /// For each point its limit, % of the IOD: soft at the border between features and the rest.
    limits: Vec<f64>,
}

impl Pool {
    fn get() -> &'static Pool {
        static POOL: LazyLock<Pool> = LazyLock::new(Pool::new);
        &POOL
    }

    fn new() -> Self {
        let reference = Reference::get();
        let width = POOL_SIGMA * reference.iod;
        let weight = |a: usize, b: usize| {
            let widths = distance(reference.shape[a], reference.shape[b]) / width;
            if widths < POOL_END { (-0.5 * widths * widths).exp() } else { 0.0 }
        };
        let around = |point: usize| {
            let total: f64 = (0..MESH_POINTS).map(|other| weight(other, point)).sum();
            let share = |other: usize| (other, weight(other, point) / total);
            (0..MESH_POINTS).map(share).filter(|&(_, share)| share > 0.0).collect()
        };
        let neighbours = (0..MESH_POINTS).map(around).collect();
        let mut pool = Pool { neighbours, limits: Vec::new() };
        let own: [f64; MESH_POINTS] =
            std::array::from_fn(|point| if EYES_AND_MOUTH.contains(&point) { FEATURE_LIMIT } else { SHAPE_LIMIT });
        pool.limits = (0..MESH_POINTS).map(|point| pool.sum(point, &own)).collect();
        pool
    }

    fn sum(&self, point: usize, values: &[f64; MESH_POINTS]) -> f64 {
        self.neighbours[point].iter().map(|&(other, weight)| weight * values[other]).sum()
    }
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_shakes_is_calmed_and_one_that_moves_keeps_its_way() {
        let around = |value: &dyn Fn(i64) -> f32| smooth_value((-3..=3).map(|time| (time, value(time))));
        let shaking = |time: i64| if time % 2 == 0 { 51.5 } else { 48.5 };
        assert!((around(&shaking) - 50.0).abs() < 0.4, "{}", around(&shaking));
        assert!((around(&|time| 50.0 + 3.0 * time as f32) - 50.0).abs() < 1e-4);
        assert_eq!(smooth_value([(0, 12.0)].into_iter()), 12.0);
    }

    /// The reference shape, with depth, at a pose.
    fn at(x: f64, y: f64, scale: f64, angle: f64) -> Mesh {
        let reference = Reference::get();
        let mut shape = Box::new([[0.0; 3]; MESH_POINTS]);
        for (index, (point, &[x, y])) in shape.iter_mut().zip(&reference.shape).enumerate() {
            *point = [x, y, (index % 7) as f64 - 3.0];
        }
        Posed { pose: [x, y, f64::ln(scale), angle], shape }.put_together()
    }

    fn smoothed(meshes: &[(i64, Mesh)]) -> Mesh {
        let posed: Vec<(i64, Posed)> = meshes.iter().map(|(time, mesh)| (*time, Posed::of(mesh))).collect();
        smooth(&posed.iter().map(|(time, posed)| (*time, posed)).collect::<Vec<_>>())
    }

    fn apart(a: &Mesh, b: &Mesh) -> f32 {
        let differences =
            a.0.iter().zip(&b.0).map(|(p, q)| (0..3).map(|axis| (p[axis] - q[axis]).abs()).fold(0.0, f32::max));
        differences.fold(0.0, f32::max)
    }

    #[test]
    fn a_mesh_is_put_together_as_it_was() {
        for (x, y, scale, angle) in [(100.0, 80.0, 1.0, 0.0), (-20.0, 900.0, 3.5, 2.8), (300.0, 200.0, 0.2, -1.5)] {
            let mesh = at(x, y, scale, angle);
            assert!(apart(&Posed::of(&mesh).put_together(), &mesh) < 1e-3);
        }
    }

    #[test]
    fn steady_motion_is_left_as_it_is() {
        let moving = |time: i64| {
            let t = time as f64;
            at(200.0 + 9.0 * t, 100.0 - 4.0 * t, (0.03 * t).exp(), 3.1 + 0.05 * t) // angles wrap in the window
        };
        let check = |times: &[i64]| {
            let window: Vec<_> = times.iter().map(|&time| (time, moving(time))).collect();
            assert!(apart(&smoothed(&window), &moving(0)) < 1e-3, "{times:?}");
        };
        check(&[-3, -2, -1, 0, 1, 2, 3]);
        check(&[0, 1, 2, 3]);
        check(&[-2, -1, 0]);
        check(&[-1, 0]);
        check(&[0]);
    }

    #[test]
    fn jitter_goes_and_a_jump_stays() {
        let iod = Reference::get().iod;
        let jolted = |percent: f64| {
            let shift = iod * percent / 100.0;
            let window: Vec<_> =
                (-3..=3).map(|time| (time, at(200.0 + if time == 0 { shift } else { 0.0 }, 100.0, 1.0, 0.0))).collect();
            let left = smoothed(&window).centre()[0] - 200.0;
            left / shift
        };
        assert!(jolted(0.5) < 0.4, "{}", jolted(0.5));
        assert!(jolted(10.0) > 0.999, "{}", jolted(10.0));
        assert!(jolted(0.5) < jolted(2.0) && jolted(2.0) < jolted(4.0));
    }

    #[test]
    fn a_blink_stays_where_a_cheek_would_be_smoothed() {
        let iod = Reference::get().iod;
        let still = at(200.0, 100.0, 1.0, 0.0);
        let kept = |points: &[usize]| {
            let mut blink = still.clone();
            let shift = (0.025 * iod) as f32;
            points.iter().for_each(|&point| blink.0[point][1] += shift);
            let window: Vec<_> =
                (-3..=3).map(|time| (time, if time == 0 { blink.clone() } else { still.clone() })).collect();
            let out = smoothed(&window);
            (out.0[points[0]][1] - still.0[points[0]][1]) / shift
        };
        // The upper lid of one eye with its neighbours; a patch of the cheek.
        let (lid, cheek) =
            (kept(&[159, 158, 160, 157, 161, 27, 28, 29, 56, 30]), kept(&[50, 101, 118, 117, 123, 187, 205, 36]));
        assert!(lid > 0.85 && cheek < lid - 0.2, "{lid} {cheek}");
    }

    #[test]
    fn weights_of_a_line_sum_to_one_and_reproduce_it() {
        let posed = Posed::of(&at(0.0, 0.0, 1.0, 0.0));
        for times in [&[-3, -2, -1, 0, 1, 2, 3][..], &[0, 1, 2], &[-3, -2, -1, 0, 1]] {
            let window: Vec<_> = times.iter().map(|&time| (time, &posed)).collect();
            let weights = line_weights(&window, 1.5).unwrap();
            let line: f64 = weights.iter().zip(times).map(|(weight, &time)| weight * (4.0 + 2.5 * time as f64)).sum();
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12 && (line - 4.0).abs() < 1e-12);
        }
    }
}
