//! Affine maps, the least-squares similarity, and the square crop in which the mesh network sees a face.

use super::{MESH_POINTS, Mesh};

/// Side of the mesh network's crop, pixels.
pub const CROP_SIDE: f64 = 192.0;

/// A point, x and y.
pub type Point = [f64; 2];

/// x' = m00·x + m01·y + m02, y' = m10·x + m11·y + m12.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine(pub [[f64; 3]; 2]);

impl Affine {
    /// Where `point` goes.
    pub fn apply(&self, [x, y]: Point) -> Point {
        self.0.map(|[a, b, c]| a * x + b * y + c)
    }

    /// The map of a square with `times` the sides, as many pixels, and the same middle: `middle` is where that lies along either axis.
    pub fn enlarged(&self, times: f64, middle: f64) -> Affine {
        let shift = middle * (1.0 - times);
        Affine(self.0.map(|[a, b, c]| [a * times, b * times, (a + b) * shift + c]))
    }

    /// The map back, or `None` for one that folds the plane.
    pub fn inverse(&self) -> Option<Affine> {
        let [[a, b, c], [d, e, f]] = self.0;
        let determinant = a * e - b * d;
        let is_usable = determinant.is_finite() && determinant.abs() > 1e-12;
        is_usable.then(|| {
            let [a, b, d, e] = [e, -b, -d, a].map(|value| value / determinant);
            Affine([[a, b, -(a * c + b * f)], [d, e, -(d * c + e * f)]])
        })
    }
}

/// Rotation, scale and shift: x' = a·x − b·y + …, y' = b·x + a·y + …, about the centres of two shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// Scale · cos.
    pub a: f64,
    /// Scale · sin.
    pub b: f64,
    /// Centre of the shape that is mapped.
    pub from: Point,
    /// Where that centre goes: the centre of the other shape.
    pub to: Point,
}

impl Similarity {
    /// The similarity that brings `from` nearest to `to`, in the sense of least squares.
    pub fn fit(from: &[Point], to: &[Point]) -> Self {
        debug_assert_eq!(from.len(), to.len());
        let (from_centre, to_centre) = (mean(from), mean(to));
        let (mut along, mut across, mut spread) = (0.0, 0.0, 0.0);
        for (p, q) in from.iter().zip(to) {
            let (p, q) = (minus(*p, from_centre), minus(*q, to_centre));
            along += p[0] * q[0] + p[1] * q[1];
            across += p[0] * q[1] - p[1] * q[0];
            spread += p[0] * p[0] + p[1] * p[1];
        }
        Self { a: along / spread, b: across / spread, from: from_centre, to: to_centre }
    }

    /// The same as a matrix.
    pub fn affine(&self) -> Affine {
        let Self { a, b, from, to } = *self;
        Affine([[a, -b, to[0] - a * from[0] + b * from[1]], [b, a, to[1] - b * from[0] - a * from[1]]])
    }

    /// Factor by which lengths grow.
    pub fn scale(&self) -> f64 {
        self.a.hypot(self.b)
    }

    /// Rotation from x towards y, radians.
    pub fn angle(&self) -> f64 {
        self.b.atan2(self.a)
    }
}

/// A rotated square of the picture that a network sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    /// Middle, picture pixels.
    pub centre: Point,
    /// Side, picture pixels.
    pub side: f64,
    /// Rotation from x towards y, radians.
    pub angle: f64,
}

impl Crop {
    /// The crop around a face of which five points are known: eyes, nose, mouth corners (the picture's left first). The
    /// constants were found by trial: they put the mesh network's face where it is at home.
    pub fn from_five_points(points: &[Point; 5]) -> Self {
        let [left_eye, right_eye, _, left_mouth, right_mouth] = *points;
        let (eyes, mouth) = (mean(&[left_eye, right_eye]), mean(&[left_mouth, right_mouth]));
        let (across, down) = (minus(right_eye, left_eye), minus(mouth, eyes));
        let unit = across[0].hypot(across[1]).max(0.9 * down[0].hypot(down[1]));
        let centre = |axis: usize| 0.45 * eyes[axis] + 0.55 * mouth[axis] - 0.12 * down[axis];
        Self { centre: [centre(0), centre(1)], side: 4.0 * unit, angle: across[1].atan2(across[0]) }
    }

    /// The crop in which the mesh lies on the reference shape as well as a similarity can do it.
    pub fn from_mesh(mesh: &Mesh) -> Self {
        let reference = Reference::get();
        let fit = reference.fit(mesh);
        let from_centre = minus([CROP_SIDE / 2.0; 2], reference.centre);
        Self {
            centre: [
                fit.to[0] + fit.a * from_centre[0] - fit.b * from_centre[1],
                fit.to[1] + fit.b * from_centre[0] + fit.a * from_centre[1],
            ],
            side: CROP_SIDE * fit.scale(),
            angle: fit.angle(),
        }
    }

    /// Crop pixels, `size` along each side, → picture pixels. The crop's middle is at (size/2, size/2).
    pub fn to_picture(&self, size: f64) -> Affine {
        let step = self.side / size;
        let (a, b) = (self.angle.cos() * step, self.angle.sin() * step);
        let [x, y] = self.centre;
        let half = size / 2.0;
        Affine([[a, -b, x - half * a + half * b], [b, a, y - half * b - half * a]])
    }

    /// How far the crop moved: shift over `iod`, plus |Δ ln side|, plus |Δ angle|.
    pub fn moved(&self, to: &Crop, iod: f64) -> f64 {
        let shift = (to.centre[0] - self.centre[0]).hypot(to.centre[1] - self.centre[1]);
        shift / iod + self.scaled(to).abs() + wrapped(to.angle - self.angle).abs()
    }

    /// ln of the factor by which the side grew.
    pub fn scaled(&self, to: &Crop) -> f64 {
        (to.side / self.side).ln()
    }
}

/// An angle in −π..π.
pub fn wrapped(angle: f64) -> f64 {
    (angle + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU) - std::f64::consts::PI
}

/// The mean mesh in its 192×192 crop: what a mesh is compared with to tell pose from shape.
pub struct Reference {
    /// Mean of the points.
    pub centre: Point,
    /// The points, relative to `centre`.
    pub shape: [Point; MESH_POINTS],
    /// Inter-ocular distance, crop pixels.
    pub iod: f64,
    spread: f64,
}

impl Reference {
    /// Measured over the meshes of seven clips; `models/builtin/mesh_reference.f32`.
    pub fn get() -> &'static Reference {
        static REFERENCE: std::sync::LazyLock<Reference> =
            std::sync::LazyLock::new(|| Reference::read(include_bytes!("../../models/builtin/mesh_reference.f32")));
        &REFERENCE
    }

    fn read(bytes: &[u8; MESH_POINTS * 8]) -> Self {
        let value = |index: usize| {
            let four = bytes[4 * index..][..4].try_into().expect("a slice of four bytes");
            f64::from(f32::from_le_bytes(four))
        };
        let mut mesh = Mesh([[0.0; 3]; MESH_POINTS]);
        let points: [Point; MESH_POINTS] = std::array::from_fn(|point| [value(2 * point), value(2 * point + 1)]);
        for (to, from) in mesh.0.iter_mut().zip(points) {
            *to = [from[0] as f32, from[1] as f32, 0.0];
        }
        let centre = mean(&points);
        let shape = points.map(|point| minus(point, centre));
        let spread = shape.iter().map(|[x, y]| x * x + y * y).sum();
        Self { centre, shape, iod: mesh.iod(), spread }
    }

    /// The least-squares similarity from the reference shape to `mesh`, over all points.
    pub fn fit(&self, mesh: &Mesh) -> Similarity {
        let to = mesh.centre();
        let (mut along, mut across) = (0.0, 0.0);
        for (&[x, y], point) in self.shape.iter().zip(&mesh.0) {
            let (u, v) = (f64::from(point[0]) - to[0], f64::from(point[1]) - to[1]);
            along += x * u + y * v;
            across += x * v - y * u;
        }
        Similarity { a: along / self.spread, b: across / self.spread, from: self.centre, to }
    }
}

/// Mean of some points, at least one.
pub fn mean(points: &[Point]) -> Point {
    let sum = points.iter().fold([0.0, 0.0], |sum, point| [sum[0] + point[0], sum[1] + point[1]]);
    sum.map(|value| value / points.len() as f64)
}

fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Point, b: Point) -> bool {
        (a[0] - b[0]).hypot(a[1] - b[1]) < 1e-3
    }

    /// The reference shape, turned, scaled and shifted by a crop.
    fn placed(crop: &Crop) -> Mesh {
        let (map, reference) = (crop.to_picture(CROP_SIDE), Reference::get());
        Mesh(std::array::from_fn(|point| {
            let [x, y] = map.apply([0, 1].map(|axis| reference.shape[point][axis] + reference.centre[axis]));
            [x as f32, y as f32, 0.0]
        }))
    }

    #[test]
    fn a_crop_is_found_again_from_its_mesh() {
        for (x, y, side, angle) in [(96.0, 96.0, 192.0, 0.0), (300.0, 40.0, 77.0, 0.6), (-10.0, 500.0, 900.0, -2.9)] {
            let crop = Crop { centre: [x, y], side, angle };
            let found = Crop::from_mesh(&placed(&crop));
            assert!(close(found.centre, crop.centre) && (found.side - side).abs() < 1e-3, "{found:?}");
            assert!(wrapped(found.angle - angle).abs() < 1e-5, "{found:?}");
            assert!(crop.moved(&found, 50.0) < 1e-3);
        }
    }

    #[test]
    fn a_similarity_is_found_again() {
        let from = [[0.0, 0.0], [3.0, 1.0], [-2.0, 5.0], [4.0, 4.0]];
        let truth = Affine([[0.6, -0.8, 7.0], [0.8, 0.6, -3.0]]);
        let to = from.map(|point| truth.apply(point));
        let found = Similarity::fit(&from, &to);
        assert!((found.scale() - 1.0).abs() < 1e-12 && (found.angle() - 0.8f64.atan2(0.6)).abs() < 1e-12);
        for (p, q) in from.iter().zip(to) {
            assert!(close(found.affine().apply(*p), q));
            assert!(close(truth.inverse().unwrap().apply(q), *p));
        }
        assert_eq!(Affine([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]]).inverse(), None);
    }

    #[test]
    fn moves_add_up() {
        let crop = Crop { centre: [10.0, 10.0], side: 100.0, angle: 3.1 };
        let check = |to: Crop, expected: f64| assert!((crop.moved(&to, 20.0) - expected).abs() < 1e-9, "{to:?}");
        check(crop, 0.0);
        check(Crop { centre: [13.0, 14.0], ..crop }, 0.25);
        check(Crop { side: 100.0 * 0.1f64.exp(), ..crop }, 0.1);
        check(Crop { angle: 3.1 + 0.2 - std::f64::consts::TAU, ..crop }, 0.2);
    }

    #[test]
    fn the_reference_is_a_face_in_its_crop() {
        let reference = Reference::get();
        assert!((60.0..80.0).contains(&reference.iod) || (40.0..60.0).contains(&reference.iod), "{}", reference.iod);
        let upright = Crop { centre: [96.0, 96.0], side: 192.0, angle: 0.0 };
        let bounds = placed(&upright).bounds();
        assert!(bounds.left > 40.0 && bounds.right < 150.0 && bounds.top > 30.0 && bounds.bottom < 165.0, "{bounds:?}");
    }
}
