//! `facemill probe`: what a clip is, how it would be cut, and what of it would be kept or refused.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use crate::config::Config;
use crate::contract::{self, Clip, Digest, Keep, Plan, Swapper};
use crate::ingest;
use crate::media::{self, Appearance, Limits, OtherStream};
use crate::seal;

mod folder;

use super::Exit;
use super::args::Probe;

/// Runs the command.
pub fn run(args: &Probe, config: &Config) -> Result<Exit> {
    let limits = config.limits.of_clips();
    let told = match args.clip.is_dir() {
        true => folder::tell(args, &limits).map(|()| false),
        false => tell(args, &limits),
    };
    let refused = match told {
        Ok(refused) => refused,
        Err(error) => {
            match args.json {
                true => println!("{}", json!({ "clip": args.clip, "refused": error.to_string() })),
                false => eprintln!("facemill: {error}"),
            }
            true
        }
    };
    Ok(if refused { Exit::Refused } else { Exit::Done })
}

/// Tells of a clip; whether a job with it would be refused.
fn tell(args: &Probe, limits: &Limits) -> Result<bool> {
    let report = look(args, limits)?;
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print(&report),
    }
    Ok(report.refused.is_some())
}

/// All that is told.
#[derive(Debug, Serialize)]
struct Report {
    clip: PathBuf,
    /// Of the file: its slices and plans lie under this name in the store.
    sha256: Digest,
    container: String,
    video: Video,
    picture: Appearance,
    /// Beside the video.
    streams: Vec<OtherStream>,
    chunks: Chunks,
    /// The encoder that the output would be made with.
    encoder: Option<String>,
    warnings: Vec<String>,
    /// Why a job with this clip would be refused; none if it would not.
    refused: Option<String>,
}

#[derive(Debug, Serialize)]
struct Video {
    stream: usize,
    codec: String,
    width: u32,
    height: u32,
    pixel_format: String,
    frames: u64,
    seconds: f64,
    /// Frames per second, `num/den`.
    frame_rate: String,
    /// Every frame is shown for as long as the others.
    constant_rate: bool,
    /// Seconds per tick, `num/den`.
    time_base: String,
}

#[derive(Debug, Serialize)]
struct Chunks {
    count: usize,
    shortest: u64,
    longest: u64,
    /// Packets that are decoded for each frame that is shown: 1.0 where every chunk begins at a keyframe and nothing overlaps.
    packets_per_frame: f64,
}

fn look(args: &Probe, limits: &Limits) -> Result<Report> {
    let swapper = &args.swapper;
    let keep = Keep { start: args.trim_start, end: args.trim_end, limit: args.frame_limit };
    let probe = if args.tolerate_damage { media::probe_tolerant } else { media::probe };
    let probe = probe(&args.clip, &keep, limits)?;
    let same = match media::is_picture(&probe.clip.format) {
        true => format!("out.{}", probe.clip.format).into(),
        false => PathBuf::from("out.mp4"),
    };
    let output_path = args.output_path.clone().unwrap_or(same);
    let container = media::container_of(&output_path)?;
    let streams = media::other_streams(&args.clip, probe.clip.stream, container)?;
    let (picture, sha256) = (probe.appearance.clone(), seal::digest_file(&args.clip)?);
    let rule = ingest::cut_rule(swapper, args.chunk_frames.0, keep, args.tolerate_damage);
    let plan = ingest::planned(probe, sha256, rule, swapper)?;
    let wanted = contract::Video { encoder: args.output_video_encoder.clone(), ..contract::Video::default() };
    let output = output_path.to_string_lossy();
    let looked_at = *swapper != Swapper::None;
    let chosen = ingest::check_pixels(&plan, looked_at)
        .and_then(|()| ingest::choose_encoder(&wanted, &output, &plan, looked_at, &media::HardwareEncoders::Tried));
    let (encoder, warning, refused) = match chosen {
        Ok(chosen) => (Some(chosen.name), chosen.warning, None),
        Err(refusal) => (None, None, Some(refusal.to_string())),
    };
    Ok(Report {
        clip: args.clip.clone(),
        sha256,
        container: plan.clip.format.clone(),
        video: Video::of(&plan.clip),
        picture,
        streams,
        chunks: Chunks::of(&plan),
        encoder,
        warnings: plan.warnings.into_iter().chain(warning).collect(),
        refused,
    })
}

impl Video {
    fn of(clip: &Clip) -> Self {
        let gaps = || clip.pts.windows(2).map(|pair| pair[1] - pair[0]);
        let (least, most) = (gaps().min().unwrap_or(0), gaps().max().unwrap_or(0));
        Self {
            stream: clip.stream,
            codec: clip.codec.clone(),
            width: clip.width,
            height: clip.height,
            pixel_format: clip.pixel_format.clone(),
            frames: clip.frames(),
            seconds: clip.seconds(),
            frame_rate: format!("{}/{}", clip.frame_rate.num, clip.frame_rate.den),
            // A tick more or less is rounding where ticks are fine.
            constant_rate: most - least <= i64::from(least >= 10),
            time_base: format!("{}/{}", clip.time_base.num, clip.time_base.den),
        }
    }
}

impl Chunks {
    fn of(plan: &Plan) -> Self {
        let lengths = || plan.chunks.iter().map(|cut| cut.end - cut.start);
        let packets: u64 = plan.chunks.iter().map(|cut| cut.last_packet - cut.first_packet + 1).sum();
        Self {
            count: plan.chunks.len(),
            shortest: lengths().min().unwrap_or(0),
            longest: lengths().max().unwrap_or(0),
            packets_per_frame: packets as f64 / plan.clip.frames().max(1) as f64,
        }
    }
}

fn print(report: &Report) {
    let Report { video, picture, chunks, .. } = report;
    println!("{}", report.clip.display());
    println!("  sha256      {}", report.sha256);
    println!("  container   {}", report.container);
    println!(
        "  video       stream {}: {}, {}x{} pixels, {}",
        video.stream, video.codec, video.width, video.height, video.pixel_format
    );
    let rate = if video.constant_rate { "constant" } else { "variable" };
    println!(
        "  frames      {} in {:.3} s, {} a second, {rate} rate, ticks of {} s",
        video.frames, video.seconds, video.frame_rate, video.time_base
    );
    println!(
        "  picture     {}, samples {}, turned by {} degrees{}; colour: {} range, matrix {}, transfer {}, primaries {}",
        picture.fields,
        picture.sample_aspect,
        picture.rotation,
        if picture.mirrored { " and mirrored" } else { "" },
        picture.range,
        picture.matrix,
        picture.transfer,
        picture.primaries
    );
    for stream in &report.streams {
        let language = stream.language.as_deref().map(|language| format!(" [{language}]")).unwrap_or_default();
        println!("  beside      {stream}{language}");
    }
    println!(
        "  chunks      {} of {} to {} frames; {:.2} packets are decoded for each frame",
        chunks.count, chunks.shortest, chunks.longest, chunks.packets_per_frame
    );
    if let Some(encoder) = &report.encoder {
        println!("  encoder     {encoder}");
    }
    for warning in &report.warnings {
        println!("  warning     {warning}");
    }
    match &report.refused {
        Some(reason) => println!("  refused     {reason}"),
        None => println!("  accepted"),
    }
}
