//! Faults that a test switches on and off while clients are at work.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::sync::watch;

use crate::{requests::Request, server::Shared};

/// What a fault does to the requests it meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Refuse with this code (401, 403, 410, 429, 500, 503 … each with its real `Status`).
    Refuse(u16),
    /// Answer late by this much, then as usual.
    Delay(Duration),
    /// Close the connection without an answer.
    Drop,
    /// Answer 200 `application/json` with these bytes.
    Garbage(Vec<u8>),
}

/// A fault: what it does, to which requests, how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    action: Action,
    resource: Option<String>,
    verb: Option<String>,
    left: Option<u32>,
}

impl Fault {
    /// For every request to the API; health and version paths are spared.
    pub fn new(action: Action) -> Self {
        Self {
            action,
            resource: None,
            verb: None,
            left: None,
        }
    }

    /// Only for this resource (plural).
    #[must_use]
    pub fn on(mut self, resource: &str) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Only for this verb.
    #[must_use]
    pub fn verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.into());
        self
    }

    /// Only for the next `count` requests that it meets.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.left = Some(count);
        self
    }

    fn meets(&self, request: &Request) -> bool {
        self.left != Some(0)
            && self
                .resource
                .as_ref()
                .is_none_or(|r| *r == request.resource)
            && self.verb.as_ref().is_none_or(|v| *v == request.verb)
    }
}

/// Names a fault, to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(u64);

/// What meets one request: a delay, and perhaps something instead of the answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) delay: Duration,
    pub(crate) instead: Option<Action>,
}

#[derive(Debug, Default)]
pub(crate) struct Switches {
    next: u64,
    faults: BTreeMap<FaultId, Fault>,
    /// Items that lists of a resource carry besides the real ones.
    malformed: BTreeMap<String, Vec<Value>>,
}

impl Switches {
    pub(crate) fn meet(&mut self, request: &Request) -> Verdict {
        let mut verdict = Verdict::default();
        for fault in self
            .faults
            .values_mut()
            .filter(|fault| fault.meets(request))
        {
            match &fault.action {
                Action::Delay(by) => verdict.delay = verdict.delay.saturating_add(*by),
                action if verdict.instead.is_none() => verdict.instead = Some(action.clone()),
                _ => continue,
            }
            fault.left = fault.left.map(|left| left.saturating_sub(1));
        }
        verdict
    }

    pub(crate) fn malformed(&self, resource: &str) -> &[Value] {
        self.malformed
            .get(resource)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

/// The switches of a running server. Cheap to clone; every call takes effect at once.
#[derive(Debug, Clone)]
pub struct Faults {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cut: watch::Sender<u64>,
}

impl Faults {
    fn switches(&self) -> MutexGuard<'_, Switches> {
        self.shared
            .switches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches a fault on.
    pub fn add(&self, fault: Fault) -> FaultId {
        let mut switches = self.switches();
        switches.next += 1;
        let id = FaultId(switches.next);
        switches.faults.insert(id, fault);
        id
    }

    /// Ends one fault.
    pub fn end(&self, id: FaultId) {
        self.switches().faults.remove(&id);
    }

    /// Ends every fault, malformed items too.
    pub fn clear(&self) {
        let mut switches = self.switches();
        switches.faults.clear();
        switches.malformed.clear();
    }

    /// 401 for everybody and everything. Watches that are open stay open: see [`Faults::cut`].
    pub fn unauthorized(&self) -> FaultId {
        self.add(Fault::new(Action::Refuse(401)))
    }

    /// 403 for one resource (plural).
    pub fn forbid(&self, resource: &str) -> FaultId {
        self.add(Fault::new(Action::Refuse(403)).on(resource))
    }

    /// Every answer comes this late.
    pub fn delay(&self, by: Duration) -> FaultId {
        self.add(Fault::new(Action::Delay(by)))
    }

    /// Every request ends in a closed connection, and the open connections are cut.
    pub fn drop_connections(&self) -> FaultId {
        let id = self.add(Fault::new(Action::Drop));
        self.cut();
        id
    }

    /// Every answer is these bytes with code 200.
    pub fn garbage(&self, bytes: &[u8]) -> FaultId {
        self.add(Fault::new(Action::Garbage(bytes.to_vec())))
    }

    /// Cuts every open connection once, watches among them.
    pub fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
    }

    /// Forgets the watch history: whoever comes back with a version seen so far meets 410. Open watches go on.
    pub fn expire_history(&self) {
        self.shared.store().expire(false);
    }

    /// The same, and open watches get an `ERROR` event with 410 and end.
    pub fn expire_watches(&self) {
        self.shared.store().expire(true);
        self.shared.announce();
    }

    /// Lists of this resource (plural or `plural.group`) carry this value among their items, whatever it is.
    pub fn malformed(&self, resource: &str, item: Value) {
        let storage = self.shared.storage_of(resource);
        self.switches()
            .malformed
            .entry(storage)
            .or_default()
            .push(item);
    }

    /// Sends one line, as it is, into the open watches of this resource.
    pub fn raw_watch_line(&self, resource: &str, line: &str) {
        let storage = self.shared.storage_of(resource);
        self.shared.store().raw(&storage, line.to_owned());
        self.shared.announce();
    }
}
