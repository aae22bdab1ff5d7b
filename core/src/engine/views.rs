//! Everything that is known, projected for metrics, page, gate and API.

use std::collections::BTreeSet;

use super::Engine;
use crate::board::Path;
use crate::finding::Finding;
use crate::name::Vantage;
use crate::outcome::Layer;
use crate::path::Verdict;
use crate::subject::{PathKey, Subject};
use crate::time::{Now, Tick};
use crate::view::{NodeView, PathView, TargetView, VantageView, View};

impl Engine {
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
            paths: self.path_views(now),
        }
    }

    fn node_views(&self, now: Tick) -> Vec<NodeView> {
        let view = |n: &crate::inventory::NodeTarget| {
            let subject = Subject::Node(n.name.clone());
            let arp = self
                .board
                .paths_to(&subject, Layer::Arp)
                .filter(|(v, _)| v.is_witness() && self.board.is_reporting(v, now))
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
    pub(super) fn through(&self, vantage: &Vantage, subject: &Subject, now: Tick) -> Verdict {
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

    fn path_views(&self, now: Now) -> Vec<PathView> {
        let view = |(key, path): (PathKey, &Path)| {
            let verdict = if self.board.is_reporting(&key.vantage, now.tick) {
                path.state.verdict_at(now.tick, &self.settings.limits)
            } else {
                Verdict::Unknown
            };
            let since = path.state.outage_began().map(|began| now.wall_at(began));
            PathView {
                verdict,
                down_since: since.filter(|_| verdict == Verdict::Down),
                last_outcome: path.state.last().map(|l| l.outcome),
                newest_age: path.state.newest().map(|newest| now.tick.since(newest)),
                mac: path.mac,
                rtt_us: path.rtt_us,
                failures: path.state.failures().told(now),
                key,
            }
        };
        self.board.paths().map(view).collect()
    }
}

/// The best of several verdicts: up if anybody reaches it.
pub(super) fn best(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts
        .filter(|v| *v != Verdict::Unknown)
        .min()
        .unwrap_or(Verdict::Unknown)
}
