//! The partitions that are ours now: their windows, leases and what was committed. No I/O.
//!
//! Only the poll thread changes this, in its loop and in librdkafka's rebalance callback, which runs on that thread.
//! So a commit can never follow a revocation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing::debug;

use super::claim::{Claim, Lease, Returned};
use super::pulse::Pulse;
use super::window::OffsetWindow;

/// A partition and the offset to commit for it.
pub(super) type Position = (i32, i64);

/// A change of the assignment that the consumer's owner has not been told of yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

pub(super) struct Assignment {
    topic: Arc<str>,
    partitions: BTreeMap<i32, Assigned>,
    /// The number of the last lease.
    leases: u64,
    /// Claims handed out and neither finished nor dropped, also those whose lease has ended: they still occupy someone.
    outstanding: usize,
    pulse: Arc<Pulse>,
    returning: SyncSender<Returned>,
    returned: Receiver<Returned>,
    changes: Vec<Change>,
}

#[derive(Default)]
struct Assigned {
    /// Claims that are out, by offset.
    claims: BTreeMap<i64, Lease>,
    window: OffsetWindow,
    /// Where we began: no news to the broker.
    start: Option<i64>,
    /// The last position sent to the broker.
    sent: Option<i64>,
    /// The last position that the broker is known to hold.
    confirmed: Option<i64>,
    watermarks: Option<Watermarks>,
    /// As librdkafka told last.
    fetched: Option<Fetched>,
}

/// What librdkafka has fetched of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fetched {
    /// The offset that comes next; negative while it does not fetch.
    pub next: i64,
    /// Records that have come since the client was made, those included that were thrown away by a pause.
    pub records: u64,
}

/// A partition as the broker reported it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watermarks {
    pub low: i64,
    pub high: i64,
    /// The group's committed offset; negative when there is none.
    pub committed: i64,
}

impl Assignment {
    /// `in_flight`: the most claims that will be outstanding; ending a claim never waits while that holds.
    /// Leases are lost when `pulse` is late.
    pub fn new(topic: &str, in_flight: usize, pulse: Arc<Pulse>) -> Self {
        let (returning, returned) = sync_channel(in_flight.max(1));
        Self {
            topic: topic.into(),
            partitions: BTreeMap::new(),
            leases: 0,
            outstanding: 0,
            pulse,
            returning,
            returned,
            changes: Vec::new(),
        }
    }

    pub fn assign(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.partitions.insert(*partition, Assigned::default());
        }
        self.changes.push(Change::Assigned(partitions.to_vec()));
    }

    /// Ends the leases of `partitions`, those of them that are ours. Returns the positions that must be committed before
    /// they go.
    pub fn revoke(&mut self, partitions: &[i32]) -> Vec<Position> {
        self.settle();
        let (mut last, mut gone) = (Vec::new(), Vec::new());
        for partition in partitions {
            let Some(assigned) = self.partitions.remove(partition) else { continue };
            assigned.claims.values().for_each(Lease::end);
            last.extend(assigned.beyond(assigned.confirmed).map(|position| (*partition, position)));
            gone.push(*partition);
        }
        if !gone.is_empty() {
            self.changes.push(Change::Revoked(gone));
        }
        last
    }

    /// Ends all leases. What they have finished and not committed is somebody else's to do again.
    pub fn abandon(&mut self) {
        self.revoke(&self.partitions());
    }

    /// The partitions that are ours.
    pub fn partitions(&self) -> Vec<i32> {
        self.partitions.keys().copied().collect()
    }

    /// A claim on a record just polled. `None` if its partition is not ours.
    pub fn claim(&mut self, partition: i32, offset: i64) -> Option<Claim> {
        let assigned = self.partitions.get_mut(&partition)?;
        if !assigned.window.start(offset) {
            debug!(topic = %self.topic, partition, offset, "a record has come again");
            assigned.rewind(offset);
        }
        assigned.start.get_or_insert(offset);
        self.outstanding += 1;
        self.leases += 1;
        let lease = Lease::new(self.leases, self.pulse.clone());
        if let Some(earlier) = assigned.claims.insert(offset, lease.clone()) {
            earlier.end();
        }
        Some(Claim::new(self.topic.clone(), partition, offset, lease, self.returning.clone()))
    }

    /// Takes back the claims that have ended.
    pub fn settle(&mut self) {
        while let Ok(returned) = self.returned.try_recv() {
            self.outstanding -= 1;
            let Some(assigned) = self.partitions.get_mut(&returned.partition) else { continue };
            let current = assigned.claims.get(&returned.offset);
            if current.is_none_or(|lease| lease.number != returned.lease) {
                continue;
            }
            assigned.claims.remove(&returned.offset);
            if returned.is_finished {
                assigned.window.finish(returned.offset);
            }
        }
    }

    /// Positions that the broker has not been sent yet.
    pub fn due(&self) -> Vec<Position> {
        self.positions(|assigned| assigned.beyond(assigned.sent))
    }

    /// Positions that the broker may not hold, though they may have been sent.
    pub fn unconfirmed(&self) -> Vec<Position> {
        self.positions(|assigned| assigned.beyond(assigned.confirmed))
    }

    /// `positions` are on their way to the broker.
    pub fn sent(&mut self, positions: &[Position]) {
        for (partition, position) in positions {
            if let Some(assigned) = self.partitions.get_mut(partition) {
                assigned.sent = Some(*position);
            }
        }
    }

    /// The broker has acknowledged `positions`.
    pub fn confirmed(&mut self, positions: &[Position]) {
        self.sent(positions);
        for (partition, position) in positions {
            if let Some(assigned) = self.partitions.get_mut(partition) {
                assigned.confirmed = Some(*position);
            }
        }
    }

    /// What the broker holds. A position that was sent and has not arrived is due again.
    pub fn observe(&mut self, partition: i32, watermarks: Watermarks) {
        if let Some(assigned) = self.partitions.get_mut(&partition) {
            assigned.watermarks = Some(watermarks);
            assigned.sent = assigned.sent.map(|sent| sent.min(watermarks.committed));
            assigned.confirmed = assigned.confirmed.max(Some(watermarks.committed));
        }
    }

    /// librdkafka tells what it has fetched.
    pub fn observe_fetched(&mut self, partition: i32, fetched: Fetched) {
        if let Some(assigned) = self.partitions.get_mut(&partition) {
            // Neither on its way here nor in hand: where nothing was fetched since the last look, and all that came is back.
            if assigned.claims.is_empty() && assigned.fetched == Some(fetched) {
                assigned.window.passed(fetched.next);
            }
            assigned.fetched = Some(fetched);
        }
    }

    /// How far a partition of ours has come, what librdkafka has passed over included, such as the marks of transactions. `None` while
    /// it has not told.
    pub fn fetched(&self, partition: i32) -> Option<Fetched> {
        let assigned = self.partitions.get(&partition)?;
        let fetched = assigned.fetched?;
        Some(Fetched { next: fetched.next.max(assigned.window.end().unwrap_or(-1)), ..fetched })
    }

    /// Records of our partitions that are not finished, counting those that wait at the broker.
    pub fn lag(&self) -> i64 {
        self.partitions.values().map(Assigned::lag).sum()
    }

    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    #[cfg(test)]
    pub fn stand_still(&self) {
        self.pulse.stand_still();
    }

    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn positions(&self, position: impl Fn(&Assigned) -> Option<i64>) -> Vec<Position> {
        self.partitions.iter().filter_map(|(partition, assigned)| Some((*partition, position(assigned)?))).collect()
    }
}

impl Assigned {
    /// Records from `offset` on may come again: the log went back (topic made anew, offsets reset), or librdkafka repeats itself after a
    /// rebalance. A claim counts no more once its own record comes again, which may be another one by now. Until then it lives on: not all
    /// that were delivered need come again, and what is dropped as lost must be.
    fn rewind(&mut self, offset: i64) {
        self.window.rewind(offset);
        self.window.start(offset);
        let position = self.window.position();
        if self.start.is_some_and(|start| offset < start) {
            (self.start, self.sent, self.confirmed) = (position, None, None);
        } else {
            (self.sent, self.confirmed) = (self.sent.min(position), self.confirmed.min(position));
        }
    }

    /// The position to commit, if it is further than `known` and than where we began.
    fn beyond(&self, known: Option<i64>) -> Option<i64> {
        self.window.position().filter(|position| Some(*position) > known.max(self.start))
    }

    fn lag(&self) -> i64 {
        let Some(seen) = self.watermarks else { return self.window.unfinished() as i64 };
        let position = self.window.position().unwrap_or(seen.committed.max(seen.low));
        (seen.high - position).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::pulse::Moment;
    use std::collections::BTreeSet;
    use std::sync::{Barrier, Mutex};
    use std::time::Duration;

    fn assignment(partitions: &[i32]) -> Assignment {
        let pulse = Pulse::new(Duration::from_secs(3600));
        let mut assignment = Assignment::new("chunks", 16, Arc::new(pulse));
        assignment.assign(partitions);
        assignment
    }

    #[test]
    fn finished_prefix_is_due_once() {
        let mut ours = assignment(&[0, 1]);
        let first = ours.claim(0, 10).unwrap();
        let second = ours.claim(0, 11).unwrap();
        second.finish();
        ours.settle();
        assert_eq!((ours.due(), ours.outstanding()), (vec![], 1), "a hole before it");
        first.finish();
        ours.settle();
        assert_eq!((ours.due(), ours.outstanding()), (vec![(0, 12)], 0));
        ours.sent(&[(0, 12)]);
        assert_eq!(ours.due(), vec![]);
    }

    #[test]
    fn a_commit_that_did_not_arrive_is_due_again() {
        let seen = |committed| Watermarks { low: 0, high: 20, committed };
        let mut ours = assignment(&[0]);
        let first = ours.claim(0, 10).unwrap();
        ours.observe(0, seen(-1001));
        assert_eq!(ours.due(), vec![], "where it began is no news");
        first.finish();
        ours.settle();
        ours.sent(&[(0, 11)]);
        assert_eq!((ours.due(), ours.unconfirmed()), (vec![], vec![(0, 11)]));
        ours.observe(0, seen(-1001));
        assert_eq!((ours.due(), ours.unconfirmed()), (vec![(0, 11)], vec![(0, 11)]));
        ours.observe(0, seen(11));
        ours.sent(&[(0, 11)]);
        assert_eq!((ours.due(), ours.unconfirmed()), (vec![], vec![]));
        assert_eq!(ours.revoke(&[0]), vec![]);
    }

    #[test]
    fn what_was_sent_and_not_confirmed_is_committed_before_the_partition_goes() {
        let mut ours = assignment(&[0, 1]);
        for partition in 0..2 {
            ours.claim(partition, 3).unwrap().finish();
        }
        ours.settle();
        ours.sent(&[(0, 4)]);
        ours.confirmed(&[(1, 4)]);
        assert_eq!(ours.due(), vec![]);
        assert_eq!(ours.revoke(&[0, 1]), vec![(0, 4)]);
    }

    #[test]
    fn a_dropped_claim_holds_the_position() {
        let mut ours = assignment(&[0]);
        drop(ours.claim(0, 10).unwrap());
        ours.claim(0, 11).unwrap().finish();
        ours.settle();
        assert_eq!((ours.due(), ours.outstanding()), (vec![], 0));
    }

    #[test]
    fn revocation_ends_leases_and_returns_what_was_finished_until_then() {
        let mut ours = assignment(&[0, 1]);
        let finished = ours.claim(0, 5).unwrap();
        let late = ours.claim(0, 6).unwrap();
        let kept = ours.claim(1, 7).unwrap();
        finished.finish();
        assert_eq!(ours.revoke(&[0]), vec![(0, 6)], "finished, though not settled yet");
        assert!(late.ensure_live().is_err());
        assert!(kept.ensure_live().is_ok());
        late.finish();
        ours.settle();
        assert_eq!((ours.due(), ours.outstanding()), (vec![], 1));
        assert_eq!(ours.take_changes(), vec![Change::Assigned(vec![0, 1]), Change::Revoked(vec![0])]);
    }

    #[test]
    fn a_claim_of_an_earlier_assignment_moves_nothing_in_the_later_one() {
        let mut ours = assignment(&[0]);
        let old = ours.claim(0, 5).unwrap();
        ours.revoke(&[0]);
        ours.assign(&[0]);
        let new = ours.claim(0, 5).unwrap();
        old.finish();
        ours.settle();
        assert_eq!(ours.due(), vec![]);
        new.finish();
        ours.settle();
        assert_eq!(ours.due(), vec![(0, 6)]);
    }

    #[test]
    fn after_a_pause_all_claims_are_dead_and_what_they_finish_is_never_due() {
        let mut ours = assignment(&[0, 1]);
        let (first, second) = (ours.claim(0, 5).unwrap(), ours.claim(1, 5).unwrap());
        let settled = ours.claim(0, 6).unwrap();
        settled.finish();
        ours.take_changes();
        ours.stand_still();
        // Before anybody on the poll thread has noticed.
        assert!(first.ensure_live().is_err() && second.ensure_live().is_err());
        first.finish();
        ours.abandon();
        ours.pulse.beat(Moment::now());
        assert!(second.ensure_live().is_err(), "for ever");
        assert_eq!((ours.due(), ours.unconfirmed(), ours.outstanding()), (vec![], vec![], 1));
        assert_eq!(ours.take_changes(), vec![Change::Revoked(vec![0, 1])]);
        assert!(ours.claim(0, 7).is_none(), "polled before the partitions come back");
        assert_eq!(ours.revoke(&[0, 1]), vec![], "librdkafka's own revocation comes later");
        assert_eq!(ours.take_changes(), vec![], "and is no news");
        ours.assign(&[0]);
        second.finish();
        ours.claim(0, 5).unwrap().finish();
        ours.settle();
        assert_eq!(ours.due(), vec![(0, 6)], "done anew");
    }

    /// The worst interleaving, step by step: a claim that is finished between each two steps of a revocation.
    #[test]
    fn what_finishes_during_a_revocation_is_committed_before_it_or_never() {
        let mut ours = assignment(&[0]);
        let claims: Vec<Claim> = (0..4).map(|offset| ours.claim(0, offset).unwrap()).collect();
        let [due, returned, revoked, reassigned] = <[Claim; 4]>::try_from(claims).unwrap();
        due.finish();
        ours.settle();
        let committing = ours.due();
        // Finished after the loop has looked and before librdkafka has the commit.
        returned.finish();
        ours.sent(&committing);
        assert_eq!(committing, vec![(0, 1)]);
        assert_eq!(ours.revoke(&[0]), vec![(0, 2)], "the last chance, with the callback");
        revoked.finish();
        ours.settle();
        // An answer to the commit that arrives late, and what the statistics say.
        ours.confirmed(&committing);
        ours.observe(0, Watermarks { low: 0, high: 4, committed: 2 });
        assert_eq!((ours.due(), ours.unconfirmed()), (vec![], vec![]));
        ours.assign(&[0]);
        reassigned.finish();
        ours.settle();
        assert_eq!((ours.due(), ours.unconfirmed()), (vec![], vec![]));
    }

    /// Claims are finished on other threads while the poll thread commits, revokes and gets the partition back: no
    /// position ever passes a record that its own assignment has not finished.
    #[test]
    fn claims_that_race_with_revocations_never_move_a_position_too_far() {
        const RECORDS: i64 = 8;
        let mut ours = assignment(&[]);
        let mut committed_late = 0;
        for round in 0..400_usize {
            ours.assign(&[0]);
            let claims: Vec<Claim> = (0..RECORDS).map(|offset| ours.claim(0, offset).unwrap()).collect();
            // Announced before the claim is finished, so that it is never behind what the assignment knows.
            let finished: Arc<Mutex<BTreeSet<i64>>> = Arc::default();
            let start = Barrier::new(3);
            let mut halves = [Vec::new(), Vec::new()];
            for claim in claims {
                halves[usize::from(claim.offset() % 2 == 0)].push(claim);
            }
            std::thread::scope(|threads| {
                for half in halves {
                    let (finished, start) = (finished.clone(), &start);
                    threads.spawn(move || {
                        start.wait();
                        for claim in half {
                            finished.lock().unwrap().insert(claim.offset());
                            claim.finish();
                        }
                    });
                }
                start.wait();
                let check = |positions: Vec<Position>| {
                    for (_, position) in positions {
                        let finished = finished.lock().unwrap();
                        assert!((0..position).all(|offset| finished.contains(&offset)), "{position} {finished:?}");
                    }
                };
                for _ in 0..round % 7 {
                    ours.settle();
                    let due = ours.due();
                    check(due.clone());
                    ours.sent(&due);
                }
                check(ours.revoke(&[0]));
                // Ours again at once, with the same records, none of which this assignment has finished.
                ours.assign(&[0]);
                let again = ours.claim(0, 0).unwrap();
                for _ in 0..3 {
                    ours.settle();
                    committed_late += ours.due().len() + ours.unconfirmed().len();
                }
                drop(again);
                ours.revoke(&[0]);
            });
            ours.settle();
            ours.take_changes();
            assert_eq!(ours.outstanding(), 0, "every claim came back");
        }
        assert_eq!(committed_late, 0, "no claim of an earlier assignment was counted");
    }

    #[test]
    fn a_log_that_went_back_starts_a_new_window() {
        let mut ours = assignment(&[0]);
        let old = ours.claim(0, 500).unwrap();
        let new = ours.claim(0, 0).unwrap();
        assert!(old.ensure_live().is_ok(), "nothing else has come in its place");
        new.finish();
        ours.settle();
        assert_eq!(ours.due(), vec![(0, 1)]);
        let in_its_place = ours.claim(0, 500).unwrap();
        assert!(old.ensure_live().is_err());
        old.finish();
        ours.settle();
        assert_eq!(ours.due(), vec![(0, 500)], "what lay between is no more");
        in_its_place.finish();
        ours.settle();
        assert_eq!(ours.due(), vec![(0, 501)]);
    }

    #[test]
    fn a_record_that_comes_again_leaves_claims_on_others_alone() {
        let mut ours = assignment(&[0]);
        let [five, six, seven] = [5, 6, 7].map(|offset| ours.claim(0, offset).unwrap());
        let again = ours.claim(0, 6).unwrap();
        assert!(five.ensure_live().is_ok());
        assert!(six.ensure_live().is_err());
        assert!(seven.ensure_live().is_ok(), "whether it comes again nobody knows");
        six.finish();
        again.finish();
        ours.settle();
        assert_eq!((ours.due(), ours.outstanding()), (vec![], 2), "the fifth holds the position");
        five.finish();
        ours.settle();
        assert_eq!(ours.due(), vec![(0, 7)], "the seventh may be another by now");
        let eight = ours.claim(0, 8).unwrap();
        assert_eq!(ours.due(), vec![(0, 7)], "it was not, and is in work");
        seven.finish();
        ours.settle();
        assert_eq!(ours.due(), vec![(0, 8)]);
        eight.finish();
        assert_eq!(ours.revoke(&[0]), vec![(0, 9)]);
    }

    #[test]
    fn what_does_not_come_again_is_committed_once_nothing_more_comes() {
        let mut ours = assignment(&[0]);
        let [five, six] = [5, 6].map(|offset| ours.claim(0, offset).unwrap());
        six.finish();
        let again = ours.claim(0, 5).unwrap();
        five.finish();
        let look = |ours: &mut Assignment, next| {
            ours.settle();
            ours.observe_fetched(0, Fetched { next, records: 3 });
            ours.observe_fetched(0, Fetched { next, records: 3 });
            (ours.due(), ours.lag())
        };
        ours.observe(0, Watermarks { low: 0, high: 7, committed: -1001 });
        assert_eq!(look(&mut ours, 7), (vec![], 2), "it is in hand");
        again.finish();
        assert_eq!(look(&mut ours, 6), (vec![(0, 6)], 1), "the sixth is yet to be fetched again");
        ours.observe_fetched(0, Fetched { next: 7, records: 3 });
        assert_eq!(ours.due(), vec![(0, 6)], "what was fetched may be on its way");
        assert_eq!(look(&mut ours, 7), (vec![(0, 7)], 0));
    }

    #[test]
    fn what_was_finished_before_records_came_again_is_committed() {
        let mut ours = assignment(&[0]);
        (5..8).for_each(|offset| ours.claim(0, offset).unwrap().finish());
        let _in_work = ours.claim(0, 8).unwrap();
        let again = ours.claim(0, 7).unwrap();
        ours.settle();
        assert_eq!(ours.due(), vec![(0, 7)]);
        again.finish();
        ours.settle();
        ours.sent(&[(0, 8)]);
        let again = ours.claim(0, 6).unwrap();
        assert_eq!((ours.due(), ours.unconfirmed()), (vec![], vec![(0, 6)]));
        again.finish();
        ours.settle();
        assert_eq!(ours.due(), vec![(0, 7)], "further than it is sure to be");
    }

    #[test]
    fn lag_counts_what_is_not_finished() {
        let mut ours = assignment(&[0, 1, 2]);
        ours.observe(0, Watermarks { low: 3, high: 10, committed: -1001 });
        ours.observe(1, Watermarks { low: 0, high: 10, committed: 4 });
        assert_eq!(ours.lag(), 7 + 6);
        let claim = ours.claim(0, 3).unwrap();
        assert_eq!(ours.lag(), 7 + 6);
        claim.finish();
        ours.settle();
        assert_eq!(ours.lag(), 6 + 6);
        assert!(ours.claim(9, 0).is_none(), "not ours");
    }
}
