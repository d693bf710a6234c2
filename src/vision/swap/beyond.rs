//! The far cheek of a turned head: where the mesh hangs beyond the face, the picture is not of the near cheek's colour.
//! From there inwards, edge by edge, nothing is painted: a new cheek over wall or hair would be a ghost.

use super::analysis::Analysis;
use super::canonical::{Canonical, Points, canonical, smoothstep};
use super::features::CHEEKS;
use super::hair::median;
use super::occlusion::{flood, spread};
use super::plane::Plane;

/// Turned by this much (degrees) the mesh begins to leave the face, and surely does.
const TURNED: (f32, f32) = (18.0, 28.0);
/// Smallest deviation from the near cheek that counts, for log luma, Cb, Cr: a far cheek has another light, but not another colour.
const FLOOR: [f32; 3] = [0.30, 5.0, 5.0];
/// Squared deviations from which a vertex begins to lie, and surely lies, beyond the face.
const UNLIKE: (f32, f32) = (3.0, 6.0);
/// Of the inner vertices of the far half, the share beyond the face from which the new face begins to fade, and is gone.
const LOST: (f32, f32) = (0.75, 1.0);
/// Vertices at least this deep inside the oval (face widths) are inner ones.
const INNER: f32 = 0.06;
/// Vertices this near to the middle (canonical cm) are of neither half.
const MIDDLE: f32 = 0.5;

/// What a turned head shows of its mesh.
pub struct Beyond {
    /// 1 at vertices beyond the face.
    pub vertices: [f32; 468],
    /// How much of the new face may show, 1..0: less where most of the far half lies beyond the face.
    pub visible: f32,
}

/// Looks at `face` (sampled) with its mesh `points` in mask-grid coordinates; `turn` in degrees, positive towards the
/// picture's right as the face stands upright. None for a head that is hardly turned.
pub fn beyond(face: &Analysis, points: &Points, turn: f32) -> Option<Beyond> {
    let certain = smoothstep(TURNED.0, TURNED.1, turn.abs());
    if certain <= 0.0 {
        return None;
    }
    let shape = canonical();
    let is_far = |vertex: usize| shape.points[vertex][0] * turn.signum() > MIDDLE;
    let bands = [&face.log, &face.chroma[0], &face.chroma[1]];
    let skin = near_skin(bands, points, |vertex| !is_far(vertex))?;
    let unlike: [f32; 468] = std::array::from_fn(|vertex| {
        let [x, y, _] = points[vertex];
        let squares = bands.into_iter().zip(skin).map(|(band, (middle, spread))| {
            let deviation = (mean_around(band, x, y) - middle) / spread;
            deviation * deviation
        });
        if is_far(vertex) { certain * smoothstep(UNLIKE.0, UNLIKE.1, squares.sum()) } else { 0.0 }
    });
    let reached = flood(&unlike, &unlike, shape);
    let visible = 1.0 - smoothstep(LOST.0, LOST.1, lost(&reached, shape, is_far));
    Some(Beyond { vertices: spread(&reached, shape), visible })
}

/// Share of the far half's inner vertices.
fn lost(reached: &[f32; 468], shape: &Canonical, is_far: impl Fn(usize) -> bool) -> f32 {
    let inner = (0..reached.len()).filter(|&vertex| is_far(vertex) && shape.depth[vertex] > INNER);
    let (sum, count) = inner.fold((0.0, 0), |(sum, count), vertex| (sum + reached[vertex], count + 1));
    sum / count as f32
}

/// Median and spread (1.48 MAD, bounded below) of each band over the near cheek.
fn near_skin(bands: [&Plane; 3], points: &Points, is_near: impl Fn(usize) -> bool) -> Option<[(f32, f32); 3]> {
    let mut skin = [(0.0, 0.0); 3];
    for (band, (out, floor)) in bands.into_iter().zip(skin.iter_mut().zip(FLOOR)) {
        let near = CHEEKS.into_iter().filter(|&vertex| is_near(vertex));
        let mut values: Vec<f32> = near.map(|vertex| mean_around(band, points[vertex][0], points[vertex][1])).collect();
        let middle = median(&mut values)?;
        values.iter_mut().for_each(|value| *value = (*value - middle).abs());
        *out = (middle, floor.max(1.48 * median(&mut values)?));
    }
    Some(skin)
}

/// Mean of a few points.
fn mean_around(band: &Plane, x: f32, y: f32) -> f32 {
    let offsets = [[0.0, 0.0], [1.5, 0.0], [-1.5, 0.0], [0.0, 1.5], [0.0, -1.5]];
    offsets.into_iter().map(|[dx, dy]| band.at(x + dx, y + dy)).sum::<f32>() / offsets.len() as f32
}
