//! The way to an S3 service: endpoint, region, credentials, time-outs.

use std::fmt;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, Credentials, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Until an answer begins, and then for each of its pieces: see [`StoreConfig::read_limit`].
const READ_LIMIT: Duration = Duration::from_secs(60);
/// With waits of up to 0.1, 0.2 and 0.4 s: what passes by itself, and single parts of large files. Whoever calls has its own
/// patience above that (`retry.rs`).
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How to reach S3. Everything may be left out: then the usual AWS environment, files and instance roles are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreConfig {
    /// Of a service other than Amazon's, e.g. `http://minio:9000`.
    pub endpoint_url: Option<String>,
    pub region: Option<String>,
    /// `http://host/bucket/key`, as most other services have it, instead of `http://bucket.host/key`.
    pub force_path_style: bool,
    pub access_key: Option<AccessKey>,
    /// An answer must begin within this time, and go on by 64 KiB (or to its end) within each further such time; otherwise it
    /// is given up and asked for again. Default: 60 s.
    pub read_limit: Option<Duration>,
}

/// A service that is spoken to.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub client: Client,
    pub read_limit: Duration,
}

/// Fixed credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).field("secret", &"…").finish()
    }
}

/// Does not speak to it yet.
pub(super) async fn connect(config: &StoreConfig) -> Service {
    let read_limit = config.read_limit.unwrap_or(READ_LIMIT);
    let tls = Provider::Rustls(CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_WAIT))
        // Uploads; what is read has a stricter guard (`bucket/read.rs`).
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(read_limit).build())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).read_timeout(read_limit).build());
    if let Some(endpoint) = &config.endpoint_url {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(key) = &config.access_key {
        loader = loader.credentials_provider(Credentials::new(&key.id, &key.secret, None, None, "facemill"));
    }
    let shared = loader.load().await;
    let mut s3 = Builder::from(&shared).force_path_style(config.force_path_style);
    if shared.region().is_none() {
        // Other services do not care; Amazon's answers with the bucket's own.
        s3 = s3.region(Region::new("us-east-1"));
    }
    Service { client: Client::from_conf(s3.build()), read_limit }
}
