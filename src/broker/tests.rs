//! Whole journeys over the embedded broker.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::*;
use crate::broker::topics::TopicSpec;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    number: i32,
}

/// So that a fault fails a test instead of hanging it.
const LIMIT: Duration = Duration::from_secs(30);

fn broker(partitions: i32) -> EmbeddedBroker {
    let topic = TopicSpec { name: "notes".into(), partitions, replicas: 1, config: BTreeMap::new() };
    EmbeddedBroker::start(&[topic], None).unwrap()
}

fn join(broker: &EmbeddedBroker, group: &str, member: &str, in_flight: usize) -> Consumer<Note> {
    let options = Options { in_flight };
    let mut config = broker.config(member);
    // The embedded broker lets a group that had members before wait one second less than this.
    config.properties.insert("session.timeout.ms".into(), "2000".into());
    config.properties.insert("heartbeat.interval.ms".into(), "200".into());
    config.properties.insert("statistics.interval.ms".into(), "50".into());
    Consumer::start(&config, group, "notes", options).unwrap()
}

async fn produce(broker: &EmbeddedBroker, partitions: i32, numbers: std::ops::Range<i32>) -> Producer {
    let producer = Producer::start(&broker.config("producer")).unwrap();
    let sends = numbers.map(|number| {
        let producer = &producer;
        async move {
            let partition = Some(number % partitions);
            let note = Note { number };
            producer.send(Outgoing { topic: "notes", key: None, partition, headers: &[], value: &note }).await.unwrap()
        }
    });
    futures::future::join_all(sends).await;
    producer
}

async fn event(consumer: &mut Consumer<Note>) -> Event<Note> {
    tokio::time::timeout(LIMIT, consumer.next()).await.expect("an event in time").expect("open").expect("no error")
}

async fn record(consumer: &mut Consumer<Note>) -> Delivery<Note> {
    loop {
        if let Event::Record(delivery) = event(consumer).await {
            return delivery;
        }
    }
}

/// Looks again until `seen` is as `expected`; what changes is on another thread, and gives no sign.
async fn until<S: PartialEq + std::fmt::Debug>(expected: S, mut seen: impl FnMut() -> S) {
    let begun = Instant::now();
    loop {
        let found = seen();
        if found == expected {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "still {found:?}, expected {expected:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Where the group stands in each partition, as the broker tells it.
fn committed(broker: &EmbeddedBroker, group: &str, partitions: i32) -> Vec<Option<i64>> {
    committed_on(broker, group, "notes", partitions)
}

fn committed_on(broker: &EmbeddedBroker, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
    use rdkafka::consumer::Consumer as _;
    let mut client = broker.config("observer").client(&[]);
    let observer: rdkafka::consumer::BaseConsumer = client.set("group.id", group).create().unwrap();
    let mut asked = rdkafka::TopicPartitionList::new();
    asked.add_partition_range(topic, 0, partitions - 1);
    let told = observer.committed_offsets(asked, LIMIT).unwrap();
    let offset = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        rdkafka::Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    told.elements().iter().map(offset).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn produces_consumes_and_commits_for_two_groups() {
    let begun = Instant::now();
    let broker = broker(8);
    let mut first = join(&broker, "first", "a", 16);
    let mut second = join(&broker, "second", "b", 1);
    produce(&broker, 8, 0..64).await;
    println!("64 records acknowledged after {:?}", begun.elapsed());
    for consumer in [&mut first, &mut second] {
        let mut numbers = Vec::new();
        while numbers.len() < 64 {
            let delivery = record(consumer).await;
            numbers.push(delivery.record.unwrap().number);
            delivery.claim.finish();
            if numbers.len() == 1 {
                println!("a group has its first record after {:?}", begun.elapsed());
            }
        }
        numbers.sort_unstable();
        assert_eq!(numbers, Vec::from_iter(0..64));
        println!("a group has consumed them after {:?}", begun.elapsed());
    }
    first.close().await;
    second.close().await;
    println!("both committed and left after {:?}", begun.elapsed());
    for group in ["first", "second"] {
        assert_eq!(committed(&broker, group, 8), [Some(8); 8], "{group}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_only_the_finished_prefix_and_delivers_the_rest_again() {
    let broker = broker(1);
    produce(&broker, 1, 0..5).await;
    let mut consumer = join(&broker, "group", "a", 8);
    let mut claims = Vec::new();
    for _ in 0..5 {
        claims.push(record(&mut consumer).await.claim);
    }
    let [zero, one, two, three, four] = <[Claim; 5]>::try_from(claims).unwrap();
    four.finish();
    one.finish();
    zero.finish();
    drop(two);
    three.finish();
    consumer.close().await;
    assert_eq!(committed(&broker, "group", 1), [Some(2)]);

    let mut next = join(&broker, "group", "b", 8);
    for expected in 2..5 {
        let delivery = record(&mut next).await;
        assert_eq!(delivery.record, Ok(Note { number: expected }));
        delivery.claim.finish();
    }
    next.close().await;
    assert_eq!(committed(&broker, "group", 1), [Some(5)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_tells_its_lag_while_it_goes_on() {
    let broker = broker(1);
    produce(&broker, 1, 0..10).await;
    let mut consumer = join(&broker, "group", "a", 4);
    let first = record(&mut consumer).await.claim;
    let mut others = Vec::new();
    for _ in 1..4 {
        others.push(record(&mut consumer).await.claim);
    }
    until(10, || consumer.lag()).await;
    assert_eq!(committed(&broker, "group", 1), [None]);

    first.finish();
    until(vec![Some(1)], || committed(&broker, "group", 1)).await;
    assert_eq!(consumer.lag(), 9);
    others.into_iter().for_each(Claim::finish);
    for _ in 4..10 {
        record(&mut consumer).await.claim.finish();
    }
    until(vec![Some(10)], || committed(&broker, "group", 1)).await;
    until(0, || consumer.lag()).await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_records_than_asked_for_are_in_flight() {
    let broker = broker(4);
    produce(&broker, 4, 0..40).await;
    let mut consumer = join(&broker, "group", "a", 3);
    let mut held = std::collections::VecDeque::new();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 40 {
        // Three are out: a fourth must not come before one of them is finished.
        while held.len() < 3 && seen.len() < 40 {
            let delivery = record(&mut consumer).await;
            assert!(seen.insert(delivery.record.unwrap().number), "no record twice");
            held.push_back(delivery.claim);
        }
        if held.len() == 3 && seen.len() < 40 {
            let more = tokio::time::timeout(Duration::from_millis(30), consumer.next()).await;
            assert!(more.is_err(), "{more:?} came while three were out");
        }
        held.pop_front().unwrap().finish();
    }
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_member_takes_partitions_and_their_leases_end() {
    let broker = broker(2);
    produce(&broker, 2, 0..4).await;
    let mut old = join(&broker, "group", "a", 8);
    let mut claims = BTreeMap::new();
    for _ in 0..4 {
        let delivery = record(&mut old).await;
        claims.insert((delivery.partition, delivery.offset), delivery.claim);
    }
    // Finished on both partitions, not committed on purpose: the second record of each is still out.
    for partition in 0..2 {
        claims.remove(&(partition, 0)).unwrap().finish();
    }
    let mut new = join(&broker, "group", "b", 8);
    let taken = loop {
        if let Event::Revoked(partitions) = event(&mut old).await
            && let [partition] = partitions[..]
        {
            break partition;
        }
    };
    let kept = 1 - taken;
    assert!(claims[&(taken, 1)].ensure_live().is_err());
    assert!(claims[&(kept, 1)].ensure_live().is_ok());

    let delivery = record(&mut new).await;
    // What was finished was committed before the move. Seldom, on a busy machine, the embedded broker is between two generations at
    // that moment and refuses the commit: then it comes again, as after a crash. (Kafka itself: tests/broker_kafka.rs.)
    assert_eq!(delivery.partition, taken);
    assert!(delivery.offset <= 1);
    let first_unfinished = (delivery.offset == 1).then_some(1);
    // The old owner is late: its finish must move nothing.
    claims.remove(&(taken, 1)).unwrap().finish();
    claims.remove(&(kept, 1)).unwrap().finish();
    old.close().await;
    drop(delivery.claim);
    new.close().await;
    let positions = committed(&broker, "group", 2);
    assert_eq!((positions[taken as usize], positions[kept as usize]), (first_unfinished, Some(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_went_while_paused_and_comes_back_goes_on() {
    let broker = broker(2);
    produce(&broker, 2, 0..2).await;
    let mut ours = join(&broker, "group", "a", 1);
    let held = record(&mut ours).await; // full: both partitions are paused
    let theirs = join(&broker, "group", "b", 1);
    let gone = loop {
        if let Event::Revoked(partitions) = event(&mut ours).await
            && let [partition] = partitions[..]
        {
            break partition;
        }
    };
    held.claim.finish();
    theirs.close().await;
    // What is left, wherever it lies: with the partition that came back paused it would stop short.
    produce(&broker, 2, 2..4).await;
    let mut last = BTreeMap::from([(held.partition, held.offset)]);
    until_done(&mut ours, &mut last, gone).await;
    ours.close().await;
}

/// Finishes records until partition `wanted` has been read to its second record.
async fn until_done(consumer: &mut Consumer<Note>, last: &mut BTreeMap<i32, i64>, wanted: i32) {
    while last.get(&wanted) != Some(&1) {
        let delivery = record(consumer).await;
        last.insert(delivery.partition, delivery.offset);
        delivery.claim.finish();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_gets_no_more_records_and_still_commits_what_is_in_work() {
    let broker = broker(2);
    produce(&broker, 2, 0..6).await;
    let mut ours = join(&broker, "group", "a", 2);
    let (first, second) = (record(&mut ours).await, record(&mut ours).await);
    ours.hold();
    first.claim.finish();
    // Room for another, and a rebalance: still nothing.
    let mut theirs = join(&broker, "group", "b", 8);
    let taken = loop {
        match event(&mut ours).await {
            Event::Revoked(partitions) if partitions.len() == 1 => break partitions[0],
            Event::Record(delivery) => panic!("{delivery:?} after hold"),
            _ => {}
        }
    };
    let is_ours = second.partition != taken;
    assert_eq!(second.claim.ensure_live().is_ok(), is_ours);
    second.claim.finish();
    let moved = record(&mut theirs).await;
    assert_eq!(moved.partition, taken);
    if is_ours {
        let kept = second.partition as usize;
        until(true, || committed(&broker, "group", 2)[kept].is_some()).await;
    }
    theirs.close().await;
    let again = loop {
        match event(&mut ours).await {
            Event::Assigned(partitions) if partitions.contains(&taken) => break partitions,
            Event::Record(delivery) => panic!("{delivery:?} after hold"),
            _ => {}
        }
    };
    assert_eq!(again, [taken], "still a member");
    let more = tokio::time::timeout(Duration::from_millis(100), ours.next()).await;
    assert!(more.is_err(), "{more:?} after hold");
    ours.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_pause_claims_are_dead_and_unfinished_records_come_again() {
    let broker = broker(2);
    produce(&broker, 2, 0..4).await;
    let mut consumer = join(&broker, "group", "a", 8);
    let mut claims = Vec::new();
    for _ in 0..4 {
        claims.push(record(&mut consumer).await.claim);
    }
    until(true, || {
        consumer.stand_still(); // again: the poll thread may just have looked at its clock
        claims.iter().all(|claim| claim.ensure_live().is_err())
    })
    .await;
    claims.into_iter().for_each(Claim::finish);
    let Event::Revoked(mut gone) = event(&mut consumer).await else { panic!("the revocation comes first") };
    gone.sort_unstable();
    assert_eq!(gone, [0, 1]);
    assert_eq!(committed(&broker, "group", 2), [None, None], "what was finished too late is not committed");
    let mut again = std::collections::BTreeSet::new();
    while again.len() < 4 {
        let delivery = record(&mut consumer).await;
        delivery.claim.ensure_live().unwrap();
        again.insert(delivery.record.unwrap().number);
        delivery.claim.finish();
    }
    consumer.close().await;
    assert_eq!(committed(&broker, "group", 2), [Some(2), Some(2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_librdkafka_never_began_with_are_begun_by_joining_anew() {
    let broker = broker(2);
    produce(&broker, 2, 0..4).await;
    broker.refuse_offsets();
    let mut consumer = join(&broker, "group", "a", 4);
    let mut changes = Vec::new();
    let mut numbers = Vec::new();
    while numbers.len() < 4 {
        match event(&mut consumer).await {
            Event::Record(delivery) => {
                numbers.push(delivery.record.unwrap().number);
                delivery.claim.finish();
            }
            Event::Assigned(_) => changes.push("assigned"),
            Event::Revoked(_) => changes.push("revoked"),
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3]);
    assert_eq!(changes, ["assigned", "revoked", "assigned"]);
    until(vec![Some(2), Some(2)], || committed(&broker, "group", 2)).await;
    // Whoever has read all is silent with reason.
    let quiet = tokio::time::timeout(Duration::from_secs(5), consumer.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_are_those_that_it_did_not_begin_again() {
    let broker = broker(1);
    produce(&broker, 1, 0..3).await;
    let mut consumer = join(&broker, "group", "a", 4);
    record(&mut consumer).await.claim.finish();
    let lost = [record(&mut consumer).await, record(&mut consumer).await];
    until(vec![Some(1)], || committed(&broker, "group", 1)).await;
    // It has read to the end, and two are not done.
    broker.refuse_offsets();
    consumer.stand_still();
    for number in [1, 2] {
        let delivery = record(&mut consumer).await;
        assert_eq!(delivery.record.unwrap().number, number);
        delivery.claim.finish();
    }
    assert!(lost.iter().all(|delivery| delivery.claim.ensure_live().is_err()));
    until(vec![Some(3)], || committed(&broker, "group", 1)).await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_always_busy_does_not_take_partitions_for_silent() {
    let broker = broker(6);
    produce(&broker, 6, 0..36).await;
    let mut consumer = join(&broker, "group", "a", 1);
    assert!(matches!(event(&mut consumer).await, Event::Assigned(_)));
    for _ in 0..36 {
        let Event::Record(delivery) = event(&mut consumer).await else { panic!("the assignment stays as it is") };
        tokio::time::sleep(Duration::from_millis(200)).await; // at work
        delivery.claim.finish();
    }
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_record_is_delivered_as_such_and_its_partition_goes_on() {
    let broker = broker(1);
    let producer = produce(&broker, 1, 0..1).await;
    let headers: &[(&str, &[u8])] = &[("trace", b"t-1"), ("raw", b"\xff")];
    let bytes = b"{\"number\": \"seven\"}";
    producer
        .send_bytes(Outgoing { topic: "notes", key: Some("k"), partition: Some(0), headers, value: &Some(bytes) })
        .await
        .unwrap();
    produce(&broker, 1, 2..3).await;

    let mut consumer = join(&broker, "group", "a", 8);
    assert_eq!(record(&mut consumer).await.record, Ok(Note { number: 0 }));
    let bad = record(&mut consumer).await;
    let malformed = bad.record.unwrap_err();
    assert!(malformed.error.contains("invalid type: string"), "{}", malformed.error);
    assert_eq!(bad.payload.as_deref(), Some(&bytes[..]));
    assert_eq!((bad.key.as_deref(), bad.offset), (Some("k"), 1));
    assert_eq!(bad.headers, [("trace".to_owned(), b"t-1".to_vec()), ("raw".to_owned(), b"\xff".to_vec())]);
    assert_eq!(record(&mut consumer).await.record, Ok(Note { number: 2 }));
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_everything_from_where_they_start() {
    async fn news(reader: &mut Reader<Note>) -> Option<i32> {
        match tokio::time::timeout(LIMIT, reader.next()).await.unwrap().unwrap().unwrap() {
            News::Record(delivery) => Some(delivery.record.unwrap().number),
            News::CaughtUp => None,
        }
    }
    let broker = broker(3);
    let producer = produce(&broker, 3, 0..6).await;
    assert_eq!(producer.partitions("notes").await.unwrap(), 3);
    let mut all = Reader::start(&broker.config("all"), "notes", StartAt::Beginning).await.unwrap();
    let mut later = Reader::start(&broker.config("later"), "notes", StartAt::End).await.unwrap();
    let mut seen = Vec::new();
    while let Some(number) = news(&mut all).await {
        seen.push(number);
    }
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..6), "all before it has caught up");

    produce(&broker, 3, 6..7).await;
    assert_eq!(news(&mut all).await, Some(6));
    let mut first_later = news(&mut later).await;
    if first_later.is_none() {
        first_later = news(&mut later).await;
    }
    assert_eq!(first_later, Some(6), "nothing from before its start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_wait_for_ever_is_told_that_there_was_no_news() {
    use crate::error::{Classify, Kind};
    let broker = broker(1);
    let mut reader = Reader::<Note>::start(&broker.config("reader"), "notes", StartAt::Beginning).await.unwrap();
    assert!(matches!(reader.next_within(LIMIT).await, Some(Ok(News::CaughtUp))));
    let error = reader.next_within(Duration::from_millis(5)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Retry);
    let text = error.to_string();
    assert!(text.contains("no news of topic notes for 5ms") && text.contains(broker.brokers()), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_ends_and_offsets_without_being_a_member() {
    use crate::error::{Classify, Kind};
    let broker = broker(3);
    let watch = Watch::new(&broker.config("watch"));
    assert_eq!(watch.ends("notes").await.unwrap(), BTreeMap::from([(0, 0), (1, 0), (2, 0)]));
    produce(&broker, 3, 0..5).await;
    assert_eq!(watch.ends("notes").await.unwrap(), BTreeMap::from([(0, 2), (1, 2), (2, 1)]));
    assert_eq!(watch.committed("group", "notes").await.unwrap(), BTreeMap::new());

    let mut consumer = join(&broker, "group", "a", 8);
    for _ in 0..5 {
        let delivery = record(&mut consumer).await;
        if delivery.partition < 2 {
            delivery.claim.finish();
        }
    }
    consumer.close().await;
    assert_eq!(watch.committed("group", "notes").await.unwrap(), BTreeMap::from([(0, 2), (1, 2)]));
    assert_eq!(watch.committed("other", "notes").await.unwrap(), BTreeMap::new());
    assert_eq!(watch.members("group").await.unwrap_err().kind(), Kind::Retry, "librdkafka's broker knows no groups");
    let error = watch.ends("nothing").await.unwrap_err();
    assert_eq!(error.to_string(), "topic nothing does not exist (create it from topics/nothing.yaml)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_stands_before_topics_and_groups_and_nobody_sees_it() {
    let topic = |name: &str| TopicSpec { name: name.into(), partitions: 1, replicas: 1, config: BTreeMap::new() };
    let broker = EmbeddedBroker::start(&[topic("acme.notes"), topic("notes")], None).unwrap();
    let ours = |member: &str| BrokerConfig { prefix: "acme.".into(), ..broker.config(member) };
    let made = topics::ensure(&ours("admin"), &[topic("notes")], Some(1)).await.unwrap();
    assert_eq!(made, Vec::<String>::new(), "it is there, with its prefix");

    let producer = Producer::start(&ours("producer")).unwrap();
    assert_eq!(producer.partitions("notes").await.unwrap(), 1);
    let note = Note { number: 7 };
    producer.send(Outgoing { topic: "notes", key: None, partition: None, headers: &[], value: &note }).await.unwrap();
    let mut consumer = Consumer::start(&ours("a"), "group", "notes", Options { in_flight: 1 }).unwrap();
    let delivery = record(&mut consumer).await;
    assert_eq!((delivery.record, delivery.topic.as_str()), (Ok(Note { number: 7 }), "notes"));
    delivery.claim.finish();
    consumer.close().await;
    assert_eq!(committed_on(&broker, "acme.group", "acme.notes", 1), [Some(1)]);

    let mut reader = Reader::<Note>::start(&ours("reader"), "notes", StartAt::Beginning).await.unwrap();
    match reader.next().await.unwrap().unwrap() {
        News::Record(delivery) => assert_eq!((delivery.topic.as_str(), delivery.offset), ("notes", 0)),
        News::CaughtUp => panic!("the record comes first"),
    }
    let error = producer.partitions("other").await.unwrap_err().to_string();
    assert_eq!(error, "topic acme.other does not exist (create it from topics/other.yaml)");
}

/// A broker is said to lead a partition a moment before it does. Then it may refuse one record and take the next of the same producer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_there() {
    let broker = broker(1);
    let mut config = broker.config("producer");
    for name in ["max.in.flight", "max.in.flight.requests.per.connection"] {
        config.properties.insert(name.into(), "5".into());
    }
    let producer = Producer::start(&config).unwrap();
    let zero = Outgoing { topic: "notes", key: None, partition: Some(0), headers: &[], value: &Note { number: 0 } };
    assert_eq!(producer.send(zero).await.unwrap(), (0, 0));
    broker.refuse_records();
    let send = |number| {
        let producer = producer.clone();
        async move {
            let note = Note { number };
            producer.send(Outgoing { topic: "notes", key: None, partition: Some(0), headers: &[], value: &note }).await
        }
    };
    let first = tokio::spawn(send(1));
    // It has come, and its answer is on the way back for a while.
    until(1, || broker.produce_requests()).await;
    let second = tokio::spawn(send(2));
    let places = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!(places, ((0, 1), (0, 2)));
    let mut reader = Reader::<Note>::start(&broker.config("reader"), "notes", StartAt::Beginning).await.unwrap();
    let mut numbers = Vec::new();
    while let News::Record(delivery) = reader.next().await.unwrap().unwrap() {
        numbers.push(delivery.record.unwrap().number);
    }
    assert_eq!(numbers, [0, 1, 2]);
}

#[tokio::test]
async fn keys_go_where_we_say_they_go() {
    let broker = broker(12);
    let producer = Producer::start(&broker.config("producer")).unwrap();
    for number in 0..40 {
        let key = format!("order-{number}");
        let note = Note { number };
        let sent = Outgoing { topic: "notes", key: Some(&key), partition: None, headers: &[], value: &note };
        assert_eq!(producer.send(sent).await.unwrap().0, keyed_partition(key.as_bytes(), 12), "{key}");
    }
}

#[tokio::test]
async fn existing_topics_are_left_and_a_missing_one_is_named() {
    let broker = broker(1);
    let config = broker.config("admin");
    let topic = TopicSpec { name: "notes".into(), partitions: 5, replicas: 3, config: BTreeMap::new() };
    assert_eq!(topics::ensure(&config, std::slice::from_ref(&topic), None).await.unwrap(), Vec::<String>::new());
    let missing = TopicSpec { name: "more".into(), ..topic };
    let error = topics::ensure(&config, &[missing], None).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "topic more wants 3 replicas, found 1 brokers (start more brokers or set the replication to at most 1)"
    );
    let error = Reader::<Note>::start(&config, "nothing", StartAt::End).await.err().unwrap().to_string();
    assert!(error.contains("topic nothing does not exist"), "{error}");
}

#[tokio::test]
async fn a_property_that_librdkafka_does_not_know_is_refused() {
    use crate::error::{Classify, Kind};
    let mut config = BrokerConfig { brokers: "localhost:1".into(), ..BrokerConfig::default() };
    config.properties.insert("sasl.mechanizm".into(), "PLAIN".into());
    let error = Producer::start(&config).err().unwrap();
    assert_eq!(error.kind(), Kind::Fatal);
    assert!(error.to_string().contains("sasl.mechanizm"), "{error}");
}
