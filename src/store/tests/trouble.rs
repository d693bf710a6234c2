//! A service that is overloaded, slow, or wrong about itself, and a line that breaks.

use std::time::Duration;

use super::super::testing::Ignores;
use super::*;
use crate::site::Patient;

/// Far more than any test takes.
const PATIENCE: Duration = Duration::from_secs(60);
const READ_LIMIT: Duration = Duration::from_millis(300);

/// A patient store behind a line that does this to its first connections.
async fn behind(server: &S3Server, faults: &[Fault]) -> (Patient, Faulty) {
    let line = Faulty::to(server, faults).await;
    let config = StoreConfig { read_limit: Some(READ_LIMIT), ..line.config(server) };
    let store = open("s3://bucket", &config).await.unwrap();
    (Patient { store, patience: PATIENCE }, line)
}

#[tokio::test]
async fn storms_are_sat_out() {
    let server = S3Server::start("bucket").await;
    let storms: [(&str, Vec<Fault>); 3] = [
        ("throttled", vec![Fault::Answer(503, "SlowDown"); 6]),
        ("broken", [vec![Fault::Answer(500, "InternalError"); 4], vec![Fault::Answer(502, "BadGateway")]].concat()),
        ("reset", vec![Fault::Reset; 6]),
    ];
    for (name, storm) in storms {
        let (store, _line) = behind(&server, &storm).await;
        assert_eq!(store.put_new(name, body("x")).await.unwrap(), Put::Created, "{name}");
        assert_eq!(store.get(name, 9).await.unwrap(), "x", "{name}");
    }
}

#[tokio::test]
async fn without_patience_the_storm_is_told() {
    let server = S3Server::start("bucket").await;
    for fault in [Fault::Answer(503, "SlowDown"), Fault::Reset, Fault::EndAfter(0)] {
        let (Patient { store, .. }, _line) = behind(&server, &[fault; 9]).await;
        let error = store.head("k").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Retry, "{fault:?}: {error}");
    }
}

/// More answers are lost than the SDK tries by itself, so the name of the write must outlast its tries.
#[tokio::test]
async fn a_write_whose_answers_are_lost_happens_once() {
    let server = S3Server::start("bucket").await;
    let (store, _line) = behind(&server, &[Fault::EndAfter(0); 6]).await;
    assert_eq!(store.put_new("k", body("one")).await.unwrap(), Put::Created);
    assert_eq!(store.put_new("k", body("one")).await.unwrap(), Put::Exists);

    let first = store.head("k").await.unwrap().unwrap().version;
    let (store, _line) = behind(&server, &[Fault::EndAfter(0); 6]).await;
    let second = store.replace("k", body("two"), Some(&first)).await.unwrap();
    assert_eq!(store.head("k").await.unwrap().unwrap().version, second);
    let stale = store.replace("k", body("three"), Some(&first)).await;
    assert!(matches!(stale, Err(StoreError::Changed { .. })), "{stale:?}");
    assert_eq!(store.get("k", 9).await.unwrap(), "two");
}

#[tokio::test]
async fn answers_that_stall_trickle_or_break_off_are_asked_for_again() {
    let server = S3Server::start("bucket").await;
    let bytes: Vec<u8> = (0..1u32 << 20).map(|index| (index >> 7) as u8 ^ index as u8).collect();
    let direct = open("s3://bucket", &server.config()).await.unwrap();
    direct.put_new("k", Body::Bytes(bytes.clone().into())).await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("fetched");
    // In the head of the answer, and far inside its body.
    for at in [20, 300_000] {
        for fault in [Fault::StallAfter(at), Fault::TrickleAfter(at), Fault::EndAfter(at)] {
            let (store, _line) = behind(&server, &[fault]).await;
            assert!(store.get("k", 1 << 20).await.unwrap() == bytes, "{fault:?}");
            let (store, _line) = behind(&server, &[fault]).await;
            assert_eq!(store.fetch("k", &to).await.unwrap(), bytes.len() as u64, "{fault:?}");
            assert!(fs::read(&to).unwrap() == bytes, "{fault:?}");
            let (store, _line) = behind(&server, &[fault]).await;
            assert!(store.tail("k", 700_000).await.unwrap() == bytes[bytes.len() - 700_000..], "{fault:?}");
        }
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "no half of a file is left");

    let (Patient { store, .. }, _line) = behind(&server, &[Fault::StallAfter(300_000)]).await;
    let error = store.get("k", 1 << 20).await.unwrap_err();
    assert!(error.kind() == Kind::Retry && error.to_string().contains("stalls"), "{error}");
}

/// The limit is on each piece of an answer, and not on all of it.
#[tokio::test]
async fn a_slow_line_is_not_a_stalled_one() {
    let server = S3Server::start("bucket").await;
    let direct = open("s3://bucket", &server.config()).await.unwrap();
    direct.put_new("k", Body::Bytes(vec![7; 25 << 16].into())).await.unwrap();
    let line = Faulty::to(&server, &[Fault::Slow]).await;
    let config = StoreConfig { read_limit: Some(Duration::from_secs(2)), ..line.config(&server) };
    let began = std::time::Instant::now();
    let got = open("s3://bucket", &config).await.unwrap().get("k", 25 << 16).await.unwrap();
    assert_eq!(got.len(), 25 << 16);
    assert!(began.elapsed() > Duration::from_secs(2), "it took longer than the limit");
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    let table = [
        (Ignores { if_none_match: true, ..Ignores::default() }, "it ignores If-None-Match"),
        (Ignores { if_match: true, ..Ignores::default() }, "it ignores If-Match"),
    ];
    for (ignores, expected) in table {
        let (server, _) = S3Server::start_stub("bucket", ignores).await;
        let store = open("s3://bucket", &server.config()).await.unwrap();
        let error = probe(store.as_ref()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Fatal);
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("use a store that honours"), "{text}");
    }
    let (server, _) = S3Server::start_stub("bucket", Ignores::default()).await;
    probe(open("s3://bucket", &server.config()).await.unwrap().as_ref()).await.unwrap();
}

#[tokio::test]
async fn old_uploads_are_aborted() {
    let (server, aborted) = S3Server::start_stub("bucket", Ignores::default()).await;
    let store = open("s3://bucket/some/prefix", &server.config()).await.unwrap();
    for delete in [false, true] {
        assert!(aborted.lock().unwrap().is_empty());
        let swept = store.sweep(SystemTime::now(), delete).await.unwrap();
        assert_eq!(swept, Swept { objects: 1, bytes: 0 });
    }
    assert_eq!(*aborted.lock().unwrap(), ["some/prefix/old"]);

    // An output's own uploads, and no others that begin like it.
    let locations = Locations::new(Limits::default(), server.config());
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("output");
    fs::write(&file, "x").unwrap();
    let put = |text: &str| {
        let place = Location::parse(text).unwrap();
        let (locations, file) = (&locations, &file);
        async move { locations.put(&place, file, Expected::Absent).await.unwrap() }
    };
    put("s3://bucket/other").await;
    assert_eq!(aborted.lock().unwrap().len(), 1, "otherold is another's");
    put("s3://bucket/exactly").await;
    assert_eq!(aborted.lock().unwrap()[1..], ["exactly"]);
}

/// A join that is called off, say.
#[tokio::test]
async fn an_upload_that_is_dropped_is_aborted() {
    let (server, asked) = S3Server::start_hanging("bucket").await;
    let store = S3Store::new(connect::connect(&server.config()).await, "bucket", "parts").with_part_size(5 << 20);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("large");
    fs::write(&file, vec![7; 6 << 20]).unwrap();
    let put = tokio::spawn(async move { store.put_new("large", Body::File(file)).await });
    tokio::time::timeout(PATIENCE, asked.part.notified()).await.unwrap();
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());
    tokio::time::timeout(PATIENCE, asked.abort.notified()).await.unwrap();
}
