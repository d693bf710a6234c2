//! What a job may and may not name.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::contract::Digest;
use crate::error::{Classify, Kind};
use crate::store::testing::S3Server;

/// `inside/` is the root that jobs may use; `outside/` is not.
struct Folders {
    temporary: tempfile::TempDir,
    locations: Locations,
}

fn folders() -> Folders {
    let temporary = tempfile::tempdir().unwrap();
    for folder in ["inside/sub", "outside"] {
        fs::create_dir_all(temporary.path().join(folder)).unwrap();
    }
    for file in ["inside/in.txt", "outside/secret.txt", "made.txt"] {
        fs::write(temporary.path().join(file), file).unwrap();
    }
    let limits = Limits { roots: vec![temporary.path().join("inside")], buckets: vec!["allowed".into()] };
    Folders { temporary, locations: Locations::new(limits, StoreConfig::default()) }
}

impl Folders {
    fn path(&self, relative: &str) -> PathBuf {
        self.temporary.path().join(relative)
    }

    fn at(&self, relative: &str) -> Location {
        Location::file(&self.path(relative)).unwrap()
    }

    async fn put(&self, relative: &str, expected: Expected) -> Result<(), LocationError> {
        self.locations.put(&self.at(relative), &self.path("made.txt"), expected).await
    }
}

#[tokio::test]
async fn reads_only_inside_the_roots() {
    let here = folders();
    symlink(here.path("outside"), here.path("inside/way-out")).unwrap();
    symlink(here.path("outside/secret.txt"), here.path("inside/link.txt")).unwrap();
    symlink(here.path("inside/in.txt"), here.path("inside/sub/good-link.txt")).unwrap();
    let table = [
        ("inside/in.txt", "ok"),
        ("inside/sub/../in.txt", "ok"),
        ("inside/sub/good-link.txt", "ok"),
        ("inside/../outside/secret.txt", "outside"),
        ("outside/secret.txt", "outside"),
        ("inside/link.txt", "outside"),
        ("inside/way-out/secret.txt", "outside"),
        ("inside/none.txt", "does not exist"),
        ("inside/in.txt/below", "does not exist"),
        ("inside/sub", "not a file"),
    ];
    for (path, expected) in table {
        let found = here.locations.local_path(&here.at(path)).await;
        let fetched = here.locations.fetch(&here.at(path), &here.path("copy")).await;
        match (found, fetched) {
            (Ok(Some(real)), Ok(size)) => {
                assert_eq!((expected, real, size), ("ok", fs::canonicalize(here.path("inside/in.txt")).unwrap(), 13));
            }
            (Err(error), Err(again)) => {
                assert!(error.to_string().contains(expected), "{path}: {error}, expected {expected}");
                assert_eq!((error.kind(), again.to_string()), (Kind::Poison, error.to_string()));
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn writes_only_into_existing_folders_inside_the_roots() {
    let here = folders();
    symlink(here.path("outside"), here.path("inside/way-out")).unwrap();
    let table = [
        ("inside/out.mp4", "ok"),
        ("inside/sub/out.mp4", "ok"),
        ("inside/in.txt", "ok"),
        ("inside/missing/out.mp4", "inside/missing does not exist"),
        ("inside/in.txt/out.mp4", "inside/in.txt is not a folder"),
        ("inside/sub", "is not a file"),
        ("inside/sub/", "is not a file"),
        ("inside/sub/..", "is not a file"),
        ("inside/../outside/out.mp4", "is outside"),
        ("inside/way-out/out.mp4", "is outside"),
    ];
    for (path, expected) in table {
        let checked = here.locations.check_writable(&here.at(path)).await;
        let put = here.put(path, Expected::Anything).await;
        match (checked, put) {
            (Ok(()), Ok(())) => {
                assert_eq!(expected, "ok", "{path}");
                assert_eq!(fs::read_to_string(here.path(path)).unwrap(), "made.txt");
            }
            (Err(error), Err(again)) => {
                assert!(error.to_string().contains(expected), "{path}: {error}, expected {expected}");
                assert_eq!((error.kind(), again.to_string()), (Kind::Poison, error.to_string()));
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    assert!(!here.path("inside/missing").exists(), "no folder is made");
    assert_eq!(fs::read_dir(here.path("outside")).unwrap().count(), 1, "nothing came out");
    let mut left: Vec<_> = fs::read_dir(here.path("inside")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["in.txt", "out.mp4", "sub", "way-out"], "no temporary file is left");
}

#[tokio::test]
async fn a_folder_that_takes_no_file_is_named() {
    let here = folders();
    let folder = here.path("inside/sub");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere: there the kernel's own folder stands in, which takes nothing from anybody.
    let is_root = fs::write(folder.join("probe"), "").is_ok();
    let (locations, target, name) = if is_root {
        let limits = Limits { roots: vec!["/proc".into()], buckets: vec![] };
        (Locations::new(limits, StoreConfig::default()), Location::file(Path::new("/proc/out.mp4")).unwrap(), "/proc")
    } else {
        (here.locations, Location::file(&folder.join("out.mp4")).unwrap(), "inside/sub")
    };
    let error = locations.check_writable(&target).await.unwrap_err();
    assert!(matches!(error, LocationError::NotWritable { .. }), "{error:?}");
    assert!(error.to_string().contains(name), "{error}");
}

#[tokio::test]
async fn an_output_is_written_only_over_what_was_expected() {
    let here = folders();
    let place = "inside/out.txt";
    here.put(place, Expected::Absent).await.unwrap();
    assert!(matches!(here.put(place, Expected::Absent).await, Err(LocationError::Changed { .. })));

    let accepted = here.locations.version(&here.at(place)).await.unwrap().unwrap();
    here.put(place, Expected::Version(accepted.clone())).await.unwrap();
    let stale = here.put(place, Expected::Version(accepted)).await;
    assert!(matches!(stale, Err(LocationError::Changed { .. })), "{stale:?}");
    here.put(place, Expected::Anything).await.unwrap();
    assert_eq!(here.locations.version(&here.at("inside/none")).await.unwrap(), None);
}

#[tokio::test]
async fn a_link_in_the_place_of_the_output_is_replaced_and_not_followed() {
    let here = folders();
    symlink(here.path("outside/secret.txt"), here.path("inside/out.txt")).unwrap();
    here.put("inside/out.txt", Expected::Anything).await.unwrap();
    assert_eq!(fs::read_to_string(here.path("outside/secret.txt")).unwrap(), "outside/secret.txt");
    assert_eq!(fs::read_to_string(here.path("inside/out.txt")).unwrap(), "made.txt");
}

#[tokio::test]
async fn files_in_s3() {
    let server = S3Server::start("allowed").await;
    let here = folders();
    let limits = Limits { roots: vec![], buckets: vec!["allowed".into()] };
    let locations = Locations::new(limits, server.config());
    let at = |text: &str| Location::parse(text).unwrap();
    let place = at("s3://allowed/out/a b.mp4");
    let made = here.path("made.txt");

    locations.check_writable(&place).await.unwrap();
    assert_eq!(locations.version(&place).await.unwrap(), None);
    let missing = locations.fetch(&place, &here.path("copy")).await.unwrap_err();
    assert_eq!(missing.to_string(), "s3://allowed/out/a b.mp4 does not exist");
    locations.put(&place, &made, Expected::Absent).await.unwrap();
    assert!(matches!(locations.put(&place, &made, Expected::Absent).await, Err(LocationError::Changed { .. })));
    assert_eq!(locations.fetch(&place, &here.path("copy")).await.unwrap(), 8);
    assert_eq!(fs::read_to_string(here.path("copy")).unwrap(), "made.txt");
    assert_eq!(locations.local_path(&place).await.unwrap(), None);

    let refused = locations.version(&at("s3://other/a")).await.unwrap_err();
    assert_eq!(refused.to_string(), "bucket other is not among those that jobs may use");
}

#[tokio::test]
async fn a_place_that_stays_away_is_the_jobs_own_trouble() {
    // Nobody listens there.
    let away =
        StoreConfig { endpoint_url: Some("http://127.0.0.1:9".into()), ..S3Server::start("allowed").await.config() };
    let limits = Limits { roots: vec![], buckets: vec!["allowed".into()] };
    let locations = Locations::new(limits, away).with_patience(Duration::from_secs(1));
    let here = folders();
    let place = Location::parse("s3://allowed/clip.mp4").unwrap();
    let outcomes = [
        locations.fetch(&place, &here.path("copy")).await.map(drop),
        locations.version(&place).await.map(drop),
        locations.check_writable(&place).await,
        locations.put(&place, &here.path("made.txt"), Expected::Absent).await,
    ];
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(error.to_string().starts_with("s3://allowed/clip.mp4: not available for 1 s: "), "{error}");
        assert_eq!(error.kind(), Kind::Poison);
    }
}

#[tokio::test]
async fn our_own_full_disk_is_not_the_jobs_trouble() {
    let place = Location::parse("file:///clip.mp4").unwrap();
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let ours = LocationError::Scratch { path: "/scratch/target".into(), source: full() };
    assert_eq!(ours.after(Duration::ZERO, &place).kind(), Kind::Retry);
    let theirs = LocationError::io("write to", Path::new("/out"), full());
    assert_eq!(theirs.kind(), Kind::Retry);
    assert_eq!(theirs.after(Duration::ZERO, &place).kind(), Kind::Poison);
}

#[tokio::test]
async fn what_killed_writers_have_left_beside_an_output_goes_with_the_next() {
    let here = folders();
    let (nonce, second) = ("0123456789abcdef", Duration::from_secs(1));
    let staged = |name: &str| format!(".tmp-{}{nonce}", Digest::of(name.as_bytes()).short(16));
    let (this, other) = (staged("out.mp4"), staged("other.mp4"));
    let table = [
        (other.replace("cdef", "0000"), LEFT_BEHIND * 2, false),
        (other, second, true),
        (this.replace("cdef", "0000"), second, false),
        // As if it were still being written.
        (this, Duration::ZERO, true),
        (".tmp-mine".into(), LEFT_BEHIND * 2, true),
    ];
    for (name, age, _) in &table {
        let path = here.path("inside").join(name);
        fs::write(&path, "").unwrap();
        let now = SystemTime::now() + if age.is_zero() { 60 * second } else { Duration::ZERO };
        let times = fs::FileTimes::new().set_modified(now - *age);
        fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    }
    here.put("inside/out.mp4", Expected::Absent).await.unwrap();
    for (name, _, is_left) in &table {
        assert_eq!(here.path("inside").join(name).exists(), *is_left, "{name}");
    }
    // By one that was killed when its own file was in place: the next one finds that there.
    let late = here.path("inside").join(staged("out.mp4").replace("cdef", "1111"));
    fs::write(&late, "").unwrap();
    let times = fs::FileTimes::new().set_modified(SystemTime::now() - second);
    fs::File::options().write(true).open(&late).unwrap().set_times(times).unwrap();
    here.put("inside/out.mp4", Expected::Absent).await.unwrap_err();
    assert!(!late.exists());
}

fn told(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| format!("{} {:?}", entry.name, entry.kind)).collect()
}

#[tokio::test]
async fn a_folder_is_listed_by_name_without_what_is_hidden_or_below() {
    let here = folders();
    for file in ["inside/b.png", "inside/a b%.png", "inside/.hidden", "inside/sub/below.png", "inside/line\nfeed.png"] {
        fs::write(here.path(file), "x").unwrap();
    }
    fs::write(here.path("inside/empty.png"), "").unwrap();
    symlink(here.path("inside/nowhere"), here.path("inside/dangling.png")).unwrap();
    symlink(here.path("outside"), here.path("inside/way-out")).unwrap();
    symlink(here.path("outside/secret.txt"), here.path("inside/secret.png")).unwrap();
    let folder = Location::of_folder(&format!("{}/", here.at("inside"))).unwrap();
    let entries = here.locations.list(&folder, 100).await.unwrap();
    let expected = [
        "a b%.png File",
        "b.png File",
        "dangling.png Other",
        "empty.png Empty",
        "in.txt File",
        "line\nfeed.png Other",
        "secret.png File",
        "sub Folder",
        "way-out Folder",
    ];
    assert_eq!(told(&entries), expected);
    assert_eq!(&here.locations.head_of(&folder.file_in("in.txt"), 6).await.unwrap()[..], b"inside");
    // A link that leads out is found out where it is opened.
    for refused in [
        here.locations.head_of(&folder.file_in("secret.png"), 6).await.map(drop),
        here.locations.local_path(&folder.file_in("secret.png")).await.map(drop),
    ] {
        assert!(matches!(refused, Err(LocationError::OutsideRoots { .. })), "{refused:?}");
    }
    for (path, expected) in [
        ("outside/", "is outside"),
        ("inside/way-out/", "is outside"),
        ("inside/../outside/", "is outside"),
        ("inside/missing/", "inside/missing/ does not exist"),
        ("inside/in.txt/", "does not exist"),
    ] {
        let folder = Location::File(here.path(path));
        let error = here.locations.list(&folder, 100).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{path}: {error}");
        assert_eq!(error.kind(), Kind::Poison);
    }
    let error = here.locations.list(&folder, 8).await.unwrap_err();
    assert!(matches!(error, LocationError::TooMany { max: 8, .. }), "{error}");
    symlink(here.path("inside/sub"), here.path("inside/same")).unwrap();
    let same = |one: &str, other: &str| (Location::File(here.path(one)), Location::File(here.path(other)));
    for (one, other, expected) in [("inside/sub/", "inside/same/", true), ("inside/sub/", "inside/", false)] {
        let (one, other) = same(one, other);
        assert_eq!(here.locations.is_same_folder(&one, &other).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_folder_in_s3_is_listed_by_name() {
    let server = S3Server::start("allowed").await;
    let here = folders();
    let limits = Limits { roots: vec![], buckets: vec!["allowed".into()] };
    let locations = Locations::new(limits, server.config());
    let folder = Location::of_folder("s3://allowed/in/").unwrap();
    fs::write(here.path("empty"), "").unwrap();
    for (name, file) in
        [("b.png", "made.txt"), ("a b.png", "made.txt"), ("below/c.png", "made.txt"), ("empty.png", "empty")]
    {
        locations.put(&folder.file_in(name), &here.path(file), Expected::Absent).await.unwrap();
    }
    locations.put(&folder.file_in(".hidden"), &here.path("made.txt"), Expected::Absent).await.unwrap();
    let entries = locations.list(&folder, 100).await.unwrap();
    assert_eq!(told(&entries), ["a b.png File", "b.png File", "below Folder", "empty.png Empty"]);
    assert_eq!(&locations.head_of(&folder.file_in("b.png"), 4).await.unwrap()[..], b"made");
    assert!(matches!(locations.list(&folder, 3).await, Err(LocationError::TooMany { .. })));
    let whole = Location::of_folder("s3://allowed/").unwrap();
    assert_eq!(told(&locations.list(&whole, 100).await.unwrap()), ["in Folder"]);
    let refused = locations.list(&Location::of_folder("s3://other/in/").unwrap(), 100).await.unwrap_err();
    assert_eq!(refused.to_string(), "bucket other is not among those that jobs may use");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_one_of_many_replaces_an_output() {
    let here = Arc::new(folders());
    let place = "inside/out.txt";
    here.put(place, Expected::Absent).await.unwrap();
    for round in 0..20 {
        let version = here.locations.version(&here.at(place)).await.unwrap().unwrap();
        let puts = (0..8).map(|_| {
            let (here, expected) = (here.clone(), Expected::Version(version.clone()));
            tokio::spawn(async move { here.put(place, expected).await })
        });
        let outcomes = futures::future::join_all(puts).await;
        let outcomes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap()).collect();
        let is_changed = |outcome: &&Result<(), LocationError>| matches!(outcome, Err(LocationError::Changed { .. }));
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "round {round}: {outcomes:?}");
        assert_eq!(outcomes.iter().filter(is_changed).count(), 7, "round {round}: {outcomes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_is_looked_at_under_its_lock() {
    let here = Arc::new(folders());
    let (place, path) = ("inside/out.txt", here.path("inside/out.txt"));
    here.put(place, Expected::Absent).await.unwrap();
    let version = here.locations.version(&here.at(place)).await.unwrap().unwrap();
    let lock = fs::File::open(&path).unwrap();
    lock.lock().unwrap();
    let mut waiting = tokio::spawn({
        let here = here.clone();
        async move { here.put(place, Expected::Version(version)).await }
    });
    // It must not end, however long this is.
    tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.unwrap_err();
    // Another process, which has the lock.
    fs::write(here.path("inside/other"), "other").unwrap();
    fs::rename(here.path("inside/other"), &path).unwrap();
    drop(lock);
    let outcome = waiting.await.unwrap();
    assert!(matches!(outcome, Err(LocationError::Changed { .. })), "{outcome:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "other");
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_put() {
    let here = folders();
    let (target, location) = (here.path("inside/out.txt"), here.at("inside/out.txt"));
    let awaited = Awaited::default();
    let is_dropped = awaited.0.clone();
    let put = || put_file(&target, &Body::Bytes("x".into()), &Expected::Absent, (&location, &is_dropped));
    drop(awaited);
    put().unwrap_err();
    let left = fs::read_dir(here.path("inside")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.filter(|name| name != "in.txt" && name != "sub").count(), 0, "nothing is left of it");
    is_dropped.store(false, Ordering::Relaxed);
    put().unwrap();
    assert!(target.is_file());
}

/// A FIFO, which nobody writes to, must not be opened to see that it is no file.
#[tokio::test]
async fn what_is_no_file_has_no_version() {
    let here = folders();
    let path = here.path("inside/pipe.mp4");
    rustix::fs::mkfifoat(rustix::fs::CWD, path.as_path(), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    assert_eq!(here.locations.version(&here.at("inside/pipe.mp4")).await.unwrap(), None);
    assert!(matches!(here.put("inside/pipe.mp4", Expected::Absent).await, Err(LocationError::Changed { .. })));
}
