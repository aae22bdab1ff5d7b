//! Which fault, whose blame, from which evidence, how sure.
//!
//! Three steps, each of its own room: [`symptom`] reduces paths and links to small closed
//! signs, [`table`] names the fault from the signs alone, [`scope`] walks network, nodes,
//! hosts and accounts in that order, so that a cause hides its consequences ([`trace`] names
//! everything that may be held back). [`explain`] tells a person which rows were asked.

mod account;
pub mod explain;
mod filter;
mod host;
mod lease;
mod network;
mod node;
pub(crate) mod quality;
pub mod repair;
pub mod rule;
pub mod scope;
pub mod symptom;
#[expect(
    clippy::redundant_pattern_matching,
    reason = "conditions of rules are patterns, those of yes and no too"
)]
pub mod table;
mod text;
pub mod trace;
mod vantage;
mod vms;
mod witness;

use core::net::Ipv4Addr;

use crate::fault::{Blame, Confidence, Fault, Severity};
use crate::finding::{Evidence, Repair};
use crate::name::{Account, Host, Node, Vantage};
use crate::time::Tick;

pub use scope::diagnose;

/// What is the matter, as of one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Whose fault.
    pub blame: Blame,
    /// Name of the blamed thing.
    pub subject: String,
    /// Which fault.
    pub fault: Fault,
    /// How much it matters.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// When it began.
    pub since: Tick,
    /// The first line of a page.
    pub summary: String,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// What is missing to be surer.
    pub missing: Vec<String>,
    /// The node concerned.
    pub node: Option<Node>,
    /// The host concerned.
    pub host: Option<Host>,
    /// The account concerned.
    pub account: Option<Account>,
    /// The address concerned.
    pub address: Option<Ipv4Addr>,
    /// Accounts that suffer.
    pub accounts: Vec<Account>,
    /// Vantages that suffer.
    pub vantages: Vec<Vantage>,
    /// What to type.
    pub repair: Option<Repair>,
}

impl Diagnosis {
    /// A diagnosis with nothing filled in but its name.
    pub fn new(blame: Blame, subject: impl Into<String>, named: table::Named, since: Tick) -> Self {
        Self {
            blame,
            subject: subject.into(),
            fault: named.fault,
            severity: named.severity,
            confidence: named.confidence,
            since,
            summary: String::new(),
            evidence: Vec::new(),
            missing: Vec::new(),
            node: None,
            host: None,
            account: None,
            address: None,
            accounts: Vec::new(),
            vantages: Vec::new(),
            repair: None,
        }
    }
}
