//! Vantages that fall silent, leases that run out, a monitor that sees nothing, and the network.

use super::{Confidence, Fault, LeaseSign, Named, Severity, critical, named, warning};
use crate::diagnosis::rule::{self, Rule, rules, signs};
use crate::diagnosis::symptom::{Reach, Witnesses};
use Confidence::{High, Low, Medium};

signs! {
    /// The signs of a vantage that does not report.
    SilentSigns {
        /// Whether neighbours hear its machine.
        heard: Reach,
    }
}

/// The rows of a vantage that does not report.
pub static SILENT: &[Rule<SilentSigns>] = rules! { SilentSigns;
    "vantage_lost" { heard: Reach::Nobody }
        => warning(Fault::VantageLost, Medium),
        "it does not report, and no neighbour hears its machine";
    "vantage_silent" { heard: Reach::All | Reach::Some }
        => warning(Fault::VantageSilent, High),
        "it does not report, but its machine answers on the PN";
    "vantage_silent_unheard" { heard: Reach::Unknown }
        => warning(Fault::VantageSilent, Low),
        "it does not report, and nobody can say whether its machine lives";
};

/// Names a vantage that does not report. `heard`: whether neighbours hear its machine.
pub fn silent_vantage(heard: Reach) -> Option<Named> {
    rule::named(SILENT, &SilentSigns { heard })
}

signs! {
    /// The signs of one lease.
    LeaseSigns {
        /// How much of it is left.
        left: LeaseSign,
        /// Whether the DHCP server is silent for several machines: then it is theirs together.
        server_silent: bool,
    }
}

/// The rows of one lease.
pub static LEASE: &[Rule<LeaseSigns>] = rules! { LeaseSigns;
    "lease_of_silent_server" { server_silent: true }
        => None,
        "the DHCP server is silent for several machines: one finding of the network, not one of each";
    "lease_ending" { left: LeaseSign::Ending }
        => critical(Fault::LeaseNotRenewed, High),
        "12.5 % of the lease or less is left (or 30 minutes, where that is under 30 %)";
    "lease_low" { left: LeaseSign::Low }
        => warning(Fault::LeaseNotRenewed, High),
        "30 % of the lease or less is left: several renewals were due";
    "lease_overdue" { left: LeaseSign::Overdue }
        => named(Fault::LeaseNotRenewed, Severity::Info, High),
        "45 % of the lease or less is left: a renewal was due at half of it (RFC 2131)";
};

/// Names one lease.
pub fn lease(signs: LeaseSigns) -> Option<Named> {
    rule::named(LEASE, &signs)
}

signs! {
    /// The signs of a DHCP server.
    ServerSigns {
        /// Machines whose leases are overdue.
        overdue: Witnesses,
        /// The worst of these leases.
        worst: LeaseSign,
        /// Some machine's lease was renewed since the first of them should have been.
        answered: bool,
        /// Requests stay without answers on the wire.
        unanswered: bool,
    }
}

/// The rows of a DHCP server.
pub static SERVER: &[Rule<ServerSigns>] = rules! { ServerSigns;
    "dhcp_answers" { answered: true }
        => None,
        "the server has renewed a lease since the first of these should have been";
    "dhcp_silent_ending" { overdue: Witnesses::Many, worst: LeaseSign::Ending }
        => critical(Fault::DhcpSilent, High),
        "several machines' leases are overdue, and the first is about to end";
    "dhcp_silent_low" { overdue: Witnesses::Many, worst: LeaseSign::Low }
        => warning(Fault::DhcpSilent, High),
        "several machines' leases are overdue, and one has 30 % or less left";
    "dhcp_silent_seen" { overdue: Witnesses::Many, unanswered: true }
        => named(Fault::DhcpSilent, Severity::Info, High),
        "several machines' leases are overdue, and requests stay without answers on the wire";
    "dhcp_silent" { overdue: Witnesses::Many }
        => named(Fault::DhcpSilent, Severity::Info, Medium),
        "several machines' leases are overdue";
};

/// Names a silent DHCP server.
pub fn server(signs: ServerSigns) -> Option<Named> {
    rule::named(SERVER, &signs)
}

signs! {
    /// The signs of a network that may be down.
    NetworkSigns {
        /// Whether hosts reach any node by ARP, since the onset.
        nodes: Reach,
        /// Whether hosts reach one another by ARP, since the onset.
        peers: Reach,
        /// Whether any connection succeeds since.
        connects: bool,
        /// How many hosts say so.
        witnesses: Witnesses,
        /// There are three or more of them.
        crowd: bool,
    }
}

/// The rows of the network.
pub static NETWORK: &[Rule<NetworkSigns>] = rules! { NetworkSigns;
    "network_alive" { connects: true }
        => None,
        "a connection succeeds since: ARP alone is filtered";
    "network_down" { nodes: Reach::Nobody, peers: Reach::Nobody, witnesses: Witnesses::Many, crowd: true }
        => critical(Fault::NetworkDown, High),
        "three hosts or more reach neither nodes nor one another";
    "network_down_two_witnesses" { nodes: Reach::Nobody, peers: Reach::Nobody, witnesses: Witnesses::Many }
        => critical(Fault::NetworkDown, Medium),
        "two hosts reach neither nodes nor one another";
};

/// Names the network.
pub fn network(signs: NetworkSigns) -> Option<Named> {
    rule::named(NETWORK, &signs)
}

signs! {
    /// The signs of a monitor that may be blind.
    MonitorSigns {
        /// Whether any expected host reports.
        hosts_report: bool,
        /// Whether all of them have been silent for long enough to count.
        all_silent: bool,
        /// Whether that has gone on for long enough to page.
        for_long: bool,
    }
}

/// The rows of the monitor itself.
pub static MONITOR: &[Rule<MonitorSigns>] = rules! { MonitorSigns;
    "monitor_blind_for_long" { hosts_report: false, all_silent: true, for_long: true }
        => critical(Fault::MonitorBlind, High),
        "no expected host has reported for ten minutes";
    "monitor_blind" { hosts_report: false, all_silent: true }
        => warning(Fault::MonitorBlind, High),
        "no expected host reports: nothing can be said of any path";
};

/// Names a blind monitor.
pub fn monitor(signs: MonitorSigns) -> Option<Named> {
    rule::named(MONITOR, &signs)
}
