//! Cache nodes, and the filter of a node whose layer 2 answers.

use super::{ArpAnswer, Confidence, Fault, Named, ProberSign, Room, critical};
use crate::diagnosis::rule::{self, Rule, rules, signs};
use crate::diagnosis::symptom::{LinkSign, Reach, Witnesses};
use Confidence::{High, Low, Medium};

signs! {
    /// The signs of a cache node.
    NodeSigns {
        /// What it says of its own PN leg.
        link: LinkSign,
        /// Who answers ARP for its address.
        answer: ArpAnswer,
        /// Whether hosts reach it by ARP, since the onset.
        arp: Reach,
        /// Whether client vantages connect to any of its `NodePort`s, since the onset.
        ports: Reach,
        /// How many of its `NodePort`s have evidence.
        targets: Witnesses,
        /// Whether its own prober speaks.
        prober: ProberSign,
        /// Kubernetes says that it is not Ready.
        not_ready: bool,
        /// How many client vantages have evidence.
        witnesses: Witnesses,
        /// Room for new connections.
        states: Room,
    }
}

/// The rows of a cache node.
pub static NODE: &[Rule<NodeSigns>] = rules! { NodeSigns;
    "node_interface_missing" { link: LinkSign::InterfaceMissing, arp: Reach::Nobody | Reach::Unknown, ports: Reach::Nobody | Reach::Unknown }
        => critical(Fault::InterfaceMissing, High),
        "it says itself that its PN device is absent, and no check that started since contradicts";
    "node_address_lost" { link: LinkSign::AddressLost, arp: Reach::Nobody | Reach::Unknown, ports: Reach::Nobody | Reach::Unknown }
        => critical(Fault::AddressLost, High),
        "it says itself that its PN device has no address of the PN, and no check that started since contradicts";
    "node_no_carrier" { link: LinkSign::NoCarrier, arp: Reach::Nobody | Reach::Unknown, ports: Reach::Nobody | Reach::Unknown }
        => critical(Fault::L2Isolated, High),
        "it says itself that its PN device has no carrier, and no check that started since contradicts";
    "node_address_wrong" { link: LinkSign::AddressWrong, arp: Reach::Nobody | Reach::Unknown, ports: Reach::Nobody | Reach::Unknown }
        => critical(Fault::AddressWrong, High),
        "it says itself that it holds another address than the one handed out, and nobody reaches that one";
    "node_address_wrong_answered" { link: LinkSign::AddressWrong }
        => critical(Fault::AddressWrong, Medium),
        "it holds another address than the one handed out; who answers for that one is somebody else";
    "node_route_wrong" { link: LinkSign::RouteWrong, ports: Reach::Nobody }
        => critical(Fault::RouteWrong, High),
        "PN traffic leaves it by another device than the PN's, and nobody connects";
    "node_address_conflict" { answer: ArpAnswer::Two }
        => critical(Fault::AddressConflict, High),
        "two machines answer ARP for its address: whether connections pass through is chance";
    "node_answered_by_other" { answer: ArpAnswer::Other }
        => critical(Fault::AnsweredByOther, High),
        "the MAC that answers for its address is not the one its own prober reports";
    "node_arp_filtered" { arp: Reach::Nobody, ports: Reach::All | Reach::Some }
        => None,
        "ARP is silent while connections succeed: ARP alone is filtered, and no build suffers";
    "node_l2_isolated" { link: LinkSign::Fine | LinkSign::RouteWrong, arp: Reach::Nobody, witnesses: Witnesses::Many }
        => critical(Fault::L2Isolated, Medium),
        "every local fact is right, and layer 2 is silent for several witnesses";
    "node_l2_isolated_one_witness" { link: LinkSign::Fine | LinkSign::RouteWrong, arp: Reach::Nobody }
        => critical(Fault::NodeUnreachable, Low),
        "every local fact is right and layer 2 is silent, but for one witness, which may itself be cut off";
    "node_down_not_ready" { arp: Reach::Nobody, prober: ProberSign::FellSilent, not_ready: true }
        => critical(Fault::NodeDown, High),
        "layer 2 and its prober fell silent together, and Kubernetes misses it too";
    "node_down" { arp: Reach::Nobody, prober: ProberSign::FellSilent }
        => critical(Fault::NodeDown, Medium),
        "layer 2 and its prober fell silent together";
    "node_down_by_kubernetes" { arp: Reach::Nobody, not_ready: true }
        => critical(Fault::NodeDown, Medium),
        "layer 2 is silent, and Kubernetes misses it too";
    "node_unreachable" { arp: Reach::Nobody, witnesses: Witnesses::Many }
        => critical(Fault::NodeUnreachable, Medium),
        "nobody reaches it by ARP, and it does not speak: interface, address, layer 2 or the node itself";
    "node_unreachable_one_witness" { arp: Reach::Nobody }
        => critical(Fault::NodeUnreachable, Low),
        "its only witness does not reach it by ARP, and it does not speak";
    "node_states_full" { arp: Reach::All | Reach::Some | Reach::Unknown, ports: Reach::Nobody, states: Room::Full }
        => critical(Fault::StateExhausted, High),
        "nobody connects any more, and its table of connections is full";
    "node_nodeport_not_served" { arp: Reach::All | Reach::Some, ports: Reach::Nobody, targets: Witnesses::Many, witnesses: Witnesses::Many }
        => critical(Fault::NodeportNotServed, Medium),
        "layer 2 answers, and not one of several NodePorts does, for several witnesses";
    "node_nodeport_not_served_one_witness" { arp: Reach::All | Reach::Some, ports: Reach::Nobody, targets: Witnesses::Many }
        => critical(Fault::NodeportNotServed, Low),
        "layer 2 answers, and not one of several NodePorts does, for the only witness";
    "node_ports_dead_without_arp" { arp: Reach::Unknown, ports: Reach::Nobody, targets: Witnesses::Many }
        => critical(Fault::NodeUnreachable, Low),
        "several NodePorts are dead, and nobody can say anything of layer 2";
};

/// Names the fault of a cache node.
pub fn node(signs: NodeSigns) -> Option<Named> {
    rule::named(NODE, &signs)
}

signs! {
    /// The signs of a node whose layer 2 answers, over its `NodePort`s.
    FilterSigns {
        /// Accounts whose ports fell silent together, for everybody, without a word back.
        silent: Witnesses,
        /// Whether other ports of the same address answer.
        others_answer: bool,
        /// Whether all of them are gateways.
        gateways: bool,
        /// How many client vantages miss them.
        witnesses: Witnesses,
    }
}

/// The rows of a node's filter.
pub static FILTER: &[Rule<FilterSigns>] = rules! { FilterSigns;
    "node_gateways_filtered" { silent: Witnesses::Many, others_answer: true, gateways: true }
        => critical(Fault::GatewayBroken, Medium),
        "the gateways of several accounts fell silent together, while NodePorts of the same address answer";
    "node_ports_filtered" { silent: Witnesses::Many, others_answer: true, witnesses: Witnesses::Many }
        => critical(Fault::PortFiltered, Medium),
        "ports of several accounts fell silent together for several witnesses, while others of the same address answer";
    "node_ports_filtered_one_witness" { silent: Witnesses::Many, others_answer: true }
        => critical(Fault::PortFiltered, Low),
        "ports of several accounts fell silent together for the only witness, while others of the same address answer";
};

/// Names a node's filter.
pub fn filter(signs: FilterSigns) -> Option<Named> {
    rule::named(FILTER, &signs)
}
