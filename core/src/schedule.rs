//! When each check is due: the scheduler owns the denominator.
//!
//! Every slot of every check ends as exactly one of: handed out by [`Schedule::due`] (and then
//! answered by one outcome), or skipped because earlier checks were still under way or the loop
//! was late. Skipped slots come back as runs, so that a night's sleep is one value, not 28,800.
//!
//! Phases come from a stable hash of (vantage, subject, probe): a restart, a plan change or
//! another replica's plan never moves a check, and vantages do not beat in time.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BinaryHeap};

use crate::name::Vantage;
use crate::outcome::{Layer, labels};
use crate::subject::Subject;
use crate::time::Tick;

labels!(
    /// One way of asking. A connection answers for two layers: `tcp` and `http`.
    Probe {
        /// One ARP request.
        Arp => "arp",
        /// TCP handshake, then `GET /up` on the same connection.
        Connect => "connect",
        /// `GET /ready` on a connection of its own.
        Ready => "ready",
        /// TCP handshake off the PN.
        Control => "control",
        /// A bounded read of many segments on a connection of its own.
        Large => "large",
    }
);

impl Probe {
    /// The layer whose denominator its slots are.
    pub fn layer(self) -> Layer {
        match self {
            Self::Arp => Layer::Arp,
            Self::Connect => Layer::Tcp,
            Self::Ready | Self::Large => Layer::Http,
            Self::Control => Layer::Control,
        }
    }
}

/// A check, by a number that its owner gives out and never reuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub u32);

/// A check to be scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its number.
    pub id: CheckId,
    /// What it is about.
    pub subject: Subject,
    /// How it asks.
    pub probe: Probe,
    /// Time between slots; at least [`SHORTEST`].
    pub every: Duration,
    /// Most checks of it under way at once.
    pub overlap: u32,
}

/// No check is made more often than this.
pub const SHORTEST: Duration = Duration::from_millis(10);

/// A slot whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Which check.
    pub id: CheckId,
    /// The slot; its outcome is reported under this time.
    pub slot: Tick,
}

/// Slots that passed without a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Which check.
    pub id: CheckId,
    /// How many slots; at least one.
    pub count: u64,
    /// The first of them.
    pub first: Tick,
    /// The last of them.
    pub last: Tick,
    /// There was room for a check, but nobody came: the program did not run.
    pub late: bool,
}

/// What [`Schedule::due`] found.
#[derive(Debug, Default)]
pub struct Batch {
    /// To be checked now.
    pub due: Vec<Due>,
    /// To be recorded as not measured.
    pub skipped: Vec<Skipped>,
    /// How late the latest slot was handed out.
    pub late: Duration,
}

#[derive(Debug)]
struct Entry {
    /// The pace of the plan, on the grid of the stable phase.
    normal: Duration,
    phase: u64,
    overlap: u32,
    /// A burst's pace, if one is open.
    hastened: Option<(Duration, u32)>,
    next: Tick,
    under_way: u32,
}

impl Entry {
    fn every(&self) -> Duration {
        self.hastened.map_or(self.normal, |(every, _)| every)
    }

    fn cap(&self) -> u32 {
        self.hastened.map_or(self.overlap, |(_, cap)| cap).max(1)
    }

    /// The first slot of the plan's grid at or after `now`.
    fn grid(&self, now: Tick) -> Tick {
        let every = nanos(self.normal);
        let into = now.as_nanos().saturating_sub(self.phase) % every;
        let wait = if now.as_nanos() < self.phase {
            self.phase - now.as_nanos()
        } else if into == 0 {
            0
        } else {
            every - into
        };
        now.after(Duration::from_nanos(wait))
    }
}

/// The slots of all checks of one vantage.
#[derive(Debug)]
pub struct Schedule {
    vantage: String,
    entries: BTreeMap<CheckId, Entry>,
    /// Lazy: an element whose time is not its entry's `next` is ignored.
    queue: BinaryHeap<Reverse<(Tick, CheckId)>>,
}

impl Schedule {
    /// An empty schedule of `vantage`.
    pub fn new(vantage: &Vantage) -> Self {
        Self {
            vantage: vantage.to_string(),
            entries: BTreeMap::new(),
            queue: BinaryHeap::new(),
        }
    }

    /// Replaces the checks. What stays keeps its next slot and what is under way.
    pub fn set(&mut self, planned: impl IntoIterator<Item = Planned>, now: Tick) {
        let (vantage, mut old) = (&self.vantage, core::mem::take(&mut self.entries));
        let mut queue = core::mem::take(&mut self.queue).into_vec();
        queue.clear();
        let set = planned.into_iter().map(|plan| {
            let normal = plan.every.max(SHORTEST);
            let phase = phase(vantage, &plan.subject, plan.probe, normal);
            let entry = match old.remove(&plan.id) {
                Some(kept) if kept.normal == normal => Entry {
                    overlap: plan.overlap,
                    ..kept
                },
                changed => {
                    let mut entry = Entry {
                        normal,
                        phase,
                        overlap: plan.overlap,
                        hastened: None,
                        next: now,
                        under_way: changed.map_or(0, |e| e.under_way),
                    };
                    entry.next = entry.grid(now);
                    entry
                }
            };
            queue.push(Reverse((entry.next, plan.id)));
            (plan.id, entry)
        });
        // Built at once, the tree has no half-empty nodes.
        self.entries = set.collect();
        self.queue = queue.into();
    }

    /// Hands out every slot up to `now` into `batch` (which is cleared first).
    pub fn due(&mut self, now: Tick, batch: &mut Batch) {
        batch.due.clear();
        batch.skipped.clear();
        batch.late = Duration::ZERO;
        while let Some(Reverse((at, id))) = self.queue.peek().copied() {
            if at > now {
                break;
            }
            self.queue.pop();
            let Some(entry) = self.entries.get_mut(&id).filter(|e| e.next == at) else {
                continue;
            };
            let every = nanos(entry.every());
            let passed = now.since(at).as_nanos() as u64 / every;
            let newest = at.after(Duration::from_nanos(passed.saturating_mul(every)));
            let free = entry.under_way < entry.cap();
            let skipped = if free { passed } else { passed + 1 };
            if skipped > 0 {
                batch.skipped.push(Skipped {
                    id,
                    count: skipped,
                    first: at,
                    last: at.after(Duration::from_nanos((skipped - 1).saturating_mul(every))),
                    late: free,
                });
            }
            if free {
                entry.under_way += 1;
                batch.late = batch.late.max(now.since(newest));
                batch.due.push(Due { id, slot: newest });
            }
            let next = newest.after(Duration::from_nanos(every));
            if next > now {
                entry.next = next;
                self.queue.push(Reverse((next, id)));
            }
        }
    }

    /// The check that was handed out has its outcome.
    pub fn finished(&mut self, id: CheckId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.under_way = entry.under_way.saturating_sub(1);
        }
    }

    /// Checks `id` every `every` from `now` on, with at most `overlap` under way.
    /// Does nothing for a check that already goes at that pace, or is unknown.
    pub fn hasten(&mut self, id: CheckId, every: Duration, overlap: u32, now: Tick) {
        let pace = (every.max(SHORTEST), overlap);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.hastened == Some(pace) {
            return;
        }
        entry.hastened = Some(pace);
        entry.next = now;
        self.queue.push(Reverse((now, id)));
    }

    /// Back to the pace of the plan, on its own grid.
    pub fn relax(&mut self, id: CheckId, now: Tick) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.hastened.take().is_some() {
            entry.next = entry.grid(now.after(Duration::from_nanos(1)));
            self.queue.push(Reverse((entry.next, id)));
        }
    }

    /// One extra slot of `id` at `now`.
    pub fn once(&mut self, id: CheckId, now: Tick) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.next > now
        {
            entry.next = now;
            self.queue.push(Reverse((now, id)));
        }
    }

    /// At most this many checks of `id` are under way at its normal pace.
    pub fn set_overlap(&mut self, id: CheckId, overlap: u32) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.overlap = overlap;
        }
    }

    /// When [`Schedule::due`] has something to hand out.
    pub fn next_deadline(&self) -> Option<Tick> {
        // A stale head only wakes the loop once too often.
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Checks that were handed out and have no outcome yet.
    pub fn under_way(&self) -> u64 {
        self.entries.values().map(|e| u64::from(e.under_way)).sum()
    }

    /// Checks that are scheduled.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is scheduled.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// FNV-1a, 64 bit: stable over versions and machines, which the standard hasher is not.
/// The final mixing (Murmur3's) spreads names that differ in one digit over the whole period.
fn phase(vantage: &str, subject: &Subject, probe: Probe, every: Duration) -> u64 {
    let text = format!("{vantage}\0{subject}\0{probe}");
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)) % nanos(every)
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
