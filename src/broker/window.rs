//! Records of a partition finish out of order; Kafka commits prefixes.
//!
//! Pure bookkeeping, no I/O. Offsets may have gaps (compaction, transaction markers): what counts is the order in which
//! records were delivered, not that their offsets are consecutive.

use std::collections::BTreeSet;

/// Which of a partition's delivered records are unfinished, and so how far it may be committed.
#[derive(Debug, Default)]
pub struct OffsetWindow {
    unfinished: BTreeSet<i64>,
    /// One past the highest delivered offset; none before the first delivery.
    end: Option<i64>,
}

impl OffsetWindow {
    /// The record at `offset` was delivered. Offsets must rise; one at or below an earlier one is ignored (`false`).
    pub fn start(&mut self, offset: i64) -> bool {
        let is_new = self.end.is_none_or(|end| offset >= end);
        if is_new {
            self.unfinished.insert(offset);
            self.end = Some(offset + 1);
        }
        is_new
    }

    /// Records from `offset` on come again. What was known of them counts until each of them does, if it does; until then nothing from
    /// there on is committed.
    pub fn rewind(&mut self, offset: i64) {
        self.end = Some(offset);
    }

    /// The record at `offset` is finished. Returns the commit position, `None` if this did not move it.
    ///
    /// Finishing a record twice, or one never started, changes nothing.
    pub fn finish(&mut self, offset: i64) -> Option<i64> {
        let before = self.position();
        self.unfinished.remove(&offset);
        self.position().filter(|_| self.position() != before)
    }

    /// The offset to commit: of the first unfinished record, or one past the last delivered, whichever is less. `None` before any delivery.
    pub fn position(&self) -> Option<i64> {
        self.unfinished.first().copied().into_iter().chain(self.end).min()
    }

    /// One past the highest delivered offset; `None` before any delivery.
    pub fn end(&self) -> Option<i64> {
        self.end
    }

    /// Delivered and not finished.
    pub fn unfinished(&self) -> usize {
        self.unfinished.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Starts `delivered`, then finishes `finished` in order and collects the positions that moved.
    fn positions(delivered: &[i64], finished: &[i64]) -> Vec<Option<i64>> {
        let mut window = OffsetWindow::default();
        for offset in delivered {
            window.start(*offset);
        }
        finished.iter().map(|offset| window.finish(*offset)).collect()
    }

    #[test]
    fn commits_the_finished_prefix() {
        type Row = (&'static str, &'static [i64], &'static [i64], &'static [Option<i64>]);
        #[rustfmt::skip]
        let table: &[Row] = &[
            ("in order",            &[5, 6, 7], &[5, 6, 7],    &[Some(6), Some(7), Some(8)]),
            ("backwards",           &[5, 6, 7], &[7, 6, 5],    &[None, None, Some(8)]),
            ("hole",                &[5, 6, 7], &[6, 5],       &[None, Some(7)]),
            ("gaps in the log",     &[5, 9, 20], &[5, 20, 9],  &[Some(9), None, Some(21)]),
            ("twice",               &[5, 6],    &[5, 5, 6],    &[Some(6), None, Some(7)]),
            ("never delivered",     &[5],       &[4, 6],       &[None, None]),
        ];
        for (name, delivered, finished, expected) in table {
            assert_eq!(positions(delivered, finished), *expected, "{name}");
        }
    }

    #[test]
    fn nothing_delivered_has_no_position_and_old_offsets_are_ignored() {
        let mut window = OffsetWindow::default();
        assert_eq!(window.position(), None);
        assert!(window.start(3));
        assert!(!window.start(3));
        assert!(!window.start(2));
        assert_eq!((window.position(), window.unfinished()), (Some(3), 1));
    }

    #[test]
    fn what_comes_again_is_unfinished_and_what_was_before_it_stays_as_it_was() {
        let mut window = OffsetWindow::default();
        assert!((3..8).all(|offset| window.start(offset)));
        for offset in [3, 6, 7] {
            window.finish(offset);
        }
        window.rewind(6);
        assert_eq!((window.position(), window.unfinished()), (Some(4), 2));
        assert!(!window.start(5) && window.start(6));
        for offset in [4, 5] {
            window.finish(offset);
        }
        assert_eq!(window.position(), Some(6));
        window.finish(6);
        assert_eq!(window.position(), Some(7), "the end is where it came to anew");
    }

    proptest! {
        /// Against the definition: everything below the position is finished, the record at the position is not, and
        /// the position never goes back.
        #[test]
        fn position_is_the_end_of_the_finished_prefix(
            gaps in prop::collection::vec(1i64..4, 1..60),
            order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..120),
        ) {
            let mut delivered: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let mut window = OffsetWindow::default();
            let late = delivered.split_off(delivered.len() / 2);
            let mut late = late.into_iter();
            for offset in &delivered { window.start(*offset); }
            let mut finished = BTreeSet::new();
            let mut last = window.position();
            for (index, deliver_one_more) in order {
                if deliver_one_more && let Some(offset) = late.next() {
                    window.start(offset);
                    delivered.push(offset);
                }
                if delivered.is_empty() { continue; }
                let offset = *index.get(&delivered);
                window.finish(offset);
                finished.insert(offset);
                let position = window.position();
                let first_open = delivered.iter().find(|offset| !finished.contains(offset)).copied();
                prop_assert_eq!(position, first_open.or(delivered.last().map(|offset| offset + 1)));
                prop_assert!(position >= last);
                last = position;
            }
            prop_assert_eq!(window.unfinished(), delivered.len() - finished.len());
        }
    }
}
