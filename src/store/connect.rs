//! The way to an S3 service: endpoint, region, credentials, time-outs.

use std::fmt;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, Credentials};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Between two bytes of an answer.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// With the SDK's backoff and jitter, a few seconds; whoever calls has its own patience above that.
const ATTEMPTS: u32 = 4;

/// How to reach S3. Everything may be left out: then the usual AWS environment, files and instance roles are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreConfig {
    /// Of a service other than Amazon's, e.g. `http://minio:9000`.
    pub endpoint_url: Option<String>,
    pub region: Option<String>,
    /// `http://host/bucket/key`, as most other services have it, instead of `http://bucket.host/key`.
    pub force_path_style: bool,
    pub access_key: Option<AccessKey>,
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

/// A client for the service. Does not speak to it yet.
pub(super) async fn connect(config: &StoreConfig) -> Client {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).read_timeout(READ_LIMIT).build());
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
    Client::from_conf(s3.build())
}
