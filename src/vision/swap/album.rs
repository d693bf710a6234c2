//! All photos of one person: each place of the face is lent by the photo that shows it best.
//!
//! Photos are mixed when they are baked, on the best one's mesh turned to the front, so several cost a frame no more
//! than one does. Detail comes without its photo's light, so that photos of different light agree.

use crate::frame::Matrix;
use crate::vision::error::VisionError;

use super::analysis::Tools;
use super::bake::Baked;
use super::canonical::{Points, canonical, smoothstep};
use super::features::EYES;
use super::plane::{Lattice, Plane};
use super::portrait::{BakeKey, Portrait};
use super::warp::{Sampler, Visible, draw, visible_triangles};

/// Seen more steeply than the first (z of the vertex normal) a photo lends nothing, and from the second on all that there is.
const SHOWN: (f32, f32) = (0.35, 0.80);
/// What each photo counts for at least where it is seen from the front: where hair covers all better ones, it lends.
const LEAST: f32 = 0.01;
/// What hair in a photo leaves of its weight.
const BEHIND_HAIR: f32 = 0.002;
/// Each step brings a vertex half the way to its neighbours: photos change over softly.
const SMOOTHING_STEPS: usize = 4;
/// Chroma detail is scaled to the best photo's saturation within these bounds.
const TINT: (f32, f32) = (0.5, 2.0);
/// Free points around the mesh.
const MARGIN: f32 = 4.0;

/// The photos of one person, the best first.
pub struct Album {
    photos: Vec<Portrait>,
    /// Shares of the photos at each vertex; they sum to 1.
    shares: Vec<[f32; 468]>,
    /// With several photos only.
    mixed: Vec<(BakeKey, Baked)>,
}

impl Album {
    /// Of one person's photos.
    ///
    /// # Errors
    /// [`VisionError::NoFace`] without photos.
    pub fn new(mut photos: Vec<Portrait>) -> Result<Self, VisionError> {
        if photos.is_empty() {
            return Err(VisionError::NoFace);
        }
        photos.sort_by(|a, b| b.merit().total_cmp(&a.merit())); // stable: of equal ones the first
        let shares = shares(&photos);
        Ok(Self { photos, shares, mixed: Vec::new() })
    }

    /// Openness of the eyes that are lent (see [`super::EyeNet::openness`]), picture left first.
    pub fn eyes(&self) -> [f32; 2] {
        [0, 1].map(|eye| {
            let of = |(photo, shares): (&Portrait, &[f32; 468])| {
                photo.eyes[eye] * EYES[eye].iter().map(|&vertex| shares[vertex]).sum::<f32>()
            };
            self.photos.iter().zip(&self.shares).map(of).sum::<f32>() / EYES[eye].len() as f32
        })
    }

    /// What is lent to a target face `target_width` pixels wide: baked on first use.
    pub fn baked(&mut self, target_width: f32, matrix: Matrix, chroma_shift: u8, tools: &mut Tools) -> &Baked {
        if self.photos.len() == 1 {
            return self.photos[0].baked(target_width, matrix, chroma_shift, tools);
        }
        // The best photo's key stands for all: the others' follow from the same width.
        let key = self.photos[0].key(target_width, matrix, chroma_shift);
        let known = self.mixed.iter().position(|(k, _)| *k == key);
        let index = known.unwrap_or_else(|| {
            let width = self.photos[0].width_at(key);
            let bakes: Vec<&Baked> =
                self.photos.iter_mut().map(|photo| photo.baked(width, matrix, chroma_shift, tools)).collect();
            self.mixed.push((key, mix(&bakes, &self.shares)));
            self.mixed.len() - 1
        });
        &self.mixed[index].1
    }

    #[cfg(test)]
    pub fn best(&self) -> &Portrait {
        &self.photos[0]
    }
}

/// Photos fill in, one after the other, what those before them show too steeply: two faces of different expression are
/// mixed no more than need be.
fn shares(photos: &[Portrait]) -> Vec<[f32; 468]> {
    let face = canonical();
    let mut left = [1.0; 468];
    let mut shares: Vec<[f32; 468]> = Vec::new();
    for photo in photos {
        let facing = photo.facing();
        shares.push(std::array::from_fn(|vertex| {
            let shown = photo.sharpness() * smoothstep(SHOWN.0, SHOWN.1, facing[vertex]);
            let share = left[vertex] * shown;
            left[vertex] -= share;
            share + LEAST * facing[vertex].max(0.01)
        }));
    }
    let normalise = |shares: &mut Vec<[f32; 468]>| {
        for vertex in 0..468 {
            let sum: f32 = shares.iter().map(|share| share[vertex]).sum();
            shares.iter_mut().for_each(|share| share[vertex] /= sum);
        }
    };
    normalise(&mut shares);
    for share in &mut shares {
        for _ in 0..SMOOTHING_STEPS {
            let (mut sums, mut counts) = ([0.0; 468], [0.0; 468]);
            for edge in &face.edges {
                let [a, b] = edge.map(usize::from);
                sums[a] += share[b];
                sums[b] += share[a];
                counts[a] += 1.0;
                counts[b] += 1.0;
            }
            *share = std::array::from_fn(|i| 0.5 * (share[i] + sums[i] / f32::max(counts[i], 1.0)));
        }
    }
    normalise(&mut shares);
    shares
}

/// The mesh with the line between its ears in the picture's plane: both cheeks are seen alike.
fn to_the_front(points: &Points) -> Points {
    let ([ax, ay, az], [bx, by, bz]) = (points[234], points[454]);
    let across = (bx - ax).hypot(by - ay).max(1e-3);
    let along = [(bx - ax) / across, (by - ay) / across];
    let (sin, cos) = (bz - az).atan2(across).sin_cos();
    let middle = [(ax + bx) / 2.0, (ay + by) / 2.0, (az + bz) / 2.0];
    points.map(|[x, y, z]| {
        let (dx, dy, dz) = (x - middle[0], y - middle[1], z - middle[2]);
        let aside = dx * along[0] + dy * along[1];
        let turned = cos * aside + sin * dz;
        let by = turned - aside;
        [x + by * along[0], y + by * along[1], middle[2] + cos * dz - sin * aside]
    })
}

/// The planes of the best photo (the first) with all photos' detail.
fn mix<'a>(bakes: &[&'a Baked], shares: &[[f32; 468]]) -> Baked {
    let best = bakes[0];
    let front = to_the_front(&best.points);
    let low = [0, 1].map(|axis| front.iter().map(|p| p[axis]).fold(f32::INFINITY, f32::min) - MARGIN);
    let points = front.map(|[x, y, z]| [x - low[0], y - low[1], z]);
    let high = [0, 1].map(|axis| points.iter().map(|p| p[axis]).fold(0.0, f32::max) + MARGIN);
    let lattice = |like: &Lattice| {
        let size = |axis: usize| (high[axis] / like.step[axis]).ceil() as usize + 1;
        Lattice { origin: [0.0; 2], step: like.step, width: size(0), height: size(1) }
    };
    let mut triangles = Vec::new();
    visible_triangles(&points, &mut triangles);
    let mixer = Mixer { bakes, shares, mesh: Visible { points: &points, triangles: &triangles } };
    let (detail_lattice, chroma_lattice, cover_lattice) =
        (lattice(&best.detail_lattice), lattice(&best.chroma_lattice), lattice(&best.cover_lattice));
    let layers = |layer: &dyn Fn(&&'a Baked) -> Layer<'a>| bakes.iter().map(layer).collect::<Vec<_>>();
    let layer = |plane, lattice, gain| Layer { plane, lattice, gain };
    let detail = mixer.onto(&detail_lattice, &layers(&|bake| layer(&bake.detail, &bake.detail_lattice, 1.0)));
    let chroma = [0, 1].map(|c| {
        let gain = |bake: &Baked| (best.saturation[c] / bake.saturation[c]).clamp(TINT.0, TINT.1);
        mixer.onto(&chroma_lattice, &layers(&|bake| layer(&bake.chroma[c], &bake.chroma_lattice, gain(bake))))
    });
    let cover = mixer.onto(&cover_lattice, &layers(&|bake| layer(&bake.cover, &bake.cover_lattice, 1.0)));
    let facing = std::array::from_fn(|i| bakes.iter().map(|bake| bake.facing[i]).fold(-1.0, f32::max));
    Baked {
        points,
        facing,
        detail,
        detail_lattice,
        chroma,
        chroma_lattice,
        cover,
        cover_lattice,
        saturation: best.saturation,
    }
}

/// A plane of one photo.
struct Layer<'a> {
    plane: &'a Plane,
    lattice: &'a Lattice,
    /// What its values are multiplied by.
    gain: f32,
}

/// Draws layers of all photos, one of each, over one mesh.
struct Mixer<'a> {
    bakes: &'a [&'a Baked],
    shares: &'a [[f32; 468]],
    mesh: Visible<'a>,
}

impl Mixer<'_> {
    /// The weighted mean at each point of `lattice`: by the photos' shares, and by what hair leaves of them there.
    fn onto(&self, lattice: &Lattice, layers: &[Layer<'_>]) -> Plane {
        let new = || Plane::new(lattice.width, lattice.height);
        let (mut sum, mut total) = (new(), new());
        for (bake, (share, layer)) in self.bakes.iter().zip(self.shares.iter().zip(layers)) {
            let (Some(sampler), Some(cover)) = (Sampler::new(layer.plane), Sampler::new(&bake.cover)) else { continue };
            let vertices = std::array::from_fn(|i| {
                let place = [bake.points[i][0], bake.points[i][1]];
                let ([u, v], [cu, cv]) = (layer.lattice.locate(place), bake.cover_lattice.locate(place));
                [u, v, cu, cv, share[i]]
            });
            // Triangles overlap by a hair: a point is the last one's that is drawn there.
            let (mut values, mut weights) = (new(), new());
            draw(lattice, self.mesh, &vertices, |span| {
                let ([u, v, cu, cv, start], [du, dv, dcu, dcv, step]) = (span.values, span.steps);
                let columns = span.first..span.first + span.count;
                sampler.line([u, v], [du, dv], &mut values.row_mut(span.row)[columns.clone()]);
                let weights = &mut weights.row_mut(span.row)[columns];
                cover.line([cu, cv], [dcu, dcv], weights);
                for (i, weight) in weights.iter_mut().enumerate() {
                    *weight = (weight.clamp(0.0, 1.0) + BEHIND_HAIR) * (start + i as f32 * step).max(0.0);
                }
            });
            let drawn = values.data.iter().zip(&weights.data);
            for ((sum, total), (value, weight)) in sum.data.iter_mut().zip(&mut total.data).zip(drawn) {
                *sum += layer.gain * value * weight;
                *total += weight;
            }
        }
        sum.data.iter_mut().zip(&total.data).for_each(|(sum, total)| *sum /= total.max(1e-9));
        sum
    }
}
