//! The queue of one exporter: numbered units of evidence, sent in order, one at a time. Pure.
//!
//! Each exporter has its own, so that a dead one delays nobody. A unit keeps its number until it
//! is accepted: a report that arrived although its answer was lost is known by its number and
//! not counted twice. What has waited is sent [`JOINED`] units at a time, as far as one report
//! has room, so that a slow line keeps up and a long absence is over soon. Units that wait for
//! long keep counts of successes alone; beyond [`KEPT`] and [`KEPT_PATHS`] what is on disk goes
//! first ([`Outbox::to_spool`]), then the oldest successes, then the oldest units.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use pnwatch_core::time::Tick;

use crate::evidence::Unit;

/// Evidence older than this when it is sent is history: counted, never judged by. As long as
/// units are kept: results take their places by their starts, and a verdict needs fresh ones.
pub const HISTORY: Duration = Duration::from_mins(10);
/// Units that are kept whole; older ones keep counts of successes alone.
pub const WHOLE: usize = 120;
/// Units that are kept at all: ten minutes at one a second.
pub const KEPT: usize = 600;
/// Paths that are told of in all units together, about 64 MiB: at many targets this comes first.
pub const KEPT_PATHS: usize = 200_000;
/// Units in one report at most: the finest slot of the budgets, at one a second.
pub const JOINED: usize = 10;
/// By how much what waits is newer than what is sent, for it to be said: more than the one unit
/// that comes while a report is under way.
pub const BEHIND: Duration = Duration::from_secs(2);
/// For how long a line is down before what waits goes to the disk.
pub const SPOOLED_AFTER: Duration = Duration::from_secs(10);

/// One unit under its number.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// The report's `seq`.
    pub seq: u64,
    /// Its evidence.
    pub unit: Arc<Unit>,
    folded: bool,
    stripped: bool,
    /// It may have arrived: it goes again as it is.
    tried: bool,
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
    /// Since when nothing is accepted.
    failing_since: Option<Tick>,
    /// The newest number that is on disk.
    spooled: u64,
    /// The newest number that memory gave up while it was on disk.
    disk_only: u64,
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
            stripped: false,
            tried: false,
        });
        self.shed();
    }

    fn shed(&mut self) {
        // What is being sent stays as it is, and the newest comes whole or not at all.
        let first = usize::from(self.under_way);
        let surplus = self.queue.len().saturating_sub(WHOLE);
        for old in self.queue.range_mut(first..first.max(surplus)) {
            if !old.folded {
                old.folded = true;
                old.unit = Arc::new(old.unit.folded());
            }
        }
        let on_disk = |outbox: &Self| {
            let oldest = outbox.queue.get(first);
            oldest.is_some_and(|oldest| oldest.seq <= outbox.spooled)
        };
        while self.is_over() && on_disk(self) && self.remove_line(first) {}
        let newest = self.queue.len().saturating_sub(1);
        for at in first..newest {
            if self.paths > KEPT_PATHS {
                self.strip(at);
            }
        }
        while self.is_over() && self.remove_line(first) {}
    }

    fn is_over(&self) -> bool {
        self.queue.len() > KEPT || self.paths > KEPT_PATHS
    }

    /// Gives up one unit, or all that one line of the spool holds, so that each event is either
    /// here or there; `false` = only the newest is left.
    fn remove_line(&mut self, first: usize) -> bool {
        for _ in 0..JOINED {
            if self.queue.len() <= first + 1 {
                return false;
            }
            let Some(oldest) = self.queue.remove(first) else {
                return false;
            };
            self.paths -= oldest.unit.len();
            if oldest.seq > self.spooled {
                self.dropped += oldest.unit.outcomes();
                break;
            }
            self.disk_only = oldest.seq;
            if oldest.seq.is_multiple_of(JOINED as u64) {
                break;
            }
        }
        true
    }

    /// Leaves the successes out of the unit `at`.
    fn strip(&mut self, at: usize) {
        let Some(old) = self.queue.get_mut(at).filter(|old| !old.stripped) else {
            return;
        };
        old.stripped = true;
        let rest = old.unit.without_successes();
        self.dropped += old.unit.outcomes() - rest.outcomes();
        self.paths -= old.unit.len() - rest.len();
        old.unit = Arc::new(rest);
    }

    /// The unit to be sent now, if the line is free; and whether it is the newest. What waits
    /// behind it comes along, as far as it fits.
    pub fn take(&mut self, now: Tick) -> Option<(Numbered, bool)> {
        if self.under_way || now < self.not_before {
            return None;
        }
        let mut next = self.queue.pop_front()?;
        self.paths -= next.unit.len();
        if !next.tried {
            let mut joined = 1;
            while let Some(more) = self.queue.front() {
                // What is on disk and what is not stay apart.
                let apart = next.seq <= self.spooled && more.seq > self.spooled;
                if apart || joined == JOINED || !Arc::make_mut(&mut next.unit).join(&more.unit) {
                    break;
                }
                joined += 1;
                next.seq = more.seq;
                next.stripped &= more.stripped;
                self.paths -= more.unit.len();
                self.queue.pop_front();
            }
        }
        next.tried = true;
        self.paths += next.unit.len();
        self.queue.push_front(next.clone());
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
            self.failing_since.get_or_insert(retry_at);
        } else {
            let gone = self.queue.pop_front();
            self.paths -= gone.map_or(0, |gone| gone.unit.len());
            self.not_before = Tick::default();
            self.failing_since = None;
        }
    }

    /// What is to be kept on disk now: units that wait since the line went down and are not
    /// there yet, as one with the number of the last; `all` = without waiting for a full line.
    pub fn to_spool(&mut self, now: Tick, all: bool) -> Option<Numbered> {
        let down = self.failing_since?;
        // Where the next line ends at the latest; nothing is folded before it is there.
        let end = (self.spooled / JOINED as u64 + 1) * JOINED as u64;
        if !all && (now.since(down) < SPOOLED_AFTER || self.last_seq < end) {
            return None;
        }
        let first = self.queue.iter().position(|unit| unit.seq > self.spooled)?;
        let (mut line, mut full): (Option<Numbered>, bool) = (None, false);
        for more in self.queue.range(first..) {
            match &mut line {
                None => {
                    let mut first = more.clone();
                    first.unit = Arc::new(first.unit.folded());
                    line = Some(first);
                }
                Some(line) => {
                    if !Arc::make_mut(&mut line.unit).join(&more.unit.folded()) {
                        full = true;
                        break;
                    }
                    line.seq = more.seq;
                }
            }
            if more.seq.is_multiple_of(JOINED as u64) {
                let line = line?;
                self.spooled = line.seq;
                return Some(line);
            }
        }
        let line = line.filter(|_| all || full)?;
        self.spooled = line.seq;
        Some(line)
    }

    /// Up to which number the disk alone has what did not arrive.
    pub fn disk_only(&self) -> u64 {
        self.disk_only
    }

    /// The unit that was pushed last, whatever waits before it: what a goodbye tells.
    pub fn newest(&self) -> Option<&Numbered> {
        self.queue.back()
    }

    /// Whether what waits behind the oldest unit is newer by more than [`BEHIND`]: who judged by
    /// that one alone would name what may be over already.
    pub fn is_behind(&self) -> bool {
        let ends = self.queue.front().zip(self.queue.back());
        ends.is_some_and(|(oldest, newest)| newest.unit.at.since(oldest.unit.at) > BEHIND)
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
#[path = "outbox_tests.rs"]
mod tests;
