//! What can go wrong between a picture and its faces.

use std::path::PathBuf;

use crate::error::{Classify, Kind};
use crate::frame::FrameIndex;

use super::card::Role;

/// A failure of the vision stages.
#[derive(Debug, thiserror::Error)]
pub enum VisionError {
    /// ONNX Runtime's shared library cannot be used.
    #[error(
        "load ONNX Runtime from {}: {reason}; run `make setup`, or set FACEMILL_ONNXRUNTIME to a libonnxruntime of \
         version 1.{needed} or later",
        path.display()
    )]
    Library {
        /// Where it was looked for.
        path: PathBuf,
        /// What the loader said.
        reason: String,
        /// Least minor version.
        needed: u32,
    },

    /// A network was loaded before [`super::model::init`].
    #[error("ONNX Runtime is not loaded yet (expected vision::model::init to be called at start)")]
    NotInitialised,

    /// A network cannot be run on a provider.
    #[error("{error}, on {provider}")]
    OnProvider {
        /// The provider.
        provider: String,
        /// Why.
        error: Box<VisionError>,
    },

    /// No card has this id.
    #[error("model {id} is unknown (expected one of: {})", known.join(", "))]
    UnknownModel {
        /// The id that was asked for.
        id: String,
        /// The ids there are.
        known: Vec<String>,
    },

    /// A network that has a card, but whose file is not there.
    #[error(
        "model {id} is not installed: {file} is not in the models folder{} (expected it there; published by {origin})",
        folder.as_ref().map(|folder| format!(" {}", folder.display())).unwrap_or_default()
    )]
    AbsentModel {
        /// The id that was asked for.
        id: String,
        /// The file's name.
        file: String,
        /// Where it was looked for.
        folder: Option<PathBuf>,
        /// Who has it.
        origin: String,
    },

    /// A face size that a network cannot work at.
    #[error(
        "face size is {size} (expected {side}, the side at which model {id} works, or a multiple of it up to eight)"
    )]
    FaceSize {
        /// The network.
        id: String,
        /// What was asked for, pixels.
        size: usize,
        /// What it works at, pixels.
        side: usize,
    },

    /// A network of another role was asked for.
    #[error("model {id} is a {found} (expected a {expected})")]
    Role {
        /// The id that was asked for.
        id: String,
        /// Its role.
        found: Role,
        /// The role that was to be filled.
        expected: Role,
    },

    /// A file without a card of its own, and not exactly one card that describes it.
    #[error(
        "{file} has no card, and {} (expected one that does; `facemill models add FILE --card ID` says which)",
        match cards.is_empty() { true => format!("no card of a {role} has its tensors"), false => format!("several cards have its tensors: {}", cards.join(", ")) }
    )]
    Fit {
        /// The file's name.
        file: String,
        /// The role that was to be filled.
        role: Role,
        /// Cards whose tensors it has.
        cards: Vec<String>,
    },

    /// The models folder cannot be read.
    #[error("models folder {}: {error}", path.display())]
    Folder {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },

    /// A network's file cannot be read, or is no ONNX file.
    #[error("network {}: {error} (expected a whole ONNX file)", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        error: std::io::Error,
    },

    /// A model card cannot be read or contradicts itself.
    #[error("model card {card}: {reason}")]
    Card {
        /// The card's id or file name.
        card: String,
        /// What is wrong.
        reason: String,
    },

    /// A network's file is not the one that its card names.
    #[error("model {id}: {file} has sha256 {found}, expected {expected}; fetch it again")]
    Digest {
        /// The model's id.
        id: String,
        /// The file of the network.
        file: String,
        /// sha256 in the card.
        expected: String,
        /// sha256 of the bytes.
        found: String,
    },

    /// A network's file has other inputs or outputs than its card declares.
    #[error(
        "model {id}: tensor {tensor} is {found}, expected {expected} as its card says; correct the card or the file"
    )]
    Tensor {
        /// The model's id.
        id: String,
        /// Name of the input or output.
        tensor: String,
        /// What the card declares.
        expected: String,
        /// What the file has.
        found: String,
    },

    /// ONNX Runtime refused to load or to run a network.
    #[error("{action} model {id}: {reason}")]
    Network {
        /// `load` or `run`.
        action: &'static str,
        /// The model's id.
        id: String,
        /// What ONNX Runtime said.
        reason: String,
    },

    /// A portrait shows no face.
    #[error(
        "no face found in the portrait (expected one, at least 48 pixels wide, both eyes visible); use another photo"
    )]
    NoFace,

    /// A portrait shows several faces and none was chosen.
    #[error("the portrait shows {} faces: {}; choose one with --source-face N", faces.len(), places(faces))]
    SeveralFaces {
        /// Left, top, right, bottom of each face, pixels, from left to right.
        faces: Vec<[f32; 4]>,
    },

    /// The chosen face of a portrait is not there.
    #[error("--source-face is {chosen}, but the portrait shows {count} (expected 0..={})", count.saturating_sub(1))]
    NoSuchFace {
        /// The index asked for.
        chosen: usize,
        /// Faces found.
        count: usize,
    },

    /// The tracker was given more or fewer frames than its window holds.
    #[error("frame {found} cannot be tracked (expected every frame of {start}..{end}, in order)")]
    FrameOutsideWindow {
        /// The frame that came, or that is missing.
        found: FrameIndex,
        /// First frame of the window.
        start: FrameIndex,
        /// One past the last frame of the window.
        end: FrameIndex,
    },
}

impl Classify for VisionError {
    fn kind(&self) -> Kind {
        match self {
            VisionError::NoFace
            | VisionError::FaceSize { .. }
            | VisionError::SeveralFaces { .. }
            | VisionError::NoSuchFace { .. }
            | VisionError::FrameOutsideWindow { .. } => Kind::Poison,
            VisionError::Library { .. }
            | VisionError::NotInitialised
            | VisionError::OnProvider { .. }
            | VisionError::UnknownModel { .. }
            | VisionError::AbsentModel { .. }
            | VisionError::Role { .. }
            | VisionError::Fit { .. }
            | VisionError::Folder { .. }
            | VisionError::Unreadable { .. }
            | VisionError::Card { .. }
            | VisionError::Digest { .. }
            | VisionError::Tensor { .. }
            | VisionError::Network { .. } => Kind::Fatal,
        }
    }
}

fn places(faces: &[[f32; 4]]) -> String {
    let place = |(index, [left, top, right, bottom]): (usize, &[f32; 4])| {
        format!("{index} at x {left:.0}..{right:.0}, y {top:.0}..{bottom:.0}")
    };
    faces.iter().enumerate().map(place).collect::<Vec<_>>().join("; ")
}
