//! Keeps the books: events from reports in, charges, burning budgets and saves out.
//!
//! Plain state, owned by whoever sees the reports and the open findings. Call
//! [`Keeper::report`] for every report that the engine took, [`Keeper::turn`] once a second
//! and after every transition.

use std::collections::BTreeMap;
use std::time::Duration;

use pnwatch_core::diagnosis::Diagnosis;
use pnwatch_core::diagnosis::table::Named;
use pnwatch_core::fault::{Blame, Confidence, Fault, Severity};
use pnwatch_core::finding::{Evidence, Finding};
use pnwatch_core::gate::Compared;
use pnwatch_core::inventory::{AccountTarget, Inventory};
use pnwatch_core::name::{Account, VantageKind};
use pnwatch_core::outcome::{Cause, Layer, Outcome};
use pnwatch_core::slo::{
    Book, Burning, Charge, Event, Maintenance, Measure, PendingBad, Policy, SeriesKey, burning,
};
use pnwatch_core::subject::Subject;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::wire::{PathReport, Report};

use super::Save;
use super::statement::{self, Line};

/// How long a bad event waits for a finding: confirmation, naming and a report's way, amply.
const CLAIM: Duration = Duration::from_secs(15);
/// Longest drain in a rollout of the cache; what drains longer counts.
const LONGEST_DRAIN: Duration = Duration::from_secs(260);

/// Keeps the books.
#[derive(Debug)]
pub struct Keeper {
    /// The budgets.
    pub book: Book,
    policy: Policy,
    maintenance: Vec<Maintenance>,
    /// Endpoints that said draining.
    draining: BTreeMap<Subject, Drain>,
    saved: Vec<Finding>,
    /// Since when each account's budget has burned.
    burning_since: BTreeMap<Account, Tick>,
}

/// How long a drain excuses.
#[derive(Debug, Clone, Copy)]
struct Drain {
    /// What was seen before this is excused.
    until: Tick,
    /// The endpoint said ready since: the next drain is another one.
    over: bool,
}

/// What a turn brought.
#[derive(Debug)]
pub struct Turn {
    /// What is to be saved.
    pub save: Save,
    /// Budgets that burn, for [`pnwatch_core::engine::Engine::set_external`].
    pub burning: Vec<Diagnosis>,
}

impl Keeper {
    /// Goes on with a restored book.
    pub fn new(book: Book, policy: Policy, maintenance: Vec<Maintenance>) -> Self {
        Self {
            book,
            policy,
            maintenance,
            draining: BTreeMap::new(),
            saved: Vec::new(),
            burning_since: BTreeMap::new(),
        }
    }

    /// Enters the events of a report that the engine took.
    pub fn report(&mut self, report: &Report, inventory: &Inventory, now: Now) {
        self.note_draining(report, now);
        let mut subjects: BTreeMap<&Subject, [Option<&PathReport>; 2]> = BTreeMap::new();
        for path in &report.paths {
            let [tcp, http] = subjects.entry(&path.subject).or_default();
            match path.layer {
                Layer::Tcp => *tcp = tcp.or(Some(path)),
                Layer::Http => *http = http.or(Some(path)),
                _ => {}
            }
        }
        for (subject, [tcp, http]) in subjects {
            let Some(target) = inventory.targets.get(subject) else {
                continue;
            };
            let events = Events::of(tcp, http, self.policy.fast);
            // What a spool brings back belongs to when it was seen.
            self.enter(report, target, &events, now);
        }
    }

    fn enter(&mut self, report: &Report, target: &AccountTarget, events: &Events, arrived: Now) {
        let kind = report.vantage.kind();
        let key = SeriesKey::reachability(target.account.clone(), kind);
        let ago = |age_us| {
            let age = Duration::from_micros(age_us);
            Now {
                tick: arrived.tick.before(age),
                wall: arrived.wall.before(age),
            }
        };
        let now = ago(events.age_us);
        let failed = ago(events.bad_age_us);
        let excused = self.excused(target, failed);
        for (event, count) in [
            (Event::Good, events.good),
            (Event::Unmeasured, events.unmeasured),
        ] {
            if count > 0 {
                self.book.record(&key, event, count, now);
            }
        }
        if events.bad > 0 && excused {
            self.book.record(&key, Event::Excused, events.bad, failed);
        } else if events.bad > 0 {
            let when = (failed, arrived.tick);
            self.book
                .record_bad_late(&key, &report.vantage, events.bad, when);
        }
        // A VM's clock and NAT would be measured, not the PN: latency is promised to hosts.
        if kind == VantageKind::Host && events.fast + events.slow > 0 {
            let key = SeriesKey::Account {
                account: target.account.clone(),
                kind,
                measure: Measure::Latency,
            };
            self.book.record(&key, Event::Good, events.fast, now);
            let slow = if self.excused(target, now) {
                Event::Excused
            } else {
                Event::Bad
            };
            self.book.record(&key, slow, events.slow, now);
        }
    }

    fn note_draining(&mut self, report: &Report, now: Now) {
        for ready in &report.ready {
            let said = now.tick.before(Duration::from_micros(ready.age_us));
            let known = self.draining.get_mut(&ready.subject);
            if ready.ready {
                // What was refused before that may be told with it.
                if let Some(drain) = known.filter(|drain| !drain.over) {
                    drain.until = drain.until.min(said);
                    drain.over = true;
                }
            } else if ready.draining && known.is_none_or(|drain| drain.over) {
                // Said again, it lasts no longer.
                let drain = Drain {
                    until: said.after(LONGEST_DRAIN),
                    over: false,
                };
                self.draining.insert(ready.subject.clone(), drain);
            }
        }
    }

    /// Whether bad events of `target` are excused at `now`.
    fn excused(&self, target: &AccountTarget, now: Now) -> bool {
        let told = target.excuse.as_ref().is_some_and(|e| now.wall < e.until);
        let drains = self
            .draining
            .get(&target.subject())
            .is_some_and(|drain| now.tick < drain.until);
        let planned = self
            .maintenance
            .iter()
            .any(|window| window.covers(&target.account, &target.node, now.wall));
        told || drains || planned
    }

    /// Charges what findings explain, judges the budgets, collects what is to be saved.
    pub fn turn(&mut self, open: &[Finding], inventory: &Inventory, now: Now) -> Turn {
        self.draining.retain(|subject, drain| {
            let past = drain.over && now.tick.since(drain.until) > LONGEST_DRAIN;
            inventory.targets.contains_key(subject) && !past
        });
        let told = Told::of(open);
        self.book.claim(now, CLAIM, |bad| {
            let finding = told.explaining(bad, now)?;
            Some(Charge {
                blame: finding.identity.blame,
                subject: finding.identity.subject.clone(),
            })
        });
        let keys: Vec<SeriesKey> = self.book.keys().cloned().collect();
        let mut worst: BTreeMap<_, Diagnosis> = BTreeMap::new();
        for key in keys {
            let SeriesKey::Account { account, kind, .. } = &key else {
                continue;
            };
            // Checks from cluster nodes take another policy path: they prove nothing.
            if !kind.is_client() {
                continue;
            }
            let Some(burn) = burning(&self.book, &self.policy, &key, now) else {
                continue;
            };
            let since = *self
                .burning_since
                .entry(account.clone())
                .or_insert(now.tick);
            let said = diagnosis((account, *kind, &key), &burn, since, now);
            let louder = worst
                .get(account)
                .is_none_or(|other| other.severity < said.severity);
            if louder {
                worst.insert(account.clone(), said);
            }
        }
        self.burning_since
            .retain(|account, _| worst.contains_key(account));
        let findings = (self.saved != open).then(|| open.to_vec());
        if let Some(open) = &findings {
            self.saved.clone_from(open);
        }
        Turn {
            save: Save {
                changes: self.book.take_changes(now),
                findings,
            },
            burning: worst.into_values().collect(),
        }
    }

    /// Budgets and burn rates as of `now`: what `/metrics` and the API show.
    pub fn lines(&self, now: Now) -> Vec<Line> {
        statement::lines(&self.book, &self.policy, now)
    }

    /// Checks of every account before and after `baseline`: what the gate compares.
    pub fn compared(&self, baseline: Timestamp, now: Now) -> Vec<Compared> {
        pnwatch_core::slo::compared(&self.book, &self.policy, baseline, now)
    }

    /// What is promised of what, as a ratio.
    pub fn objectives(&self) -> Vec<(Measure, f64)> {
        let ratio = |m: &Measure| (*m, self.policy.objective(*m).ratio());
        Measure::ALL.iter().map(ratio).collect()
    }

    /// Everything, for a ledger that began a new file ([`super::Status::wants_everything`]).
    pub fn everything(&mut self, open: &[Finding], now: Now) -> Save {
        self.saved = open.to_vec();
        Save {
            changes: self.book.everything(now),
            findings: Some(open.to_vec()),
        }
    }
}

/// The subject is not the account itself: what is unreachable and what burned its budget are two
/// findings, each with its own life and alert (docs/decisions/0005).
fn diagnosis(
    (account, kind, key): (&Account, VantageKind, &SeriesKey),
    burn: &Burning,
    since: Tick,
    now: Now,
) -> Diagnosis {
    let named = Named {
        fault: Fault::BudgetBurn,
        severity: burn.severity,
        confidence: Confidence::Medium,
    };
    let subject = format!("{account}/budget");
    let mut diagnosis = Diagnosis::new(Blame::Account, subject, named, since);
    let (from, evidence) = (kind.as_label(), &burn.evidence);
    diagnosis.summary =
        format!("account {account}: the error budget burns, seen from {from}s; {evidence}");
    diagnosis.evidence = vec![Evidence {
        layer: None,
        vantage: None,
        text: format!("{key}: {evidence}"),
        seen_at: now.wall,
    }];
    diagnosis.account = Some(account.clone());
    diagnosis.accounts = vec![account.clone()];
    diagnosis
}

/// Open findings by the accounts that they speak of: thousands of events ask thousands of them.
struct Told<'a> {
    open: &'a [Finding],
    by_account: BTreeMap<&'a Account, Vec<usize>>,
    /// Those that speak of no account in particular.
    of_all: Vec<usize>,
}

impl<'a> Told<'a> {
    fn of(open: &'a [Finding]) -> Self {
        let mut told = Self {
            open,
            by_account: BTreeMap::new(),
            of_all: Vec::new(),
        };
        for (at, finding) in open.iter().enumerate() {
            let named = finding.account.iter().chain(&finding.accounts);
            for account in named {
                told.by_account.entry(account).or_default().push(at);
            }
            if finding.account.is_none() && finding.accounts.is_empty() {
                told.of_all.push(at);
            }
        }
        told
    }

    /// The first finding, in their order, that explains `bad`.
    fn explaining(&self, bad: &PendingBad, now: Now) -> Option<&'a Finding> {
        let SeriesKey::Account { account, .. } = &bad.key else {
            return None;
        };
        let named = self.by_account.get(account).into_iter().flatten();
        named
            .chain(&self.of_all)
            .filter(|at| explains(&self.open[**at], bad, now))
            .min()
            .map(|at| &self.open[*at])
    }
}

/// Whether an open finding explains a bad event: it speaks of that vantage and that account,
/// and the event is not older than the fault.
fn explains(finding: &Finding, bad: &PendingBad, now: Now) -> bool {
    let SeriesKey::Account { account, .. } = &bad.key else {
        return false;
    };
    // These are told *from* the events or from counters: they explain nothing.
    let told_from_events = matches!(
        finding.fault,
        Fault::BudgetBurn | Fault::TrafficSilent | Fault::NotDispatched
    );
    if told_from_events || finding.closed_at.is_some() || finding.severity == Severity::Info {
        return false;
    }
    let slack = Duration::from_secs(2);
    if now.wall_at(bad.at).after(slack) < finding.started_at {
        return false;
    }
    let named = |host: &pnwatch_core::name::Host| bad.vantage.host() == Some(host);
    let vantage = match finding.identity.blame {
        Blame::Host | Blame::Vantage => {
            finding.host.as_ref().is_some_and(named) || finding.vantages.contains(&bad.vantage)
        }
        _ => finding.vantages.is_empty() || finding.vantages.contains(&bad.vantage),
    };
    let about = finding.account.as_ref() == Some(account)
        || finding.accounts.contains(account)
        || (finding.account.is_none() && finding.accounts.is_empty());
    vantage && about
}

/// Events of one endpoint in one report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Events {
    good: u32,
    bad: u32,
    unmeasured: u32,
    fast: u32,
    slow: u32,
    /// Age of the newest check, microseconds.
    age_us: u64,
    /// Age of the newest that failed, microseconds.
    bad_age_us: u64,
}

impl Events {
    /// One check is one event although it is told per layer: good by HTTP (by TCP where there
    /// is no HTTP); a failed handshake counts once, also where the HTTP layer repeats it.
    fn of(tcp: Option<&PathReport>, http: Option<&PathReport>, fast: Duration) -> Self {
        let runs = |path: Option<&PathReport>| path.map_or(&[][..], |p| &p.runs).to_vec();
        let (tcp, http) = (runs(tcp), runs(http));
        let applies = http.iter().any(|r| r.outcome != Outcome::NotApplicable);
        let sum = |runs: &[pnwatch_core::wire::Run], take: fn(Outcome) -> bool| {
            let counts = runs.iter().filter(|r| take(r.outcome)).map(|r| r.count);
            counts.fold(0_u32, u32::saturating_add)
        };
        let reached = |o: Outcome| o == Outcome::Reached;
        let blind = |o: Outcome| matches!(o, Outcome::Unmeasured(_));
        let handshake = |o: Outcome| o.cause().is_some_and(|c| !after_handshake(c));
        let answer = |o: Outcome| o.cause().is_some_and(after_handshake);
        let layer = if applies { &http } else { &tcp };
        let mut events = Self {
            good: sum(layer, reached),
            bad: sum(&http, answer)
                .saturating_add(sum(&tcp, |o| o.cause().is_some()).max(sum(&http, handshake))),
            unmeasured: sum(&tcp, blind).max(sum(&http, blind)),
            ..Self::default()
        };
        let ages = tcp.iter().chain(&http).map(|r| r.last_age_us);
        events.age_us = ages.min().unwrap_or(0);
        let failed = tcp.iter().chain(&http);
        let failed = failed.filter(|r| r.outcome.cause().is_some());
        events.bad_age_us = failed.map(|r| r.last_age_us).min().unwrap_or(events.age_us);
        for rtt in http.iter().flat_map(|run| &run.rtt_us) {
            if Duration::from_micros(u64::from(*rtt)) <= fast {
                events.fast = events.fast.saturating_add(1);
            } else {
                events.slow = events.slow.saturating_add(1);
            }
        }
        events
    }
}

/// Whether a check failed with this cause only after the connection stood.
fn after_handshake(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::ConnectionReset
            | Cause::ConnectionClosed
            | Cause::NoFirstByte
            | Cause::TransferStalled
            | Cause::NotHttp
            | Cause::Http4xx
            | Cause::Http5xx
            | Cause::WrongTenant
            | Cause::TlsFailed
    )
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
