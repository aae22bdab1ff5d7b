//! Cache nodes: their own word on their link, and what client vantages find.

use core::time::Duration;
use std::collections::BTreeMap;

use super::Diagnosis;
use super::scope::{Blamed, Case, Extent};
use super::symptom::{LinkSign, LinkWord, Reach, SETTLE, Witnesses, link_word, room};
use super::table::{self, ArpAnswer, NodeSigns, ProberSign, Room};
use super::trace::Hold;
use super::{repair, text, witness};
use crate::board::{Path, Sight, Tally};
use crate::fault::{Blame, Confidence, Fault};
use crate::inventory::NodeTarget;
use crate::link::{LinkFacts, LinkState};
use crate::name::Vantage;
use crate::outcome::Layer;
use crate::subject::Subject;
use crate::time::Tick;
use crate::witness::Usage;

/// How far apart the prober's silence and the fault may begin to count as one event.
const TOGETHER: Duration = Duration::from_secs(3);

/// `undecided`: the network itself may be down; only a node's own word may name it now.
pub(super) fn diagnose(
    case: &Case<'_>,
    undecided: bool,
    blamed: &mut Blamed,
    found: &mut Vec<Diagnosis>,
) {
    for node in case.inventory.nodes.values() {
        if let Some(diagnosis) = judge(case, blamed, undecided, node) {
            blamed.nodes.insert(node.name.clone(), Extent::All);
            found.push(diagnosis);
        }
    }
}

fn judge(
    case: &Case<'_>,
    blamed: &Blamed,
    undecided: bool,
    node: &NodeTarget,
) -> Option<Diagnosis> {
    let now = case.now.tick;
    let board = case.board;
    let own = Vantage::Node(node.name.clone());
    let sight = board.vantages().get(&own);
    let subject = Subject::Node(node.name.clone());
    let host = |v: &Vantage, p: &Path| matches!(v, Vantage::Host(_)) && case.credible(blamed, v, p);
    if is_quiet(case, node, &subject) && !case.is_traced() {
        return None;
    }
    let arp = board.tally(&subject, Layer::Arp, None, now, host);
    let ports = case.ports_of(&node.name, None, blamed);
    let onset = arp
        .onset
        .into_iter()
        .chain(ports.values().filter_map(|t| t.onset))
        .min();
    let word = link_word(case, &own, Some(node.address), onset);
    // Successes must be newer than the fault: the link's own, where it speaks of one.
    let bad_link = !matches!(word.sign, LinkSign::Fine | LinkSign::Silent);
    let (arp, ports) = if bad_link {
        let since = Some(word.since);
        (
            board.tally(&subject, Layer::Arp, since, now, host),
            case.ports_of(&node.name, since, blamed),
        )
    } else {
        (arp, ports)
    };
    // Only ARP can say that layer 2 answers; then a port that is quiet may still answer too.
    // Where ARP is silent, only a connection that was told contradicts it: a connection takes
    // four times as long to be missed.
    let arp_reach = Reach::judged(&arp, bad_link);
    let ports_told = bad_link || arp_reach == Reach::Nobody;
    let all_ports_miss = ports.values().all(|t| t.reached.is_empty());
    let waits_for_ports = || all_ports_miss && ports.iter().any(|(s, t)| case.must_wait(s, t));
    let decided = bad_link || !(case.must_wait(&subject, &arp) || !ports_told && waits_for_ports());
    let hidden = |extent: Extent| onset.is_none_or(|onset| extent.explains(onset));
    let hidden = !bad_link && blamed.network.is_some_and(hidden);
    if case.holds(Hold::NetworkDown, &node.name, hidden) || undecided && !bad_link {
        return None;
    }
    let signs = NodeSigns {
        link: word.sign,
        arp: arp_reach,
        answer: witness::answer(case, node, &subject, &arp),
        ports: ports_reach(&ports, ports_told),
        targets: Witnesses::count(ports.values().filter(|t| t.newest.is_some()).count()),
        witnesses: Witnesses::count(witnesses(&arp, ports.values()).len()),
        prober: prober_sign(case, &own, onset),
        not_ready: node.ready == Some(false),
        states: node_room(sight),
    };
    let about = (Blame::Node, node.name.as_str());
    let named = case.ask(table::NODE, &signs, about).filter(|_| decided)?;
    let settles = named.fault == Fault::NodeportNotServed && is_settling(case, &subject, onset);
    if case.holds(Hold::NodeSettles, &node.name, settles) {
        return None;
    }
    let shared = signs.answer != ArpAnswer::Owner;
    let since = if bad_link {
        word.since
    } else {
        onset.or(shared.then_some(now))?
    };
    let mut diagnosis = Diagnosis::new(Blame::Node, node.name.as_str(), named, since);
    describe(case, &mut diagnosis, node, (&word, &arp));
    if shared {
        let lines = witness::of_answer(case, node, &subject);
        diagnosis.evidence.extend(lines);
    }
    for (subject, tally) in ports.iter().filter(|(_, t)| t.down > 0) {
        if diagnosis.evidence.len() >= text::MAX_LINES {
            break;
        }
        let name = text::subject(subject);
        diagnosis
            .evidence
            .extend(text::tally_line(case, Layer::Tcp, &name, tally));
    }
    diagnosis.vantages = witnesses(&arp, ports.values());
    let suffering = text::affected(diagnosis.accounts.len(), &diagnosis.vantages);
    diagnosis.summary = format!("{}; {suffering}", diagnosis.summary);
    Some(diagnosis)
}

/// Room for new connections: by its packet filter, or by its kernel's own table.
fn node_room(sight: Option<&Sight>) -> Room {
    let link = sight.and_then(|s| s.link.as_ref());
    let table = sight.and_then(|s| s.witness.as_ref()?.0.conntrack);
    if table.is_some_and(Usage::is_exhausted) {
        Room::Full
    } else {
        room(link.map(|(facts, _)| facts))
    }
}

/// Whether nobody misses anything of the node, and it says nothing bad of itself.
fn is_quiet(case: &Case<'_>, node: &NodeTarget, subject: &Subject) -> bool {
    let own = Vantage::Node(node.name.clone());
    let link = case
        .board
        .vantages()
        .get(&own)
        .and_then(|s| s.link.as_ref());
    let fine = |facts: &LinkFacts| {
        facts.assess(case.inventory.pn_cidr, Some(node.address)) == LinkState::Fine
    };
    link.is_none_or(|(facts, _)| fine(facts))
        && witness::answer(case, node, subject, &Tally::default()) == ArpAnswer::Owner
        && !case.board.is_missed(subject)
        && !case
            .inventory
            .targets_of(&node.name)
            .any(|(s, _)| case.board.is_missed(s))
}

/// Of all ports that have evidence. A node's own bad word is contradicted only by successes
/// that were told.
fn ports_reach(ports: &BTreeMap<Subject, Tally>, told: bool) -> Reach {
    if told {
        Reach::told(ports.values())
    } else {
        Reach::over(ports.values())
    }
}

/// Whether ARP has only just come back from the outage in which the ports fell silent:
/// connections under way and their slower pace follow it by seconds.
fn is_settling(case: &Case<'_>, subject: &Subject, onset: Option<Tick>) -> bool {
    let now = case.now.tick;
    case.board
        .paths_to(subject, Layer::Arp)
        .filter(|(v, _)| v.is_witness())
        .filter_map(|(_, p)| p.state.recovered_at())
        .any(|back| now.since(back) < SETTLE && onset.is_some_and(|onset| onset < back))
}

fn witnesses<'a>(arp: &Tally, ports: impl Iterator<Item = &'a Tally>) -> Vec<Vantage> {
    let mut all: Vec<Vantage> = arp.missing.clone();
    all.extend(ports.flat_map(|t| t.missing.iter().cloned()));
    all.sort();
    all.dedup();
    all
}

fn prober_sign(case: &Case<'_>, own: &Vantage, onset: Option<Tick>) -> ProberSign {
    let Some(sight) = case.board.vantages().get(own) else {
        return ProberSign::Absent;
    };
    let Some(onset) = onset else {
        return ProberSign::Reporting;
    };
    let last = sight.last_report;
    if last > onset.after(Duration::from_millis(1500)) && !sight.stopping {
        return ProberSign::Reporting;
    }
    let together = last.since(onset).max(onset.since(last)) <= TOGETHER;
    let long_enough = case.now.tick.since(last) >= TOGETHER;
    if together && long_enough && !sight.stopping {
        ProberSign::FellSilent
    } else {
        ProberSign::Absent
    }
}

fn describe(
    case: &Case<'_>,
    diagnosis: &mut Diagnosis,
    node: &NodeTarget,
    (word, arp): (&LinkWord, &Tally),
) {
    let own = Vantage::Node(node.name.clone());
    let facts = case
        .board
        .vantages()
        .get(&own)
        .and_then(|s| s.link.as_ref())
        .map(|(facts, _)| facts);
    diagnosis.summary = format!(
        "node {}: {}",
        node.name,
        text::node_clause(diagnosis.fault, node.address, facts)
    );
    diagnosis.node = Some(node.name.clone());
    diagnosis.address = Some(node.address);
    diagnosis.accounts = text::accounts(
        case.inventory
            .targets_of(&node.name)
            .map(|(_, target)| target),
    );
    diagnosis.evidence.push(text::link_line(case, &own, word));
    diagnosis.evidence.extend(text::tally_line(
        case,
        Layer::Arp,
        &format!("{} ({})", node.address, node.name),
        arp,
    ));
    if matches!(diagnosis.fault, Fault::NodeUnreachable | Fault::NodeDown) {
        diagnosis.missing.push(format!(
            "the node's own evidence: its prober is silent ({own}); interface, address, layer 2 \
             and the node itself look alike from outside"
        ));
    }
    if diagnosis.confidence == Confidence::Low {
        diagnosis
            .missing
            .push("a second client vantage: one witness cannot tell its own fault".into());
    }
    diagnosis.repair = repair::node(diagnosis.fault, &node.name, node.address, facts);
}
