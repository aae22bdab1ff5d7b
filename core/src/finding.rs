//! A diagnosis with a life: opened, sharpened in place, closed on fresh success alone.

use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::fault::{Alert, Blame, Confidence, Fault, Severity};
use crate::name::{Account, Cluster, Host, Node, Vantage};
use crate::outcome::Layer;
use crate::time::Timestamp;

/// One thing that was seen, as a sentence with its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The layer it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Layer>,
    /// Who saw it, if a vantage did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vantage: Option<Vantage>,
    /// What was seen.
    pub text: String,
    /// When it was last seen.
    pub seen_at: Timestamp,
}

/// Who is blamed for what: fixed when the finding is confirmed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Which network.
    pub cluster: Cluster,
    /// Whose fault.
    pub blame: Blame,
    /// Name of the blamed thing.
    pub subject: String,
}

/// A diagnosis with a life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `BLAME-SUBJECT-UNIXSECONDS`, unique per opening.
    pub id: String,
    /// Who is blamed.
    #[serde(flatten)]
    pub identity: Identity,
    /// Which fault, as far as evidence allows.
    pub fault: Fault,
    /// How much it matters.
    pub severity: Severity,
    /// Name of its alert; `None` = never alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertname: Option<Alert>,
    /// How sure.
    pub confidence: Confidence,
    /// When the first check was missed (or the first fact seen).
    pub started_at: Timestamp,
    /// When it was confirmed.
    pub opened_at: Timestamp,
    /// When fault, severity or confidence last changed.
    pub sharpened_at: Timestamp,
    /// When the evidence cleared; it closes once that has held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clearing_since: Option<Timestamp>,
    /// When it closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// Since when there is no evidence either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind_since: Option<Timestamp>,
    /// The first line of a page.
    pub summary: String,
    /// What was seen, per layer.
    pub evidence: Vec<Evidence>,
    /// What is missing to be surer, as sentences.
    pub missing: Vec<String>,
    /// The node concerned, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
    /// The host concerned, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// The account concerned, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// The address concerned, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Accounts that suffer.
    pub accounts: Vec<Account>,
    /// Vantages that suffer.
    pub vantages: Vec<Vantage>,
    /// What to type, where its precondition was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Where to type it (`on node NAME`).
    pub place: String,
    /// The command, names validated and shell-quoted; `None` = none was proven safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What it does, or what to look at.
    pub text: String,
}

/// What happened to a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Confirmed just now.
    Opened,
    /// Fault, severity or confidence changed in place.
    Sharpened,
    /// Closed on fresh success.
    Closed,
}

/// A change with the finding as it stands after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// What happened.
    pub change: Change,
    /// The finding after it.
    pub finding: Finding,
}
