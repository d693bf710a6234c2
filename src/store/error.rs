//! What can go wrong with objects and locations, sorted by what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Classify, Kind};

/// A failure of the object store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("object {key} does not exist")]
    NotFound { key: String },
    /// Somebody else has written or deleted it since.
    #[error("object {key} is not the version expected (somebody else has written it since)")]
    Changed { key: String },
    #[error("object {key} has {size} bytes, expected at most {max}")]
    TooLarge { key: String, size: u64, max: u64 },
    #[error("object key {key:?}: {reason}")]
    BadKey { key: String, reason: &'static str },
    /// Waiting does not cure it.
    #[error("{doing} {key}: refused: {reason} (check permissions, credentials and the bucket's name)")]
    Refused { doing: &'static str, key: String, reason: String },
    #[error("{doing} {key}: store not available: {reason}")]
    Unavailable { doing: &'static str, key: String, reason: String },
    /// The trouble is with a file here, not with the object: a full disk above all.
    #[error("{doing} {key}: local file: {reason}")]
    Local { doing: &'static str, key: String, reason: String },
    #[error("object store cannot be used: {reason}")]
    Unsupported { reason: String },
}

impl Classify for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable { .. } | Self::Local { .. } => Kind::Retry,
            Self::NotFound { .. } | Self::Changed { .. } | Self::TooLarge { .. } | Self::BadKey { .. } => Kind::Poison,
            Self::Refused { .. } | Self::Unsupported { .. } => Kind::Fatal,
        }
    }
}

impl StoreError {
    /// Sorts an error of the file system that arose while `doing` something with `key`.
    pub(super) fn io(doing: &'static str, key: &str, error: &io::Error) -> Self {
        let (key, reason) = (key.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound { key },
            _ if is_lasting(error) => Self::Refused { doing, key, reason },
            // A full disk too: gc or a person makes room.
            _ => Self::Unavailable { doing, key, reason },
        }
    }

    pub(super) fn local(doing: &'static str, key: &str, error: &io::Error) -> Self {
        Self::Local { doing, key: key.to_owned(), reason: error.to_string() }
    }
}

/// Waiting does not cure it: the name or the permissions are wrong.
pub(super) fn is_lasting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::InvalidInput
    )
}

/// Why a file that a job names cannot be read or written. All of it is the job's own fault, but for a place that is away for the
/// moment, and for this machine's own disk.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    #[error("location {text:?}: {reason} (expected file:///path or s3://bucket/key)")]
    Malformed { text: String, reason: &'static str },
    #[error("{location} is outside the folders that jobs may use")]
    OutsideRoots { location: String },
    #[error("bucket {bucket} is not among those that jobs may use")]
    BucketNotAllowed { bucket: String },
    #[error("{location} does not exist")]
    NotFound { location: String },
    #[error("{location} is not a file")]
    NotAFile { location: String },
    #[error("folder {} does not exist (it is not created: check its name or make it)", folder.display())]
    NoFolder { folder: PathBuf },
    #[error("{} is not a folder", folder.display())]
    NotAFolder { folder: PathBuf },
    #[error("{location} holds more than {max} files (expected at most so many: make it several folders)")]
    TooMany { location: String, max: usize },
    #[error("folder {} cannot be written to: {reason}", folder.display())]
    NotWritable { folder: PathBuf, reason: String },
    /// Something else is there than what was expected when the job was accepted.
    #[error("{location} has changed since the job was accepted")]
    Changed { location: String },
    #[error("{location}: {source}")]
    Store { location: String, source: StoreError },
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    /// The copy's place, not the place that the job names.
    #[error("copy to {}: {source}", path.display())]
    Scratch { path: PathBuf, source: io::Error },
    /// One customer's broken bucket is that customer's trouble.
    #[error("{location}: not available for {} s: {reason}", patience.as_secs())]
    Gone { location: String, patience: Duration, reason: String },
}

impl Classify for LocationError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store { source, .. } if source.kind() == Kind::Retry => Kind::Retry,
            Self::Io { source, .. } if !is_lasting(source) => Kind::Retry,
            Self::Scratch { .. } => Kind::Retry,
            _ => Kind::Poison,
        }
    }
}

impl LocationError {
    /// What it means that all patience was in vain.
    pub(super) fn after(self, patience: Duration, location: &super::Location) -> Self {
        let is_ours = matches!(self, Self::Scratch { .. } | Self::Store { source: StoreError::Local { .. }, .. });
        if is_ours || self.kind() != Kind::Retry {
            return self;
        }
        let reason = match &self {
            Self::Store { source: StoreError::Unavailable { reason, .. }, .. } => reason.clone(),
            other => other.to_string(),
        };
        Self::Gone { location: location.to_string(), patience, reason }
    }

    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    pub(super) fn store(location: &super::Location, source: StoreError) -> Self {
        let location = location.to_string();
        match source {
            StoreError::NotFound { .. } => Self::NotFound { location },
            StoreError::Changed { .. } => Self::Changed { location },
            source => Self::Store { location, source },
        }
    }
}
