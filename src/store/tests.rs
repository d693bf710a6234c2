//! One table of behaviours, for a folder and for S3.

use std::fs;

use super::testing::{Fault, Faulty, S3Server};
use super::*;
use crate::error::{Classify, Kind};

mod folder;
mod trouble;

/// A store of each kind, and what keeps it alive.
struct Stores {
    stores: Vec<(&'static str, Arc<dyn ObjectStore>)>,
    scratch: tempfile::TempDir,
    server: S3Server,
}

async fn stores() -> Stores {
    let scratch = tempfile::tempdir().unwrap();
    let server = S3Server::start("bucket").await;
    let folder = Location::file(&scratch.path().join("objects")).unwrap().to_string();
    let stores = vec![
        ("fs", open(&folder, &StoreConfig::default()).await.unwrap()),
        ("s3", open("s3://bucket/some/prefix", &server.config()).await.unwrap()),
        ("s3 without prefix", open("s3://bucket", &server.config()).await.unwrap()),
    ];
    Stores { stores, scratch, server }
}

fn body(text: &str) -> Body {
    Body::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

#[tokio::test]
async fn the_first_to_put_wins() {
    let here = stores().await;
    for (name, store) in &here.stores {
        assert_eq!(store.put_new("a/b/one", body("first")).await.unwrap(), Put::Created, "{name}");
        assert_eq!(store.put_new("a/b/one", body("second")).await.unwrap(), Put::Exists, "{name}");
        assert_eq!(store.get("a/b/one", 100).await.unwrap(), "first", "{name}");
        let file = here.scratch.path().join("body");
        fs::write(&file, "from a file").unwrap();
        assert_eq!(store.put_new("a/b/two", Body::File(file.clone())).await.unwrap(), Put::Created, "{name}");
        fs::write(&file, "changed later").unwrap();
        assert_eq!(store.get("a/b/two", 100).await.unwrap(), "from a file", "{name}: a copy, not a link");
        probe(store.as_ref()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(store.list("probe/").await.unwrap().is_empty(), "{name}: the probe leaves nothing");
    }
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_recognised() {
    let server = S3Server::start("bucket").await;
    let direct = open("s3://bucket", &server.config()).await.unwrap();
    for is_taken in [false, true] {
        if is_taken {
            // The same bytes, and yet not ours.
            direct.put_new("taken", body("x")).await.unwrap();
        }
        let lossy = Faulty::to(&server, &[Fault::EndAfter(0)]).await;
        let store = open("s3://bucket", &lossy.config(&server)).await.unwrap();
        let (key, expected) = if is_taken { ("taken", Put::Exists) } else { ("free", Put::Created) };
        assert_eq!(store.put_new(key, body("x")).await.unwrap(), expected);
        assert_eq!(direct.get(key, 9).await.unwrap(), "x");
        assert_eq!(store.put_new(key, body("x")).await.unwrap(), Put::Exists);
    }
}

/// The folder only: s3s-fs is known to be racy here, S3 itself is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_one_of_many_creates() {
    let here = stores().await;
    let (_, store) = &here.stores[0];
    for round in 0..20 {
        let puts = (0..8).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let text = format!("writer {writer} ").repeat(1000);
                (store.put_new(&format!("race/{round}"), body(&text)).await.unwrap(), text)
            })
        });
        let outcomes = futures::future::join_all(puts).await;
        let winners: Vec<_> =
            outcomes.iter().map(|put| put.as_ref().unwrap()).filter(|put| put.0 == Put::Created).collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(store.get(&format!("race/{round}"), 1 << 20).await.unwrap(), winners[0].1);
    }
    assert_eq!(
        fs::read_dir(here.scratch.path().join("objects/race")).unwrap().count(),
        20,
        "no temporary file is left"
    );
}

#[tokio::test]
async fn reads_within_bounds() {
    let here = stores().await;
    for (name, store) in &here.stores {
        store.put_new("k", body("12345")).await.unwrap();
        assert_eq!(store.get("k", 5).await.unwrap(), "12345", "{name}");
        let error = store.get("k", 4).await.unwrap_err();
        assert_eq!(error.to_string(), expected_key(name, "object {}k has 5 bytes, expected at most 4"), "{name}");
        let missing = store.get("none", 5).await.unwrap_err();
        assert!(matches!(missing, StoreError::NotFound { .. }), "{name}: {missing}");

        let to = here.scratch.path().join("fetched");
        fs::write(&to, "what was there before").unwrap();
        for _ in 0..2 {
            assert_eq!(store.fetch("k", &to).await.unwrap(), 5, "{name}");
            assert_eq!(fs::read_to_string(&to).unwrap(), "12345", "{name}");
        }
        let missing = store.fetch("none", &to).await.unwrap_err();
        assert!(matches!(missing, StoreError::NotFound { .. }), "{name}: {missing}");
        let left: Vec<_> = fs::read_dir(here.scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|file| file.to_string_lossy().starts_with(".tmp-")), "{name}: {left:?}");

        assert_eq!(store.head("none").await.unwrap(), None, "{name}");
        assert_eq!(store.head("k/below").await.unwrap(), None, "{name}");
        let meta = store.head("k").await.unwrap().unwrap();
        assert_eq!(meta.size, 5, "{name}");
        let age = meta.modified.elapsed().unwrap_or_default();
        assert!(age.as_secs() < 600, "{name}: modified {age:?} ago");
    }
}

fn expected_key(store: &str, text: &str) -> String {
    text.replace("{}", if store == "s3" { "some/prefix/" } else { "" })
}

#[tokio::test]
async fn replaces_and_deletes_only_the_version_expected() {
    let here = stores().await;
    let is_changed = |outcome: Result<(), StoreError>| matches!(outcome, Err(StoreError::Changed { .. }));
    for (name, store) in &here.stores {
        store.put_new("k", body("one")).await.unwrap();
        let first = store.head("k").await.unwrap().unwrap().version;
        let second = store.replace("k", body("two"), Some(&first)).await.unwrap();
        assert_eq!(store.head("k").await.unwrap().unwrap().version, second, "{name}");
        assert!(is_changed(store.replace("k", body("three"), Some(&first)).await.map(drop)), "{name}");
        assert_eq!(store.get("k", 10).await.unwrap(), "two", "{name}");
        store.replace("k", body("four"), None).await.unwrap();
        assert!(is_changed(store.delete("k", Some(&second)).await), "{name}");
        assert_eq!(store.get("k", 10).await.unwrap(), "four", "{name}");

        let last = store.head("k").await.unwrap().unwrap().version;
        store.delete("k", Some(&last)).await.unwrap();
        assert_eq!(store.head("k").await.unwrap(), None, "{name}");
        store.delete("k", None).await.unwrap();
        store.delete("k", Some(&last)).await.unwrap();
        assert_eq!(store.put_new("k", body("five")).await.unwrap(), Put::Created, "{name}");
    }
}

#[tokio::test]
async fn lists_by_prefix_in_order() {
    let here = stores().await;
    for (name, store) in &here.stores {
        for key in ["b/2", "b/1", "b/10/x", "bb", "c/z", "a"] {
            store.put_new(key, body(key)).await.unwrap();
        }
        let table: [(&str, &[&str]); 7] = [
            ("b/", &["b/1", "b/10/x", "b/2"]),
            ("b", &["b/1", "b/10/x", "b/2", "bb"]),
            ("b/1", &["b/1", "b/10/x"]),
            ("b/10/", &["b/10/x"]),
            ("a", &["a"]),
            ("none/", &[]),
            ("a/", &[]),
        ];
        for (prefix, expected) in table {
            let listed = store.list(prefix).await.unwrap();
            let keys: Vec<&str> = listed.iter().map(|object| object.key.as_str()).collect();
            assert_eq!(keys, expected, "{name}: {prefix:?}");
            for object in listed {
                let meta = store.head(&object.key).await.unwrap().unwrap();
                assert_eq!(object.size, meta.size, "{name}: {}", object.key);
                // HTTP dates have whole seconds.
                let apart = object.modified.duration_since(meta.modified).unwrap();
                assert!(apart.as_secs() < 1, "{name}: {} by {apart:?}", object.key);
            }
        }
    }
    for (name, store) in &here.stores {
        let (mut keys, mut after) = (Vec::new(), String::new());
        loop {
            let page = store.list_after("b", &after).await.unwrap();
            // One at a time, as if pages were that short.
            let Some(first) = page.into_iter().next() else { break };
            after = first.key.clone();
            keys.push(first.key);
        }
        assert_eq!(keys, ["b/1", "b/10/x", "b/2", "bb"], "{name}");
    }
    let folder = here.scratch.path().join("objects/b/.tmp-left-by-a-crash");
    fs::write(folder, "").unwrap();
    assert_eq!(here.stores[0].1.list("b/").await.unwrap().len(), 3, "temporary files are no objects");
}

#[tokio::test]
async fn bad_keys_are_refused_by_every_call() {
    let here = stores().await;
    let to = here.scratch.path().join("fetched");
    for (name, store) in &here.stores {
        for key in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/"] {
            let outcomes = [
                store.put_new(key, body("x")).await.map(drop),
                store.replace(key, body("x"), None).await.map(drop),
                store.get(key, 1).await.map(drop),
                store.fetch(key, &to).await.map(drop),
                store.head(key).await.map(drop),
                store.delete(key, None).await,
            ];
            for (call, outcome) in outcomes.into_iter().enumerate() {
                assert!(matches!(outcome, Err(StoreError::BadKey { .. })), "{name}: {key:?}, call {call}: {outcome:?}");
            }
        }
    }
}

#[tokio::test]
async fn listing_goes_over_many_pages() {
    let here = stores().await;
    // S3 gives 1,000 at a time.
    let (_, store) = &here.stores[1];
    let puts = (0..1005).map(|index| {
        let store = store.clone();
        async move { store.put_new(&format!("many/{index:04}"), body("x")).await.unwrap() }
    });
    use futures::StreamExt;
    futures::stream::iter(puts).buffer_unordered(8).for_each(|_| async {}).await;
    let keys: Vec<String> = store.list("many/").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(keys, Vec::from_iter((0..1005).map(|index| format!("many/{index:04}"))));
}

#[tokio::test]
async fn large_files_go_up_in_parts() {
    let here = stores().await;
    let store = S3Store::new(connect::connect(&here.server.config()).await, "bucket", "parts").with_part_size(6 << 20);
    let bytes: Vec<u8> = (0..13u32 << 20).map(|index| (index >> 8) as u8 ^ index as u8).collect();
    let file = here.scratch.path().join("large");
    fs::write(&file, &bytes).unwrap();
    assert_eq!(store.put_new("large", Body::File(file.clone())).await.unwrap(), Put::Created);
    assert!(store.get("large", 64 << 20).await.unwrap() == bytes);
    let version = store.head("large").await.unwrap().unwrap().version;
    let to = here.scratch.path().join("fetched");
    assert_eq!(store.fetch("large", &to).await.unwrap(), bytes.len() as u64);
    assert!(fs::read(&to).unwrap() == bytes);
    store.replace("large", Body::File(file), Some(&version)).await.unwrap();
}

#[tokio::test]
async fn trouble_with_the_service_is_sorted() {
    let here = stores().await;
    let wrong = AccessKey { id: "test-id".into(), secret: "wrong".into() };
    let table = [
        ("s3://bucket", StoreConfig { access_key: Some(wrong), ..here.server.config() }, Kind::Fatal),
        ("s3://nothing-here", here.server.config(), Kind::Fatal),
        (
            "s3://bucket",
            StoreConfig { endpoint_url: Some("http://127.0.0.1:9".into()), ..here.server.config() },
            Kind::Retry,
        ),
    ];
    for (url, config, kind) in table {
        let store = open(url, &config).await.unwrap();
        let error = store.list("k").await.expect_err(url);
        assert_eq!(error.kind(), kind, "{url}: {error}");
    }
    for url in ["/folder", "http://host/x", "s3://bucket/a//b"] {
        assert_eq!(open(url, &StoreConfig::default()).await.err().unwrap().kind(), Kind::Fatal, "{url}");
    }
}
