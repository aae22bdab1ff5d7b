//! A ring of counted slots, and what is counted.

use core::time::Duration;
use std::collections::VecDeque;

use super::Event;

/// Events, by what they count as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Good.
    pub good: u64,
    /// Bad, and no finding explains it.
    pub bad: u64,
    /// Bad, and charged to a finding's subject.
    pub explained: u64,
    /// Bad, with an excuse.
    pub excused: u64,
    /// Not measured.
    pub unmeasured: u64,
    /// Seconds of the window in whose slots anything was measured.
    pub covered_s: u64,
}

impl Counts {
    /// Events that count: good, bad and explained.
    pub fn measured(&self) -> u64 {
        self.good
            .saturating_add(self.bad)
            .saturating_add(self.explained)
    }

    /// Measured events of a whole `window`, had the rest of it gone like what was covered.
    pub fn expected(&self, window: Duration) -> u64 {
        let window = window.as_secs();
        if self.covered_s == 0 || self.covered_s >= window {
            return self.measured();
        }
        let scaled = u128::from(self.measured()) * u128::from(window) / u128::from(self.covered_s);
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

/// Which ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RingId {
    /// 10 s for 6 h.
    Fine,
    /// 5 min for 3 days.
    Middle,
    /// 1 h for 28 days.
    Coarse,
}

impl RingId {
    /// Finest first.
    pub const ALL: [Self; 3] = [Self::Fine, Self::Middle, Self::Coarse];

    /// Seconds per slot.
    pub const fn slot_seconds(self) -> u64 {
        match self {
            Self::Fine => 10,
            Self::Middle => 300,
            Self::Coarse => 3600,
        }
    }

    /// Slots kept.
    pub const fn slots(self) -> u64 {
        match self {
            Self::Fine => 2160,
            Self::Middle => 864,
            Self::Coarse => 672,
        }
    }

    /// How far back it reaches.
    pub const fn reach(self) -> Duration {
        Duration::from_secs(self.slot_seconds() * self.slots())
    }

    /// The finest ring that reaches back by `window`; the coarsest if none does.
    pub fn for_window(window: Duration) -> Self {
        Self::ALL
            .into_iter()
            .find(|ring| ring.reach() >= window)
            .unwrap_or(Self::Coarse)
    }

    /// The number on disk.
    pub const fn number(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Middle => 1,
            Self::Coarse => 2,
        }
    }

    /// The ring with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|ring| ring.number() == number)
    }
}

/// One slot, saturating: good, bad, explained, excused, unmeasured.
pub(super) type Slot = [u32; 5];

const fn column(event: Event) -> usize {
    match event {
        Event::Good => 0,
        Event::Bad => 1,
        Event::Excused => 3,
        Event::Unmeasured => 4,
    }
}
const BAD: usize = 1;
const EXPLAINED: usize = 2;

/// Consecutive slots, oldest first.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    id: RingId,
    /// Index of the newest slot.
    newest: u64,
    slots: VecDeque<Slot>,
}

impl Ring {
    pub(super) fn new(id: RingId) -> Self {
        Self {
            id,
            newest: 0,
            slots: VecDeque::new(),
        }
    }

    /// The slot with this index, made if it lies within reach.
    fn slot(&mut self, index: u64) -> Option<&mut Slot> {
        let most = self.id.slots();
        if self.slots.is_empty() || index >= self.newest.saturating_add(most) {
            self.slots.clear();
            self.slots.push_back(Slot::default());
            self.newest = index;
        }
        while self.newest < index {
            self.slots.push_back(Slot::default());
            self.newest += 1;
            if self.slots.len() as u64 > most {
                self.slots.pop_front();
            }
        }
        let back = self.newest - index;
        if back >= most {
            return None;
        }
        while self.slots.len() as u64 <= back {
            self.slots.push_front(Slot::default());
        }
        let at = self.slots.len() - 1 - usize::try_from(back).ok()?;
        self.slots.get_mut(at)
    }

    pub(super) fn add(&mut self, index: u64, event: Event, count: u32) {
        if let Some(n) = self
            .slot(index)
            .and_then(|slot| slot.get_mut(column(event)))
        {
            *n = n.saturating_add(count);
        }
    }

    /// Adds charged events.
    pub(super) fn charge(&mut self, index: u64, count: u32) {
        if let Some(n) = self.slot(index).and_then(|slot| slot.get_mut(EXPLAINED)) {
            *n = n.saturating_add(count);
        }
    }

    /// Turns up to `count` bad events of a slot into explained ones; says how many.
    pub(super) fn explain(&mut self, index: u64, count: u32) -> u32 {
        let Some(slot) = self.slot(index) else {
            return 0;
        };
        let moved = count.min(slot[BAD]);
        slot[BAD] -= moved;
        slot[EXPLAINED] = slot[EXPLAINED].saturating_add(moved);
        moved
    }

    pub(super) fn set(&mut self, index: u64, value: Slot) {
        if let Some(slot) = self.slot(index) {
            *slot = value;
        }
    }

    pub(super) fn get(&self, index: u64) -> Option<&Slot> {
        let back = usize::try_from(self.newest.checked_sub(index)?).ok()?;
        let at = self.slots.len().checked_sub(back + 1)?;
        self.slots.get(at)
    }

    /// Sum of the slots in `after < index <= to`.
    pub(super) fn sum(&self, after: u64, to: u64) -> Counts {
        let mut counts = Counts::default();
        // Indices run down from the newest slot.
        for (back, slot) in self.slots.iter().rev().enumerate() {
            let Some(index) = self.newest.checked_sub(back as u64) else {
                break;
            };
            if index <= after {
                break;
            }
            if index > to {
                continue;
            }
            let [good, bad, explained, excused, unmeasured] = slot.map(u64::from);
            counts.good += good;
            counts.bad += bad;
            counts.explained += explained;
            counts.excused += excused;
            counts.unmeasured += unmeasured;
            if good + bad + explained > 0 {
                counts.covered_s += self.id.slot_seconds();
            }
        }
        counts
    }
}
