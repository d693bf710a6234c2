//! Every request to the store is counted and timed, each try by itself.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::store::{Attempt, Body, Listed, Meta, ObjectStore, Put, StoreError, Swept, Version};
use crate::telemetry::{self, StoreOperation, StoreOutcome};

/// A store that counts and times its requests.
pub struct Metered(pub Arc<dyn ObjectStore>);

/// Counts and times one request.
async fn time<T>(
    operation: StoreOperation,
    request: impl Future<Output = Result<T, StoreError>>,
    outcome: impl Fn(&T) -> StoreOutcome,
) -> Result<T, StoreError> {
    let started = Instant::now();
    let answer = request.await;
    let outcome = match &answer {
        Ok(answer) => outcome(answer),
        Err(StoreError::NotFound { .. }) => StoreOutcome::NotFound,
        Err(StoreError::Changed { .. }) => StoreOutcome::Exists,
        Err(_) => StoreOutcome::Error,
    };
    telemetry::store_request(operation, outcome, started.elapsed());
    answer
}

fn ok<T>(_: &T) -> StoreOutcome {
    StoreOutcome::Ok
}

#[async_trait]
impl ObjectStore for Metered {
    async fn put_new_as(&self, key: &str, body: Body, attempt: &Attempt) -> Result<Put, StoreError> {
        let outcome = |put: &Put| match put {
            Put::Created => StoreOutcome::Ok,
            Put::Exists => StoreOutcome::Exists,
        };
        time(StoreOperation::PutNew, self.0.put_new_as(key, body, attempt), outcome).await
    }

    async fn replace_as(
        &self,
        key: &str,
        body: Body,
        expected: Option<&Version>,
        attempt: &Attempt,
    ) -> Result<Version, StoreError> {
        time(StoreOperation::Replace, self.0.replace_as(key, body, expected, attempt), ok).await
    }

    async fn get(&self, key: &str, max: u64) -> Result<Bytes, StoreError> {
        time(StoreOperation::Get, self.0.get(key, max), ok).await
    }

    async fn fetch(&self, key: &str, to: &Path) -> Result<u64, StoreError> {
        time(StoreOperation::Fetch, self.0.fetch(key, to), ok).await
    }

    async fn tail(&self, key: &str, bytes: u64) -> Result<Bytes, StoreError> {
        time(StoreOperation::Tail, self.0.tail(key, bytes), ok).await
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        let outcome = |meta: &Option<Meta>| if meta.is_some() { StoreOutcome::Ok } else { StoreOutcome::NotFound };
        time(StoreOperation::Head, self.0.head(key), outcome).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        time(StoreOperation::List, self.0.list(prefix), ok).await
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        time(StoreOperation::List, self.0.list_after(prefix, after), ok).await
    }

    async fn delete(&self, key: &str, if_version: Option<&Version>) -> Result<(), StoreError> {
        time(StoreOperation::Delete, self.0.delete(key, if_version), ok).await
    }

    /// Many requests in one, so not counted as one.
    async fn sweep(&self, before: SystemTime, delete: bool) -> Result<Swept, StoreError> {
        self.0.sweep(before, delete).await
    }
}
