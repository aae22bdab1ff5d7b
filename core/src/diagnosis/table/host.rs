//! Mac hosts by themselves, and as their VMs feel them.

use super::{Confidence, Fault, FilterSign, Named, Room, critical, warning};
use crate::diagnosis::rule::{self, Rule, rules, signs};
use crate::diagnosis::symptom::{LinkSign, Reach};
use Confidence::{High, Low, Medium};

signs! {
    /// The signs of a Mac host.
    HostSigns {
        /// The operating system denies its prober the local network.
        denied: bool,
        /// What it says of its own PN leg.
        link: LinkSign,
        /// Whether others reach what it does not.
        others: Reach,
        /// Whether it reaches anything by ARP.
        arp: Reach,
        /// Whether it connects to any `NodePort` that others reach.
        ports: Reach,
        /// Whether its control answers.
        control: Reach,
        /// Room for new connections in its packet filter.
        states: Room,
    }
}

/// The rows of a Mac host.
pub static HOST: &[Rule<HostSigns>] = rules! { HostSigns;
    "host_denied" { denied: true }
        => warning(Fault::LocalNetworkDenied, High),
        "the operating system denies this process the local network: the prober is blind, builds are not touched";
    "host_interface_missing" { link: LinkSign::InterfaceMissing, arp: Reach::Nobody | Reach::Unknown, ports: Reach::Nobody | Reach::Unknown }
        => critical(Fault::InterfaceMissing, High),
        "it says itself that its PN device is absent, and none of its checks succeeds since";
    "host_address_lost" { link: LinkSign::AddressLost, arp: Reach::Nobody | Reach::Unknown, ports: Reach::Nobody | Reach::Unknown }
        => critical(Fault::AddressLost, High),
        "it says itself that it has no address of the PN, and none of its checks succeeds since";
    "host_no_carrier" { link: LinkSign::NoCarrier, arp: Reach::Nobody | Reach::Unknown, ports: Reach::Nobody | Reach::Unknown }
        => critical(Fault::L2Isolated, High),
        "it says itself that its PN device has no carrier, and none of its checks succeeds since";
    "host_route_wrong" { link: LinkSign::RouteWrong, ports: Reach::Nobody }
        => critical(Fault::RouteWrong, High),
        "PN traffic leaves it by another device than the PN's, and it connects nowhere";
    "host_states_full" { arp: Reach::All | Reach::Some | Reach::Unknown, ports: Reach::Nobody, states: Room::Full }
        => critical(Fault::StateExhausted, High),
        "it connects nowhere any more, and its table of states is full";
    "host_alone" { others: Reach::Nobody | Reach::Unknown }
        => None,
        "nobody else reaches what it misses: without a second witness the target is as likely to blame";
    "host_lost" { arp: Reach::Nobody | Reach::Unknown, ports: Reach::Nobody, control: Reach::Nobody }
        => warning(Fault::VantageLost, Medium),
        "nothing answers it, not even what lies off the PN, while others are fine";
    "host_lost_without_ports" { arp: Reach::Nobody, ports: Reach::Unknown, control: Reach::Nobody }
        => warning(Fault::VantageLost, Medium),
        "ARP and what lies off the PN are silent for it, while others are fine";
    "host_l2_isolated" { arp: Reach::Nobody, ports: Reach::Nobody | Reach::Unknown }
        => critical(Fault::L2Isolated, Medium),
        "layer 2 is silent for it alone";
    "host_ports_filtered" { ports: Reach::Nobody }
        => critical(Fault::PortFiltered, Medium),
        "ARP answers it, and it connects nowhere where others do";
    "host_some_ports_filtered" { arp: Reach::All | Reach::Some | Reach::Unknown, ports: Reach::Some }
        => critical(Fault::PortFiltered, Low),
        "it fails to connect to some of what others reach";
};

/// Names the fault of a Mac host.
pub fn host(signs: HostSigns) -> Option<Named> {
    rule::named(HOST, &signs)
}

signs! {
    /// The signs of a host's VMs, taken together.
    VmSigns {
        /// Whether they connect to any `NodePort`.
        ports: Reach,
        /// Whether their host connects to what they do not.
        host: Reach,
        /// Whether their control (the internet) answers.
        control: Reach,
        /// What the host's packet filter looks like.
        filter: FilterSign,
        /// Room for new connections in it.
        states: Room,
    }
}

/// The rows of a host as its VMs feel it.
pub static VMS: &[Rule<VmSigns>] = rules! { VmSigns;
    "vms_states_full" { ports: Reach::Nobody, host: Reach::All | Reach::Some, states: Room::Full }
        => critical(Fault::StateExhausted, High),
        "its VMs' new connections die, and the host's table of states is full";
    "vms_network_dead" { ports: Reach::Nobody, host: Reach::All | Reach::Some, control: Reach::Nobody }
        => critical(Fault::VmNetworkDead, High),
        "its VMs reach neither NodePorts nor the internet, while the host connects";
    "vms_filter_stale" { ports: Reach::Nobody, host: Reach::All | Reach::Some, filter: FilterSign::Stale }
        => critical(Fault::FilterStale, High),
        "its VMs connect nowhere, and the host's packet filter keeps an old, empty or doubled rule set";
    "vms_nat_missing" { ports: Reach::Nobody, host: Reach::All | Reach::Some, control: Reach::All | Reach::Some }
        => critical(Fault::VmNatMissing, High),
        "its VMs have the internet and no NodePort, while the host connects";
    "vms_nat_rule_missing" { ports: Reach::Nobody, host: Reach::All | Reach::Some, filter: FilterSign::NatMissing }
        => critical(Fault::VmNatMissing, High),
        "its VMs connect nowhere, and the host's NAT rule for the PN is not there";
    "vms_nat_missing_without_control" { ports: Reach::Nobody, host: Reach::All | Reach::Some, control: Reach::Unknown }
        => critical(Fault::VmNatMissing, Medium),
        "its VMs connect nowhere, while the host connects; nobody knows of their internet";
    "vms_unproven" { ports: Reach::Nobody }
        => None,
        "the host itself does not connect, or some VM's internet is uncertain: others are asked first";
    "filter_stale" { filter: FilterSign::Stale | FilterSign::NatMissing }
        => warning(Fault::FilterStale, High),
        "the host's packet filter is missing, empty, doubled or its last load failed; no VM suffers yet";
};

/// Names the fault of a host as its VMs feel it.
pub fn vms(signs: VmSigns) -> Option<Named> {
    rule::named(VMS, &signs)
}
