//! Sentences: what happened, to whom, seen by whom. Names are validated, so text is safe.

use core::net::Ipv4Addr;

use super::scope::Case;
use super::symptom::{LinkSign, LinkWord};
use crate::board::Tally;
use crate::fault::Fault;
use crate::finding::Evidence;
use crate::inventory::AccountTarget;
use crate::link::LinkFacts;
use crate::name::{Account, Vantage};
use crate::outcome::{Cause, Layer};
use crate::subject::Subject;

/// Most evidence lines of one kind in one finding.
pub(super) const MAX_LINES: usize = 8;
/// Most names spelled out in one line.
const MAX_NAMES: usize = 4;

pub(super) fn accounts<'a>(targets: impl Iterator<Item = &'a AccountTarget>) -> Vec<Account> {
    let mut all: Vec<Account> = targets.map(|t| t.account.clone()).collect();
    all.sort();
    all.dedup();
    all
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `11 accounts, 9 hosts affected`.
pub(super) fn affected(accounts: usize, vantages: &[Vantage]) -> String {
    let hosts = vantages
        .iter()
        .filter(|v| matches!(v, Vantage::Host(_)))
        .count();
    let vms = vantages
        .iter()
        .filter(|v| matches!(v, Vantage::Vm(..)))
        .count();
    let mut parts = vec![count(accounts, "account")];
    if hosts > 0 {
        parts.push(count(hosts, "host"));
    }
    if vms > 0 {
        parts.push(count(vms, "VM"));
    }
    format!("{} affected", parts.join(", "))
}

pub(super) fn names(vantages: &[Vantage]) -> String {
    let mut text: Vec<String> = vantages
        .iter()
        .take(MAX_NAMES)
        .map(ToString::to_string)
        .collect();
    if vantages.len() > MAX_NAMES {
        text.push(format!("{} more", vantages.len() - MAX_NAMES));
    }
    text.join(", ")
}

pub(super) fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Node(node) => format!("node {node}"),
        Subject::Account(account, _, _) => format!("account {account}"),
        Subject::Neighbour(vantage) => vantage.to_string(),
        Subject::Control => "the control".into(),
    }
}

/// What a cause means, as it completes "… : NAME ".
pub(super) fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::ArpUnanswered => "does not answer ARP",
        Cause::NeighbourUnresolved => "does not resolve: no SYN left",
        Cause::SynUnanswered => "leaves SYNs unanswered",
        Cause::Refused => "refuses connections (RST)",
        Cause::PortUnreachable => "is rejected: ICMP port unreachable",
        Cause::HostUnreachable => "is rejected: ICMP host unreachable",
        Cause::NetUnreachable => "is rejected: ICMP network unreachable",
        Cause::AdminProhibited => "is rejected by policy: ICMP administratively prohibited",
        Cause::RouteMissing => "has no route from here",
        Cause::ConnectionReset => "accepts, then resets",
        Cause::ConnectionClosed => "accepts, then closes without an answer",
        Cause::NoFirstByte => "accepts and never answers /up",
        Cause::TransferStalled => "begins to answer and stalls",
        Cause::NotHttp => "answers, but not HTTP",
        Cause::Http4xx => "answers /up with 4xx",
        Cause::Http5xx => "answers /up with 5xx",
        Cause::WrongTenant => "answers /up for another tenant",
        Cause::AnsweredByOther => "is answered for by another machine",
        Cause::AddressConflict => "is answered for by two machines",
        Cause::TlsFailed => "fails TLS",
        Cause::DnsFailed => "does not resolve as expected",
        Cause::NoAnswer => "gives no answer in time",
    }
}

/// The newest cause among those who miss `subject`.
pub(super) fn newest_cause(
    case: &Case<'_>,
    subject: &Subject,
    layer: Layer,
    tally: &Tally,
) -> Option<Cause> {
    tally
        .missing
        .iter()
        .filter_map(|v| case.board.path(v, subject, layer)?.state.last_miss())
        .max()
        .map(|(_, cause)| cause)
}

/// Who misses `what`, if anybody does.
pub(super) fn tally_line(
    case: &Case<'_>,
    layer: Layer,
    what: &str,
    tally: &Tally,
) -> Option<Evidence> {
    if tally.missing.is_empty() {
        return None;
    }
    let said = match layer {
        Layer::Arp => cause(Cause::ArpUnanswered),
        Layer::Tcp => "cannot be connected to",
        Layer::Http => "does not answer /up rightly",
        Layer::Link | Layer::Control => "does not answer",
    };
    let others = if tally.reached.is_empty() {
        String::new()
    } else {
        format!("; {} still reach it", tally.reached.len())
    };
    Some(Evidence {
        layer: Some(layer),
        vantage: (tally.missing.len() == 1).then(|| tally.missing[0].clone()),
        text: format!("{what} {said}: {}{others}", names(&tally.missing)),
        seen_at: case.now.wall_at(tally.newest.unwrap_or(case.now.tick)),
    })
}

/// Who reaches `what`, if anybody does.
pub(super) fn reached_line(
    case: &Case<'_>,
    layer: Layer,
    what: &str,
    tally: &Tally,
) -> Option<Evidence> {
    if tally.reached.is_empty() {
        return None;
    }
    Some(Evidence {
        layer: Some(layer),
        vantage: None,
        text: format!("{what} answers {layer}: {}", names(&tally.reached)),
        seen_at: case.now.wall_at(tally.newest.unwrap_or(case.now.tick)),
    })
}

/// What a machine says of its own leg.
pub(super) fn link_line(case: &Case<'_>, own: &Vantage, word: &LinkWord) -> Evidence {
    let facts = case
        .board
        .vantages()
        .get(own)
        .and_then(|s| s.link.as_ref())
        .map(|(facts, _)| facts);
    let device = facts.map_or("the PN device", |f| f.device.as_str());
    let held = facts
        .and_then(|f| f.addresses.first())
        .map_or_else(|| "none".to_owned(), |a| a.address.to_string());
    let text = match word.sign {
        LinkSign::Fine => format!("{device} is up and holds {held}"),
        LinkSign::InterfaceMissing => format!("{device} is absent or down"),
        LinkSign::NoCarrier => format!("{device} has no carrier"),
        LinkSign::AddressLost => {
            format!(
                "{device} is up without an address in {} (holds: {held})",
                case.inventory.pn_cidr
            )
        }
        LinkSign::AddressWrong => format!("{device} holds {held}, not the address handed out"),
        LinkSign::RouteWrong => format!("PN traffic leaves by another device than {device}"),
        LinkSign::Silent => "says nothing newer than the fault".to_owned(),
    };
    let seen = case
        .board
        .vantages()
        .get(own)
        .map_or(word.since, |s| s.link_told);
    Evidence {
        layer: Some(Layer::Link),
        vantage: Some(own.clone()),
        text,
        seen_at: case.now.wall_at(seen),
    }
}

pub(super) fn node_clause(fault: Fault, address: Ipv4Addr, facts: Option<&LinkFacts>) -> String {
    let device = facts.map_or("pn0", |f| f.device.as_str());
    match fault {
        Fault::InterfaceMissing => format!("{device} is missing, and {address} with it"),
        Fault::AddressLost => format!("{device} lost {address}"),
        Fault::AddressWrong => {
            let held = facts.and_then(|f| f.addresses.first());
            let held = held.map_or_else(|| "another address".into(), |a| a.address.to_string());
            format!("{device} holds {held}, but {address} is handed out")
        }
        Fault::L2Isolated => format!("{device} is right, but {address} is cut off at layer 2"),
        Fault::RouteWrong => format!("PN traffic leaves by another device than {device}"),
        Fault::NodeportNotServed => format!("{address} answers ARP, but serves no NodePort"),
        Fault::NodeDown => format!("down: {address} and its prober fell silent together"),
        Fault::NodeUnreachable => format!(
            "unreachable on the PN at {address}; interface, address, layer 2 or the node itself: \
             its prober is silent"
        ),
        other => other.title().to_owned(),
    }
}

pub(super) fn host_clause(fault: Fault, facts: Option<&LinkFacts>) -> String {
    let device = facts.map_or("its PN device", |f| f.device.as_str());
    match fault {
        Fault::InterfaceMissing => format!("{device} is missing or down"),
        Fault::AddressLost => format!("{device} lost its PN address"),
        Fault::L2Isolated => format!("{device} is cut off at layer 2; other hosts are fine"),
        Fault::PortFiltered => "cannot connect where other hosts can".to_owned(),
        Fault::VantageLost => "reaches nothing, not even its control; other hosts are fine".into(),
        other => other.title().to_owned(),
    }
}

pub(super) fn account_clause(fault: Fault, seen: Option<Cause>) -> String {
    match (fault, seen) {
        (Fault::WrongTenant, _) => "its NodePort answers for another tenant".into(),
        (Fault::GatewayBroken, Some(seen)) => format!("its gateway {}", cause(seen)),
        (Fault::PodDead, Some(seen)) => format!("its cache {}", cause(seen)),
        (Fault::AccountUnreachable, Some(seen)) => format!("its NodePort {}", cause(seen)),
        (Fault::Draining, _) => "its pod is draining".into(),
        (other, _) => other.title().to_owned(),
    }
}
