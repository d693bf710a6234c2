//! One bucket's objects by their full keys: the requests, and what their answers mean.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::key::TEMPORARY;
use super::{Body, Listed, Meta, StoreError, Version, nonce};

mod answer;
mod multipart;

use answer::{Answer, sort};

/// Objects up to this size go up in one checksummed request.
const PART: u64 = 64 << 20;
/// User metadata that names the attempt which wrote an object.
const ATTEMPT: &str = "facemill-attempt";
/// A conflict (409) means that another write of the same key is under way.
const CONFLICT_ATTEMPTS: u32 = 6;
const CONFLICT_WAIT: Duration = Duration::from_millis(50);

/// When a put is to succeed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition<'a> {
    None,
    /// Nothing is there.
    Absent,
    Version(&'a Version),
}

impl Condition<'_> {
    /// The header `If-None-Match`.
    fn if_none_match(self) -> Option<String> {
        matches!(self, Self::Absent).then(|| "*".to_owned())
    }

    /// The header `If-Match`.
    fn if_match(self) -> Option<String> {
        if let Self::Version(version) = self { Some(version.0.clone()) } else { None }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    client: Client,
    name: String,
    part: u64,
}

impl Bucket {
    pub fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned(), part: PART }
    }

    #[cfg(test)]
    pub fn with_part_size(self, bytes: u64) -> Self {
        Self { part: bytes, ..self }
    }

    /// Puts an object; [`StoreError::Changed`] where the condition does not hold.
    pub async fn put(&self, key: &str, body: &Body, condition: Condition<'_>) -> Result<Version, StoreError> {
        let attempt = nonce();
        let mut wait = CONFLICT_WAIT;
        for _ in 1..CONFLICT_ATTEMPTS {
            match self.put_once(key, body, condition, &attempt).await {
                Err(Answer::Conflict) => tokio::time::sleep(wait).await,
                outcome => return self.conclude(key, outcome, &attempt).await,
            }
            wait *= 2;
        }
        let outcome = self.put_once(key, body, condition, &attempt).await;
        self.conclude(key, outcome, &attempt).await
    }

    async fn put_once(
        &self,
        key: &str,
        body: &Body,
        condition: Condition<'_>,
        attempt: &str,
    ) -> Result<Version, Answer> {
        let stream = match body {
            Body::Bytes(bytes) => ByteStream::from(bytes.clone()),
            Body::File(path) => {
                let read = |error: &dyn std::fmt::Display| Answer::unreadable(key, path, error);
                let size = tokio::fs::metadata(path).await.map_err(|error| read(&error))?.len();
                if size > self.part {
                    return self.put_parts(key, (path, size), condition, attempt).await;
                }
                ByteStream::from_path(path).await.map_err(|error| read(&error))?
            }
        };
        let put = self.client.put_object().bucket(&self.name).key(key).metadata(ATTEMPT, attempt);
        let put = put.set_if_none_match(condition.if_none_match()).set_if_match(condition.if_match());
        let done = put.body(stream).send().await.map_err(|error| sort("put", key, &error))?;
        version_of("put", key, done.e_tag).map_err(Answer::Error)
    }

    /// A condition that does not hold may be our own doing: the answer to a put that succeeded is lost, the SDK tries
    /// again and finds what we wrote. The attempt's name on the object tells.
    async fn conclude(
        &self,
        key: &str,
        outcome: Result<Version, Answer>,
        attempt: &str,
    ) -> Result<Version, StoreError> {
        match outcome {
            Ok(version) => Ok(version),
            Err(Answer::Error(error)) => Err(error),
            Err(Answer::Conflict) => {
                let reason = "others keep writing it (409)".to_owned();
                Err(StoreError::Unavailable { doing: "put", key: key.to_owned(), reason })
            }
            Err(Answer::ConditionFailed) => match self.head_attempt(key).await? {
                Some((meta, writer)) if writer.as_deref() == Some(attempt) => Ok(meta.version),
                _ => Err(StoreError::Changed { key: key.to_owned() }),
            },
        }
    }

    /// Reads an object of at most `max` bytes.
    pub async fn get(&self, key: &str, max: u64) -> Result<Bytes, StoreError> {
        let found = self.client.get_object().bucket(&self.name).key(key).send().await;
        let mut found = found.map_err(|error| sort("get", key, &error).into_error(key))?;
        let too_large = |size| Err(StoreError::TooLarge { key: key.to_owned(), size, max });
        let size = found.content_length.unwrap_or(0).max(0) as u64;
        if size > max {
            return too_large(size);
        }
        let mut bytes = Vec::with_capacity(size as usize);
        while let Some(chunk) = found.body.try_next().await.map_err(|error| broken("get", key, &error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > max {
                return too_large(bytes.len() as u64);
            }
        }
        Ok(bytes.into())
    }

    /// Reads the last `bytes` bytes of an object, or all of a shorter one.
    pub async fn tail(&self, key: &str, bytes: u64) -> Result<Bytes, StoreError> {
        let range = format!("bytes=-{bytes}");
        let found = self.client.get_object().bucket(&self.name).key(key).range(range).send().await;
        let found = found.map_err(|error| sort("get", key, &error).into_error(key))?;
        let tail = found.body.collect().await.map_err(|error| broken("get", key, &error))?;
        Ok(tail.into_bytes())
    }

    /// Streams an object to a file beside `to`, then renames it.
    pub async fn fetch(&self, key: &str, to: &Path) -> Result<u64, StoreError> {
        let found = self.client.get_object().bucket(&self.name).key(key).send().await;
        let found = found.map_err(|error| sort("fetch", key, &error).into_error(key))?;
        let beside = to.with_file_name(format!("{TEMPORARY}{}", nonce()));
        let written = async {
            let size = download(key, found.body, &beside).await?;
            tokio::fs::rename(&beside, to).await.map_err(|error| unwritable(key, &error))?;
            Ok(size)
        }
        .await;
        if written.is_err() {
            // What is left of it is of no use; that it may not exist is no matter.
            let _ = tokio::fs::remove_file(&beside).await;
        }
        written
    }

    /// `None` where there is no such object.
    pub async fn head(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        Ok(self.head_attempt(key).await?.map(|(meta, _)| meta))
    }

    /// With the name of the attempt that wrote it.
    async fn head_attempt(&self, key: &str) -> Result<Option<(Meta, Option<String>)>, StoreError> {
        let found = match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(found) => found,
            Err(error) => {
                return match sort("head", key, &error).into_error(key) {
                    StoreError::NotFound { .. } => Ok(None),
                    error => Err(error),
                };
            }
        };
        let writer = found.metadata.and_then(|mut metadata| metadata.remove(ATTEMPT));
        let meta = Meta {
            size: found.content_length.unwrap_or(0).max(0) as u64,
            version: version_of("head", key, found.e_tag)?,
            modified: time_of(found.last_modified),
        };
        Ok(Some((meta, writer)))
    }

    /// All objects whose keys begin with `prefix`, page by page.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::new();
        let mut pages = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| sort("list", prefix, &error).into_error(prefix))?;
            for object in page.contents.unwrap_or_default() {
                let Some(key) = object.key else { continue };
                let size = object.size.unwrap_or(0).max(0) as u64;
                listed.push(Listed { key, size, modified: time_of(object.last_modified) });
            }
        }
        listed.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(listed)
    }

    /// Deletes an object; with `if_version` only that version.
    pub async fn delete(&self, key: &str, if_version: Option<&Version>) -> Result<(), StoreError> {
        if let Some(version) = if_version {
            // Not all services honour If-Match on a delete; this narrows the gap on those.
            match self.head(key).await? {
                None => return Ok(()),
                Some(found) if found.version != *version => return Err(StoreError::Changed { key: key.to_owned() }),
                Some(_) => {}
            }
        }
        let delete = self.client.delete_object().bucket(&self.name).key(key);
        let deleted = delete.set_if_match(if_version.map(|version| version.0.clone())).send().await;
        match deleted.map_err(|error| sort("delete", key, &error).into_error(key)) {
            Err(StoreError::NotFound { .. }) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

async fn download(key: &str, mut body: ByteStream, to: &Path) -> Result<u64, StoreError> {
    let mut file = tokio::fs::File::create_new(to).await.map_err(|error| unwritable(key, &error))?;
    let mut size = 0;
    while let Some(chunk) = body.try_next().await.map_err(|error| broken("fetch", key, &error))? {
        file.write_all(&chunk).await.map_err(|error| unwritable(key, &error))?;
        size += chunk.len() as u64;
    }
    file.flush().await.map_err(|error| unwritable(key, &error))?;
    Ok(size)
}

/// The answer broke off or its checksum is wrong: another try may bring the rest.
fn broken(doing: &'static str, key: &str, error: &dyn std::error::Error) -> StoreError {
    let reason = aws_sdk_s3::error::DisplayErrorContext(error).to_string();
    StoreError::Unavailable { doing, key: key.to_owned(), reason }
}

/// The trouble is with the file here, not with the object.
fn unwritable(key: &str, error: &std::io::Error) -> StoreError {
    let reason = format!("local file: {error}");
    StoreError::Unavailable { doing: "fetch", key: key.to_owned(), reason }
}

fn version_of(doing: &'static str, key: &str, tag: Option<String>) -> Result<Version, StoreError> {
    let reason = || format!("the service gave no ETag (needed for conditional writes): {doing} {key}");
    tag.map(Version).ok_or_else(|| StoreError::Unsupported { reason: reason() })
}

fn time_of(time: Option<DateTime>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(time).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}
