//! What can go wrong with credentials, and whose fault it is.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Classify, Kind};

/// Why a file is not signed, or its credentials not read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The operator's certificate, key or command is not what it should be.
    #[error("credentials.{setting}: {found} (expected {expected})")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What was there.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// The local identity cannot be made or read.
    #[error("the local identity in {folder}: {reason} (remove the folder to have another one made)")]
    Identity {
        /// Its folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The external signer gave no signature.
    #[error("credentials.command: {program}: {reason}")]
    Command {
        /// What was run.
        program: String,
        /// What came of it.
        reason: String,
    },
    /// A file in work.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// A file cannot be given credentials, or has some that cannot be read.
    #[error("content credentials of a file of format {format}: {reason}")]
    Asset {
        /// Its format.
        format: String,
        /// What is wrong.
        reason: String,
    },
    /// The library does not take what it is given.
    #[error("content credentials: {0}")]
    Library(String),
}

impl Classify for CredentialsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Command { .. } => Kind::Retry,
            Self::Asset { .. } => Kind::Poison,
            Self::Setting { .. } | Self::Identity { .. } | Self::File { .. } | Self::Library(_) => Kind::Fatal,
        }
    }
}

pub(super) fn file_error(action: &'static str, path: &Path, source: io::Error) -> CredentialsError {
    CredentialsError::File { action, path: path.to_owned(), source }
}
