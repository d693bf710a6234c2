//! What of the store may not be whole, and whom that ends: its job, and nobody else.

use std::collections::BTreeMap;

use super::*;
use crate::broker::topics::TopicSpec;
use crate::broker::{EmbeddedBroker, Producer};
use crate::contract::{ConsentPolicy, Decisions, topics};
use crate::error::Refusal;
use crate::site::testing;
use crate::store::{Body, Limits, Locations, StoreConfig};

/// A desk with a store and a broker of its own. All jobs are in partition 0.
struct Bench {
    desk: Desk,
    site: Site,
    _folder: tempfile::TempDir,
    _broker: EmbeddedBroker,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = |name: &str| TopicSpec { name: name.into(), partitions: 1, replicas: 1, config: BTreeMap::new() };
        let broker = EmbeddedBroker::start(&[topics::JOBS, topics::STATUS, topics::AUDIT].map(spec), None).unwrap();
        let mut site = testing::site(folder.path(), Locations::new(Limits::default(), StoreConfig::default())).await;
        site.producer = Producer::start(&broker.config("producer")).unwrap();
        let (repair_after, grace) = (Duration::ZERO, Duration::ZERO);
        let settings = Settings { joins: 1, repair_after, grace, credentials: None };
        let mut desk = Desk::new(site.clone(), &settings);
        desk.adopt(&[0]).await.unwrap();
        Self { desk, site, _folder: folder, _broker: broker }
    }

    async fn put(&self, key: &str, text: &str) {
        self.site.store.put_new(key, Body::Bytes(text.to_owned().into())).await.unwrap();
    }

    async fn mark(&self, job: &JobId) {
        let submission = "jobs/0/0@50".to_owned();
        let marker = OpenMarker { job: job.clone(), run: 1, submission, submitted_at: 50, asked_again_at: None };
        self.site.put_json(&keys::open(0, job), &marker).await.unwrap();
    }

    async fn ended(&self, job: &JobId) -> Option<Manifest> {
        assert!(self.site.store.head(&keys::open(0, job)).await.unwrap().is_none(), "the marker of {job} stands");
        self.site.read_json(&keys::manifest(job, 1)).await.unwrap()
    }
}

fn job(name: &str) -> Job {
    let text = format!(r#"{{"job":"{name}","sources":[],"target":"s3://b/t.mp4","output":"s3://b/o.mp4"}}"#);
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_job_is_not_whole_fails_when_it_is_asked_for_again() {
    let mut bench = Bench::new().await;
    let jobs = ["damaged", "gone"].map(|name| job(name).job);
    bench.put(&keys::job(&jobs[0]), "{").await;
    for job in &jobs {
        bench.mark(job).await;
    }
    bench.desk.look_for_idle().await.unwrap();
    for job in &jobs {
        let ended = bench.ended(job).await.expect("it has ended");
        assert_eq!(ended.state, State::Failed);
        assert!(ended.reason.as_ref().is_some_and(|reason| reason.contains(&keys::job(job))), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_marker_is_not_whole_can_be_called_off() {
    let mut bench = Bench::new().await;
    let job = job("a").job;
    bench.put(&keys::open(0, &job), "{").await;
    bench.desk.adopt(&[0]).await.unwrap();
    bench.desk.count(&JobEvent::Cancel { job: job.clone(), at: None }, 100).await.unwrap();
    assert_eq!(bench.ended(&job).await.expect("it has ended").state, State::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_refused_ends_its_own_job_only() {
    let mut bench = Bench::new().await;
    let first = job("a");
    bench.site.put_json(&keys::job(&first.job), &first).await.unwrap();
    let refused = |content| JobEvent::Refused {
        job: first.job.clone(),
        run: 1,
        content,
        submission: "jobs/0/1@60".to_owned(),
        refusal: Refusal::new("job", "1 MB", "less"),
        decisions: Decisions { consent: ConsentPolicy::Off, gate: None },
    };
    bench.desk.count(&refused(Digest::of(b"another")), 100).await.unwrap();
    assert!(bench.ended(&first.job).await.is_none());
    bench.desk.count(&refused(first.digest()), 100).await.unwrap();
    assert_eq!(bench.ended(&first.job).await.expect("it has ended").state, State::Failed);
}
