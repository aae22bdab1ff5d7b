//! Vantages that fall silent, and a monitor that sees nothing.

use super::Diagnosis;
use super::scope::{Blamed, Case};
use super::symptom::Reach;
use super::table::{self, MonitorSigns, SilentSigns};
use super::trace::Hold;
use super::{repair, text};
use crate::fault::{Blame, Fault};
use crate::finding::Evidence;
use crate::name::Vantage;
use crate::outcome::Layer;
use crate::subject::Subject;
use crate::time::Tick;

/// Since when `vantage` is silent, if that is too long.
fn silent_since(case: &Case<'_>, vantage: &Vantage) -> Option<Tick> {
    let sight = case.board.vantages().get(vantage);
    let bye = sight.is_some_and(|s| s.stopping);
    let (last, grace) = match sight {
        Some(sight) if case.holds(Hold::Goodbye, vantage, bye) => {
            (sight.last_report, case.patience.stopping_grace)
        }
        Some(sight) => (sight.last_report, case.patience.vantage_silent_after),
        // Never heard: it gets as long as after a restart.
        None => (case.started, case.patience.stopping_grace),
    };
    (case.now.tick.since(last) > grace).then_some(last)
}

/// F8, F24: expected vantages that do not report. VMs come and go, and are not expected.
pub(super) fn silent(case: &Case<'_>, blamed: &Blamed, found: &mut Vec<Diagnosis>) {
    // Who was not heard while nobody was gets its time anew.
    let just = case.now.tick.since(case.sighted) <= case.patience.vantage_silent_after;
    if case.holds(Hold::JustSighted, &case.inventory.cluster, just) {
        return;
    }
    for vantage in case.inventory.vantages.keys() {
        let consequence = match vantage {
            Vantage::Node(node) => blamed.nodes.contains_key(node),
            Vantage::Host(host) => blamed.hosts.contains_key(host),
            Vantage::Vm(..) => continue,
        };
        let consequence = consequence || blamed.network.is_some();
        let Some(since) = silent_since(case, vantage) else {
            continue;
        };
        if case.holds(Hold::VantageOfBlamed, vantage, consequence) {
            continue;
        }
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
            Reach::Nobody if case.holds(Hold::FreshLoss, vantage, fresh) => Reach::Unknown,
            reach => reach,
        };
        let name = vantage.to_string();
        let signs = SilentSigns { heard: reach };
        let Some(named) = case.ask(table::SILENT, &signs, (Blame::Vantage, &name)) else {
            continue;
        };
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
    if clients.is_empty() || reporting && !case.is_traced() {
        return None;
    }
    let silences: Option<Vec<Tick>> = clients.iter().map(|v| silent_since(case, v)).collect();
    let since = silences.and_then(|s| s.into_iter().max());
    let blind_for = since.map(|since| case.now.tick.since(since));
    let signs = MonitorSigns {
        hosts_report: reporting,
        all_silent: since.is_some(),
        for_long: blind_for.is_some_and(|b| b >= case.patience.blind_critical_after),
    };
    let about = (Blame::Monitor, case.inventory.cluster.as_str());
    let named = case.ask(table::MONITOR, &signs, about)?;
    let since = since?;
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
