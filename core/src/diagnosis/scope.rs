//! The walk: network, nodes, hosts, VMs, accounts, vantages. A cause hides its consequences.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::{Diagnosis, account, host, network, node, vantage};
use crate::board::{Board, Tally};
use crate::inventory::Inventory;
use crate::name::{Host, Node, Vantage};
use crate::outcome::Layer;
use crate::subject::Subject;
use crate::time::{Now, Tick};

/// When evidence counts, and for how long names may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long node or host link evidence must have held.
    pub link_hold: Duration,
    /// How long naming may wait for undecided witnesses after the first `Down`.
    pub naming_wait: Duration,
    /// Silence after which a vantage is silent.
    pub vantage_silent_after: Duration,
    /// How long a vantage that said goodbye may be away.
    pub stopping_grace: Duration,
    /// How long `/ready` may excuse a drain (FACTS: 260 s is a legal drain).
    pub drain_excuse: Duration,
    /// Blindness that pages.
    pub blind_critical_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            link_hold: Duration::from_millis(500),
            naming_wait: Duration::from_millis(500),
            vantage_silent_after: Duration::from_secs(15),
            stopping_grace: Duration::from_secs(120),
            drain_excuse: Duration::from_secs(280),
            blind_critical_after: Duration::from_secs(600),
        }
    }
}

/// Everything a diagnosis looks at.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What should exist.
    pub inventory: &'a Inventory,
    /// What was seen.
    pub board: &'a Board,
    /// How patient to be.
    pub patience: &'a Patience,
    /// What is still blamed by open findings: their consequences stay theirs until they close.
    pub blamed: &'a Blamed,
    /// Since when this engine has been judging.
    pub started: Tick,
    /// The instant.
    pub now: Now,
}

/// What carries blame already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blamed {
    /// The network itself.
    pub network: bool,
    /// Nodes.
    pub nodes: BTreeSet<Node>,
    /// Hosts.
    pub hosts: BTreeSet<Host>,
}

impl Case<'_> {
    /// Whether `vantage`'s failures may be believed: it reports, and is not itself blamed.
    pub fn credible(&self, blamed: &Blamed, vantage: &Vantage) -> bool {
        vantage.is_client()
            && self.board.is_reporting(vantage, self.now.tick)
            && vantage.host().is_none_or(|h| !blamed.hosts.contains(h))
    }

    /// Whether naming has to wait: some witnesses are quiet, and it is not too late.
    pub fn must_wait(&self, tally: &Tally) -> bool {
        !tally.quiet.is_empty()
            && tally
                .down_seen
                .is_some_and(|seen| self.now.tick.since(seen) < self.patience.naming_wait)
    }

    /// The connect tallies of every account target of `node`.
    pub fn ports_of(
        &self,
        node: &Node,
        since: Option<Tick>,
        blamed: &Blamed,
    ) -> BTreeMap<Subject, Tally> {
        self.inventory
            .targets_of(node)
            .map(|(subject, _)| {
                let tally = self
                    .board
                    .tally(subject, Layer::Tcp, since, self.now.tick, |v| {
                        self.credible(blamed, v)
                    });
                (subject.clone(), tally)
            })
            .collect()
    }
}

/// Judges everything, as of `case.now`.
pub fn diagnose(case: &Case<'_>) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    let mut blamed = case.blamed.clone();
    let blind = vantage::monitor_blind(case);
    let is_blind = blind.is_some();
    found.extend(blind);

    // Hosts first by their own word, so that a blind host accuses nobody.
    host::by_own_link(case, &mut blamed, &mut found);
    let network = network::diagnose(case, &blamed);
    let undecided = matches!(network, network::Word::Wait);
    if let network::Word::Down(diagnosis) = network {
        blamed.network = true;
        found.push(*diagnosis);
    }
    node::diagnose(case, undecided, &mut blamed, &mut found);
    if undecided {
        // Whoever is named now might only suffer from the network.
        vantage::leases(case, &blamed, &mut found);
        return found;
    }
    host::by_comparison(case, &mut blamed, &mut found);
    host::by_vms(case, &mut blamed, &mut found);
    account::diagnose(case, &blamed, &mut found);
    if !is_blind {
        vantage::silent(case, &blamed, &mut found);
    }
    vantage::leases(case, &blamed, &mut found);
    found
}
