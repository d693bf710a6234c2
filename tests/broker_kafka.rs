//! The broker module against a real Apache Kafka, for what librdkafka's mock does not do as Kafka does: making topics,
//! rebalances, eviction, brokers that die.
//!
//! `make test-kafka` starts the brokers of deploy/kafka and sets FACEMILL_TEST_BROKERS (one broker),
//! FACEMILL_TEST_BROKERS3 (a cluster of three) and FACEMILL_TEST_KAFKA3 (its data folder).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use facemill::broker::topics::{self, TopicSpec};
use facemill::broker::{
    BrokerConfig, Consumer, Delivery, Event, News, Options, Outgoing, Producer, Reader, StartAt, Watch,
};
use facemill::error::{Classify, Kind};
use rustix::process::{Pid, Signal, kill_process};

#[path = "broker_kafka/failover.rs"]
mod failover;

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
    let brisk = [("session.timeout.ms", "2500"), ("heartbeat.interval.ms", "300"), ("max.poll.interval.ms", "2500")];
    config.properties.extend(brisk.map(|(name, value)| (name.to_owned(), value.to_owned())));
    config
}

/// A topic that no other test or run has, in the form of the project's `like`.
async fn topic(like: &str, partitions: i32) -> String {
    let spec = spec(like, partitions);
    let made = topics::ensure(&config(), std::slice::from_ref(&spec), Some(1)).await.unwrap();
    assert_eq!(made, std::slice::from_ref(&spec.name));
    assert_eq!(topics::ensure(&config(), std::slice::from_ref(&spec), Some(1)).await.unwrap(), Vec::<String>::new());
    spec.name
}

fn spec(like: &str, partitions: i32) -> TopicSpec {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let mut spec = TopicSpec::builtin().unwrap().into_iter().find(|topic| topic.name == like).unwrap();
    spec.name = format!("test-{like}-{now}");
    spec.partitions = partitions;
    spec
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

/// The next partitions that it gets; whoever joins a full group gets none at first.
async fn assigned(consumer: &mut Consumer<i32>) -> Vec<i32> {
    loop {
        match event(consumer).await {
            Event::Assigned(partitions) if !partitions.is_empty() => return partitions,
            _ => {}
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
    let meanwhile = tokio::time::timeout(Duration::from_secs(5), consumer.next()).await;
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
async fn a_static_member_that_is_back_within_its_session_causes_no_rebalance() {
    let topic = topic("chunks", 2).await;
    let producer = produce(&topic, 2, 0).await;
    let member = |id: &str| join(&BrokerConfig { static_member: Some(id.into()), ..config() }, &topic, 8);
    let mut stays = member("stays");
    assert_eq!(assigned(&mut stays).await.len(), 2);
    let mut restarts = member("restarts");
    let place = assigned(&mut restarts).await;
    assert_eq!(place.len(), 1, "{place:?}");
    restarts.close().await;

    let mut restarted = member("restarts");
    assert_eq!(assigned(&mut restarted).await, place);
    for value in 0..2 {
        let record = Outgoing { topic: &topic, key: None, partition: Some(value), headers: &[], value: &value };
        producer.send(record).await.unwrap();
    }
    assert_eq!(record(&mut restarted).await.partition, place[0]);
    let mut moved = Vec::new();
    loop {
        match event(&mut stays).await {
            Event::Record(delivery) => break assert_eq!(delivery.partition, 1 - place[0]),
            Event::Revoked(partitions) => moved.push(partitions),
            Event::Assigned(partitions) => assert!(partitions.is_empty(), "{partitions:?}"),
        }
    }
    assert_eq!(moved, [place], "once, when the other came, and not when it came again");
    assert_eq!(Watch::new(&config()).members(&format!("group-{topic}")).await.unwrap(), 2);
    restarted.close().await;
    stays.close().await;
}

/// A member in a process of its own, which this program starts again as [`zombie`].
struct Zombie {
    child: Child,
    /// Lines of its standard output.
    says: mpsc::Receiver<String>,
}

impl Zombie {
    fn start(topic: &str) -> Self {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "zombie", "--nocapture"]).env("FACEMILL_TEST_ZOMBIE", topic);
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (said, says) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Self { child, says }
    }

    fn stdin(&self) -> Option<&ChildStdin> {
        self.child.stdin.as_ref()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has said all of this, in whatever order: its threads do not wait for each other.
    fn hear(&self, expected: &[&str]) {
        let mut left = expected.to_vec();
        while !left.is_empty() {
            let line = self.says.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{left:?}: {error}"));
            println!("zombie: {line}");
            left.retain(|wanted| *wanted != line);
        }
    }
}

impl Drop for Zombie {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other process of the next test; nothing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zombie() {
    let Ok(topic) = std::env::var("FACEMILL_TEST_ZOMBIE") else { return };
    let mut consumer = join(&brisk(), &topic, 4);
    let mut claims = Vec::new();
    for _ in 0..3 {
        claims.push(record(&mut consumer).await.claim);
    }
    println!("\nholds");
    std::thread::spawn(move || {
        // Waits here while stopped; goes on before or after the poll thread does.
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let is_live = claims.iter().any(|claim| claim.ensure_live().is_ok());
        claims.into_iter().for_each(facemill::broker::Claim::finish);
        println!("live {is_live}");
    });
    loop {
        match consumer.next().await.unwrap().unwrap() {
            Event::Assigned(partitions) => println!("assigned {partitions:?}"),
            Event::Revoked(partitions) => println!("revoked {partitions:?}"),
            Event::Record(delivery) => {
                println!("record {}", delivery.offset);
                delivery.claim.finish();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stopped_process_owns_nothing_when_it_goes_on() {
    let topic = topic("chunks", 1).await;
    let group = format!("group-{topic}");
    produce(&topic, 1, 3).await;
    let watch = Watch::new(&config());
    let zombie = Zombie::start(&topic);
    zombie.hear(&["holds"]);
    assert_eq!(watch.members(&group).await.unwrap(), 1);
    zombie.signal(Signal::STOP);

    let mut heir = join(&brisk(), &topic, 2);
    for offset in 0..2 {
        let delivery = record(&mut heir).await;
        assert_eq!(delivery.offset, offset, "nothing of the zombie's was committed");
        if offset == 0 {
            delivery.claim.finish();
        } else {
            settled(&watch, &topic, 1).await;
            // It wakes with all its claims finished: a commit of its would be 3.
            zombie.stdin().unwrap().write_all(b"finish\n").unwrap();
            zombie.signal(Signal::CONT);
            zombie.hear(&["live false", "revoked [0]"]);
            delivery.claim.ensure_live().unwrap();
            assert_eq!(watch.committed(&group, &topic).await.unwrap(), BTreeMap::from([(0, 1)]));
            delivery.claim.finish();
        }
    }
    let last = record(&mut heir).await;
    settled(&watch, &topic, 2).await;
    drop(last.claim);
    heir.close().await;
    zombie.hear(&["record 2"]);
    settled(&watch, &topic, 3).await;
}

/// Waits until the group stands at `position` of partition 0; that it moves gives no sign.
async fn settled(watch: &Watch, topic: &str, position: i64) {
    let begun = Instant::now();
    let expected = BTreeMap::from([(0, position)]);
    loop {
        let found = watch.committed(&format!("group-{topic}"), topic).await.unwrap();
        if found == expected {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "still {found:?}, expected {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_catches_up_and_follows() {
    let topic = topic("status", 3).await;
    let producer = produce(&topic, 3, 6).await;
    let mut reader: Reader<i32> = Reader::start(&config(), &topic, StartAt::Beginning).await.unwrap();
    let mut seen = Vec::new();
    while let News::Record(delivery) = tokio::time::timeout(LIMIT, reader.next()).await.unwrap().unwrap().unwrap() {
        seen.push(delivery.record.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..6));
    producer.send(Outgoing { topic: &topic, key: Some("j"), partition: None, headers: &[], value: &6 }).await.unwrap();
    let News::Record(next) = tokio::time::timeout(LIMIT, reader.next()).await.unwrap().unwrap().unwrap() else {
        panic!("caught up twice");
    };
    assert_eq!((next.record, next.key.as_deref()), (Ok(6), Some("j")));
}
