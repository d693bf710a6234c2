//! Records of a partition finish out of order; Kafka commits prefixes.
//!
//! Pure bookkeeping, no I/O. Offsets may have gaps (compaction, transaction markers): what counts is the order in which
//! records were delivered, not that their offsets are consecutive.

use std::collections::BTreeSet;

/// Which of a partition's delivered records are unfinished, and so how far it may be committed.
#[derive(Debug, Default)]
pub struct OffsetWindow {
    unfinished: BTreeSet<i64>,
    /// One past the last delivered offset; none before the first delivery.
    end: Option<i64>,
    /// The furthest that `end` has been; it is behind that while records may come again.
    reach: Option<i64>,
}

impl OffsetWindow {
    /// The record at `offset` was delivered. Offsets must rise; one at or below the last is ignored (`false`), unless the window is put
    /// back first.
    pub fn start(&mut self, offset: i64) -> bool {
        let is_new = self.end.is_none_or(|end| offset >= end);
        if is_new {
            self.unfinished.insert(offset);
            self.end = Some(offset + 1);
            self.reach = self.reach.max(self.end);
        }
        is_new
    }

    /// Records from `offset` on come again. What was known of them counts until each of them does, if it does; until then nothing from
    /// there on is committed.
    pub fn rewind(&mut self, offset: i64) {
        self.end = Some(offset);
    }

    /// No record before `next` is on its way any more: what has not come again by now does not.
    pub fn passed(&mut self, next: i64) {
        if self.reach.is_some_and(|reach| next >= reach) {
            self.end = self.reach;
        }
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

    /// One past the last delivered offset; `None` before any delivery.
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
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

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

    /// What happens to a window.
    #[derive(Clone, Debug)]
    enum Step {
        /// A record comes, so far behind the furthest.
        New(i64),
        /// One that was delivered comes again.
        Again(prop::sample::Index),
        /// One is finished.
        Finish(prop::sample::Index),
        /// Nothing is on its way any more.
        Calm,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_i64).prop_map(Step::New),
            2 => any::<prop::sample::Index>().prop_map(Step::Again),
            5 => any::<prop::sample::Index>().prop_map(Step::Finish),
            1 => Just(Step::Calm),
        ]
    }

    proptest! {
        /// However often records come again: the position is that of the first whose last delivery is not finished, and never beyond the
        /// last that was delivered, until nothing is on its way any more.
        #[test]
        fn position_waits_for_what_comes_again(steps in prop::collection::vec(step(), 1..80)) {
            let mut window = OffsetWindow::default();
            let (mut is_finished, mut end, mut reach) = (BTreeMap::new(), None, 0);
            for step in steps {
                let known = |index: prop::sample::Index| is_finished.keys().nth(index.index(is_finished.len().max(1))).copied();
                match step {
                    Step::New(gap) => {
                        let offset = reach + gap;
                        prop_assert!(window.start(offset));
                        is_finished.insert(offset, false);
                        (end, reach) = (Some(offset + 1), offset + 1);
                    }
                    Step::Again(index) => if let Some(offset) = known(index) {
                        if !window.start(offset) {
                            window.rewind(offset);
                            window.start(offset);
                        }
                        is_finished.insert(offset, false);
                        end = Some(offset + 1);
                    }
                    Step::Finish(index) => if let Some(offset) = known(index) {
                        window.finish(offset);
                        is_finished.insert(offset, true);
                    }
                    Step::Calm => {
                        window.passed(reach - 1);
                        prop_assert_eq!(window.end(), end);
                        window.passed(reach);
                        end = end.map(|_| reach);
                    }
                }
                let open = is_finished.iter().find(|(_, finished)| !**finished).map(|(offset, _)| *offset);
                prop_assert_eq!(window.position(), open.into_iter().chain(end).min());
            }
        }

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
