//! The table itself: signs in, name out. Exhaustive, pure, readable without the rest.
//!
//! One file per kind of thing; each holds its signs and its rows, in the order in which they
//! are asked. `None` = these signs name no fault of this blame (it is fine, or another row's
//! business). docs/faults.md prints all of it.

use super::rule::{self, Rule, Signs, sign_words};
use super::symptom::{LinkSign, Reach, Witnesses};
use crate::fault::{Confidence, Fault, Severity};
use crate::outcome::labels;

mod account;
mod host;
mod node;
mod quality;
mod vantage;

pub use account::{ACCOUNT, AccountSigns, account};
pub use host::{HOST, HostSigns, VMS, VmSigns, host, vms};
pub use node::{FILTER, FilterSigns, NODE, NodeSigns, filter, node};
pub use quality::{QUALITY, QualitySigns, quality};
pub use vantage::{
    LEASE, LeaseSigns, MONITOR, MonitorSigns, NETWORK, NetworkSigns, SERVER, SILENT, ServerSigns,
    SilentSigns, lease, monitor, network, server, silent_vantage,
};

/// A named fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Which.
    pub fault: Fault,
    /// How much it matters.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "rows of the table are Options; so each stays one call"
)]
const fn named(fault: Fault, severity: Severity, confidence: Confidence) -> Option<Named> {
    Some(Named {
        fault,
        severity,
        confidence,
    })
}

const fn critical(fault: Fault, confidence: Confidence) -> Option<Named> {
    named(fault, Severity::Critical, confidence)
}

const fn warning(fault: Fault, confidence: Confidence) -> Option<Named> {
    named(fault, Severity::Warning, confidence)
}

labels!(
    /// Whether a machine's own prober speaks.
    ProberSign {
        /// It reports, also after the onset.
        Reporting => "reporting",
        /// It fell silent together with the fault.
        FellSilent => "fell_silent",
        /// It was silent before, never spoke, or it is too early to tell.
        Absent => "absent",
    }
);

labels!(
    /// Who answers ARP for a node's address.
    ArpAnswer {
        /// Its owner, or nobody.
        Owner => "owner",
        /// Another machine than the node.
        Other => "other",
        /// Two machines.
        Two => "two",
    }
);

labels!(
    /// Room for new connections (conntrack, pf states).
    Room {
        /// Enough, or not known.
        Enough => "enough",
        /// 95 % of the limit or more is in use.
        Full => "full",
    }
);

labels!(
    /// What a host's packet filter looks like.
    FilterSign {
        /// As it should, or not known.
        Fine => "fine",
        /// The NAT rule of the PN is not there.
        NatMissing => "nat_missing",
        /// Anchor or table missing, empty or doubled, or the last load failed.
        Stale => "stale",
    }
);

labels!(
    /// What comes back on a connection that was accepted.
    AnswerSign {
        /// Nothing, rubbish, or an error of the server.
        Dead => "dead",
        /// Another tenant's answer.
        WrongTenant => "wrong_tenant",
        /// TLS fails.
        Tls => "tls",
        /// The name does not lead there.
        Name => "name",
    }
);

labels!(
    /// How much of a lease is left.
    LeaseSign {
        /// Enough: no renewal is overdue.
        Fresh => "fresh",
        /// A renewal was due.
        Overdue => "overdue",
        /// Several were due.
        Low => "low",
        /// It is about to end.
        Ending => "ending",
    }
);

labels!(
    /// What is wrong with paths that answer.
    Flaw {
        /// A quarter of the checks or more is lost.
        Lossy => "lossy",
        /// Reads of many segments stall while small answers come.
        LargeLost => "large_lost",
    }
);

labels!(
    /// Whom bad paths have in common.
    Scope {
        /// Almost everybody.
        Network => "network",
        /// One cache node.
        Node => "node",
        /// One host.
        Host => "host",
        /// One account.
        Account => "account",
    }
);

sign_words!(
    LinkSign, Reach, Witnesses, ProberSign, ArpAnswer, Room, FilterSign, AnswerSign, LeaseSign,
    Flaw, Scope
);

/// Shares of a lease at which its not being renewed informs, warns and pages.
pub const LEASE_INFO: f64 = 0.45;
/// See [`LEASE_INFO`].
pub const LEASE_WARNING: f64 = 0.30;
/// See [`LEASE_INFO`].
pub const LEASE_CRITICAL: f64 = 0.125;
/// Remaining seconds that page where they are under [`LEASE_WARNING`] of the lease.
pub const LEASE_CRITICAL_S: f64 = 1800.0;

/// Reads a lease by what is left of what was granted, in seconds.
///
/// A DHCP client renews at half of the lease (RFC 2131 §4.4.5), so that less than 45 % means a
/// renewal was due and did not happen.
pub fn lease_sign(remaining_s: f64, granted_s: f64) -> LeaseSign {
    if granted_s <= 0.0 {
        return LeaseSign::Fresh;
    }
    let left = remaining_s / granted_s;
    let soon = remaining_s <= LEASE_CRITICAL_S
        && left <= LEASE_WARNING
        && granted_s > LEASE_CRITICAL_S / LEASE_WARNING;
    if left <= LEASE_CRITICAL || soon {
        LeaseSign::Ending
    } else if left <= LEASE_WARNING {
        LeaseSign::Low
    } else if left <= LEASE_INFO {
        LeaseSign::Overdue
    } else {
        LeaseSign::Fresh
    }
}

/// One row of any table, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub id: &'static str,
    /// `sign = a|b` each.
    pub when: Vec<String>,
    /// What it names.
    pub names: Option<Named>,
    /// Why.
    pub because: &'static str,
}

fn lines<S: Signs>(rules: &[Rule<S>]) -> Vec<Line> {
    let line = |rule: &Rule<S>| Line {
        id: rule.id,
        when: rule
            .when
            .iter()
            .map(|c| format!("{} = {}", c.sign, (c.wants)()))
            .collect(),
        names: rule.names,
        because: rule.because,
    };
    rules.iter().map(line).collect()
}

/// Every table with its title, in the order in which they are asked.
pub fn tables() -> Vec<(&'static str, Vec<Line>)> {
    vec![
        ("the monitor", lines(MONITOR)),
        ("a host, by its own word and by comparison", lines(HOST)),
        ("the network", lines(NETWORK)),
        ("a cache node", lines(NODE)),
        ("a node's filter", lines(FILTER)),
        ("the VMs of a host", lines(VMS)),
        ("one account's target", lines(ACCOUNT)),
        ("a vantage that does not report", lines(SILENT)),
        ("the DHCP server", lines(SERVER)),
        ("one lease", lines(LEASE)),
        ("what is reached badly", lines(QUALITY)),
    ]
}

/// Signs, in words, under which the table of `rule` names something else without it: there its
/// text (`table.golden.txt`) changes.
pub fn missed_under(rule: &str) -> Option<String> {
    rule::missed_under(MONITOR, rule)
        .or_else(|| rule::missed_under(HOST, rule))
        .or_else(|| rule::missed_under(NETWORK, rule))
        .or_else(|| rule::missed_under(NODE, rule))
        .or_else(|| rule::missed_under(FILTER, rule))
        .or_else(|| rule::missed_under(VMS, rule))
        .or_else(|| rule::missed_under(ACCOUNT, rule))
        .or_else(|| rule::missed_under(SILENT, rule))
        .or_else(|| rule::missed_under(SERVER, rule))
        .or_else(|| rule::missed_under(LEASE, rule))
        .or_else(|| rule::missed_under(QUALITY, rule))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
