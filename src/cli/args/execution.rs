//! Where networks run, and what a lane's process is told.

use std::path::PathBuf;

use clap::Args;

use super::in_range;
use crate::config::{LANE_MEMORY_MB, THREADS};
use crate::contract::Swapper;
use crate::vision::Providers;
use crate::vision::execution::ProviderError;

/// A lane's process: all that it is told, since it gets no configuration and next to no environment.
#[derive(Debug, Args)]
pub struct LaneArgs {
    /// The ONNX Runtime library
    #[arg(long, value_name = "FILE")]
    pub onnxruntime: PathBuf,
    /// The folder with networks that are not built in
    #[arg(long, value_name = "FOLDER")]
    pub models: PathBuf,
    /// What networks run on
    #[arg(long, value_name = "PROVIDER,…", default_value = "cpu")]
    pub execution_provider: Providers,
    /// Only tries these providers: one line for each, why it cannot be used, or an empty one
    #[arg(long)]
    pub trial: bool,
    /// The folder for what is made of networks and photos
    #[arg(long, value_name = "FOLDER")]
    pub made: Option<PathBuf>,
    /// Threads of each network
    #[arg(long, value_name = "N", value_parser = in_range(THREADS), default_value = "1")]
    pub network_threads: usize,
    /// Threads of decoder and encoder, each
    #[arg(long, value_name = "N", value_parser = in_range(THREADS), default_value = "1")]
    pub execution_threads: usize,
    /// Whose networks are loaded at the start
    #[arg(long, default_value = "mesh", value_name = "SWAPPER")]
    pub swapper: Swapper,
    /// Memory that it may take, MB
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(LANE_MEMORY_MB), default_value = "4096")]
    pub memory_mb: u64,
    /// What it logs, as log.filter
    #[arg(long, value_name = "DIRECTIVES", default_value = "warn")]
    pub log: String,
}

/// An order of execution providers, checked.
pub(super) fn order(text: &str) -> Result<String, ProviderError> {
    text.parse::<Providers>().map(|_| text.to_owned())
}

/// Orders of execution providers as the setting writes them; none if none was given.
pub(super) fn providers(orders: &[String]) -> Option<String> {
    (!orders.is_empty()).then(|| orders.join(";"))
}
