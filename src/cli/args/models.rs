//! Options of `facemill models`.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with networks.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    /// List those that are here with role, size and licence
    List {
        /// Also the well-known ones whose files are not here
        #[arg(long)]
        all: bool,
        /// Only those of this role: detector, landmarks, eyes, recogniser, converter, swapper, occluder, parser, restorer, upscaler, gate
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
    },
    /// Everything that is known of one: licence, where it is published, what goes in and comes out
    Show {
        /// Its name
        id: String,
    },
    /// Take a network's file into the models folder: checked against its card, and tried
    Add {
        /// The ONNX file
        file: PathBuf,
        /// Whose card describes it [default: the card that names a file like it, else the only one that its tensors fit]
        #[arg(long, value_name = "ID")]
        card: Option<String>,
    },
    /// Check files against their cards: digest, and names, types and shapes of their tensors
    Verify {
        /// Only this one
        id: Option<String>,
    },
    /// Fetch a network's file into the models folder from where its card says; a fetch that was stopped goes on (needs curl, or
    /// python3 with pip)
    Fetch {
        /// Its name
        id: String,
    },
}
