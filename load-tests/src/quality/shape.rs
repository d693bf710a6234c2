//! Two meshes of one frame compared: how the head is turned, what the face does, how still it holds.

use facemill::vision::geometry::Reference;
use facemill::vision::{MESH_POINTS, Mesh};

/// Steps of the power iteration; the eigenvalues of two heads lie far apart, and a dozen would do.
const STEPS: usize = 500;
/// Middles of the lips' inner rims, upper and lower.
const LIPS: [usize; 2] = [13, 14];

/// The similarity in three dimensions that brings one mesh nearest to another: rotation by Horn's quaternion (Horn 1987,
/// "Closed-form solution of absolute orientation using unit quaternions"), scale from the spreads.
pub struct Fit {
    rotation: [[f64; 3]; 3],
    scale: f64,
    from: [f64; 3],
    to: [f64; 3],
}

impl Fit {
    pub fn of(from: &Mesh, to: &Mesh) -> Self {
        let (from_centre, to_centre) = (centre(from), centre(to));
        let mut s = [[0.0; 3]; 3];
        let mut spread = [0.0; 2];
        for (p, q) in from.0.iter().zip(&to.0) {
            let p: [f64; 3] = std::array::from_fn(|i| f64::from(p[i]) - from_centre[i]);
            let q: [f64; 3] = std::array::from_fn(|i| f64::from(q[i]) - to_centre[i]);
            for i in 0..3 {
                spread[0] += p[i] * p[i];
                spread[1] += q[i] * q[i];
                (0..3).for_each(|j| s[i][j] += p[i] * q[j]);
            }
        }
        let [w, x, y, z] = largest_eigenvector([
            [s[0][0] + s[1][1] + s[2][2], s[1][2] - s[2][1], s[2][0] - s[0][2], s[0][1] - s[1][0]],
            [s[1][2] - s[2][1], s[0][0] - s[1][1] - s[2][2], s[0][1] + s[1][0], s[2][0] + s[0][2]],
            [s[2][0] - s[0][2], s[0][1] + s[1][0], s[1][1] - s[0][0] - s[2][2], s[1][2] + s[2][1]],
            [s[0][1] - s[1][0], s[2][0] + s[0][2], s[1][2] + s[2][1], s[2][2] - s[0][0] - s[1][1]],
        ]);
        let rotation = [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
            [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
            [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
        ];
        Self { rotation, scale: (spread[1] / spread[0]).sqrt(), from: from_centre, to: to_centre }
    }

    /// The rotation's angle, degrees.
    pub fn degrees(&self) -> f64 {
        let trace: f64 = (0..3).map(|i| self.rotation[i][i]).sum();
        ((trace - 1.0) / 2.0).clamp(-1.0, 1.0).acos().to_degrees()
    }

    /// What remains of the distance between both meshes: mean over the points, in the picture's plane (depth is the network's guess), % of
    /// the second's inter-ocular distance.
    pub fn residual(&self, from: &Mesh, to: &Mesh) -> f64 {
        let apart = from.0.iter().zip(&to.0).map(|(p, q)| {
            let p: [f64; 3] = std::array::from_fn(|i| f64::from(p[i]) - self.from[i]);
            let turned = |i: usize| (0..3).map(|j| self.rotation[i][j] * p[j]).sum::<f64>();
            let [x, y] = [0, 1].map(|i| self.to[i] + self.scale * turned(i) - f64::from(q[i]));
            x.hypot(y)
        });
        100.0 * apart.sum::<f64>() / MESH_POINTS as f64 / to.iod()
    }
}

fn centre(mesh: &Mesh) -> [f64; 3] {
    std::array::from_fn(|axis| mesh.0.iter().map(|p| f64::from(p[axis])).sum::<f64>() / MESH_POINTS as f64)
}

fn largest_eigenvector(matrix: [[f64; 4]; 4]) -> [f64; 4] {
    // Shifted by a bound of all eigenvalues, so that the largest is also the largest in magnitude.
    let shift = matrix.iter().map(|row| row.iter().map(|v| v.abs()).sum::<f64>()).fold(0.0, f64::max);
    let mut vector = [1.0, 0.05, 0.05, 0.05];
    for _ in 0..STEPS {
        let next: [f64; 4] =
            std::array::from_fn(|i| shift * vector[i] + (0..4).map(|j| matrix[i][j] * vector[j]).sum::<f64>());
        let length = next.iter().map(|v| v * v).sum::<f64>().sqrt();
        vector = next.map(|v| v / length);
    }
    vector
}

/// How far the mouth is open, % of the inter-ocular distance.
pub fn mouth(mesh: &Mesh) -> f64 {
    let [upper, lower] = LIPS.map(|i| mesh.0[i]);
    100.0 * f64::from(upper[0] - lower[0]).hypot(f64::from(upper[1] - lower[1])) / mesh.iod()
}

/// A mesh without its place, size and rotation in the picture: on the reference shape as well as a similarity can do it, in % of the
/// reference's inter-ocular distance.
pub fn normalised(mesh: &Mesh) -> Vec<[f64; 2]> {
    let reference = Reference::get();
    let fit = reference.fit(mesh);
    let scale = 100.0 / reference.iod / (fit.a * fit.a + fit.b * fit.b);
    let place = |p: &[f32; 3]| {
        let (x, y) = (f64::from(p[0]) - fit.to[0], f64::from(p[1]) - fit.to[1]);
        [scale * (fit.a * x + fit.b * y), scale * (fit.a * y - fit.b * x)]
    };
    mesh.0.iter().map(place).collect()
}

/// Mean magnitude of the second difference of three successive normalised meshes: what shakes, without what moves.
pub fn shake(three: [&[[f64; 2]]; 3]) -> f64 {
    let [a, b, c] = three;
    let second = |axis: usize, i: usize| a[i][axis] - 2.0 * b[i][axis] + c[i][axis];
    (0..b.len()).map(|i| second(0, i).hypot(second(1, i))).sum::<f64>() / b.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference face, bent into depth so that a turn shows.
    fn face() -> Mesh {
        let reference = Reference::get();
        Mesh(std::array::from_fn(|i| {
            let [x, y] = reference.shape[i];
            [x as f32, y as f32, (0.01 * (x * x + y * y)) as f32]
        }))
    }

    fn turned(mesh: &Mesh, degrees: f64, scale: f64, shift: f64) -> Mesh {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Mesh(mesh.0.map(|point| {
            let [x, y, z] = point.map(f64::from);
            [cos * x + sin * z, y, cos * z - sin * x].map(|v| (scale * v + shift) as f32)
        }))
    }

    #[test]
    fn a_turn_is_found_whatever_size_and_place() {
        for degrees in [0.0, 2.5, 20.0, -75.0] {
            let (from, to) = (face(), turned(&face(), degrees, 1.7, 40.0));
            let fit = Fit::of(&from, &to);
            assert!((fit.degrees() - degrees.abs()).abs() < 0.02, "{degrees}: {}", fit.degrees());
            assert!(fit.residual(&from, &to) < 0.01, "{degrees}: {}", fit.residual(&from, &to));
        }
    }

    #[test]
    fn an_open_mouth_is_expression_and_not_pose() {
        let (closed, mut open) = (face(), face());
        let iod = closed.iod();
        open.0[LIPS[1]][1] += 0.2 * iod as f32;
        assert!((mouth(&open) - mouth(&closed) - 20.0).abs() < 0.5, "{} {}", mouth(&open), mouth(&closed));
        let fit = Fit::of(&closed, &open);
        assert!(fit.degrees() < 0.5 && fit.residual(&closed, &open) > 0.02, "{}", fit.degrees());
    }

    #[test]
    fn what_moves_evenly_does_not_shake() {
        let at = |shift: f64| normalised(&turned(&face(), 0.0, 1.0 + 0.01 * shift, shift));
        let even = shake([&at(0.0), &at(3.0), &at(6.0)]);
        assert!(even < 0.01, "{even}");
        let mut jumped = at(0.0);
        jumped.iter_mut().step_by(2).for_each(|point| point[1] += 1.0);
        let shaken = shake([&at(0.0), &jumped, &at(0.0)]);
        assert!((shaken - 1.0).abs() < 0.01, "every other point by 2 % of the distance: {shaken}");
    }
}
