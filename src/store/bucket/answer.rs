//! What S3's answers mean for us.

use std::error::Error;
use std::fmt;
use std::path::Path;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::store::StoreError;

/// An upload that is gone is aborted already; to all others it is an upload to begin anew.
pub(super) const ABORT: &str = "abort upload of";

/// How the SDK begins to tell that it has no credentials, and whether waiting is in vain. All but the last are the texts of its
/// `CredentialsError`, a type that it does not re-export.
const CREDENTIALS: [(&str, bool); 6] = [
    ("the credential provider was not enabled", true),
    ("the credentials provider was not properly configured", true),
    // The service that hands them out (IMDS, STS, …) is slow, throttles, or is away.
    ("credentials provider timed out", false),
    ("an error occurred while loading credentials", false),
    ("unexpected credentials error", false),
    ("failed to select an auth scheme to sign the request", true),
];

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
    E: ProvideErrorMetadata + Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let reason = match (status, error.code(), error.message()) {
        (Some(status), Some(code), message) => format!("{status} {code} {}", message.unwrap_or_default()),
        (Some(status), None, _) => format!("status {status}"),
        (None, _, _) => DisplayErrorContext(error).to_string(),
    };
    // The request was never sent.
    if status.is_none() && lacks_credentials(error) {
        return Answer::Error(StoreError::Refused { doing, key: key.to_owned(), reason });
    }
    classify(doing, key, status, error.code(), reason)
}

/// There are no credentials and there will be none. The outermost word about them counts: a provider that fails for the moment
/// may do so because one that it asks has none.
fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    let told = std::iter::successors(Some(error), |&error| error.source()).find_map(|error| {
        let text = error.to_string();
        let known = CREDENTIALS.iter().find(|(beginning, _)| text.starts_with(*beginning));
        known.map(|(_, is_lasting)| *is_lasting)
    });
    told == Some(true)
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
        _ => StoreError::Unavailable { doing, key: owned, reason },
    };
    Answer::Error(error)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::config::ProvideCredentials;
    use aws_sdk_s3::error::{BoxError, ConnectorError};
    use aws_sdk_s3::operation::get_object::GetObjectError;

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
    }

    /// Sorts the error of a request that could not be signed, as the SDK hands it on.
    fn unsigned(error: BoxError) -> StoreError {
        let error: SdkError<GetObjectError, HttpResponse> =
            SdkError::dispatch_failure(ConnectorError::other(error, None));
        sort("get", "k", &error).into_error("k")
    }

    /// An error with its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Said {
        said: &'static str,
        source: Option<BoxError>,
    }

    #[test]
    fn only_credentials_that_never_come_are_refused() {
        let not_loaded = "the credential provider was not enabled";
        let provider_error = "an error occurred while loading credentials";
        // From the outermost error to its last cause.
        let table: [(&[&'static str], Kind); 10] = [
            (&[not_loaded], Kind::Fatal),
            (&[not_loaded, "no providers in chain provided credentials"], Kind::Fatal),
            (&[not_loaded, "no credentials found in chain. Attempted:\n  Environment: not set"], Kind::Fatal),
            (&["the credentials provider was not properly configured", "no such profile"], Kind::Fatal),
            (&["failed to select an auth scheme to sign the request with. Be sure to set credentials"], Kind::Fatal),
            (&["credentials provider timed out after 5 seconds"], Kind::Retry),
            (&[provider_error, "service error", "ThrottlingException"], Kind::Retry),
            (&[provider_error, not_loaded], Kind::Retry),
            (&["unexpected credentials error", "STS credentials must be defined"], Kind::Retry),
            (&["identity resolver timed out after 5s"], Kind::Retry),
        ];
        for (chain, kind) in table {
            let caused = |source, said: &&'static str| Some(BoxError::from(Said { said, source }));
            let error = unsigned(chain.iter().rev().fold(None, caused).unwrap());
            assert_eq!(error.kind(), kind, "{chain:?}: {error}");
        }
    }

    #[tokio::test]
    #[expect(deprecated, reason = "what stands in for these types is of a crate that we do not name")]
    async fn the_sdk_says_so_in_these_words() {
        use aws_config::profile::ProfileFileCredentialsProvider;
        use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
        use aws_config::provider_config::ProviderConfig;

        // No profile; one that cannot be parsed; one whose helper fails.
        let table =
            [("", Kind::Fatal), ("[default", Kind::Fatal), ("[default]\ncredential_process = exit 1\n", Kind::Retry)];
        for (profiles, kind) in table {
            // It asks nobody, but the SDK wants one.
            let http = aws_smithy_http_client::Builder::new().build_http();
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&ProviderConfig::default().with_http_client(http))
                .profile_files(ProfileFiles::builder().with_contents(ProfileFileKind::Config, profiles).build())
                .profile_name("default")
                .build();
            let error = provider.provide_credentials().await.unwrap_err();
            let told = error.to_string();
            assert!(CREDENTIALS.iter().any(|(beginning, _)| told.starts_with(*beginning)), "{told}");
            let error = unsigned(error.into());
            assert_eq!(error.kind(), kind, "{profiles:?}: {error}");
        }
    }
}
