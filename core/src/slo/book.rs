//! All series with their rings, their time and what changed.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Event;
use super::change::{Changes, RestoreError, SlotRow, decode, encode};
use super::key::SeriesKey;
use super::ring::{Counts, Ring, RingId};
use crate::fault::Blame;
use crate::name::Vantage;
use crate::time::{Now, Tick};

/// Most series: 200 accounts times three kinds of vantage times two measures, and charges.
pub const MAX_SERIES: usize = 8192;
/// Most bad events (runs of them) that wait for a finding to claim them.
pub const MAX_PENDING: usize = 65_536;

/// Bad events that a finding may still claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingBad {
    /// The series they were entered in.
    pub key: SeriesKey,
    /// Who saw them.
    pub vantage: Vantage,
    /// When they were seen.
    pub at: Tick,
    /// When they became known: later, where a report was held up.
    pub arrived: Tick,
    /// How many.
    pub count: u32,
    second: u64,
}

/// To whom explained events are charged: the identity of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Who is blamed.
    pub blame: Blame,
    /// Name of the blamed thing.
    pub subject: String,
}

#[derive(Debug)]
struct Series {
    key: SeriesKey,
    rings: [Ring; 3],
}

/// All series.
#[derive(Debug)]
pub struct Book {
    numbers: BTreeMap<SeriesKey, u32>,
    series: Vec<Series>,
    unsaved_series: BTreeSet<u32>,
    dirty: BTreeSet<(RingId, u64)>,
    pending: VecDeque<PendingBad>,
    /// How many of `pending` each series has.
    waiting: BTreeMap<SeriesKey, u64>,
    /// The reading of both clocks that time within this run stands on.
    anchor: Now,
    /// Newest second that was restored: time never goes back behind it.
    restored: u64,
    refused: u64,
    /// In this coarse slot no series was forgotten: not looked for again before the next.
    none_forgotten: Option<u64>,
}

impl Book {
    /// An empty book.
    pub fn new(now: Now) -> Self {
        Self {
            numbers: BTreeMap::new(),
            series: Vec::new(),
            unsaved_series: BTreeSet::new(),
            dirty: BTreeSet::new(),
            pending: VecDeque::new(),
            waiting: BTreeMap::new(),
            anchor: now,
            restored: 0,
            refused: 0,
            none_forgotten: None,
        }
    }

    /// Unix second by the machine's own time since the anchor.
    fn second(&self, now: Now) -> u64 {
        let at = self.anchor.wall.after(now.tick.since(self.anchor.tick));
        (at.as_unix_nanos() / 1_000_000_000).max(self.restored)
    }

    fn number(&mut self, key: &SeriesKey, second: u64) -> Option<usize> {
        if let Some(number) = self.numbers.get(key) {
            return usize::try_from(*number).ok();
        }
        let fresh = Series {
            key: key.clone(),
            rings: RingId::ALL.map(Ring::new),
        };
        let number = if self.series.len() < MAX_SERIES {
            self.series.push(fresh);
            self.series.len() - 1
        } else if let Some(number) = self.forgotten(second) {
            // Nothing of the last 28 days is lost, and what is older is pruned on disk too.
            self.numbers.remove(&self.series[number].key);
            self.series[number] = fresh;
            number
        } else {
            self.refused = self.refused.saturating_add(1);
            return None;
        };
        self.numbers.insert(key.clone(), number as u32);
        self.unsaved_series.insert(number as u32);
        Some(number)
    }

    /// A series that counted nothing for as long as anything is kept.
    fn forgotten(&mut self, second: u64) -> Option<usize> {
        let to = second / RingId::Coarse.slot_seconds();
        if self.none_forgotten == Some(to) {
            return None;
        }
        let after = to.saturating_sub(RingId::Coarse.slots());
        let found = self.series.iter().position(|series| {
            let [.., coarse] = &series.rings;
            coarse.sum(after, u64::MAX) == Counts::default()
        });
        self.none_forgotten = found.is_none().then_some(to);
        found
    }

    fn change(&mut self, key: &SeriesKey, second: u64, change: impl Fn(&mut Ring, u64)) {
        let Some(series) = self
            .number(key, second)
            .and_then(|n| self.series.get_mut(n))
        else {
            return;
        };
        for (id, ring) in RingId::ALL.into_iter().zip(&mut series.rings) {
            let index = second / id.slot_seconds();
            change(ring, index);
            self.dirty.insert((id, index));
        }
    }

    /// Enters `count` events. Bad ones that a finding may claim go to [`Book::record_bad`].
    pub fn record(&mut self, key: &SeriesKey, event: Event, count: u32, now: Now) {
        let second = self.second(now);
        self.change(key, second, |ring, index| ring.add(index, event, count));
    }

    /// Enters `count` bad events of `vantage` as unexplained, to be claimed or not.
    pub fn record_bad(&mut self, key: &SeriesKey, vantage: &Vantage, count: u32, now: Now) {
        self.record_bad_late(key, vantage, count, (now, now.tick));
    }

    /// As [`Book::record_bad`], of events that were seen at `now` and arrived later.
    pub fn record_bad_late(
        &mut self,
        key: &SeriesKey,
        vantage: &Vantage,
        count: u32,
        (now, arrived): (Now, Tick),
    ) {
        self.record(key, Event::Bad, count, now);
        if self.pending.len() >= MAX_PENDING {
            // What is dropped stays unexplained: rather a page too many.
            self.pending.pop_front();
        }
        *self.waiting.entry(key.clone()).or_default() += u64::from(count);
        self.pending.push_back(PendingBad {
            key: key.clone(),
            vantage: vantage.clone(),
            at: now.tick,
            arrived,
            count,
            second: self.second(now),
        });
    }

    /// Lets findings claim bad events that arrived lately; those known for `hold` stay unexplained for
    /// good. Returns how many events were claimed.
    pub fn claim(
        &mut self,
        now: Now,
        hold: Duration,
        explains: impl Fn(&PendingBad) -> Option<Charge>,
    ) -> u64 {
        let mut claimed = 0;
        self.waiting.clear();
        for bad in core::mem::take(&mut self.pending) {
            match explains(&bad) {
                Some(charge) => claimed += u64::from(self.explain(&bad, charge)),
                None if now.tick.since(bad.arrived) <= hold => {
                    *self.waiting.entry(bad.key.clone()).or_default() += u64::from(bad.count);
                    self.pending.push_back(bad);
                }
                None => {}
            }
        }
        claimed
    }

    /// Bad events of `key` that a finding may still claim: entered as unexplained, and no
    /// ground to wake anybody yet.
    pub fn waiting(&self, key: &SeriesKey) -> u64 {
        self.waiting.get(key).copied().unwrap_or_default()
    }

    fn explain(&mut self, bad: &PendingBad, charge: Charge) -> u32 {
        let moved = core::cell::Cell::new(0);
        self.change(&bad.key, bad.second, |ring, index| {
            moved.set(ring.explain(index, bad.count).max(moved.get()));
        });
        let charged = SeriesKey::Charged {
            blame: charge.blame,
            subject: charge.subject,
        };
        self.change(&charged, bad.second, |ring, index| {
            ring.charge(index, moved.get());
        });
        moved.get()
    }

    /// Events of `key` within the last `window`, at most 28 days; whole slots, so up to one
    /// slot less than the window.
    pub fn window(&self, key: &SeriesKey, window: Duration, now: Now) -> Counts {
        let Some(series) = self
            .numbers
            .get(key)
            .and_then(|n| self.series.get(usize::try_from(*n).ok()?))
        else {
            return Counts::default();
        };
        let id = RingId::for_window(window);
        let second = self.second(now);
        let to = second / id.slot_seconds();
        let slots = window.as_secs().div_ceil(id.slot_seconds()).max(1);
        let after = to.saturating_sub(slots);
        let ring = |id: RingId| &series.rings[usize::from(id.number())];
        let mut counts = ring(id).sum(after, to);
        if id != RingId::Fine {
            // A coarse slot counts as covered by its first event: in a young ledger that is an
            // hour for a second. Where the fine ring reaches, it knows better.
            let fine = RingId::Fine;
            let recent = second / fine.slot_seconds();
            let reach = second.saturating_sub(fine.slots() * fine.slot_seconds());
            let (edge, part) = (reach / id.slot_seconds(), reach % id.slot_seconds());
            let older = ring(id).sum(after, edge.saturating_sub(1)).covered_s;
            let at_edge = ring(id)
                .sum(edge.saturating_sub(1).max(after), edge)
                .covered_s;
            let newer = ring(fine)
                .sum(recent.saturating_sub(fine.slots()), recent)
                .covered_s;
            counts.covered_s = older + at_edge.min(part) + newer;
        }
        counts
    }

    /// Events of `key` in the ten-second slots that lie between two unix seconds as a whole;
    /// nothing of what is older than six hours.
    pub fn between(&self, key: &SeriesKey, from: u64, to: u64) -> Counts {
        let number = self.numbers.get(key).and_then(|n| usize::try_from(*n).ok());
        let Some(series) = number.and_then(|n| self.series.get(n)) else {
            return Counts::default();
        };
        let slot = RingId::Fine.slot_seconds();
        let (first, end) = (from.div_ceil(slot), to / slot);
        if end <= first {
            return Counts::default();
        }
        let [fine, ..] = &series.rings;
        fine.sum(first.saturating_sub(1), end - 1)
    }

    /// Every series, in the order of their first event.
    pub fn keys(&self) -> impl Iterator<Item = &SeriesKey> {
        self.series.iter().map(|series| &series.key)
    }

    /// Series that were refused because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self, now: Now) -> Changes {
        let second = self.second(now);
        let oldest = RingId::ALL
            .map(|id| (second / id.slot_seconds()).saturating_sub(id.slots().saturating_sub(1)));
        let series = core::mem::take(&mut self.unsaved_series)
            .into_iter()
            .filter_map(|n| Some((n, self.series.get(n as usize)?.key.clone())))
            .collect();
        let slots = core::mem::take(&mut self.dirty)
            .into_iter()
            .map(|(ring, index)| SlotRow {
                ring,
                index,
                data: self.encode_slot(ring, index),
            })
            .collect();
        Changes {
            series,
            slots,
            oldest,
        }
    }

    /// Everything that is kept, for a store that lost what it had.
    pub fn everything(&mut self, now: Now) -> Changes {
        self.unsaved_series = (0..self.series.len() as u32).collect();
        let second = self.second(now);
        for id in RingId::ALL {
            let newest = second / id.slot_seconds();
            let oldest = newest.saturating_sub(id.slots().saturating_sub(1));
            self.dirty
                .extend((oldest..=newest).map(|index| (id, index)));
        }
        let mut changes = self.take_changes(now);
        changes.slots.retain(|row| !row.data.is_empty());
        changes
    }

    fn encode_slot(&self, ring: RingId, index: u64) -> Vec<u8> {
        encode(self.series.iter().enumerate().filter_map(|(n, series)| {
            let slot = series.rings[usize::from(ring.number())].get(index)?;
            Some((n as u32, slot))
        }))
    }

    /// Takes back what was stored; series numbers must count up from zero.
    pub fn restore(stored: &Changes, now: Now) -> Result<Self, RestoreError> {
        let mut book = Self::new(now);
        if stored.series.len() > MAX_SERIES {
            return Err(RestoreError::TooMany);
        }
        for (number, key) in &stored.series {
            if book.number(key, 0) != usize::try_from(*number).ok() {
                return Err(RestoreError::Numbering(*number));
            }
        }
        book.unsaved_series.clear();
        for row in &stored.slots {
            let (ring, index) = (row.ring, row.index);
            let broken = RestoreError::Row { ring, index };
            for (number, slot) in decode(&row.data).ok_or(broken.clone())? {
                let series = book.series.get_mut(number as usize).ok_or(broken.clone())?;
                series.rings[usize::from(ring.number())].set(index, slot);
            }
            if ring == RingId::Fine {
                book.restored = book.restored.max(index.saturating_mul(ring.slot_seconds()));
            }
        }
        // A wall clock that went back while nobody ran must not fill old slots again.
        let restored = crate::time::Timestamp::from_unix_seconds(book.restored);
        book.anchor.wall = book.anchor.wall.max(restored);
        Ok(book)
    }
}
