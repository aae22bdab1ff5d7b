//! Vantages that fall silent, leases that run out, and a monitor that sees nothing.

use core::time::Duration;

use super::Diagnosis;
use super::scope::{Blamed, Case};
use super::symptom::Reach;
use super::table::{self, Named};
use super::{repair, text};
use crate::fault::{Blame, Confidence, Fault, Severity};
use crate::finding::Evidence;
use crate::name::Vantage;
use crate::outcome::Layer;
use crate::subject::Subject;
use crate::time::{Tick, spoken};

/// Since when `vantage` is silent, if that is too long.
fn silent_since(case: &Case<'_>, vantage: &Vantage) -> Option<Tick> {
    let (last, grace) = match case.board.vantages().get(vantage) {
        Some(sight) if sight.stopping => (sight.last_report, case.patience.stopping_grace),
        Some(sight) => (sight.last_report, case.patience.vantage_silent_after),
        // Never heard: it gets as long as after a restart.
        None => (case.started, case.patience.stopping_grace),
    };
    (case.now.tick.since(last) > grace).then_some(last)
}

/// F8, F24: expected vantages that do not report. VMs come and go, and are not expected.
pub(super) fn silent(case: &Case<'_>, blamed: &Blamed, found: &mut Vec<Diagnosis>) {
    // Who was not heard while nobody was gets its time anew.
    if case.now.tick.since(case.sighted) <= case.patience.vantage_silent_after {
        return;
    }
    for vantage in case.inventory.vantages.keys() {
        let consequence = match vantage {
            Vantage::Node(node) => blamed.nodes.contains_key(node),
            Vantage::Host(host) => blamed.hosts.contains_key(host),
            Vantage::Vm(..) => true,
        };
        if consequence || blamed.network.is_some() {
            continue;
        }
        let Some(since) = silent_since(case, vantage) else {
            continue;
        };
        let subject = match vantage {
            Vantage::Node(node) => Subject::Node(node.clone()),
            other => Subject::Neighbour(other.clone()),
        };
        let heard = case
            .board
            .tally(&subject, Layer::Arp, Some(since), case.now.tick, |v, _| {
                v != vantage && case.board.is_reporting(v, case.now.tick)
            });
        // Whether its machine is lost with something larger is being decided.
        let fresh = heard
            .down_seen
            .is_some_and(|seen| case.now.tick.since(seen) < case.patience.naming_wait * 2);
        let reach = match Reach::of(&heard) {
            Reach::Nobody if fresh => Reach::Unknown,
            reach => reach,
        };
        let named = table::silent_vantage(reach);
        let mut diagnosis = Diagnosis::new(Blame::Vantage, vantage.to_string(), named, since);
        let who = match named.fault {
            Fault::VantageLost => "does not report, and no neighbour hears its machine",
            _ if heard.reached.is_empty() => {
                "does not report; whether its machine lives is not known"
            }
            _ => "does not report, but its machine answers on the PN",
        };
        diagnosis.summary = format!("vantage {vantage}: {who}");
        diagnosis.evidence.push(Evidence {
            layer: None,
            vantage: Some(vantage.clone()),
            text: "its last report".into(),
            seen_at: case.now.wall_at(since),
        });
        let name = vantage.to_string();
        diagnosis
            .evidence
            .extend(text::tally_line(case, Layer::Arp, &name, &heard));
        diagnosis
            .evidence
            .extend(text::reached_line(case, Layer::Arp, &name, &heard));
        diagnosis.host = vantage.host().cloned();
        if let Vantage::Node(node) = vantage {
            diagnosis.node = Some(node.clone());
        }
        diagnosis.vantages = vec![vantage.clone()];
        diagnosis.repair = repair::vantage(vantage);
        found.push(diagnosis);
    }
}

/// F40: client vantages are expected, and none reports.
pub(super) fn monitor_blind(case: &Case<'_>) -> Option<Diagnosis> {
    let clients: Vec<&Vantage> = case
        .inventory
        .vantages
        .keys()
        .filter(|v| matches!(v, Vantage::Host(_)))
        .collect();
    let reporting = case
        .board
        .vantages()
        .keys()
        .any(|v| v.is_witness() && case.board.is_reporting(v, case.now.tick));
    if clients.is_empty() || reporting {
        return None;
    }
    let silences: Vec<Tick> = clients
        .iter()
        .map(|v| silent_since(case, v))
        .collect::<Option<_>>()?;
    let since = silences.into_iter().max()?;
    let blind_for = case.now.tick.since(since);
    let severity = if blind_for >= case.patience.blind_critical_after {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let named = Named {
        fault: Fault::MonitorBlind,
        severity,
        confidence: Confidence::High,
    };
    let cluster = &case.inventory.cluster;
    let mut found = Diagnosis::new(Blame::Monitor, cluster.as_str(), named, since);
    found.summary = format!(
        "pnwatch of {cluster} is blind: none of {} expected hosts reports",
        clients.len()
    );
    found
        .missing
        .push("any client vantage: nothing can be said of any path".into());
    found.vantages = clients.into_iter().cloned().collect();
    found.repair = repair::blind();
    Some(found)
}

/// A client whose renewal stayed unanswered asks again after a minute at the earliest
/// (RFC 2131 §4.4.5).
const ASKS_AGAIN: Duration = Duration::from_secs(75);

/// How long the first overdue lease waits for others, whose vantages report a second apart.
const JOINS: Duration = Duration::from_secs(2);

/// F2a: leases past their renewal; F33: several of them, and nobody's renewal since.
pub(super) fn leases(case: &Case<'_>, blamed: &Blamed, found: &mut Vec<Diagnosis>) {
    let (overdue, settled) = overdue(case, blamed);
    if !settled {
        return;
    }
    match dhcp_silent(case, &overdue) {
        Some(network) => found.push(network),
        None => found.extend(overdue),
    }
}

/// F33: at least two leases are overdue, and no lease was renewed since the first of them should
/// have been: then the server answers nobody, and one finding says so for all. Once it answers
/// again, clients come back one by one as each asks again: for [`ASKS_AGAIN`] that finding goes
/// on, whoever is still left.
fn dhcp_silent(case: &Case<'_>, overdue: &[Diagnosis]) -> Option<Diagnosis> {
    let since = overdue.iter().map(|one| one.since).min()?;
    let worst = overdue.iter().map(|one| one.severity).max()?;
    let (least, grace) = if case.dhcp_silent {
        (1, ASKS_AGAIN)
    } else {
        (2, Duration::ZERO)
    };
    let answered = case.board.vantages().iter().any(|(vantage, sight)| {
        let lease = sight
            .link
            .as_ref()
            .filter(|_| case.board.is_reporting(vantage, case.now.tick))
            .and_then(|(facts, _)| facts.lease(case.inventory.pn_cidr));
        lease.is_some_and(|lease| {
            let age = lease.granted.saturating_sub(lease.remaining);
            let renewed = sight.link_told.before(age);
            renewed > since && case.now.tick.since(renewed) >= grace
        })
    });
    if overdue.len() < least || answered {
        return None;
    }
    let named = Named {
        fault: Fault::DhcpSilent,
        severity: worst,
        confidence: Confidence::Medium,
    };
    let mut network = Diagnosis::new(Blame::Network, "PN", named, since);
    network.summary = format!(
        "network PN: the DHCP server renews no lease; {} machines are overdue and will lose their addresses",
        overdue.len()
    );
    for one in overdue {
        network.evidence.extend(one.evidence.iter().cloned());
        network.vantages.extend(one.vantages.iter().cloned());
        network.accounts.extend(one.accounts.iter().cloned());
    }
    network.accounts.sort();
    network.accounts.dedup();
    network.repair = repair::dhcp();
    Some(network)
}

/// Every overdue lease; and whether one of them is so for longer than [`JOINS`].
fn overdue(case: &Case<'_>, blamed: &Blamed) -> (Vec<Diagnosis>, bool) {
    let (mut found, mut settled) = (Vec::new(), false);
    for (vantage, sight) in case.board.vantages() {
        let (blame, name, hidden) = match vantage {
            Vantage::Node(n) => (Blame::Node, n.as_str(), blamed.nodes.contains_key(n)),
            Vantage::Host(h) => (Blame::Host, h.as_str(), blamed.hosts.contains_key(h)),
            Vantage::Vm(..) => continue,
        };
        // What a silent vantage said last says nothing of now.
        let Some((facts, _)) = sight
            .link
            .as_ref()
            .filter(|_| case.board.is_reporting(vantage, case.now.tick))
        else {
            continue;
        };
        let Some(lease) = facts.lease(case.inventory.pn_cidr).filter(|_| !hidden) else {
            continue;
        };
        // Leases are told in whole seconds; what has passed since counts too.
        let passed = case.now.tick.since(sight.link_told);
        let remaining = lease.remaining.saturating_sub(passed);
        let Some(named) = table::lease(remaining.as_secs_f64(), lease.granted.as_secs_f64()) else {
            continue;
        };
        let was = remaining.saturating_add(JOINS).as_secs_f64();
        settled |= table::lease(was, lease.granted.as_secs_f64()).is_some();
        let renewed = lease.granted.saturating_sub(remaining);
        let overdue = renewed.saturating_sub(lease.granted / 2);
        let since = case.now.tick.before(overdue.max(Duration::ZERO));
        let mut diagnosis = Diagnosis::new(blame, name, named, since);
        diagnosis.summary = format!(
            "{} {name}: the lease of {} on {} is not renewed and runs out",
            blame.as_label(),
            lease.address,
            facts.device
        );
        diagnosis.evidence.push(Evidence {
            layer: Some(Layer::Link),
            vantage: Some(vantage.clone()),
            text: format!(
                "{} of {} left; a renewal was due at half of it",
                spoken(remaining),
                spoken(lease.granted)
            ),
            seen_at: case.now.wall_at(sight.link_told),
        });
        match vantage {
            Vantage::Node(node) => {
                diagnosis.node = Some(node.clone());
                diagnosis.accounts =
                    text::accounts(case.inventory.targets_of(node).map(|(_, t)| t));
            }
            other => diagnosis.host = other.host().cloned(),
        }
        diagnosis.address = Some(lease.address);
        diagnosis.vantages = vec![vantage.clone()];
        diagnosis.repair = repair::lease(vantage, &facts.device);
        found.push(diagnosis);
    }
    (found, settled)
}
