//! `facemill probe` of a folder: which stills are in it, and what is left out.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::cli::args::Probe;
use crate::cli::swap::entries;
use crate::contract::{Digest, Keep, Moment, Plan, Still, Swapper};
use crate::error::Refusal;
use crate::ingest;
use crate::media::Limits;

/// All that is told. A job with it would be accepted.
#[derive(Debug, Serialize)]
struct Report {
    folder: PathBuf,
    /// Of names and digests: its plans lie under this name in the store.
    sha256: Digest,
    stills: Vec<Found>,
    /// One for each still.
    chunks: usize,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Found {
    name: String,
    sha256: Digest,
    format: String,
    width: u32,
    height: u32,
    pixel_format: String,
}

/// Looks into every file and tells.
///
/// # Errors
/// Why a job with it would be refused.
pub(super) fn tell(args: &Probe, limits: &Limits) -> Result<()> {
    let report = look(args, limits)?;
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print(&report),
    }
    Ok(())
}

fn look(args: &Probe, limits: &Limits) -> Result<Report> {
    let keep = Keep { start: args.trim_start, end: args.trim_end, limit: args.frame_limit };
    if let Some(time @ Moment::Time(_)) =
        keep.start.into_iter().chain(keep.end).find(|at| matches!(at, Moment::Time(_)))
    {
        let expected = "the number of a still: stills have no times";
        return Err(Refusal::new("trim", time.to_string(), expected).into());
    }
    let wanted = ingest::Wanted { keep, tolerate_damage: args.tolerate_damage, limits: *limits };
    let mut survey = ingest::Survey::new(wanted);
    for entry in entries("clip", &args.clip)? {
        if survey.is_full() {
            break;
        }
        if survey.admits(&entry.name, entry.kind) {
            survey.look(&entry.name, &args.clip.join(&entry.name))?;
        }
    }
    let swapper = &args.swapper;
    let rule = ingest::cut_rule(swapper, args.chunk_frames.0, keep, args.tolerate_damage);
    let (plan, warnings) = survey.planned(rule)?;
    ingest::check_pixels(&plan, *swapper != Swapper::None)?;
    let Plan { source, clip, chunks, .. } = plan;
    let stills = clip.stills.into_iter().map(Found::from).collect();
    Ok(Report { folder: args.clip.clone(), sha256: source, stills, chunks: chunks.len(), warnings })
}

impl From<Still> for Found {
    fn from(Still { name, digest, clip }: Still) -> Self {
        let (format, width, height, pixel_format) = (clip.format, clip.width, clip.height, clip.pixel_format);
        Self { name, sha256: digest, format, width, height, pixel_format }
    }
}

fn print(report: &Report) {
    println!("{}", report.folder.display());
    println!("  sha256      {}", report.sha256);
    println!("  stills      {}", report.stills.len());
    for Found { name, format, width, height, pixel_format, .. } in &report.stills {
        println!("    {name}: {format}, {width}x{height} pixels, {pixel_format}");
    }
    for warning in &report.warnings {
        println!("  warning     {warning}");
    }
    println!("  accepted");
}
