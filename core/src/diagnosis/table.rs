//! The table itself: signs in, name out. Exhaustive, pure, readable without the rest.
//!
//! `None` = these signs name no fault of this blame (it is fine, or another row's business).

use super::symptom::{LinkSign, Reach, Witnesses};
use crate::fault::{Confidence, Fault, Severity};
use crate::outcome::labels;

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

/// The signs of a cache node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeSigns {
    /// What it says of its own PN leg.
    pub link: LinkSign,
    /// Whether hosts reach it by ARP, since the onset.
    pub arp: Reach,
    /// Who answers ARP for its address.
    pub answer: ArpAnswer,
    /// Whether client vantages connect to any of its `NodePort`s, since the onset.
    pub ports: Reach,
    /// How many of its `NodePort`s have evidence.
    pub targets: Witnesses,
    /// How many client vantages have evidence.
    pub witnesses: Witnesses,
    /// Whether its own prober speaks.
    pub prober: ProberSign,
    /// Kubernetes says that it is not Ready.
    pub not_ready: bool,
}

/// Names the fault of a cache node.
pub fn node(signs: NodeSigns) -> Option<Named> {
    use Confidence::{High, Low, Medium};
    use Reach::{All, Nobody, Some, Unknown};
    let touched = matches!(signs.arp, All | Some) || matches!(signs.ports, All | Some);
    match (signs.link, signs.arp, signs.ports) {
        // Its own word on its own link; a success since then contradicts it.
        (LinkSign::InterfaceMissing, ..) if !touched => critical(Fault::InterfaceMissing, High),
        (LinkSign::AddressLost, ..) if !touched => critical(Fault::AddressLost, High),
        (LinkSign::NoCarrier, ..) if !touched => critical(Fault::L2Isolated, High),
        // Somebody may still answer for the label's address: it is wrong either way.
        (LinkSign::AddressWrong, ..) => {
            critical(Fault::AddressWrong, if touched { Medium } else { High })
        }
        (LinkSign::RouteWrong, _, Nobody) => critical(Fault::RouteWrong, High),
        // Somebody else answers: whether connections pass through is chance.
        _ if signs.answer == ArpAnswer::Two => critical(Fault::AddressConflict, High),
        _ if signs.answer == ArpAnswer::Other => critical(Fault::AnsweredByOther, High),
        // ARP silent while a connection succeeds: ARP alone is filtered, nobody suffers.
        (_, Nobody, All | Some) => None,
        // Every local fact is right, and layer 2 is silent.
        (LinkSign::Fine | LinkSign::RouteWrong, Nobody, _) => match signs.witnesses {
            Witnesses::Many => critical(Fault::L2Isolated, Medium),
            _ => critical(Fault::NodeUnreachable, Low),
        },
        // Nobody reaches it and it does not speak.
        (_, Nobody, _) => match (signs.prober, signs.witnesses) {
            (ProberSign::FellSilent, _) => {
                critical(Fault::NodeDown, if signs.not_ready { High } else { Medium })
            }
            _ if signs.not_ready => critical(Fault::NodeDown, Medium),
            (_, Witnesses::Many) => critical(Fault::NodeUnreachable, Medium),
            _ => critical(Fault::NodeUnreachable, Low),
        },
        // Layer 2 answers, and not one of several ports does.
        (_, All | Some, Nobody) if signs.targets == Witnesses::Many => critical(
            Fault::NodeportNotServed,
            if signs.witnesses == Witnesses::Many {
                Medium
            } else {
                Low
            },
        ),
        // No layer-2 evidence at all, several ports dead.
        (_, Unknown, Nobody) if signs.targets == Witnesses::Many => {
            critical(Fault::NodeUnreachable, Low)
        }
        _ => None,
    }
}

/// The signs of a node whose layer 2 answers, over its `NodePort`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterSigns {
    /// Accounts whose ports fell silent together, for everybody, without a word back.
    pub silent: Witnesses,
    /// Whether other ports of the same address answer.
    pub others_answer: bool,
    /// How many client vantages miss them.
    pub witnesses: Witnesses,
}

/// Names a node's filter.
pub fn filter(signs: FilterSigns) -> Option<Named> {
    use Confidence::{Low, Medium};
    if signs.silent != Witnesses::Many || !signs.others_answer {
        return None;
    }
    let surer = signs.witnesses == Witnesses::Many;
    critical(Fault::PortFiltered, if surer { Medium } else { Low })
}

/// The signs of a Mac host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostSigns {
    /// What it says of its own PN leg.
    pub link: LinkSign,
    /// Whether it reaches anything by ARP.
    pub arp: Reach,
    /// Whether it connects to any `NodePort` that others reach.
    pub ports: Reach,
    /// Whether others reach what it does not.
    pub others: Reach,
    /// Whether its control answers.
    pub control: Reach,
    /// The operating system denies its prober the local network.
    pub denied: bool,
}

/// Names the fault of a Mac host.
pub fn host(signs: HostSigns) -> Option<Named> {
    use Confidence::{High, Low, Medium};
    use Reach::{All, Nobody, Some, Unknown};
    let touched = matches!(signs.arp, All | Some) || matches!(signs.ports, All | Some);
    let warning = |fault, confidence| named(fault, Severity::Warning, confidence);
    match (signs.link, signs.arp, signs.ports, signs.control) {
        _ if signs.denied => warning(Fault::LocalNetworkDenied, High),
        (LinkSign::InterfaceMissing, ..) if !touched => critical(Fault::InterfaceMissing, High),
        (LinkSign::AddressLost, ..) if !touched => critical(Fault::AddressLost, High),
        (LinkSign::NoCarrier, ..) if !touched => critical(Fault::L2Isolated, High),
        (LinkSign::RouteWrong, _, Nobody, _) => critical(Fault::RouteWrong, High),
        // Without a second witness the target is as likely to blame.
        _ if !matches!(signs.others, All | Some) => None,
        // Nothing answers it, not even what lies off the PN.
        (_, Nobody | Unknown, Nobody, Nobody) | (_, Nobody, Unknown, Nobody) => {
            warning(Fault::VantageLost, Medium)
        }
        (_, Nobody, Nobody | Unknown, _) => critical(Fault::L2Isolated, Medium),
        (_, _, Nobody, _) => critical(Fault::PortFiltered, Medium),
        // ARP silent and some connections through: it is coming or going, or ARP alone is lost.
        (_, All | Some | Unknown, Some, _) => critical(Fault::PortFiltered, Low),
        _ => None,
    }
}

labels!(
    /// What comes back on a connection that was accepted.
    AnswerSign {
        /// Nothing, rubbish, or an error of the server.
        Dead => "dead",
        /// Another tenant's answer.
        WrongTenant => "wrong_tenant",
    }
);

/// The signs of one account target whose node is not to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountSigns {
    /// Whether client vantages connect.
    pub tcp: Reach,
    /// Whether `/up` answers them rightly.
    pub http: Reach,
    /// What comes back where it does not.
    pub answer: AnswerSign,
    /// Draining, rolling, paused or in maintenance, before the deadline.
    pub excused: bool,
    /// How many client vantages have evidence.
    pub witnesses: Witnesses,
}

/// Names the fault of one account.
pub fn account(signs: AccountSigns) -> Option<Named> {
    use Confidence::{High, Low, Medium};
    use Reach::{All, Nobody, Some};
    let many = signs.witnesses == Witnesses::Many;
    match (signs.tcp, signs.http, signs.answer) {
        // The right port of the wrong tenant is never part of a drain.
        (All | Some, Nobody, AnswerSign::WrongTenant) => critical(Fault::WrongTenant, High),
        (Nobody, _, _) | (All | Some, Nobody, _) if signs.excused => {
            named(Fault::Draining, Severity::Info, High)
        }
        (All | Some, Nobody, AnswerSign::Dead) => {
            critical(Fault::PodDead, if many { High } else { Medium })
        }
        (Nobody, _, _) => critical(Fault::AccountUnreachable, if many { Medium } else { Low }),
        _ => None,
    }
}

/// The signs of a host's VMs, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmSigns {
    /// Whether they connect to any `NodePort`.
    pub ports: Reach,
    /// Whether their control (the internet) answers.
    pub control: Reach,
    /// Whether their host connects to what they do not.
    pub host: Reach,
}

/// Names the fault of a host as its VMs feel it.
pub fn vms(signs: VmSigns) -> Option<Named> {
    use Confidence::{High, Medium};
    match (signs.ports, signs.host, signs.control) {
        (Reach::Nobody, Reach::All | Reach::Some, Reach::Nobody) => {
            critical(Fault::VmNetworkDead, High)
        }
        (Reach::Nobody, Reach::All | Reach::Some, Reach::All | Reach::Some) => {
            critical(Fault::VmNatMissing, High)
        }
        (Reach::Nobody, Reach::All | Reach::Some, Reach::Unknown) => {
            critical(Fault::VmNatMissing, Medium)
        }
        _ => None,
    }
}

/// Names a vantage that does not report. `heard`: whether neighbours hear its machine.
pub fn silent_vantage(heard: Reach) -> Named {
    let (fault, confidence) = match heard {
        Reach::Nobody => (Fault::VantageLost, Confidence::Medium),
        Reach::All | Reach::Some => (Fault::VantageSilent, Confidence::High),
        Reach::Unknown => (Fault::VantageSilent, Confidence::Low),
    };
    Named {
        fault,
        severity: Severity::Warning,
        confidence,
    }
}

/// Shares of a lease at which its not being renewed informs, warns and pages.
pub const LEASE_INFO: f64 = 0.45;
/// See [`LEASE_INFO`].
pub const LEASE_WARNING: f64 = 0.30;
/// See [`LEASE_INFO`].
pub const LEASE_CRITICAL: f64 = 0.125;
/// Remaining seconds that page where they are under [`LEASE_WARNING`] of the lease.
pub const LEASE_CRITICAL_S: f64 = 1800.0;

/// Names a lease by what is left of what was granted, in seconds.
///
/// A DHCP client renews at half of the lease (RFC 2131 §4.4.5), so that less than 45 % means a
/// renewal was due and did not happen.
pub fn lease(remaining_s: f64, granted_s: f64) -> Option<Named> {
    if granted_s <= 0.0 {
        return None;
    }
    let left = remaining_s / granted_s;
    let fault = Fault::LeaseNotRenewed;
    if left <= LEASE_CRITICAL
        || (remaining_s <= LEASE_CRITICAL_S
            && left <= LEASE_WARNING
            && granted_s > LEASE_CRITICAL_S / LEASE_WARNING)
    {
        critical(fault, Confidence::High)
    } else if left <= LEASE_WARNING {
        named(fault, Severity::Warning, Confidence::High)
    } else if left <= LEASE_INFO {
        named(fault, Severity::Info, Confidence::High)
    } else {
        None
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
