//! What open findings already explain, so that a cause hides its consequences until it closes.

use crate::diagnosis::scope::{Blamed, Extent, Ill};
use crate::diagnosis::table::Flaw;
use crate::fault::{Blame, Fault};
use crate::findings::Findings;
use crate::inventory::Inventory;
use crate::name::Vantage;
use crate::subject::TargetKind;

/// A fault that makes others miss what lies behind it.
fn silences(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::InterfaceMissing
            | Fault::AddressLost
            | Fault::AddressWrong
            | Fault::AddressConflict
            | Fault::AnsweredByOther
            | Fault::L2Isolated
            | Fault::NetworkDown
            | Fault::NodeDown
            | Fault::NodeUnreachable
            | Fault::NodeportNotServed
            | Fault::PortFiltered
            | Fault::RouteWrong
            | Fault::StateExhausted
            | Fault::GatewayBroken
            | Fault::VmNatMissing
            | Fault::VmNetworkDead
            | Fault::FilterStale
            | Fault::VantageLost
            | Fault::LocalNetworkDenied
    )
}

/// A fault that is told from counters or budgets: no check misses anything for it.
fn misses_nothing(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::BudgetBurn | Fault::TrafficSilent | Fault::Shedding
    )
}

/// What makes paths bad without cutting them.
fn flaw(fault: Fault) -> Option<Flaw> {
    match fault {
        Fault::Lossy => Some(Flaw::Lossy),
        Fault::LargePacketsLost => Some(Flaw::LargeLost),
        _ => None,
    }
}

/// What the open findings explain.
pub(super) fn by_open(findings: &Findings, inventory: &Inventory) -> Blamed {
    let mut blamed = Blamed::default();
    for (finding, clear) in findings.open_with_clear() {
        let extent = clear.map_or(Extent::All, Extent::Before);
        if misses_nothing(finding.fault) {
            continue;
        }
        if let Some(flaw) = flaw(finding.fault) {
            let ill = match finding.identity.blame {
                Blame::Network => Some(Ill::Network),
                Blame::Node => finding.node.clone().map(Ill::Node),
                Blame::Host => finding.host.clone().map(Ill::Host),
                _ => finding.account.clone().map(Ill::Account),
            };
            blamed.badly.extend(ill.map(|ill| ((flaw, ill), extent)));
            continue;
        }
        if finding.identity.blame == Blame::Account {
            // A pod that accepts and does not answer explains no lost connection.
            let at_port = !matches!(finding.fault, Fault::PodDead | Fault::WrongTenant);
            if let Some(account) = finding.account.as_ref().filter(|_| at_port) {
                blamed.accounts.insert(account.clone(), extent);
            }
            continue;
        }
        blamed.dhcp |= finding.fault == Fault::DhcpSilent;
        if !silences(finding.fault) {
            continue;
        }
        match finding.identity.blame {
            Blame::Network => blamed.network = Some(extent),
            Blame::Node => {
                let Some(node) = &finding.node else { continue };
                if matches!(finding.fault, Fault::PortFiltered | Fault::GatewayBroken) {
                    let gateways = finding.fault == Fault::GatewayBroken;
                    let theirs = inventory.targets_of(node).filter(|(_, t)| {
                        finding.accounts.contains(&t.account)
                            && (!gateways || t.kind == TargetKind::Gateway)
                    });
                    for (subject, _) in theirs {
                        blamed.ports.insert(subject.clone(), extent);
                    }
                } else {
                    blamed.nodes.insert(node.clone(), extent);
                }
            }
            Blame::Host | Blame::Vantage => {
                let host = finding.host.clone().or_else(|| {
                    let vantage: Vantage = finding.identity.subject.parse().ok()?;
                    vantage.host().cloned()
                });
                let Some(host) = host else { continue };
                if finding.identity.blame == Blame::Vantage {
                    blamed.lost.insert(host, extent);
                } else if blames_only_vms(finding.fault) {
                    blamed.vms.insert(host, extent);
                } else {
                    blamed.hosts.insert(host, extent);
                }
            }
            Blame::Account | Blame::ControlPlane | Blame::Monitor => {}
        }
    }
    blamed
}

/// The host itself is as good a witness as before.
pub(super) fn blames_only_vms(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::VmNatMissing | Fault::VmNetworkDead | Fault::FilterStale
    )
}
