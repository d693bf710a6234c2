//! What is old is renewed, what is damaged is deleted, and nothing else.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::broker::{BrokerConfig, Producer};
use crate::site::Scratch;
use crate::store::{FsStore, Limits, Locations, StoreConfig};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A site whose broker is nowhere; nothing here speaks to one.
async fn site(root: &Path) -> Site {
    let broker = BrokerConfig { brokers: "127.0.0.1:9".into(), ..BrokerConfig::default() };
    Site {
        store: Arc::new(FsStore::open(&root.join("store")).await.unwrap()),
        locations: Arc::new(Locations::new(Limits::default(), StoreConfig::default())),
        producer: Producer::start(&broker).unwrap(),
        broker,
        job_partitions: 1,
        chunk_partitions: 1,
        scratch: Scratch::open(&root.join("scratch")).unwrap(),
        patience: Duration::ZERO,
        retention: Retention { keep: 30 * DAY, longest_job: 7 * DAY },
        audit_file: None,
    }
}

async fn put(site: &Site, key: &str, content: &'static str) {
    site.store.put_new(key, Body::Bytes(content.into())).await.unwrap();
}

#[tokio::test]
async fn what_would_not_outlast_a_job_is_renewed() {
    let root = tempfile::tempdir().unwrap();
    let site = site(root.path()).await;
    assert!(!site.ensure_fresh("none").await.unwrap());
    for (age, is_renewed) in [(0, false), (22, false), (24, true), (90, true)] {
        let key = format!("k{age}");
        put(&site, &key, "content").await;
        let times = fs::FileTimes::new().set_modified(SystemTime::now() - age * DAY);
        fs::File::options().write(true).open(root.path().join("store").join(&key)).unwrap().set_times(times).unwrap();
        let before = site.store.head(&key).await.unwrap().unwrap();
        assert!(site.ensure_fresh(&key).await.unwrap());
        let after = site.store.head(&key).await.unwrap().unwrap();
        assert_eq!(before.version != after.version, is_renewed, "{age} days");
        assert_eq!(after.modified.elapsed().unwrap() < DAY, age == 0 || is_renewed, "{age} days");
        assert_eq!(site.store.get(&key, 99).await.unwrap(), "content");
    }
}

#[tokio::test]
async fn what_is_damaged_is_deleted_and_said() {
    let root = tempfile::tempdir().unwrap();
    let site = site(root.path()).await;
    let to = root.path().join("fetched");
    let expected = Digest::of(b"content");
    put(&site, "whole", "content").await;
    site.fetch_checked("whole", &to, &expected).await.unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), "content");

    put(&site, "damaged", "c0ntent").await;
    let error = site.fetch_checked("damaged", &to, &expected).await.unwrap_err();
    assert!(matches!(error, CheckError::Corrupt { .. }), "{error}");
    assert_eq!(site.store.head("damaged").await.unwrap(), None);
    let missing = site.fetch_checked("damaged", &to, &expected).await.unwrap_err();
    assert!(matches!(missing, CheckError::Site(SiteError::Store(StoreError::NotFound { .. }))), "{missing}");
    assert_eq!(fs::read_dir(site.scratch.path()).unwrap().count(), 0, "nothing is left in scratch");
}

#[tokio::test]
async fn only_what_was_looked_at_is_deleted() {
    let root = tempfile::tempdir().unwrap();
    let site = site(root.path()).await;
    put(&site, "k", "content").await;
    assert!(!site.delete_corrupt("k", |_| true).await.unwrap(), "it is whole");
    assert!(site.delete_corrupt("none", |_| false).await.unwrap());
    // Another role makes it again while this one looks.
    let (store, runtime) = (site.store.clone(), tokio::runtime::Handle::current());
    let made_again = move |_: &Path| {
        runtime.block_on(store.replace("k", Body::Bytes("made again".into()), None)).unwrap();
        false
    };
    assert!(!site.delete_corrupt("k", made_again).await.unwrap());
    assert_eq!(site.store.get("k", 99).await.unwrap(), "made again");
    assert!(site.delete_corrupt("k", |_| false).await.unwrap());
    assert_eq!(site.store.head("k").await.unwrap(), None);
}
