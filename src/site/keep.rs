//! Objects that may be damaged, or old enough to fall to gc: what a role does before it relies on one.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tracing::{debug, warn};

use crate::contract::Digest;
use crate::seal;
use crate::store::{Body, StoreError};

use super::{Site, SiteError};

/// How long objects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// gc removes what no open job needs and is older than this.
    pub keep: Duration,
    /// How long a job may be open.
    pub longest_job: Duration,
}

impl Retention {
    /// What is younger outlasts any job that relies on it from now on.
    pub fn fresh(&self) -> Duration {
        self.keep.saturating_sub(self.longest_job)
    }
}

/// Why an object could not be fetched as it should be.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It was damaged in the store.
    #[error("object {key} was damaged: its sha256 was {found}, expected {expected}; it was deleted, to be made again")]
    Corrupt {
        /// Its key.
        key: String,
        /// Digest of what was there.
        found: Digest,
        /// Digest of what should have been.
        expected: Digest,
    },
    /// Something else; also that it is not there ([`StoreError::NotFound`]).
    #[error(transparent)]
    Site(#[from] SiteError),
}

impl From<CheckError> for SiteError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Corrupt { ref key, .. } => Self::BadObject { key: key.clone(), error: error.to_string() },
            CheckError::Site(error) => error,
        }
    }
}

impl Site {
    /// Fetches an object that must have digest `expected`. One that has not is deleted, so that it can be made again.
    pub async fn fetch_checked(&self, key: &str, to: &Path, expected: &Digest) -> Result<(), CheckError> {
        let found = self.fetch_digest(key, to).await?;
        if found == *expected {
            return Ok(());
        }
        let expected = *expected;
        let is_whole = move |path: &Path| seal::digest_file(path).is_ok_and(|digest| digest == expected);
        if self.delete_corrupt(key, is_whole).await? {
            return Err(CheckError::Corrupt { key: key.to_owned(), found, expected });
        }
        // It was damaged on its way only, or is made again already.
        match self.fetch_digest(key, to).await? {
            again if again == expected => Ok(()),
            found => Err(CheckError::Corrupt { key: key.to_owned(), found, expected }),
        }
    }

    /// Deletes an object that was found to be damaged, after a second look with `is_whole`: what was damaged on its way here, or
    /// has been made again meanwhile, stays. Whether it is gone.
    pub async fn delete_corrupt(
        &self,
        key: &str,
        is_whole: impl FnOnce(&Path) -> bool + Send + 'static,
    ) -> Result<bool, SiteError> {
        // Before the second look: only what was looked at is deleted.
        let Some(meta) = self.store.head(key).await? else { return Ok(true) };
        let scratch = self.scratch("check")?;
        let path = scratch.path().join("object");
        match self.store.fetch(key, &path).await {
            Err(StoreError::NotFound { .. }) => return Ok(true),
            fetched => fetched?,
        };
        if tokio::task::spawn_blocking(move || is_whole(&path)).await? {
            return Ok(false);
        }
        match self.store.delete(key, Some(&meta.version)).await {
            // Somebody else has deleted it and made it again.
            Err(StoreError::Changed { .. }) => Ok(false),
            Err(error) => Err(error.into()),
            Ok(()) => {
                warn!(key, bytes = meta.size, "object was damaged; deleted");
                Ok(true)
            }
        }
    }

    /// Makes sure that gc does not take an object while a job that begins to rely on it now is open: one that is old is written
    /// again, and so young. Whether it is there.
    ///
    /// One request while it is young.
    pub async fn ensure_fresh(&self, key: &str) -> Result<bool, SiteError> {
        loop {
            let Some(meta) = self.store.head(key).await? else { return Ok(false) };
            let age = SystemTime::now().duration_since(meta.modified).unwrap_or_default();
            if age <= self.retention.fresh() {
                return Ok(true);
            }
            let scratch = self.scratch("renew")?;
            let path = scratch.path().join("object");
            match self.store.fetch(key, &path).await {
                Err(StoreError::NotFound { .. }) => return Ok(false),
                fetched => fetched?,
            };
            match self.store.replace(key, Body::File(path), Some(&meta.version)).await {
                Ok(_) => {
                    debug!(key, ?age, "renewed");
                    return Ok(true);
                }
                // Renewed by somebody else, or deleted: looked at again.
                Err(StoreError::Changed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
