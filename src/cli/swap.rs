//! `facemill swap`: one command, one clip.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, cache_dir};
use crate::contract::{Digest, Job, JobId, Person, Status, Swapper, VERSION, Video, Who};
use crate::credentials::Credentials;
use crate::error::Refusal;
use crate::ingest::Gate;
use crate::local::{self, LocalError, Settings, file_url};
use crate::store::{Entry, EntryKind, entries_of};
use crate::vision::Catalog;
use crate::{contract, ingest, media, seal, toolchain, vision, worker};

use super::Exit;
use super::args::{FacesArg, Pair, PairWho, Swap};
use super::lane;
use super::progress::Progress;
use super::role;

/// Runs the command.
pub async fn run(args: Swap, config: Config, stop: CancellationToken) -> Result<Exit> {
    let started = Instant::now();
    let swapper = args.swapper.clone();
    if swapper != Swapper::None && args.source_path.is_empty() && args.pair.is_empty() {
        eprintln!("facemill: --source-path is missing (expected a photo; only --pair and --swapper none need none)");
        return Ok(Exit::Usage);
    }
    if args.face_size.is_some() && swapper == Swapper::Mesh {
        eprintln!("note: --face-size has no effect: mesh has no network and works at the face's own size");
    }
    if swapper != Swapper::None || args.networks.upscaler.upscaler.is_some() {
        vision::model::init(&config.onnxruntime_library())?;
    }
    let mut progress = Progress::new(args.json, started);
    let args = Arc::new(args);
    let building = {
        let args = args.clone();
        tokio::task::spawn_blocking(move || build_job(&args))
    };
    // Cancel-safe: nothing but reading has been done.
    let job = tokio::select! {
        () = stop.cancelled() => {
            progress.interrupted();
            return Ok(Exit::Interrupted);
        }
        job = building => match job? {
            Ok(job) => job,
            Err(refusal) => {
                progress.failed(&refusal.to_string(), true);
                return Ok(Exit::Refused);
            }
        },
    };
    let catalog = Arc::new(Catalog::open(&config.models_dir())?);
    let gate = match Gate::open(config.ingest.gate, &catalog) {
        Ok(gate) => gate,
        Err(error) => {
            progress.failed(&format!("ingest.gate: {error}"), true);
            return Ok(Exit::Refused);
        }
    };
    let usual = contract::Swap { swapper: swapper.clone(), ..contract::Swap::default() };
    let loaded = match &swapper {
        // Masks and the like come with networks of their own: all are loaded with the first chunk, and not some of them twice.
        Swapper::Network(_) if toolchain::chain(&job.swap) != toolchain::chain(&usual) => Swapper::Mesh,
        swapper => swapper.clone(),
    };
    let lane = lane::settings(&config, loaded)?;
    let lane = match swapper {
        Swapper::None if job.swap.upscaler.is_none() => lane,
        _ => match worker::with_usable_providers(lane).await {
            Ok((lane, aloud)) => {
                aloud.iter().for_each(|note| eprintln!("note: {note}"));
                lane
            }
            Err(error) => {
                progress.failed(&error.to_string(), true);
                return Ok(Exit::Refused);
            }
        },
    };
    let credentials = role::credentials(&config)?;
    if credentials.as_ref().is_some_and(Credentials::is_new) {
        eprintln!(
            "note: outputs are signed with a local identity that was made now, and that nobody vouches for (facemill doctor tells more)"
        );
    }
    let settings = Settings {
        credentials,
        data_dir: args.data_dir.clone().unwrap_or_else(|| cache_dir().join("data")),
        ingest: ingest::Settings {
            jobs: 1,
            outstanding_chunks: config.ingest.outstanding_chunks as u32,
            provider: config.worker.provider.identity(),
            limits: config.limits.of_clips(),
            hardware: media::HardwareEncoders::Tried,
            gate,
            consent: config.ingest.consent,
            catalog,
        },
        lanes: config.worker.lanes,
        lane,
    };
    let outcome = local::run(&job, settings, stop, &mut |update| progress.show(&update)).await;
    let exit = match outcome {
        Ok(status) => {
            progress.end(&status, &args.output_path);
            exit_of(&status)
        }
        Err(LocalError::Interrupted) => {
            progress.interrupted();
            Exit::Interrupted
        }
        Err(error) => {
            progress.failed(&error.to_string(), false);
            if matches!(error, LocalError::DataDir(_)) { Exit::Refused } else { Exit::Failed }
        }
    };
    Ok(exit)
}

fn exit_of(status: &Status) -> Exit {
    match status.state {
        contract::State::Done => Exit::Done,
        contract::State::Cancelled => Exit::Interrupted,
        _ if status.refused => Exit::Refused,
        _ => Exit::Failed,
    }
}

/// The job of this command line. Its id stands for all that it depends on, so that the same command finds its work again, and a
/// photo or clip that has changed makes it another job.
fn build_job(args: &Swap) -> Result<Job, Refusal> {
    let swapper = &args.swapper;
    let mut sources = Vec::new();
    let mut content = Vec::new();
    let mut photo = |field: &str, photo: &PathBuf| {
        let path = input(field, photo)?;
        content.push(digest(field, &path)?);
        Ok::<_, Refusal>(file_url(&path))
    };
    if *swapper != Swapper::None {
        for source in &args.source_path {
            sources.push(photo("source-path", source)?);
        }
    }
    let mut people = Vec::new();
    let reference = |photo| Who::Reference { photo, face: None, distance: args.reference_distance };
    for Pair { who, sources } in args.pair.iter().filter(|_| *swapper != Swapper::None) {
        let who = match who {
            PairWho::Position(place) => Who::Position(*place),
            PairWho::Photo(path) => reference(photo("pair", path)?),
        };
        let sources = sources.iter().map(|source| photo("pair", source)).collect::<Result<_, _>>()?;
        people.push(Person { who, sources, source_face: args.source_face, consent: None });
    }
    let only = match (&args.reference, args.faces) {
        (Some(path), _) => Some(reference(photo("reference", path)?)),
        (None, FacesArg::Position(place)) => Some(Who::Position(place)),
        (None, FacesArg::Any(_)) => None,
    };
    if let Some(who) = only.filter(|_| !sources.is_empty()) {
        people.push(Person {
            who,
            sources: std::mem::take(&mut sources),
            source_face: args.source_face,
            consent: None,
        });
    }
    let Places { target, output, content: target_content } = match args.target_path.is_dir() {
        true => folders(args)?,
        false => files(args)?,
    };
    content.push(target_content);
    let mut job = Job {
        v: VERSION,
        job: id("swap")?,
        sources,
        target,
        output,
        people,
        swap: contract::Swap {
            swapper: swapper.clone(),
            blend_ratio: args.blend_ratio,
            faces: match args.faces {
                FacesArg::Any(faces) => faces,
                FacesArg::Position(_) => contract::Faces::default(),
            },
            face_order: args.face_order,
            source_face: args.source_face,
            face_size: args.face_size.filter(|_| matches!(swapper, Swapper::Network(_))),
            masks: (&args.masks).into(),
            colour_match: args.networks.blending.colour_match,
            texture_match: args.networks.blending.texture_match,
            detector: (&args.detector).into(),
            landmarks: (&args.networks.landmarker).into(),
            restorer: (&args.networks.restorer).into(),
            upscaler: (&args.networks.upscaler).into(),
        },
        video: Video {
            encoder: args.output_video_encoder.clone(),
            preset: args.output_video_preset.clone(),
            crf: args.output_video_crf,
        },
        label: (&args.label).into(),
        chunk_frames: args.chunk_frames.0,
        trim_start: args.trim_start,
        trim_end: args.trim_end,
        frame_limit: args.frame_limit,
        tolerate_damage: args.tolerate_damage,
        consent: args.consent.clone().map(|consent| consent.0),
        labels: Default::default(),
    };
    job.job = id(&format!("swap-{}", Digest::of_json(&(&job, content)).short(20)))?;
    Ok(job)
}

/// Whence and whither, as locations.
struct Places {
    target: String,
    output: String,
    /// What the target is.
    content: Digest,
}

fn files(args: &Swap) -> Result<Places, Refusal> {
    let target = input("target-path", &args.target_path)?;
    let output = output(&args.output_path)?;
    if output == target {
        return Err(Refusal::new("output-path", "the target itself", "another file"));
    }
    let content = digest("target-path", &target)?;
    Ok(Places { target: file_url(&target), output: file_url(&output), content })
}

/// A folder of stills and one for what is made of them. What is no still is told by ingest.
fn folders(args: &Swap) -> Result<Places, Refusal> {
    let target = folder("target-path", &args.target_path, "a folder that can be read")?;
    let expected = "a folder that exists (it is not created), as the target is one";
    let output = folder("output-path", &args.output_path, expected)?;
    if output == target {
        return Err(Refusal::new("output-path", "the target itself", "another folder"));
    }
    let mut stills = Vec::new();
    for entry in entries("target-path", &target)? {
        let path = target.join(&entry.name);
        if entry.kind == EntryKind::File && media::picture_format(&path).is_some() {
            stills.push((entry.name, digest("target-path", &path)?));
        }
    }
    let content = ingest::digest_of(stills.iter().map(|(name, digest)| (name.as_str(), *digest)));
    Ok(Places { target: folder_url(&target), output: folder_url(&output), content })
}

fn folder_url(path: &Path) -> String {
    format!("{}/", file_url(path).trim_end_matches('/'))
}

/// An existing folder; absolute.
fn folder(field: &str, path: &Path, expected: &str) -> Result<PathBuf, Refusal> {
    let refuse = |found: String| Refusal::new(field, found, expected);
    let found = path.canonicalize().map_err(|error| refuse(format!("{} ({error})", path.display())))?;
    if !found.is_dir() {
        return Err(refuse(format!("{} (not a folder)", path.display())));
    }
    if found.to_str().is_none() {
        return Err(Refusal::new(field, path.display().to_string(), "a path that is valid UTF-8"));
    }
    Ok(found)
}

/// What lies in a folder, by name.
pub(super) fn entries(field: &str, folder: &Path) -> Result<Vec<Entry>, Refusal> {
    let max = ingest::FILES_MAX;
    let found = entries_of(folder, max)
        .map_err(|error| Refusal::new(field, format!("{} ({error})", folder.display()), "a folder that can be read"))?;
    let mut entries = found.ok_or_else(|| {
        Refusal::new(field, format!("{} holds more files", folder.display()), format!("at most {max} in a folder"))
    })?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn id(text: &str) -> Result<JobId, Refusal> {
    text.parse()
}

/// An existing, readable file; absolute.
fn input(field: &str, path: &Path) -> Result<PathBuf, Refusal> {
    let refuse = |found: String| Refusal::new(field, found, "a file that can be read");
    let found = path.canonicalize().map_err(|error| refuse(format!("{} ({error})", path.display())))?;
    if !found.is_file() {
        return Err(refuse(format!("{} (not a file)", path.display())));
    }
    if std::fs::metadata(&found).is_ok_and(|meta| meta.len() == 0) {
        return Err(refuse(format!("{} (an empty file)", path.display())));
    }
    if found.to_str().is_none() {
        return Err(Refusal::new(field, format!("{}", path.display()), "a path that is valid UTF-8"));
    }
    Ok(found)
}

fn digest(field: &str, path: &Path) -> Result<Digest, Refusal> {
    seal::digest_file(path)
        .map_err(|error| Refusal::new(field, format!("{} ({error})", path.display()), "a file that can be read"))
}

/// The output's absolute path; its folder must exist.
fn output(path: &Path) -> Result<PathBuf, Refusal> {
    let refuse = |found: String, expected: &str| Refusal::new("output-path", found, expected);
    let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
        return Err(refuse(path.display().to_string(), "a file name, not a folder: the target is a file"));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let expected = "a folder that exists (it is not created)";
    let folder = folder.canonicalize().map_err(|error| refuse(format!("{} ({error})", folder.display()), expected))?;
    if !folder.is_dir() {
        return Err(refuse(format!("{} (not a folder)", folder.display()), expected));
    }
    let found = folder.join(name);
    // An output that is a link is written where it points; a link to the target is the target.
    let found = found.canonicalize().unwrap_or(found);
    if found.to_str().is_none() {
        return Err(refuse(path.display().to_string(), "a path that is valid UTF-8"));
    }
    Ok(found)
}
