//! The forms in which detectors tell of faces.

use crate::vision::Bounds;
use crate::vision::card::{Card, Dimension};
use crate::vision::catalog::Catalog;
use crate::vision::contract::{self, DetectorFamily};
use crate::vision::error::VisionError;
use crate::vision::geometry::Point;
use crate::vision::model::{Execution, Outputs};

use super::Detection;
use super::mtcnn::Cascade;

/// Distances of the network's cells, input pixels.
const STRIDES: [usize; 3] = [8, 16, 32];
/// Anchors at each cell, of detectors that have them.
pub(super) const ANCHORS: usize = 2;

/// A form of outputs, with their indices in the card.
pub(super) enum Family {
    /// For each stride `cls`, `obj`, `bbox`, `kps`.
    Yunet([[usize; 4]; 3]),
    /// For each stride `score`, `bbox`, `kps`.
    Anchors([[usize; 3]; 3]),
    /// The output, and how many boxes it tells of.
    YoloV8(usize, usize),
    /// The same.
    YoloV5(usize, usize),
    /// Looks at the picture by itself.
    Mtcnn(Box<Cascade>),
}

impl Family {
    pub(super) fn of(
        catalog: &Catalog,
        card: &Card,
        contract: &contract::Detector,
        execution: &Execution,
    ) -> Result<Self, VisionError> {
        let of_stride = |kind: &str, stride: usize| card.output_index(&format!("{kind}_{stride}"));
        let boxes = |dimension: usize| {
            let size = card.outputs[0].shape.get(dimension).and_then(Dimension::fixed);
            size.ok_or_else(|| card.refuse(format!("output is {} (expected a fixed number of boxes)", card.outputs[0])))
        };
        Ok(match contract.family {
            DetectorFamily::Yunet => {
                let mut outputs = [[0; 4]; 3];
                for (indices, stride) in outputs.iter_mut().zip(STRIDES) {
                    for (to, kind) in indices.iter_mut().zip(["cls", "obj", "bbox", "kps"]) {
                        *to = of_stride(kind, stride)?;
                    }
                }
                Self::Yunet(outputs)
            }
            DetectorFamily::Anchors => {
                let mut outputs = [[0; 3]; 3];
                for (indices, stride) in outputs.iter_mut().zip(STRIDES) {
                    for (to, kind) in indices.iter_mut().zip(["score", "bbox", "kps"]) {
                        *to = of_stride(kind, stride)?;
                    }
                }
                Self::Anchors(outputs)
            }
            DetectorFamily::Mtcnn => Self::Mtcnn(Box::new(Cascade::load(catalog, card, contract, execution)?)),
            DetectorFamily::MtcnnStage => {
                return Err(card.refuse("is a later network of MTCNN (expected its first, mtcnn)".to_owned()));
            }
            DetectorFamily::YoloV8 => Self::YoloV8(card.output_index("output")?, boxes(2)?),
            DetectorFamily::YoloV5 => Self::YoloV5(card.output_index("output")?, boxes(1)?),
        })
    }

    /// The faces with a score above `least`, in shown pixels; `scale`: input pixels per picture pixel.
    pub(super) fn read(
        &self,
        outputs: &Outputs<'_>,
        (columns, rows): (usize, usize),
        scale: f64,
        least: f64,
    ) -> Result<Vec<Detection>, VisionError> {
        let mut found = Vec::new();
        match self {
            Self::Yunet(indices) => {
                for (stride, indices) in STRIDES.into_iter().zip(indices) {
                    let [class, objectness, boxes, points] = indices.map(|index| outputs.get(index));
                    let (class, objectness) = (class?, objectness?);
                    let (boxes, points) = (boxes?, points?);
                    for (cell, (class, objectness)) in class.iter().zip(objectness).enumerate() {
                        let score = (f64::from(*class).clamp(0.0, 1.0) * f64::from(*objectness).clamp(0.0, 1.0)).sqrt();
                        if score > least {
                            let across = columns / stride;
                            let corner = [(cell % across) as f64, (cell / across) as f64];
                            let (boxes, points) = (&boxes[4 * cell..][..4], &points[10 * cell..][..10]);
                            found.push(decode(corner, stride as f64 / scale, score, boxes, points));
                        }
                    }
                }
            }
            Self::Anchors(indices) => {
                for (stride, [scores, boxes, points]) in STRIDES.into_iter().zip(*indices) {
                    let (across, down) = (columns / stride, rows / stride);
                    let count = ANCHORS * across * down;
                    let scores = outputs.finite(scores, count)?;
                    let (boxes, points) = (outputs.finite(boxes, 4 * count)?, outputs.finite(points, 10 * count)?);
                    for (place, score) in scores.iter().enumerate().filter(|(_, score)| f64::from(**score) > least) {
                        let cell = place / ANCHORS;
                        let centre = [(cell % across) as f64, (cell / across) as f64];
                        let (boxes, points) = (&boxes[4 * place..][..4], &points[10 * place..][..10]);
                        found.push(of_anchor(centre, stride as f64 / scale, f64::from(*score), boxes, points));
                    }
                }
            }
            Self::Mtcnn(_) => {} // reads its networks itself
            Self::YoloV8(output, boxes) => {
                let values = outputs.finite(*output, 20 * boxes)?;
                for place in 0..*boxes {
                    let value = |number: usize| f64::from(values[number * boxes + place]);
                    if value(4) > least {
                        let coordinate = |number: usize| value(5 + 3 * (number / 2) + number % 2);
                        found.push(of_box([0, 1, 2, 3].map(value), value(4), coordinate, scale));
                    }
                }
            }
            Self::YoloV5(output, boxes) => {
                let values = outputs.finite(*output, 16 * boxes)?;
                for place in 0..*boxes {
                    let value = |number: usize| f64::from(values[16 * place + number]);
                    let score = value(4) * value(15);
                    if score > least {
                        found.push(of_box([0, 1, 2, 3].map(value), score, |number| value(5 + number), scale));
                    }
                }
            }
        }
        Ok(found)
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

/// `unit`: picture pixels per stride. Box: distances of its sides from the centre; points relative to it.
fn of_anchor(centre: Point, unit: f64, score: f64, boxes: &[f32], points: &[f32]) -> Detection {
    let side = |index: usize, sign: f64| ((centre[index % 2] + sign * f64::from(boxes[index])) * unit) as f32;
    let point = |index: usize| [0, 1].map(|axis| (centre[axis] + f64::from(points[2 * index + axis])) * unit);
    let bounds = Bounds { left: side(0, -1.0), top: side(1, -1.0), right: side(2, 1.0), bottom: side(3, 1.0) };
    Detection { bounds, score, points: std::array::from_fn(point) }
}

/// Centre and size of a box, and ten coordinates of points, in input pixels, of which there are `scale` per picture pixel.
fn of_box([x, y, width, height]: [f64; 4], score: f64, coordinate: impl Fn(usize) -> f64, scale: f64) -> Detection {
    let at = |value: f64| (value / scale) as f32;
    let bounds = Bounds {
        left: at(x - width / 2.0),
        top: at(y - height / 2.0),
        right: at(x + width / 2.0),
        bottom: at(y + height / 2.0),
    };
    let point = |index: usize| [0, 1].map(|axis| coordinate(2 * index + axis) / scale);
    Detection { bounds, score, points: std::array::from_fn(point) }
}
