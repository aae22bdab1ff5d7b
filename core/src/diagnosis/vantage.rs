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

/// F2a: leases past their renewal.
pub(super) fn leases(case: &Case<'_>, blamed: &Blamed, found: &mut Vec<Diagnosis>) {
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
}
