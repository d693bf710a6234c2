//! Large files go up in parts; the object appears when the last request succeeds, or not at all.

use std::path::Path;
use std::time::SystemTime;

use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::answer::{ABORT, Answer, sort};
use super::{ATTEMPT, Bucket, Condition, time_of, version_of};
use crate::store::{Attempt, StoreError, Swept, Version};

/// Parts on the way at once: enough to fill a fast line.
const PARALLEL: usize = 4;
/// S3 takes 10,000.
const MAX_PARTS: u64 = 9_000;

/// An upload under way. Dropped before it is over (its task was aborted) it is aborted from a task of its own, which nobody awaits: drop cannot.
struct Upload<'a> {
    bucket: &'a Bucket,
    key: &'a str,
    id: String,
    is_over: bool,
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.is_over {
            let (bucket, key, id) = (self.bucket.clone(), self.key.to_owned(), std::mem::take(&mut self.id));
            runtime.spawn(async move { bucket.abort_or_warn(&key, &id).await });
        }
    }
}

impl Bucket {
    /// Puts the `size` bytes of a file, which are more than one part. Nothing is left behind on failure or when it is dropped, unless the
    /// process dies: then the next put of the same output ([`Bucket::abort_uploads_of`]), [`Bucket::sweep`] or a life-cycle rule of the
    /// bucket removes unfinished uploads.
    pub(super) async fn put_parts(
        &self,
        key: &str,
        (path, size): (&Path, u64),
        condition: Condition<'_>,
        attempt: &Attempt,
    ) -> Result<Version, Answer> {
        let create = self.client.create_multipart_upload().bucket(&self.name).key(key).metadata(ATTEMPT, &attempt.0);
        let begun = create.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await;
        let upload = begun.map_err(|error| sort("begin upload of", key, &error))?.upload_id.unwrap_or_default();
        let mut upload = Upload { bucket: self, key, id: upload, is_over: false };

        let outcome = async {
            let parts = self.upload_parts(key, &upload.id, (path, size)).await?;
            let complete = self.client.complete_multipart_upload().bucket(&self.name).key(key).upload_id(&upload.id);
            let complete = complete
                .set_if_none_match(condition.if_none_match())
                .set_if_match(condition.if_match())
                .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build());
            let done = complete.send().await.map_err(|error| sort("complete upload of", key, &error))?;
            version_of("put", key, done.e_tag).map_err(Answer::Error)
        }
        .await;

        if outcome.is_err() {
            self.abort_or_warn(key, &upload.id).await;
        }
        upload.is_over = true;
        outcome
    }

    async fn upload_parts(
        &self,
        key: &str,
        upload: &str,
        (path, size): (&Path, u64),
    ) -> Result<Vec<CompletedPart>, Answer> {
        let part = self.part.max(size.div_ceil(MAX_PARTS));
        let uploads = (0..size.div_ceil(part)).map(|index| async move {
            let offset = index * part;
            let length = Length::Exact(part.min(size - offset));
            let read = ByteStream::read_from().path(path).offset(offset).length(length).build().await;
            let body = read.map_err(|error| Answer::unreadable(key, path, &error))?;
            let number = index as i32 + 1;
            let send = self.client.upload_part().bucket(&self.name).key(key).upload_id(upload).part_number(number);
            let send = send.checksum_algorithm(ChecksumAlgorithm::Crc32).body(body);
            let sent = send.customize().config_override(self.time_for(part)).send().await;
            let sent = sent.map_err(|error| sort("upload part of", key, &error))?;
            let completed = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
            Ok(completed.set_checksum_crc32(sent.checksum_crc32).build())
        });
        stream::iter(uploads).buffered(PARALLEL).try_collect().await
    }

    /// Aborts uploads under `prefix` that were begun before `before`; without `delete` only counts them. The service does not
    /// tell how large they are without being asked for each.
    pub async fn sweep(&self, prefix: &str, before: SystemTime, delete: bool) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        for (key, upload) in self.uploads(prefix, before).await? {
            if delete {
                self.abort(&key, &upload).await?;
            }
            swept.objects += 1;
        }
        Ok(swept)
    }

    /// Aborts uploads of this very object that were begun before `before`. It is of no matter if that fails.
    pub async fn abort_uploads_of(&self, key: &str, before: SystemTime) {
        let aborted = async {
            for (found, upload) in self.uploads(key, before).await?.iter().filter(|(found, _)| found == key) {
                self.abort(found, upload).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = aborted.await {
            debug!(key, %error, "unfinished uploads are left to the bucket's life-cycle rule");
        }
    }

    /// Key and id of unfinished uploads under `prefix` that were begun before `before`.
    async fn uploads(&self, prefix: &str, before: SystemTime) -> Result<Vec<(String, String)>, StoreError> {
        let mut found = Vec::new();
        let (mut key_marker, mut upload_marker) = (None, None);
        loop {
            let list = self.client.list_multipart_uploads().bucket(&self.name).prefix(prefix);
            let list = list.set_key_marker(key_marker).set_upload_id_marker(upload_marker).send().await;
            let page = list.map_err(|error| sort("list uploads of", prefix, &error).into_error(prefix))?;
            let uploads = page.uploads.unwrap_or_default().into_iter();
            let old = uploads.filter(|upload| time_of(upload.initiated) < before);
            found.extend(old.filter_map(|upload| Some((upload.key?, upload.upload_id?))));
            (key_marker, upload_marker) = (page.next_key_marker, page.next_upload_id_marker);
            if !page.is_truncated.unwrap_or(false) || key_marker.is_none() {
                return Ok(found);
            }
        }
    }

    async fn abort_or_warn(&self, key: &str, upload: &str) {
        if let Err(error) = self.abort(key, upload).await {
            warn!(key, %error, "unfinished upload left to facemill gc or the bucket's life-cycle rule");
        }
    }

    /// Done already where somebody else was quicker.
    async fn abort(&self, key: &str, upload: &str) -> Result<(), StoreError> {
        let abort = self.client.abort_multipart_upload().bucket(&self.name).key(key).upload_id(upload);
        match abort.send().await.map_err(|error| sort(ABORT, key, &error).into_error(key)) {
            Err(StoreError::NotFound { .. }) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}
