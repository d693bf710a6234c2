//! What only a folder can get wrong: races between comparing and writing, and files that are left behind.

use std::time::Duration;

use super::*;

async fn folder() -> (tempfile::TempDir, FsStore) {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::open(root.path()).await.unwrap();
    (root, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_one_of_many_replaces_a_version() {
    let (_root, store) = folder().await;
    store.put_new("k", body("start")).await.unwrap();
    for round in 0..50 {
        let version = store.head("k").await.unwrap().unwrap().version;
        let writers = (0..8).map(|writer| {
            let (store, version) = (store.clone(), version.clone());
            tokio::spawn(async move {
                if writer % 4 == 3 {
                    return store.delete("k", Some(&version)).await.is_ok();
                }
                let replaced = store.replace("k", body(&format!("{writer}")), Some(&version)).await;
                assert!(matches!(replaced, Ok(_) | Err(StoreError::Changed { .. })), "{replaced:?}");
                replaced.is_ok()
            })
        });
        let outcomes: Vec<bool> =
            futures::future::join_all(writers).await.into_iter().map(|outcome| outcome.unwrap()).collect();
        // Deleting what is gone is done already, so both who delete may be content.
        let replaced = outcomes.iter().enumerate().filter(|(writer, is_ok)| **is_ok && writer % 4 != 3).count();
        let is_there = store.head("k").await.unwrap().is_some();
        assert_eq!(replaced, usize::from(is_there), "round {round}: {outcomes:?}");
        store.put_new("k", body("again")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_compared_under_the_lock() {
    let (root, store) = folder().await;
    store.put_new("k", body("one")).await.unwrap();
    let version = store.head("k").await.unwrap().unwrap().version;
    type Write = fn(FsStore, Version) -> futures::future::BoxFuture<'static, Result<(), StoreError>>;
    let writes: [Write; 2] = [
        |store, version| Box::pin(async move { store.replace("k", body("two"), Some(&version)).await.map(drop) }),
        |store, version| Box::pin(async move { store.delete("k", Some(&version)).await }),
    ];
    for write in writes {
        let lock = fs::File::options().create(true).append(true).open(root.path().join(".tmp-lock")).unwrap();
        lock.lock().unwrap();
        let mut waiting = tokio::spawn(write(store.clone(), version.clone()));
        // It must not end, however long this is.
        tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.unwrap_err();
        // Another process, which has the lock.
        fs::write(root.path().join("other"), "other").unwrap();
        fs::rename(root.path().join("other"), root.path().join("k")).unwrap();
        drop(lock);
        let outcome = waiting.await.unwrap();
        assert!(matches!(outcome, Err(StoreError::Changed { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_put_that_fails_leaves_nothing() {
    let (root, store) = folder().await;
    // Reading a folder fails after the temporary file was made, as a full disk would.
    let unreadable = Body::File(root.path().to_owned());
    for outcome in [
        store.put_new("a/k", unreadable.clone()).await.map(drop),
        store.replace("a/k", unreadable.clone(), None).await.map(drop),
    ] {
        outcome.unwrap_err();
    }
    assert_eq!(fs::read_dir(root.path().join("a")).unwrap().count(), 0);
    let to = root.path().join("missing/fetched");
    store.put_new("k", body("x")).await.unwrap();
    store.fetch("k", &to).await.unwrap_err();
}

#[test]
fn a_full_disk_is_waited_for_and_a_wrong_name_is_not() {
    use std::io::ErrorKind as Io;
    let table = [
        (Io::StorageFull, Kind::Retry),
        (Io::QuotaExceeded, Kind::Retry),
        (Io::StaleNetworkFileHandle, Kind::Retry),
        (Io::TimedOut, Kind::Retry),
        (Io::PermissionDenied, Kind::Fatal),
        (Io::NotADirectory, Kind::Fatal),
    ];
    for (io, kind) in table {
        assert_eq!(StoreError::io("put", "k", &io.into()).kind(), kind, "{io:?}");
        // Of a place that a job names it is the job's own trouble.
        let expected = if kind == Kind::Retry { Kind::Retry } else { Kind::Poison };
        assert_eq!(LocationError::io("read", Path::new("/x"), io.into()).kind(), expected, "{io:?}");
    }
}

fn set_age(path: &Path, age: Duration) {
    let times = fs::FileTimes::new().set_modified(SystemTime::now() - age);
    fs::File::open(path).unwrap().set_times(times).unwrap();
}

#[tokio::test]
async fn what_dead_writers_have_left_is_swept() {
    let (root, store) = folder().await;
    let hour = Duration::from_secs(3600);
    let at = |name: &str| root.path().join(name);
    store.put_new("a/b/k", body("x")).await.unwrap();
    store.delete("none", None).await.unwrap();
    for (name, age) in [("a/.tmp-old", 30), ("a/b/.tmp-old", 25), (".tmp-young", 1), (".tmp-lock", 90), ("a/b/k", 90)] {
        if !at(name).exists() {
            fs::write(at(name), "12345").unwrap();
        }
        set_age(&at(name), hour * age);
    }
    for folder in ["gone", "gone/too", "young"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    for folder in ["gone/too", "gone", "a/b", "a"] {
        set_age(&at(folder), hour * 50);
    }
    let yesterday = SystemTime::now() - 24 * hour;
    for delete in [false, true] {
        assert_eq!(store.sweep(yesterday, delete).await.unwrap(), Swept { objects: 2, bytes: 10 }, "{delete}");
    }
    assert_eq!(store.sweep(yesterday, true).await.unwrap(), Swept::default());
    for (name, is_there) in [
        ("a/b/k", true),
        (".tmp-young", true),
        (".tmp-lock", true),
        ("young", true),
        ("gone", false),
        ("a/.tmp-old", false),
    ] {
        assert_eq!(at(name).exists(), is_there, "{name}");
    }
}

#[tokio::test]
async fn pages_go_on_where_they_ended() {
    let (_root, store) = folder().await;
    // In the order of keys, in which folders and files do not sort as names do.
    let keys = ["a", "a-1/x", "a.b", "a/x", "a/y/z", "a0", "b/c/d"];
    for key in keys.iter().filter(|key| **key != "a") {
        store.put_new(key, body(key)).await.unwrap();
    }
    let all: Vec<String> = store.list("").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(all, keys[1..]);
    for (index, after) in all.iter().enumerate() {
        let rest: Vec<String> =
            store.list_after("", after).await.unwrap().into_iter().map(|object| object.key).collect();
        assert_eq!(rest, all[index + 1..], "after {after}");
    }
}

#[tokio::test]
async fn a_store_whose_folder_is_gone_is_away() {
    let mount = tempfile::tempdir().unwrap();
    let (root, elsewhere) = (mount.path().join("store"), mount.path().join("unmounted"));
    let store = FsStore::open(&root).await.unwrap();
    store.put_new("a/k", body("x")).await.unwrap();
    let version = store.head("a/k").await.unwrap().unwrap().version;
    fs::rename(&root, &elsewhere).unwrap();
    let to = mount.path().join("fetched");
    let outcomes = [
        store.head("a/k").await.map(drop),
        store.get("a/k", 9).await.map(drop),
        store.tail("a/k", 9).await.map(drop),
        store.fetch("a/k", &to).await.map(drop),
        store.list("").await.map(drop),
        store.list_after("a/", "").await.map(drop),
        store.put_new("a/k", body("y")).await.map(drop),
        store.put_new("top", body("y")).await.map(drop),
        store.replace("a/k", body("y"), Some(&version)).await.map(drop),
        store.delete("a/k", None).await,
        store.sweep(SystemTime::now(), true).await.map(drop),
    ];
    for (call, outcome) in outcomes.into_iter().enumerate() {
        let Err(error) = outcome else { panic!("call {call} succeeds") };
        assert_eq!(error.kind(), Kind::Retry, "call {call}: {error}");
        assert!(error.to_string().contains("is it mounted?"), "call {call}: {error}");
    }
    assert!(!root.exists(), "it is not made anew");
    fs::rename(&elsewhere, &root).unwrap();
    assert_eq!(store.get("a/k", 9).await.unwrap(), "x");
    assert_eq!(store.put_new("b/c/d/k", body("y")).await.unwrap(), Put::Created);

    let error = FsStore::open(&mount.path().join("not/there")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Fatal);
    assert!(error.to_string().contains("mount it"), "{error}");
    fs::write(mount.path().join("file"), "").unwrap();
    assert_eq!(FsStore::open(&mount.path().join("file")).await.unwrap_err().kind(), Kind::Fatal);
}
