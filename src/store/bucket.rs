//! One bucket's objects by their full keys: the requests, and what their answers mean.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::Object;

use super::connect::Service;
use super::{Attempt, Body, EntryKind, Listed, Meta, StoreError, Version};

mod answer;
mod multipart;
mod read;

use answer::{Answer, sort};

/// Objects up to this size go up in one checksummed request.
const PART: u64 = 64 << 20;
/// The slowest line that an upload is given time for, bytes per second: the SDK's time-out for an answer runs while the body goes up.
const SLOWEST: u64 = 128 << 10;
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
    read_limit: Duration,
}

impl Bucket {
    pub fn new(service: Service, name: &str) -> Self {
        Self { client: service.client, name: name.to_owned(), part: PART, read_limit: service.read_limit }
    }

    #[cfg(test)]
    pub fn with_part_size(self, bytes: u64) -> Self {
        Self { part: bytes, ..self }
    }

    /// Puts an object; [`StoreError::Changed`] where the condition does not hold.
    pub async fn put(
        &self,
        key: &str,
        body: &Body,
        condition: Condition<'_>,
        attempt: &Attempt,
    ) -> Result<Version, StoreError> {
        let mut wait = CONFLICT_WAIT;
        for _ in 1..CONFLICT_ATTEMPTS {
            match self.put_once(key, body, condition, attempt).await {
                Err(Answer::Conflict) => tokio::time::sleep(wait).await,
                outcome => return self.conclude(key, condition, outcome, attempt).await,
            }
            wait *= 2;
        }
        let outcome = self.put_once(key, body, condition, attempt).await;
        self.conclude(key, condition, outcome, attempt).await
    }

    async fn put_once(
        &self,
        key: &str,
        body: &Body,
        condition: Condition<'_>,
        attempt: &Attempt,
    ) -> Result<Version, Answer> {
        let (stream, size) = match body {
            Body::Bytes(bytes) => (ByteStream::from(bytes.clone()), bytes.len() as u64),
            Body::File(path) => {
                let read = |error: &dyn std::fmt::Display| Answer::unreadable(key, path, error);
                let size = tokio::fs::metadata(path).await.map_err(|error| read(&error))?.len();
                if size > self.part {
                    return self.put_parts(key, (path, size), condition, attempt).await;
                }
                (ByteStream::from_path(path).await.map_err(|error| read(&error))?, size)
            }
        };
        let put = self.client.put_object().bucket(&self.name).key(key).metadata(ATTEMPT, &attempt.0);
        let put = put.set_if_none_match(condition.if_none_match()).set_if_match(condition.if_match());
        let put = put.body(stream).customize().config_override(self.time_for(size));
        let done = put.send().await.map_err(|error| sort("put", key, &error))?;
        version_of("put", key, done.e_tag).map_err(Answer::Error)
    }

    /// How long the answer to an upload of `size` bytes may take.
    fn time_for(&self, size: u64) -> Builder {
        let limit = self.read_limit + Duration::from_secs(size / SLOWEST);
        Builder::default().timeout_config(TimeoutConfig::builder().read_timeout(limit).build())
    }

    /// A condition that does not hold may be our own doing: the answer to a put that succeeded is lost, the SDK or our caller
    /// tries again and finds what we wrote. The attempt's name on the object tells.
    async fn conclude(
        &self,
        key: &str,
        condition: Condition<'_>,
        outcome: Result<Version, Answer>,
        attempt: &Attempt,
    ) -> Result<Version, StoreError> {
        match outcome {
            Ok(version) => Ok(version),
            // The version is asked for, and nothing is there at all.
            Err(Answer::Error(StoreError::NotFound { key })) if matches!(condition, Condition::Version(_)) => {
                Err(StoreError::Changed { key })
            }
            Err(Answer::Error(error)) => Err(error),
            Err(Answer::Conflict) => {
                let reason = "others keep writing it (409)".to_owned();
                Err(StoreError::Unavailable { doing: "put", key: key.to_owned(), reason })
            }
            Err(Answer::ConditionFailed) => match self.head_attempt(key).await? {
                Some((meta, writer)) if writer.as_ref() == Some(&attempt.0) => Ok(meta.version),
                _ => Err(StoreError::Changed { key: key.to_owned() }),
            },
        }
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
        let mut found = Vec::new();
        let mut pages = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| sort("list", prefix, &error).into_error(prefix))?;
            found.extend(page.contents.unwrap_or_default().into_iter().filter_map(listed));
        }
        found.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    /// What lies right below `folder`, which ends with `/` or is empty; `None` if that is more than `max`.
    pub async fn list_folder(&self, folder: &str, max: usize) -> Result<Option<Vec<(String, EntryKind)>>, StoreError> {
        let mut found = Vec::new();
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(folder).delimiter("/");
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| sort("list", folder, &error).into_error(folder))?;
            let name = |key: &str| key.strip_prefix(folder).map(|name| name.trim_end_matches('/').to_owned());
            for object in page.contents.unwrap_or_default().into_iter().filter_map(listed) {
                let kind = if object.size == 0 { EntryKind::Empty } else { EntryKind::File };
                found.extend(name(&object.key).map(|name| (name, kind)));
            }
            let below = page.common_prefixes.unwrap_or_default().into_iter().filter_map(|folder| folder.prefix);
            found.extend(below.filter_map(|key| name(&key)).map(|name| (name, EntryKind::Folder)));
            if found.len() > max {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// At most a thousand objects whose keys begin with `prefix` and come after `after`, by key.
    pub async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        let page = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let page = page.set_start_after((!after.is_empty()).then(|| after.to_owned())).send().await;
        let page = page.map_err(|error| sort("list", prefix, &error).into_error(prefix))?;
        Ok(page.contents.unwrap_or_default().into_iter().filter_map(listed).collect())
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

fn listed(object: Object) -> Option<Listed> {
    let size = object.size.unwrap_or(0).max(0) as u64;
    Some(Listed { key: object.key?, size, modified: time_of(object.last_modified) })
}

fn version_of(doing: &'static str, key: &str, tag: Option<String>) -> Result<Version, StoreError> {
    let reason = || format!("the service gave no ETag (needed for conditional writes): {doing} {key}");
    tag.map(Version).ok_or_else(|| StoreError::Unsupported { reason: reason() })
}

fn time_of(time: Option<DateTime>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(time).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}
