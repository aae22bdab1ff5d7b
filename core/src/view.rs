//! Everything that is known, projected to one instant: what metrics, page, gate and API read.

use core::net::Ipv4Addr;
use core::time::Duration;

use serde::Serialize;

use crate::failure::Failure;
use crate::finding::Finding;
use crate::inventory::AccountTarget;
use crate::link::{LinkFacts, Mac};
use crate::name::{Cluster, Node, Vantage};
use crate::outcome::Outcome;
use crate::path::Verdict;
use crate::subject::PathKey;
use crate::time::Timestamp;

/// Everything that is known, at one instant.
#[derive(Debug, Clone)]
pub struct View {
    /// Which network.
    pub cluster: Cluster,
    /// The instant.
    pub at: Timestamp,
    /// Since when this exporter has been judging.
    pub started_at: Timestamp,
    /// Open findings, worst first.
    pub open: Vec<Finding>,
    /// Closed findings, newest first, bounded.
    pub closed: Vec<Finding>,
    /// Nodes.
    pub nodes: Vec<NodeView>,
    /// Account targets.
    pub targets: Vec<TargetView>,
    /// Vantages, expected and unexpected.
    pub vantages: Vec<VantageView>,
    /// Paths.
    pub paths: Vec<PathView>,
}

/// A cache node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeView {
    /// Its name.
    pub node: Node,
    /// Its address, as handed out.
    pub address: Ipv4Addr,
    /// What client vantages find: worst over ARP.
    pub verdict: Verdict,
}

/// An account target.
#[derive(Debug, Clone, Serialize)]
pub struct TargetView {
    /// The target.
    #[serde(flatten)]
    pub target: AccountTarget,
    /// What client vantages find, over TCP and HTTP: up if any reaches it.
    pub verdict: Verdict,
    /// Client vantages with fresh evidence.
    pub witnesses: usize,
    /// Client vantages that reach it.
    pub reached_by: usize,
    /// Age of the newest evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_age: Option<Duration>,
    /// Since when it has been reached without a break, as evaluations saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached_since: Option<Timestamp>,
}

/// A vantage.
#[derive(Debug, Clone, Serialize)]
pub struct VantageView {
    /// Who.
    pub vantage: Vantage,
    /// Whether the inventory expects it.
    pub expected: bool,
    /// Whether it reports.
    pub reporting: bool,
    /// Whether it said that it stops.
    pub stopping: bool,
    /// When its last report came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_report: Option<Timestamp>,
    /// Its PN address, as it reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Its PN leg, as it reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkFacts>,
    /// Its own counters.
    #[serde(skip)]
    pub counters: Vec<crate::wire::Counter>,
    /// Its network devices.
    pub devices: Vec<crate::wire::DeviceReport>,
}

/// A path.
#[derive(Debug, Clone)]
pub struct PathView {
    /// Which.
    pub key: PathKey,
    /// Its verdict.
    pub verdict: Verdict,
    /// Start of the first miss, while it is down.
    pub down_since: Option<Timestamp>,
    /// What the last check saw.
    pub last_outcome: Option<Outcome>,
    /// Age of the newest evidence.
    pub newest_age: Option<Duration>,
    /// The MAC that answered last (ARP).
    pub mac: Option<Mac>,
    /// Last round trip, microseconds.
    pub rtt_us: Option<u32>,
    /// Its last failures, newest first, kept apart from what has followed them.
    pub failures: Vec<Failure>,
}
