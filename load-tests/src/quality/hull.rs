//! The face's place in a frame: samples inside and outside of it, how sharp they are, whether they are the same.

use facemill::frame::PlaneRef;
use facemill::vision::Mesh;

/// The convex hull of a mesh.
pub struct Hull {
    /// Unit normals outward with their offsets, one per side.
    sides: Vec<[f32; 3]>,
    /// Face width, pixels.
    width: f32,
}

/// Sums of squared detail, with their counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Energy {
    sum: f64,
    count: u64,
}

impl Energy {
    /// Root mean square.
    pub fn rms(self) -> f64 {
        (self.sum / self.count.max(1) as f64).sqrt()
    }
}

/// Samples that are compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Same {
    pub equal: u64,
    pub all: u64,
}

/// Beyond the hull by this, face widths, a sample lies outside: the swapper's own mesh is smoothed and may stand a little apart.
const OUTSIDE: f32 = 0.05;
/// Within the hull by this, the face shows in full.
const INSIDE: f32 = 0.15;

impl Hull {
    pub fn of(mesh: &Mesh) -> Self {
        let mut points: Vec<[f32; 2]> = mesh.0.iter().map(|p| [p[0], p[1]]).collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        // Andrew's monotone chain, once along and once back.
        let chain = |points: &mut dyn Iterator<Item = &[f32; 2]>| {
            let mut chain: Vec<[f32; 2]> = Vec::new();
            for p in points {
                while let [.., a, b] = chain[..] {
                    let turn = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);
                    if turn > 0.0 {
                        break;
                    }
                    chain.pop();
                }
                chain.push(*p);
            }
            chain
        };
        let mut corners = chain(&mut points.iter());
        corners.pop();
        corners.extend(chain(&mut points.iter().rev()));
        let sides = corners.windows(2).map(|pair| {
            let [a, b] = [pair[0], pair[1]];
            let (x, y) = (b[1] - a[1], a[0] - b[0]);
            let length = x.hypot(y).max(f32::MIN_POSITIVE);
            let (x, y) = (x / length, y / length);
            [x, y, x * a[0] + y * a[1]]
        });
        Self { sides: sides.collect(), width: mesh.face_width() }
    }

    /// How far a point lies beyond the outermost side, face widths; negative inside.
    fn beyond(&self, x: f32, y: f32) -> f32 {
        let apart = self.sides.iter().map(|[a, b, c]| a * x + b * y - c);
        apart.fold(f32::NEG_INFINITY, f32::max) / self.width
    }

    /// Compares the samples outside, in planes reduced by 2^`shift`.
    pub fn same_outside(&self, [a, b]: [PlaneRef<'_>; 2], shift: u8, same: &mut Same) {
        let (step, centre) = (f32::from(1u8 << shift), (f32::from(1u8 << shift) - 1.0) / 2.0);
        for y in 0..a.height {
            let height = y as f32 * step + centre;
            for (x, (one, other)) in a.row(y).iter().zip(b.row(y)).enumerate() {
                if self.beyond(x as f32 * step + centre, height) > OUTSIDE {
                    same.all += 1;
                    same.equal += u64::from(one == other);
                }
            }
        }
    }

    /// Detail of luma inside and outside (what a 3×3 blur takes away), outside as far as one face width.
    pub fn detail(&self, luma: PlaneRef<'_>) -> [Energy; 2] {
        let mut energies = [Energy::default(); 2];
        for y in 1..luma.height.saturating_sub(1) {
            let [above, row, below] = [y - 1, y, y + 1].map(|y| luma.row(y));
            for x in 1..luma.width.saturating_sub(1) {
                let beyond = self.beyond(x as f32, y as f32);
                let energy = match beyond {
                    _ if beyond < -INSIDE => &mut energies[0],
                    _ if beyond > OUTSIDE && beyond < 1.0 => &mut energies[1],
                    _ => continue,
                };
                let line = |row: &[u8]| f64::from(row[x - 1]) + 2.0 * f64::from(row[x]) + f64::from(row[x + 1]);
                let detail = f64::from(row[x]) - (line(above) + 2.0 * line(row) + line(below)) / 16.0;
                energy.sum += detail * detail;
                energy.count += 1;
            }
        }
        energies
    }
}

#[cfg(test)]
mod tests {
    use facemill::vision::MESH_POINTS;

    use super::*;

    /// Points in a square from 40 to 80; p454 and p234 (the face's width) at its sides.
    fn square() -> Hull {
        let mut points = [[60.0, 60.0, 0.0]; MESH_POINTS];
        for (i, point) in points.iter_mut().enumerate() {
            *point = [40.0 + (i % 5) as f32 * 10.0, 40.0 + (i / 5 % 5) as f32 * 10.0, 0.0];
        }
        (points[234], points[454]) = ([40.0, 60.0, 0.0], [80.0, 60.0, 0.0]);
        Hull::of(&Mesh(points))
    }

    #[test]
    fn distance_from_the_hull() {
        let hull = square();
        for (x, y, expected) in [(60.0, 60.0, -0.5), (40.0, 60.0, 0.0), (60.0, 84.0, 0.1), (100.0, 60.0, 0.5)] {
            assert!((hull.beyond(x, y) - expected).abs() < 1e-4, "{x}, {y}: {}", hull.beyond(x, y));
        }
    }

    #[test]
    fn only_what_changes_outside_counts() {
        let before = vec![90u8; 120 * 120];
        let mut after = before.clone();
        after[60 * 120 + 60] = 7; // inside
        after[120 + 1] = 7; // outside
        let plane = |data| PlaneRef { data, stride: 120, width: 120, height: 120 };
        let mut same = Same::default();
        square().same_outside([plane(&before), plane(&after)], 0, &mut same);
        assert_eq!(same.all - same.equal, 1, "{same:?}");
        assert!((120 * 120 - 50 * 50..120 * 120 - 42 * 42).contains(&(same.all as usize)), "{same:?}");
    }

    #[test]
    fn detail_is_told_apart_inside_and_outside() {
        let value = |x: usize, y: usize| {
            if (42..78).contains(&x) && (42..78).contains(&y) { (x * 97 + y * 61) % 50 } else { 90 }
        };
        let data: Vec<u8> = (0..120 * 120).map(|i| value(i % 120, i / 120) as u8).collect();
        let [inside, outside] = square().detail(PlaneRef { data: &data, stride: 120, width: 120, height: 120 });
        assert!(inside.rms() > 5.0 && outside.rms() == 0.0, "{inside:?} {outside:?}");
    }
}
