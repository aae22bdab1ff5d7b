//! Everything that should exist on one private network, as one value.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bandwidth::BitRate;
use crate::link::Cidr;
use crate::name::{Account, Cluster, Instance, Node, Tenant, Vantage};
use crate::subject::{Subject, TargetKind};
use crate::targets::Targets;

/// A cache node: exists as a target without any account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeTarget {
    /// Kubernetes node name.
    pub name: Node,
    /// Its PN address, as the control plane hands it out.
    pub address: Ipv4Addr,
    /// Whether Kubernetes says Ready; `None` = not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
}

/// A vantage that should report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedVantage {
    /// Who.
    pub vantage: Vantage,
    /// Its PN address, where it is known beforehand; else what it reports is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
}

/// One account's endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountTarget {
    /// The account.
    pub account: Account,
    /// The tenant that `/up` must name; `None` = not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// The instance that serves it.
    pub instance: Instance,
    /// How it is reached.
    #[serde(default = "nodeport")]
    pub kind: TargetKind,
    /// The node that owns the address.
    pub node: Node,
    /// The address that is handed out.
    pub address: Ipv4Addr,
    /// The port that is handed out.
    pub port: u16,
    /// Why failures of it are excused, until when: set by discovery, never by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excuse: Option<Excuse>,
    /// Where the pod behind it tells its metrics, over another way than the PN; the monitor's
    /// own business, in no plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// What its pod may send, where discovery or the file knows it; else
    /// `serve.bandwidth.account_cap` holds. In no plan either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_cap: Option<BitRate>,
}

fn nodeport() -> TargetKind {
    TargetKind::Nodeport
}

impl AccountTarget {
    /// The key of this target in plan, report and metrics.
    pub fn subject(&self) -> Subject {
        Subject::Account(self.account.clone(), self.instance.clone(), self.kind)
    }
}

/// A reason for which bad events do not count, with its deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excuse {
    /// Why: `draining`, `rolling`, `paused`, `maintenance`.
    pub reason: String,
    /// Until when it holds.
    pub until: crate::time::Timestamp,
}

/// Everything that should exist on one private network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Which network.
    pub cluster: Cluster,
    /// The PN's address range.
    pub pn_cidr: Cidr,
    /// Cache nodes by name.
    pub nodes: BTreeMap<Node, NodeTarget>,
    /// Expected vantages.
    pub vantages: BTreeMap<Vantage, ExpectedVantage>,
    /// Account targets by key.
    pub targets: Targets,
}

/// The inventory as a file, without the cluster (which is the monitor's own setting).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryFile {
    /// The PN's address range.
    pub pn_cidr: Cidr,
    /// Cache nodes.
    #[serde(default)]
    pub nodes: Vec<NodeTarget>,
    /// Expected vantages.
    #[serde(default)]
    pub vantages: Vec<ExpectedVantage>,
    /// Account targets.
    #[serde(default)]
    pub targets: Vec<AccountTarget>,
}

/// Why an inventory file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// Two entries claim one key.
    #[error("{field}: {key} is listed twice; remove one of the two")]
    Duplicate {
        /// Which list.
        field: &'static str,
        /// The key.
        key: String,
    },
    /// A target names a node that is not listed.
    #[error("targets: {target} names node {node}, which is not in `nodes`; add it there")]
    UnknownNode {
        /// The target.
        target: String,
        /// The node.
        node: Node,
    },
    /// A port of zero.
    #[error("targets: {target} has port 0; write the NodePort that is handed out")]
    PortZero {
        /// The target.
        target: String,
    },
}

impl InventoryFile {
    /// Validates the file into an [`Inventory`] of `cluster`.
    pub fn into_inventory(self, cluster: Cluster) -> Result<Inventory, InventoryError> {
        let mut inventory = Inventory {
            cluster,
            pn_cidr: self.pn_cidr,
            nodes: BTreeMap::new(),
            vantages: BTreeMap::new(),
            targets: Targets::default(),
        };
        let duplicate = |field, key: String| InventoryError::Duplicate { field, key };
        for node in self.nodes {
            let name = node.name.clone();
            if inventory.nodes.insert(name.clone(), node).is_some() {
                return Err(duplicate("nodes", name.to_string()));
            }
        }
        for expected in self.vantages {
            let vantage = expected.vantage.clone();
            if inventory
                .vantages
                .insert(vantage.clone(), expected)
                .is_some()
            {
                return Err(duplicate("vantages", vantage.to_string()));
            }
        }
        for target in self.targets {
            let subject = target.subject();
            let name = subject.to_string();
            if target.port == 0 {
                return Err(InventoryError::PortZero { target: name });
            }
            if !inventory.nodes.contains_key(&target.node) {
                return Err(InventoryError::UnknownNode {
                    target: name,
                    node: target.node,
                });
            }
            if inventory.targets.insert(subject, target).is_some() {
                return Err(duplicate("targets", name));
            }
        }
        Ok(inventory)
    }
}

impl Inventory {
    /// Account targets whose address belongs to `node`.
    pub fn targets_of<'a>(
        &'a self,
        node: &'a Node,
    ) -> impl Iterator<Item = (&'a Subject, &'a AccountTarget)> {
        self.targets.of_node(node)
    }
}
