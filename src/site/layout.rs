//! What a store was laid out with, for ever: `layout.json`.

use tracing::info;

use crate::contract::{Layout, VERSION, keys, topics};
use crate::error::{Classify, Kind};
use crate::seal;
use crate::store::{Body, ObjectStore, StoreError};

/// Largest `layout.json` that is read, bytes.
const LAYOUT_MAX: u64 = 64 << 10;

/// Why a store and a cluster do not belong together.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Its form is not known.
    #[error(
        "{} of the store cannot be read: {error} (it was written by another version of this program, or by hand)",
        keys::LAYOUT
    )]
    Unreadable {
        /// What is wrong.
        error: String,
    },
    /// Jobs that are open could not be found by those who should.
    #[error(
        "topic {topic} has {found} partitions, the store was laid out for {expected} (its {}): use the topics it was laid out with, \
         grow {topic} to {expected} partitions, or use another store",
        keys::LAYOUT
    )]
    TooFewPartitions {
        /// The topic.
        topic: &'static str,
        /// What it has.
        found: i32,
        /// What the store says.
        expected: i32,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classify for LayoutError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Unreadable { .. } | Self::TooFewPartitions { .. } => Kind::Fatal,
        }
    }
}

/// The number of partitions over which jobs are spread. Open jobs are listed by it, so the first who comes writes down how many
/// `completions` has, and that number holds for ever: a topic that grows later gets its jobs in the first partitions only.
///
/// `partitions` are the partitions of `jobs`, `completions` and `status`.
pub async fn job_partitions(store: &dyn ObjectStore, partitions: &[(&'static str, i32)]) -> Result<i32, LayoutError> {
    let ours = partitions.iter().find(|(topic, _)| *topic == topics::COMPLETIONS).map_or(1, |(_, count)| *count);
    let bytes = seal::to_json(&Layout { v: VERSION, job_partitions: ours });
    let bytes = bytes.map_err(|error| LayoutError::Unreadable { error: error.to_string() })?;
    store.put_new(keys::LAYOUT, Body::Bytes(bytes.into())).await?;
    let expected = read(store).await?;
    if let Some(&(topic, found)) = partitions.iter().find(|(_, count)| *count < expected) {
        return Err(LayoutError::TooFewPartitions { topic, found, expected });
    }
    if ours != expected {
        info!(partitions = ours, used = expected, "the store was laid out for fewer partitions than there are");
    }
    Ok(expected)
}

/// The number of partitions over which jobs are spread, for those who have no role; none before the first role has come.
pub async fn laid_out(store: &dyn ObjectStore) -> Result<Option<i32>, LayoutError> {
    match read(store).await {
        Err(LayoutError::Store(StoreError::NotFound { .. })) => Ok(None),
        read => read.map(Some),
    }
}

async fn read(store: &dyn ObjectStore) -> Result<i32, LayoutError> {
    let layout = store.get(keys::LAYOUT, LAYOUT_MAX).await?;
    let layout: Layout = seal::from_json(&layout).map_err(|error| LayoutError::Unreadable { error })?;
    if layout.v != VERSION || layout.job_partitions < 1 {
        let error = format!("v is {}, job_partitions is {}", layout.v, layout.job_partitions);
        return Err(LayoutError::Unreadable { error });
    }
    Ok(layout.job_partitions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FsStore;

    async fn outcome(store: &FsStore, partitions: [i32; 3]) -> Result<i32, String> {
        let topics = [topics::JOBS, topics::COMPLETIONS, topics::STATUS];
        let partitions: Vec<_> = topics.into_iter().zip(partitions).collect();
        job_partitions(store, &partitions).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_first_number_holds() {
        let folder = tempfile::tempdir().unwrap();
        let store = FsStore::open(folder.path()).await.unwrap();
        assert_eq!(laid_out(&store).await.unwrap(), None);
        assert_eq!(outcome(&store, [12, 12, 12]).await, Ok(12));
        assert_eq!(outcome(&store, [24, 24, 12]).await, Ok(12), "a topic that has grown changes nothing");
        assert_eq!(laid_out(&store).await.unwrap(), Some(12));
        let refused = outcome(&store, [12, 12, 8]).await.unwrap_err();
        assert!(refused.starts_with("topic status has 8 partitions, the store was laid out for 12"), "{refused}");
    }

    #[tokio::test]
    async fn a_layout_of_another_form_is_refused() {
        for text in ["", "{}", r#"{"v":2,"job_partitions":12}"#, r#"{"v":1,"job_partitions":0}"#] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(keys::LAYOUT), text).unwrap();
            let store = FsStore::open(folder.path()).await.unwrap();
            let refused = outcome(&store, [12, 12, 12]).await.unwrap_err();
            assert!(refused.contains("layout.json of the store cannot be read"), "{text}: {refused}");
            assert!(matches!(laid_out(&store).await, Err(LayoutError::Unreadable { .. })), "{text}");
        }
    }
}
