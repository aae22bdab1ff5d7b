//! What one vantage has to check: a deterministic function of the inventory.
//!
//! The id is the hash of the content, so that replicas that never talk hand out the same plan.

use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::assign::{Share, Sparse};
use crate::inventory::{AccountTarget, Inventory};
use crate::link::Cidr;
use crate::name::{Cluster, Node, Vantage};

/// Version of the plan format.
pub const PLAN_VERSION: u32 = 1;
/// Most entries accepted in one plan, of each kind.
pub const MAX_PLANNED: usize = 50_000;
/// Neighbours on each side of the ring that a host `ARPs` as witnesses.
pub const RING_REACH: usize = 2;

/// The hash of a plan's content, 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlanId(String);

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PlanId {
    /// An id as it came in a request; compared, never interpreted. At most 64 bytes are kept.
    pub fn from_wire(text: &str) -> Self {
        Self(text.chars().take(64).collect())
    }
}

/// A node's PN address to be `ARPed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedNode {
    /// The node.
    pub node: Node,
    /// Its PN address.
    pub address: Ipv4Addr,
}

/// A neighbour to be `ARPed` as a witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedNeighbour {
    /// Who it is.
    pub vantage: Vantage,
    /// Its PN address.
    pub address: Ipv4Addr,
}

/// How often to check. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// ARP request per node.
    pub arp_ms: u64,
    /// TCP and HTTP check per account target.
    pub tcp_ms: u64,
    /// ARP request per neighbour.
    pub neighbour_ms: u64,
    /// Control check.
    pub control_ms: u64,
    /// ARP in a burst.
    pub burst_arp_ms: u64,
    /// TCP and HTTP in a burst.
    pub burst_tcp_ms: u64,
    /// `/ready` (drain).
    pub ready_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            arp_ms: 1000,
            tcp_ms: 1000,
            neighbour_ms: 1000,
            control_ms: 2000,
            burst_arp_ms: 100,
            burst_tcp_ms: 250,
            ready_ms: 10_000,
        }
    }
}

/// What one vantage has to check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Format version.
    pub version: u32,
    /// Hash of the content.
    pub id: PlanId,
    /// Which network.
    pub cluster: Cluster,
    /// For whom.
    pub vantage: Vantage,
    /// The PN's address range.
    pub pn_cidr: Cidr,
    /// How often.
    pub pace: Pace,
    /// Nodes to ARP.
    pub nodes: Vec<PlannedNode>,
    /// Account targets to check by TCP and HTTP.
    pub targets: Vec<AccountTarget>,
    /// Witnesses to ARP.
    pub neighbours: Vec<PlannedNeighbour>,
}

impl Plan {
    /// The plan of `vantage`. `addresses` are the PN addresses that vantages last reported;
    /// they win over what the inventory expects.
    pub fn for_vantage(
        inventory: &Inventory,
        vantage: &Vantage,
        addresses: &BTreeMap<Vantage, Ipv4Addr>,
        pace: Pace,
    ) -> Self {
        // A file of a prober's own, or a fleet in which everybody checks everything.
        let all = Sparse {
            above: usize::MAX,
            ..Sparse::default()
        };
        Self::shared_out(inventory, vantage, addresses, (pace, all))
    }

    /// The same, sharing the account targets out above the size that `sparse` names.
    pub fn shared_out(
        inventory: &Inventory,
        vantage: &Vantage,
        addresses: &BTreeMap<Vantage, Ipv4Addr>,
        (pace, sparse): (Pace, Sparse),
    ) -> Self {
        let share = Share::of(inventory, vantage, sparse);
        let nodes = inventory
            .nodes
            .values()
            .filter(|n| !matches!(vantage, Vantage::Node(own) if *own == n.name))
            .filter(|_| !matches!(vantage, Vantage::Vm(..)))
            .map(|n| PlannedNode {
                node: n.name.clone(),
                address: n.address,
            })
            .collect();
        let targets = inventory
            .targets
            .iter()
            .filter(|(subject, _)| share.holds(subject))
            .map(|(_, t)| AccountTarget {
                // The exporter's business; in the plan they would only churn the id.
                excuse: None,
                metrics: None,
                egress_cap: None,
                ..t.clone()
            })
            .collect();
        let mut plan = Self {
            version: PLAN_VERSION,
            id: PlanId(String::new()),
            cluster: inventory.cluster.clone(),
            vantage: vantage.clone(),
            pn_cidr: inventory.pn_cidr,
            pace,
            nodes,
            targets,
            neighbours: neighbours(inventory, vantage, addresses),
        };
        plan.id = plan.content_id();
        plan
    }

    /// The hash of the content without the id itself.
    pub fn content_id(&self) -> PlanId {
        let bare = Self {
            id: PlanId(String::new()),
            ..self.clone()
        };
        // A plan of plain strings and numbers always serializes.
        let bytes = serde_json::to_vec(&bare).unwrap_or_default();
        let digest = Sha256::digest(&bytes);
        let mut start = [0; 8];
        start.copy_from_slice(&digest[..8]);
        PlanId(format!("{:016x}", u64::from_be_bytes(start)))
    }

    /// Whether the plan may be used by `vantage` of `cluster`.
    pub fn validate(&self, cluster: &Cluster, vantage: &Vantage) -> Result<(), PlanError> {
        if self.version != PLAN_VERSION {
            return Err(PlanError::Version(self.version));
        }
        if &self.cluster != cluster {
            return Err(PlanError::Cluster(self.cluster.clone()));
        }
        if &self.vantage != vantage {
            return Err(PlanError::Vantage(self.vantage.clone()));
        }
        let largest = self
            .nodes
            .len()
            .max(self.targets.len())
            .max(self.neighbours.len());
        if largest > MAX_PLANNED {
            return Err(PlanError::TooLarge(largest));
        }
        if self.id != self.content_id() {
            return Err(PlanError::Damaged);
        }
        Ok(())
    }
}

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Another format version.
    #[error(
        "the plan has version {0}, this prober reads version {PLAN_VERSION}; update the older side"
    )]
    Version(u32),
    /// Of another network.
    #[error("the plan is for cluster {0}; check `cluster` in the prober's and exporter's config")]
    Cluster(Cluster),
    /// For somebody else.
    #[error("the plan is for {0}; check `probe.vantage` and the token")]
    Vantage(Vantage),
    /// Too many entries.
    #[error("the plan has {0} entries of one kind, at most {MAX_PLANNED} are accepted")]
    TooLarge(usize),
    /// Content and id disagree.
    #[error("the plan's content does not match its id; it was damaged on the way or on disk")]
    Damaged,
}

/// A sparse ring over hosts that have an address; nodes ARP every host that has one,
/// bounded by four times the ring's reach.
pub fn neighbours(
    inventory: &Inventory,
    vantage: &Vantage,
    addresses: &BTreeMap<Vantage, Ipv4Addr>,
) -> Vec<PlannedNeighbour> {
    let ring: Vec<PlannedNeighbour> = inventory
        .vantages
        .values()
        .filter(|e| matches!(e.vantage, Vantage::Host(_)))
        .filter_map(|e| {
            let address = addresses.get(&e.vantage).copied().or(e.address)?;
            Some(PlannedNeighbour {
                vantage: e.vantage.clone(),
                address,
            })
        })
        .collect();
    match vantage {
        Vantage::Vm(..) => Vec::new(),
        Vantage::Node(_) => ring.into_iter().take(4 * RING_REACH).collect(),
        Vantage::Host(_) => {
            let Some(own) = ring.iter().position(|n| &n.vantage == vantage) else {
                return ring.into_iter().take(2 * RING_REACH).collect();
            };
            let mut chosen: Vec<PlannedNeighbour> = (1..=RING_REACH.min(ring.len() / 2))
                .flat_map(|step| [own + step, own + ring.len() - step])
                .map(|i| ring[i % ring.len()].clone())
                .filter(|n| &n.vantage != vantage)
                .collect();
            chosen.sort_by(|a, b| a.vantage.cmp(&b.vantage));
            chosen.dedup_by(|a, b| a.vantage == b.vantage);
            chosen
        }
    }
}

/// What changed between two plans, for the log line of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanDiff {
    /// Entries only in the new plan.
    pub added: usize,
    /// Entries only in the old plan.
    pub removed: usize,
}

impl PlanDiff {
    /// Compares two plans entry by entry.
    pub fn between(old: &Plan, new: &Plan) -> Self {
        fn count<T: PartialEq>(from: &[T], to: &[T]) -> usize {
            from.iter().filter(|x| !to.contains(x)).count()
        }
        Self {
            added: count(&new.nodes, &old.nodes)
                + count(&new.targets, &old.targets)
                + count(&new.neighbours, &old.neighbours),
            removed: count(&old.nodes, &new.nodes)
                + count(&old.targets, &new.targets)
                + count(&old.neighbours, &new.neighbours),
        }
    }
}

/// How long an exporter holds a plan request that has nothing new.
pub const PLAN_POLL: Duration = Duration::from_secs(30);

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
