//! Answers that carry bytes: each arrives whole and in bounded time, or it is another try's business.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use super::Bucket;
use super::answer::sort;
use crate::store::key::TEMPORARY;
use crate::store::{StoreError, nonce};

/// Bytes that must arrive within each read limit: an answer that trickles is as good as one that stalls. At 60 s, 1 KiB a second.
const LEAST: u64 = 64 << 10;

impl Bucket {
    /// Reads an object of at most `max` bytes.
    pub async fn get(&self, key: &str, max: u64) -> Result<Bytes, StoreError> {
        let mut incoming = self.ask("get", key, None).await?;
        let too_large = |size| Err(StoreError::TooLarge { key: key.to_owned(), size, max });
        let size = incoming.expected.unwrap_or(0);
        if size > max {
            return too_large(size);
        }
        let mut bytes = Vec::with_capacity(size as usize);
        while let Some(piece) = incoming.next().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > max {
                return too_large(bytes.len() as u64);
            }
        }
        Ok(bytes.into())
    }

    /// Reads the last `bytes` bytes of an object, or all of a shorter one.
    pub async fn tail(&self, key: &str, bytes: u64) -> Result<Bytes, StoreError> {
        self.ask("get", key, Some(format!("bytes=-{bytes}"))).await?.all().await
    }

    /// Reads the first bytes of an object that is not empty, one at least.
    pub async fn head_bytes(&self, key: &str, bytes: u64) -> Result<Bytes, StoreError> {
        self.ask("get", key, Some(format!("bytes=0-{}", bytes.max(1) - 1))).await?.all().await
    }

    /// Streams an object to a file beside `to`, then renames it.
    pub async fn fetch(&self, key: &str, to: &Path) -> Result<u64, StoreError> {
        let incoming = self.ask("fetch", key, None).await?;
        let beside = to.with_file_name(format!("{TEMPORARY}{}", nonce()));
        let written = async {
            let size = download(incoming, &beside).await?;
            tokio::fs::rename(&beside, to).await.map_err(|error| StoreError::local("fetch", key, &error))?;
            Ok(size)
        }
        .await;
        if written.is_err() {
            // What is left of it is of no use; that it may not exist is no matter.
            let _ = tokio::fs::remove_file(&beside).await;
        }
        written
    }

    async fn ask<'a>(
        &self,
        doing: &'static str,
        key: &'a str,
        range: Option<String>,
    ) -> Result<Incoming<'a>, StoreError> {
        let get = self.client.get_object().bucket(&self.name).key(key).set_range(range);
        let found = get.send().await.map_err(|error| sort(doing, key, &error).into_error(key))?;
        let GetObjectOutput { body, content_length, .. } = found;
        let expected = content_length.and_then(|length| u64::try_from(length).ok());
        let limit = self.read_limit;
        Ok(Incoming { doing, key, body, expected, arrived: 0, limit, due: Instant::now() + limit, lately: 0 })
    }
}

async fn download(mut incoming: Incoming<'_>, to: &Path) -> Result<u64, StoreError> {
    let key = incoming.key;
    let local = |error: std::io::Error| StoreError::local("fetch", key, &error);
    let mut file = tokio::fs::File::create_new(to).await.map_err(local)?;
    while let Some(piece) = incoming.next().await? {
        file.write_all(&piece).await.map_err(local)?;
    }
    file.flush().await.map_err(local)?;
    Ok(incoming.arrived)
}

/// The bytes of an answer, as they arrive.
struct Incoming<'a> {
    doing: &'static str,
    key: &'a str,
    body: ByteStream,
    /// Its length, as its head says.
    expected: Option<u64>,
    arrived: u64,
    limit: Duration,
    /// By when [`LEAST`] bytes must have arrived, or the rest.
    due: Instant,
    /// What has arrived of them.
    lately: u64,
}

impl Incoming<'_> {
    async fn all(&mut self) -> Result<Bytes, StoreError> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }

    /// The next piece; none at the end of a whole answer.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        // A piece that is there already is taken, however late: it may be our disk that is slow.
        let piece = match timeout_at(self.due, self.body.try_next()).await {
            Err(_) => return Err(self.broken(format!("it stalls: {} bytes in {:?}", self.lately, self.limit))),
            // It broke off, or its checksum is wrong.
            Ok(Err(error)) => return Err(self.broken(DisplayErrorContext(error).to_string())),
            Ok(Ok(piece)) => piece,
        };
        let Some(piece) = piece else {
            let expected = self.expected.unwrap_or(self.arrived);
            let is_whole = self.arrived == expected;
            return if is_whole {
                Ok(None)
            } else {
                Err(self.broken(format!("it ends after {} of {expected} bytes", self.arrived)))
            };
        };
        self.arrived += piece.len() as u64;
        self.lately += piece.len() as u64;
        if self.lately >= LEAST {
            (self.due, self.lately) = (Instant::now() + self.limit, 0);
        }
        Ok(Some(piece))
    }

    /// Another try may bring the rest.
    fn broken(&self, reason: String) -> StoreError {
        StoreError::Unavailable { doing: self.doing, key: self.key.to_owned(), reason: format!("answer: {reason}") }
    }
}
