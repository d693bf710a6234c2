//! A portrait, analysed once, and the detail planes that it lends to targets of a given size and colour matrix.

use image::RgbImage;
use image::imageops::{self, FilterType};

use crate::frame::{Frame, Matrix, Pixels};
use crate::vision::MESH_POINTS;
use crate::vision::error::VisionError;
use crate::vision::find::TrackNets;
use crate::vision::source::Source;

use super::analysis::{Analysis, Tools};
use super::bake::{Baked, bake};
use super::canonical::{Points, canonical, face_width, facing};
use super::eyes::EyeNet;

/// A face wider than this lends no more detail than a video shows.
const MAX_FACE_WIDTH: f32 = 1000.0;
/// Kept around the mesh's bounds, face widths.
const MARGIN: f32 = 0.4;
/// A portrait's face narrower than this is worth less the narrower it is (see [`Portrait::merit`]).
const SHARP_FACE_WIDTH: f32 = 128.0;

/// One analysed photo: its face's pixels, mesh and eye openings.
pub struct Portrait {
    /// The face with some room around it.
    photo: RgbImage,
    /// In `photo`'s pixels, centres at integers.
    points: Points,
    face_width: f32,
    /// Openness of the eyes (see [`EyeNet::openness`]), picture left first.
    pub(super) eyes: [f32; 2],
    baked: Vec<(BakeKey, Baked)>,
}

/// What planes were baked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BakeKey {
    /// The photo is reduced by 2^level; negative: enlarged.
    level: i32,
    matrix: Matrix,
    chroma_shift: u8,
}

impl Portrait {
    /// Finds the face of a photo and measures it. `source_face` chooses among several, numbered left to right from 0;
    /// a photo that shows one face needs no choice.
    ///
    /// # Errors
    /// [`VisionError::NoFace`]; [`VisionError::SeveralFaces`] if there are several and none is chosen;
    /// [`VisionError::NoSuchFace`]; and what the networks report.
    pub fn analyse(
        photo: &RgbImage,
        nets: &mut TrackNets,
        eyes: &mut EyeNet,
        source_face: Option<usize>,
    ) -> Result<Portrait, VisionError> {
        Portrait::known(photo, &Portrait::learn(photo, nets, eyes, source_face)?).ok_or(VisionError::NoFace)
    }

    /// What networks tell of a photo, as numbers for [`Portrait::known`]. Errors as [`Portrait::analyse`].
    pub fn learn(
        photo: &RgbImage,
        nets: &mut TrackNets,
        eyes: &mut EyeNet,
        source_face: Option<usize>,
    ) -> Result<Vec<f32>, VisionError> {
        let source = Source::find(photo, nets, source_face)?;
        let openness = eyes.openness(&source.photo.view(), &source.face.mesh.0)?;
        Ok(source.mesh().into_iter().flatten().chain(openness).collect())
    }

    /// A photo of which [`Portrait::learn`] has learnt `known`. None for other numbers, and for an unusable mesh.
    pub fn known(photo: &RgbImage, known: &[f32]) -> Option<Portrait> {
        let (points, eyes) = known.split_at_checked(3 * MESH_POINTS)?;
        let points: Points = points.as_chunks::<3>().0.try_into().ok()?;
        Portrait::cut_out(photo, &points, eyes.try_into().ok()?)
    }

    /// The face's part of `photo`, reduced if the face is very large. None for an unusable mesh.
    pub(super) fn cut_out(photo: &RgbImage, points: &Points, eyes: [f32; 2]) -> Option<Portrait> {
        let width = face_width(points);
        let is_usable = width.is_finite() && width >= 1.0 && points.iter().flatten().all(|v| v.is_finite());
        if !is_usable {
            return None;
        }
        let bounds = |axis: usize, size: u32| {
            let values = || points.iter().map(|p| p[axis]);
            let low = values().fold(f32::INFINITY, f32::min) - MARGIN * width;
            let high = values().fold(f32::NEG_INFINITY, f32::max) + MARGIN * width;
            let first = low.floor().clamp(0.0, size as f32) as u32;
            let end = high.ceil().clamp(0.0, size as f32) as u32;
            (first, end.saturating_sub(first))
        };
        let ((x, columns), (y, rows)) = (bounds(0, photo.width()), bounds(1, photo.height()));
        if columns < 8 || rows < 8 {
            return None;
        }
        let cut = imageops::crop_imm(photo, x, y, columns, rows).to_image();
        let points = points.map(|[px, py, pz]| [px - x as f32, py - y as f32, pz]);
        let portrait = Portrait { photo: cut, points, face_width: width, eyes, baked: Vec::new() };
        let excess = width / MAX_FACE_WIDTH;
        if excess <= 1.0 {
            return Some(portrait);
        }
        let (photo, points) = portrait.resized(1.0 / excess);
        Some(Portrait { face_width: face_width(&points), photo, points, ..portrait })
    }

    fn resized(&self, scale: f32) -> (RgbImage, Points) {
        let size = |side: u32| ((side as f32 * scale).round() as u32).max(1);
        let (width, height) = (size(self.photo.width()), size(self.photo.height()));
        let filter = if scale < 1.0 { FilterType::Triangle } else { FilterType::CatmullRom };
        let photo = imageops::resize(&self.photo, width, height, filter);
        let (sx, sy) = (width as f32 / self.photo.width() as f32, height as f32 / self.photo.height() as f32);
        let points = self.points.map(|[x, y, z]| [(x + 0.5) * sx - 0.5, (y + 0.5) * sy - 0.5, z * sx]);
        (photo, points)
    }

    /// How good a source this photo is, 0..1: frontal (mean normal of the face's inner vertices) and large enough.
    pub fn merit(&self) -> f32 {
        let (face, normals) = (canonical(), self.facing());
        let inner = (0..normals.len()).filter(|&i| face.depth[i] > 0.1);
        let (sum, count) = inner.fold((0.0, 0), |(sum, count), i| (sum + normals[i], count + 1));
        // Left and right half must be seen alike: a turned head shows one of them.
        let [left, nose, right] = [234, 1, 454].map(|i| self.points[i][0]);
        let balance = ((nose - left) / (right - nose).max(1e-3)).max(1e-3);
        let symmetry = balance.min(1.0 / balance);
        sum / count as f32 * symmetry.sqrt() * self.sharpness()
    }

    /// z of the vertex normals.
    pub(super) fn facing(&self) -> [f32; 468] {
        facing(&self.points, &canonical().triangles)
    }

    /// 1 for a face that is large enough, less for narrower ones.
    pub(super) fn sharpness(&self) -> f32 {
        (self.face_width / SHARP_FACE_WIDTH).min(1.0)
    }

    #[cfg(test)]
    pub(super) fn face_width(&self) -> f32 {
        self.face_width
    }

    /// The same photo with its mesh turned about the vertical axis by `angle` radians.
    #[cfg(test)]
    pub(super) fn turned(&self, angle: f32) -> Portrait {
        let (sin, cos) = angle.sin_cos();
        let [nose_x, _, nose_z] = self.points[1];
        let points = self.points.map(|[x, y, z]| {
            let (dx, dz) = (x - nose_x, z - nose_z);
            [nose_x + cos * dx + sin * dz, y, nose_z - sin * dx + cos * dz]
        });
        Portrait { photo: self.photo.clone(), points, face_width: self.face_width, eyes: self.eyes, baked: Vec::new() }
    }

    /// The detail planes for a target face `target_width` pixels wide: baked on first use.
    pub(super) fn baked(&mut self, target_width: f32, matrix: Matrix, chroma_shift: u8, tools: &mut Tools) -> &Baked {
        let key = self.key(target_width, matrix, chroma_shift);
        let known = self.baked.iter().position(|(k, _)| *k == key);
        let index = known.unwrap_or_else(|| {
            let (photo, points) = match key.level {
                0 => (self.photo.clone(), self.points),
                level => self.resized((-level as f32).exp2()),
            };
            let planes = planes_of(&photo, matrix);
            let baked = bake(&planes.view(), &points, chroma_shift, &mut Analysis::default(), tools);
            self.baked.push((key, baked));
            self.baked.len() - 1
        });
        &self.baked[index].1
    }

    /// What tells the planes for such a target from others.
    pub(super) fn key(&self, target_width: f32, matrix: Matrix, chroma_shift: u8) -> BakeKey {
        BakeKey { level: self.level(target_width), matrix, chroma_shift }
    }

    /// Pixels that the face is wide in the planes of `key`.
    pub(super) fn width_at(&self, key: BakeKey) -> f32 {
        self.face_width * (-key.level as f32).exp2()
    }

    /// Halvings that leave the portrait's face 0.75 to 1.5 times as wide as the target's: sharp, and not aliased.
    /// Small portraits are enlarged up to four times (a bicubic enlargement is smoother than a bilinear warp).
    fn level(&self, target_width: f32) -> i32 {
        let mut level = -2;
        while self.face_width * (-level as f32).exp2() > 1.5 * target_width && level < 8 {
            level += 1;
        }
        level
    }
}

fn planes_of(photo: &RgbImage, matrix: Matrix) -> Frame {
    Frame::from_rgb(photo.width() as usize, photo.height() as usize, photo, matrix)
}
