//! The queue of one exporter: numbered units of evidence, sent in order, one at a time. Pure.
//!
//! Each exporter has its own, so that a dead one delays nobody. A unit keeps its number until it
//! is accepted: a report that arrived although its answer was lost is known by its number and
//! not counted twice. Without room, in units or in paths, the oldest successes go first, then the
//! oldest units.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use pnwatch_core::time::Tick;

use crate::evidence::Unit;

/// Evidence older than this when it is sent is history: counted, never judged by.
pub const HISTORY: Duration = Duration::from_mins(1);
/// Units that are kept whole; older ones lose their successes.
pub const WHOLE: usize = 120;
/// Units that are kept at all: ten minutes at one a second.
pub const KEPT: usize = 600;
/// Paths that are told of in all units together, about 64 MiB: at many targets this comes first.
pub const KEPT_PATHS: usize = 200_000;

/// One unit under its number.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// The report's `seq`.
    pub seq: u64,
    /// Its evidence.
    pub unit: Arc<Unit>,
    folded: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Numbered>,
    last_seq: u64,
    under_way: bool,
    not_before: Tick,
    dropped: u64,
    /// Paths in the queue.
    paths: usize,
}

impl Outbox {
    /// Appends a unit.
    pub fn push(&mut self, unit: Arc<Unit>) {
        self.last_seq += 1;
        self.paths += unit.len();
        self.queue.push_back(Numbered {
            seq: self.last_seq,
            unit,
            folded: false,
        });
        self.shed();
    }

    fn shed(&mut self) {
        // What is being sent stays as it is, and the newest comes whole or not at all.
        let first = usize::from(self.under_way);
        let newest = self.queue.len().saturating_sub(1);
        let surplus = self.queue.len().saturating_sub(WHOLE);
        for at in first..newest {
            if at < surplus || self.paths > KEPT_PATHS {
                self.fold(at);
            }
        }
        while self.queue.len() > first + 1
            && (self.queue.len() > KEPT || self.paths > KEPT_PATHS)
            && let Some(oldest) = self.queue.remove(first)
        {
            self.paths -= oldest.unit.len();
            self.dropped += oldest.unit.outcomes();
        }
    }

    /// Leaves the successes out of the unit `at`.
    fn fold(&mut self, at: usize) {
        let Some(old) = self.queue.get_mut(at).filter(|old| !old.folded) else {
            return;
        };
        old.folded = true;
        let rest = old.unit.without_successes();
        self.dropped += old.unit.outcomes() - rest.outcomes();
        self.paths -= old.unit.len() - rest.len();
        old.unit = Arc::new(rest);
    }

    /// The unit to be sent now, if the line is free; and whether it is the newest.
    pub fn take(&mut self, now: Tick) -> Option<(Numbered, bool)> {
        if self.under_way || now < self.not_before {
            return None;
        }
        let next = self.queue.front()?.clone();
        self.under_way = true;
        Some((next, self.queue.len() == 1))
    }

    /// The unit that was under way will never be accepted.
    pub fn give_up(&mut self) {
        if let Some(lost) = self.queue.front() {
            self.dropped += lost.unit.outcomes();
        }
        self.done(false, Tick::default());
    }

    /// The unit that was under way arrived, or is to be kept and sent again.
    pub fn done(&mut self, keep: bool, retry_at: Tick) {
        self.under_way = false;
        if keep {
            self.not_before = retry_at;
        } else {
            let gone = self.queue.pop_front();
            self.paths -= gone.map_or(0, |gone| gone.unit.len());
            self.not_before = Tick::default();
        }
    }

    /// The unit that was pushed last, whatever waits before it: what a goodbye tells.
    pub fn newest(&self) -> Option<&Numbered> {
        self.queue.back()
    }

    /// Units that wait or are under way.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether everything has arrived.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Outcomes that were given up.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use pnwatch_core::outcome::{Cause, Layer, Outcome};
    use pnwatch_core::schedule::CheckId;

    use super::*;
    use crate::evidence::{Entry, Gathering};

    fn unit(at: u64) -> Arc<Unit> {
        let subject = Arc::new("node:n1".parse().unwrap());
        let mut gathering = Gathering::default();
        for outcome in [Outcome::Reached, Outcome::Unreached(Cause::ArpUnanswered)] {
            let entry = Entry::plain(outcome, Tick::from_millis(at));
            gathering.add((CheckId(1), Layer::Arp), &subject, entry, None);
        }
        Arc::new(gathering.fold(Tick::from_millis(at)))
    }

    #[test]
    fn a_unit_keeps_its_number_until_it_arrives() {
        let mut outbox = Outbox::default();
        outbox.push(unit(1000));
        outbox.push(unit(2000));
        let now = Tick::from_millis(2000);
        let (first, newest) = outbox.take(now).unwrap();
        assert_eq!((first.seq, newest), (1, false));
        assert!(outbox.take(now).is_none());
        outbox.done(true, Tick::from_millis(3000));
        assert!(outbox.take(Tick::from_millis(2999)).is_none());
        let (again, _) = outbox.take(Tick::from_millis(3000)).unwrap();
        assert_eq!(again.seq, 1);
        outbox.done(false, Tick::default());
        let (second, newest) = outbox.take(now).unwrap();
        assert_eq!((second.seq, newest), (2, true));
    }

    #[test]
    fn without_room_the_oldest_successes_go_first() {
        let mut outbox = Outbox::default();
        for n in 0..WHOLE as u64 + 10 {
            outbox.push(unit(n));
        }
        assert_eq!((outbox.len(), outbox.dropped()), (WHOLE + 10, 10));
        for n in 0..2 * KEPT as u64 {
            outbox.push(unit(n));
        }
        assert_eq!(outbox.len(), KEPT);
        let (oldest, _) = outbox.take(Tick::default()).unwrap();
        assert_eq!(oldest.unit.outcomes(), 1);
        // What is under way is not shed.
        outbox.push(unit(1));
        outbox.done(false, Tick::default());
        assert_eq!(outbox.len(), KEPT - 1);
        assert_eq!(outbox.take(Tick::default()).unwrap().0.seq, oldest.seq + 2);
    }

    #[test]
    fn many_targets_are_bounded_by_their_paths() {
        let subject = Arc::new("node:n1".parse().unwrap());
        let large = |outcome| {
            let mut gathering = Gathering::default();
            for id in 0..10_000 {
                let entry = Entry::plain(outcome, Tick::from_millis(1));
                gathering.add((CheckId(id), Layer::Arp), &subject, entry, None);
            }
            Arc::new(gathering.fold(Tick::from_millis(1)))
        };
        let mut outbox = Outbox::default();
        for _ in 0..30 {
            outbox.push(large(Outcome::Reached));
        }
        // Ten gave their successes up, and nothing else was in them.
        assert_eq!((outbox.len(), outbox.dropped()), (30, 100_000));
        for _ in 0..30 {
            outbox.push(large(Outcome::Unreached(Cause::ArpUnanswered)));
        }
        assert_eq!(outbox.paths, KEPT_PATHS);
        let (oldest, _) = outbox.take(Tick::default()).unwrap();
        assert_eq!(oldest.unit.len(), 10_000);
    }
}
