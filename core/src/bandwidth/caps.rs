//! Egress caps of accounts, and what the nodes that they share carry.

use std::collections::{BTreeMap, BTreeSet};

use super::rate::BitRate;
use super::{Clamp, Limits};
use crate::name::{Account, Instance, Node, Vantage};
use crate::view::View;

/// The egress cap of every instance that is handed out, bytes per second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caps {
    /// By node; an instance that is handed out in two ways is one.
    by_node: BTreeMap<Node, BTreeMap<Instance, (Account, u64)>>,
    usual: u64,
}

impl Caps {
    /// Of all targets: the cap that discovery read of the object, else the usual one.
    pub fn of(view: &View, limits: Limits) -> Self {
        let mut caps = Self {
            by_node: BTreeMap::new(),
            usual: limits.account_cap,
        };
        for seen in &view.targets {
            let target = &seen.target;
            let cap = target.egress_cap.map_or(limits.account_cap, BitRate::bytes);
            caps.by_node
                .entry(target.node.clone())
                .or_default()
                .insert(target.instance.clone(), (target.account.clone(), cap));
        }
        caps
    }

    /// The cap of one instance, wherever it is.
    pub fn instance(&self, instance: &Instance) -> u64 {
        let mut nodes = self.by_node.values();
        let found = nodes.find_map(|instances| instances.get(instance));
        found.map_or(self.usual, |(_, cap)| *cap)
    }

    /// The caps of all instances on `node`.
    pub fn on(&self, node: &Node) -> Vec<u64> {
        let instances = self.by_node.get(node).into_iter().flatten();
        instances.map(|(_, (_, cap))| *cap).collect()
    }

    /// The cap of each account on each node: the sum of its instances' there.
    pub fn accounts(&self) -> BTreeMap<(&Account, &Node), u64> {
        let mut caps: BTreeMap<(&Account, &Node), u64> = BTreeMap::new();
        for (node, instances) in &self.by_node {
            for (account, cap) in instances.values() {
                let sum = caps.entry((account, node)).or_default();
                *sum = sum.saturating_add(*cap);
            }
        }
        caps
    }

    /// What all accounts of each node may send together.
    pub fn nodes(&self) -> impl Iterator<Item = (&Node, u64)> {
        self.by_node.iter().map(|(node, instances)| {
            let caps = instances.values().map(|(_, cap)| *cap);
            (node, caps.fold(0, u64::saturating_add))
        })
    }
}

/// What the PN device of each node carries, bytes per second: as configured, else as its driver
/// tells; less where it was held down (`clamps`, by node). Nodes of which nobody knows are left
/// out.
pub fn capacities(view: &View, limits: Limits, clamps: &[Clamp]) -> BTreeMap<Node, u64> {
    let nodes: BTreeSet<&Node> = view.targets.iter().map(|seen| &seen.target.node).collect();
    let mut capacities = BTreeMap::new();
    for node in nodes {
        let devices = view
            .vantages
            .iter()
            .filter(|seen| seen.vantage == Vantage::Node(node.clone()))
            .flat_map(|seen| &seen.devices)
            .filter(|device| device.plane == "pn");
        let told = devices
            .filter_map(|device| Some(device.speed_bps? / 8))
            .min();
        let known = limits.node_capacity.or(told);
        let clamped = clamps
            .iter()
            .filter(|clamp| clamp.node == *node && clamp.sends)
            .map(|clamp| clamp.plateau.level)
            .min();
        if let Some(least) = known.into_iter().chain(clamped).min() {
            capacities.insert(node.clone(), least);
        }
    }
    capacities
}
