//! From results to a folder of stills: one after the other is made and put in its place, each as the output of a clip is.
//!
//! An assembler that ends half-way leaves what it has put. The next one finds these to be what it makes itself, and goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::contract::{Cut, Output, Plan, Run, StageSeconds, Still};
use crate::crash;
use crate::ingest::few;
use crate::media::{self, ChunkFile, JoinRequest, MediaError};
use crate::site::{Site, SiteError};
use crate::store::{Location, LocationError};
use crate::telemetry::{self, Stage};

use super::join::{JoinError, Joined, Results, bring_target, ensure_wanted, fetch, put_in_place};

/// Makes every still of a run; all are in their places when this returns.
pub async fn join(site: &Site, run: &Run, plan: &Plan, stop: &AtomicBool) -> Result<Joined, JoinError> {
    let started = Instant::now();
    crash::point("assemble.join.begun");
    let target = Location::of_folder(&run.job.target).map_err(JoinError::Target)?;
    let output = Location::of_folder(&run.job.output).map_err(JoinError::Output)?;
    let results = Results::of(site, run, plan).await?;
    let (mut bytes, mut versions) = (0, BTreeMap::new());
    for (chunk, (still, key)) in plan.clip.stills.iter().zip(&results.keys).enumerate() {
        // One still's files, gone with it.
        let scratch = site.scratch("join")?;
        let source = bring_target(site, &target.file_in(&still.name), &still.digest, scratch.path()).await?;
        let file = fetch(site, key, chunk, &Cut::STILL, scratch.path().join("result.nut")).await?;
        let made = make(still.clone(), source, file, scratch.path()).await?;
        bytes += tokio::fs::metadata(&made).await.map_err(SiteError::from)?.len();
        crash::point("assemble.join.muxed");
        ensure_wanted(site, run, stop).await?;
        let (place, before) = (output.file_in(&still.name), run.outputs_before.get(&still.name));
        let version = put_in_place(site, &place, before, &made).await?;
        crash::point("assemble.output.put");
        let gone = || JoinError::Output(LocationError::NotFound { location: place.to_string() });
        versions.insert(still.name.clone(), version.ok_or_else(gone)?.to_string());
    }
    let without_face = results.footers.iter().zip(&plan.clip.stills).filter(|(footer, _)| footer.counts.without_face > 0);
    let without_face: Vec<String> = without_face.map(|(_, still)| still.name.clone()).collect();
    let warning = (!without_face.is_empty()).then(|| format!("no face was found in {}", few(&without_face)));

    telemetry::stage(Stage::Join, started.elapsed());
    Ok(Joined {
        output: Output { location: run.job.output.clone(), version: None, bytes, stills: versions },
        counts: results.counts(),
        warnings: warning.into_iter().collect(),
        seconds: StageSeconds::from([(Stage::Join.as_str().to_owned(), started.elapsed().as_secs_f64())]),
    })
}

/// The file of one still, of the format that it came in.
async fn make(still: Still, source: PathBuf, file: ChunkFile, scratch: &Path) -> Result<PathBuf, JoinError> {
    let output = scratch.join("output");
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
            cancelled: &|| false,
            progress: &mut |_| crash::point("assemble.join.mux"),
        })?;
        Ok(output)
    });
    made.await.map_err(SiteError::from)?.map_err(JoinError::Media)
}
