//! Hands and other things before the face: the target's face is compared with its own usual look.
//!
//! Frames chosen at planning are warped to a canonical atlas; the median and spread of their middle-band log luma are
//! the [`Reference`]. A frame's face that differs by more than it usually does is covered there. A cover enters from
//! outside, so evidence counts only where it hangs together with the rim. No frame's result depends on another's.

use crate::frame::YuvRef;
use crate::vision::Mesh;

use super::blur::Blur;
use super::canonical::{Canonical, Points, canonical, face_width, smoothstep};
use super::features::{EYES, LIDS};
use super::levels::means;
use super::plane::{Lattice, Plane, Region};
use super::warp::{Sampler, Visible, draw};

/// Face width in the atlas, points.
const ATLAS_FACE_WIDTH: f32 = 96.0;
/// Free points around the face.
const ATLAS_MARGIN: f32 = 4.0;
/// Fewer frames than this say nothing about a usual look.
const MIN_FRAMES: usize = 5;
/// More are not kept.
const MAX_FRAMES: usize = 64;
/// Blur that is taken off log luma, and blur of the evidence; face widths. What remains shows edges: a hand's skin is
/// too like the face's, its outlines are not.
const BAND: f32 = 0.035;
const EVIDENCE: f32 = 0.04;
/// Differences count up to here (log luma).
const MAX_DIFFERENCE: f32 = 0.3;
/// Usual deviation: a floor, and what the measured one counts for (1.48·MAD estimates a standard deviation).
const TOLERANCE_FLOOR: f32 = 0.03;
const TOLERANCE_GAIN: f32 = 1.2 * 1.48;
/// Evidence from which a vertex begins to be, and surely is, covered…
const STRONG: (f32, f32) = (0.70, 1.2);
/// …and the less that is enough beside a covered vertex.
const WEAK: (f32, f32) = (0.45, 0.8);
/// Brows and forehead move by themselves: there, more is asked for.
const FOREHEAD_MORE: (f32, f32) = (0.6, 0.8);
/// Canonical height (cm) over which the forehead's limits take over.
const FOREHEAD: (f32, f32) = (3.0, 4.2);
/// So it is at eyes, lids and what lies beside them: closed ones are unlike the usual open ones without anything before them.
const EYES_MORE: f32 = 1.0;
/// Vertices this near to the rim (face widths) are where a cover enters.
const RIM: f32 = 0.06;
const FLOOD_STEPS: usize = 16;
/// Free vertices within a cover are covered up to this far from it, edges.
const CLOSE_STEPS: usize = 2;
const SPREAD_STEPS: usize = 1;

/// The canonical face laid out flat.
struct Atlas {
    /// 1 at vertices of the eyes, their lids and next to these.
    eyes: [f32; 468],
    lattice: Lattice,
    points: Points,
    triangles: Vec<u16>,
    /// 1 inside the face.
    mask: Plane,
    /// Blurred masks + 0.01, the denominators of the blurs.
    band_weight: Plane,
    evidence_weight: Plane,
}

impl Atlas {
    fn get() -> &'static Atlas {
        static ATLAS: std::sync::OnceLock<Atlas> = std::sync::OnceLock::new();
        ATLAS.get_or_init(|| Atlas::new(canonical()))
    }

    fn new(face: &Canonical) -> Self {
        let scale = ATLAS_FACE_WIDTH / face_width(&face.points);
        let low = |axis: usize| face.points.iter().map(|p| p[axis]).fold(f32::INFINITY, f32::min);
        let (left, top) = (low(0), low(1));
        let points =
            face.points.map(|[x, y, _]| [(x - left) * scale + ATLAS_MARGIN, (y - top) * scale + ATLAS_MARGIN, 0.0]);
        let high = |axis: usize| points.iter().map(|p| p[axis]).fold(0.0, f32::max);
        let size = |axis: usize| (high(axis) + ATLAS_MARGIN).ceil() as usize;
        let lattice = Lattice { origin: [0.0; 2], step: [1.0; 2], width: size(0), height: size(1) };
        let triangles: Vec<u16> = (0..face.triangles.len() as u16).collect();
        let mut mask = Plane::new(lattice.width, lattice.height);
        draw(&lattice, Visible { points: &points, triangles: &triangles }, &[[]; 468], |span| {
            mask.row_mut(span.row)[span.first..][..span.count].fill(1.0);
        });
        let weight = |sigma: f32| {
            let mut plane = Plane::default();
            Blur::default().gaussian(&mask, sigma * ATLAS_FACE_WIDTH, &mut plane);
            plane.data.iter_mut().for_each(|v| *v += 0.01);
            plane
        };
        let (band_weight, evidence_weight) = (weight(BAND), weight(EVIDENCE));
        let mut eyes = [0.0; 468];
        EYES.iter().chain(&LIDS).flatten().for_each(|&vertex| eyes[vertex] = 1.0);
        let eyes = grow(&eyes, face);
        Self { eyes, lattice, points, triangles, mask, band_weight, evidence_weight }
    }

    /// Blur within the face, in place.
    fn blur(&self, plane: &mut Plane, sigma: f32, weight: &Plane, blur: &mut Blur) {
        plane.data.iter_mut().zip(&self.mask.data).for_each(|(v, mask)| *v *= mask);
        blur.in_place(plane, sigma * ATLAS_FACE_WIDTH);
        plane.data.iter_mut().zip(&weight.data).for_each(|(v, weight)| *v /= weight);
    }
}

/// Buffers for looking at one frame.
#[derive(Default)]
pub struct Observer {
    blur: Blur,
    coarse: Plane,
    band: Plane,
    evidence: Plane,
}

impl Observer {
    /// The face's middle band in the atlas. `log`: log luma on a grid; `points`: the mesh in that grid's coordinates.
    fn observe(&mut self, log: &Plane, points: &Points) -> Option<&Plane> {
        let atlas = Atlas::get();
        let sampler = Sampler::new(log)?;
        self.band.reset_like(&atlas.mask);
        let places = points.map(|[x, y, _]| [x, y]);
        let band = &mut self.band;
        let mesh = Visible { points: &atlas.points, triangles: &atlas.triangles };
        draw(&atlas.lattice, mesh, &places, |span| {
            sampler.line(span.values, span.steps, &mut band.row_mut(span.row)[span.first..][..span.count]);
        });
        self.coarse.copy_from(&self.band);
        atlas.blur(&mut self.coarse, BAND, &atlas.band_weight, &mut self.blur);
        let others = self.coarse.data.iter().zip(&atlas.mask.data);
        self.band.data.iter_mut().zip(others).for_each(|(v, (coarse, mask))| *v = (*v - coarse) * mask);
        Some(&self.band)
    }
}

/// Collects the looks of a clip's face.
#[derive(Default)]
pub struct ReferenceBuilder {
    observer: Observer,
    log: Plane,
    bands: Vec<Plane>,
}

impl ReferenceBuilder {
    /// Adds one frame's face. Frames should be spread over the clip; about 30 are enough, more than 64 are ignored.
    pub fn add(&mut self, picture: YuvRef<'_>, mesh: &Mesh) {
        let Some(region) = Region::around(&mesh.0, picture.width(), picture.height()) else { return };
        if self.bands.len() >= MAX_FRAMES {
            return;
        }
        means(&picture, 0, &region, region.cell, &mut self.log);
        let points = region.mask_grid().locate_mesh(&mesh.0);
        self.bands.extend(self.observer.observe(&self.log, &points).cloned());
    }

    /// Median and spread over the frames added; None with fewer than five.
    pub fn finish(self) -> Option<Reference> {
        if self.bands.len() < MIN_FRAMES {
            return None;
        }
        let atlas = Atlas::get();
        let mut usual = Plane::new(atlas.mask.width, atlas.mask.height);
        let mut tolerance = usual.clone();
        let mut values = Vec::with_capacity(self.bands.len());
        for i in 0..usual.data.len() {
            values.clear();
            values.extend(self.bands.iter().map(|band| band.data[i]));
            let middle = values.len() / 2;
            let median = *values.select_nth_unstable_by(middle, f32::total_cmp).1;
            values.iter_mut().for_each(|v| *v = (*v - median).abs());
            usual.data[i] = median;
            tolerance.data[i] = *values.select_nth_unstable_by(middle, f32::total_cmp).1;
        }
        atlas.blur(&mut tolerance, EVIDENCE, &atlas.evidence_weight, &mut Blur::default());
        tolerance.data.iter_mut().for_each(|v| *v = TOLERANCE_FLOOR + TOLERANCE_GAIN * *v);
        // Through its stored form, so that the builder's process and a reader's compute alike.
        Reference::from_bytes(&Reference { usual, tolerance }.to_bytes())
    }
}

/// The usual look of one clip's face.
#[derive(Clone, Debug)]
pub struct Reference {
    usual: Plane,
    tolerance: Plane,
}

/// "FMRF", then a version.
const MAGIC: [u8; 5] = *b"FMRF\x01";
/// Stored units per unit of log luma.
const STORED_SCALE: f32 = 8192.0;

impl Reference {
    /// Stored form: magic and version, then per atlas point the usual value (i16) and the tolerance (u16), little endian, 1/8192.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.reserve(4 * self.usual.data.len());
        for (usual, tolerance) in self.usual.data.iter().zip(&self.tolerance.data) {
            bytes.extend(((usual * STORED_SCALE).round() as i16).to_le_bytes());
            bytes.extend(((tolerance * STORED_SCALE).round() as u16).to_le_bytes());
        }
        bytes
    }

    /// None for anything that [`Reference::to_bytes`] of this version did not write.
    pub fn from_bytes(bytes: &[u8]) -> Option<Reference> {
        let mask = &Atlas::get().mask;
        let (values, rest) = bytes.strip_prefix(&MAGIC)?.as_chunks::<4>();
        if values.len() != mask.data.len() || !rest.is_empty() {
            return None;
        }
        let mut usual = Plane::new(mask.width, mask.height);
        let mut tolerance = usual.clone();
        for ((&[a, b, c, d], usual), tolerance) in values.iter().zip(&mut usual.data).zip(&mut tolerance.data) {
            *usual = f32::from(i16::from_le_bytes([a, b])) / STORED_SCALE;
            *tolerance = (f32::from(u16::from_le_bytes([c, d])) / STORED_SCALE).max(TOLERANCE_FLOOR);
        }
        Some(Reference { usual, tolerance })
    }

    /// 0 (free) to 1 (covered) for every vertex. `log` and `points` as analysed for the frame, on the same grid.
    pub fn covered(&self, log: &Plane, points: &Points, observer: &mut Observer) -> [f32; 468] {
        let (atlas, face) = (Atlas::get(), canonical());
        let mut covered = [0.0; 468];
        if observer.observe(log, points).is_none() {
            return covered;
        }
        let Observer { blur, band, evidence, .. } = observer;
        evidence.reset_like(band);
        for ((e, value), usual) in evidence.data.iter_mut().zip(&band.data).zip(&self.usual.data) {
            *e = (value - usual).abs().min(MAX_DIFFERENCE);
        }
        atlas.blur(evidence, EVIDENCE, &atlas.evidence_weight, blur);
        evidence.data.iter_mut().zip(&self.tolerance.data).for_each(|(e, tolerance)| *e /= tolerance);

        let (mut strong, mut weak) = ([0.0; 468], [0.0; 468]);
        for vertex in 0..covered.len() {
            // Outside of the picture there is nothing to see, and nothing that covers.
            let [px, py, _] = points[vertex];
            let is_seen = px >= 0.0 && py >= 0.0 && px <= log.width as f32 - 1.0 && py <= log.height as f32 - 1.0;
            if !is_seen {
                continue;
            }
            let [x, y, _] = atlas.points[vertex];
            let height = -face.points[vertex][1]; // canonical y is up
            let up = smoothstep(FOREHEAD.0, FOREHEAD.1, height);
            let evidence = evidence.at(x, y);
            let eyes = EYES_MORE * atlas.eyes[vertex];
            let limits =
                |(from, to): (f32, f32)| (from + FOREHEAD_MORE.0 * up + eyes, to + FOREHEAD_MORE.1 * up + eyes);
            let judge = |(from, to): (f32, f32)| smoothstep(from, to, evidence);
            strong[vertex] = judge(limits(STRONG));
            weak[vertex] = judge(limits(WEAK));
        }
        covered = close(&flood(&strong, &weak, face), face);
        spread(&covered, face)
    }
}

/// The largest value among each vertex and its neighbours.
fn grow(values: &[f32; 468], face: &Canonical) -> [f32; 468] {
    let mut grown = *values;
    for &[a, b] in &face.edges {
        let (a, b) = (usize::from(a), usize::from(b));
        grown[a] = grown[a].max(values[b]);
        grown[b] = grown[b].max(values[a]);
    }
    grown
}

/// Keeps the evidence that can be reached edge by edge from strong evidence at the rim.
pub fn flood(strong: &[f32; 468], weak: &[f32; 468], face: &Canonical) -> [f32; 468] {
    let mut reached: [f32; 468] = std::array::from_fn(|i| if face.depth[i] < RIM { strong[i] } else { 0.0 });
    for _ in 0..FLOOD_STEPS {
        let near = grow(&reached, face);
        reached = std::array::from_fn(|i| weak[i].min(near[i]));
    }
    reached
}

/// Fills holes: lips vary so much by themselves that fingers before them give no evidence.
fn close(values: &[f32; 468], face: &Canonical) -> [f32; 468] {
    let wide = (0..CLOSE_STEPS).fold(*values, |values, _| grow(&values, face));
    let free = wide.map(|value| 1.0 - value);
    let free = (0..CLOSE_STEPS).fold(free, |values, _| grow(&values, face));
    std::array::from_fn(|i| values[i].max(1.0 - free[i]))
}

/// Half of the way to the largest value next to each vertex.
pub fn spread(values: &[f32; 468], face: &Canonical) -> [f32; 468] {
    (0..SPREAD_STEPS).fold(*values, |values, _| {
        let grown = grow(&values, face);
        std::array::from_fn(|i| 0.5 * (values[i] + grown[i]))
    })
}
