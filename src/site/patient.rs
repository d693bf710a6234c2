//! A store that is away for a while is waited for, in place: no caller has to know.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::retry::retry;
use crate::store::{Attempt, Body, Listed, Meta, ObjectStore, Put, StoreError, Swept, Version};

/// A store whose requests are tried again while it is away.
///
/// A write keeps its name over all tries, so that one whose answer was lost is known as done ([`Put::Created`]).
pub struct Patient {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// How long it may be away.
    pub patience: Duration,
}

impl Patient {
    async fn again<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        doing: &'static str,
        key: &str,
        request: impl FnMut() -> F,
    ) -> Result<T, StoreError> {
        retry(self.patience, doing, key, request).await
    }
}

#[async_trait]
impl ObjectStore for Patient {
    async fn put_new_as(&self, key: &str, body: Body, attempt: &Attempt) -> Result<Put, StoreError> {
        self.again("put", key, || self.store.put_new_as(key, body.clone(), attempt)).await
    }

    async fn replace_as(
        &self,
        key: &str,
        body: Body,
        expected: Option<&Version>,
        attempt: &Attempt,
    ) -> Result<Version, StoreError> {
        self.again("replace", key, || self.store.replace_as(key, body.clone(), expected, attempt)).await
    }

    async fn get(&self, key: &str, max: u64) -> Result<Bytes, StoreError> {
        self.again("get", key, || self.store.get(key, max)).await
    }

    async fn fetch(&self, key: &str, to: &Path) -> Result<u64, StoreError> {
        self.again("fetch", key, || self.store.fetch(key, to)).await
    }

    async fn tail(&self, key: &str, bytes: u64) -> Result<Bytes, StoreError> {
        self.again("get", key, || self.store.tail(key, bytes)).await
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        self.again("head", key, || self.store.head(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.again("list", prefix, || self.store.list(prefix)).await
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        self.again("list", prefix, || self.store.list_after(prefix, after)).await
    }

    async fn delete(&self, key: &str, if_version: Option<&Version>) -> Result<(), StoreError> {
        self.again("delete", key, || self.store.delete(key, if_version)).await
    }

    async fn sweep(&self, before: SystemTime, delete: bool) -> Result<Swept, StoreError> {
        self.again("sweep", "unfinished puts", || self.store.sweep(before, delete)).await
    }
}
