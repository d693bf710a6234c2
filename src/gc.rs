//! Deletes what is old and no open job needs. Several may run at once, and beside any number of roles; a run that is killed has
//! deleted less, and that is all.
//!
//! # Why nothing is deleted that a job relies on
//!
//! - **Jobs that were open before.** Every marker in `open/` is followed to its run, plan and slices, and all that these name is
//!   needed, whatever its age. A marker that cannot be followed ends gc: better nothing is deleted than the wrong thing.
//! - **Jobs that are accepted meanwhile.** The markers are read again after a page of candidates has been listed, and the
//!   candidates are judged by that.
//! - **Jobs that are being accepted**, whose run is not written yet and which therefore name nothing. A role that is about to
//!   rely on an object makes sure that it is young first ([`crate::site::Site::ensure_fresh`]): one older than the retention minus
//!   the longest job is written again. So what a job has found is either younger than the retention until the job has ended,
//!   or is a new version. What is deleted here is only the version whose age was judged (If-Match): after a renewal the delete is
//!   refused, and after a delete the renewal is, and then the role knows that the object is gone and makes it again.
//!   With that, an object's age must be judged by the retention of the roles: [`Settings::keep`] may be longer, never shorter.
//!   (A service that ignores If-Match on deletes leaves the milliseconds between looking and deleting, at the end of a month in
//!   which nobody needed the object. Then it is made again as any that is missing.)
//!
//! A job's own folder goes in one piece, when all of it is old and the job has no marker, `job.json` last: the id stays bound to its
//! content as long as anything else of the job is there. Before that go its runs, the first one first, and of each `run.json` before the
//! manifest: what of a run is there without its manifest would be taken for a run that has not ended, and be gone on with.

mod needs;
mod sweep;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::error::{Classify, Kind};
use crate::store::{ObjectStore, StoreError, Swept};

/// What is deleted.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Objects are kept this long after they were written; at least [`crate::site::Retention::keep`].
    pub keep: Duration,
    /// Nothing is deleted, only counted.
    pub dry_run: bool,
}

/// Puts that were begun longer ago than this will not be ended any more.
const UNFINISHED: Duration = Duration::from_secs(24 * 3600);

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Results of chunks.
    Results,
    /// Slices of clips.
    Slices,
    /// How clips are cut, and the digests of their slices.
    Plans,
    /// Which blob is a clip's usual look.
    Looks,
    /// Photos and looks.
    Blobs,
    /// What is in the folders of jobs.
    Jobs,
    /// What probes have left.
    Probes,
    /// What writers that died have left: temporary files, or unfinished uploads.
    Unfinished,
}

impl Class {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Results => "results",
            Self::Slices => "slices",
            Self::Plans => "plans",
            Self::Looks => "looks",
            Self::Blobs => "photos and looks",
            Self::Jobs => "objects of ended jobs",
            Self::Probes => "probes",
            Self::Unfinished => "unfinished puts",
        }
    }
}

/// How much of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How many.
    pub objects: u64,
    /// Together; unfinished uploads count nothing.
    pub bytes: u64,
}

/// What was deleted, or would have been.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By class; those of which there was nothing are left out.
    pub deleted: BTreeMap<Class, Tally>,
    /// Jobs that were open.
    pub open_jobs: usize,
}

impl Report {
    fn count(&mut self, class: Class, bytes: u64) {
        self.add(class, Swept { objects: 1, bytes });
    }

    fn add(&mut self, class: Class, swept: Swept) {
        if swept.objects > 0 {
            let tally = self.deleted.entry(class).or_default();
            tally.objects += swept.objects;
            tally.bytes += swept.bytes;
        }
    }
}

/// Why gc has stopped.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What an open job needs cannot be told.
    #[error(
        "open job {marker} cannot be read, so what it needs is not known and nothing more is deleted: {error} (submit the job again or cancel it)"
    )]
    Unreadable {
        /// Key of its marker.
        marker: String,
        /// What is wrong.
        error: String,
    },
    /// A slice of a clip that is being cut could not be looked at.
    #[error("scratch folder: {0}")]
    Scratch(#[from] std::io::Error),
    /// A task of ours has panicked.
    #[error("a task has ended without a result: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Classify for GcError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Unreadable { .. } | Self::Scratch(_) | Self::Task(_) => Kind::Fatal,
        }
    }
}

/// Goes through the whole store once.
pub async fn run(store: &dyn ObjectStore, settings: Settings) -> Result<Report, GcError> {
    let now = SystemTime::now();
    let before = |age: Duration| now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut sweep = sweep::Sweep::begin(store, before(settings.keep), settings.dry_run).await?;
    sweep.results().await?;
    sweep.sources().await?;
    sweep.blobs().await?;
    sweep.jobs().await?;
    sweep.probes(before(UNFINISHED)).await?;
    let mut report = sweep.end();
    match store.sweep(before(UNFINISHED), !settings.dry_run).await {
        Ok(swept) => report.add(Class::Unfinished, swept),
        // Some services have no such listing; they have life-cycle rules.
        Err(StoreError::Unsupported { reason }) => {
            tracing::warn!(reason, "unfinished uploads cannot be listed");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
