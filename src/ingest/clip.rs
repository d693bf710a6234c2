//! The target clip: fetched, hashed, probed, planned.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::contract::{CutRule, Digest, Job, Keep, LOSSLESS, Plan, Swap, Swapper, VERSION, Video, keys};
use crate::error::{Classify, Kind, Refusal};
use crate::media::{self, ChosenEncoder, EncoderWish, HardwareEncoders, Probe};
use crate::plan;
use crate::seal;
use crate::site::{Site, SiteError};
use crate::store::Location;
use crate::toolchain;
use crate::vision::{self, Catalog, smooth, track};

use super::IngestError;

/// The clip's file on this machine.
pub struct Target {
    /// Where it is: in place, or in scratch.
    pub path: PathBuf,
    /// Its digest.
    pub digest: Digest,
}

/// Brings the clip to this machine, if it is not on it, and hashes it.
pub async fn fetch(site: &Site, job: &Job, scratch: &Path) -> Result<Target, IngestError> {
    let path = bring(site, "target", &job.target, &scratch.join("target")).await?;
    let hashed = path.clone();
    let digest = tokio::task::spawn_blocking(move || seal::digest_file(&hashed))
        .await
        .map_err(SiteError::from)?
        .map_err(|error| Refusal::new("target", error.to_string(), "a file that can be read"))?;
    Ok(Target { path, digest })
}

/// The local path of what `location` names; fetched to `to` if it is elsewhere.
pub async fn bring(site: &Site, field: &str, location: &str, to: &Path) -> Result<PathBuf, IngestError> {
    let refuse = |error: &dyn std::fmt::Display| Refusal::new(field, error.to_string(), "a file that can be read");
    let location = Location::of_object(location).map_err(|error| refuse(&error))?;
    if let Some(path) = site.locations.local_path(&location).await.map_err(|error| refuse(&error))? {
        return Ok(path);
    }
    match site.locations.fetch(&location, to).await {
        Ok(_) => Ok(to.to_owned()),
        Err(error) if error.kind() == Kind::Poison => Err(refuse(&error).into()),
        Err(error) => Err(SiteError::Location(error).into()),
    }
}

/// The plan of the clip: the one that is in the store, or a new one. A clip planned before is not read again.
pub async fn plan(site: &Site, job: &Job, target: &Target, limits: &media::Limits) -> Result<Plan, IngestError> {
    let rule = cut_rule(&job.swap.swapper, job.chunk_frames, job.keep(), job.tolerate_damage);
    let key = keys::plan(&target.digest, &rule.id());
    if let Some(plan) = planned_before(site, &key).await? {
        return Ok(plan);
    }
    let (path, limits, source) = (target.path.clone(), *limits, target.digest);
    let swapper = job.swap.swapper.clone();
    let made = tokio::task::spawn_blocking(move || {
        let probe = if rule.tolerate_damage { media::probe_tolerant } else { media::probe };
        let probe = probe(&path, &rule.keep(), &limits).map_err(|error| unusable(&error))?;
        Ok(planned(probe, source, rule, &swapper)?)
    });
    let plan = made.await.map_err(SiteError::from)?.map_err(|error| named(error, &target.path, &job.target))?;
    site.put_json(&key, &plan).await?;
    Ok(plan)
}

/// The plan that is in the store; none that cannot be read.
pub async fn planned_before(site: &Site, key: &str) -> Result<Option<Plan>, SiteError> {
    match site.read_json(key).await {
        Ok(Some(plan)) if site.ensure_fresh(key).await? => Ok(Some(plan)),
        Ok(_) => Ok(None),
        Err(error @ SiteError::BadObject { .. }) => {
            warn!(%error, "making the plan again");
            site.store.delete(key, None).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// How a clip is cut for a swapper.
pub fn cut_rule(swapper: &Swapper, chunk_frames: [u64; 2], keep: Keep, tolerate_damage: bool) -> CutRule {
    let roll = match swapper {
        Swapper::None => "none".to_owned(),
        Swapper::Mesh | Swapper::Network(_) => format!("track-{}-{}", track::SEGMENT, smooth::RADIUS),
    };
    CutRule::new(chunk_frames, roll, keep).tolerant(tolerate_damage)
}

/// The plan of a clip that has been read through; `source` is its file's digest.
pub fn planned(probe: Probe, source: Digest, rule: CutRule, swapper: &Swapper) -> Result<Plan, Refusal> {
    let tracked = *swapper != Swapper::None;
    let Probe { clip, packets, warnings, .. } = probe;
    let window = |span: std::ops::Range<u64>| if tracked { track::window(span, clip.frames()) } else { span };
    let unplannable =
        |error: plan::PlanError| Refusal::new("target", error.to_string(), "a clip that starts with a keyframe");
    let chunks = plan::cut(&clip.pts, &packets, rule.chunk_frames, &window).map_err(unplannable)?;
    let looks = if tracked { plan::looks(&clip.pts, &packets).map_err(unplannable)? } else { Vec::new() };
    Ok(Plan { v: VERSION, source, rule, clip, chunks, looks, warnings })
}

/// A clip that was fetched is called by its own name, and not by that of its copy.
fn named(error: IngestError, local: &Path, location: &str) -> IngestError {
    let IngestError::Refused(mut refusal) = error else { return error };
    if !location.starts_with("file:") {
        refusal.found = refusal.found.replace(&local.display().to_string(), location);
    }
    refusal.into()
}

/// Refuses outputs that cannot hold what the target is: a clip in a picture, something that moves in a still.
fn check_output(plan: &Plan, container: media::Container) -> Result<(), Refusal> {
    let refuse = |found: String, expected: &str| Err(Refusal::new("output", found, expected));
    let media::Container::Picture(format) = container else { return Ok(()) };
    let (clip, frames) = (&plan.clip, plan.clip.frames());
    if !media::is_picture(&clip.format) {
        return refuse(
            format!("{} picture of a video", format.name()),
            "a video (mp4, m4v, mov, mkv, webm), as the target is",
        );
    }
    if frames > 1 && !format.can_move() {
        let found = format!("{} picture of {frames} frames", format.name());
        return refuse(found, "gif, png (APNG), webp or a video, as the target moves");
    }
    Ok(())
}

/// Which encoder the clip gets; `output` names the container. `looked_at`: see [`Job::looks_at_frames`].
pub fn choose_encoder(
    video: &Video,
    output: &str,
    plan: &Plan,
    looked_at: bool,
    hardware: &HardwareEncoders,
) -> Result<ChosenEncoder, Refusal> {
    if plan.clip.is_folder() {
        return Ok(ChosenEncoder { name: LOSSLESS.to_owned(), warning: None });
    }
    let container = media::container_of(Path::new(output));
    let container = container.map_err(|error| Refusal::new("output", error.to_string(), error.expected()))?;
    check_output(plan, container)?;
    if matches!(container, media::Container::Picture(_)) {
        return Ok(ChosenEncoder { name: LOSSLESS.to_owned(), warning: None });
    }
    let is_picture = media::is_picture(&plan.clip.format);
    let wish = EncoderWish {
        name: &video.encoder,
        crf: video.crf,
        codec: &plan.clip.codec,
        // What `Decoded::pictured` makes of it.
        pixel_format: if is_picture { "yuv420p" } else { &plan.clip.pixel_format },
        looked_at,
        container,
        hardware,
    };
    media::choose_encoder(&wish).map_err(|error| Refusal::new("video.encoder", error.to_string(), error.expected()))
}

/// Refuses clips whose pixels cannot be worked on, if somebody looks at them.
pub fn check_pixels(plan: &Plan, looked_at: bool) -> Result<(), Refusal> {
    let expected = "YUV or grey of 8 to 16 bits, or RGB; not Bayer, XYZ, float or one bit per pixel";
    let of_stills = plan.clip.stills.iter().map(|still| (format!("{}: ", still.name), &still.clip.pixel_format));
    let of_clip = (!plan.clip.is_folder()).then_some((String::new(), &plan.clip.pixel_format));
    let mut unviewable = of_stills.chain(of_clip).filter(|(_, found)| !media::pixels_viewable(found));
    match unviewable.next().filter(|_| looked_at) {
        Some((of, found)) => Err(Refusal::new("target", format!("{of}pixel format {found}"), expected)),
        None => Ok(()),
    }
}

/// What its owner should know of a label that is too long for the picture.
pub fn smaller_label(job: &Job, plan: &Plan) -> Option<String> {
    let label = job.label.as_ref()?;
    let clips = plan.clip.stills.iter().map(|still| &still.clip);
    let whole = (!plan.clip.is_folder()).then_some(&plan.clip);
    let least = clips.chain(whole).map(|clip| label.drawn_height(clip)).fold(label.height, f64::min);
    (least < label.height).then(|| {
        let [drawn, asked] = [least, label.height].map(|share| format!("{:.1}", 100.0 * share));
        format!("label.text does not fit at {asked} % of the shorter side, and is drawn at {drawn} %: a shorter text is larger")
    })
}

/// Refuses clips that would be too large when they have been made larger.
pub fn check_larger(plan: &Plan, swap: &Swap, catalog: &Catalog, limits: &media::Limits) -> Result<(), Refusal> {
    let Some(upscaler) = toolchain::upscaler(swap) else { return Ok(()) };
    let factor = vision::upscale::factor(catalog, &upscaler.id).map_err(|error| {
        Refusal::new("swap.upscaler.model", error.to_string(), "an upscaler that is here (facemill models list)")
    })?;
    let clips = plan.clip.stills.iter().map(|still| (format!("{}: ", still.name), &still.clip));
    let whole = (!plan.clip.is_folder()).then_some((String::new(), &plan.clip));
    for (of, clip) in clips.chain(whole) {
        let [width, height] = [clip.width, clip.height].map(|side| u64::from(side) * factor as u64);
        let is_small = width <= limits.max_width.into() && height <= limits.max_height.into();
        if !is_small || width * height > limits.max_pixels {
            let found = format!("{of}{}x{} pixels become {width}x{height}", clip.width, clip.height);
            let media::Limits { max_width, max_height, max_pixels, .. } = limits;
            let expected = format!("at most {max_width}x{max_height}, and {max_pixels} in all, by [limits]");
            return Err(Refusal::new("swap.upscaler", found, expected));
        }
    }
    Ok(())
}

/// What a failure to read the clip means: the job's own fault, or this machine's.
pub fn unusable(error: &media::MediaError) -> IngestError {
    match error.kind() {
        Kind::Poison => refusal_of(error).into(),
        Kind::Retry | Kind::Fatal => SiteError::Work(error.to_string()).into(),
    }
}

/// What is wrong with a clip, in the words of a job.
pub fn refusal_of(error: &media::MediaError) -> Refusal {
    let field = if matches!(error, media::MediaError::NothingKept { .. }) { "trim_start" } else { "target" };
    Refusal::new(field, error.to_string(), error.expected())
}
