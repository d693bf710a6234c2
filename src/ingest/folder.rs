//! A folder of stills as one target: looked through file by file, so that neither memory nor scratch ever holds more than one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};

use crate::contract::{Clip, Cut, CutRule, Digest, Job, Keep, Moment, Plan, Still, VERSION, keys};
use crate::error::{Classify, Kind, Refusal};
use crate::media::{self, MediaError};
use crate::seal;
use crate::site::{Site, SiteError};
use crate::store::{EntryKind, Location, LocationError};

use super::IngestError;
use super::clip::{bring, cut_rule, planned_before};

/// Most files in a folder: the plan of so many stills has some 40 MB, and 64 MB are read.
pub const FILES_MAX: usize = 50_000;
/// Names that a warning tells.
const NAMED: usize = 10;
/// Places of outputs that are looked at at once.
const REQUESTS: usize = 16;

/// What is to be taken of a folder.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which stills, by their numbers.
    pub keep: Keep,
    /// Stills that cannot be read are left out, and do not refuse the job.
    pub tolerate_damage: bool,
    /// What a still may be at most.
    pub limits: media::Limits,
}

/// What the files of a folder turn out to be.
pub struct Survey {
    wanted: Wanted,
    range: Range<usize>,
    stills: Vec<Still>,
    /// By the reason.
    left_out: BTreeMap<&'static str, Vec<String>>,
    warnings: Vec<String>,
}

impl Survey {
    /// Nothing has been looked at yet.
    pub fn new(wanted: Wanted) -> Self {
        let range = range_of(&wanted.keep);
        Self { wanted, range, stills: Vec::new(), left_out: BTreeMap::new(), warnings: Vec::new() }
    }

    /// No further still is wanted.
    pub fn is_full(&self) -> bool {
        self.stills.len() >= self.range.end
    }

    /// Notes what is not looked into; `true` for a file, which is to be.
    pub fn admits(&mut self, name: &str, kind: EntryKind) -> bool {
        match kind {
            EntryKind::File => return true,
            EntryKind::Folder => self.leave_out(name, "folders (only the folder's own files are taken)"),
            EntryKind::Empty | EntryKind::Other => self.leave_out(name, "no stills"),
        }
        false
    }

    /// Looks into one file, which lies at `path`. Blocks.
    ///
    /// # Errors
    /// Poison, with its name: a still that is broken or too large, unless damage is tolerated.
    pub fn look(&mut self, name: &str, path: &Path) -> Result<(), IngestError> {
        if media::picture_format(path).is_none() {
            self.leave_out(name, "no stills");
            return Ok(());
        }
        let limits = self.wanted.limits;
        let probed = media::probe(path, &Keep::default(), &limits).and_then(|probe| {
            if probe.clip.frames() == 1 {
                media::check_picture(path, &limits)?;
            }
            Ok(probe)
        });
        match probed {
            Ok(probe) if probe.clip.frames() == 1 => {
                let digest = seal::digest_file(path).map_err(|error| unreadable(name, &error))?;
                self.warnings.extend(probe.warnings.iter().map(|warning| format!("{name}: {warning}")));
                self.stills.push(Still { name: name.to_owned(), digest, clip: probe.clip });
            }
            Ok(_) => self.leave_out(name, "animations"),
            Err(error) if error.kind() == Kind::Poison && self.wanted.tolerate_damage => {
                self.leave_out(name, "stills that cannot be read, or are too large");
            }
            Err(error) => return Err(of_still(name, path, &error)),
        }
        Ok(())
    }

    /// Notes that a file is not worked on.
    pub fn leave_out(&mut self, name: &str, reason: &'static str) {
        self.left_out.entry(reason).or_default().push(name.to_owned());
    }

    /// The plan of the folder, and what the user should know of its files.
    ///
    /// # Errors
    /// No still is left.
    pub fn planned(mut self, rule: CutRule) -> Result<(Plan, Vec<String>), Refusal> {
        let found = self.stills.len();
        let wanted = self.range.start.min(found)..self.range.end.min(found).max(self.range.start.min(found));
        self.stills.truncate(wanted.end);
        self.stills.drain(..wanted.start);
        let mut warnings: Vec<String> = self.left_out.iter().map(|(what, names)| told(what, names)).collect();
        warnings.append(&mut bounded(self.warnings));
        if self.stills.is_empty() {
            let (field, found) = match found {
                0 => ("target", "a folder without a still".to_owned()),
                stills => ("trim_start", format!("nothing of a folder with {stills} stills")),
            };
            let found = [vec![found], warnings].concat().join("; ");
            return Err(Refusal::new(
                field,
                found,
                "at least one PNG, JPEG, WebP, TIFF, AVIF or GIF that is not animated",
            ));
        }
        let source = digest_of(self.stills.iter().map(|still| (still.name.as_str(), still.digest)));
        let clip = Clip::of_stills(self.stills);
        let chunks = (0..clip.frames()).map(Cut::of_still).collect();
        let plan = Plan { v: VERSION, source, rule, clip, chunks, looks: Vec::new(), warnings: Vec::new() };
        Ok((plan, warnings))
    }
}

/// What stands for a folder's content: names and digests of its stills.
pub fn digest_of<'a>(stills: impl Iterator<Item = (&'a str, Digest)>) -> Digest {
    Digest::of_json(&("stills", stills.collect::<Vec<_>>()))
}

/// The plan of a job's folder, and warnings. What is wrong with any of its stills is found here, before work is spent: each is decoded.
pub async fn plan(
    site: &Site,
    job: &Job,
    scratch: &Path,
    limits: &media::Limits,
) -> Result<(Plan, Vec<String>), IngestError> {
    let folder = target(job)?;
    let wanted = Wanted { keep: job.keep(), tolerate_damage: job.tolerate_damage, limits: *limits };
    let mut survey = Survey::new(wanted);
    let max = FILES_MAX.min(usize::try_from(limits.max_frames).unwrap_or(usize::MAX));
    for entry in site.locations.list(&folder, max).await.map_err(sort)? {
        if survey.is_full() {
            break;
        }
        if !survey.admits(&entry.name, entry.kind) {
            continue;
        }
        let place = folder.file_in(&entry.name);
        if matches!(place, Location::S3 { .. }) {
            let head = site.locations.head_of(&place, media::PICTURE_HEAD).await.map_err(sort)?;
            if media::PictureFormat::sniff(&head).is_none() {
                survey.leave_out(&entry.name, "no stills");
                continue;
            }
        }
        let path = bring(site, "target", &place.to_string(), &scratch.join("still")).await?;
        let looked = tokio::task::spawn_blocking(move || survey.look(&entry.name, &path).map(|()| survey));
        survey = looked.await.map_err(SiteError::from)??;
    }
    let (plan, warnings) =
        survey.planned(cut_rule(&job.swap.swapper, job.chunk_frames, job.keep(), job.tolerate_damage))?;
    let key = keys::plan(&plan.source, &plan.rule.id());
    if let Some(plan) = planned_before(site, &key).await? {
        return Ok((plan, warnings));
    }
    site.put_json(&key, &plan).await?;
    Ok((plan, warnings))
}

/// The folder that is a job's target.
pub fn target(job: &Job) -> Result<Location, Refusal> {
    Location::of_folder(&job.target).map_err(|error| Refusal::new("target", error.to_string(), FOLDER))
}

/// Refuses an output folder that takes no file, and one that is the target.
pub async fn check_output(site: &Site, job: &Job) -> Result<(), IngestError> {
    let refuse = |found: String| Refusal::new("output", found, "another folder, which can be written to");
    let output = Location::of_folder(&job.output).map_err(|error| refuse(error.to_string()))?;
    let sort = |error: LocationError| match error.kind() {
        Kind::Poison => IngestError::from(refuse(error.to_string())),
        Kind::Retry | Kind::Fatal => SiteError::Location(error).into(),
    };
    // No such file is made.
    site.locations.check_writable(&output.file_in("still")).await.map_err(sort)?;
    match site.locations.is_same_folder(&target(job)?, &output).await {
        Ok(false) => Ok(()),
        Ok(true) => Err(refuse("the target itself".to_owned()).into()),
        // The output is there, so it is the target that is not.
        Err(error) => Err(self::sort(error)),
    }
}

/// Versions of what stands where the stills of a folder go, by name.
pub async fn outputs_before(site: &Site, job: &Job, plan: &Plan) -> Result<BTreeMap<String, String>, IngestError> {
    if !plan.clip.is_folder() {
        return Ok(BTreeMap::new());
    }
    let refuse = |error: &LocationError| Refusal::new("output", error.to_string(), "a place that can be written");
    let output = Location::of_folder(&job.output).map_err(|error| refuse(&error))?;
    let output = &output;
    let places = plan.clip.stills.iter().map(|still| still.name.clone()).collect::<Vec<_>>();
    stream::iter(places)
        .map(|name| async move {
            match site.locations.version(&output.file_in(&name)).await {
                Ok(found) => Ok(found.map(|version| (name, version.to_string()))),
                Err(error) if error.kind() == Kind::Poison => Err(IngestError::from(refuse(&error))),
                Err(error) => Err(SiteError::Location(error).into()),
            }
        })
        .buffered(REQUESTS)
        .try_filter_map(|found| std::future::ready(Ok(found)))
        .try_collect()
        .await
}

const FOLDER: &str = "a folder of stills that can be read";

fn sort(error: LocationError) -> IngestError {
    match error.kind() {
        Kind::Poison => Refusal::new("target", error.to_string(), FOLDER).into(),
        Kind::Retry | Kind::Fatal => SiteError::Location(error).into(),
    }
}

/// What a failure to read a still means; it is called by its name, and not by that of a copy.
pub fn of_still(name: &str, path: &Path, error: &MediaError) -> IngestError {
    match error.kind() {
        Kind::Poison => {
            let found = error.to_string().replace(&path.display().to_string(), "it");
            let expected = format!("{}; tolerate_damage leaves out such stills", error.expected());
            Refusal::new("target", format!("{name}: {found}"), expected).into()
        }
        Kind::Retry | Kind::Fatal => SiteError::Work(format!("{name}: {error}")).into(),
    }
}

fn unreadable(name: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new("target", format!("{name}: {error}"), "a file that can be read")
}

/// Which stills are wanted, by their numbers. Times are refused before.
fn range_of(keep: &Keep) -> Range<usize> {
    let number = |moment: Option<Moment>| match moment {
        Some(Moment::Frame(number)) => usize::try_from(number).ok(),
        _ => None,
    };
    let start = number(keep.start).unwrap_or(0);
    let limit = keep.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    start..number(keep.end).unwrap_or(usize::MAX).min(start.saturating_add(limit))
}

/// Which files are left out, a bounded number of them by name.
fn told(what: &str, names: &[String]) -> String {
    format!("left out, {what}: {}", few(names))
}

/// The first names, and how many more there are.
pub fn few(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names[..names.len() - more].join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

fn bounded(mut warnings: Vec<String>) -> Vec<String> {
    let more = warnings.len().saturating_sub(NAMED);
    warnings.truncate(NAMED);
    if more > 0 {
        warnings.push(format!("{more} more stills have such warnings"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Ratio;

    fn wanted(keep: Keep, tolerate_damage: bool) -> Wanted {
        Wanted { keep, tolerate_damage, limits: media::Limits::default() }
    }

    fn rule() -> CutRule {
        CutRule::new([64, 128], "none".into(), Keep::default())
    }

    fn png(path: &Path, side: u32) {
        image::RgbImage::from_fn(side, side, |x, y| image::Rgb([x as u8, y as u8, 7])).save(path).unwrap();
    }

    /// `a.png` to `d.png`, `broken.png`, `notes.txt`.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, side) in [("a.png", 8), ("b.png", 16), ("c.png", 24), ("d.png", 32)] {
            png(&folder.path().join(name), side);
        }
        let whole = std::fs::read(folder.path().join("d.png")).unwrap();
        std::fs::write(folder.path().join("broken.png"), &whole[..whole.len() / 2]).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no still").unwrap();
        folder
    }

    fn survey(folder: &Path, names: &[&str], wanted: Wanted) -> Result<(Plan, Vec<String>), String> {
        let mut survey = Survey::new(wanted);
        for name in names {
            if !survey.is_full() && survey.admits(name, EntryKind::File) {
                survey.look(name, &folder.join(name)).map_err(|error| error.to_string())?;
            }
        }
        survey.planned(rule()).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_still_in_a_folder_is_the_chunk_that_it_is_alone() {
        let folder = folder();
        let (plan, warnings) =
            survey(folder.path(), &["a.png", "b.png", "notes.txt"], wanted(Keep::default(), false)).unwrap();
        assert_eq!((plan.clip.frames(), plan.chunks.len(), plan.clip.width), (2, 2, 16));
        assert_eq!(warnings, ["left out, no stills: notes.txt"]);
        let path = folder.path().join("b.png");
        let alone = media::probe(&path, &Keep::default(), &media::Limits::default()).unwrap();
        let digest = seal::digest_file(&path).unwrap();
        let alone = super::super::planned(alone, digest, rule(), &crate::contract::Swapper::None).unwrap();
        assert_eq!(alone.slice_key(0), plan.slice_key(1), "the same slice");
        let job = r#"{"job":"j","sources":[],"target":"file:///in/","output":"file:///out/"}"#;
        let run = |plan: &Plan| crate::contract::Run {
            v: VERSION,
            job: serde_json::from_str(job).unwrap(),
            run: 1,
            clip: plan.source,
            rule: plan.rule.clone(),
            portraits: Vec::new(),
            people: Vec::new(),
            reference: None,
            group: "workers".into(),
            toolchain: crate::contract::Toolchain {
                pipeline: 1,
                encoder: "ffv1".into(),
                provider: "cpu".into(),
                models: BTreeMap::new(),
            },
            video: None,
            warnings: Vec::new(),
            digital_source_type: None,
            decisions: Default::default(),
            output_before: None,
            sidecar_before: None,
            outputs_before: BTreeMap::new(),
            seconds: Default::default(),
            accepted_at: 0.0,
        };
        let slice = Digest::of(b"slice");
        let (in_folder, by_itself) = (run(&plan).chunk(&plan, 1, slice), run(&alone).chunk(&alone, 0, slice));
        assert_eq!(in_folder.spec, by_itself.spec);
        assert_eq!((in_folder.clip, in_folder.index, in_folder.of), (by_itself.clip, 1, 2));
        assert_eq!(in_folder.spec.time_base, Ratio { num: 1, den: 25 });
    }

    #[test]
    fn what_cannot_be_read_refuses_the_job_by_its_name_or_is_left_out() {
        let folder = folder();
        let names = ["a.png", "broken.png"];
        let refused = survey(folder.path(), &names, wanted(Keep::default(), false)).unwrap_err();
        assert!(refused.starts_with("target: broken.png: it is cut off"), "{refused}");
        let (plan, warnings) = survey(folder.path(), &names, wanted(Keep::default(), true)).unwrap();
        assert_eq!(plan.clip.stills.len(), 1);
        assert_eq!(warnings, ["left out, stills that cannot be read, or are too large: broken.png"]);
        let limits = media::Limits { max_width: 20, ..media::Limits::default() };
        let small = Wanted { limits, ..wanted(Keep::default(), false) };
        let refused = survey(folder.path(), &["a.png", "c.png"], small).unwrap_err();
        assert!(refused.starts_with("target: c.png: the clip's width is 24"), "{refused}");
        let none = survey(folder.path(), &["notes.txt"], wanted(Keep::default(), false)).unwrap_err();
        assert!(none.starts_with("target: a folder without a still; left out, no stills: notes.txt"), "{none}");
    }

    #[test]
    fn stills_are_kept_by_their_numbers() {
        let folder = folder();
        let frame = |number| Some(Moment::Frame(number));
        let table = [
            (Keep { limit: Some(2), ..Keep::default() }, &["a.png", "b.png"][..]),
            (Keep { start: frame(1), limit: Some(2), ..Keep::default() }, &["b.png", "c.png"]),
            (Keep { start: frame(1), end: frame(2), ..Keep::default() }, &["b.png"]),
            (Keep { start: frame(3), limit: Some(9), ..Keep::default() }, &["d.png"]),
        ];
        for (keep, expected) in table {
            let all = ["a.png", "b.png", "c.png", "d.png"];
            let (plan, _) = survey(folder.path(), &all, wanted(keep, false)).unwrap();
            let names: Vec<&str> = plan.clip.stills.iter().map(|still| still.name.as_str()).collect();
            assert_eq!(names, expected, "{keep:?}");
        }
        let beyond = Keep { start: frame(4), ..Keep::default() };
        let refused = survey(folder.path(), &["a.png"], wanted(beyond, false)).unwrap_err();
        assert!(refused.starts_with("trim_start: nothing of a folder with 1 stills"), "{refused}");
    }

    #[test]
    fn warnings_name_a_bounded_number() {
        let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        assert_eq!(few(&names[..2]), "0, 1");
        assert_eq!(few(&names), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
    }
}
