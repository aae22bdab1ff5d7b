//! What the receiver adds: where a SYN ended, who else answers for an address.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::BTreeMap;

use super::scope::Case;
use super::table::ArpAnswer;
use super::text;
use crate::board::Tally;
use crate::finding::Evidence;
use crate::inventory::{AccountTarget, NodeTarget};
use crate::link::Mac;
use crate::name::{Node, Vantage};
use crate::outcome::{Cause, Layer};
use crate::subject::Subject;
use crate::time::Tick;
use crate::witness::{Arrival, WitnessReport};

/// A witness that has not been heard for longer says nothing of now.
const HEARD_LATELY: Duration = Duration::from_secs(5);
/// What a client's first retransmit takes; a flow younger than this may still be answered.
const TELLING: Duration = Duration::from_millis(1300);
/// An answer of ARP older than this says nothing of who answers now.
const ANSWERED_LATELY: Duration = Duration::from_secs(5);

/// What the witness of `node` said last, and when.
fn heard<'a>(case: &Case<'a>, node: &Node) -> Option<(&'a WitnessReport, Tick)> {
    let own = Vantage::Node(node.clone());
    let sight = case.board.vantages().get(&own)?;
    let (report, at) = sight.witness.as_ref()?;
    let fresh = case.now.tick.since(*at) <= HEARD_LATELY && !sight.stopping;
    fresh.then_some((report, *at))
}

fn source(case: &Case<'_>, vantage: &Vantage) -> Option<Ipv4Addr> {
    // A VM's SYNs arrive under its host's address.
    let host = match vantage {
        Vantage::Vm(host, _) => Vantage::Host(host.clone()),
        other => other.clone(),
    };
    let sight = case.board.vantages().get(&host)?;
    let (facts, _) = sight.link.as_ref()?;
    Some(facts.pn_address(case.inventory.pn_cidr)?.address)
}

/// What became of the SYNs of those who miss `target`, since the first miss.
fn arrivals(
    case: &Case<'_>,
    target: &AccountTarget,
    tally: &Tally,
) -> BTreeMap<Arrival, Vec<Vantage>> {
    let mut found: BTreeMap<Arrival, Vec<Vantage>> = BTreeMap::new();
    let word = heard(case, &target.node);
    for vantage in &tally.missing {
        let told = word.zip(source(case, vantage)).zip(tally.onset);
        let arrival = told.map_or(Arrival::Unwatched, |(((report, at), client), onset)| {
            let since = at.since(onset);
            if since < TELLING {
                return Arrival::Unwatched;
            }
            report.arrival((client, target.address, target.port), since)
        });
        found.entry(arrival).or_default().push(vantage.clone());
    }
    found
}

/// What the node saw of SYNs that nobody answered the client, and what remains possible.
pub(super) fn of_unanswered(
    case: &Case<'_>,
    target: &AccountTarget,
    tally: &Tally,
) -> (Vec<Evidence>, Option<String>) {
    let arrivals = arrivals(case, target, tally);
    let word = heard(case, &target.node);
    let full = word.and_then(|(report, _)| report.queue_full());
    let mut lines = Vec::new();
    let mut remaining = Vec::new();
    for (arrival, vantages) in &arrivals {
        let said = match arrival {
            Arrival::NeverCame => "no SYN came",
            Arrival::Unanswered => "SYNs came and none was answered",
            Arrival::AnswerLost => "SYNs came and were answered; the answers do not arrive",
            Arrival::Unwatched => "",
        };
        if let Some((_, at)) = word.filter(|_| *arrival != Arrival::Unwatched) {
            lines.push(Evidence {
                layer: Some(Layer::Tcp),
                vantage: Some(Vantage::Node(target.node.clone())),
                text: format!(
                    "at port {} of node {}: {said} from {}",
                    target.port,
                    target.node,
                    text::names(vantages)
                ),
                seen_at: case.now.wall_at(at),
            });
        }
        remaining.push(arrival.remaining(full));
    }
    let said = (!remaining.is_empty()).then(|| format!("possible: {}", remaining.join("; or ")));
    (lines, said)
}

/// Who answers ARP for a node's address, by what hosts hear, what the node says its MAC is, and
/// what its own probe of its address hears.
pub(super) fn answer(
    case: &Case<'_>,
    node: &NodeTarget,
    subject: &Subject,
    arp: &Tally,
) -> ArpAnswer {
    match text::newest_cause(case, subject, Layer::Arp, arp) {
        Some(Cause::AddressConflict) => return ArpAnswer::Two,
        Some(Cause::AnsweredByOther) => return ArpAnswer::Other,
        _ => {}
    }
    let (own, other) = answered(case, node, subject);
    let claimed = heard(case, &node.name)
        .is_some_and(|(report, _)| report.claims.iter().any(|c| c.address == node.address));
    match (own, other) {
        (true, true) => ArpAnswer::Two,
        (false, true) => ArpAnswer::Other,
        _ if claimed => ArpAnswer::Two,
        _ => ArpAnswer::Owner,
    }
}

/// Whether hosts were answered lately by the MAC that the node says is its own, and by another.
fn answered(case: &Case<'_>, node: &NodeTarget, subject: &Subject) -> (bool, bool) {
    let Some(mac) = own_mac(case, node) else {
        return (false, false);
    };
    let now = case.now.tick;
    let mut seen = (false, false);
    for (vantage, path) in case.board.paths_to(subject, Layer::Arp) {
        let fresh = path
            .state
            .last_success()
            .is_some_and(|at| now.since(at) <= ANSWERED_LATELY);
        if !fresh || !vantage.is_client() || !case.board.is_reporting(vantage, now) {
            continue;
        }
        match path.mac {
            Some(answered) if answered == mac => seen.0 = true,
            Some(_) => seen.1 = true,
            None => {}
        }
    }
    seen
}

/// The MAC of the node's PN device, by its own word, while it holds the address.
fn own_mac(case: &Case<'_>, node: &NodeTarget) -> Option<Mac> {
    let own = Vantage::Node(node.name.clone());
    let now = case.now.tick;
    let sight = case.board.vantages().get(&own)?;
    let (facts, since) = sight.link.as_ref()?;
    // A device made anew has another MAC, which hosts learn within seconds.
    let settled = now.since(*since) > ANSWERED_LATELY;
    let holds = facts.addresses.iter().any(|a| a.address == node.address);
    (settled && holds && case.board.is_reporting(&own, now))
        .then_some(facts.mac)
        .flatten()
}

/// What stands against the node's being alone with its address.
pub(super) fn of_answer(case: &Case<'_>, node: &NodeTarget, subject: &Subject) -> Vec<Evidence> {
    let mut lines = Vec::new();
    if let Some((report, at)) = heard(case, &node.name) {
        for claim in report
            .claims
            .iter()
            .filter(|c| c.address == node.address)
            .take(2)
        {
            lines.push(Evidence {
                layer: Some(Layer::Arp),
                vantage: Some(Vantage::Node(node.name.clone())),
                text: format!(
                    "{} answers the node's own probe of {}",
                    claim.mac, claim.address
                ),
                seen_at: case
                    .now
                    .wall_at(at.before(Duration::from_micros(claim.age_us))),
            });
        }
    }
    let own = own_mac(case, node);
    let mut by_mac: BTreeMap<Mac, (Vec<Vantage>, Tick)> = BTreeMap::new();
    for (vantage, path) in case.board.paths_to(subject, Layer::Arp) {
        if let (Some(mac), Some(at)) = (path.mac, path.state.last_success())
            && vantage.is_client()
            && case.now.tick.since(at) <= ANSWERED_LATELY
        {
            let entry = by_mac.entry(mac).or_insert((Vec::new(), at));
            entry.0.push(vantage.clone());
            entry.1 = entry.1.max(at);
        }
    }
    for (mac, (vantages, at)) in by_mac.into_iter().take(3) {
        let whose = match own {
            Some(own) if own == mac => ", the node's own",
            Some(_) => ", not the node's own",
            None => "",
        };
        lines.push(Evidence {
            layer: Some(Layer::Arp),
            vantage: None,
            text: format!(
                "{} is answered by {mac}{whose}: {}",
                node.address,
                text::names(&vantages)
            ),
            seen_at: case.now.wall_at(at),
        });
    }
    lines
}
