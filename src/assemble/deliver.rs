//! A made file goes to its place: signed, announced, and put over nothing but what stood there when the job was accepted.
//!
//! No two signatures are the same, so a file that is made again after a crash is not the one that was put. Therefore the digest of each
//! is written into the store before it goes: what is found in the place and was announced by this run is ours.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::contract::{Digest, Run, keys};
use crate::crash;
use crate::credentials::{Parent, Signed, Statement};
use crate::seal;
use crate::site::{Site, SiteError};
use crate::store::{Expected, Location, LocationError, Version};

use super::join::{JoinError, Work, ensure_wanted};

/// The extension of credentials that lie beside their file.
const SIDECAR: &str = "c2pa";

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
    let sidecar = sign(work, &made).await?;
    crash::point("assemble.output.signed");
    let sha256 = digest(made.file).await?;
    let bytes = tokio::fs::metadata(made.file).await.map_err(SiteError::from)?.len();
    site.put_json(&keys::delivery(&run.job.job, run.run, &sha256), &()).await?;
    crash::point("assemble.output.announced");
    // Only beside what is to be replaced. Where something else stands it is this run's own, with its credentials, or somebody's.
    let stands = site.locations.version(&made.place).await.map_err(JoinError::Output)?;
    let is_as_it_was = stands.map(|version| version.to_string()).as_ref() == made.before;
    if let Some(sidecar) = sidecar.filter(|_| is_as_it_was) {
        let beside = made.place.with_extension(SIDECAR);
        let before = site.locations.version(&beside).await.map_err(JoinError::Output)?;
        ensure_wanted(site, run, stop).await?;
        match site.locations.put(&beside, &sidecar, before.map_or(Expected::Absent, Expected::Version)).await {
            // Another assembler of this run: whatever is made of the same results is the same, and these credentials hold for it.
            Ok(()) | Err(LocationError::Changed { .. }) => {}
            Err(error) => return Err(JoinError::Output(error)),
        }
        crash::point("assemble.sidecar.put");
    }
    ensure_wanted(site, run, stop).await?;
    let delivered = put_in_place(site, run, &made, Delivered { version: None, bytes, sha256 }).await?;
    crash::point("assemble.output.put");
    Ok(delivered)
}

/// Signs the file; returns the credentials that have to lie beside it.
async fn sign(work: &Work, made: &Made<'_>) -> Result<Option<PathBuf>, JoinError> {
    let Some(credentials) = &work.credentials else { return Ok(None) };
    let name = made.place.name().to_owned();
    let signed = work.site.patiently("sign", &name, || {
        let (credentials, run, title) = (credentials.clone(), work.run.clone(), name.clone());
        let (file, format, parent) = (made.file.to_owned(), made.format.to_owned(), made.parent.clone());
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

/// Replaces what stood at the output when the job was accepted, and nothing else.
async fn put_in_place(site: &Site, run: &Run, made: &Made<'_>, ours: Delivered) -> Result<Delivered, JoinError> {
    let Made { file, place, before, .. } = made;
    let expected = match before {
        Some(version) => Expected::Version(Version((*version).clone())),
        None => Expected::Absent,
    };
    match site.locations.put(place, file, expected).await {
        Ok(()) => {
            let version = site.locations.version(place).await.map_err(JoinError::Output)?;
            Ok(Delivered { version, ..ours })
        }
        Err(LocationError::Changed { .. }) => {
            // Before a crash this very run may have put it there, or another assembler that has the same job in hand.
            let there = file.with_extension("there");
            let version = site.locations.version(place).await.map_err(JoinError::Output)?;
            let bytes = site.locations.fetch(place, &there).await.map_err(JoinError::Output)?;
            let sha256 = digest(&there).await?;
            let announced = site.store.head(&keys::delivery(&run.job.job, run.run, &sha256)).await;
            match announced.map_err(SiteError::from)? {
                Some(_) => Ok(Delivered { version, bytes, sha256 }),
                None => Err(JoinError::OutputChanged(place.to_string())),
            }
        }
        Err(error) => Err(JoinError::Output(error)),
    }
}
