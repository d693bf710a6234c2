//! A store with an open and an ended job over the same kind of objects, all of them old.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::contract::{
    Clip, Cut, CutRule, Digest, Job, Keep, OpenMarker, PIPELINE, Plan, Ratio, Run, SliceIndex, Still, Toolchain,
    VERSION, keys, partition_of,
};
use crate::store::{Attempt, Body, FsStore, Listed, Meta, Put, Version};

const DAY: Duration = Duration::from_secs(24 * 3600);
const KEEP: Settings = Settings { keep: Duration::from_secs(30 * 24 * 3600), dry_run: false };
const LOOK: &str = "blobs of nobody";

struct Here {
    root: tempfile::TempDir,
    store: FsStore,
}

/// A job with its clip, cut into two chunks, and everything that it needs.
struct Planned {
    plan: Plan,
    run: Run,
    slices: [Digest; 2],
}

impl Planned {
    fn new(name: &str) -> Self {
        let job =
            json!({ "v": 1, "job": name, "sources": [], "target": "file:///in.mp4", "output": "file:///out.mp4" });
        let job: Job = serde_json::from_value(job).unwrap();
        let clip = Clip {
            format: "mp4".into(),
            stream: 0,
            codec: "h264".into(),
            width: 64,
            height: 64,
            pixel_format: "yuv420p".into(),
            time_base: Ratio { num: 1, den: 25 },
            frame_rate: Ratio { num: 25, den: 1 },
            pts: (0..8).collect(),
            last_duration: 1,
            packet_pts: Vec::new(),
            restarts: Vec::new(),
            hdr: None,
            hidden: Vec::new(),
            truncated: false,
            lost_from: None,
            turn: crate::frame::Turn::None,
            mirrored: false,
            stills: Vec::new(),
        };
        let chunk =
            |start, end| Cut { start, end, lo: start, hi: end, first_packet: start, last_packet: end - 1, base_pts: 0 };
        let (source, rule) = (Digest::of(name.as_bytes()), CutRule::new([4, 4], "none".into(), Keep::default()));
        let plan = Plan {
            v: VERSION,
            source,
            rule: rule.clone(),
            clip,
            chunks: vec![chunk(0, 4), chunk(4, 8)],
            looks: Vec::new(),
            warnings: Vec::new(),
        };
        let run = Run {
            v: VERSION,
            job,
            run: 1,
            clip: source,
            rule,
            portraits: vec![Digest::of(format!("photo of {name}").as_bytes())],
            people: Vec::new(),
            reference: Some(Digest::of(format!("look of {name}").as_bytes())),
            group: "workers".into(),
            toolchain: Toolchain {
                pipeline: PIPELINE,
                encoder: "x".into(),
                provider: "cpu".into(),
                models: Default::default(),
            },
            video: None,
            warnings: Vec::new(),
            digital_source_type: None,
            decisions: Default::default(),
            output_before: None,
            sidecar_before: None,
            outputs_before: Default::default(),
            seconds: Default::default(),
            accepted_at: 0.0,
        };
        let slices = [0, 1].map(|chunk| Digest::of(slice(name, chunk).as_bytes()));
        Self { plan, run, slices }
    }

    /// A folder of two stills.
    fn folder(name: &str) -> Self {
        let mut planned = Self::new(name);
        let plan = &mut planned.plan;
        let still = |number: usize| Still {
            name: number.to_string(),
            digest: Digest::of(format!("{name} {number}").as_bytes()),
            clip: Clip { pts: vec![0], ..plan.clip.clone() },
        };
        plan.clip = Clip::of_stills(vec![still(0), still(1)]);
        plan.chunks = vec![Cut::of_still(0), Cut::of_still(1)];
        planned
    }

    fn name(&self) -> &str {
        self.run.job.job.as_str()
    }

    fn marker(&self) -> (String, String) {
        let job = self.run.job.job.clone();
        let key = keys::open(partition_of(&job, 12), &job);
        let marker = OpenMarker { job, run: 1, submission: "s".into(), submitted_at: 0, asked_again_at: None };
        (key, serde_json::to_string(&marker).unwrap())
    }

    /// Key and content of all that the job needs, in the order of its life.
    fn objects(&self) -> Vec<(String, String)> {
        let Self { plan, run, slices } = self;
        let (job, cut, name) = (&run.job.job, plan.rule.id(), self.name());
        let json = |value: &dyn erased::Json| value.text();
        let mut objects = vec![
            (keys::job(job), json(&run.job)),
            (keys::plan(&plan.source, &cut), json(plan)),
            (keys::reference(&plan.source, &cut, "00000000"), json(&run.reference)),
            (keys::blob(&run.portraits[0]), format!("photo of {name}")),
            (keys::blob(&run.reference.unwrap()), format!("look of {name}")),
            (keys::run(job, 1), json(run)),
            (keys::slices(&plan.source, &cut), json(&SliceIndex { slices: slices.to_vec() })),
        ];
        for (chunk, span) in plan.chunks.iter().enumerate() {
            objects.push((plan.slice_key(chunk), slice(name, chunk)));
            objects.push((keys::result(&run.spec(plan, span, slices[chunk]).fingerprint()), format!("result {chunk}")));
        }
        objects
    }
}

mod erased {
    pub trait Json {
        fn text(&self) -> String;
    }

    impl<T: serde::Serialize> Json for T {
        fn text(&self) -> String {
            serde_json::to_string(self).unwrap()
        }
    }
}

fn slice(name: &str, chunk: usize) -> String {
    format!("slice {chunk} of {name}")
}

impl Here {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = FsStore::open(root.path()).await.unwrap();
        Self { root, store }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.path().join(key)
    }

    async fn put(&self, key: &str, content: &str, age: Duration) {
        let body = Body::Bytes(Bytes::copy_from_slice(content.as_bytes()));
        assert_eq!(self.store.put_new(key, body).await.unwrap(), Put::Created, "{key}");
        self.set_age(key, age);
    }

    fn set_age(&self, key: &str, age: Duration) {
        let times = fs::FileTimes::new().set_modified(SystemTime::now() - age);
        fs::File::options().write(true).open(self.path(key)).unwrap().set_times(times).unwrap();
    }

    async fn put_all(&self, job: &Planned, is_open: bool, age: Duration) {
        for (key, content) in job.objects() {
            self.put(&key, &content, age).await;
        }
        if is_open {
            let (key, content) = job.marker();
            self.put(&key, &content, age).await;
        } else {
            self.put(&keys::manifest(&job.run.job.job, 1), "{}", age).await;
        }
    }

    async fn left(&self) -> Vec<String> {
        self.store.list("").await.unwrap().into_iter().map(|object| object.key).collect()
    }
}

fn keys_of(job: &Planned) -> Vec<String> {
    let mut keys: Vec<String> = job.objects().into_iter().map(|(key, _)| key).chain([job.marker().0]).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn what_no_open_job_needs_goes_when_it_is_old() {
    let here = Here::new().await;
    let (open, ended) = (Planned::new("open"), Planned::new("ended"));
    here.put_all(&open, true, 90 * DAY).await;
    here.put_all(&ended, false, 31 * DAY).await;
    here.put(&keys::blob(&Digest::of(LOOK.as_bytes())), LOOK, 31 * DAY).await;
    here.put("probe/old", "1", 2 * DAY).await;
    fs::write(here.path("results/.tmp-x"), "12345").unwrap();
    here.set_age("results/.tmp-x", 2 * DAY);

    let before = here.left().await;
    let expected = run(&here.store, Settings { dry_run: true, ..KEEP }).await.unwrap();
    assert_eq!(here.left().await, before, "a dry run deletes nothing");
    let report = run(&here.store, KEEP).await.unwrap();
    assert_eq!(report, expected);
    assert_eq!(here.left().await, keys_of(&open));
    assert!(!here.path("results/.tmp-x").exists());

    let objects = |class| report.deleted.get(&class).map_or(0, |tally: &Tally| tally.objects);
    let table = [
        (Class::Results, 2),
        (Class::Slices, 2),
        (Class::Plans, 2),
        (Class::Looks, 1),
        (Class::Blobs, 3),
        (Class::Jobs, 3),
        (Class::Probes, 1),
        (Class::Unfinished, 1),
    ];
    for (class, count) in table {
        assert_eq!(objects(class), count, "{class:?}");
    }
    assert_eq!(report.deleted[&Class::Results], Tally { objects: 2, bytes: 16 });
    assert_eq!(report.open_jobs, 1);
    assert_eq!(run(&here.store, KEEP).await.unwrap().deleted, BTreeMap::new());
}

#[tokio::test]
async fn what_is_young_stays() {
    let here = Here::new().await;
    let ended = Planned::new("ended");
    here.put_all(&ended, false, 29 * DAY).await;
    here.put("probe/young", "1", DAY / 2).await;
    let before = here.left().await;
    assert_eq!(run(&here.store, KEEP).await.unwrap(), Report::default());
    assert_eq!(here.left().await, before);
}

#[tokio::test]
async fn a_jobs_folder_goes_in_one_piece() {
    let here = Here::new().await;
    let ended = Planned::new("ended");
    let job = ended.run.job.job.clone();
    for (key, age) in [(keys::job(&job), 90), (keys::run(&job, 1), 60), (keys::manifest(&job, 1), 29)] {
        here.put(&key, "{}", age * DAY).await;
    }
    assert_eq!(run(&here.store, KEEP).await.unwrap().deleted, BTreeMap::new());
    here.set_age(&keys::manifest(&job, 1), 31 * DAY);
    assert_eq!(run(&here.store, KEEP).await.unwrap().deleted[&Class::Jobs].objects, 3);
}

#[tokio::test]
async fn results_of_a_clip_that_is_still_being_cut_stay() {
    let here = Here::new().await;
    let open = Planned::new("open");
    here.put_all(&open, true, 90 * DAY).await;
    // The second slice is not cut yet, and so there is no index.
    let cut = open.plan.rule.id();
    let second = &open.plan.chunks[1];
    let result = keys::result(&open.run.spec(&open.plan, second, open.slices[1]).fingerprint());
    let not_yet = [keys::slices(&open.plan.source, &cut), keys::slice(&open.plan.source, &cut, 4, 8)];
    for key in &not_yet {
        here.store.delete(key, None).await.unwrap();
    }
    run(&here.store, KEEP).await.unwrap();
    let mut expected = keys_of(&open);
    expected.retain(|key| !not_yet.contains(key) && *key != result);
    assert_eq!(here.left().await, expected, "nobody relies on the result of a slice that is not there");
}

/// Its slices lie where they would if each still were a target alone.
#[tokio::test]
async fn slices_and_results_of_an_open_folder_stay() {
    for is_cut in [true, false] {
        let here = Here::new().await;
        let (open, ended) = (Planned::folder("open"), Planned::folder("ended"));
        here.put_all(&open, true, 90 * DAY).await;
        here.put_all(&ended, false, 90 * DAY).await;
        let mut expected = keys_of(&open);
        if !is_cut {
            let index = keys::slices(&open.plan.source, &open.plan.rule.id());
            here.store.delete(&index, None).await.unwrap();
            expected.retain(|key| *key != index);
        }
        run(&here.store, KEEP).await.unwrap();
        assert_eq!(here.left().await, expected);
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_followed_ends_it() {
    type Damage = fn(&Planned) -> (String, Option<&'static str>);
    let damages: [Damage; 5] = [
        |job| (job.marker().0, Some("{")),
        |job| (keys::run(&job.run.job.job, 1), Some("{}")),
        |job| (keys::plan(&job.plan.source, &job.plan.rule.id()), Some("")),
        |job| (keys::plan(&job.plan.source, &job.plan.rule.id()), None),
        |job| (keys::slices(&job.plan.source, &job.plan.rule.id()), Some("[]")),
    ];
    for damage in damages {
        let here = Here::new().await;
        let (open, ended) = (Planned::new("open"), Planned::new("ended"));
        here.put_all(&open, true, 90 * DAY).await;
        here.put_all(&ended, false, 90 * DAY).await;
        let (key, content) = damage(&open);
        match content {
            Some(content) => fs::write(here.path(&key), content).unwrap(),
            None => fs::remove_file(here.path(&key)).unwrap(),
        }
        let before = here.left().await;
        let error = run(&here.store, KEEP).await.unwrap_err().to_string();
        let marker = open.marker().0;
        assert!(error.contains(&marker) && error.contains(&key), "{error}");
        assert_eq!(here.left().await, before, "{key}");
    }
}

#[tokio::test]
async fn a_job_that_is_being_planned_keeps_its_folder() {
    let here = Here::new().await;
    let planned = Planned::new("planned");
    let job = keys::job(&planned.run.job.job);
    here.put(&job, "{}", 90 * DAY).await;
    let (marker, content) = planned.marker();
    here.put(&marker, &content, 90 * DAY).await;
    run(&here.store, KEEP).await.unwrap();
    assert_eq!(here.left().await, [job, marker]);
}

/// What another process does at the worst moment.
type Meanwhile = Box<dyn FnOnce(&FsStore) -> futures::future::BoxFuture<'_, ()> + Send>;

/// A store in which something happens just before the first call of a kind.
struct Racing {
    store: FsStore,
    before_list_of: Mutex<Option<(&'static str, Meanwhile)>>,
    before_delete: Mutex<Option<Meanwhile>>,
    after_list_of: Mutex<Option<(&'static str, Meanwhile)>>,
    /// After so many deletes it is away.
    deletes: Mutex<usize>,
}

impl Racing {
    fn new(store: &FsStore) -> Self {
        Self {
            store: store.clone(),
            before_list_of: Mutex::default(),
            before_delete: Mutex::default(),
            after_list_of: Mutex::default(),
            deletes: Mutex::new(usize::MAX),
        }
    }
}

fn taken(slot: &Mutex<Option<(&'static str, Meanwhile)>>, prefix: &str) -> Option<Meanwhile> {
    let mut slot = slot.lock().unwrap();
    let is_it = slot.as_ref().is_some_and(|(wanted, _)| *wanted == prefix);
    if is_it { slot.take().map(|(_, meanwhile)| meanwhile) } else { None }
}

#[async_trait]
impl ObjectStore for Racing {
    async fn put_new_as(&self, key: &str, body: Body, attempt: &Attempt) -> Result<Put, StoreError> {
        self.store.put_new_as(key, body, attempt).await
    }

    async fn replace_as(
        &self,
        key: &str,
        body: Body,
        expected: Option<&Version>,
        attempt: &Attempt,
    ) -> Result<Version, StoreError> {
        self.store.replace_as(key, body, expected, attempt).await
    }

    async fn get(&self, key: &str, max: u64) -> Result<Bytes, StoreError> {
        self.store.get(key, max).await
    }

    async fn fetch(&self, key: &str, to: &std::path::Path) -> Result<u64, StoreError> {
        self.store.fetch(key, to).await
    }

    async fn tail(&self, key: &str, bytes: u64) -> Result<Bytes, StoreError> {
        self.store.tail(key, bytes).await
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        self.store.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.store.list(prefix).await
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        if let Some(meanwhile) = taken(&self.before_list_of, prefix) {
            meanwhile(&self.store).await;
        }
        let page = self.store.list_after(prefix, after).await;
        if let Some(meanwhile) = taken(&self.after_list_of, prefix) {
            meanwhile(&self.store).await;
        }
        page
    }

    async fn delete(&self, key: &str, if_version: Option<&Version>) -> Result<(), StoreError> {
        let meanwhile = self.before_delete.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile(&self.store).await;
        }
        let left = self.deletes.lock().unwrap().checked_sub(1);
        let Some(left) = left else {
            return Err(StoreError::Unavailable { doing: "delete", key: key.to_owned(), reason: "killed".into() });
        };
        *self.deletes.lock().unwrap() = left;
        self.store.delete(key, if_version).await
    }

    async fn sweep(&self, before: SystemTime, delete: bool) -> Result<Swept, StoreError> {
        self.store.sweep(before, delete).await
    }
}

async fn write(store: &FsStore, key: String, content: String) {
    store.replace(&key, Body::Bytes(content.into()), None).await.unwrap();
}

/// The job was accepted after the markers were read: its marker and run are young, what it relies on is old.
#[tokio::test]
async fn a_job_accepted_after_the_listing_keeps_what_it_needs() {
    let here = Here::new().await;
    let job = Planned::new("late");
    for (key, content) in job.objects() {
        here.put(&key, &content, 90 * DAY).await;
    }
    let racing = Racing::new(&here.store);
    let accepted = job.marker();
    *racing.after_list_of.lock().unwrap() = Some((
        keys::RESULTS,
        Box::new(move |store| Box::pin(async move { write(store, accepted.0, accepted.1).await })),
    ));
    assert_eq!(run(&racing, KEEP).await.unwrap(), Report { open_jobs: 1, ..Report::default() });
    assert_eq!(here.left().await, keys_of(&job));
}

/// The job has no run yet; it has renewed what it found, between the look at its age and the delete.
#[tokio::test]
async fn what_is_renewed_before_the_delete_stays() {
    let here = Here::new().await;
    let key = keys::blob(&Digest::of(LOOK.as_bytes()));
    here.put(&key, LOOK, 90 * DAY).await;
    let racing = Racing::new(&here.store);
    let renewed = key.clone();
    *racing.before_delete.lock().unwrap() =
        Some(Box::new(move |store| Box::pin(async move { write(store, renewed, LOOK.into()).await })));
    assert_eq!(run(&racing, KEEP).await.unwrap(), Report::default());
    assert_eq!(here.left().await, [key]);
}

/// The job was submitted again: it has renewed `job.json` and is reading its runs; the marker comes after that.
#[tokio::test]
async fn a_job_submitted_again_finds_its_runs() {
    let here = Here::new().await;
    let ended = Planned::new("ended");
    let job = ended.run.job.job.clone();
    let folder = [keys::job(&job), keys::manifest(&job, 1), keys::run(&job, 1)];
    for key in &folder {
        here.put(key, "{}", 90 * DAY).await;
    }
    let racing = Racing::new(&here.store);
    let renewed = folder[0].clone();
    *racing.after_list_of.lock().unwrap() =
        Some((keys::JOBS, Box::new(move |store| Box::pin(async move { write(store, renewed, "{}".into()).await }))));
    assert_eq!(run(&racing, KEEP).await.unwrap(), Report::default());
    assert_eq!(here.left().await, folder);
}

/// The job has ended, and its marker with it, since the markers were read: nothing of it goes this time.
#[tokio::test]
async fn a_job_that_ends_meanwhile_is_left_for_the_next_time() {
    let here = Here::new().await;
    let job = Planned::new("ending");
    here.put_all(&job, true, 90 * DAY).await;
    let racing = Racing::new(&here.store);
    let marker = job.marker().0;
    *racing.before_list_of.lock().unwrap() = Some((
        keys::RESULTS,
        Box::new(move |store| Box::pin(async move { store.delete(&marker, None).await.unwrap() })),
    ));
    assert_eq!(run(&racing, KEEP).await.unwrap().deleted, BTreeMap::new());
    assert_eq!(run(&here.store, KEEP).await.unwrap().deleted.len(), 6, "all classes of a job");
}

/// The same job submitted again must not find a run that seems not to have ended.
#[tokio::test]
async fn a_gc_that_is_killed_leaves_no_run_without_its_end() {
    let job: crate::contract::JobId = "ended".parse().unwrap();
    let delivery = |run| keys::delivery(&job, run, &Digest::of(b"output"));
    // Two digits: by number, 2 comes before 10.
    let runs = [1, 2, 10];
    let folder = runs.iter().flat_map(|&run| [keys::run(&job, run), keys::manifest(&job, run), delivery(run)]);
    let folder: Vec<String> = folder.chain([keys::job(&job), keys::cancelled(&job)]).collect();
    for deletes in 0..=folder.len() {
        let here = Here::new().await;
        for key in &folder {
            here.put(key, "{}", 90 * DAY).await;
        }
        let dying = Racing { deletes: Mutex::new(deletes), ..Racing::new(&here.store) };
        assert_eq!(run(&dying, KEEP).await.is_ok(), deletes == folder.len());
        let left = here.left().await;
        let is_there = |key: String| left.contains(&key);
        for (index, &number) in runs.iter().enumerate() {
            assert!(!is_there(keys::run(&job, number)) || is_there(keys::manifest(&job, number)), "{left:?}");
            assert!(!is_there(delivery(number)) || is_there(keys::run(&job, number)), "{left:?}");
            let later = &runs[index..];
            let are_later_there = later.iter().all(|&later| is_there(keys::manifest(&job, later)));
            assert!(!is_there(keys::manifest(&job, number)) || are_later_there, "ids go on from the last: {left:?}");
        }
        assert!(left.is_empty() || is_there(keys::job(&job)), "{left:?}");
        run(&here.store, KEEP).await.unwrap();
        assert_eq!(here.left().await, Vec::<String>::new());
    }
}
