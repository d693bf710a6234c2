//! From results to a folder of stills: one after the other is made and put in its place, each as the output of a clip is.
//!
//! An assembler that ends half-way leaves what it has put. The next one finds these to be what it makes itself, and goes on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::contract::{Cut, Output, StageSeconds, Still};
use crate::crash;
use crate::credentials::Parent;
use crate::ingest::{digest_of, few};
use crate::marks::Marks;
use crate::media::{self, ChunkFile, JoinRequest, MediaError};
use crate::site::SiteError;
use crate::store::{Location, LocationError};
use crate::telemetry::{self, Stage};

use super::deliver::{Made, deliver};
use super::join::{JoinError, Joined, Results, Work, bring_target, fetch};

/// Makes every still of a run; all are in their places when this returns.
pub async fn join(work: &Work, stop: &AtomicBool) -> Result<Joined, JoinError> {
    let Work { site, run, plan, .. } = work;
    let started = Instant::now();
    crash::point("assemble.join.begun");
    let target = Location::of_folder(&run.job.target).map_err(JoinError::Target)?;
    let output = Location::of_folder(&run.job.output).map_err(JoinError::Output)?;
    let results = Results::of(site, run, plan).await?;
    let (mut bytes, mut versions, mut digests) = (0, BTreeMap::new(), BTreeMap::new());
    for (chunk, (still, key)) in plan.clip.stills.iter().zip(&results.keys).enumerate() {
        // One still's files, gone with it.
        let scratch = site.scratch("join")?;
        let source = bring_target(site, &target.file_in(&still.name), &still.digest, scratch.path()).await?;
        let file = fetch(site, key, chunk, &Cut::STILL, scratch.path().join("result.nut")).await?;
        let file = make(still.clone(), source.clone(), file, work.marks()).await?;
        crash::point("assemble.join.muxed");
        let place = output.file_in(&still.name);
        let gone = || JoinError::Output(LocationError::NotFound { location: output.file_in(&still.name).to_string() });
        let made = Made {
            file: &file,
            format: &still.clip.format,
            place,
            before: run.outputs_before.get(&still.name),
            // All formats of stills carry their credentials.
            sidecar_before: None,
            parent: Parent {
                title: still.name.clone(),
                path: source,
                format: still.clip.format.clone(),
                sha256: still.digest,
            },
        };
        let delivered = deliver(work, made, stop).await?;
        bytes += delivered.bytes;
        digests.insert(still.name.as_str(), delivered.sha256);
        versions.insert(still.name.clone(), delivered.version.ok_or_else(gone)?.to_string());
    }
    let without_face =
        results.footers.iter().zip(&plan.clip.stills).filter(|(footer, _)| footer.counts.without_face > 0);
    let without_face: Vec<String> = without_face.map(|(_, still)| still.name.clone()).collect();
    let warning = (!without_face.is_empty()).then(|| format!("no face was found in {}", few(&without_face)));

    telemetry::stage(Stage::Join, started.elapsed());
    Ok(Joined {
        output: Output {
            location: run.job.output.clone(),
            version: None,
            bytes,
            stills: versions,
            sha256: Some(digest_of(digests.into_iter())),
            signed_by: work.signer(),
        },
        counts: results.counts(),
        warnings: warning.into_iter().collect(),
        seconds: StageSeconds::from([(Stage::Join.as_str().to_owned(), started.elapsed().as_secs_f64())]),
    })
}

/// The file of one still, of the format that it came in.
async fn make(still: Still, source: PathBuf, file: ChunkFile, marks: Option<Marks>) -> Result<PathBuf, JoinError> {
    let output = file.path.with_file_name("output");
    let made = tokio::task::spawn_blocking(move || {
        let format = &still.clip.format;
        let unknown = || MediaError::Container { name: format.clone() };
        let container = media::Container::Picture(media::PictureFormat::from_name(format).ok_or_else(unknown)?);
        media::join(JoinRequest {
            source: &source,
            clip: &still.clip,
            chunks: &mut std::iter::once(Ok(file)),
            reorder_depth: 0,
            output: &output,
            container,
            trim_to_first_frame: false,
            trim_to_last_frame: false,
            marks: marks.as_ref(),
            cancelled: &|| false,
            progress: &mut |_| crash::point("assemble.join.mux"),
        })?;
        Ok(output)
    });
    made.await.map_err(SiteError::from)?.map_err(JoinError::Media)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::contract::{
        Decisions, FrameCounts, Job, PIPELINE, Plan, ResultFooter, Run, SliceIndex, Toolchain, VERSION, keys,
    };
    use crate::ingest::testing::plan_of_folder;
    use crate::seal;
    use crate::site::Site;
    use crate::site::testing::site;
    use crate::store::testing::S3Server;
    use crate::store::{Body, Expected, Limits, Locations, StoreConfig};

    /// A job over three stills, of which every result is in the store.
    struct Bench {
        folder: tempfile::TempDir,
        site: Site,
        run: Run,
        plan: Plan,
    }

    impl Bench {
        /// With the job's folders at `target` and `output`.
        async fn new(locations: impl FnOnce(&Path) -> Locations, target: &str, output: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["in", "out", "made"] {
                std::fs::create_dir(folder.path().join(name)).unwrap();
            }
            let site = site(folder.path(), locations(folder.path())).await;
            let at = |text: &str| text.replace("HERE", folder.path().to_str().unwrap());
            let job = serde_json::json!({
                "job": "stills", "sources": [], "target": at(target), "output": at(output), "swap": { "swapper": "none" },
            });
            let job: Job = serde_json::from_value(job).unwrap();
            let place = Location::of_folder(&job.target).unwrap();
            for (name, side) in [("a.png", 16), ("b.tiff", 24), ("c c.webp", 32)] {
                let path = folder.path().join("made").join(name);
                image::RgbImage::from_fn(side, 8, |x, y| image::Rgb([x as u8, y as u8, 7])).save(&path).unwrap();
                site.locations.put(&place.file_in(name), &path, Expected::Absent).await.unwrap();
            }
            let (plan, warnings) = plan_of_folder(&site, &job, folder.path()).await;
            assert!(warnings.is_empty() && plan.clip.stills.len() == 3, "{warnings:?}");
            let run = Run {
                v: VERSION,
                job,
                run: 1,
                clip: plan.source,
                rule: plan.rule.clone(),
                portraits: Vec::new(),
                people: Vec::new(),
                reference: None,
                group: "workers".into(),
                toolchain: Toolchain {
                    pipeline: PIPELINE,
                    encoder: "ffv1".into(),
                    provider: String::new(),
                    models: BTreeMap::new(),
                },
                video: None,
                warnings: Vec::new(),
                digital_source_type: None,
                decisions: Decisions::default(),
                output_before: None,
                sidecar_before: None,
                outputs_before: BTreeMap::new(),
                seconds: StageSeconds::new(),
                accepted_at: 0.0,
            };
            let bench = Self { folder, site, run, plan };
            bench.make_results().await;
            bench
        }

        /// Untouched frames are coded as the slices are, so these will do.
        async fn make_results(&self) {
            let mut slices = Vec::new();
            for (chunk, still) in self.plan.clip.stills.iter().enumerate() {
                let dir = tempfile::tempdir().unwrap();
                let source = self.folder.path().join("made").join(&still.name);
                media::slice(&source, &still.clip, &[Cut::STILL], dir.path(), &mut |_, _| Ok(())).unwrap();
                let path = dir.path().join("0-1.nut");
                let slice = seal::digest_file(&path).unwrap();
                let fingerprint = self.run.spec(&self.plan, &self.plan.chunks[chunk], slice).fingerprint();
                let counts = FrameCounts { frames: 1, without_face: u64::from(chunk == 2), ..FrameCounts::default() };
                seal::seal(&path, |sha256| ResultFooter { fingerprint, sha256, counts, reorder_depth: 0 }).unwrap();
                self.site.store.put_new(&keys::result(&fingerprint), Body::File(path)).await.unwrap();
                slices.push(slice);
            }
            let key = keys::slices(&self.run.clip, &self.run.rule.id());
            self.site.put_json(&key, &SliceIndex { slices }).await.unwrap();
        }

        async fn join(&self) -> Result<Joined, JoinError> {
            let work = Work {
                site: self.site.clone(),
                run: Arc::new(self.run.clone()),
                plan: Arc::new(self.plan.clone()),
                credentials: None,
            };
            join(&work, &AtomicBool::new(false)).await
        }

        fn place(&self, name: &str) -> Location {
            Location::of_folder(&self.run.job.output).unwrap().file_in(name)
        }

        /// Somebody else's file.
        async fn disturb(&self, name: &str) {
            let other = self.folder.path().join("other");
            std::fs::write(&other, "somebody else's").unwrap();
            self.site.locations.put(&self.place(name), &other, Expected::Anything).await.unwrap();
        }
    }

    fn local(folder: &Path) -> Locations {
        Locations::new(Limits { roots: vec![folder.to_owned()], buckets: Vec::new() }, StoreConfig::default())
    }

    async fn check(bench: Bench) {
        let joined = bench.join().await.unwrap();
        assert_eq!((joined.counts.frames, joined.counts.without_face), (3, 1));
        assert_eq!(joined.warnings, ["no face was found in c c.webp"]);
        let versions = joined.output.stills.clone();
        assert_eq!(versions.keys().collect::<Vec<_>>(), ["a.png", "b.tiff", "c c.webp"]);
        let mut bytes = 0;
        for name in versions.keys() {
            let copy = bench.folder.path().join("copy");
            bytes += bench.site.locations.fetch(&bench.place(name), &copy).await.unwrap();
            let open =
                |path: &Path| image::ImageReader::open(path).unwrap().with_guessed_format().unwrap().decode().unwrap();
            assert_eq!(open(&copy), open(&bench.folder.path().join("made").join(name)), "{name}");
        }
        assert_eq!(joined.output.bytes, bytes);

        // An assembler that was killed when all was put, and before it had said so.
        let again = bench.join().await.unwrap();
        assert_eq!(again.output, joined.output, "what is ours is recognised and left");

        bench.disturb("b.tiff").await;
        let refused = bench.join().await.unwrap_err();
        let place = bench.place("b.tiff").to_string();
        assert!(matches!(&refused, JoinError::OutputChanged(found) if *found == place), "{refused}");

        // The next run, accepted when that was there.
        let mut before = versions;
        let found = bench.site.locations.version(&bench.place("b.tiff")).await.unwrap().unwrap();
        before.insert("b.tiff".into(), found.to_string());
        let next = Bench { run: Run { run: 2, outputs_before: before, ..bench.run.clone() }, ..bench };
        next.join().await.unwrap();

        next.site.put_json(&keys::manifest(&next.run.job.job, 2), &"ended").await.unwrap();
        assert!(matches!(next.join().await, Err(JoinError::Ended)));
    }

    #[tokio::test]
    async fn stills_are_put_once_and_over_nothing_else() {
        check(Bench::new(local, "file://HERE/in/", "file://HERE/out/").await).await;
    }

    #[tokio::test]
    async fn stills_in_s3_too() {
        let server = S3Server::start("factory").await;
        let locations = |_: &Path| Locations::new(Limits::default(), server.config());
        check(Bench::new(locations, "s3://factory/in/", "s3://factory/out/").await).await;
    }

    #[tokio::test]
    async fn a_still_that_has_changed_ends_the_run_and_a_result_that_is_gone_is_named() {
        let bench = Bench::new(local, "file://HERE/in/", "file://HERE/out/").await;
        std::fs::write(bench.folder.path().join("in/b.tiff"), "changed").unwrap();
        let refused = bench.join().await.unwrap_err();
        assert!(matches!(&refused, JoinError::TargetChanged(what) if what.ends_with("in/b.tiff")), "{refused}");
        assert!(bench.folder.path().join("out/a.png").is_file(), "what was before it stays");
        let results = bench.site.store.list("results/").await.unwrap();
        for result in results {
            bench.site.store.delete(&result.key, None).await.unwrap();
        }
        assert!(matches!(bench.join().await, Err(JoinError::Result { chunk: 0, .. })));
    }
}
