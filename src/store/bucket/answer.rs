//! What S3's answers mean for us.

use std::fmt;
use std::path::Path;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::store::StoreError;

/// An upload that is gone is aborted already; to all others it is an upload to begin anew.
pub(super) const ABORT: &str = "abort upload of";

/// An answer that is no success.
#[derive(Debug)]
pub(super) enum Answer {
    /// 412.
    ConditionFailed,
    /// 409: somebody else writes the same key at this moment.
    Conflict,
    Error(StoreError),
}

impl Answer {
    pub fn unreadable(key: &str, path: &Path, error: &dyn fmt::Display) -> Self {
        let reason = format!("cannot read {}: {error}", path.display());
        Self::Error(StoreError::Refused { doing: "put", key: key.to_owned(), reason })
    }

    /// Where conflicts are not retried.
    pub fn into_error(self, key: &str) -> StoreError {
        match self {
            Self::ConditionFailed => StoreError::Changed { key: key.to_owned() },
            Self::Conflict => {
                StoreError::Unavailable { doing: "write", key: key.to_owned(), reason: "conflict (409)".into() }
            }
            Self::Error(error) => error,
        }
    }
}

/// Sorts an SDK error. The SDK has tried again by itself where that could help.
pub(super) fn sort<E>(doing: &'static str, key: &str, error: &SdkError<E, HttpResponse>) -> Answer
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let reason = match (status, error.code(), error.message()) {
        (Some(status), Some(code), message) => format!("{status} {code} {}", message.unwrap_or_default()),
        (Some(status), None, _) => format!("status {status}"),
        (None, _, _) => DisplayErrorContext(error).to_string(),
    };
    classify(doing, key, status, error.code(), reason)
}

fn classify(doing: &'static str, key: &str, status: Option<u16>, code: Option<&str>, reason: String) -> Answer {
    let owned = key.to_owned();
    let error = match (status, code) {
        (Some(412), _) => return Answer::ConditionFailed,
        (Some(409), _) => return Answer::Conflict,
        (Some(404), Some("NoSuchBucket")) => StoreError::Refused { doing, key: owned, reason },
        (Some(404), Some("NoSuchUpload")) if doing != ABORT => StoreError::Unavailable { doing, key: owned, reason },
        (Some(404), _) => StoreError::NotFound { key: owned },
        (Some(501), _) => StoreError::Unsupported { reason: format!("{doing} {key}: {reason}") },
        // Damaged or too slow on the way.
        (Some(400), Some("BadDigest" | "RequestTimeout" | "IncompleteBody" | "XAmzContentSHA256Mismatch")) => {
            StoreError::Unavailable { doing, key: owned, reason }
        }
        // The next request signs with fresh ones.
        (Some(400 | 403), Some("ExpiredToken" | "RequestExpired")) => {
            StoreError::Unavailable { doing, key: owned, reason }
        }
        (Some(429), _) => StoreError::Unavailable { doing, key: owned, reason },
        (Some(300..=499), _) => StoreError::Refused { doing, key: owned, reason },
        // No credentials anywhere: the request was never sent.
        (None, _) if reason.to_lowercase().contains("credentials") => StoreError::Refused { doing, key: owned, reason },
        _ => StoreError::Unavailable { doing, key: owned, reason },
    };
    Answer::Error(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Classify, Kind};

    #[test]
    fn statuses_are_sorted_by_what_to_do() {
        let table = [
            (Some(404), Some("NoSuchKey"), Kind::Poison),
            (Some(404), None, Kind::Poison),
            (Some(404), Some("NoSuchBucket"), Kind::Fatal),
            (Some(403), Some("AccessDenied"), Kind::Fatal),
            (Some(301), Some("PermanentRedirect"), Kind::Fatal),
            (Some(400), Some("BadDigest"), Kind::Retry),
            (Some(409), Some("ConditionalRequestConflict"), Kind::Retry),
            (Some(412), Some("PreconditionFailed"), Kind::Poison),
            (Some(503), Some("SlowDown"), Kind::Retry),
            (Some(500), None, Kind::Retry),
            (Some(501), Some("NotImplemented"), Kind::Fatal),
            (None, None, Kind::Retry),
        ];
        for (status, code, kind) in table {
            let error = classify("put", "k", status, code, "connection refused".into()).into_error("k");
            assert_eq!(error.kind(), kind, "{status:?} {code:?}: {error}");
        }
        let lacking = classify("put", "k", None, None, "failed to load Credentials".into()).into_error("k");
        assert_eq!(lacking.kind(), Kind::Fatal);
    }
}
