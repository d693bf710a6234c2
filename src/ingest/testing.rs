//! What tests of other roles need of ingest.

use super::*;

/// The plan of a job's folder, which nothing is wrong with.
pub async fn plan_of_folder(site: &Site, job: &Job, scratch: &Path) -> (Plan, Vec<String>) {
    folder::plan(site, job, scratch, &media::Limits::default()).await.unwrap()
}
