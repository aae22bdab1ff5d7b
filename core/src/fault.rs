//! The table of faults: one row each, feeding diagnosis, rules, runbooks, docs and metrics.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::outcome::labels;

mod rows;
pub use rows::{Proof, ROWS, Row};

labels!(
    /// Whose fault it is.
    Blame {
        /// The private network itself.
        Network => "network",
        /// A cache node.
        Node => "node",
        /// One account's pod or endpoint.
        Account => "account",
        /// A Mac host.
        Host => "host",
        /// A vantage, without harm to builds.
        Vantage => "vantage",
        /// Kubernetes objects or their controllers.
        ControlPlane => "control_plane",
        /// pnwatch itself.
        Monitor => "monitor",
    }
);

labels!(
    /// How much it matters, in rising order.
    Severity {
        /// To know, never to page.
        Info => "info",
        /// To look at in working hours.
        Warning => "warning",
        /// A page.
        Critical => "critical",
    }
);

labels!(
    /// How sure the diagnosis is, in rising order.
    Confidence {
        /// One witness, or evidence that several faults share.
        Low => "low",
        /// The scope is clear, the cause is inferred.
        Medium => "medium",
        /// The cause itself was measured.
        High => "high",
    }
);

labels!(
    /// Which fault: the metric label `fault`.
    Fault {
        /// F1, F10.
        InterfaceMissing => "interface_missing",
        /// F2, F11.
        AddressLost => "address_lost",
        /// F2a.
        LeaseNotRenewed => "lease_not_renewed",
        /// F3, F9.
        VmNatMissing => "vm_nat_missing",
        /// F4.
        FilterStale => "filter_stale",
        /// F6.
        NotDispatched => "not_dispatched",
        /// F7.
        VmNetworkDead => "vm_network_dead",
        /// F8.
        VantageSilent => "vantage_silent",
        /// F12.
        PortFiltered => "port_filtered",
        /// F13.
        LocalNetworkDenied => "local_network_denied",
        /// F16.
        Shedding => "shedding",
        /// F17.
        PodDead => "pod_dead",
        /// F18.
        StatusStale => "status_stale",
        /// F19.
        EndpointStale => "endpoint_stale",
        /// F20.
        Draining => "draining",
        /// F21.
        AddressWrong => "address_wrong",
        /// F22.
        AddressConflict => "address_conflict",
        /// F23.
        WrongTenant => "wrong_tenant",
        /// F24.
        VantageLost => "vantage_lost",
        /// F25.
        Saturated => "saturated",
        /// F26.
        BindingMissing => "binding_missing",
        /// F27.
        NeverReady => "never_ready",
        /// F28.
        DuplicateClaim => "duplicate_claim",
        /// F29.
        NodeDown => "node_down",
        /// F30.
        NodeportNotServed => "nodeport_not_served",
        /// F31.
        NetworkDown => "network_down",
        /// F32.
        L2Isolated => "l2_isolated",
        /// F33.
        DhcpSilent => "dhcp_silent",
        /// F34.
        AnsweredByOther => "answered_by_other",
        /// F35.
        Lossy => "lossy",
        /// F36.
        LargePacketsLost => "large_packets_lost",
        /// F37.
        StateExhausted => "state_exhausted",
        /// F38.
        RouteWrong => "route_wrong",
        /// F39.
        GatewayBroken => "gateway_broken",
        /// F40.
        MonitorBlind => "monitor_blind",
        /// F1, F2, F29 or F32 while the node's own evidence is missing.
        NodeUnreachable => "node_unreachable",
        /// F12, F17 or F19 while the evidence that tells them apart is missing.
        AccountUnreachable => "account_unreachable",
        /// Correlation alone: no client vantage to confirm.
        TrafficSilent => "traffic_silent",
        /// Unexplained bad events burn the budget.
        BudgetBurn => "budget_burn",
    }
);

macro_rules! label_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_label())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::from_label(&text).ok_or_else(|| {
                    serde::de::Error::custom(format!(
                        "{text:?} is no {}",
                        stringify!($name).to_ascii_lowercase()
                    ))
                })
            }
        }
    };
}
label_serde!(Blame);
label_serde!(Severity);
label_serde!(Confidence);
label_serde!(Fault);

labels!(
    /// The names of alerts: one per group of faults, each with a runbook.
    Alert {
        /// A cache node cannot be reached on the PN.
        NodeUnreachable => "PNNodeUnreachable",
        /// A lease is past its renewal.
        LeaseNotRenewed => "PNLeaseNotRenewed",
        /// Builds on one host cannot reach the PN.
        HostPathBroken => "PNHostPathBroken",
        /// An account's endpoint is not in use although it works.
        EndpointNotDispatched => "PNEndpointNotDispatched",
        /// A vantage does not report, or reports only failure of itself.
        VantageSilent => "PNVantageSilent",
        /// One account's cache cannot be reached on the PN.
        AccountUnreachable => "PNAccountUnreachable",
        /// Reached, but badly.
        Degraded => "PNDegraded",
        /// Kubernetes objects contradict one another or stand still.
        ControlPlaneStale => "PNControlPlaneStale",
        /// Two machines hold one address.
        AddressConflict => "PNAddressConflict",
        /// An account's endpoint answers for another tenant.
        WrongTenant => "PNWrongTenant",
        /// A link or cap is full.
        Saturated => "PNSaturated",
        /// The PN itself is down.
        NetworkDown => "PNNetworkDown",
        /// pnwatch cannot see.
        MonitorBlind => "PNMonitorBlind",
        /// Traffic stopped, without a client vantage to confirm.
        TrafficSilent => "PNTrafficSilent",
        /// The error budget burns.
        BudgetBurn => "PNBudgetBurn",
    }
);
label_serde!(Alert);

impl Fault {
    /// The incident ids of this fault in docs/faults.md.
    pub fn ids(self) -> &'static [&'static str] {
        match self {
            Self::InterfaceMissing => &["F1", "F10"],
            Self::AddressLost => &["F2", "F11"],
            Self::LeaseNotRenewed => &["F2a"],
            Self::VmNatMissing => &["F3", "F9"],
            Self::FilterStale => &["F4"],
            Self::NotDispatched => &["F6"],
            Self::VmNetworkDead => &["F7"],
            Self::VantageSilent => &["F8"],
            Self::PortFiltered => &["F12"],
            Self::LocalNetworkDenied => &["F13"],
            Self::Shedding => &["F16"],
            Self::PodDead => &["F17"],
            Self::StatusStale => &["F18"],
            Self::EndpointStale => &["F19"],
            Self::Draining => &["F20"],
            Self::AddressWrong => &["F21"],
            Self::AddressConflict => &["F22"],
            Self::WrongTenant => &["F23"],
            Self::VantageLost => &["F24"],
            Self::Saturated => &["F25"],
            Self::BindingMissing => &["F26"],
            Self::NeverReady => &["F27"],
            Self::DuplicateClaim => &["F28"],
            Self::NodeDown => &["F29"],
            Self::NodeportNotServed => &["F30"],
            Self::NetworkDown => &["F31"],
            Self::L2Isolated => &["F32"],
            Self::DhcpSilent => &["F33"],
            Self::AnsweredByOther => &["F34"],
            Self::Lossy => &["F35"],
            Self::LargePacketsLost => &["F36"],
            Self::StateExhausted => &["F37"],
            Self::RouteWrong => &["F38"],
            Self::GatewayBroken => &["F39"],
            Self::MonitorBlind => &["F40"],
            Self::NodeUnreachable
            | Self::AccountUnreachable
            | Self::TrafficSilent
            | Self::BudgetBurn => &[],
        }
    }

    /// The alert of this fault under `blame`; `None` for faults that never alert.
    pub fn alert(self, blame: Blame) -> Option<Alert> {
        Some(match self {
            Self::LeaseNotRenewed | Self::DhcpSilent => Alert::LeaseNotRenewed,
            Self::VmNatMissing | Self::FilterStale | Self::VmNetworkDead => Alert::HostPathBroken,
            Self::NotDispatched => Alert::EndpointNotDispatched,
            Self::VantageSilent | Self::VantageLost | Self::LocalNetworkDenied => {
                Alert::VantageSilent
            }
            Self::Shedding | Self::Lossy | Self::LargePacketsLost => Alert::Degraded,
            Self::PodDead | Self::EndpointStale | Self::NeverReady | Self::AccountUnreachable => {
                Alert::AccountUnreachable
            }
            Self::StatusStale | Self::BindingMissing | Self::DuplicateClaim => {
                Alert::ControlPlaneStale
            }
            Self::Draining => return None,
            Self::AddressConflict | Self::AnsweredByOther => Alert::AddressConflict,
            Self::WrongTenant => Alert::WrongTenant,
            Self::Saturated => Alert::Saturated,
            Self::NodeDown
            | Self::NodeportNotServed
            | Self::AddressWrong
            | Self::NodeUnreachable => Alert::NodeUnreachable,
            Self::NetworkDown => Alert::NetworkDown,
            Self::MonitorBlind => Alert::MonitorBlind,
            Self::TrafficSilent => Alert::TrafficSilent,
            Self::BudgetBurn => Alert::BudgetBurn,
            Self::InterfaceMissing
            | Self::AddressLost
            | Self::PortFiltered
            | Self::L2Isolated
            | Self::StateExhausted
            | Self::RouteWrong
            | Self::GatewayBroken => return Some(blame.unreachable()),
        })
    }

    /// What it is, as a person says it.
    pub fn title(self) -> &'static str {
        match self {
            Self::InterfaceMissing => "the PN interface is missing",
            Self::AddressLost => "the PN interface lost its address",
            Self::LeaseNotRenewed => "the DHCP lease is not renewed",
            Self::VmNatMissing => "the host does not forward its VMs to the PN (NAT rule missing)",
            Self::FilterStale => "the host's packet filter is missing, empty or stale",
            Self::NotDispatched => "the endpoint works, but nobody was told to use it",
            Self::VmNetworkDead => "the host's VMs have no network at all",
            Self::VantageSilent => "the vantage does not report, but its machine answers",
            Self::PortFiltered => "ports are filtered while others of the same address answer",
            Self::LocalNetworkDenied => "macOS denies the prober the local network",
            Self::Shedding => "the cache sheds load",
            Self::PodDead => "the port accepts, but the cache behind it is dead",
            Self::StatusStale => "the instance's status is empty or stale",
            Self::EndpointStale => "the endpoint that is handed out points to the wrong node",
            Self::Draining => "the pod is draining",
            Self::AddressWrong => "the PN interface holds another address than the label says",
            Self::AddressConflict => "two machines answer for one address",
            Self::WrongTenant => "the NodePort answers for another tenant",
            Self::VantageLost => "the vantage's machine is gone",
            Self::Saturated => "the link or its cap is full",
            Self::BindingMissing => "the node is not bound to its machine",
            Self::NeverReady => "the instance never became ready",
            Self::DuplicateClaim => "two objects claim one address or machine",
            Self::NodeDown => "the node is down",
            Self::NodeportNotServed => "the node answers ARP, but serves no NodePort",
            Self::NetworkDown => "the private network is down",
            Self::L2Isolated => "the machine is cut off at layer 2 (VLAN)",
            Self::DhcpSilent => "the DHCP server is silent",
            Self::AnsweredByOther => "another machine answers for the address",
            Self::Lossy => "packets are lost",
            Self::LargePacketsLost => "large packets are lost (MTU)",
            Self::StateExhausted => "connection states are exhausted",
            Self::RouteWrong => "PN traffic leaves by the wrong interface",
            Self::GatewayBroken => "the https gateway is broken",
            Self::MonitorBlind => "pnwatch cannot see",
            Self::NodeUnreachable => {
                "the node is unreachable on the PN: interface, address, layer 2 or the node itself"
            }
            Self::AccountUnreachable => {
                "the endpoint does not answer: port filtered, accept queue full or endpoint gone"
            }
            Self::TrafficSilent => "public traffic stopped while internal traffic flows",
            Self::BudgetBurn => "the error budget burns",
        }
    }
}

impl Blame {
    /// The alert of a fault that is named by whom it makes unreachable.
    pub fn unreachable(self) -> Alert {
        match self {
            Self::Network => Alert::NetworkDown,
            Self::Node => Alert::NodeUnreachable,
            Self::Account => Alert::AccountUnreachable,
            Self::Host => Alert::HostPathBroken,
            Self::Vantage => Alert::VantageSilent,
            Self::ControlPlane => Alert::ControlPlaneStale,
            Self::Monitor => Alert::MonitorBlind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_id_belongs_to_one_fault_and_every_alert_is_used() {
        let mut ids = BTreeSet::new();
        let mut alerts = BTreeSet::new();
        for fault in Fault::ALL {
            for id in fault.ids() {
                assert!(ids.insert(*id), "{id} twice");
            }
            for blame in Blame::ALL {
                alerts.extend(fault.alert(*blame));
            }
            assert_eq!(Fault::from_label(fault.as_label()), Some(*fault));
        }
        assert_eq!(alerts.len(), Alert::ALL.len());
        for n in 1..=40 {
            // F5, F14, F15 are properties (the gate asks, two cases stay silent), not faults.
            if [5, 14, 15].contains(&n) {
                continue;
            }
            assert!(ids.contains(format!("F{n}").as_str()), "F{n} is missing");
        }
    }
}
