//! A member of a consumer group, as its owner sees it: events to await, claims to finish.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::BrokerConfig;
use super::assignment::Assignment;
use super::delivery::Delivery;
use super::error::BrokerError;
use super::poll::{Group, Poller};
use super::pulse::Pulse;

/// Leaving a group can hang in librdkafka (its issue 4884); the process ends soon after anyway.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// How a member takes part in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// No more records are fetched while so many claims are unfinished or not yet received; at least 1.
    pub in_flight: usize,
}

/// What happens to a member, in order.
#[derive(Debug)]
pub enum Event<T> {
    /// These partitions are ours from here on.
    Assigned(Vec<i32>),
    /// These are no longer; their claims are dead.
    Revoked(Vec<i32>),
    Record(Delivery<T>),
}

/// A member of a consumer group on one topic.
///
/// A thread of its own polls the broker, commits what is finished and answers rebalances; see [`Options::in_flight`] for
/// how the owner's pace holds it back.
pub struct Consumer<T> {
    events: mpsc::UnboundedReceiver<Result<Event<T>, BrokerError>>,
    assignment: Arc<Mutex<Assignment>>,
    stop: Arc<AtomicBool>,
    hold: Arc<AtomicBool>,
    /// Closed by the thread when it has left the group.
    stopped: oneshot::Receiver<()>,
    topic: String,
}

impl<T: DeserializeOwned + Send + 'static> Consumer<T> {
    /// Joins `group` on `topic`. Returns at once; the assignment comes as the first event.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] for a property that librdkafka does not take.
    pub fn start(config: &BrokerConfig, group: &str, topic: &str, options: Options) -> Result<Self, BrokerError> {
        let in_flight = options.in_flight.max(1);
        let mut client = config.client(SETTINGS);
        let pulse = Arc::new(Pulse::new(session(&client)));
        let assignment = Arc::new(Mutex::new(Assignment::new(topic, in_flight, pulse.clone())));
        // Ours and not to be overridden: the offset window depends on it.
        client
            .set("group.id", config.name(group))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        if let Some(id) = &config.static_member {
            client.set("group.instance.id", id);
        }
        let sort = |error| BrokerError::sort("join group", &config.brokers, &error);
        let context = Group::new(topic, config.name(topic), assignment.clone(), pulse);
        let consumer: BaseConsumer<Group> = client.create_with_context(context).map_err(sort)?;
        consumer.subscribe(&[&config.name(topic)]).map_err(sort)?;

        let (events_in, events) = mpsc::unbounded_channel(); // bounded by in_flight, see Poller::events
        let (alive, stopped) = oneshot::channel();
        let (stop, hold) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let brokers = config.brokers.clone();
        let poller = Poller { consumer, brokers, events: events_in, in_flight, stop: stop.clone(), hold: hold.clone() };
        std::thread::Builder::new()
            .name(format!("poll-{topic}"))
            .spawn(move || {
                poller.run();
                drop(alive);
            })
            .map_err(|error| BrokerError::Client { doing: "start poll thread", reason: error.to_string() })?;
        Ok(Self { events, assignment, stop, hold, stopped, topic: topic.to_owned() })
    }

    /// The next event; `None` after a fatal error was returned. Cancel-safe.
    ///
    /// Records whose partition was revoked while they waited here, or that came again, are passed over, and after [`Consumer::hold`] all.
    ///
    /// # Errors
    /// Only fatal ones: librdkafka deals with the others itself, and they are logged.
    pub async fn next(&mut self) -> Option<Result<Event<T>, BrokerError>> {
        loop {
            let event = self.events.recv().await?;
            let is_passed_over = match &event {
                Ok(Event::Record(delivery)) => {
                    self.hold.load(Ordering::Acquire) || delivery.claim.ensure_live().is_err()
                }
                _ => false,
            };
            if !is_passed_over {
                return Some(event);
            }
        }
    }

    /// From here on no further record comes out of [`Consumer::next`], for good: to finish what is in work before leaving.
    /// All else goes on: we stay a member, claims stay alive, and what they finish is committed.
    ///
    /// Whoever owns the partitions next gets the records that are not delivered.
    pub fn hold(&self) {
        self.hold.store(true, Ordering::Release);
    }

    /// As after a pause longer than the session.
    #[cfg(test)]
    pub(super) fn stand_still(&self) {
        self.assignment.lock().expect("nothing panics while it holds the assignment").stand_still();
    }

    /// Unfinished records of our partitions, those that wait at the broker included.
    ///
    /// The ends of the partitions are known from the last fetch, by statistics every five seconds: while all claims are
    /// out nothing is fetched, and the number is as old as they are.
    pub fn lag(&self) -> i64 {
        self.assignment.lock().expect("nothing panics while it holds the assignment").lag()
    }

    /// Commits what is finished and leaves the group (a static member keeps its place until its session ends).
    /// Unfinished claims are handed back. Gives up after ten seconds: then the session time-out does the rest.
    pub async fn close(mut self) {
        self.stop.store(true, Ordering::Release);
        // An error means that the thread has ended and dropped its side: what we wait for.
        if tokio::time::timeout(CLOSE_LIMIT, &mut self.stopped).await.is_err() {
            warn!(topic = %self.topic, "consumer did not leave its group in time, left to its session time-out");
        }
    }
}

/// After how long without a sign of life the group gives our partitions to others.
fn session(client: &ClientConfig) -> Duration {
    // One that is no number is refused by librdkafka a moment later.
    let millis = client.get("session.timeout.ms").and_then(|millis| millis.parse().ok());
    Duration::from_millis(millis.unwrap_or(u64::from(u32::MAX)))
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Reasons in the order of the lines.
const SETTINGS: &[(&str, &str)] = &[
    // A rebalance stops only the partitions that move.
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("auto.offset.reset", "earliest"),
    // The thread polls many times a second; this only ends a process whose poll thread hangs.
    ("max.poll.interval.ms", "300000"),
    ("session.timeout.ms", "45000"),
    // Pausing throws away what was fetched ahead, so little is: about 20 small records per partition,
    // looked for again soon after the queue has run dry.
    ("queued.min.messages", "1"),
    ("fetch.message.max.bytes", "32768"),
    ("fetch.queue.backoff.ms", "50"),
    ("check.crcs", "true"),
    // For the lag, and to see that commits have arrived and partitions are fetched.
    ("statistics.interval.ms", "5000"),
];
