//! All faces of a picture, each with its box, score and five points, by YuNet or another detector of the field.
//!
//! The network knows faces that are more or less upright, so it sees the picture as it is shown. What it finds is told in
//! the pixels of the picture as it is stored, like everything else.

use crate::frame::{ChromaSite, Color, PlaneRef, Planes, Sample, Turn, YuvRef};

use super::Bounds;
use super::card::{Card, Colour, Dimension, Layout, Role};
use super::catalog::Catalog;
use super::contract::Contract;
use super::crop;
use super::error::VisionError;
use super::geometry::{Crop, Point};
use super::model::{Execution, Network, Tensor};
use super::resample::{self, Axis};
use super::rgb::ToRgb;

mod family;
mod mtcnn;

use family::Family;

/// Long side of the network's input, pixels. It needs faces of at least 32, safely 48 pixels in it.
const LONG_SIDE: usize = 640;
/// Both sides of the input are multiples of the coarsest stride.
const MULTIPLE: usize = 32;
/// Which detector finds faces, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DetectorSettings {
    /// Its id; none: the built-in one.
    pub id: Option<String>,
    /// Faces with a lower score are none, 0..=1; none: as its card says.
    pub least_score: Option<f64>,
    /// Faces whose boxes are smaller on their longer side are none, picture pixels; none: all are.
    pub least_size: Option<u32>,
    /// How the picture is turned, beside upright, to be looked at again: faces that lie or stand on their heads are found too.
    pub turns: Vec<Turn>,
}

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

/// A detector, ready to run.
pub struct Detector {
    network: Network,
    family: Family,
    least_score: f64,
    same_face_iou: f64,
    least_size: f32,
    turns: Vec<Turn>,
    /// Side of the square input, where it is fixed.
    side: Option<usize>,
    /// For each plane of the input: which of red, green and blue, its mean and its factor.
    planes: [(usize, f32, f32); 3],
    fit: Option<Fit>,
    /// Planes in the network's order; what the picture does not cover is black.
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
    /// Loads a detector of the catalogue.
    ///
    /// # Errors
    /// As [`Network::load`] and [`Catalog::of`]; [`VisionError::Card`] if the card lacks an output, or has another kind of input.
    pub fn load(catalog: &Catalog, settings: &DetectorSettings, execution: &Execution) -> Result<Self, VisionError> {
        let model = match &settings.id {
            Some(id) => catalog.of(Role::Detector, id)?,
            None => catalog.of_role(Role::Detector)?.clone(),
        };
        let card = &model.card;
        let Some(Contract::Detector(contract)) = &card.contract else {
            return Err(card.refuse("has no [contract.detector]".to_owned()));
        };
        let picture = card.picture()?;
        let order = match picture.colour {
            Colour::Rgb => [0, 1, 2],
            Colour::Bgr => [2, 1, 0],
        };
        let scale = picture.scale.each();
        Ok(Self {
            family: Family::of(catalog, card, contract, execution)?,
            least_score: settings.least_score.unwrap_or(contract.least_score),
            same_face_iou: contract.same_face_iou,
            least_size: settings.least_size.unwrap_or(0) as f32,
            turns: settings.turns.clone(),
            side: side_of(card, picture.layout)?,
            planes: [0, 1, 2].map(|plane| (order[plane], picture.mean[plane], scale[plane])),
            network: Network::load(&model, execution)?,
            fit: None,
            input: Vec::new(),
            stored: Vec::new(),
        })
    }

    /// All faces, the surest first; of equal scores the one that is stored further left, then further up.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn detect(&mut self, picture: &YuvRef<'_>) -> Result<Vec<Detection>, VisionError> {
        let mut found = self.look(picture)?;
        for turn in self.turns.clone() {
            found.extend(self.look(&YuvRef { turn: picture.turn.then(turn), ..*picture })?);
        }
        let is_large =
            |bounds: &Bounds| (bounds.right - bounds.left).max(bounds.bottom - bounds.top) >= self.least_size;
        found.retain(|face| is_large(&face.bounds));
        Ok(surest(found, self.same_face_iou))
    }

    /// The five points of the face that is seen nearest to the middle of `crop`, of which the network is shown `side` × `side` pixels (a multiple
    /// of 32; its own side, if that is fixed). In pixels of the crop. None if there is no face.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn points_in(
        &mut self,
        picture: &YuvRef<'_>,
        crop: &Crop,
        side: usize,
    ) -> Result<Option<[Point; 5]>, VisionError> {
        let side = self.side.unwrap_or(side);
        self.fit = None; // the input is another picture's, and of another size
        self.input.resize(3 * side * side, 0.0);
        crop::sample_planar(picture, &crop.to_picture(side as f64), (side, side), 1.0, &mut self.input);
        self.order(side * side);
        let outputs = self.network.run(&[Tensor { shape: &[1, 3, side, side], data: &self.input }])?;
        let found = self.family.read(&outputs, (side, side), 1.0, self.least_score)?;
        let middle = side as f64 / 2.0;
        let aside = |face: &Detection| (face.points[2][0] - middle).hypot(face.points[2][1] - middle);
        let faces = surest(found, self.same_face_iou).into_iter();
        Ok(faces.min_by(|a, b| aside(a).total_cmp(&aside(b))).map(|face| face.points))
    }

    /// The faces that are seen in the picture as it is turned; in stored pixels.
    fn look(&mut self, picture: &YuvRef<'_>) -> Result<Vec<Detection>, VisionError> {
        let size = (picture.width(), picture.height());
        if let Family::Mtcnn(cascade) = &mut self.family {
            let least = (self.least_score, f64::from(self.least_size));
            let found = cascade.look(&mut self.network, &self.planes, picture, least)?;
            return Ok(found.into_iter().map(|shown| shown.stored(picture.turn, size)).collect());
        }
        let (padded, scale) = self.fill(picture);
        let input = Tensor { shape: &[1, 3, padded.1, padded.0], data: &self.input };
        let outputs = self.network.run(&[input])?;
        let found = self.family.read(&outputs, padded, scale, self.least_score)?;
        Ok(found.into_iter().map(|shown| shown.stored(picture.turn, size)).collect())
    }

    /// Whether the network's input is more than ordered samples.
    fn is_normalised(&self) -> bool {
        self.planes.iter().any(|(_, mean, scale)| (*mean, *scale) != (0.0, 1.0))
    }

    /// From planes of red, green and blue, 0..=255, to what the network wants; `pixels` in each.
    fn order(&mut self, pixels: usize) {
        if self.planes[0].0 == 2 {
            let (first, rest) = self.input.split_at_mut(pixels);
            first.swap_with_slice(&mut rest[pixels..]);
        }
        if self.is_normalised() {
            for (plane, (_, mean, scale)) in self.input.chunks_exact_mut(pixels).zip(self.planes) {
                plane.iter_mut().for_each(|value| *value = (*value - mean) * scale);
            }
        }
    }

    /// Brings the picture to the network's input; the input's size and its pixels per picture pixel.
    fn fill(&mut self, picture: &YuvRef<'_>) -> ((usize, usize), f64) {
        let format = (picture.width(), picture.height(), picture.shift, picture.site, picture.turn);
        let known = self.fit.take().filter(|fit| fit.format == format);
        let fit = known.unwrap_or_else(|| {
            let fit = Fit::new(picture, self.side);
            self.input.clear();
            self.input.resize(3 * fit.padded.0 * fit.padded.1, 0.0);
            self.stored.clear();
            self.stored.resize(if picture.turn.is_none() { 0 } else { 3 * fit.size.0 * fit.size.1 }, 0.0);
            fit
        });
        if self.is_normalised() {
            self.input.fill(0.0); // around the picture, too, black is black again
        }
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
        self.order(fit.padded.0 * fit.padded.1);
        let filled = (fit.padded, fit.scale);
        self.fit = Some(fit);
        filled
    }
}

/// Side of a detector's square input; none if it takes pictures of any size.
fn side_of(card: &Card, layout: Layout) -> Result<Option<usize>, VisionError> {
    let sizes: Vec<Option<usize>> = card.inputs[0].shape.iter().map(Dimension::fixed).collect();
    match sizes[..] {
        [Some(1), Some(3), None, None] if layout == Layout::Nchw => Ok(None),
        [Some(1), Some(3), Some(rows), Some(columns)]
            if layout == Layout::Nchw && rows == columns && rows.is_multiple_of(MULTIPLE) =>
        {
            Ok(Some(rows))
        }
        _ => {
            Err(card
                .refuse(format!("input is {} (expected nchw, a square of a multiple of 32, or free)", card.inputs[0])))
        }
    }
}

impl Fit {
    /// Writes the picture as it is stored: planes of red, green and blue, rows `stride` values apart.
    fn resize<S: Sample>(&self, planes: [PlaneRef<'_, S>; 3], color: Color, out: &mut [f32], stride: usize) {
        let size = self.size;
        let to_rgb = ToRgb::new(color);
        let [y_plane, cb_plane, cr_plane] = &planes;
        let (mut luma, mut cb, mut cr) = (vec![0.0; size.0], vec![0.0; size.0], vec![0.0; size.0]);
        let mut scratch = Vec::new();
        let plane = out.len() / 3;
        let (red, rest) = out.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
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

    /// `side`: of the input, where it is fixed.
    fn new(picture: &YuvRef<'_>, side: Option<usize>) -> Self {
        let (width, height) = (picture.width(), picture.height());
        let scale = side.unwrap_or(LONG_SIDE) as f64 / width.max(height) as f64;
        let scaled = |size: usize| ((size as f64 * scale).round() as usize).max(1);
        let size = (scaled(width), scaled(height));
        let shown = picture.turn.shown(size);
        let padded = match side {
            Some(side) => (side, side),
            None => (shown.0.next_multiple_of(MULTIPLE), shown.1.next_multiple_of(MULTIPLE)),
        };
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

/// Non-maximum suppression; the surest first.
fn surest(mut found: Vec<Detection>, same_face_iou: f64) -> Vec<Detection> {
    found.sort_by(|a, b| {
        let places = a.bounds.left.total_cmp(&b.bounds.left).then(a.bounds.top.total_cmp(&b.bounds.top));
        b.score.total_cmp(&a.score).then(places)
    });
    let mut kept: Vec<Detection> = Vec::new();
    for detection in found {
        if kept.iter().all(|surer| surer.bounds.iou(&detection.bounds) <= same_face_iou) {
            kept.push(detection);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::family::ANCHORS;
    use super::*;
    use crate::frame::{Frame, Pixels};
    use crate::vision::testing;

    fn detector() -> Detector {
        testing::init();
        Detector::load(&Catalog::builtin().unwrap(), &DetectorSettings::default(), &Execution::default()).unwrap()
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

    /// What a detector of each family says of one face, in its input of 640×640: centre 320, 176, box 120×152, and the points.
    #[test]
    fn every_family_of_detectors_tells_of_a_face() {
        use crate::vision::testing::tiny::{self, Gives};
        testing::init();
        const POINTS: [Point; 5] = [[296.0, 160.0], [344.0, 160.0], [320.0, 188.0], [300.0, 214.0], [340.0, 214.0]];
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::builtin().unwrap();
        let anchors = |id: &str| {
            // The first anchor of cell (20, 11) of stride 16.
            let place = ANCHORS * (11 * 40 + 20);
            let of = |per_anchor: usize, values: Vec<f32>| {
                [6400, 1600, 400].into_iter().enumerate().map(move |(stride, cells)| {
                    let mut all = vec![0.0; ANCHORS * cells * per_anchor];
                    if stride == 1 {
                        all[per_anchor * place..][..per_anchor].copy_from_slice(&values);
                    }
                    Gives::Values(all)
                })
            };
            let points = POINTS.iter().flat_map(|[x, y]| [(x - 320.0) as f32 / 16.0, (y - 176.0) as f32 / 16.0]);
            let boxes = vec![60.0 / 16.0, 76.0 / 16.0, 60.0 / 16.0, 76.0 / 16.0];
            let gives: Vec<Gives> = of(1, vec![0.9]).chain(of(4, boxes)).chain(of(10, points.collect())).collect();
            tiny::write(&catalog, id, folder.path(), &gives, None);
        };
        anchors("scrfd_2.5g");
        anchors("retinaface_10g");
        let mut v8 = vec![0.0; 20 * 8400];
        let mut v5 = vec![0.0; 25200 * 16];
        let row = |visible: bool| {
            let points = POINTS.iter().flat_map(move |[x, y]| [Some(*x), Some(*y), visible.then_some(1.0)]);
            [320.0, 176.0, 120.0, 152.0, 0.9].into_iter().chain(points.flatten()).map(|value| value as f32)
        };
        row(true).enumerate().for_each(|(number, value)| v8[number * 8400 + 4000] = value);
        row(false).chain([1.0]).enumerate().for_each(|(number, value)| v5[16 * 9000 + number] = value);
        tiny::write(&catalog, "yoloface_8n", folder.path(), &[Gives::Values(v8)], None);
        tiny::write(&catalog, "yolov5n_face", folder.path(), &[Gives::Values(v5)], None);
        let catalog = Catalog::open(folder.path()).unwrap();
        for id in ["scrfd_2.5g", "retinaface_10g", "yoloface_8n", "yolov5n_face"] {
            let settings = DetectorSettings { id: Some(id.to_owned()), ..DetectorSettings::default() };
            let mut detector = Detector::load(&catalog, &settings, &Execution::default()).unwrap();
            // Half as large as the input.
            let picture = testing::moving_portrait(0, 320, 180);
            let found = detector.detect(&picture.view()).unwrap();
            assert_eq!(found.len(), 1, "{id}");
            let Bounds { left, top, right, bottom } = found[0].bounds;
            assert_eq!([left, top, right, bottom], [130.0, 50.0, 190.0, 126.0], "{id}");
            for ([x, y], expected) in found[0].points.into_iter().zip(POINTS) {
                assert!((x - expected[0] / 2.0).abs() < 1e-4 && (y - expected[1] / 2.0).abs() < 1e-4, "{id}: {x}, {y}");
            }
            let strict = DetectorSettings { least_score: Some(0.95), ..settings };
            let mut detector = Detector::load(&catalog, &strict, &Execution::default()).unwrap();
            assert_eq!(detector.detect(&picture.view()).unwrap(), [], "{id}");
            // The box is 60 pixels wide and 76 high.
            for (least_size, expected) in [(76, 1), (77, 0)] {
                let sized = DetectorSettings {
                    id: Some(id.to_owned()),
                    least_size: Some(least_size),
                    ..DetectorSettings::default()
                };
                let mut detector = Detector::load(&catalog, &sized, &Execution::default()).unwrap();
                assert_eq!(detector.detect(&picture.view()).unwrap().len(), expected, "{id}, {least_size}");
            }
        }
        let other = DetectorSettings { id: Some("sface_2021dec".to_owned()), ..DetectorSettings::default() };
        assert!(matches!(Detector::load(&catalog, &other, &Execution::default()), Err(VisionError::Role { .. })));
    }

    #[test]
    fn a_face_that_lies_is_found_if_the_picture_is_turned() {
        testing::init();
        let place = testing::Place { centre: [240.0, 135.0], scale: 1.2, angle: 0.0 };
        let upright = testing::portrait_stored(Turn::Quarter, &[place], 480, 270);
        // Stored lying, and nobody says so.
        let lying = testing::portrait_stored(Turn::Quarter, &[place], 480, 270).shown_turned(Turn::None);
        let load = |turns: Vec<Turn>| {
            let settings = DetectorSettings { turns, ..DetectorSettings::default() };
            Detector::load(&Catalog::builtin().unwrap(), &settings, &Execution::default()).unwrap()
        };
        let expected = load(Vec::new()).detect(&upright.view()).unwrap();
        let found = load(vec![Turn::Quarter, Turn::ThreeQuarters]).detect(&lying.view()).unwrap();
        assert_eq!((expected.len(), found.len()), (1, 1));
        let apart = found[0].points.iter().zip(&expected[0].points).map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
        assert!(apart.fold(0.0, f64::max) < 3.0, "{:?} and {:?}", found[0], expected[0]);
    }

    #[test]
    fn overlapping_boxes_are_one_face() {
        let detection = |left: f32, score: f64| Detection {
            bounds: Bounds { left, top: 0.0, right: left + 10.0, bottom: 10.0 },
            score,
            points: [[0.0; 2]; 5],
        };
        let check = |found: &[(f32, f64)], expected: &[(f32, f64)]| {
            let kept = surest(found.iter().map(|&(left, score)| detection(left, score)).collect(), 0.3);
            let kept: Vec<_> = kept.iter().map(|kept| (kept.bounds.left, kept.score)).collect();
            assert_eq!(kept, expected);
        };
        check(&[(0.0, 0.7), (2.0, 0.9), (30.0, 0.8)], &[(2.0, 0.9), (30.0, 0.8)]);
        check(&[(30.0, 0.8), (0.0, 0.8)], &[(0.0, 0.8), (30.0, 0.8)]);
        check(&[(0.0, 0.8), (6.0, 0.7)], &[(0.0, 0.8), (6.0, 0.7)]);
    }
}
