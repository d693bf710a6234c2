//! A prefix of a bucket as an object store.

use std::path::Path;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::bucket::{Bucket, Condition};
use super::connect::Service;
use super::{Attempt, Body, Listed, Meta, ObjectStore, Put, StoreError, Swept, Version, key};

/// Objects under `s3://bucket/prefix/`.
#[derive(Clone, Debug)]
pub struct S3Store {
    bucket: Bucket,
    /// Ends with `/`, or is empty.
    prefix: String,
}

impl S3Store {
    pub(super) fn new(service: Service, bucket: &str, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { bucket: Bucket::new(service, bucket), prefix }
    }

    fn full(&self, key: &str) -> Result<String, StoreError> {
        key::validate(key)?;
        Ok(format!("{}{key}", self.prefix))
    }

    /// Their keys without the prefix.
    fn ours(&self, mut listed: Vec<Listed>) -> Vec<Listed> {
        for object in &mut listed {
            object.key.drain(..self.prefix.len());
        }
        listed
    }

    #[cfg(test)]
    pub(super) fn with_part_size(mut self, bytes: u64) -> Self {
        self.bucket = self.bucket.with_part_size(bytes);
        self
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put_new_as(&self, key: &str, body: Body, attempt: &Attempt) -> Result<Put, StoreError> {
        match self.bucket.put(&self.full(key)?, &body, Condition::Absent, attempt).await {
            Ok(_) => Ok(Put::Created),
            Err(StoreError::Changed { .. }) => Ok(Put::Exists),
            Err(error) => Err(error),
        }
    }

    async fn replace_as(
        &self,
        key: &str,
        body: Body,
        expected: Option<&Version>,
        attempt: &Attempt,
    ) -> Result<Version, StoreError> {
        let condition = expected.map_or(Condition::None, Condition::Version);
        self.bucket.put(&self.full(key)?, &body, condition, attempt).await
    }

    async fn get(&self, key: &str, max: u64) -> Result<Bytes, StoreError> {
        self.bucket.get(&self.full(key)?, max).await
    }

    async fn fetch(&self, key: &str, to: &Path) -> Result<u64, StoreError> {
        self.bucket.fetch(&self.full(key)?, to).await
    }

    async fn tail(&self, key: &str, bytes: u64) -> Result<Bytes, StoreError> {
        self.bucket.tail(&self.full(key)?, bytes).await
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        self.bucket.head(&self.full(key)?).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let listed = self.bucket.list(&format!("{}{prefix}", self.prefix)).await?;
        Ok(self.ours(listed))
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        let full_after = if after.is_empty() { String::new() } else { format!("{}{after}", self.prefix) };
        let listed = self.bucket.list_after(&format!("{}{prefix}", self.prefix), &full_after).await?;
        Ok(self.ours(listed))
    }

    async fn delete(&self, key: &str, if_version: Option<&Version>) -> Result<(), StoreError> {
        self.bucket.delete(&self.full(key)?, if_version).await
    }

    async fn sweep(&self, before: SystemTime, delete: bool) -> Result<Swept, StoreError> {
        self.bucket.sweep(&self.prefix, before, delete).await
    }
}
