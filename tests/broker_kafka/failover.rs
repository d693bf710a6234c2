//! One of three brokers dies and comes back while records flow.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use facemill::broker::topics;
use facemill::broker::{BrokerConfig, Claim, Outgoing, Producer, Watch};
use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};

use super::{join, record, spec};

const PARTITIONS: i32 = 6;
const RECORDS: i32 = 600;
/// Records that wait for their acknowledgement at once.
const BATCH: i32 = 20;
/// The broker leads a third of the partitions, whichever it is.
const VICTIM: &str = "broker-2.pid";

fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test-kafka`"))
}

fn three() -> BrokerConfig {
    BrokerConfig { brokers: var("FACEMILL_TEST_BROKERS3"), client_id: "failover".into(), ..BrokerConfig::default() }
}

fn kill(data: &Path) {
    let pid = std::fs::read_to_string(data.join(VICTIM)).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Starts the one that is missing, and waits for all three.
fn restart(data: &Path) {
    let first = three().brokers.split(',').next().unwrap().rsplit(':').next().unwrap().to_owned();
    let mut start = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/start.sh"));
    start.args(["--brokers", "3"]).env("FACEMILL_KAFKA_PORT", first).env("FACEMILL_KAFKA_DATA", data);
    assert!(start.env("FACEMILL_KAFKA_HEAP", "256m").status().unwrap().success());
}

type Place = (i32, i64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_loses_nothing_and_nothing_is_committed_early() {
    let data = PathBuf::from(var("FACEMILL_TEST_KAFKA3"));
    let spec = spec("chunks", PARTITIONS);
    topics::ensure(&three(), std::slice::from_ref(&spec), Some(3)).await.unwrap();
    let topic = spec.name.clone();

    let produced = tokio::spawn(produce(topic.clone(), data));
    // Finished as we know it: noted before the claim is.
    let finished: Arc<Mutex<BTreeSet<Place>>> = Arc::default();
    let watch = Watch::new(&three());
    let audit = tokio::spawn(audit(watch.clone(), topic.clone(), finished.clone()));

    let finish = |(place, claim): (Place, Claim)| {
        finished.lock().unwrap().insert(place);
        claim.finish();
    };
    let mut consumer = join(&three(), &topic, 16);
    let mut seen = BTreeMap::new();
    let mut open = Vec::new();
    while seen.len() < RECORDS as usize {
        let delivery = record(&mut consumer).await;
        let place = (delivery.partition, delivery.offset);
        let first = *seen.entry(delivery.record.unwrap()).or_insert(place);
        assert_eq!(first, place, "one record was written twice");
        open.push((place, delivery.claim));
        if open.len() == 8 {
            // Newest first, and the oldest only with the next ones: positions have holes before them.
            open.drain(4..).rev().for_each(finish);
        }
    }
    open.into_iter().for_each(finish);
    let acknowledged = produced.await.unwrap();
    assert_eq!(seen, acknowledged, "all that was acknowledged, where it was acknowledged");
    consumer.close().await;
    audit.abort();
    let audits = audit.await;
    assert!(audits.as_ref().is_err_and(|error| error.is_cancelled()), "{audits:?}");
    assert_eq!(watch.committed(&format!("group-{topic}"), &topic).await.unwrap(), watch.ends(&topic).await.unwrap());
}

/// Sends all records; on the way the broker dies, and is started again while the rest goes on.
async fn produce(topic: String, data: PathBuf) -> BTreeMap<i32, Place> {
    let producer = Producer::start(&three()).unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut restarting = None;
    for begin in (0..RECORDS).step_by(BATCH as usize) {
        if begin == RECORDS / 3 {
            kill(&data);
        }
        if begin == RECORDS / 2 {
            let data = data.clone();
            restarting = Some(tokio::task::spawn_blocking(move || restart(&data)));
        }
        if begin == RECORDS - BATCH {
            restarting.take().unwrap().await.unwrap();
        }
        let sends = (begin..begin + BATCH).map(|value| {
            let (producer, topic) = (&producer, topic.as_str());
            async move {
                let partition = Some(value % PARTITIONS);
                let record = Outgoing { topic, key: None, partition, headers: &[], value: &value };
                (value, producer.send(record).await.unwrap())
            }
        });
        acknowledged.extend(join_all(sends).await);
    }
    acknowledged
}

/// Looks all the time that no position has passed a record that is not finished.
async fn audit(watch: Watch, topic: String, finished: Arc<Mutex<BTreeSet<Place>>>) {
    let group = format!("group-{topic}");
    let mut again = tokio::time::interval(Duration::from_millis(20));
    loop {
        again.tick().await;
        // The brokers may be between leaders.
        let Ok(positions) = watch.committed(&group, &topic).await else { continue };
        let finished = finished.lock().unwrap();
        for (partition, position) in positions {
            let early = (0..position).find(|offset| !finished.contains(&(partition, *offset)));
            assert_eq!(early, None, "partition {partition} is committed to {position}");
        }
    }
}
