//! The canonical face: MediaPipe's 468 vertices and its triangles, and what follows from them alone.
//!
//! Source: `canonical_face_model.obj` of MediaPipe (Apache-2.0). Vertices in centimetres, x to the picture's right, y up,
//! z towards the viewer.

use std::sync::OnceLock;

use super::features::OVAL;
use super::polygon::signed_distance;

/// Landmarks of one face, [x, y, z].
pub type Points = [[f32; 3]; 468];

static POINTS: &[u8; 468 * 3 * 4] = include_bytes!("canonical_points.f32");
static TRIANGLES: &[u8; 898 * 3 * 2] = include_bytes!("canonical_triangles.u16");

/// What is fixed for every face.
pub struct Canonical {
    /// Vertices with y and z turned to the picture's directions (y down, z away from the viewer).
    pub points: Points,
    /// Vertex numbers, turned alike.
    pub triangles: Vec<[u16; 3]>,
    /// Pairs of vertices that share a triangle's side, each once.
    pub edges: Vec<[u16; 2]>,
    /// How deep a vertex lies inside the oval, in face widths; 0 on the rim.
    pub depth: Vec<f32>,
    /// z of the vertex normals, 1 = facing the viewer.
    pub facing: Vec<f32>,
    /// +1 or −1: the sign of a visible triangle's area in picture coordinates.
    pub winding: f32,
}

/// The canonical face, worked out on first use.
pub fn canonical() -> &'static Canonical {
    static CANONICAL: OnceLock<Canonical> = OnceLock::new();
    CANONICAL.get_or_init(Canonical::load)
}

impl Canonical {
    fn load() -> Self {
        let (numbers, _) = POINTS.as_chunks::<4>();
        let mut points = [[0.0; 3]; 468];
        for (point, number) in points.iter_mut().zip(numbers.chunks(3)) {
            let [x, y, z] = [0, 1, 2].map(|axis| f32::from_le_bytes(number[axis]));
            *point = [x, -y, -z];
        }
        let (indices, _) = TRIANGLES.as_chunks::<2>();
        let triangles: Vec<[u16; 3]> =
            indices.chunks(3).map(|t| [0, 1, 2].map(|corner| u16::from_le_bytes(t[corner]))).collect();
        let mut edges: Vec<[u16; 2]> = triangles
            .iter()
            .flat_map(|&[a, b, c]| [[a.min(b), a.max(b)], [b.min(c), b.max(c)], [c.min(a), c.max(a)]])
            .collect();
        edges.sort_unstable();
        edges.dedup();
        let oval = OVAL.map(|i| [points[i][0], points[i][1]]);
        let width = face_width(&points);
        let depth = points.iter().map(|p| (signed_distance(&oval, [p[0], p[1]]) / width).clamp(0.0, 1.0)).collect();
        let winding = triangles.iter().map(|t| area(&points, t)).sum::<f32>().signum();
        let facing = facing(&points, &triangles).to_vec();
        Self { points, triangles, edges, depth, facing, winding }
    }
}

/// 3-D distance of landmarks 234 and 454: the same for a turned head.
pub fn face_width(points: &Points) -> f32 {
    let [a, b] = [points[234], points[454]];
    (0..3).map(|axis| (b[axis] - a[axis]).powi(2)).sum::<f32>().sqrt()
}

/// Twice the signed area of a triangle in the picture plane.
pub fn area(points: &Points, triangle: &[u16; 3]) -> f32 {
    let [a, b, c] = triangle.map(|i| points[usize::from(i)]);
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

/// z of every vertex normal, turned so that the nose tip's is positive: 1 faces the viewer, 0 is seen edge-on.
pub fn facing(points: &Points, triangles: &[[u16; 3]]) -> [f32; 468] {
    let mut normals = [[0.0f32; 3]; 468];
    for triangle in triangles {
        let [a, b, c] = triangle.map(|i| points[usize::from(i)]);
        let [u, v] = [b, c].map(|p| [p[0] - a[0], p[1] - a[1], p[2] - a[2]]);
        let cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
        for corner in triangle {
            for axis in 0..3 {
                normals[usize::from(*corner)][axis] += cross[axis];
            }
        }
    }
    let z = normals.map(|n| n[2] / (n.iter().map(|v| v * v).sum::<f32>().sqrt() + 1e-9));
    const NOSE_TIP: usize = 1;
    let sign = if z[NOSE_TIP] < 0.0 { -1.0 } else { 1.0 };
    z.map(|v| v * sign)
}

/// 0 below `from`, 1 above `to`, smooth between (Hermite).
pub fn smoothstep(from: f32, to: f32, value: f32) -> f32 {
    let t = ((value - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vertices_lie_inside_the_oval_and_face_the_viewer() {
        let face = canonical();
        assert_eq!(face.triangles.len(), 898);
        assert!(face.triangles.iter().flatten().all(|&i| i < 468));
        let nose_tip = 1;
        assert!(face.depth[nose_tip] > 0.3 && face.facing[nose_tip] > 0.5);
        assert!(OVAL.iter().all(|&i| face.depth[i] == 0.0));
        let turned_away = face.triangles.iter().filter(|t| area(&face.points, t) * face.winding <= 0.0).count();
        assert!(turned_away < 60, "{turned_away} triangles of the frontal face are turned away");
    }

    #[test]
    fn smoothstep_is_clamped() {
        for (value, expected) in [(-1.0, 0.0), (0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (9.0, 1.0)] {
            assert_eq!(smoothstep(0.0, 1.0, value), expected);
        }
    }
}
