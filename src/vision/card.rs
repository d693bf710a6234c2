//! A model card describes a network completely: adding a model of a known role is adding a file.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::VisionError;

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Picture → boxes, scores and five points of all faces.
    Detector,
    /// Face crop → 468 mesh points and presence.
    Landmarks,
    /// Eye crop → lids and iris.
    Eyes,
    /// Aligned face → identity embedding.
    Recogniser,
}

/// Order of the colour channels of an input picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Order of the dimensions of an input picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Planar: batch, channel, row, column.
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
    /// Factor after the mean is taken off.
    pub scale: f32,
    /// Mean per channel, in the order of `colour`.
    pub mean: [f32; 3],
}

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// IEEE 754 single precision.
    F32,
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
    /// Name in the file.
    pub name: String,
    /// Type of the elements.
    #[serde(rename = "type")]
    pub element: Element,
    /// Dimensions, outermost first.
    pub shape: Vec<Dimension>,
}

/// Everything there is to know about a network; see `models/*.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The name by which the network is chosen, e.g. `yunet_2023mar`.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// What it does, in one line.
    pub description: String,
    /// Name of the ONNX file.
    pub file: String,
    /// sha256 of the file, hexadecimal.
    pub sha256: String,
    /// SPDX expression.
    pub licence: String,
    /// The licence allows commercial use.
    pub commercial_use: bool,
    /// Where it comes from and how it was converted.
    pub origin: String,
    /// Name of the template that the crop is aligned to, where the network wants one.
    #[serde(default)]
    pub template: Option<String>,
    /// How the first input is filled.
    pub picture: Picture,
    /// The file's inputs.
    pub inputs: Vec<TensorSpec>,
    /// The file's outputs.
    pub outputs: Vec<TensorSpec>,
}

impl Card {
    /// Reads a card; `name` is what an error calls it.
    ///
    /// # Errors
    /// [`VisionError::Card`] for anything but a complete card without unknown fields.
    pub fn parse(name: &str, toml: &str) -> Result<Self, VisionError> {
        let refuse = |reason: String| VisionError::Card { card: name.to_owned(), reason };
        let card: Card = toml::from_str(toml).map_err(|error| refuse(error.to_string()))?;
        let is_digest = card.sha256.len() == 64 && card.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_digest {
            return Err(refuse(format!("sha256 is {:?} (expected 64 hexadecimal digits)", card.sha256)));
        }
        if card.inputs.is_empty() || card.outputs.is_empty() {
            return Err(refuse("declares no inputs or no outputs (expected at least one of each)".to_owned()));
        }
        Ok(card)
    }

    /// Checks that `bytes` are the file that this card describes.
    ///
    /// # Errors
    /// [`VisionError::Digest`].
    pub fn verify_digest(&self, bytes: &[u8]) -> Result<(), VisionError> {
        let found = hex::encode(Sha256::digest(bytes));
        if found.eq_ignore_ascii_case(&self.sha256) {
            return Ok(());
        }
        Err(VisionError::Digest { id: self.id.clone(), file: self.file.clone(), expected: self.sha256.clone(), found })
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
        fixed.ok_or_else(|| VisionError::Card {
            card: self.id.clone(),
            reason: format!("input {index} has no fixed shape of {N} dimensions"),
        })
    }

    /// The index of output `name`.
    ///
    /// # Errors
    /// [`VisionError::Card`] if it is not declared.
    pub fn output_index(&self, name: &str) -> Result<usize, VisionError> {
        self.outputs.iter().position(|spec| spec.name == name).ok_or_else(|| VisionError::Card {
            card: self.id.clone(),
            reason: format!("output {name} is missing, which every {:?} has", self.role),
        })
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

impl std::fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Element::F32 = self.element;
        write!(f, "f32[")?;
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
    }

    #[test]
    fn other_bytes_are_refused() {
        let card = Card::parse("iris", IRIS).unwrap();
        let error = card.verify_digest(b"not a network").unwrap_err().to_string();
        assert!(error.contains("iris_landmark.onnx has sha256") && error.contains(&card.sha256), "{error}");
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
