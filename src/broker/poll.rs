//! The thread that polls a group member, and everything that touches librdkafka's consumer.
//!
//! It never stops polling, so the group never loses us however long a record takes: when enough claims are out it
//! pauses the partitions instead. Rebalance and commit callbacks run on this thread, inside `poll`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use super::assignment::{Assignment, Change, Fetched, Position, Watermarks};
use super::client;
use super::consumer::Event;
use super::delivery::Delivery;
use super::error::BrokerError;
use super::pulse::{Moment, Pulse};
use super::silence::{Expected, Silences};
use crate::crash;
use crate::error::{Classify, Kind};
use crate::telemetry;

/// How long a finished record waits for others to be committed together with it.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// How soon the thread looks for finished claims while some are out.
const POLL_BUSY: Duration = Duration::from_millis(10);
/// How soon it notices that it should stop while none are. Records and rebalances wake it at once.
const POLL_IDLE: Duration = Duration::from_millis(50);
/// How long the broker may take to say where silent partitions end, once or twice; nothing else is done here meanwhile. Behind a fetch
/// that waits for records it takes half a second (`fetch.wait.max.ms`).
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// What librdkafka's callbacks and the loop share. Both run on the poll thread; the consumer's owner only asks the lag.
pub(super) struct Group {
    /// The topic's bare name, and as the cluster has it.
    bare: String,
    topic: String,
    assignment: Arc<Mutex<Assignment>>,
    pulse: Arc<Pulse>,
}

impl Group {
    pub fn new(bare: &str, topic: String, assignment: Arc<Mutex<Assignment>>, pulse: Arc<Pulse>) -> Self {
        Self { bare: bare.to_owned(), topic, assignment, pulse }
    }

    fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().expect("nothing panics while it holds the assignment")
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<i32> {
        list.elements_for_topic(&self.topic).iter().map(|element| element.partition()).collect()
    }

    fn offsets(&self, positions: &[Position]) -> KafkaResult<TopicPartitionList> {
        let mut offsets = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            offsets.add_partition_offset(&self.topic, *partition, Offset::Offset(*position))?;
        }
        Ok(offsets)
    }

    /// Waits for the broker's answer; librdkafka tries again what can be tried again, for as long as a session lasts. What
    /// is refused for good (another member or generation owns the partition) comes again there. After a pause nothing
    /// is sent.
    fn commit_now(&self, consumer: &BaseConsumer<Self>, positions: &[Position]) {
        if positions.is_empty() || self.pulse.is_late() {
            return;
        }
        let outcome = self.offsets(positions).and_then(|offsets| consumer.commit(&offsets, CommitMode::Sync));
        match outcome {
            Ok(()) => self.assignment().confirmed(positions),
            Err(error) => {
                warn!(topic = %self.topic, ?positions, %error, "offsets not committed: these records come again")
            }
        }
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let mut assignment = self.assignment();
        for partition in topic.partitions.values() {
            // Else it is where an earlier assignment has ended, or nothing.
            let next = if partition.fetch_state == "active" { partition.next_offset } else { -1 };
            assignment.observe_fetched(partition.partition, Fetched { next, records: partition.rxmsgs });
        }
        for partition in topic.partitions.values().filter(|partition| partition.hi_offset >= 0) {
            let watermarks = Watermarks {
                low: partition.lo_offset.max(0),
                high: partition.hi_offset,
                committed: partition.committed_offset,
            };
            assignment.observe(partition.partition, watermarks);
        }
    }
}

impl ConsumerContext for Group {
    /// What is finished is committed and the leases end before the partitions go.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        let partitions = self.partitions(list);
        let last = self.assignment().revoke(&partitions);
        info!(topic = %self.topic, ?partitions, "partitions revoked");
        if consumer.assignment_lost() {
            warn!(topic = %self.topic, ?partitions, "assignment was lost: what was not committed comes again elsewhere");
            return;
        }
        self.commit_now(consumer, &last);
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = self.partitions(list);
                info!(topic = %self.topic, ?partitions, "partitions assigned");
                self.assignment().assign(&partitions);
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => warn!(topic = %self.topic, %error, "rebalance failed"),
        }
    }
}

/// The loop and what it needs.
pub(super) struct Poller<T> {
    pub consumer: BaseConsumer<Group>,
    pub brokers: String,
    /// As deep as there are claims and rebalances: polling pauses at `in_flight`, so it needs no bound of its own,
    /// and must not wait for one.
    pub events: UnboundedSender<Result<Event<T>, BrokerError>>,
    pub in_flight: usize,
    pub stop: Arc<AtomicBool>,
    /// No further records.
    pub hold: Arc<AtomicBool>,
}

impl<T: DeserializeOwned + Send + 'static> Poller<T> {
    /// Polls until told to stop or until the client is beyond use; then commits and leaves the group.
    pub fn run(self) {
        let mut paused = BTreeSet::new();
        let mut silences = Silences::default();
        let mut is_rejoining = false;
        let mut next_commit = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            let outstanding = self.settle();
            is_rejoining = is_rejoining && !self.subscribe_again();
            let wanted = self.throttle(outstanding, &mut paused);
            silences.look(Instant::now(), if is_rejoining { Vec::new() } else { wanted });
            let patience = if outstanding == 0 { POLL_IDLE } else { POLL_BUSY };
            let polled = self.consumer.poll(patience);
            is_rejoining |= self.fence();
            self.tell_changes(&mut silences);
            let goes_on = match polled {
                Some(Ok(message)) => {
                    silences.heard(message.partition());
                    self.deliver(&message)
                }
                Some(Err(error)) => self.survives(&error),
                None => true,
            };
            if !goes_on {
                break;
            }
            is_rejoining |= self.revive(&mut silences);
            if outstanding == 0 || Instant::now() >= next_commit {
                if !self.commit_due() {
                    break;
                }
                next_commit = Instant::now() + COMMIT_EVERY;
            }
        }
        self.settle();
        let last = self.group().assignment().unconfirmed();
        self.group().commit_now(&self.consumer, &last);
        // Dropping the consumer revokes the partitions, which ends the leases, and leaves the group.
    }

    fn group(&self) -> &Group {
        self.consumer.context()
    }

    /// Takes finished claims back; returns how many are still out.
    fn settle(&self) -> usize {
        let mut assignment = self.group().assignment();
        assignment.settle();
        assignment.outstanding()
    }

    /// Whether this process has stood still for longer than its session: then others own its partitions. Ends all leases
    /// before anything is delivered or committed, and leaves the group, so that what is unfinished is delivered anew to
    /// whoever owns it after the rebalance.
    ///
    /// librdkafka would find out as well, but later: from its own timer or the broker's answer.
    fn fence(&self) -> bool {
        let group = self.group();
        let moment = Moment::now();
        let is_late = group.pulse.is_late_at(moment);
        if is_late {
            warn!(topic = %group.topic, "stood still for longer than the session: all claims are dead, joining the group again");
            group.assignment().abandon();
            self.consumer.unsubscribe();
        }
        // Last: leases must not come alive again.
        group.pulse.beat(moment);
        is_late
    }

    /// The other half of [`Poller::fence`]: joins again once all partitions are gone. (Earlier librdkafka would take it for
    /// a subscription that has not changed, and keep them, without leases.)
    fn subscribe_again(&self) -> bool {
        let is_free = self.consumer.assignment().is_ok_and(|left| left.count() == 0);
        if !is_free {
            return false;
        }
        let topic = self.group().topic.as_str();
        let subscribed = self.consumer.subscribe(&[topic]);
        if let Err(error) = &subscribed {
            warn!(topic, %error, "cannot join the group again, will be tried again");
        }
        subscribed.is_ok()
    }

    /// Pauses our partitions while enough claims are out or while we hold, and resumes those that are paused. Returns those whose records
    /// are welcome.
    ///
    /// librdkafka keeps a partition paused when it goes and comes back: so `paused` knows each, whether it is ours or not.
    fn throttle(&self, outstanding: usize, paused: &mut BTreeSet<i32>) -> Vec<i32> {
        let is_full = outstanding >= self.in_flight || self.hold.load(Ordering::Acquire);
        let ours = self.group().assignment().partitions();
        let wrong: BTreeSet<i32> =
            ours.iter().copied().filter(|partition| paused.contains(partition) != is_full).collect();
        let wanted = if is_full { Vec::new() } else { ours };
        if wrong.is_empty() {
            return wanted;
        }
        let list = self.list(wrong.iter().copied());
        let changed = if is_full { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        match changed {
            Ok(()) if is_full => paused.extend(wrong),
            Ok(()) => paused.retain(|partition| !wrong.contains(partition)),
            Err(error) => {
                warn!(topic = %self.group().topic, %error, is_full, "cannot pause or resume, will be tried again");
            }
        }
        wanted
    }

    fn list(&self, partitions: impl IntoIterator<Item = i32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.group().topic, partition);
        }
        list
    }

    /// Whether a partition gives nothing although the broker has records of it. Then the group is left, to be joined anew, by which
    /// librdkafka begins with all partitions afresh; what is finished is committed on the way.
    fn revive(&self, silences: &mut Silences) -> bool {
        let suspects = silences.suspects();
        if suspects.is_empty() {
            return false;
        }
        let topic = self.group().topic.as_str();
        let assignment = self.group().assignment();
        let fetched: Vec<_> = suspects.iter().filter_map(|at| Some((*at, assignment.fetched(*at)?))).collect();
        drop(assignment);
        let stuck = fetched.iter().find(|(partition, fetched)| silences.is_stuck(*partition, *fetched));
        if let Some((partition, fetched)) = stuck {
            warn!(
                topic,
                partition,
                next = fetched.next,
                "records are waiting and do not come: joining the group again"
            );
            telemetry::consumer_stalled(&self.group().bare);
            // A pause outlives the assignment, and that a partition was to go on may be just what was lost.
            if let Err(error) = self.consumer.resume(&self.list([*partition])) {
                warn!(topic, partition, %error, "cannot resume");
            }
            self.consumer.unsubscribe();
            silences.cured(*partition);
            return true;
        }
        match self.ends(fetched.iter().map(|(partition, _)| *partition)) {
            Ok(ends) => {
                for (partition, fetched) in fetched {
                    let end = ends.get(&partition).filter(|end| **end > fetched.next);
                    silences.note(partition, end.map(|end| Expected { end: *end, fetched }));
                }
            }
            Err(error) => {
                debug!(topic, ?suspects, %error, "cannot ask whether there are records");
                silences.postpone();
            }
        }
        false
    }

    /// The ends of partitions, of those of which the broker tells.
    fn ends(&self, partitions: impl Iterator<Item = i32>) -> KafkaResult<BTreeMap<i32, i64>> {
        let mut list = self.list(partitions);
        // As a time it means the end of the log.
        list.set_all_offsets(Offset::End)?;
        let told = self.consumer.offsets_for_times(list, ANSWER_LIMIT)?;
        let end = |element: &TopicPartitionListElem<'_>| match (element.error(), element.offset()) {
            (Ok(()), Offset::Offset(end)) => Some((element.partition(), end)),
            _ => None,
        };
        Ok(told.elements().iter().filter_map(end).collect())
    }

    fn tell_changes(&self, silences: &mut Silences) {
        let changes = self.group().assignment().take_changes();
        for change in changes {
            if let Change::Assigned(partitions) = &change {
                partitions.iter().for_each(|partition| silences.assigned(*partition));
            }
            let event = match change {
                Change::Assigned(partitions) => Event::Assigned(partitions),
                Change::Revoked(partitions) => Event::Revoked(partitions),
            };
            // Nobody listens only while the consumer is being closed.
            let _ = self.events.send(Ok(event));
        }
    }

    /// `false` when nobody listens any more.
    fn deliver(&self, message: &BorrowedMessage<'_>) -> bool {
        let claim = self.group().assignment().claim(message.partition(), message.offset());
        let Some(claim) = claim else {
            debug!(topic = %self.group().topic, partition = message.partition(), "record of a partition that is not ours");
            return true;
        };
        self.events.send(Ok(Event::Record(Delivery::decode(message, &self.group().bare, claim)))).is_ok()
    }

    /// Whether polling can go on after `error`: librdkafka itself retries all but what it calls fatal.
    fn survives(&self, error: &KafkaError) -> bool {
        let topic = &self.group().topic;
        let sorted = BrokerError::sort("consume", &self.brokers, error);
        if sorted.kind() == Kind::Fatal {
            let _ = self.events.send(Err(sorted));
            return false;
        }
        let is_missing = error.rdkafka_error_code() == Some(Code::UnknownTopicOrPartition);
        if is_missing {
            warn!(%topic, "topic does not exist yet (create it from topics/{}.yaml)", self.group().bare);
        } else {
            warn!(%topic, %error, "consumer error: librdkafka tries again, or its partition is begun anew");
        }
        true
    }

    /// Does not wait. librdkafka gives no sign when such a commit has arrived or failed (its event is for automatic
    /// commits only, 2.12), so the statistics tell: see [`Assignment::observe`].
    ///
    /// Never follows a revocation: that is a callback on this thread, and librdkafka does not let the group go on before
    /// what was sent until then is answered. `false` when the client is beyond use.
    fn commit_due(&self) -> bool {
        let group = self.group();
        let due = group.assignment().due();
        if due.is_empty() {
            return true;
        }
        crash::point("broker.commit.before");
        if group.pulse.is_late() {
            return true; // the fence comes next
        }
        let sent = group.offsets(&due).and_then(|offsets| self.consumer.commit(&offsets, CommitMode::Async));
        crash::point("broker.commit.after");
        match sent {
            Ok(()) => group.assignment().sent(&due),
            // Still due: it is tried again with the next ones.
            Err(error) => return self.survives(&error),
        }
        true
    }
}
