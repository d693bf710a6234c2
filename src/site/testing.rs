//! A site for tests that need no broker.

use super::*;
use crate::store::{self, StoreConfig};

/// A site with a store in `folder`; nobody listens to what it publishes.
pub async fn site(folder: &Path, locations: Locations) -> Site {
    let broker = BrokerConfig { brokers: "localhost:1".to_owned(), ..BrokerConfig::default() };
    let url = format!("file://{}", folder.join("store").display());
    std::fs::create_dir_all(folder.join("store")).unwrap();
    Site {
        store: store::open(&url, &StoreConfig::default()).await.unwrap(),
        locations: Arc::new(locations),
        producer: Producer::start(&broker).unwrap(),
        broker,
        job_partitions: 1,
        chunk_partitions: 1,
        scratch: Scratch::open(&folder.join("scratch")).unwrap(),
        patience: Duration::ZERO,
        retention: Retention { keep: Duration::MAX, longest_job: Duration::ZERO },
        audit_file: None,
    }
}
