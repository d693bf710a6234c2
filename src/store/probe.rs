//! Whether a store keeps its word is found out before anything is built on it: some stand-ins for S3 ignore conditions and say
//! that all is well.

use bytes::Bytes;

use super::{Body, ObjectStore, Put, StoreError, Version, nonce};

/// Checks that an object can be created and not a second time, and replaced and deleted only as the version that it is.
///
/// # Errors
/// [`StoreError::Unsupported`] where a condition is ignored or not known; whatever else stands in the way of writing.
pub async fn probe(store: &dyn ObjectStore) -> Result<(), StoreError> {
    let key = format!("probe/{}", nonce());
    let kept = conditions_kept(store, &key).await;
    // What cannot be deleted now is left to gc; what was found out counts for more.
    let cleared = store.delete(&key, None).await;
    kept.and(cleared)
}

async fn conditions_kept(store: &dyn ObjectStore, key: &str) -> Result<(), StoreError> {
    let body = |text: &'static str| Body::Bytes(Bytes::from_static(text.as_bytes()));
    if store.put_new(key, body("1")).await.map_err(unknown("If-None-Match"))? != Put::Created {
        return Err(unsupported("it says of a key that nobody has used that it is taken (If-None-Match)"));
    }
    if store.put_new(key, body("2")).await.map_err(unknown("If-None-Match"))? != Put::Exists {
        return Err(unsupported("it ignores If-None-Match: an object was created over one that was there"));
    }
    let Some(first) = store.head(key).await?.map(|meta| meta.version) else {
        return Err(unsupported("an object that was just written cannot be seen (it is not consistent)"));
    };
    let second = match store.replace(key, body("three"), Some(&first)).await.map_err(unknown("If-Match"))? {
        second if second != first => second,
        _ => return Err(unsupported("its ETag does not change with an object's content (If-Match needs it)")),
    };
    if !is_refused(store.replace(key, body("four"), Some(&first)).await)? {
        return Err(unsupported("it ignores If-Match: a version that was no longer there was replaced"));
    }
    if !is_refused(store.delete(key, Some(&first)).await)? {
        return Err(unsupported("it ignores If-Match: a version that was no longer there was deleted"));
    }
    let found: Option<Version> = store.head(key).await?.map(|meta| meta.version);
    if found.as_ref() != Some(&second) {
        return Err(unsupported("it ignores If-Match: a refused write has changed the object"));
    }
    Ok(())
}

/// Whether a write was refused for its condition.
fn is_refused<T>(outcome: Result<T, StoreError>) -> Result<bool, StoreError> {
    match outcome {
        Ok(_) => Ok(false),
        Err(StoreError::Changed { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// A header that the service does not know it may refuse in many ways; the condition holds, so no refusal is right.
fn unknown(header: &'static str) -> impl Fn(StoreError) -> StoreError {
    move |error| match error {
        StoreError::Changed { .. } => unsupported(&format!("it refuses {header} though the condition holds")),
        StoreError::Unsupported { reason } => unsupported(&format!("it does not know {header}: {reason}")),
        error => error,
    }
}

fn unsupported(found: &str) -> StoreError {
    let remedy = "use a store that honours conditional writes: Amazon S3, a current MinIO, Ceph or R2, or a folder";
    StoreError::Unsupported { reason: format!("{found} ({remedy})") }
}
