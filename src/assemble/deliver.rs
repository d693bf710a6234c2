//! A made file goes to its place: signed, announced, and put over nothing but what stood there when the job was accepted, or what an
//! earlier run of the job has put there since: one that was called off may have had its file on the way.
//!
//! No two signatures are the same, so a file that is made again after a crash is not the one that was put. Therefore the digest of each
//! is written into the store before it goes: what is found in the place and was announced by this run is ours, and stays.
//!
//! Credentials that lie beside their file go after it, and their announcement names the file that they hold for. So what stood there before
//! keeps its own until it is replaced, and whoever comes upon a file of this run whose credentials are missing, or another's, signs that file.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::contract::{Digest, Run, Stood, keys};
use crate::crash;
use crate::credentials::{Parent, SIDECAR, Signed, Statement};
use crate::seal;
use crate::site::{Site, SiteError};
use crate::store::{Expected, Location, LocationError, Version};

use super::join::{JoinError, Work, ensure_wanted};

/// How often a place is looked at in which others of this job keep putting their files.
const ROUNDS: usize = 8;

/// A file that is made.
pub struct Made<'a> {
    /// In scratch.
    pub file: &'a Path,
    /// Its format: an extension.
    pub format: &'a str,
    /// Where it goes.
    pub place: Location,
    /// Version of what stood there when the job was accepted; none if nothing did.
    pub before: Option<&'a String>,
    /// What stood where its credentials go if they lie beside it; none if nobody looked.
    pub sidecar_before: Option<&'a Stood>,
    /// From what it was made.
    pub parent: Parent,
}

/// A file that is in its place.
pub struct Delivered {
    /// Its version there.
    pub version: Option<Version>,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// Signs a file and puts it in its place.
pub async fn deliver(work: &Work, made: Made<'_>, stop: &AtomicBool) -> Result<Delivered, JoinError> {
    let Work { site, run, .. } = work;
    let sidecar = sign(work, &made, made.file).await?;
    crash::point("assemble.output.signed");
    let sha256 = digest(made.file).await?;
    let bytes = tokio::fs::metadata(made.file).await.map_err(SiteError::from)?.len();
    site.put_json(&keys::delivery(&run.job.job, run.run, &sha256), &()).await?;
    crash::point("assemble.output.announced");
    let beside = |file: PathBuf, of| Sidecar {
        place: made.place.with_extension(SIDECAR),
        before: made.sidecar_before,
        file,
        of,
    };
    if let Some(sidecar) = &sidecar {
        // What must not be replaced there is found before anything is.
        beside(sidecar.clone(), sha256).expected(site, run).await?;
    }
    let ours = Delivered { version: None, bytes, sha256 };
    let delivered = put_in_place((site, run), &made, ours, stop).await?;
    crash::point("assemble.output.put");
    let sidecar = match sidecar {
        // A predecessor's file stays, and these credentials are not for it.
        Some(_) if delivered.sha256 != sha256 => sign(work, &made, &there(made.file)).await?,
        sidecar => sidecar,
    };
    if let Some(sidecar) = sidecar {
        beside(sidecar, delivered.sha256).put(site, run, stop).await?;
        crash::point("assemble.sidecar.put");
    }
    Ok(delivered)
}

/// Signs the file; returns the credentials that have to lie beside it.
async fn sign(work: &Work, made: &Made<'_>, file: &Path) -> Result<Option<PathBuf>, JoinError> {
    let Some(credentials) = &work.credentials else { return Ok(None) };
    let name = made.place.name().to_owned();
    let signed = work.site.patiently("sign", &name, || {
        let (credentials, run, title) = (credentials.clone(), work.run.clone(), name.clone());
        let (file, format, parent) = (file.to_owned(), made.format.to_owned(), made.parent.clone());
        async move {
            let signing = tokio::task::spawn_blocking(move || {
                let kind = run.digital_source_type;
                let statement = Statement { title: &title, kind, run: Some(&run), parent: Some(parent) };
                credentials.sign(&file, &format, &statement)
            });
            signing.await.map_err(SiteError::from)?.map_err(JoinError::Credentials)
        }
    });
    let Signed { sidecar } = signed.await?;
    Ok(sidecar)
}

async fn digest(file: &Path) -> Result<Digest, SiteError> {
    let file = file.to_owned();
    Ok(tokio::task::spawn_blocking(move || seal::digest_file(&file)).await??)
}

/// Where in scratch a copy goes of what stands in the place of `file`.
fn there(file: &Path) -> PathBuf {
    file.with_extension("there")
}

/// The last run of this job, up to this one, that has announced a file.
async fn announced_by(site: &Site, run: &Run, file: &Digest) -> Result<Option<u32>, SiteError> {
    for number in (1..=run.run).rev() {
        if site.store.head(&keys::delivery(&run.job.job, number, file)).await?.is_some() {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Replaces what stood at the output when the job was accepted or was put there by an earlier run, and nothing else. If this run has a file
/// there already, that is delivered, and a copy of it lies at [`there`].
async fn put_in_place(
    (site, run): (&Site, &Run),
    made: &Made<'_>,
    ours: Delivered,
    stop: &AtomicBool,
) -> Result<Delivered, JoinError> {
    let Made { file, place, before, .. } = made;
    let changed = || JoinError::OutputChanged(place.to_string());
    let mut expected = match before {
        Some(version) => Expected::Version(Version((*version).clone())),
        None => Expected::Absent,
    };
    for _ in 0..ROUNDS {
        ensure_wanted(site, run, stop).await?;
        match site.locations.put(place, file, expected.clone()).await {
            Ok(()) => {
                let version = site.locations.version(place).await.map_err(JoinError::Output)?;
                return Ok(Delivered { version, ..ours });
            }
            Err(LocationError::Changed { .. }) => {}
            Err(error) => return Err(JoinError::Output(error)),
        }
        let version = site.locations.version(place).await.map_err(JoinError::Output)?.ok_or_else(changed)?;
        let bytes = site.locations.fetch(place, &there(file)).await.map_err(JoinError::Output)?;
        let sha256 = digest(&there(file)).await?;
        match announced_by(site, run, &sha256).await? {
            // Before a crash this very run may have put it there, or another assembler that has the same job in hand.
            Some(by) if by == run.run => {
                let is_what_was_read =
                    site.locations.version(place).await.map_err(JoinError::Output)?.as_ref() == Some(&version);
                if is_what_was_read {
                    return Ok(Delivered { version: Some(version), bytes, sha256 });
                }
            }
            // It was on its way when its run was called off.
            Some(_) => expected = Expected::Version(version),
            None => return Err(changed()),
        }
    }
    Err(changed())
}

/// What the announcement of credentials says that lie beside their file.
#[derive(Debug, Serialize, Deserialize)]
struct Beside {
    /// Digest of the file that they hold for.
    beside: Digest,
}

/// Credentials that go beside their file.
struct Sidecar<'a> {
    /// In scratch.
    file: PathBuf,
    place: Location,
    /// What stood there when the job was accepted; none if nobody looked.
    before: Option<&'a Stood>,
    /// The file that they hold for.
    of: Digest,
}

impl Sidecar<'_> {
    /// Puts them there over what may be replaced, unless credentials are there already that hold for the same file.
    async fn put(&self, site: &Site, run: &Run, stop: &AtomicBool) -> Result<(), JoinError> {
        let sha256 = digest(&self.file).await?;
        for _ in 0..ROUNDS {
            ensure_wanted(site, run, stop).await?;
            let Some(expected) = self.expected(site, run).await? else { return Ok(()) };
            site.put_json(&keys::delivery(&run.job.job, run.run, &sha256), &Beside { beside: self.of }).await?;
            match site.locations.put(&self.place, &self.file, expected).await {
                Err(LocationError::Changed { .. }) => {} // looked at again
                put => return put.map_err(JoinError::Output),
            }
        }
        Err(JoinError::OutputChanged(self.place.to_string()))
    }

    /// What is to be replaced: what stood there at acceptance, or was put there by this job. None if it holds for the same file.
    async fn expected(&self, site: &Site, run: &Run) -> Result<Option<Expected>, JoinError> {
        let stands = site.locations.version(&self.place).await.map_err(JoinError::Output)?;
        let Some(version) = stands else { return Ok(Some(Expected::Absent)) };
        let found = version.to_string();
        if self.before.is_none_or(|before| before.version.as_ref() == Some(&found)) {
            return Ok(Some(Expected::Version(version)));
        }
        let copy = self.file.with_extension("c2pa-there");
        site.locations.fetch(&self.place, &copy).await.map_err(JoinError::Output)?;
        let sha256 = digest(&copy).await?;
        let Some(by) = announced_by(site, run, &sha256).await? else {
            return Err(JoinError::OutputChanged(self.place.to_string()));
        };
        let announced: Option<Option<Beside>> = site.read_json(&keys::delivery(&run.job.job, by, &sha256)).await?;
        let is_the_same = announced.flatten().is_some_and(|announced| announced.beside == self.of);
        Ok((!is_the_same).then_some(Expected::Version(version)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::site::testing::site;
    use crate::store::{Limits, Locations, StoreConfig};

    /// The second run of a job.
    struct Bench {
        folder: tempfile::TempDir,
        site: Site,
        run: Run,
    }

    impl Bench {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let limits = Limits { roots: vec![folder.path().to_owned()], buckets: Vec::new() };
            let site = site(folder.path(), Locations::new(limits, StoreConfig::default())).await;
            let job = json!({ "v": 1, "job": "a-job", "sources": [], "target": "file:///in.mkv", "output": "file:///out.mkv" });
            let run = json!({
                "v": 1, "job": job, "run": 2, "clip": Digest::of(b"clip"), "portraits": [], "seconds": {}, "accepted_at": 0.0,
                "rule": { "planner": 1, "chunk_frames": [4, 4], "roll": "none", "frame_limit": null },
                "toolchain": { "pipeline": 1, "encoder": "x", "provider": "cpu", "models": {} },
            });
            Self { folder, site, run: serde_json::from_value(run).unwrap() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, content: &str) -> PathBuf {
            std::fs::write(self.path(name), content).unwrap();
            self.path(name)
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.path(name)).unwrap()
        }

        fn place(&self, name: &str) -> Location {
            Location::file(&self.path(name)).unwrap()
        }

        async fn version(&self, name: &str) -> Option<String> {
            self.site.locations.version(&self.place(name)).await.unwrap().map(|version| version.to_string())
        }

        async fn announce(&self, run: u32, content: &str, of: Option<&str>) {
            let key = keys::delivery(&self.run.job.job, run, &Digest::of(content.as_bytes()));
            let beside = of.map(|of| Beside { beside: Digest::of(of.as_bytes()) });
            self.site.put_json(&key, &beside).await.unwrap();
        }
    }

    fn is_refused(error: &JoinError, place: &Location) -> bool {
        matches!(error, JoinError::OutputChanged(found) if *found == place.to_string())
    }

    #[tokio::test]
    async fn an_output_goes_over_what_earlier_runs_have_put_late_and_nobody_elses() {
        // Whether something stood there at acceptance, who announced what stands there now, what is there in the end.
        let table = [
            (false, None, None),
            (true, None, None),
            (false, Some(1), Some("ours")),
            (true, Some(1), Some("ours")),
            (true, Some(2), Some("what stands")),
            (true, Some(3), None), // a later run: this one has ended
        ];
        for (has_before, by, expected) in table {
            let bench = Bench::new().await;
            if has_before {
                bench.write("out.mkv", "before");
            }
            let version = bench.version("out.mkv").await;
            bench.write("out.mkv", "what stands");
            if let Some(by) = by {
                bench.announce(by, "what stands", None).await;
            }
            let (file, place) = (bench.write("output", "ours"), bench.place("out.mkv"));
            let parent =
                Parent { title: String::new(), path: file.clone(), format: "mkv".into(), sha256: bench.run.clip };
            let made = Made {
                file: &file,
                format: "mkv",
                place: place.clone(),
                before: version.as_ref(),
                sidecar_before: None,
                parent,
            };
            let ours = Delivered { version: None, bytes: 4, sha256: Digest::of(b"ours") };
            let put = put_in_place((&bench.site, &bench.run), &made, ours, &AtomicBool::new(false)).await;
            match (put, expected) {
                (Ok(delivered), Some(expected)) => {
                    assert_eq!(bench.read("out.mkv"), expected, "{has_before} {by:?}");
                    assert_eq!(delivered.sha256, Digest::of(expected.as_bytes()));
                    assert_eq!(delivered.version.map(|version| version.to_string()), bench.version("out.mkv").await);
                }
                (Err(error), None) => {
                    assert!(is_refused(&error, &place), "{has_before} {by:?}: {error}");
                    assert_eq!(bench.read("out.mkv"), "what stands");
                }
                (put, _) => panic!("{has_before} {by:?}: {:?}", put.map(|delivered| delivered.sha256)),
            }
        }
    }

    #[tokio::test]
    async fn credentials_go_beside_their_file_over_those_of_this_job_and_nobody_elses() {
        /// What stands there, who announced it and for which file.
        type Stands = Option<(&'static str, Option<(u32, &'static str)>)>;
        type Row = (&'static str, Option<Option<&'static str>>, Stands, Option<&'static str>);
        #[rustfmt::skip]
        let table: &[Row] = &[
            // name,                             at acceptance,     now,                                in the end
            ("nothing",                          Some(None),        None,                               Some("new")),
            ("what was there at acceptance",     Some(Some("old")), Some(("old", None)),                Some("new")),
            ("what was there is gone",           Some(Some("old")), None,                               Some("new")),
            ("nobody looked",                    None,              Some(("old", None)),                Some("new")),
            ("somebody's",                       Some(None),        Some(("else", None)),               None),
            ("somebody's over what was there",   Some(Some("old")), Some(("else", None)),               None),
            ("an earlier run's",                 Some(None),        Some(("late", Some((1, "other")))), Some("new")),
            ("this run's, for another file",     Some(None),        Some(("late", Some((2, "other")))), Some("new")),
            ("this run's, for this file",        Some(None),        Some(("late", Some((2, "file")))),  Some("late")),
            ("a later run's",                    Some(None),        Some(("late", Some((3, "file")))),  None),
        ];
        for (name, accepted, now, expected) in table {
            let bench = Bench::new().await;
            if let Some(Some(content)) = accepted {
                bench.write("out.c2pa", content);
            }
            let version = bench.version("out.c2pa").await;
            let before = accepted.map(|_| Stood { version });
            match now {
                Some((content, by)) => {
                    if *accepted != Some(Some(*content)) {
                        bench.write("out.c2pa", content);
                    }
                    if let Some((run, of)) = by {
                        bench.announce(*run, content, Some(*of)).await;
                    }
                }
                None => drop(std::fs::remove_file(bench.path("out.c2pa"))),
            }
            let (file, place) = (bench.write("output.c2pa", "new"), bench.place("out.c2pa"));
            let sidecar = Sidecar { file, place: place.clone(), before: before.as_ref(), of: Digest::of(b"file") };
            let put = sidecar.put(&bench.site, &bench.run, &AtomicBool::new(false)).await;
            match (put, expected) {
                (Ok(()), Some(expected)) => assert_eq!(bench.read("out.c2pa"), *expected, "{name}"),
                (Err(error), None) => assert!(is_refused(&error, &place), "{name}: {error}"),
                (put, _) => panic!("{name}: {put:?}"),
            }
        }
    }
}
