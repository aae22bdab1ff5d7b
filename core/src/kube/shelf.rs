//! All objects of one kind, and how fresh they are.

use std::collections::BTreeMap;

use super::index::Change;
use super::object::{Entry, Key};
use crate::time::Now;

/// Most objects of one kind; what comes beyond is named as a problem.
pub(super) const MAX_OBJECTS: usize = 50_000;

#[derive(Debug, Clone)]
pub(super) struct Failing {
    pub(super) since: Now,
    pub(super) why: String,
    pub(super) denied: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    /// What the last complete list and the changes since add up to.
    pub(super) entries: BTreeMap<Key, Entry>,
    /// A list under way; it replaces `entries` when complete.
    coming: Option<BTreeMap<Key, Entry>>,
    /// Whether a list was ever complete.
    pub(super) listed: bool,
    pub(super) failing: Option<Failing>,
    pub(super) overflow: bool,
}

impl Shelf {
    pub(super) fn take(&mut self, change: Change, now: Now) {
        match change {
            Change::Init => self.coming = Some(BTreeMap::new()),
            Change::InitApply(entry) => {
                let coming = self.coming.get_or_insert_default();
                self.overflow |= !put(coming, entry);
            }
            Change::InitDone => {
                self.entries = self.coming.take().unwrap_or_default();
                self.overflow = self.entries.len() >= MAX_OBJECTS;
                self.listed = true;
                self.failing = None;
            }
            Change::Apply(entry) => {
                self.overflow |= !put(&mut self.entries, entry);
                self.failing = None;
            }
            Change::Delete(key) => {
                self.entries.remove(&key);
                self.failing = None;
            }
            Change::Failed { why, denied } => {
                self.coming = None;
                let since = self.failing.as_ref().map_or(now, |f| f.since);
                self.failing = Some(Failing { since, why, denied });
            }
        }
    }

    /// Whether its content, even if empty, says something.
    pub(super) fn speaks(&self) -> bool {
        self.listed || self.failing.as_ref().is_some_and(|f| f.denied)
    }
}

fn put(entries: &mut BTreeMap<Key, Entry>, entry: Entry) -> bool {
    let room = entries.len() < MAX_OBJECTS || entries.contains_key(&entry.key);
    if room {
        entries.insert(entry.key.clone(), entry);
    }
    room
}
