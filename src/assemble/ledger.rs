//! The ledger counts every chunk once, whatever arrives: pure, so that its rules can be tested by themselves.

use crate::contract::{Damage, FrameCounts, StageSeconds, Totals};
use crate::frame::FrameIndex;

/// What a settled chunk brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// Its result was there before.
    pub reused: bool,
    /// Its frames.
    pub counts: FrameCounts,
    /// Where the time went.
    pub seconds: StageSeconds,
}

/// What counting a completion changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is the chunk's first.
    First,
    /// The chunk was settled before: a redelivery, or two workers at the same chunk.
    Again,
    /// No such chunk.
    Unknown,
}

/// The chunks of one run.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// What each settled chunk has added to the totals.
    settled: Vec<Option<Share>>,
    open: usize,
    totals: Totals,
}

/// What a chunk has added to the totals.
#[derive(Clone, Copy, Debug)]
struct Share {
    reused: bool,
    counts: FrameCounts,
}

impl Ledger {
    /// A run of `chunks` chunks over `frames` frames, none settled.
    pub fn new(chunks: usize, frames: FrameIndex) -> Self {
        let totals = Totals { frames, chunks: chunks as u32, ..Totals::default() };
        Self { settled: vec![None; chunks], open: chunks, totals }
    }

    /// Counts chunk `index`.
    pub fn count(&mut self, index: u32, chunk: &Settled) -> Counted {
        let Some(settled) = self.settled.get_mut(index as usize) else { return Counted::Unknown };
        if settled.is_some() {
            return Counted::Again;
        }
        *settled = Some(Share { reused: chunk.reused, counts: chunk.counts });
        self.open -= 1;
        match chunk.reused {
            true => {
                self.totals.chunks_reused += 1;
                self.totals.frames_reused += chunk.counts.frames;
            }
            false => self.totals.chunks_done += 1,
        }
        self.totals.frames_done += chunk.counts.frames;
        self.totals.frames_without_face += chunk.counts.without_face;
        self.totals.frames_damaged += chunk.counts.damage.frames;
        self.spend(&chunk.seconds);
        Counted::First
    }

    /// Takes chunk `index` back: its result has turned out not to be whole. `false` if it was not settled.
    pub fn reopen(&mut self, index: u32) -> bool {
        let Some(Share { reused, counts }) = self.settled.get_mut(index as usize).and_then(Option::take) else {
            return false;
        };
        self.open += 1;
        match reused {
            true => {
                self.totals.chunks_reused -= 1;
                self.totals.frames_reused -= counts.frames;
            }
            false => self.totals.chunks_done -= 1,
        }
        self.totals.frames_done -= counts.frames;
        self.totals.frames_without_face -= counts.without_face;
        self.totals.frames_damaged -= counts.damage.frames;
        true
    }

    /// The chunks that are not settled, in order.
    pub fn missing(&self) -> impl Iterator<Item = u32> {
        let open = self.settled.iter().enumerate().filter(|(_, settled)| settled.is_none());
        open.map(|(index, _)| index as u32)
    }

    /// Adds seconds spent.
    pub fn spend(&mut self, seconds: &StageSeconds) {
        for (stage, seconds) in seconds {
            *self.totals.seconds.entry(stage.clone()).or_default() += seconds;
        }
    }

    /// Every chunk is settled.
    pub fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// Whether chunk `index` is settled.
    pub fn is_settled(&self, index: u32) -> bool {
        self.settled.get(index as usize).is_some_and(Option::is_some)
    }

    /// What of the settled chunks is broken.
    pub fn damage(&self) -> Damage {
        self.settled.iter().flatten().fold(Damage::default(), |all, share| all.and(share.counts.damage))
    }

    /// In numbers.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(frames: u64, reused: bool) -> Settled {
        Settled {
            reused,
            counts: FrameCounts { frames, without_face: 1, ..FrameCounts::default() },
            seconds: StageSeconds::new(),
        }
    }

    #[test]
    fn once_again_and_unknown() {
        let mut ledger = Ledger::new(2, 100);
        assert_eq!(ledger.count(0, &chunk(64, true)), Counted::First);
        assert_eq!(ledger.count(0, &chunk(64, false)), Counted::Again);
        assert_eq!(ledger.count(2, &chunk(64, false)), Counted::Unknown);
        assert!(!ledger.is_complete() && ledger.is_settled(0) && !ledger.is_settled(1));
        assert_eq!(ledger.count(1, &chunk(36, false)), Counted::First);
        assert!(ledger.is_complete());
        let totals = ledger.totals();
        assert_eq!((totals.chunks_done, totals.chunks_reused, totals.frames_done), (1, 1, 100));
        assert_eq!(totals.frames_without_face, 2);
    }

    proptest! {
        /// Counting and taking back in any order: the totals are those of the chunks that are settled at the end.
        #[test]
        fn what_is_taken_back_leaves_no_trace(steps in proptest::collection::vec((0u32..12, any::<bool>(), any::<bool>()), 0..200)) {
            let mut ledger = Ledger::new(10, 100);
            let mut settled = std::collections::BTreeMap::new();
            for (index, is_reopened, reused) in steps {
                if is_reopened {
                    prop_assert_eq!(ledger.reopen(index), settled.remove(&index).is_some());
                } else if ledger.count(index, &chunk(10, reused)) == Counted::First {
                    settled.insert(index, reused);
                }
            }
            let reused = settled.values().filter(|reused| **reused).count() as u32;
            let totals = ledger.totals();
            prop_assert_eq!((totals.chunks_reused, totals.chunks_done), (reused, settled.len() as u32 - reused));
            prop_assert_eq!((totals.frames_done, totals.frames_reused), (settled.len() as u64 * 10, u64::from(reused) * 10));
            prop_assert_eq!(ledger.is_complete(), settled.len() == 10);
            let missing: Vec<u32> = (0..10).filter(|index| !settled.contains_key(index)).collect();
            prop_assert_eq!(ledger.missing().collect::<Vec<_>>(), missing);
        }

        #[test]
        fn any_order_and_any_repetition_give_the_same_totals(order in proptest::collection::vec(0u32..12, 0..200)) {
            let mut ledger = Ledger::new(10, 100);
            for &index in &order {
                let before = ledger.is_settled(index);
                let expected = match (index < 10, before) {
                    (false, _) => Counted::Unknown,
                    (true, true) => Counted::Again,
                    (true, false) => Counted::First,
                };
                prop_assert_eq!(ledger.count(index, &chunk(10, false)), expected);
            }
            let distinct = (0..10).filter(|index| order.contains(index)).count();
            prop_assert_eq!(ledger.totals().chunks_done as usize, distinct);
            prop_assert_eq!(ledger.totals().frames_done as usize, distinct * 10);
            prop_assert_eq!(ledger.is_complete(), distinct == 10);
        }
    }
}
