//! A claim is the right to finish one record, for as long as its partition stays assigned to us.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use tracing::debug;

use super::pulse::Pulse;
use crate::error::{Classify, Kind};

/// The record was taken away: whoever its partition went to does it, or has done it; or it came again, and is done by that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "lease on {topic}[{partition}] offset {offset} is lost: the partition was revoked, or the record came again (drop the work, its new owner does it)"
)]
pub struct LeaseLost {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
}

impl Classify for LeaseLost {
    fn kind(&self) -> Kind {
        Kind::Retry
    }
}

/// What a claim tells the poll thread when it ends.
#[derive(Debug)]
pub(super) struct Returned {
    pub partition: i32,
    pub offset: i64,
    /// The number of its lease.
    pub lease: u64,
    pub is_finished: bool,
}

/// How long a record is ours. Ends for good when its partition is revoked or the record comes again, and at once when the
/// process turns out to have stood still for longer than its session.
#[derive(Clone, Debug)]
pub struct Lease {
    /// No other lease of this consumer has it.
    pub(super) number: u64,
    live: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
}

impl Lease {
    pub(super) fn new(number: u64, pulse: Arc<Pulse>) -> Self {
        Self { number, live: Arc::new(AtomicBool::new(true)), pulse }
    }

    pub(super) fn end(&self) {
        self.live.store(false, Ordering::Release);
    }

    /// Whether the record is still ours.
    pub fn is_live(&self) -> bool {
        // In this order: the poll thread ends leases before it beats again, so whoever sees the new beat sees them ended.
        !self.pulse.is_late() && self.live.load(Ordering::Acquire)
    }
}

/// The right to finish one delivered record. Send it along with the work.
///
/// A claim that is dropped unfinished hands its record back: it is never committed, so whoever owns the partition after
/// the next assignment or restart gets it again.
#[derive(Debug)]
#[must_use = "a claim that is dropped leaves its record uncommitted"]
pub struct Claim {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    lease: Lease,
    is_finished: bool,
    returned: SyncSender<Returned>,
}

impl Claim {
    pub(super) fn new(
        topic: Arc<str>,
        partition: i32,
        offset: i64,
        lease: Lease,
        returned: SyncSender<Returned>,
    ) -> Self {
        Self { topic, partition, offset, lease, is_finished: false, returned }
    }

    /// Whether the record is still ours. Ask before anything that only the owner may do.
    ///
    /// # Errors
    /// [`LeaseLost`] after the revocation, after the record came again, or after a pause longer than the session, for ever.
    pub fn ensure_live(&self) -> Result<(), LeaseLost> {
        if self.lease.is_live() {
            return Ok(());
        }
        Err(LeaseLost { topic: self.topic.clone(), partition: self.partition, offset: self.offset })
    }

    /// What it is good for as long as: to look at when the claim itself is elsewhere.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    #[cfg(test)]
    pub(super) fn offset(&self) -> i64 {
        self.offset
    }

    /// The record is done: it may be committed once all before it are. After a revocation this does nothing.
    pub fn finish(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_finished && self.lease.is_live() {
            debug!(topic = %self.topic, partition = self.partition, offset = self.offset, "record handed back");
        }
        let returned = Returned {
            partition: self.partition,
            offset: self.offset,
            lease: self.lease.number,
            is_finished: self.is_finished,
        };
        // The consumer may be closed already: then there is nobody left to commit.
        let _ = self.returned.send(returned);
    }
}
