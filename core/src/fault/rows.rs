//! The rows of the fault table as a person reads them: docs/faults.md is made from these.

use super::{Blame, Fault, Severity};
use crate::outcome::labels;

labels!(
    /// Where the evidence of a row comes from.
    Proof {
        /// A collector of the prober measures it.
        Real => "real",
        /// It is typed and fed through the wire; only another platform can have its collector.
        Recorded => "recorded",
        /// Another judge finds it (discovery, correlation, budgets, bandwidth) and feeds a diagnosis.
        Fed => "fed",
    }
);

/// One row of the fault table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its incident id; empty for names that stand in for several.
    pub id: &'static str,
    /// The metric label.
    pub fault: Fault,
    /// Whose fault.
    pub blame: Blame,
    /// How much it matters; `None` = by how much of a lease is left.
    pub severity: Option<Severity>,
    /// What tells it apart.
    pub told_by: &'static str,
    /// Where its evidence comes from.
    pub proof: Proof,
}

const fn row(
    id: &'static str,
    fault: Fault,
    (blame, severity): (Blame, Option<Severity>),
    told_by: &'static str,
    proof: Proof,
) -> Row {
    Row {
        id,
        fault,
        blame,
        severity,
        told_by,
        proof,
    }
}

/// Every row.
pub const ROWS: &[Row] = &[
    row(
        "F1",
        Fault::InterfaceMissing,
        (Blame::Node, Some(Severity::Critical)),
        "the node's prober: the PN device is absent; hosts: ARP silent. Held for 500 ms, and no check that started since succeeds",
        Proof::Real,
    ),
    row(
        "F2",
        Fault::AddressLost,
        (Blame::Node, Some(Severity::Critical)),
        "the node's prober: no IPv4 address inside the PN's range; hosts: ARP silent",
        Proof::Real,
    ),
    row(
        "F2a",
        Fault::LeaseNotRenewed,
        (Blame::Node, None),
        "what is left of the lease, of what was granted: 45 % informs, 30 % warns, 12.5 % pages (or 30 minutes, where that is under 30 %). Of a host likewise. An address without a lifetime is never overdue",
        Proof::Real,
    ),
    row(
        "F3",
        Fault::VmNatMissing,
        (Blame::Host, Some(Severity::Critical)),
        "the host's VMs connect to no NodePort, the host does, and the VMs' control answers (F9: the same, in bursts)",
        Proof::Real,
    ),
    row(
        "F4",
        Fault::FilterStale,
        (Blame::Host, Some(Severity::Warning)),
        "the packet filter's anchor or table is missing, empty, duplicate, or its last load failed; critical once the VM path fails",
        Proof::Real,
    ),
    row(
        "F6",
        Fault::NotDispatched,
        (Blame::ControlPlane, Some(Severity::Warning)),
        "the path is healthy, the account's public traffic is zero, and demand is proven",
        Proof::Fed,
    ),
    row(
        "F7",
        Fault::VmNetworkDead,
        (Blame::Host, Some(Severity::Critical)),
        "the host's VMs reach neither NodePorts nor their control; the host connects",
        Proof::Real,
    ),
    row(
        "F8",
        Fault::VantageSilent,
        (Blame::Vantage, Some(Severity::Warning)),
        "no report for 15 s (two minutes after a goodbye); neighbours still hear its machine",
        Proof::Real,
    ),
    row(
        "F10",
        Fault::InterfaceMissing,
        (Blame::Host, Some(Severity::Critical)),
        "the host's prober: the PN device is absent",
        Proof::Real,
    ),
    row(
        "F11",
        Fault::AddressLost,
        (Blame::Host, Some(Severity::Critical)),
        "the host's prober: no IPv4 address inside the PN's range",
        Proof::Real,
    ),
    row(
        "F12",
        Fault::PortFiltered,
        (Blame::Node, Some(Severity::Critical)),
        "two or more accounts' ports of one node fall silent within 2 s while others of the node answer. Of a host: it cannot connect where others can, and ARP answers it. One port alone is `account_unreachable`",
        Proof::Real,
    ),
    row(
        "F13",
        Fault::LocalNetworkDenied,
        (Blame::Vantage, Some(Severity::Warning)),
        "connects of the prober fail at once with EHOSTUNREACH while ARP answers: the prober's fault, never the PN's",
        Proof::Recorded,
    ),
    row(
        "F16",
        Fault::Shedding,
        (Blame::Account, Some(Severity::Warning)),
        "share of 503 and 429 per route; `/up` is fine",
        Proof::Fed,
    ),
    row(
        "F17",
        Fault::PodDead,
        (Blame::Account, Some(Severity::Critical)),
        "connections are accepted; `/up` does not answer, or with 5xx",
        Proof::Real,
    ),
    row(
        "F18",
        Fault::StatusStale,
        (Blame::ControlPlane, Some(Severity::Warning)),
        "`exposeNodePort` without address or port; `lastReconciledAt` is old",
        Proof::Fed,
    ),
    row(
        "F19",
        Fault::EndpointStale,
        (Blame::Account, Some(Severity::Critical)),
        "`nodeAddress` is not the address of the node that runs the pod",
        Proof::Fed,
    ),
    row(
        "F20",
        Fault::Draining,
        (Blame::Account, Some(Severity::Info)),
        "`/ready` says draining (or Kubernetes says so), then refused or timeout; excused until its deadline, and a page of its own kind after it",
        Proof::Real,
    ),
    row(
        "F21",
        Fault::AddressWrong,
        (Blame::Node, Some(Severity::Critical)),
        "the node's PN device holds another address than the label says",
        Proof::Real,
    ),
    row(
        "F22",
        Fault::AddressConflict,
        (Blame::Node, Some(Severity::Critical)),
        "two MACs answer one broadcast",
        Proof::Real,
    ),
    row(
        "F23",
        Fault::WrongTenant,
        (Blame::Account, Some(Severity::Critical)),
        "`/up` names another tenant than the account's; a drain does not excuse it",
        Proof::Real,
    ),
    row(
        "F24",
        Fault::VantageLost,
        (Blame::Vantage, Some(Severity::Warning)),
        "no report, and no neighbour hears its machine; or it reaches nothing at all, not even its control, where others do",
        Proof::Real,
    ),
    row(
        "F25",
        Fault::Saturated,
        (Blame::Node, Some(Severity::Warning)),
        "throughput steps down from a burst to a flat level that is no sum of caps; or stands at a cap; latency burns",
        Proof::Fed,
    ),
    row(
        "F26",
        Fault::BindingMissing,
        (Blame::ControlPlane, Some(Severity::Warning)),
        "providerID, Machine or Ready is missing",
        Proof::Fed,
    ),
    row(
        "F27",
        Fault::NeverReady,
        (Blame::Account, Some(Severity::Warning)),
        "no endpoint was ever published: pod Pending, phase stuck; critical with demand",
        Proof::Fed,
    ),
    row(
        "F28",
        Fault::DuplicateClaim,
        (Blame::ControlPlane, Some(Severity::Warning)),
        "two objects claim one address or machine",
        Proof::Fed,
    ),
    row(
        "F29",
        Fault::NodeDown,
        (Blame::Node, Some(Severity::Critical)),
        "hosts: ARP silent; the node's prober fell silent within 3 s of it",
        Proof::Real,
    ),
    row(
        "F30",
        Fault::NodeportNotServed,
        (Blame::Node, Some(Severity::Critical)),
        "ARP answers, and not one of several NodePorts does, for anybody",
        Proof::Real,
    ),
    row(
        "F31",
        Fault::NetworkDown,
        (Blame::Network, Some(Severity::Critical)),
        "two hosts or more reach neither nodes nor one another by ARP, and no connection succeeds",
        Proof::Real,
    ),
    row(
        "F32",
        Fault::L2Isolated,
        (Blame::Node, Some(Severity::Critical)),
        "every local fact is right, and layer 2 is silent for that machine alone; or its device has no carrier. Of a host likewise",
        Proof::Real,
    ),
    row(
        "F33",
        Fault::DhcpSilent,
        (Blame::Network, Some(Severity::Warning)),
        "several leases are overdue and nobody's was renewed since: one finding, not many",
        Proof::Real,
    ),
    row(
        "F34",
        Fault::AnsweredByOther,
        (Blame::Node, Some(Severity::Critical)),
        "another MAC answers than the node's prober reports",
        Proof::Real,
    ),
    row(
        "F35",
        Fault::Lossy,
        (Blame::Host, Some(Severity::Warning)),
        "a quarter of the checks or more is lost, one way or both",
        Proof::Real,
    ),
    row(
        "F36",
        Fault::LargePacketsLost,
        (Blame::Node, Some(Severity::Critical)),
        "`/up` is fine, a read of many segments stalls",
        Proof::Real,
    ),
    row(
        "F37",
        Fault::StateExhausted,
        (Blame::Host, Some(Severity::Critical)),
        "new connections die, old ones live; states near their limit",
        Proof::Real,
    ),
    row(
        "F38",
        Fault::RouteWrong,
        (Blame::Node, Some(Severity::Critical)),
        "the unbound route look-up leaves by another device although the PN device has its address, and nobody connects",
        Proof::Real,
    ),
    row(
        "F39",
        Fault::GatewayBroken,
        (Blame::Account, Some(Severity::Critical)),
        "gateway targets: DNS, TLS, port 443 or 5xx",
        Proof::Fed,
    ),
    row(
        "F40",
        Fault::MonitorBlind,
        (Blame::Monitor, Some(Severity::Warning)),
        "no expected host reports; critical after ten minutes. Absent VMs alone are no blindness",
        Proof::Real,
    ),
    row(
        "",
        Fault::NodeUnreachable,
        (Blame::Node, Some(Severity::Critical)),
        "F1, F2, F29 or F32 while the node's own evidence is missing; sharpens in place",
        Proof::Real,
    ),
    row(
        "",
        Fault::AccountUnreachable,
        (Blame::Account, Some(Severity::Critical)),
        "F12, F17 or F19 while the evidence that tells them apart is missing; sharpens in place",
        Proof::Real,
    ),
    row(
        "",
        Fault::TrafficSilent,
        (Blame::Account, Some(Severity::Warning)),
        "public traffic stopped while internal traffic flows, and no client vantage can confirm",
        Proof::Fed,
    ),
    row(
        "",
        Fault::BudgetBurn,
        (Blame::Account, Some(Severity::Critical)),
        "bad events that no open finding explains burn the budget",
        Proof::Fed,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_and_every_id_has_its_row() {
        for fault in Fault::ALL {
            let rows: Vec<_> = ROWS.iter().filter(|r| r.fault == *fault).collect();
            assert!(!rows.is_empty(), "{fault}");
            for row in rows {
                assert!(
                    row.id.is_empty() || fault.ids().contains(&row.id),
                    "{}",
                    row.id
                );
                let silent = row.severity == Some(Severity::Info);
                assert_eq!(fault.alert(row.blame).is_none(), silent, "{fault}");
            }
        }
        for id in Fault::ALL.iter().flat_map(|f| f.ids()) {
            // F9 is F3 in bursts.
            assert!(*id == "F9" || ROWS.iter().any(|r| r.id == *id), "{id}");
        }
    }
}
