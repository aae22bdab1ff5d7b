//! Since when each condition has held, so that what settles by itself is never told.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Now;

/// First sights by key; what is not asked for in a judgement is forgotten by it.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    seen: BTreeMap<String, Now>,
    asked: BTreeSet<String>,
}

impl Marks {
    /// Since when `key` has held, this judgement included.
    pub(super) fn since(&mut self, key: String, now: Now) -> Now {
        let first = *self.seen.entry(key.clone()).or_insert(now);
        self.asked.insert(key);
        first
    }

    /// Ends a judgement.
    pub(super) fn close(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        self.seen.retain(|key, _| asked.contains(key));
    }
}
