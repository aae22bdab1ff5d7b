//! The life of findings: opened by a diagnosis, sharpened in place, closed on fresh success.
//!
//! Absence of a diagnosis closes nothing by itself: the caller says, per finding, whether the
//! evidence is clear, blind, or still against it.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use crate::diagnosis::Diagnosis;
use crate::diagnosis::rule::InForce;
use crate::diagnosis::trace::Hold;
use crate::fault::{Confidence, Fault};
use crate::finding::{Change, Finding, Identity, Transition};
use crate::name::Cluster;
use crate::time::{Now, Tick};

/// Most closed findings remembered once they are older than [`TOLD_WITHIN`].
pub const MAX_CLOSED: usize = 200;
/// Within this everybody who tells of a recovery has seen it: one that is forgotten before would
/// never be told.
pub const TOLD_WITHIN: Duration = Duration::from_mins(2);
/// Most closed findings remembered at all.
pub const MAX_FRESH: usize = 20_000;
/// The longest hold-down.
pub const MAX_HOLD_DOWN: Duration = Duration::from_mins(5);
/// Time without relapse after which hold-down starts small again.
const FORGIVEN_AFTER: Duration = Duration::from_mins(10);

/// What the evidence says of an open finding that no diagnosis names now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Fresh success: it may close once that has held.
    Clear,
    /// Still against it, though not enough to name it anew.
    Against,
    /// No evidence either way.
    Blind,
}

#[derive(Debug, Clone)]
struct Open {
    finding: Finding,
    /// When it began; unknown after a restart.
    since: Option<Tick>,
    clear_since: Option<Tick>,
    hold_down: Duration,
    /// A fault that is passed on the way back, and since when it has been seen.
    passing: Option<(Fault, Tick)>,
}

/// How long what is passed on the way back must last to be the fault itself: a device that is
/// made anew gets its carrier, then its address, then its neighbours, within seconds.
const HEALING: Duration = Duration::from_secs(8);

/// How far a machine's leg has come: absent, without address, unheard. That ports follow late
/// is the diagnosis's own business; what serves none after that is broken anew.
fn stage(fault: Fault) -> Option<u8> {
    match fault {
        Fault::InterfaceMissing => Some(0),
        Fault::AddressLost | Fault::AddressWrong => Some(1),
        Fault::L2Isolated | Fault::RouteWrong => Some(2),
        _ => None,
    }
}

impl Open {
    /// Whether `seen` is only passed on the way back from what the finding names.
    fn is_passing(&mut self, seen: Fault, now: Tick) -> bool {
        let drained = self.finding.fault == Fault::Draining;
        // Connections follow a route that is right, a table that has room again, or the answer
        // that ends a drain, by seconds.
        let follows = match self.finding.fault {
            Fault::RouteWrong | Fault::StateExhausted => seen == Fault::NodeportNotServed,
            _ => drained && seen != Fault::Draining,
        };
        let back = match (stage(self.finding.fault), stage(seen)) {
            (Some(named), Some(seen)) => seen > named,
            _ => follows,
        };
        if !back {
            self.passing = None;
            return false;
        }
        let since = match self.passing {
            Some((fault, since)) if fault == seen || drained => since,
            _ => now,
        };
        self.passing = Some((seen, since));
        now.since(since) < HEALING
    }
}

#[derive(Debug, Clone, Copy)]
struct Past {
    closed: Tick,
    hold_down: Duration,
}

/// All findings of one private network.
#[derive(Debug, Clone)]
pub struct Findings {
    cluster: Cluster,
    hold_down: Duration,
    open: BTreeMap<Identity, Open>,
    past: BTreeMap<Identity, Past>,
    closed: VecDeque<Finding>,
    force: InForce,
}

impl Findings {
    /// None yet; the first hold-down lasts `hold_down`.
    pub fn new(cluster: Cluster, hold_down: Duration) -> Self {
        Self {
            cluster,
            hold_down,
            open: BTreeMap::new(),
            past: BTreeMap::new(),
            closed: VecDeque::new(),
            force: InForce::default(),
        }
    }

    /// The rules that count.
    #[must_use]
    pub fn under(self, force: InForce) -> Self {
        Self { force, ..self }
    }

    /// Open findings.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.open.values().map(|o| &o.finding)
    }

    /// Closed findings, newest first.
    pub fn closed(&self) -> impl Iterator<Item = &Finding> {
        self.closed.iter()
    }

    /// Open findings, each with the time since which its evidence has been clear, if it is.
    pub fn open_with_clear(&self) -> impl Iterator<Item = (&Finding, Option<Tick>)> {
        self.open.values().map(|o| (&o.finding, o.clear_since))
    }

    /// Whether any open finding waits for its hold-down to pass.
    pub fn is_clearing(&self) -> bool {
        self.open.values().any(|o| o.clear_since.is_some())
    }

    /// Takes back findings that were open before a restart, with their true times.
    pub fn restore(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            self.open.entry(finding.identity.clone()).or_insert(Open {
                finding,
                since: None,
                clear_since: None,
                hold_down: self.hold_down,
                passing: None,
            });
        }
    }

    /// Takes the diagnoses of one instant in and says what changed. `standing` is asked about
    /// findings that no diagnosis names, with the time when they began, if this run knows it.
    pub fn update(
        &mut self,
        diagnoses: Vec<Diagnosis>,
        now: Now,
        standing: impl Fn(&Finding, Option<Tick>) -> Standing,
    ) -> Vec<Transition> {
        let mut changes = Vec::new();
        let mut named = BTreeMap::new();
        for diagnosis in diagnoses {
            let identity = Identity {
                cluster: self.cluster.clone(),
                blame: diagnosis.blame,
                subject: diagnosis.subject.clone(),
            };
            // Two rows for one subject: the worse one speaks.
            let worse = named.get(&identity).is_none_or(|known: &Diagnosis| {
                (known.severity, known.confidence) < (diagnosis.severity, diagnosis.confidence)
            });
            if worse {
                named.insert(identity, diagnosis);
            }
        }
        let gone: Vec<Identity> = self
            .open
            .keys()
            .filter(|id| named.get(*id).is_none_or(|seen| self.is_lesser(id, seen)))
            .cloned()
            .collect();
        for identity in gone {
            changes.extend(self.fade(&identity, now, &standing));
        }
        for (identity, diagnosis) in named {
            if !self.is_lesser(&identity, &diagnosis) {
                changes.extend(self.assert(identity, diagnosis, now));
            }
        }
        self.past
            .retain(|_, past| now.tick.since(past.closed) < FORGIVEN_AFTER);
        changes
    }

    /// A milder diagnosis does not take an open finding over: a node that is back with an overdue
    /// lease recovers first, and then warns of its lease; a host whose rules nobody misses any more
    /// stops paging first, and then warns. Severity is a label: lowered in place, one repair would
    /// be told twice. Only the blunt name of an outage gives way to a sharp one, however mild.
    fn is_lesser(&self, identity: &Identity, seen: &Diagnosis) -> bool {
        self.open.get(identity).is_some_and(|open| {
            let other = seen.fault.alert(identity.blame) != open.finding.alertname;
            seen.severity < open.finding.severity && (other || !is_blunt(open.finding.fault))
        })
    }

    fn assert(&mut self, identity: Identity, seen: Diagnosis, now: Now) -> Option<Transition> {
        if let Some(open) = self.open.get_mut(&identity) {
            open.clear_since = None;
            let (alert, since) = (open.finding.alertname, seen.since);
            let healing = self.force.has(Hold::Healing.as_label());
            if healing && open.is_passing(seen.fault, now.tick) {
                open.finding.clearing_since = None;
                open.finding.blind_since = None;
                return None;
            }
            let sharpened = sharpen(&mut open.finding, seen, now);
            if open.finding.alertname != alert {
                open.since = open.since.max(Some(since));
            }
            return sharpened.then(|| Transition {
                change: Change::Sharpened,
                finding: open.finding.clone(),
            });
        }
        // A relapse doubles the hold-down.
        let hold_down = self
            .past
            .get(&identity)
            .map_or(self.hold_down, |p| (p.hold_down * 2).min(MAX_HOLD_DOWN));
        let since = Some(seen.since);
        let finding = open(identity.clone(), seen, now);
        self.open.insert(
            identity,
            Open {
                finding: finding.clone(),
                since,
                clear_since: None,
                hold_down,
                passing: None,
            },
        );
        Some(Transition {
            change: Change::Opened,
            finding,
        })
    }

    fn forget(&mut self, now: Now) {
        while self.closed.len() > MAX_CLOSED
            && let Some(oldest) = self.closed.back()
            && (self.closed.len() > MAX_FRESH || is_old(oldest, now))
        {
            self.closed.pop_back();
        }
    }

    fn fade(
        &mut self,
        identity: &Identity,
        now: Now,
        standing: &impl Fn(&Finding, Option<Tick>) -> Standing,
    ) -> Option<Transition> {
        let open = self.open.get_mut(identity)?;
        match standing(&open.finding, open.since) {
            Standing::Against => {
                open.clear_since = None;
                open.finding.clearing_since = None;
                open.finding.blind_since = None;
                return None;
            }
            Standing::Blind => {
                open.clear_since = None;
                open.finding.clearing_since = None;
                open.finding.blind_since.get_or_insert(now.wall);
                return None;
            }
            Standing::Clear => open.finding.blind_since = None,
        }
        let since = *open.clear_since.get_or_insert(now.tick);
        open.finding.clearing_since = Some(now.wall_at(since));
        if now.tick.since(since) < open.hold_down {
            return None;
        }
        let mut done = self.open.remove(identity)?;
        self.past.insert(
            identity.clone(),
            Past {
                closed: now.tick,
                hold_down: done.hold_down,
            },
        );
        done.finding.closed_at = Some(now.wall_at(since));
        self.closed.push_front(done.finding.clone());
        self.forget(now);
        Some(Transition {
            change: Change::Closed,
            finding: done.finding,
        })
    }
}

fn is_old(finding: &Finding, now: Now) -> bool {
    finding
        .closed_at
        .is_none_or(|closed| now.wall.since(closed) > TOLD_WITHIN + MAX_HOLD_DOWN)
}

fn open(identity: Identity, seen: Diagnosis, now: Now) -> Finding {
    let started = now.wall_at(seen.since);
    let seconds = started.as_unix_nanos() / 1_000_000_000;
    let subject: String = identity.subject.replace('/', "-");
    Finding {
        id: format!("{}-{subject}-{seconds}", identity.blame),
        fault: seen.fault,
        severity: seen.severity,
        alertname: seen.fault.alert(identity.blame),
        confidence: seen.confidence,
        started_at: started,
        opened_at: now.wall,
        sharpened_at: now.wall,
        clearing_since: None,
        closed_at: None,
        blind_since: None,
        summary: seen.summary,
        evidence: seen.evidence,
        missing: seen.missing,
        node: seen.node,
        host: seen.host,
        account: seen.account,
        address: seen.address,
        accounts: seen.accounts,
        vantages: seen.vantages,
        repair: seen.repair,
        identity,
    }
}

/// A fault that only says that the evidence which would name it is missing.
fn is_blunt(fault: Fault) -> bool {
    matches!(fault, Fault::NodeUnreachable | Fault::AccountUnreachable)
}

/// Lets new evidence replace old; a blunt name never replaces a sharp one of its alert. Says whether
/// fault or severity changed, or confidence rose.
fn sharpen(finding: &mut Finding, seen: Diagnosis, now: Now) -> bool {
    finding.clearing_since = None;
    finding.blind_since = None;
    let same_alert = seen.fault.alert(finding.identity.blame) == finding.alertname;
    let blunter = is_blunt(seen.fault) && !is_blunt(finding.fault) && same_alert;
    let surer = finding.fault == seen.fault && finding.confidence > seen.confidence;
    if blunter || surer && finding.severity == seen.severity {
        // The wider circle still counts: more may suffer by now.
        widen(&mut finding.accounts, seen.accounts);
        widen(&mut finding.vantages, seen.vantages);
        return false;
    }
    let before = (finding.fault, finding.severity, finding.confidence);
    let after = (seen.fault, seen.severity, seen.confidence);
    // Who suffered from one fault stays on record while the rest of them recover.
    if finding.fault == seen.fault {
        widen(&mut finding.accounts, seen.accounts);
    } else {
        finding.accounts = seen.accounts;
    }
    if !same_alert {
        // Another alert begins with its own fault, not with what led to it.
        finding.started_at = finding.started_at.max(now.wall_at(seen.since));
    }
    finding.fault = seen.fault;
    finding.severity = seen.severity;
    finding.confidence = seen.confidence;
    finding.alertname = seen.fault.alert(finding.identity.blame);
    finding.summary = seen.summary;
    finding.evidence = seen.evidence;
    finding.missing = seen.missing;
    finding.vantages = seen.vantages;
    finding.repair = seen.repair;
    finding.address = seen.address.or(finding.address);
    let changed = before.0 != after.0 || before.1 != after.1 || raised(before.2, after.2);
    if changed {
        finding.sharpened_at = now.wall;
    }
    changed
}

fn raised(before: Confidence, after: Confidence) -> bool {
    after > before
}

fn widen<T: Ord>(known: &mut Vec<T>, more: Vec<T>) {
    known.extend(more);
    known.sort();
    known.dedup();
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
