//! MTCNN (Zhang et al. 2016): a small network proposes windows all over a pyramid of the picture, a second one refuses most of them, a
//! third one tells of the points.

use crate::frame::YuvRef;
use crate::vision::Bounds;
use crate::vision::aligned::Aligned;
use crate::vision::aligned::grid::chain;
use crate::vision::card::{Card, Role};
use crate::vision::catalog::Catalog;
use crate::vision::contract::{self, Contract, DetectorFamily};
use crate::vision::error::VisionError;
use crate::vision::feed::Feed;
use crate::vision::geometry::{Affine, Point};
use crate::vision::model::{Execution, Network, Tensor};

use super::Detection;

/// Side of the first network's windows, and from one window to the next, its input's pixels.
const WINDOW: usize = 12;
const STEP: usize = 2;
/// Smallest face that is looked for, pixels.
const SMALLEST: f64 = 20.0;
/// From one picture of the pyramid to the next.
const SHRINK: f64 = 0.709;
/// Scores from which on the first and the second network's windows go on.
const LEAST: [f64; 2] = [0.6, 0.7];
/// Windows that overlap by more are one: within a picture of the pyramid, and after each network.
const SAME: [f64; 2] = [0.5, 0.7];

/// The second and the third network, and what is read of the first.
pub(in crate::vision) struct Cascade {
    boxes: usize,
    scores: usize,
    refuse: Stage,
    points: Stage,
    input: Vec<f32>,
}

struct Stage {
    network: Network,
    feed: Feed,
    boxes: usize,
    scores: usize,
    /// The output with the points, of the third.
    points: Option<usize>,
}

/// What may be a face; sides in pixels of the shown picture, whose first one reaches from 0 to 1.
#[derive(Clone, Debug)]
struct Window {
    sides: [f64; 4],
    score: f64,
    points: [Point; 5],
}

/// What overlap is measured by.
#[derive(Clone, Copy)]
enum Share {
    OfBoth,
    OfTheLesser,
}

impl Cascade {
    /// Loads what comes after the network of `card`.
    pub(super) fn load(
        catalog: &Catalog,
        card: &Card,
        contract: &contract::Detector,
        execution: &Execution,
    ) -> Result<Self, VisionError> {
        let [refuse, points] = &contract.then[..] else {
            return Err(card.refuse(format!("names {} later networks (expected 2)", contract.then.len())));
        };
        Ok(Self {
            boxes: card.output_index("bbox")?,
            scores: card.output_index("prob")?,
            refuse: Stage::load(catalog, refuse, false, execution)?,
            points: Stage::load(catalog, points, true, execution)?,
            input: Vec::new(),
        })
    }

    /// The faces with a score above `least`, in shown pixels. `first` is the first network, `planes` are its input's: which of red, green
    /// and blue, its mean and its factor. Faces below `smallest` pixels may be passed over.
    pub(super) fn look(
        &mut self,
        first: &mut Network,
        planes: &[(usize, f32, f32); 3],
        picture: &YuvRef<'_>,
        (least, smallest): (f64, f64),
    ) -> Result<Vec<Detection>, VisionError> {
        let stored = (picture.width(), picture.height());
        let shown = picture.turn.shown(stored);
        let [origin, right, down] = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]].map(|at| picture.turn.to_stored(at, stored));
        let to_stored =
            Affine([0, 1].map(|axis| [right[axis] - origin[axis], down[axis] - origin[axis], origin[axis]]));

        let mut windows = Vec::new();
        let mut scale = WINDOW as f64 / smallest.max(SMALLEST);
        while shown.0.min(shown.1) as f64 * scale >= WINDOW as f64 {
            let found = self.propose(first, planes, (picture, &to_stored), shown, scale)?;
            windows.extend(suppress(found, SAME[0], Share::OfBoth));
            scale *= SHRINK;
        }
        let windows = suppress(windows, SAME[1], Share::OfBoth);
        let windows = self.refuse.judge(windows, (picture, &to_stored), LEAST[1])?;
        let windows = suppress(windows, SAME[1], Share::OfBoth);
        let windows = self.points.judge(windows, (picture, &to_stored), least)?;
        let faces = suppress(windows, SAME[1], Share::OfTheLesser);
        let of_window = |Window { sides: [left, top, right, bottom], score, points }: Window| Detection {
            bounds: Bounds { left: left as f32, top: top as f32, right: right as f32, bottom: bottom as f32 },
            score,
            points,
        };
        Ok(faces.into_iter().map(of_window).collect())
    }

    /// The first network's windows in the picture at `scale`, put right by what it says.
    fn propose(
        &mut self,
        network: &mut Network,
        planes: &[(usize, f32, f32); 3],
        (picture, to_stored): (&YuvRef<'_>, &Affine),
        shown: (usize, usize),
        scale: f64,
    ) -> Result<Vec<Window>, VisionError> {
        let [columns, rows] = [shown.0, shown.1].map(|size| (size as f64 * scale).ceil() as usize);
        let (step, start) = (1.0 / scale, 0.5 / scale - 0.5);
        let to_shown = Affine([[step, 0.0, start], [0.0, step, start]]);
        let side = columns.max(rows);
        let seen = Aligned::sample(picture, chain(&to_shown, to_stored), side);
        self.input.clear();
        for &(channel, mean, factor) in planes {
            for row in seen.channel(channel).chunks_exact(side).take(rows) {
                self.input.extend(row[..columns].iter().map(|value| (value - mean) * factor));
            }
        }
        let shape = [1, 3, rows, columns];
        let outputs = network.run(&[Tensor { shape: &shape, data: &self.input }])?;
        let places = |size: usize| (size - WINDOW).div_ceil(STEP) + 1;
        let (across, count) = (places(columns), places(columns) * places(rows));
        let (boxes, scores) = (outputs.finite(self.boxes, 4 * count)?, outputs.finite(self.scores, 2 * count)?);
        let is_likely = |place: &usize| f64::from(scores[count + place]) > LEAST[0];
        let of_place = |place: usize| {
            let [left, top] = [place % across, place / across].map(|place| (STEP * place) as f64 / scale);
            let side = WINDOW as f64 / scale;
            let by = [0, 1, 2, 3].map(|number| f64::from(boxes[number * count + place]));
            let sides = calibrated([left, top, left + side, top + side], by);
            Window { sides, score: f64::from(scores[count + place]), points: [[0.0; 2]; 5] }
        };
        Ok((0..count).filter(is_likely).map(of_place).collect())
    }
}

impl Stage {
    fn load(catalog: &Catalog, id: &str, has_points: bool, execution: &Execution) -> Result<Self, VisionError> {
        let model = catalog.of(Role::Detector, id)?;
        let card = &model.card;
        match &card.contract {
            Some(Contract::Detector(contract)) if contract.family == DetectorFamily::MtcnnStage => {}
            _ => return Err(card.refuse("is no later network of MTCNN (expected family mtcnn_stage)".to_owned())),
        }
        Ok(Self {
            feed: Feed::of(card, card.picture()?, 0)?,
            boxes: card.output_index("bbox")?,
            scores: card.output_index("prob")?,
            points: has_points.then(|| card.output_index("points")).transpose()?,
            network: Network::load(&model, execution)?,
        })
    }

    /// The windows, made square, that the network takes for faces with a score above `least`, put right by what it says.
    fn judge(
        &mut self,
        windows: Vec<Window>,
        (picture, to_stored): (&YuvRef<'_>, &Affine),
        least: f64,
    ) -> Result<Vec<Window>, VisionError> {
        let mut kept = Vec::new();
        for run in self.network.runs(windows.len()) {
            let windows = &windows[run.rows.clone()];
            let squares: Vec<[f64; 3]> = windows.iter().map(|window| square(window.sides)).collect();
            let crops: Vec<Aligned> = squares
                .iter()
                .map(|[left, top, side]| {
                    let step = side / self.feed.side() as f64;
                    let at = |edge: f64| edge + step / 2.0 - 0.5;
                    let to_shown = Affine([[step, 0.0, at(*left)], [0.0, step, at(*top)]]);
                    Aligned::sample(picture, chain(&to_shown, to_stored), self.feed.side())
                })
                .collect();
            let pictures: Vec<&[f32]> = run.places().map(|row| &crops[row - run.rows.start].rgb[..]).collect();
            let (shape, data) = self.feed.pictures(&pictures);
            let outputs = self.network.run(&[Tensor { shape: &shape, data }])?;
            let count = run.size;
            let (boxes, scores) = (outputs.finite(self.boxes, 4 * count)?, outputs.finite(self.scores, 2 * count)?);
            let points = self.points.map(|output| outputs.finite(output, 10 * count)).transpose()?;
            for (number, &[left, top, side]) in squares.iter().enumerate() {
                let score = f64::from(scores[2 * number + 1]);
                if score <= least {
                    continue;
                }
                let by = [0, 1, 2, 3].map(|side| f64::from(boxes[4 * number + side]));
                let sides = calibrated([left, top, left + side, top + side], by);
                let points = std::array::from_fn(|point| match &points {
                    // Five x, then five y.
                    Some(points) => [(left, point), (top, 5 + point)]
                        .map(|(edge, place)| edge + side * f64::from(points[10 * number + place]) - 0.5),
                    None => [0.0; 2],
                });
                kept.push(Window { sides, score, points });
            }
        }
        Ok(kept)
    }
}

/// Each side moved by a share of the window's width or height.
fn calibrated(sides: [f64; 4], by: [f64; 4]) -> [f64; 4] {
    let size = [sides[2] - sides[0], sides[3] - sides[1]];
    std::array::from_fn(|side| sides[side] + by[side] * size[side % 2])
}

/// Left, top and side of the square around the same middle with the longer side.
fn square([left, top, right, bottom]: [f64; 4]) -> [f64; 3] {
    let side = (right - left).max(bottom - top).max(1.0);
    [(left + right - side) / 2.0, (top + bottom - side) / 2.0, side]
}

/// Non-maximum suppression; the surest first, of equals the one further left, then further up.
fn suppress(mut windows: Vec<Window>, most: f64, share: Share) -> Vec<Window> {
    windows.sort_by(|a, b| {
        let places = a.sides[0].total_cmp(&b.sides[0]).then(a.sides[1].total_cmp(&b.sides[1]));
        b.score.total_cmp(&a.score).then(places)
    });
    let mut kept: Vec<Window> = Vec::new();
    for window in windows {
        if kept.iter().all(|surer| overlap(surer.sides, window.sides, share) <= most) {
            kept.push(window);
        }
    }
    kept
}

fn overlap(a: [f64; 4], b: [f64; 4], share: Share) -> f64 {
    let along = |low: usize, high: usize| (a[high].min(b[high]) - a[low].max(b[low])).max(0.0);
    let common = along(0, 2) * along(1, 3);
    let area = |[left, top, right, bottom]: [f64; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
    let whole = match share {
        Share::OfBoth => area(a) + area(b) - common,
        Share::OfTheLesser => area(a).min(area(b)),
    };
    if whole > 0.0 { common / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::frame::{Frame, Pixels, Turn};
    use crate::vision::detect::{Detector, DetectorSettings};
    use crate::vision::testing::tiny::{self, Gives};
    use crate::vision::testing::{self, CLIP_COLOR};

    /// Shares of the third network's window at which it always tells of points.
    const POINTS: [Point; 5] = [[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]];

    /// A window of `size`: positive where its middle two thirds are, negative around them; 0 in sum.
    fn pattern(size: usize) -> Vec<f32> {
        let inner = size / 6..size - size / 6;
        let (inside, outside) = (inner.len() * inner.len(), size * size - inner.len() * inner.len());
        let weight = |place: usize| {
            let is_inside = inner.contains(&(place % size)) && inner.contains(&(place / size % size));
            if is_inside { 0.2 / inside as f32 } else { -0.2 / outside as f32 }
        };
        (0..3 * size * size).map(weight).collect()
    }

    /// Networks that know a light square on a dark ground, and their folder. `by`: what the third says of its box.
    fn networks(by: [f32; 4]) -> (Catalog, TempDir) {
        testing::init();
        let folder = tempfile::tempdir().unwrap();
        let known = Catalog::builtin().unwrap();
        let constant = |size: usize, values: &[f32]| {
            values.iter().map(|value| (vec![0.0; 3 * size * size], *value)).collect::<Vec<_>>()
        };
        for (id, size) in [("mtcnn", 12), ("mtcnn_rnet", 24), ("mtcnn_onet", 48)] {
            let no: Vec<f32> = pattern(size).iter().map(|weight| -weight).collect();
            let of = |patterns| Gives::Patterns { size, stride: (size == 12).then_some(2), patterns };
            let boxes = of(constant(size, if size == 48 { &by } else { &[0.0; 4] }));
            let scores = of(vec![(no, 0.9), (pattern(size), 0.1)]);
            let points = POINTS.iter().map(|[x, _]| *x as f32).chain(POINTS.iter().map(|[_, y]| *y as f32));
            let gives = match size {
                48 => vec![boxes, of(constant(size, &points.collect::<Vec<_>>())), scores],
                _ => vec![boxes, scores],
            };
            tiny::write(&known, id, folder.path(), &gives, None);
        }
        (Catalog::open(folder.path()).unwrap(), folder)
    }

    fn detector(catalog: &Catalog, least_size: Option<u32>) -> Detector {
        let settings = DetectorSettings { id: Some("mtcnn".to_owned()), least_size, ..DetectorSettings::default() };
        Detector::load(catalog, &settings, &Execution::default()).unwrap()
    }

    /// A dark picture with a light square of `side` whose corner is at (left, top).
    fn light_square(size: (usize, usize), [left, top]: [usize; 2], side: usize) -> Frame {
        let is_inside = move |x: usize, y: usize| (left..left + side).contains(&x) && (top..top + side).contains(&y);
        testing::draw(size.0, size.1, CLIP_COLOR, |x, y| [if is_inside(x, y) { 240.0 } else { 20.0 }; 3])
    }

    fn near(found: f64, expected: f64, most: f64) -> bool {
        (found - expected).abs() <= most
    }

    #[test]
    fn three_networks_find_a_face_of_any_size() {
        let (catalog, _folder) = networks([0.0; 4]);
        let mut detector_of_all = detector(&catalog, None);
        for (size, corner, side) in
            [((320, 200), [100, 60], 40), ((201, 333), [20, 170], 80), ((640, 360), [400, 90], 161)]
        {
            let found = detector_of_all.detect(&light_square(size, corner, side).view()).unwrap();
            let face = found.first().unwrap_or_else(|| panic!("a face of {side}"));
            assert!(face.score > 0.8, "{face:?}");
            // The window has the square in its middle.
            // As near as windows at steps of 2, in pictures of 0.709 times the size, come.
            let (whole, most) = (1.5 * side as f64, 0.2 * side as f64);
            let [left, top] = corner.map(|edge| edge as f64 - side as f64 / 4.0);
            let bounds = &face.bounds;
            let sides = [bounds.left, bounds.top, bounds.right, bounds.bottom].map(f64::from);
            let expected = [left, top, left + whole, top + whole];
            assert!(
                sides.iter().zip(expected).all(|(found, expected)| near(*found, expected, most)),
                "{sides:?} of {expected:?}"
            );
            for ([x, y], [across, down]) in face.points.into_iter().zip(POINTS) {
                let expected = [left + across * whole - 0.5, top + down * whole - 0.5];
                assert!(near(x, expected[0], most) && near(y, expected[1], most), "{x}, {y} of {expected:?}");
            }
        }
        let dark = light_square((320, 200), [0, 0], 0);
        assert_eq!(detector_of_all.detect(&dark.view()).unwrap(), []);
        let small = light_square((320, 200), [100, 60], 40);
        assert_eq!(detector(&catalog, Some(120)).detect(&small.view()).unwrap(), []);
    }

    #[test]
    fn boxes_are_put_right_and_turned() {
        let ((networks_of_all, _folder), (moving, _other)) = (networks([0.0; 4]), networks([-0.1, 0.0, 0.1, 0.2]));
        let frame = light_square((320, 200), [100, 60], 60);
        let first = |catalog: &Catalog, frame: &Frame| detector(catalog, None).detect(&frame.view()).unwrap().remove(0);
        let (plain, moved) = (first(&networks_of_all, &frame).bounds, first(&moving, &frame).bounds);
        let side = plain.right - plain.left;
        for (found, expected) in [
            (moved.left, plain.left - 0.1 * side),
            (moved.top, plain.top),
            (moved.right, plain.right + 0.1 * side),
            (moved.bottom, plain.bottom + 0.2 * side),
        ] {
            assert!((found - expected).abs() < 0.1 * side, "{found}, expected {expected}");
        }
        // Stored lying: the eyes are where they are in the picture as it is shown.
        let turned = frame.shown_turned(Turn::Quarter);
        let face = first(&networks_of_all, &turned);
        let [right, left, nose, ..] = face.points.map(|point| {
            let back = Turn::nearest(-i32::from(Turn::Quarter.degrees()));
            back.to_stored(point, Turn::Quarter.shown((320, 200)))
        });
        assert!(right[0] < left[0] && right[1] < nose[1], "{right:?} {left:?} {nose:?}");
    }

    #[test]
    fn a_later_network_is_no_detector() {
        let settings = DetectorSettings { id: Some("mtcnn_rnet".to_owned()), ..DetectorSettings::default() };
        let (catalog, _folder) = networks([0.0; 4]);
        let error = Detector::load(&catalog, &settings, &Execution::default()).err().unwrap().to_string();
        assert!(error.contains("mtcnn_rnet") && error.contains("a later network of MTCNN"), "{error}");
    }
}
