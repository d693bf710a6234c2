//! What the tensors of a network mean, where its role leaves that open: the `[contract.…]` of its card.
//!
//! Names of inputs and outputs are those of the card. Pixels that come out of a network: sample = element · gain + shift, on
//! 0..=255, red, green, blue, planar, unless it says otherwise.

use serde::Deserialize;

use super::aligned::template::Template;
use super::card::{Card, Picture, Role, TensorSpec, is_id};

/// By role.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contract {
    /// Of [`Role::Detector`].
    Detector(Detector),
    /// Of [`Role::Landmarks`].
    Landmarks(Landmarks),
    /// Of [`Role::Swapper`].
    Swapper(Swapper),
    /// Of [`Role::Occluder`] and [`Role::Parser`].
    Mask(Mask),
    /// Of [`Role::Restorer`].
    Restorer(Restorer),
    /// Of [`Role::Upscaler`].
    Upscaler(Upscaler),
    /// Of [`Role::Gate`].
    Gate(Gate),
}

/// How a detector tells of faces.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// Which form its outputs have.
    pub family: DetectorFamily,
    /// Faces with a lower score are none, 0..=1.
    pub least_score: f64,
    /// Of two boxes that overlap by more than this (intersection over union) the less sure one goes, 0..=1.
    pub same_face_iou: f64,
    /// Cards of the networks that come after it, in order; of [`DetectorFamily::Mtcnn`] two.
    #[serde(default)]
    pub then: Vec<String>,
}

/// Forms of a detector's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetectorFamily {
    /// For strides 8, 16, 32: `cls_S`, `obj_S` [cells], `bbox_S` [cells, 4] (centre, ln of size), `kps_S` [cells, 10]; score
    /// √(cls · obj). Wu, Peng, Yu 2023.
    Yunet,
    /// For strides 8, 16, 32 and two anchors at each cell: `score_S` [2·cells, 1], `bbox_S` [2·cells, 4] (distances of left, top,
    /// right, bottom over the stride), `kps_S` [2·cells, 10]. SCRFD (Guo et al. 2021) and the RetinaFace of the same authors.
    Anchors,
    /// `output` [1, 20, boxes]: centre x, centre y, width, height, score, five times (x, y, visible), input pixels.
    YoloV8,
    /// MTCNN's first network (Zhang et al. 2016), for windows of 12 pixels at steps of 2 (poolings round up): `bbox` [1, 4, rows, columns]
    /// (by which shares of its size left, top, right and bottom are moved), `prob` [1, 2, rows, columns] (of no face, of a face). The
    /// picture is not mirrored along its diagonal, as in the first Matlab version.
    Mtcnn,
    /// MTCNN's second and third network, which are named by the first and find nothing by themselves: `bbox` [windows, 4], `prob`
    /// [windows, 2]; of the third `points` [windows, 10]: five x, then five y, shares of the window.
    MtcnnStage,
    /// `output` [1, boxes, 16]: centre x, centre y, width, height, score, five times (x, y), class score; input pixels.
    YoloV5,
}

/// How a network tells of points.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Landmarks {
    /// 468 (MediaPipe), 68 (iBUG 300-W) or 98 (WFLW).
    pub points: usize,
    /// Output with x, y (and more) of each point.
    pub output: String,
    /// Numbers per point; the first two are x and y.
    pub stride: usize,
    /// Crop pixels per unit of x and y.
    pub unit: f64,
    /// Output with a heat map for each point, whose peaks' mean is the score; or with the score itself. None: it tells no score.
    #[serde(default)]
    pub score: Option<String>,
    /// Side of the crop over the longest side of the detector's box.
    pub crop: f64,
}

/// How a swapper is fed and read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swapper {
    /// Input with the target's face, aligned to the card's template, filled as its `[picture]` says.
    pub target: String,
    /// Where the identity comes from.
    pub source: Source,
    /// Output with the new face.
    pub face: Pixels,
    /// Output with the network's own mask, 0..=1.
    #[serde(default)]
    pub mask: Option<String>,
}

/// What a swapper takes of the source.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A vector.
    Embedding {
        /// The input.
        input: String,
        /// Card of the recogniser whose embedding it is.
        recogniser: String,
        /// What is made of it.
        form: EmbeddingForm,
    },
    /// The photo's face, aligned.
    Crop {
        /// The input.
        input: String,
        /// To which template.
        template: String,
        /// How it is filled.
        picture: Picture,
    },
}

/// What is made of a recogniser's embedding e before a swapper gets it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EmbeddingForm {
    /// e ÷ ‖e‖.
    Normalised,
    /// e · M ÷ ‖e‖, M the last initializer of the swapper's own graph, square.
    Projected,
    /// What the converter network of this card makes of e.
    Converted(String),
    /// The same, ÷ its length.
    ConvertedNormalised(String),
}

/// An output of pixels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pixels {
    /// The output.
    pub output: String,
    /// Factor on its elements.
    pub gain: f32,
    /// Added after that.
    pub shift: f32,
}

/// An occluder's or parser's output.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// The output: [1, side, side, 1] of 0..=1 where the face is seen; of parsers [1, 19, side, side], a score for each class.
    pub output: String,
    /// It looks at more (or less) than the swapper's crop: at the crop of its card's template, with this many times its sides around the
    /// same middle. None: at the swapper's crop.
    #[serde(default)]
    pub around: Option<f64>,
}

/// How a restorer is fed and read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restorer {
    /// Input with the face, aligned to the card's template.
    pub target: String,
    /// Input with one number: how faithful it is to the face it gets (CodeFormer), 0..=1.
    #[serde(default)]
    pub weight: Option<String>,
    /// Output with the better face.
    pub face: Pixels,
}

/// How a network enlarges.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upscaler {
    /// Factor by which width and height grow.
    pub factor: usize,
    /// Side of a tile, input pixels.
    pub tile: usize,
    /// Of it, on each side, what only gives its neighbours context.
    pub overlap: usize,
    /// Output with the larger picture.
    pub face: Pixels,
}

/// How a gate judges.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The output: one score for each class.
    pub output: String,
    /// Scores are of any size, and become shares of 1 by a softmax. Default: they are shares.
    #[serde(default)]
    pub softmax: bool,
    /// Classes that are refused.
    pub refused: Vec<usize>,
    /// Their scores together from which a picture counts as one to refuse.
    pub threshold: f64,
}

/// What a card's template may be.
const TEMPLATES: &str = "arcface_112_v1, arcface_112_v2, arcface_128, ffhq_512, mtcnn_512";

impl Contract {
    /// What contradicts the rest of the card.
    pub(super) fn check(&self, card: &Card) -> Result<(), String> {
        let fits = match self {
            Self::Detector(_) => card.role == Role::Detector,
            Self::Landmarks(_) => card.role == Role::Landmarks,
            Self::Swapper(_) => card.role == Role::Swapper,
            Self::Mask(_) => matches!(card.role, Role::Occluder | Role::Parser),
            Self::Restorer(_) => card.role == Role::Restorer,
            Self::Upscaler(_) => card.role == Role::Upscaler,
            Self::Gate(_) => card.role == Role::Gate,
        };
        if !fits {
            return Err(format!("its [contract] is of another role (expected that of a {})", card.role));
        }
        let (inputs, outputs) = self.names();
        let is_among = |specs: &[TensorSpec], name: &str| specs.iter().any(|spec| spec.name == name);
        if let Some(name) = inputs.into_iter().find(|name| !is_among(&card.inputs, name)) {
            return Err(format!("its [contract] names input {name}, which is not declared"));
        }
        if let Some(name) = outputs.into_iter().find(|name| !is_among(&card.outputs, name)) {
            return Err(format!("its [contract] names output {name}, which is not declared"));
        }
        let needs_template =
            matches!(self, Self::Swapper(_) | Self::Restorer(_) | Self::Mask(Mask { around: Some(_), .. }));
        let source = match self {
            Self::Swapper(Swapper { source: Source::Crop { template, .. }, .. }) => Some(template),
            _ => None,
        };
        for template in [card.template.as_ref(), source].into_iter().flatten() {
            if Template::from_name(template).is_none() {
                return Err(format!("template is {template:?} (expected one of: {})", TEMPLATES));
            }
        }
        if needs_template && card.template.is_none() {
            return Err(format!("has no template (expected one of: {})", TEMPLATES));
        }
        if let Some(id) = self.other_cards().into_iter().find(|id| !is_id(id)) {
            return Err(format!("its [contract] names card {id:?} (expected a card's id)"));
        }
        self.numbers()
    }

    /// Whether the network works as a part of another only.
    pub fn is_part(&self) -> bool {
        matches!(self, Self::Detector(detector) if detector.family == DetectorFamily::MtcnnStage)
    }

    /// Cards of other networks that it takes.
    pub fn other_cards(&self) -> Vec<&str> {
        match self {
            Self::Swapper(Swapper { source: Source::Embedding { recogniser, form, .. }, .. }) => match form {
                EmbeddingForm::Converted(converter) | EmbeddingForm::ConvertedNormalised(converter) => {
                    vec![recogniser, converter]
                }
                EmbeddingForm::Normalised | EmbeddingForm::Projected => vec![recogniser],
            },
            Self::Detector(Detector { then, .. }) => then.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn names(&self) -> (Vec<&str>, Vec<&str>) {
        match self {
            Self::Detector(_) => (Vec::new(), Vec::new()),
            Self::Landmarks(Landmarks { output, score, .. }) => {
                (Vec::new(), [Some(output), score.as_ref()].into_iter().flatten().map(String::as_str).collect())
            }
            Self::Swapper(Swapper { target, source, face, mask }) => {
                let (Source::Embedding { input, .. } | Source::Crop { input, .. }) = source;
                let outputs = [Some(&face.output), mask.as_ref()].into_iter().flatten().map(String::as_str);
                (vec![target, input], outputs.collect())
            }
            Self::Mask(Mask { output, .. }) => (Vec::new(), vec![output]),
            Self::Restorer(Restorer { target, weight, face }) => {
                let inputs = [Some(target), weight.as_ref()].into_iter().flatten().map(String::as_str);
                (inputs.collect(), vec![&face.output])
            }
            Self::Upscaler(Upscaler { face, .. }) => (Vec::new(), vec![&face.output]),
            Self::Gate(Gate { output, .. }) => (Vec::new(), vec![output]),
        }
    }

    fn numbers(&self) -> Result<(), String> {
        let share = |name: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("{name} is {value} (expected 0.0..=1.0)")),
        };
        match self {
            Self::Detector(Detector { family, then, .. })
                if then.len() != if *family == DetectorFamily::Mtcnn { 2 } else { 0 } =>
            {
                Err(format!("names {} networks that come after it (expected 2 of mtcnn, else none)", then.len()))
            }
            Self::Detector(Detector { least_score, same_face_iou, .. }) => {
                share("least_score", *least_score).and_then(|()| share("same_face_iou", *same_face_iou))
            }
            Self::Landmarks(Landmarks { points, stride, unit, crop, .. }) => {
                let is_known = [68, 98, 468].contains(points) && (2..=16).contains(stride);
                match is_known && unit.is_finite() && (0.5..=4.0).contains(crop) {
                    true => Ok(()),
                    false => Err(format!(
                        "has {points} points of {stride} numbers, in a crop of {crop} boxes (expected 68, 98 or 468; 2 to 16; 0.5 to 4)"
                    )),
                }
            }
            Self::Upscaler(Upscaler { factor, tile, overlap, .. }) => {
                match (1..=8).contains(factor) && (16..=4096).contains(tile) && 3 * overlap <= *tile {
                    true => Ok(()),
                    false => Err(format!(
                        "enlarges {factor} times in tiles of {tile} with {overlap} around (expected 1 to 8, 16 to 4096, at most a third)"
                    )),
                }
            }
            Self::Gate(Gate { refused, threshold, .. }) => match refused.is_empty() {
                true => Err("refuses no class (expected one or more)".to_owned()),
                false => share("threshold", *threshold),
            },
            Self::Mask(Mask { around: Some(around), .. }) => match (0.5..=8.0).contains(around) {
                true => Ok(()),
                false => Err(format!("looks at {around} times its template (expected 0.5 to 8)")),
            },
            Self::Swapper(_) | Self::Mask(_) | Self::Restorer(_) => Ok(()),
        }
    }
}
