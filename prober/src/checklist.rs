//! What is to be checked: plans and control addresses, as numbered checks. Pure.
//!
//! Plans of several exporters are united; where two of them say different things of one
//! subject, the exporter that stands first in the configuration wins. A check keeps its number
//! as long as nothing about it changes, and no number is ever used twice: a late answer of a
//! check that is gone finds nobody.

use core::net::{SocketAddr, SocketAddrV4};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use pnwatch_core::name::{Node, Vantage};
use pnwatch_core::outcome::Layer;
use pnwatch_core::plan::{Pace, Plan};
use pnwatch_core::schedule::{CheckId, Probe};
use pnwatch_core::subject::{Subject, TargetKind};

use crate::engine::{Ask, request};

/// From read to read of many segments, and after one that failed.
const LARGE_EVERY: Duration = Duration::from_mins(1);
/// See [`LARGE_EVERY`].
const LARGE_AGAIN: Duration = Duration::from_secs(5);

/// One check.
#[derive(Debug, Clone)]
pub struct Check {
    /// What it is about.
    pub subject: Arc<Subject>,
    /// How it asks.
    pub probe: Probe,
    /// What it asks.
    pub ask: Ask,
    /// Its normal pace.
    pub every: Duration,
    /// Its pace in a burst.
    pub burst: Duration,
    /// Checks that are suspected together.
    pub group: Arc<str>,
}

/// All checks of a vantage.
#[derive(Debug, Default)]
pub struct Checklist {
    checks: BTreeMap<CheckId, Check>,
    by_key: BTreeMap<(Subject, Probe), CheckId>,
    next: u32,
}

impl Checklist {
    /// Replaces the checks by what `plans` (first wins) and `control` ask for.
    pub fn rebuild(&mut self, plans: &[&Plan], control: &[SocketAddr], agent: &str) {
        let mut wanted: BTreeMap<(Subject, Probe), Check> = BTreeMap::new();
        for plan in plans {
            for check in of_plan(plan, agent.into()) {
                let key = ((*check.subject).clone(), check.probe);
                wanted.entry(key).or_insert(check);
            }
        }
        let pace = plans.first().map_or_else(Pace::default, |plan| plan.pace);
        if let Some(first) = control.first() {
            let subject = Arc::new(Subject::Control);
            let check = Check {
                subject,
                probe: Probe::Control,
                ask: Ask::Control(*first),
                every: Duration::from_millis(pace.control_ms),
                burst: Duration::from_millis(pace.burst_tcp_ms),
                group: "control".into(),
            };
            wanted.insert((Subject::Control, Probe::Control), check);
        }
        let mut old = core::mem::take(&mut self.checks);
        let old_keys = core::mem::take(&mut self.by_key);
        // Built at once, the trees have no half-empty nodes.
        let mut keys = Vec::with_capacity(wanted.len());
        let mut checks = Vec::with_capacity(wanted.len());
        for (key, check) in wanted {
            let kept = old_keys
                .get(&key)
                .and_then(|id| Some((*id, old.remove(id)?)))
                .filter(|(_, old)| {
                    old.ask == check.ask
                        && (old.every, old.burst) == (check.every, check.burst)
                        && old.group == check.group
                });
            let (id, check) = kept.unwrap_or_else(|| {
                self.next += 1;
                (CheckId(self.next), check)
            });
            keys.push((key, id));
            checks.push((id, check));
        }
        self.by_key = keys.into_iter().collect();
        self.checks = checks.into_iter().collect();
    }

    /// The check with this number, while it exists.
    pub fn get(&self, id: CheckId) -> Option<&Check> {
        self.checks.get(&id)
    }

    /// The number of a check.
    pub fn find(&self, subject: &Subject, probe: Probe) -> Option<CheckId> {
        self.by_key.get(&(subject.clone(), probe)).copied()
    }

    /// All checks.
    pub fn iter(&self) -> impl Iterator<Item = (CheckId, &Check)> {
        self.checks.iter().map(|(id, check)| (*id, check))
    }

    /// How many checks there are.
    pub fn len(&self) -> usize {
        self.checks.len()
    }

    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }
}

fn of_plan(plan: &Plan, agent: Arc<str>) -> impl Iterator<Item = Check> + '_ {
    let pace = plan.pace;
    let millis = Duration::from_millis;
    let arp = move |subject, address, every, group: String| Check {
        subject: Arc::new(subject),
        probe: Probe::Arp,
        ask: Ask::Arp(address),
        every: millis(every),
        burst: millis(pace.burst_arp_ms),
        group: group.into(),
    };
    let nodes = plan.nodes.iter().map(move |node| {
        let subject = Subject::Node(node.node.clone());
        arp(
            subject,
            node.address,
            pace.arp_ms,
            format!("node:{}", node.node),
        )
    });
    let neighbours = plan.neighbours.iter().map(move |neighbour| {
        let subject = Subject::Neighbour(neighbour.vantage.clone());
        let group = subject.to_string();
        arp(subject, neighbour.address, pace.neighbour_ms, group)
    });
    let mut groups: BTreeMap<Node, Arc<str>> = BTreeMap::new();
    // Gateways need a name and TLS; they are checked by their own engine.
    let targets = plan
        .targets
        .iter()
        .filter(|target| target.kind == TargetKind::Nodeport)
        .flat_map(move |target| {
            let to = SocketAddrV4::new(target.address, target.port);
            let subject = Arc::new(target.subject());
            let group = groups
                .entry(target.node.clone())
                .or_insert_with(|| format!("node:{}", target.node).into())
                .clone();
            let tenant = target.tenant.as_ref().map(|t| Arc::from(t.as_str()));
            let check = move |probe, ask, every| Check {
                subject: subject.clone(),
                probe,
                ask,
                every: millis(every),
                burst: millis(pace.burst_tcp_ms),
                group: group.clone(),
            };
            let up = Ask::Up {
                to,
                request: request("/up", to, &agent),
                tenant,
            };
            let ready = Ask::Ready {
                to,
                agent: agent.clone(),
            };
            let large = Ask::Large {
                to,
                agent: agent.clone(),
            };
            let large = Check {
                every: LARGE_EVERY,
                burst: LARGE_AGAIN,
                ..check(Probe::Large, large, 0)
            };
            // A node's own dials may never touch the wire.
            let large = matches!(plan.vantage, Vantage::Host(_)).then_some(large);
            [
                check(Probe::Connect, up, pace.tcp_ms),
                check(Probe::Ready, ready, pace.ready_ms),
            ]
            .into_iter()
            .chain(large)
        });
    nodes.chain(neighbours).chain(targets)
}

impl Check {
    /// The layers whose outcomes it brings.
    pub fn layers(&self) -> &'static [Layer] {
        match self.probe {
            Probe::Arp => &[Layer::Arp],
            Probe::Connect => &[Layer::Tcp, Layer::Http],
            Probe::Ready | Probe::Large => &[],
            Probe::Control => &[Layer::Control],
        }
    }
}

#[cfg(test)]
#[path = "checklist_tests.rs"]
mod tests;
