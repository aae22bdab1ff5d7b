//! What waits to be written, and the mailbox between the savers and the writer.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pnwatch_core::finding::Finding;
use pnwatch_core::slo::{RingId, SeriesKey};

use super::{Save, Status};

/// What waits to be written. Bounded: slots that are too old to be kept are dropped, and there
/// is one entry per slot, series and set of findings.
#[derive(Debug, Default, Clone)]
pub(super) struct Pending {
    pub(super) series: BTreeMap<u32, SeriesKey>,
    pub(super) slots: BTreeMap<(u8, u64), Vec<u8>>,
    pub(super) findings: Option<Vec<Finding>>,
    pub(super) oldest: [u64; 3],
}

impl Pending {
    pub(super) fn of(save: Save) -> Self {
        let slots = save.changes.slots.into_iter();
        Self {
            series: save.changes.series.into_iter().collect(),
            slots: slots
                .map(|row| ((row.ring.number(), row.index), row.data))
                .collect(),
            findings: save.findings,
            oldest: save.changes.oldest,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty() && self.slots.is_empty() && self.findings.is_none()
    }

    /// Adds what came later.
    pub(super) fn then(&mut self, later: Self) {
        self.series.extend(later.series);
        self.slots.extend(later.slots);
        self.findings = later.findings.or(self.findings.take());
        for (mine, new) in self.oldest.iter_mut().zip(later.oldest) {
            *mine = (*mine).max(new);
        }
        let oldest = self.oldest;
        self.slots.retain(|(ring, index), _| {
            oldest
                .get(usize::from(*ring))
                .is_none_or(|oldest| index >= oldest)
        });
    }

    /// Slots below these indices need not be kept.
    pub(super) fn prune(&self) -> impl Iterator<Item = (u8, u64)> {
        RingId::ALL
            .into_iter()
            .map(RingId::number)
            .zip(self.oldest)
            .filter(|(_, oldest)| *oldest > 0)
    }
}

#[derive(Debug)]
struct Inside {
    pending: Pending,
    /// The writer holds something that is not on disk yet.
    writing: bool,
    closed: bool,
    status: Status,
}

/// Between the savers and the writer.
#[derive(Debug)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    changed: Condvar,
}

impl Mailbox {
    pub(super) fn new(status: Status) -> Self {
        Self {
            inside: Mutex::new(Inside {
                pending: Pending::default(),
                writing: false,
                closed: false,
                status,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // No invariant spans two fields; a panic elsewhere breaks nothing here.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, pending: Pending) {
        self.lock().pending.then(pending);
        self.changed.notify_all();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(super) fn closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn status<T>(&self, with: impl FnOnce(&mut Status) -> T) -> T {
        with(&mut self.lock().status)
    }

    /// The next thing to write; `None` once closed and empty.
    pub(super) fn take(&self) -> Option<Pending> {
        let mut inside = self.lock();
        loop {
            if !inside.pending.is_empty() {
                inside.writing = true;
                return Some(std::mem::take(&mut inside.pending));
            }
            if inside.closed {
                return None;
            }
            inside = self
                .changed
                .wait(inside)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What was taken is on disk.
    pub(super) fn written(&self) {
        self.lock().writing = false;
        self.changed.notify_all();
    }

    /// What was taken is not: it goes back, behind what came since.
    pub(super) fn put_back(&self, mut earlier: Pending) {
        let mut inside = self.lock();
        earlier.then(std::mem::take(&mut inside.pending));
        inside.pending = earlier;
        inside.writing = false;
    }

    /// Waits out `pause`, or less if the mailbox is closed.
    pub(super) fn pause(&self, pause: Duration) {
        self.wait(pause, |inside| inside.closed);
    }

    pub(super) fn wait_until_written(&self, patience: Duration) -> bool {
        self.wait(patience, |inside| {
            inside.pending.is_empty() && !inside.writing
        })
    }

    fn wait(&self, patience: Duration, done: impl Fn(&Inside) -> bool) -> bool {
        let until = Instant::now() + patience;
        let mut inside = self.lock();
        loop {
            if done(&inside) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            inside = self
                .changed
                .wait_timeout(inside, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
