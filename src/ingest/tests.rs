//! The role as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::broker::topics::TopicSpec;
use crate::broker::{EmbeddedBroker, News, Outgoing, Producer, Reader, StartAt};
use crate::site::testing;
use crate::store::{AccessKey, Limits, Locations, StoreConfig};

/// How often the assembler asks for what is missing, and how many times: far more often than it would.
const ASK_EVERY: Duration = Duration::from_millis(300);
const ASKED: u32 = 8;
/// A node that has not begun by then never will.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);

/// A bucket whose objects never come, and how often somebody has begun to fetch one.
async fn endless_bucket() -> (StoreConfig, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let fetches = Arc::<AtomicU32>::default();
    let counted = fetches.clone();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut line, _)) = listener.accept().await {
            let mut request = [0; 4];
            line.read_exact(&mut request).await.unwrap();
            if request == *b"GET " {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            open.push(line);
        }
    });
    let access_key = Some(AccessKey { id: "id".to_owned(), secret: "secret".to_owned() });
    let (endpoint_url, region) = (Some(endpoint), Some("here".to_owned()));
    (StoreConfig { endpoint_url, region, force_path_style: true, access_key, read_limit: None }, fetches)
}

/// An ingest node on a broker of its own.
struct Bench {
    folder: tempfile::TempDir,
    site: Site,
    stop: CancellationToken,
    role: JoinHandle<Result<(), SiteError>>,
    broker: EmbeddedBroker,
}

impl Bench {
    async fn start(bucket: StoreConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = |name: &str| TopicSpec { name: name.into(), partitions: 1, replicas: 1, config: BTreeMap::new() };
        let names = [topics::JOBS, topics::STATUS, topics::COMPLETIONS, topics::DEAD_LETTERS];
        let broker = EmbeddedBroker::start(&names.map(spec), None).unwrap();
        let limits = Limits { roots: vec![folder.path().to_owned()], ..Limits::default() };
        let mut site = testing::site(folder.path(), Locations::new(limits, bucket)).await;
        site.broker = broker.config("ingest");
        site.producer = Producer::start(&site.broker).unwrap();
        let catalog = Arc::new(Catalog::builtin().unwrap());
        let settings = Settings {
            jobs: 2,
            outstanding_chunks: 8,
            gate: Gate::open(GateMode::Off, &catalog).unwrap(),
            catalog,
            consent: ConsentPolicy::Recorded,
            provider: "cpu".to_owned(),
            limits: media::Limits::default(),
            hardware: media::HardwareEncoders::Listed(Vec::new()),
        };
        let stop = CancellationToken::new();
        let role = tokio::spawn(run(site.clone(), settings, stop.clone()));
        Self { folder, site, stop, role, broker }
    }

    /// A job whose clip lies in the bucket.
    fn job(&self) -> Job {
        let (head, output) =
            (r#"{"job":"a","sources":[],"target":"s3://clips/t.mp4""#, self.folder.path().join("o.mp4"));
        let text = format!(r#"{head},"output":"file://{}","swap":{{"swapper":"none"}}}}"#, output.display());
        serde_json::from_str(&text).unwrap()
    }

    async fn publish(&self, job: &Job, headers: &[(&str, &[u8])]) {
        let (topic, key, partition) = (topics::JOBS, Some(job.job.as_str()), Some(0));
        self.site.producer.send(Outgoing { topic, key, partition, headers, value: job }).await.unwrap();
    }

    /// The first record of a topic.
    async fn first<T: DeserializeOwned + Send + 'static>(&self, topic: &'static str) -> Delivery<T, ()> {
        let config = self.broker.config("reader");
        let mut reader = Reader::<T>::start(&config, topic, StartAt::Beginning).await.unwrap();
        loop {
            match reader.next().await.unwrap().unwrap() {
                News::Record(delivery) => return delivery,
                News::CaughtUp => assert!(!self.role.is_finished(), "it has ended"),
            }
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.role.await.unwrap().unwrap();
    }
}

/// A clip may take longer to fetch than the assembler waits before it asks for the run again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_fetching_is_not_made_to_begin_anew() {
    let (bucket, fetches) = endless_bucket().await;
    let bench = Bench::start(bucket).await;
    let job = bench.job();
    bench.publish(&job, &[]).await;
    let begun = async {
        while fetches.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(TURN_AGAIN).await;
        }
    };
    tokio::time::timeout(BEGUN_WITHIN, begun).await.expect("it is fetched");
    for _ in 0..ASKED {
        bench.publish(&job, &[(REPAIR, b"1")]).await;
        tokio::time::sleep(ASK_EVERY).await;
    }
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
    bench.end().await;
}

/// Of which brokers take the record, and not what would be told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_job_is_refused_and_ends_nobody() {
    let bench = Bench::start(StoreConfig::default()).await;
    let mut job = bench.job();
    job.video.encoder = "x".repeat(990_000);
    bench.publish(&job, &[]).await;
    let told = bench.first::<JobEvent>(topics::COMPLETIONS).await.record.unwrap();
    let JobEvent::Refused { refusal, .. } = told else { panic!("{told:?}") };
    assert_eq!(refusal.field, "job");
    assert!(refusal.to_string().contains("at most 262144 bytes"), "{refusal}");
    assert_eq!(bench.first::<Job>(topics::DEAD_LETTERS).await.key.as_deref(), Some("a"));
    assert!(bench.site.store.list(keys::JOBS).await.unwrap().is_empty(), "it is not kept");
    bench.end().await;
}
