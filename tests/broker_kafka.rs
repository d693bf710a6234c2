//! The broker module against a real Apache Kafka, for what librdkafka's mock does not do as Kafka does: making topics,
//! rebalances, eviction.
//!
//! `make test-kafka` starts the brokers of deploy/kafka and sets FACEMILL_TEST_BROKERS.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use facemill::broker::topics::{self, TopicSpec};
use facemill::broker::{BrokerConfig, Consumer, Delivery, Event, News, Options, Outgoing, Producer, Reader, StartAt};
use facemill::error::{Classify, Kind};

/// So that a fault fails a test instead of hanging it.
const LIMIT: Duration = Duration::from_secs(60);

fn config() -> BrokerConfig {
    let brokers = std::env::var("FACEMILL_TEST_BROKERS")
        .expect("FACEMILL_TEST_BROKERS names a Kafka broker: run `make test-kafka`, or set it to what deploy/kafka/start.sh prints");
    BrokerConfig { brokers, client_id: "broker-test".into(), ..BrokerConfig::default() }
}

/// Short sessions, as the local brokers allow.
fn brisk() -> BrokerConfig {
    let mut config = config();
    let brisk = [("session.timeout.ms", "1500"), ("heartbeat.interval.ms", "300"), ("max.poll.interval.ms", "1500")];
    config.properties.extend(brisk.map(|(name, value)| (name.to_owned(), value.to_owned())));
    config
}

/// A topic that no other test or run has, in the form of the project's `like`.
async fn topic(like: &str, partitions: i32) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let mut spec = TopicSpec::builtin().unwrap().into_iter().find(|topic| topic.name == like).unwrap();
    spec.name = format!("test-{like}-{now}");
    spec.partitions = partitions;
    let made = topics::ensure(&config(), std::slice::from_ref(&spec), Some(1)).await.unwrap();
    assert_eq!(made, [spec.name.clone()]);
    assert_eq!(topics::ensure(&config(), std::slice::from_ref(&spec), Some(1)).await.unwrap(), Vec::<String>::new());
    spec.name
}

async fn produce(topic: &str, partitions: i32, count: i32) -> Producer {
    let producer = Producer::start(&config()).unwrap();
    assert_eq!(producer.partitions(topic).await.unwrap(), partitions);
    for value in 0..count {
        let outgoing =
            Outgoing { topic, key: Some("k"), partition: Some(value % partitions), headers: &[], value: &value };
        assert_eq!(producer.send(outgoing).await.unwrap(), (value % partitions, i64::from(value / partitions)));
    }
    producer
}

fn join(config: &BrokerConfig, topic: &str, in_flight: usize) -> Consumer<i32> {
    Consumer::start(config, &format!("group-{topic}"), topic, Options { in_flight }).unwrap()
}

async fn event(consumer: &mut Consumer<i32>) -> Event<i32> {
    tokio::time::timeout(LIMIT, consumer.next()).await.expect("an event in time").expect("open").expect("no error")
}

async fn record(consumer: &mut Consumer<i32>) -> Delivery<i32> {
    loop {
        if let Event::Record(delivery) = event(consumer).await {
            return delivery;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_finished_is_not_delivered_again() {
    let topic = topic("chunks", 4).await;
    produce(&topic, 4, 40).await;
    let mut first = join(&config(), &topic, 8);
    let mut seen = Vec::new();
    while seen.len() < 25 {
        let delivery = record(&mut first).await;
        seen.push(delivery.record.unwrap());
        delivery.claim.finish();
    }
    first.close().await;
    let mut second = join(&config(), &topic, 8);
    while seen.len() < 40 {
        let delivery = record(&mut second).await;
        seen.push(delivery.record.unwrap());
        delivery.claim.finish();
    }
    second.close().await;
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..40), "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_work_does_not_lose_the_partitions() {
    let topic = topic("chunks", 2).await;
    produce(&topic, 2, 4).await;
    let mut consumer = join(&brisk(), &topic, 1);
    let held = record(&mut consumer).await.claim;
    // Twice the poll interval and the session.
    let meanwhile = tokio::time::timeout(Duration::from_secs(3), consumer.next()).await;
    assert!(meanwhile.is_err(), "{meanwhile:?} while the only claim was held");
    held.ensure_live().unwrap();
    held.finish();
    for _ in 0..3 {
        record(&mut consumer).await.claim.finish();
    }
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_move_without_stopping_the_others() {
    let topic = topic("chunks", 2).await;
    produce(&topic, 2, 4).await;
    let mut old = join(&brisk(), &topic, 8);
    let mut claims = BTreeMap::new();
    for _ in 0..4 {
        let delivery = record(&mut old).await;
        claims.insert((delivery.partition, delivery.offset), delivery.claim);
    }
    for partition in 0..2 {
        claims.remove(&(partition, 0)).unwrap().finish();
    }
    let mut new = join(&brisk(), &topic, 8);
    let taken = loop {
        if let Event::Revoked(partitions) = event(&mut old).await
            && let [partition] = partitions[..]
        {
            break partition;
        }
    };
    claims[&(taken, 1)].ensure_live().unwrap_err();
    claims[&(1 - taken, 1)].ensure_live().unwrap();
    let moved = record(&mut new).await;
    assert_eq!((moved.partition, moved.offset), (taken, 1), "what was finished was committed before the move");
    moved.claim.finish();
    new.close().await;
    old.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_whose_place_was_taken_ends_with_a_fatal_error() {
    let topic = topic("chunks", 1).await;
    let member = || {
        let config = BrokerConfig { static_member: Some("worker-1".into()), ..brisk() };
        join(&config, &topic, 1)
    };
    let mut first = member();
    assert!(matches!(event(&mut first).await, Event::Assigned(_)));
    let second = member();
    let error = loop {
        match tokio::time::timeout(LIMIT, first.next()).await.expect("an error in time").expect("open") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Fatal, "{error}");
    assert!(first.next().await.is_none());
    second.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_catches_up_and_follows() {
    let topic = topic("status", 3).await;
    let producer = produce(&topic, 3, 6).await;
    let mut reader: Reader<i32> = Reader::start(&config(), &topic, StartAt::Beginning).await.unwrap();
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout(LIMIT, reader.next()).await.unwrap().unwrap().unwrap() {
            News::Record(delivery) => seen.push(delivery.record.unwrap()),
            News::CaughtUp => break,
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..6));
    producer.send(Outgoing { topic: &topic, key: Some("j"), partition: None, headers: &[], value: &6 }).await.unwrap();
    let News::Record(next) = tokio::time::timeout(LIMIT, reader.next()).await.unwrap().unwrap().unwrap() else {
        panic!("caught up twice");
    };
    assert_eq!((next.record, next.key.as_deref()), (Ok(6), Some("j")));
}
