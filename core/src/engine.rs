//! Board, diagnosis and findings on one clock: the machine that both the exporter and the
//! fleet tests drive. Takes `now`, never reads it.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::board::{Applied, Board};
use crate::diagnosis::explain::{About, Explanation, explain};
use crate::diagnosis::rule::InForce;
use crate::diagnosis::scope::{Blamed, Case, Patience};
use crate::diagnosis::trace::{Hold, Trace};
use crate::diagnosis::{Diagnosis, diagnose};
use crate::fault::Fault;
use crate::finding::{Finding, Transition};
use crate::findings::Findings;
use crate::inventory::Inventory;
use crate::link::LinkState;
use crate::name::Vantage;
use crate::outcome::Layer;
use crate::path::{Limits, Verdict};
use crate::subject::Subject;
use crate::time::{Now, Tick};
use crate::wire::Report;

mod blamed;
mod standing;
mod views;

/// The thresholds of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Of paths.
    pub limits: Limits,
    /// Of naming.
    pub patience: Patience,
    /// How long recovery must hold before a finding closes; doubles per relapse.
    pub hold_down: Duration,
    /// Silence after which an unexpected vantage is forgotten.
    pub forget_after: Duration,
    /// The rules that count: all, outside of the test that takes them away one by one.
    pub force: InForce,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits {
                // A second of the prober's time: reports that tell of its two ends take their
                // time by tens of milliseconds more or less.
                confirm: Duration::from_millis(950),
                ..Limits::default()
            },
            patience: Patience::default(),
            hold_down: Duration::from_secs(5),
            forget_after: Duration::from_secs(45),
            force: InForce::default(),
        }
    }
}

/// How soon to judge again while something is pending.
const PENDING: Duration = Duration::from_millis(100);
/// How soon to judge again while nothing is.
const CALM: Duration = Duration::from_secs(1);

/// Board, diagnosis and findings of one private network.
#[derive(Debug, Clone)]
pub struct Engine {
    inventory: Arc<Inventory>,
    settings: Settings,
    board: Board,
    findings: Findings,
    external: BTreeMap<&'static str, Vec<Diagnosis>>,
    started: Now,
    last_evaluated: Tick,
    last_forgot: Tick,
    last_noted: Tick,
    /// Since when some client vantage has been heard; `None` = none is.
    sighted: Option<Tick>,
    inventory_changed: bool,
    /// The inventory is not known yet: nothing is known to be gone.
    awaits_inventory: bool,
    /// Since when each target has been reached without a break.
    reached_since: BTreeMap<Subject, Tick>,
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub fn new(inventory: Inventory, settings: Settings, now: Now) -> Self {
        Self {
            board: Board::new(settings.limits),
            findings: Findings::new(inventory.cluster.clone(), settings.hold_down)
                .under(settings.force),
            inventory: Arc::new(inventory),
            settings,
            external: BTreeMap::new(),
            started: now,
            last_evaluated: now.tick,
            last_forgot: now.tick,
            last_noted: Tick::default(),
            sighted: None,
            inventory_changed: false,
            awaits_inventory: false,
            reached_since: BTreeMap::new(),
        }
    }

    /// What should exist.
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// Takes a new inventory; what is gone from it is forgotten at the next evaluation.
    pub fn set_inventory(&mut self, inventory: Inventory) {
        self.inventory = Arc::new(inventory);
        self.inventory_changed = true;
        self.awaits_inventory = false;
    }

    /// The inventory so far is none: until [`Engine::set_inventory`] nothing is known to be gone,
    /// and findings stay open.
    pub fn await_inventory(&mut self) {
        self.awaits_inventory = true;
    }

    /// Takes a report in. Unknown subjects are accepted and forgotten at the next evaluation.
    pub fn apply(&mut self, report: &Report, now: Now) -> Applied {
        if report.cluster != self.inventory.cluster {
            return Applied::WrongCluster;
        }
        let applied = self.board.apply(report, now);
        if applied == Applied::Fresh {
            for vm in report.vm_reports() {
                self.board.apply(&vm, now);
            }
        }
        applied
    }

    /// Replaces what another judge (`source`) has found; it takes part in findings.
    pub fn set_external(&mut self, source: &'static str, diagnoses: Vec<Diagnosis>) {
        self.external.insert(source, diagnoses);
    }

    /// Takes back findings that were open before a restart.
    pub fn restore(&mut self, findings: Vec<Finding>) {
        self.findings.restore(findings);
    }

    /// Judges, and says what changed.
    pub fn evaluate(&mut self, now: Now) -> Vec<Transition> {
        self.forget(now.tick);
        self.last_evaluated = now.tick;
        // While nobody misses anything, a look a second is enough.
        let troubled = self.board.missing_vantages().next().is_some();
        if troubled || now.tick.since(self.last_noted) >= CALM {
            self.last_noted = now.tick;
            self.note_reached(now.tick);
        }
        let heard = |v: &Vantage| v.is_witness() && self.board.is_reporting(v, now.tick);
        let sighted = self.board.vantages().keys().any(heard);
        self.sighted = sighted.then(|| self.sighted.unwrap_or(now.tick));
        let blamed = self.blamed();
        let mut diagnoses = diagnose(&self.case(&blamed, None, now));
        let force = self.settings.force;
        let fed = self.external.values().flatten();
        diagnoses.extend(fed.filter(|d| force.has(d.fault.as_label())).cloned());
        let ground = standing::Ground {
            board: &self.board,
            inventory: &self.inventory,
            now: now.tick,
            known: !self.awaits_inventory,
            dhcp_silent: diagnoses.iter().any(|d| d.fault == Fault::DhcpSilent),
        };
        self.findings.update(diagnoses, now, |finding, since| {
            standing::of(&ground, finding, since)
        })
    }

    fn blamed(&self) -> Blamed {
        if self.settings.force.has(Hold::OpenFinding.as_label()) {
            blamed::by_open(&self.findings, &self.inventory)
        } else {
            Blamed::default()
        }
    }

    fn case<'a>(&'a self, blamed: &'a Blamed, trace: Option<&'a Trace>, now: Now) -> Case<'a> {
        Case {
            inventory: &self.inventory,
            board: &self.board,
            patience: &self.settings.patience,
            blamed,
            started: self.started.tick,
            sighted: self.sighted.unwrap_or(now.tick),
            now,
            force: self.settings.force,
            trace,
        }
    }

    /// Why `about` is judged as it is, as of `now`; `None` if nothing of that name is known.
    pub fn explain(&self, about: &About, now: Now) -> Option<Explanation> {
        let blamed = self.blamed();
        let trace = Trace::default();
        let mut diagnoses = diagnose(&self.case(&blamed, Some(&trace), now));
        diagnoses.extend(self.external.values().flatten().cloned());
        let open: Vec<Finding> = self.findings.open().cloned().collect();
        let case = self.case(&blamed, None, now);
        explain(&case, about, &open, &diagnoses, trace.into_steps())
    }

    /// When to judge again even if nothing arrives.
    pub fn next_deadline(&self, now: Tick) -> Tick {
        let missing = self.board.missing_vantages().next().is_some();
        let link = self.board.vantages().values().any(|sight| {
            sight.link.as_ref().is_some_and(|(facts, since)| {
                now.since(*since) < CALM * 2
                    && facts.assess(self.inventory.pn_cidr, None) != LinkState::Fine
            })
        });
        let wait = if missing || link || self.findings.is_clearing() {
            PENDING
        } else {
            CALM
        };
        self.last_evaluated.after(wait)
    }

    /// The PN addresses that vantages report.
    pub fn addresses(&self) -> BTreeMap<Vantage, Ipv4Addr> {
        self.board.addresses(self.inventory.pn_cidr)
    }

    fn note_reached(&mut self, now: Tick) {
        for (subject, verdict) in self
            .inventory
            .targets
            .keys()
            .map(|s| {
                (
                    s,
                    views::best(self.witnesses(s, now).map(|(verdict, _)| verdict)),
                )
            })
            .collect::<Vec<_>>()
        {
            if verdict.is_reached() {
                self.reached_since.entry(subject.clone()).or_insert(now);
            } else {
                self.reached_since.remove(subject);
            }
        }
        let targets = &self.inventory.targets;
        self.reached_since.retain(|s, _| targets.contains_key(s));
    }

    /// What each client vantage that reports finds of `subject`, and from when it knows.
    fn witnesses<'a>(
        &'a self,
        subject: &'a Subject,
        now: Tick,
    ) -> impl Iterator<Item = (Verdict, Option<Tick>)> + 'a {
        self.board
            .paths_to(subject, Layer::Tcp)
            .filter(move |(v, _)| v.is_witness() && self.board.is_reporting(v, now))
            .map(move |(v, p)| (self.through(v, subject, now), p.state.newest()))
            .filter(|(verdict, _)| *verdict != Verdict::Unknown)
    }

    /// Drops what is neither expected nor reported any more; a look a second is enough.
    fn forget(&mut self, now: Tick) {
        if now.since(self.last_forgot) < CALM && !self.inventory_changed {
            return;
        }
        self.last_forgot = now;
        self.inventory_changed = false;
        let inventory = &self.inventory;
        let forget_after = self.settings.forget_after;
        self.board.retain(
            |vantage, sight| {
                inventory.vantages.contains_key(vantage)
                    || now.since(sight.last_report) <= forget_after
            },
            |subject, vantages| match subject {
                Subject::Node(node) => inventory.nodes.contains_key(node),
                Subject::Account(..) => inventory.targets.contains_key(subject),
                Subject::Neighbour(v) => {
                    inventory.vantages.contains_key(v) || vantages.contains_key(v)
                }
                Subject::Control => true,
            },
        );
    }
}
