//! What is to be checked now: wishes of the gate (`active=1`), told to vantages with the answers
//! to their reports.
//!
//! Coalesced: whoever wishes for a target that was wished for less than [`ASKED_GAP`] ago shares
//! that burst. That is also the limit: however many ask, a target is in a burst at most once in
//! that time, and the probers hold to the same bound by themselves. A wish is told to each client
//! vantage once, and forgotten when it is as old as the gap.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pnwatch_core::burst::ASKED_GAP;
use pnwatch_core::name::Vantage;
use pnwatch_core::reply::MAX_ASKED;
use pnwatch_core::subject::Subject;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_edge::clock::SharedClock;

/// Most targets of one question: what a vantage can be told in four answers.
pub const MAX_WISHED: usize = 4 * MAX_ASKED;

/// The wishes that are young.
pub struct Wishes {
    clock: SharedClock,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Counts up with every wish.
    number: u64,
    young: BTreeMap<u64, (Subject, Tick)>,
    of: BTreeMap<Subject, (u64, Now)>,
    /// The last wish that each vantage was told. Bounded by the vantages that have a token.
    told: BTreeMap<Vantage, u64>,
}

impl Wishes {
    /// None yet.
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            inner: Mutex::default(),
        })
    }

    /// Wishes for a burst of `subjects`; from when on evidence is what came of it: now, or
    /// earlier where an earlier burst is shared.
    pub fn wish(&self, subjects: impl IntoIterator<Item = Subject>) -> Timestamp {
        let now = self.clock.now();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.forget(now.tick);
        let mut since = now.wall;
        for subject in subjects.into_iter().take(MAX_WISHED) {
            if let Some((_, at)) = inner.of.get(&subject) {
                since = since.min(at.wall);
                continue;
            }
            inner.number += 1;
            let number = inner.number;
            inner.young.insert(number, (subject.clone(), now.tick));
            inner.of.insert(subject, (number, now));
        }
        since
    }

    /// What `vantage` has not been told yet, oldest first. Cluster nodes are never asked: what
    /// they reach proves nothing.
    pub fn tell(&self, vantage: &Vantage) -> Vec<Subject> {
        if !vantage.is_client() {
            return Vec::new();
        }
        let now = self.clock.now().tick;
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.forget(now);
        let last = inner.told.get(vantage).copied().unwrap_or_default();
        let new = inner.young.range(last.saturating_add(1)..).take(MAX_ASKED);
        let (numbers, subjects): (Vec<u64>, Vec<Subject>) = new
            .map(|(number, (subject, _))| (*number, subject.clone()))
            .unzip();
        if let Some(newest) = numbers.last() {
            inner.told.insert(vantage.clone(), *newest);
        }
        subjects
    }
}

impl Inner {
    fn forget(&mut self, now: Tick) {
        while let Some(entry) = self.young.first_entry() {
            if now.since(entry.get().1) < ASKED_GAP {
                return;
            }
            let (_, (subject, _)) = entry.remove_entry();
            self.of.remove(&subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pnwatch_edge::clock::ManualClock;

    use super::*;

    fn subject(name: &str) -> Subject {
        format!("account:{name}/i/nodeport").parse().unwrap()
    }

    fn vantage(name: &str) -> Vantage {
        name.parse().unwrap()
    }

    #[test]
    fn a_wish_is_told_to_each_client_once_and_shared_while_it_is_young() {
        let clock = Arc::new(ManualClock::new(Now::default()));
        let wishes = Wishes::new(clock.clone());
        let first = wishes.wish([subject("a"), subject("b")]);
        clock.advance(Duration::from_secs(2));
        assert_eq!(
            wishes.tell(&vantage("host/x")),
            [subject("a"), subject("b")]
        );
        assert_eq!(wishes.tell(&vantage("host/x")), []);
        assert_eq!(wishes.tell(&vantage("node/n")), []);
        // The one shares the burst of two seconds ago, the other is new.
        assert_eq!(wishes.wish([subject("a"), subject("c")]), first);
        assert_eq!(wishes.tell(&vantage("host/x")), [subject("c")]);
        assert_eq!(wishes.tell(&vantage("vm/x/0")).len(), 3);
        // After the gap it is a wish of its own, and nobody is told of the old one any more.
        clock.advance(Duration::from_secs(3));
        assert!(wishes.wish([subject("a")]) > first);
        assert_eq!(
            wishes.tell(&vantage("host/y")),
            [subject("c"), subject("a")]
        );
        clock.advance(Duration::from_mins(1));
        assert_eq!(wishes.tell(&vantage("host/z")), []);
        let inner = wishes.inner.lock().unwrap();
        assert!(inner.young.is_empty() && inner.of.is_empty());
    }

    #[test]
    fn many_wishes_come_in_portions() {
        let clock = Arc::new(ManualClock::new(Now::default()));
        let wishes = Wishes::new(clock);
        wishes.wish((0..1_000).map(|n| subject(&format!("a{n}"))));
        let told = |name: &str| wishes.tell(&vantage(name)).len();
        assert_eq!([0; 5].map(|_| told("host/x")), [64, 64, 64, 64, 0]);
        assert_eq!(told("host/y"), 64);
    }
}
