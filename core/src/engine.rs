//! Board, diagnosis and findings on one clock: the machine that both the exporter and the
//! fleet tests drive. Takes `now`, never reads it.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::board::{Applied, Board};
use crate::diagnosis::scope::{Blamed, Case, Patience};
use crate::diagnosis::{Diagnosis, diagnose};
use crate::fault::{Blame, Fault};
use crate::finding::{Finding, Transition};
use crate::findings::{Findings, Standing};
use crate::inventory::Inventory;
use crate::name::Vantage;
use crate::outcome::Layer;
use crate::path::{Limits, Verdict};
use crate::subject::Subject;
use crate::time::{Now, Tick};
use crate::view::{NodeView, PathView, TargetView, VantageView, View};
use crate::wire::Report;

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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            patience: Patience::default(),
            hold_down: Duration::from_secs(5),
            forget_after: Duration::from_secs(45),
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
    inventory: Inventory,
    settings: Settings,
    board: Board,
    findings: Findings,
    external: BTreeMap<&'static str, Vec<Diagnosis>>,
    started: Now,
    last_evaluated: Tick,
    /// Since when each target has been reached without a break.
    reached_since: BTreeMap<Subject, Tick>,
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub fn new(inventory: Inventory, settings: Settings, now: Now) -> Self {
        Self {
            board: Board::new(settings.limits),
            findings: Findings::new(inventory.cluster.clone(), settings.hold_down),
            inventory,
            settings,
            external: BTreeMap::new(),
            started: now,
            last_evaluated: now.tick,
            reached_since: BTreeMap::new(),
        }
    }

    /// What should exist.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Takes a new inventory; what is gone from it is forgotten at the next evaluation.
    pub fn set_inventory(&mut self, inventory: Inventory) {
        self.inventory = inventory;
    }

    /// Takes a report in. Unknown subjects are accepted and forgotten at the next evaluation.
    pub fn apply(&mut self, report: &Report, now: Now) -> Applied {
        if report.cluster != self.inventory.cluster {
            return Applied::WrongCluster;
        }
        self.board.apply(report, now)
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
        self.note_reached(now.tick);
        let blamed = self.still_blamed();
        let case = Case {
            inventory: &self.inventory,
            board: &self.board,
            patience: &self.settings.patience,
            blamed: &blamed,
            started: self.started.tick,
            now,
        };
        let mut diagnoses = diagnose(&case);
        diagnoses.extend(self.external.values().flatten().cloned());
        let (board, inventory) = (&self.board, &self.inventory);
        self.findings.update(diagnoses, now, |finding| {
            standing(board, inventory, finding, now.tick)
        })
    }

    /// When to judge again even if nothing arrives.
    pub fn next_deadline(&self, now: Tick) -> Tick {
        let missing = self
            .board
            .paths()
            .any(|(_, p)| p.state.verdict_at(now, &self.settings.limits).is_missing());
        let link = self.board.vantages().values().any(|sight| {
            sight.link.as_ref().is_some_and(|(facts, since)| {
                now.since(*since) < CALM * 2 && facts.pn_address(self.inventory.pn_cidr).is_none()
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

    /// What carries blame by open findings: while one clears, its consequences stay its own.
    fn still_blamed(&self) -> Blamed {
        let clearing = |f: &&Finding| f.clearing_since.is_some();
        let of = |blame: Blame| {
            self.findings
                .open()
                .filter(clearing)
                .filter(move |f| f.identity.blame == blame)
                .filter(|f| f.fault != Fault::LeaseNotRenewed)
        };
        Blamed {
            network: of(Blame::Network).next().is_some(),
            nodes: of(Blame::Node).filter_map(|f| f.node.clone()).collect(),
            hosts: of(Blame::Host).filter_map(|f| f.host.clone()).collect(),
        }
    }

    fn note_reached(&mut self, now: Tick) {
        for (subject, verdict) in self
            .inventory
            .targets
            .keys()
            .map(|s| (s, best(self.witnesses(s, now).map(|(verdict, _)| verdict))))
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
            .filter(move |(v, _)| v.is_client() && self.board.is_reporting(v, now))
            .map(move |(v, p)| (self.through(v, subject, now), p.state.newest()))
            .filter(|(verdict, _)| *verdict != Verdict::Unknown)
    }

    fn forget(&mut self, now: Tick) {
        let inventory = &self.inventory;
        let forget_after = self.settings.forget_after;
        self.board.retain(
            |vantage, sight| {
                inventory.vantages.contains_key(vantage)
                    || now.since(sight.last_report) <= forget_after
            },
            |subject| match subject {
                Subject::Node(node) => inventory.nodes.contains_key(node),
                Subject::Account(..) => inventory.targets.contains_key(subject),
                Subject::Neighbour(_) | Subject::Control => true,
            },
        );
    }

    /// Everything that is known, at `now`.
    pub fn view(&self, now: Now) -> View {
        let mut open: Vec<Finding> = self.findings.open().cloned().collect();
        open.sort_by(|a, b| {
            (b.severity, a.started_at, &a.id).cmp(&(a.severity, b.started_at, &b.id))
        });
        View {
            cluster: self.inventory.cluster.clone(),
            at: now.wall,
            started_at: self.started.wall,
            open,
            closed: self.findings.closed().cloned().collect(),
            nodes: self.node_views(now.tick),
            targets: self.target_views(now),
            vantages: self.vantage_views(now),
            paths: self.path_views(now.tick),
        }
    }

    fn node_views(&self, now: Tick) -> Vec<NodeView> {
        let view = |n: &crate::inventory::NodeTarget| {
            let subject = Subject::Node(n.name.clone());
            let arp = self
                .board
                .paths_to(&subject, Layer::Arp)
                .filter(|(v, _)| v.is_client() && self.board.is_reporting(v, now))
                .map(|(_, p)| p.state.verdict_at(now, &self.settings.limits));
            NodeView {
                node: n.name.clone(),
                address: n.address,
                verdict: best(arp),
            }
        };
        self.inventory.nodes.values().map(view).collect()
    }

    fn target_views(&self, now: Now) -> Vec<TargetView> {
        self.inventory
            .targets
            .iter()
            .map(|(subject, target)| {
                let verdicts: Vec<(Verdict, Option<Tick>)> =
                    self.witnesses(subject, now.tick).collect();
                TargetView {
                    target: target.clone(),
                    verdict: best(verdicts.iter().map(|(v, _)| *v)),
                    witnesses: verdicts.len(),
                    reached_by: verdicts.iter().filter(|(v, _)| v.is_reached()).count(),
                    newest_age: verdicts
                        .iter()
                        .filter_map(|(_, newest)| *newest)
                        .max()
                        .map(|newest| now.tick.since(newest)),
                    reached_since: self
                        .reached_since
                        .get(subject)
                        .map(|since| now.wall_at(*since)),
                }
            })
            .collect()
    }

    /// TCP and HTTP of one path together: what a build feels.
    fn through(&self, vantage: &Vantage, subject: &Subject, now: Tick) -> Verdict {
        let tcp = self.board.verdict(vantage, subject, Layer::Tcp, now);
        match self.board.verdict(vantage, subject, Layer::Http, now) {
            http if tcp.is_reached() && http.is_missing() => http,
            _ => tcp,
        }
    }

    fn vantage_views(&self, now: Now) -> Vec<VantageView> {
        let names: BTreeSet<&Vantage> = self
            .inventory
            .vantages
            .keys()
            .chain(self.board.vantages().keys())
            .collect();
        names
            .into_iter()
            .map(|vantage| {
                let sight = self.board.vantages().get(vantage);
                let facts = sight.and_then(|s| s.link.as_ref()).map(|(facts, _)| facts);
                VantageView {
                    vantage: vantage.clone(),
                    expected: self.inventory.vantages.contains_key(vantage),
                    reporting: self.board.is_reporting(vantage, now.tick),
                    stopping: sight.is_some_and(|s| s.stopping),
                    last_report: sight.map(|s| now.wall_at(s.last_report)),
                    address: facts
                        .and_then(|f| f.pn_address(self.inventory.pn_cidr))
                        .map(|held| held.address),
                    link: facts.cloned(),
                    counters: sight.map(|s| s.counters.clone()).unwrap_or_default(),
                    devices: sight.map(|s| s.devices.clone()).unwrap_or_default(),
                }
            })
            .collect()
    }

    fn path_views(&self, now: Tick) -> Vec<PathView> {
        self.board
            .paths()
            .map(|(key, path)| PathView {
                verdict: if self.board.is_reporting(&key.vantage, now) {
                    path.state.verdict_at(now, &self.settings.limits)
                } else {
                    Verdict::Unknown
                },
                last_outcome: path.state.last().map(|l| l.outcome),
                newest_age: path.state.newest().map(|newest| now.since(newest)),
                mac: path.mac,
                rtt_us: path.rtt_us,
                key,
            })
            .collect()
    }
}

/// The best of several verdicts: up if anybody reaches it.
fn best(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts
        .filter(|v| *v != Verdict::Unknown)
        .min()
        .unwrap_or(Verdict::Unknown)
}

/// What the evidence says of an open finding that no diagnosis names now.
fn standing(board: &Board, inventory: &Inventory, finding: &Finding, now: Tick) -> Standing {
    let verdicts = |subject: &Subject, layer: Layer, client: bool| -> Vec<Verdict> {
        board
            .paths_to(subject, layer)
            .filter(|(v, _)| (!client || v.is_client()) && board.is_reporting(v, now))
            .map(|(_, p)| p.state.verdict_at(now, board.limits()))
            .collect()
    };
    let of = |verdicts: Vec<Verdict>| {
        if verdicts.iter().any(|v| v.is_reached()) {
            Standing::Clear
        } else if verdicts.iter().any(|v| v.is_missing()) {
            Standing::Against
        } else {
            Standing::Blind
        }
    };
    match finding.identity.blame {
        Blame::Network => of(inventory
            .vantages
            .keys()
            .map(|v| Subject::Neighbour(v.clone()))
            .chain(inventory.nodes.keys().map(|n| Subject::Node(n.clone())))
            .flat_map(|s| verdicts(&s, Layer::Arp, true))
            .collect()),
        Blame::Node => {
            let Some(node) = finding
                .node
                .as_ref()
                .filter(|n| inventory.nodes.contains_key(*n))
            else {
                return Standing::Clear;
            };
            let mut seen = verdicts(&Subject::Node(node.clone()), Layer::Arp, true);
            for (subject, _) in inventory.targets_of(node) {
                seen.extend(verdicts(subject, Layer::Tcp, true));
            }
            of(seen)
        }
        Blame::Account => {
            let mut seen = Vec::new();
            let mut any = false;
            for (subject, target) in &inventory.targets {
                if Some(&target.account) == finding.account.as_ref() {
                    any = true;
                    seen.extend(verdicts(subject, Layer::Http, true));
                }
            }
            if any { of(seen) } else { Standing::Clear }
        }
        Blame::Host => {
            let of_host = |v: &Vantage| v.host() == finding.host.as_ref();
            let seen: Vec<Verdict> = board
                .paths()
                .filter(|(k, _)| of_host(&k.vantage) && board.is_reporting(&k.vantage, now))
                .filter(|(k, _)| {
                    !matches!(k.vantage, Vantage::Host(_)) == is_vm_fault(finding.fault)
                        && matches!(k.layer, Layer::Arp | Layer::Tcp)
                })
                .map(|(_, p)| p.state.verdict_at(now, board.limits()))
                .collect();
            of(seen)
        }
        Blame::Vantage => {
            let Ok(vantage) = finding.identity.subject.parse::<Vantage>() else {
                return Standing::Clear;
            };
            if !inventory.vantages.contains_key(&vantage) || board.is_reporting(&vantage, now) {
                Standing::Clear
            } else {
                Standing::Blind
            }
        }
        Blame::ControlPlane | Blame::Monitor => Standing::Clear,
    }
}

fn is_vm_fault(fault: Fault) -> bool {
    matches!(fault, Fault::VmNatMissing | Fault::VmNetworkDead)
}
