//! What is done to the faces of a clip.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FaceOrder;
use crate::error::Refusal;

/// Longest name of a network, bytes.
const NAME_MAX: usize = 64;
/// Sizes below which faces may be left alone, pixels.
pub const FACE_SIZES: RangeInclusive<u32> = 1..=16384;

/// What is done to faces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Swap {
    /// Who swaps.
    pub swapper: Swapper,
    /// 1.0 = the new face in full, 0.0 = the frame untouched.
    pub blend_ratio: f64,
    /// Which faces of the clip.
    pub faces: Faces,
    /// In which order faces are counted, where people are named by their position.
    #[serde(skip_serializing_if = "FaceOrder::is_usual")]
    pub face_order: FaceOrder,
    /// Which face of a photo that shows several, counted from the left, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_face: Option<u32>,
    /// The side at which a network works, pixels: its own (the default), or a multiple of it up to eight. `mesh` has none: it works at the
    /// face's own size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub face_size: Option<u32>,
    /// What limits the place of a network's new face, all together. `mesh` has its own.
    #[serde(skip_serializing_if = "Masks::is_default")]
    pub masks: Masks,
    /// How a network's new face takes on the colours of the target. `mesh` relights by itself.
    #[serde(skip_serializing_if = "ColourMatch::is_none")]
    pub colour_match: ColourMatch,
    /// A network's new face is made as sharp and as grainy as the target was: after the restorer, where there is one. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub texture_match: bool,
    /// A network that makes the new face finer. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restorer: Option<Restorer>,
    /// Whose points bring a face to the networks' templates. Default: those of the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landmarks: Option<FaceLandmarks>,
    /// How faces of the clip are found.
    #[serde(skip_serializing_if = "FaceDetector::is_default")]
    pub detector: FaceDetector,
    /// A network that makes the whole frame larger, after its faces; also with swapper `none`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upscaler: Option<Upscaler>,
}

impl Default for Swap {
    fn default() -> Self {
        Self {
            swapper: Swapper::default(),
            blend_ratio: 1.0,
            faces: Faces::default(),
            face_order: FaceOrder::default(),
            source_face: None,
            face_size: None,
            masks: Masks::default(),
            colour_match: ColourMatch::None,
            texture_match: false,
            restorer: None,
            landmarks: None,
            detector: FaceDetector::default(),
            upscaler: None,
        }
    }
}

/// Who swaps: `mesh`, `none`, or a network by its card's id (`facemill models list --role swapper`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Swapper {
    /// Built in: a piecewise-affine warp over the 468-point face mesh, relit to the target.
    #[default]
    Mesh,
    /// Frames pass through unchanged.
    None,
    /// The network of this id.
    Network(NetworkId),
}

/// The id of a network's card: 1 to 64 lower case letters, digits, dots, underscores and hyphens, the first no dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkId(String);

/// What limits the place of a new face.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Masks {
    /// Softness of the frame around the face's crop, a share of half of its side, 0.0..=1.0.
    pub blur: f64,
    /// Width of that frame at the top, right, bottom and left, percent of the crop, 0.0..=100.0.
    pub padding: [f64; 4],
    /// Only within the hull of the face's mesh.
    pub hull: bool,
    /// The occluder that keeps what lies before the face (`xseg_1`), or around it (`selfie_segmentation`, built in). Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occluder: Option<NetworkId>,
    /// The parser that knows the parts of a face (`bisenet_resnet_34`). Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parser: Option<NetworkId>,
    /// The parts that are changed, where there is a parser. Default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<FaceRegion>,
}

impl Default for Masks {
    fn default() -> Self {
        Self { blur: 0.3, padding: [0.0; 4], hull: false, occluder: None, parser: None, regions: Vec::new() }
    }
}

impl Masks {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How a new face takes on the colours of the target, in its crop and under its mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColourMatch {
    /// As the network made it.
    #[default]
    None,
    /// Mean and contrast of lightness and of both colour axes become those of the target (CIE L*a*b*).
    Lab,
    /// Its light becomes that of the target; what is fine stays the new face's own.
    Relight,
}

impl ColourMatch {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// A part of a face.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaceRegion {
    /// Cheeks, forehead, chin.
    Skin,
    /// Both brows.
    Brows,
    /// Both eyes.
    Eyes,
    /// Glasses.
    Glasses,
    /// The nose.
    Nose,
    /// What lies between the lips.
    Mouth,
    /// Both lips.
    Lips,
}

impl FaceRegion {
    /// Every part.
    pub const ALL: [Self; 7] =
        [Self::Skin, Self::Brows, Self::Eyes, Self::Glasses, Self::Nose, Self::Mouth, Self::Lips];
}

/// A network that makes faces finer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restorer {
    /// Its id (`gfpgan_1.4`).
    pub model: NetworkId,
    /// Share of what it makes in the result, 0.0..=1.0. Default: 0.8.
    #[serde(default = "Restorer::usual_blend")]
    pub blend: f64,
    /// How faithful it is to the face that it gets, 0.0..=1.0, where it lets one choose (`codeformer`). Default: 0.5.
    #[serde(default = "Restorer::usual_weight")]
    pub weight: f64,
}

impl Restorer {
    /// Share of a restorer's face, if nobody says.
    pub fn usual_blend() -> f64 {
        0.8
    }

    /// Faithfulness, if nobody says.
    pub fn usual_weight() -> f64 {
        0.5
    }
}

/// A network that makes frames larger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upscaler {
    /// Its id (`real_esrgan_x2`): the result has as many times the sides as it enlarges.
    pub model: NetworkId,
    /// Share of what it makes in the result, 0.0..=1.0; the rest is the frame, interpolated. Default: 0.8.
    #[serde(default = "Upscaler::usual_blend")]
    pub blend: f64,
}

impl Upscaler {
    /// Share of an upscaler's frame, if nobody says.
    pub fn usual_blend() -> f64 {
        0.8
    }
}

/// A network's second opinion of where a face lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaceLandmarks {
    /// Its id (`2dfan4`).
    pub model: NetworkId,
    /// A face of which it is less sure is left as it is, 0.0..=1.0. Default: 0.5.
    #[serde(default = "FaceLandmarks::usual_score")]
    pub score: f64,
}

impl FaceLandmarks {
    /// How sure it must be, if nobody says.
    pub fn usual_score() -> f64 {
        0.5
    }
}

/// How faces of a clip are found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FaceDetector {
    /// The detector (`scrfd_2.5g`). Default: the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<NetworkId>,
    /// Faces with a lower score are none, 0.0..=1.0. Default: as the detector's card says (0.6 for the built-in one).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// A face whose box is smaller than this on its longer side, pixels of the clip, is left alone, and counts as none. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<u32>,
    /// Degrees by which a frame is turned, beside upright, to be looked at again, so that faces which lie or stand on their heads are
    /// found: 90, 180, 270. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub angles: Vec<u16>,
}

impl FaceDetector {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn validate(&self) -> Result<(), Refusal> {
        if let Some(score) = self.score.filter(|score| !(0.0..=1.0).contains(score)) {
            return Err(Refusal::new("swap.detector.score", score.to_string(), "0.0..=1.0"));
        }
        if let Some(size) = self.min_size.filter(|size| !FACE_SIZES.contains(size)) {
            return Err(Refusal::new("swap.detector.min_size", size.to_string(), "1..=16384 pixels"));
        }
        let mut angles = self.angles.clone();
        angles.sort_unstable();
        angles.dedup();
        match angles.len() == self.angles.len() && angles.iter().all(|angle| [90, 180, 270].contains(angle)) {
            true => Ok(()),
            false => Err(Refusal::new(
                "swap.detector.angles",
                format!("{:?}", self.angles),
                "some of 90, 180, 270, each once",
            )),
        }
    }
}

/// Which faces of the clip are swapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Faces {
    /// In each frame the face with the largest area.
    #[default]
    Largest,
    /// Every face that is found.
    All,
}

impl Swap {
    /// Whether somebody looks at the samples of frames, or they pass from decoder to encoder.
    pub fn looks_at_frames(&self) -> bool {
        self.swapper != Swapper::None || self.upscaler.is_some()
    }

    /// Refuses what can be seen to be wrong from the record alone.
    pub(super) fn validate(&self) -> Result<(), Refusal> {
        let share = |field: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(Refusal::new(field, value.to_string(), "0.0..=1.0")),
        };
        share("swap.blend_ratio", self.blend_ratio)?;
        share("swap.masks.blur", self.masks.blur)?;
        if let Some(padding) = self.masks.padding.iter().find(|percent| !(0.0..=100.0).contains(*percent)) {
            return Err(Refusal::new(
                "swap.masks.padding",
                padding.to_string(),
                "four numbers, each 0.0..=100.0 percent",
            ));
        }
        if !self.masks.regions.is_empty() && self.masks.parser.is_none() {
            let found = format!("{} parts of the face, and no parser", self.masks.regions.len());
            return Err(Refusal::new("swap.masks.regions", found, "swap.masks.parser, which tells the parts"));
        }
        if let Some(restorer) = &self.restorer {
            share("swap.restorer.blend", restorer.blend)?;
            share("swap.restorer.weight", restorer.weight)?;
        }
        if let Some(upscaler) = &self.upscaler {
            share("swap.upscaler.blend", upscaler.blend)?;
        }
        self.detector.validate()?;
        let is_network = matches!(self.swapper, Swapper::Network(_));
        if let Some(landmarks) = &self.landmarks {
            share("swap.landmarks.score", landmarks.score)?;
            if !is_network {
                let found = format!("with swapper {}", self.swapper);
                return Err(Refusal::new("swap.landmarks", found, "a network as swapper: mesh needs its own points"));
            }
        }
        if !self.masks.is_default() && !is_network {
            return Err(Refusal::new(
                "swap.masks",
                format!("with swapper {}", self.swapper),
                "a network as swapper: mesh has its own masks",
            ));
        }
        let of_networks =
            [("swap.colour_match", !self.colour_match.is_none()), ("swap.texture_match", self.texture_match)];
        if let Some((field, _)) = of_networks.into_iter().find(|(_, is_asked)| *is_asked && !is_network) {
            let expected = "a network as swapper: mesh relights by itself";
            return Err(Refusal::new(field, format!("with swapper {}", self.swapper), expected));
        }
        if self.restorer.is_some() && self.swapper == Swapper::None {
            return Err(Refusal::new("swap.restorer", "with swapper none".to_owned(), "mesh or a network as swapper"));
        }
        Ok(())
    }
}

impl NetworkId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NetworkId {
    type Err = Refusal;

    fn from_str(id: &str) -> Result<Self, Refusal> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        match (1..=NAME_MAX).contains(&id.len()) && id.bytes().all(is_plain) && !id.starts_with('.') {
            true => Ok(Self(id.to_owned())),
            false => Err(Refusal::new(
                "model",
                format!("{id:.80?}"),
                "the id of a network: 1 to 64 lower case letters, digits, dots, underscores and hyphens",
            )),
        }
    }
}

impl TryFrom<String> for NetworkId {
    type Error = Refusal;

    fn try_from(id: String) -> Result<Self, Refusal> {
        id.parse()
    }
}

impl From<NetworkId> for String {
    fn from(id: NetworkId) -> Self {
        id.0
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl JsonSchema for NetworkId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NetworkId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The id of a network's card (`facemill models list`).",
            "type": "string",
            "pattern": "^[a-z0-9_-][a-z0-9._-]{0,63}$",
        })
    }
}

impl FromStr for Swapper {
    type Err = Refusal;

    fn from_str(name: &str) -> Result<Self, Refusal> {
        Ok(match name {
            "mesh" => Self::Mesh,
            "none" => Self::None,
            id => Self::Network(id.parse()?),
        })
    }
}

impl TryFrom<String> for Swapper {
    type Error = Refusal;

    fn try_from(name: String) -> Result<Self, Refusal> {
        name.parse()
    }
}

impl From<Swapper> for String {
    fn from(swapper: Swapper) -> Self {
        swapper.to_string()
    }
}

impl fmt::Display for Swapper {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh => out.write_str("mesh"),
            Self::None => out.write_str("none"),
            Self::Network(id) => id.fmt(out),
        }
    }
}

impl JsonSchema for Swapper {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Swapper".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Who swaps: \"mesh\" (built in: a warp over the 468-point face mesh, relit to the target), \"none\" (frames pass through unchanged), or a network by the id of its card (`facemill models list --role swapper`).",
            "type": "string",
            "pattern": "^[a-z0-9_-][a-z0-9._-]{0,63}$",
            "default": "mesh",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swappers_are_named() {
        for name in ["mesh", "none", "inswapper_128", "simswap-512.fp16"] {
            let swapper: Swapper = serde_json::from_value(name.into()).unwrap();
            assert_eq!(serde_json::to_value(&swapper).unwrap(), name);
        }
        for name in ["", "Mesh", ".hidden", "a/b", "x y", &"x".repeat(65)] {
            let error = name.parse::<Swapper>().unwrap_err();
            assert_eq!(error.field, "model", "{name}");
        }
    }

    #[test]
    fn each_refusal_names_its_field() {
        let network = || Swap { swapper: "inswapper_128".parse().unwrap(), ..Swap::default() };
        let restorer = |blend| Some(Restorer { model: "gfpgan_1.4".parse().unwrap(), blend, weight: 0.5 });
        let upscaler = |blend| Some(Upscaler { model: "real_esrgan_x2".parse().unwrap(), blend });
        let masks = |change: fn(&mut Masks)| {
            let mut masks = Masks::default();
            change(&mut masks);
            masks
        };
        for (field, swap) in [
            ("swap.blend_ratio", Swap { blend_ratio: 1.5, ..Swap::default() }),
            ("swap.masks.blur", Swap { masks: masks(|m| m.blur = f64::NAN), ..network() }),
            ("swap.masks.padding", Swap { masks: masks(|m| m.padding[2] = 101.0), ..network() }),
            ("swap.masks.regions", Swap { masks: masks(|m| m.regions = vec![FaceRegion::Skin]), ..network() }),
            ("swap.masks", Swap { masks: masks(|m| m.hull = true), ..Swap::default() }),
            ("swap.restorer.blend", Swap { restorer: restorer(2.0), ..network() }),
            ("swap.colour_match", Swap { colour_match: ColourMatch::Lab, ..Swap::default() }),
            ("swap.texture_match", Swap { texture_match: true, swapper: Swapper::None, ..Swap::default() }),
            (
                "swap.detector.score",
                Swap { detector: FaceDetector { score: Some(1.5), ..FaceDetector::default() }, ..Swap::default() },
            ),
            (
                "swap.detector.min_size",
                Swap { detector: FaceDetector { min_size: Some(0), ..FaceDetector::default() }, ..Swap::default() },
            ),
            (
                "swap.detector.angles",
                Swap { detector: FaceDetector { angles: vec![45], ..FaceDetector::default() }, ..Swap::default() },
            ),
            (
                "swap.detector.angles",
                Swap { detector: FaceDetector { angles: vec![90, 90], ..FaceDetector::default() }, ..Swap::default() },
            ),
            ("swap.restorer", Swap { restorer: restorer(0.8), swapper: Swapper::None, ..Swap::default() }),
            ("swap.upscaler.blend", Swap { upscaler: upscaler(-0.1), ..Swap::default() }),
        ] {
            assert_eq!(swap.validate().expect_err(field).field, field);
        }
        let blended = Swap { colour_match: ColourMatch::Relight, texture_match: true, ..network() };
        Swap { masks: masks(|m| m.hull = true), restorer: restorer(0.8), ..blended }.validate().unwrap();
        Swap { restorer: restorer(0.8), ..Swap::default() }.validate().unwrap();
        Swap { upscaler: upscaler(1.0), swapper: Swapper::None, ..Swap::default() }.validate().unwrap();
    }

    #[test]
    fn a_usual_swap_is_written_as_before() {
        let written = serde_json::to_string(&Swap::default()).unwrap();
        assert_eq!(written, r#"{"swapper":"mesh","blend_ratio":1.0,"faces":"largest"}"#);
    }
}
