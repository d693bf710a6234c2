//! YuNet: all faces of a picture, each with its box, score and five points.
//!
//! The network knows faces that are more or less upright, so it sees the picture as it is shown. What it finds is told in
//! the pixels of the picture as it is stored, like everything else.

use crate::frame::{ChromaSite, Color, PlaneRef, Planes, Sample, Turn, YuvRef};

use super::Bounds;
use super::card::Role;
use super::catalog::Catalog;
use super::error::VisionError;
use super::geometry::Point;
use super::model::{Execution, Network, Tensor};
use super::resample::{self, Axis};
use super::rgb::ToRgb;

/// Long side of the network's input, pixels. It needs faces of at least 32, safely 48 pixels in it.
const LONG_SIDE: usize = 640;
/// Both sides of the input are multiples of the coarsest stride.
const MULTIPLE: usize = 32;
/// Distances of the network's cells, input pixels.
const STRIDES: [usize; 3] = [8, 16, 32];
/// Least score: √(class · objectness).
const LEAST_SCORE: f64 = 0.6;
/// Of two boxes that overlap by more than this the one with the lower score goes (non-maximum suppression).
const SAME_FACE_IOU: f64 = 0.3;

/// A face found by the detector; picture pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Box around the face.
    pub bounds: Bounds,
    /// 0..=1.
    pub score: f64,
    /// Eyes, tip of the nose, mouth corners; of pairs the one at the left of the shown picture first.
    pub points: [Point; 5],
}

/// The detector, ready to run.
pub struct Detector {
    network: Network,
    /// For each stride the card's outputs `cls`, `obj`, `bbox`, `kps`.
    outputs: [[usize; 4]; 3],
    fit: Option<Fit>,
    /// Planes blue, green, red; what the picture does not cover stays black.
    input: Vec<f32>,
    /// The same of a picture that is yet to be turned, and nothing around it.
    stored: Vec<f32>,
}

/// How pictures of one format are brought to the network's input.
struct Fit {
    format: (usize, usize, (u8, u8), ChromaSite, Turn),
    /// Input pixels per picture pixel.
    scale: f64,
    /// Input pixels covered by the picture as stored.
    size: (usize, usize),
    /// Pixels of the input.
    padded: (usize, usize),
    luma: (Axis, Axis),
    chroma: (Axis, Axis),
}

impl Detector {
    /// Loads the catalogue's detector.
    ///
    /// # Errors
    /// As [`Network::load`]; [`VisionError::Card`] if the card lacks an output.
    pub fn load(catalog: &Catalog, execution: &Execution) -> Result<Self, VisionError> {
        let model = catalog.of_role(Role::Detector)?;
        let mut outputs = [[0; 4]; 3];
        for (indices, stride) in outputs.iter_mut().zip(STRIDES) {
            for (index, kind) in indices.iter_mut().zip(["cls", "obj", "bbox", "kps"]) {
                *index = model.card.output_index(&format!("{kind}_{stride}"))?;
            }
        }
        Ok(Self {
            network: Network::load(model, execution)?,
            outputs,
            fit: None,
            input: Vec::new(),
            stored: Vec::new(),
        })
    }

    /// All faces, the surest first; of equal scores the one that is shown further left, then further up.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn detect(&mut self, picture: &YuvRef<'_>) -> Result<Vec<Detection>, VisionError> {
        let (padded, scale) = self.fill(picture);
        let (columns, rows) = padded;
        let input = Tensor { shape: &[1, 3, rows, columns], data: &self.input };
        let outputs = self.network.run(&[input])?;
        let mut found = Vec::new();
        for (stride, indices) in STRIDES.into_iter().zip(self.outputs) {
            let [class, objectness, boxes, points] = indices.map(|index| outputs.get(index));
            let (class, objectness) = (class?, objectness?);
            let (boxes, points) = (boxes?, points?);
            for (cell, (class, objectness)) in class.iter().zip(objectness).enumerate() {
                let score = (f64::from(*class).clamp(0.0, 1.0) * f64::from(*objectness).clamp(0.0, 1.0)).sqrt();
                if score > LEAST_SCORE {
                    let across = columns / stride;
                    let corner = [(cell % across) as f64, (cell / across) as f64];
                    let (boxes, points) = (&boxes[4 * cell..][..4], &points[10 * cell..][..10]);
                    found.push(decode(corner, stride as f64 / scale, score, boxes, points));
                }
            }
        }
        let size = (picture.width(), picture.height());
        Ok(surest(found).into_iter().map(|shown| shown.stored(picture.turn, size)).collect())
    }

    /// Brings the picture to the network's input; the input's size and its pixels per picture pixel.
    fn fill(&mut self, picture: &YuvRef<'_>) -> ((usize, usize), f64) {
        let format = (picture.width(), picture.height(), picture.shift, picture.site, picture.turn);
        let known = self.fit.take().filter(|fit| fit.format == format);
        let fit = known.unwrap_or_else(|| {
            let fit = Fit::new(picture);
            self.input.clear();
            self.input.resize(3 * fit.padded.0 * fit.padded.1, 0.0);
            self.stored.clear();
            self.stored.resize(if picture.turn.is_none() { 0 } else { 3 * fit.size.0 * fit.size.1 }, 0.0);
            fit
        });
        let (resized, stride) = match picture.turn {
            Turn::None => (&mut self.input, fit.padded.0),
            _ => (&mut self.stored, fit.size.0),
        };
        match picture.planes {
            Planes::U8(planes) => fit.resize(planes, picture.color, resized, stride),
            Planes::U16(planes) => fit.resize(planes, picture.color, resized, stride),
        }
        if !picture.turn.is_none() {
            let planes = self.stored.chunks_exact(fit.size.0 * fit.size.1);
            for (stored, shown) in planes.zip(self.input.chunks_exact_mut(fit.padded.0 * fit.padded.1)) {
                picture.turn.apply(stored, fit.size, shown, fit.padded.0);
            }
        }
        let filled = (fit.padded, fit.scale);
        self.fit = Some(fit);
        filled
    }
}

impl Fit {
    /// Writes the picture as it is stored: three planes, rows `stride` values apart.
    fn resize<S: Sample>(&self, planes: [PlaneRef<'_, S>; 3], color: Color, out: &mut [f32], stride: usize) {
        let size = self.size;
        let to_rgb = ToRgb::new(color);
        let [y_plane, cb_plane, cr_plane] = &planes;
        let (mut luma, mut cb, mut cr) = (vec![0.0; size.0], vec![0.0; size.0], vec![0.0; size.0]);
        let mut scratch = Vec::new();
        let plane = out.len() / 3;
        let (blue, rest) = out.split_at_mut(plane);
        let (green, red) = rest.split_at_mut(plane);
        for row in 0..size.1 {
            resample::row(y_plane, (&self.luma.0, &self.luma.1), row, &mut scratch, &mut luma);
            resample::row(cb_plane, (&self.chroma.0, &self.chroma.1), row, &mut scratch, &mut cb);
            resample::row(cr_plane, (&self.chroma.0, &self.chroma.1), row, &mut scratch, &mut cr);
            let line = row * stride..row * stride + size.0;
            let bgr = blue[line.clone()].iter_mut().zip(&mut green[line.clone()]).zip(&mut red[line.clone()]);
            for (((blue, green), red), ((luma, cb), cr)) in bgr.zip(luma.iter().zip(&cb).zip(&cr)) {
                [*red, *green, *blue] = to_rgb.rgb(*luma, to_rgb.tint(*cb, *cr));
            }
            for plane in [&mut *red, &mut *green, &mut *blue] {
                to_rgb.show(&mut plane[line.clone()]);
            }
        }
    }

    fn new(picture: &YuvRef<'_>) -> Self {
        let (width, height) = (picture.width(), picture.height());
        let scale = LONG_SIDE as f64 / width.max(height) as f64;
        let scaled = |size: usize| ((size as f64 * scale).round() as usize).max(1);
        let size = (scaled(width), scaled(height));
        let shown = picture.turn.shown(size);
        let padded = (shown.0.next_multiple_of(MULTIPLE), shown.1.next_multiple_of(MULTIPLE));
        // Chroma sample k lies at luma coordinate `first` + k · `apart`.
        let axis = |count: usize, luma_size: usize, shift: u8, is_centred: bool, inputs: usize| {
            let (step, apart) = (luma_size as f64 / count as f64, f64::from(1u32 << shift));
            let first = if is_centred { (apart - 1.0) / 2.0 } else { 0.0 };
            Axis::new(count, (-0.5 - first) / apart, step / apart, inputs)
        };
        let is_centred = picture.site == ChromaSite::Center;
        let chroma = picture.planes.size(1);
        Self {
            format: (width, height, picture.shift, picture.site, picture.turn),
            scale,
            size,
            padded,
            luma: (axis(size.0, width, 0, true, width), axis(size.1, height, 0, true, height)),
            chroma: (
                axis(size.0, width, picture.shift.0, is_centred, chroma.0),
                axis(size.1, height, picture.shift.1, true, chroma.1),
            ),
        }
    }
}

impl Detection {
    /// The same in the stored picture's pixels, from the shown one's; `size` as stored.
    fn stored(self, turn: Turn, size: (usize, usize)) -> Self {
        if turn.is_none() {
            return self;
        }
        let Bounds { left, top, right, bottom } = self.bounds;
        let corners = [[left, top], [right, bottom]];
        let [a, b] = corners.map(|corner| turn.to_stored(corner.map(f64::from), size).map(|value| value as f32));
        let bounds =
            Bounds { left: a[0].min(b[0]), top: a[1].min(b[1]), right: a[0].max(b[0]), bottom: a[1].max(b[1]) };
        Self { bounds, points: self.points.map(|point| turn.to_stored(point, size)), ..self }
    }
}

/// `unit`: picture pixels per cell. Box: centre relative to the cell's corner and ln of its size; points relative to
/// the corner.
fn decode(corner: Point, unit: f64, score: f64, boxes: &[f32], points: &[f32]) -> Detection {
    let centre = [0, 1].map(|axis| (corner[axis] + f64::from(boxes[axis])) * unit);
    let half = [2, 3].map(|axis| f64::from(boxes[axis]).exp() * unit / 2.0);
    let point = |index: usize| [0, 1].map(|axis| (corner[axis] + f64::from(points[2 * index + axis])) * unit);
    Detection {
        bounds: Bounds {
            left: (centre[0] - half[0]) as f32,
            top: (centre[1] - half[1]) as f32,
            right: (centre[0] + half[0]) as f32,
            bottom: (centre[1] + half[1]) as f32,
        },
        score,
        points: std::array::from_fn(point),
    }
}

/// Non-maximum suppression; the surest first.
fn surest(mut found: Vec<Detection>) -> Vec<Detection> {
    found.sort_by(|a, b| {
        let places = a.bounds.left.total_cmp(&b.bounds.left).then(a.bounds.top.total_cmp(&b.bounds.top));
        b.score.total_cmp(&a.score).then(places)
    });
    let mut kept: Vec<Detection> = Vec::new();
    for detection in found {
        if kept.iter().all(|surer| surer.bounds.iou(&detection.bounds) <= SAME_FACE_IOU) {
            kept.push(detection);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Pixels};
    use crate::vision::testing;

    fn detector() -> Detector {
        testing::init();
        Detector::load(&Catalog::builtin().unwrap(), &Execution::default()).unwrap()
    }

    #[test]
    fn the_portraits_face_is_found_at_any_size() {
        let mut detector = detector();
        let photo = testing::portrait();
        let mut check = |width: usize, height: usize, scale: f32| {
            let frame = testing::draw(width, height, testing::CLIP_COLOR, |x, y| {
                let (u, v) = ((x as f32 / scale) as u32, (y as f32 / scale) as u32);
                photo.get_pixel_checked(u, v).map_or([0.0; 3], |pixel| pixel.0.map(f32::from))
            });
            let found = detector.detect(&frame.view()).unwrap();
            assert_eq!(found.len(), 1, "{width}×{height}");
            let [left_eye, right_eye, nose, ..] = found[0].points.map(|point| point.map(|v| v / f64::from(scale)));
            assert!(found[0].score > 0.8);
            assert!((left_eye[0] - 199.0).abs() < 8.0 && (left_eye[1] - 104.0).abs() < 8.0, "{left_eye:?}");
            assert!((right_eye[0] - 244.0).abs() < 8.0 && (right_eye[1] - 104.0).abs() < 8.0, "{right_eye:?}");
            assert!(nose[0] > left_eye[0] && nose[0] < right_eye[0] && nose[1] > left_eye[1], "{nose:?}");
        };
        check(512, 512, 1.0);
        check(1281, 719, 1.3);
        check(333, 256, 0.5);
    }

    #[test]
    fn no_face_is_found_in_grey_or_in_next_to_nothing() {
        let mut detector = detector();
        for (width, height) in [(640, 360), (1, 1), (3, 200)] {
            let frame = Frame::grey(width, height, testing::CLIP_COLOR);
            assert_eq!(detector.detect(&frame.view()).unwrap(), [], "{width}×{height}");
        }
    }

    #[test]
    fn a_change_of_size_leaves_nothing_behind() {
        let (wide, tall) = (testing::moving_portrait(3, 320, 180), testing::moving_portrait(3, 96, 180));
        let mut detector = detector();
        let before = detector.detect(&wide.view()).unwrap();
        detector.detect(&tall.view()).unwrap();
        assert_eq!(detector.detect(&wide.view()).unwrap(), before);
        assert!(!before.is_empty());
    }

    #[test]
    fn a_picture_that_is_stored_turned_is_seen_as_it_is_shown() {
        let mut detector = detector();
        let size = (320, 180);
        let place = testing::sway(3, size.0, size.1);
        let upright = detector.detect(&testing::portrait_at(&[place], size.0, size.1).view()).unwrap();
        for turn in Turn::ALL {
            let frame = testing::portrait_stored(turn, &[place], size.0, size.1);
            let found = detector.detect(&frame.view()).unwrap();
            assert_eq!(found.len(), 1, "{turn:?}");
            let stored = upright[0].points.map(|point| turn.to_stored(point, turn.shown(size)));
            for (found, expected) in found[0].points.iter().zip(stored) {
                let apart = (found[0] - expected[0]).hypot(found[1] - expected[1]);
                assert!(apart < 1.0, "{turn:?}: {found:?}, expected {expected:?}");
            }
            let Bounds { left, top, right, bottom } = found[0].bounds;
            assert!(left < right && top < bottom, "{turn:?}");
            for [x, y] in found[0].points {
                let (x, y) = (x as f32, y as f32);
                assert!(left < x && x < right && top < y && y < bottom, "{turn:?}: {x}, {y} outside of its box");
            }
        }
    }

    #[test]
    fn overlapping_boxes_are_one_face() {
        let detection = |left: f32, score: f64| Detection {
            bounds: Bounds { left, top: 0.0, right: left + 10.0, bottom: 10.0 },
            score,
            points: [[0.0; 2]; 5],
        };
        let check = |found: &[(f32, f64)], expected: &[(f32, f64)]| {
            let kept = surest(found.iter().map(|&(left, score)| detection(left, score)).collect());
            let kept: Vec<_> = kept.iter().map(|kept| (kept.bounds.left, kept.score)).collect();
            assert_eq!(kept, expected);
        };
        check(&[(0.0, 0.7), (2.0, 0.9), (30.0, 0.8)], &[(2.0, 0.9), (30.0, 0.8)]);
        check(&[(30.0, 0.8), (0.0, 0.8)], &[(0.0, 0.8), (30.0, 0.8)]);
        check(&[(0.0, 0.8), (6.0, 0.7)], &[(0.0, 0.8), (6.0, 0.7)]);
    }
}
