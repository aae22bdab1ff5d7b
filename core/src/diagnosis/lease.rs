//! Leases past their renewal, and the DHCP server behind several of them.

use core::time::Duration;

use super::scope::{Blamed, Case, Extent};
use super::symptom::Witnesses;
use super::table::{self, LeaseSign, LeaseSigns, ServerSigns};
use super::trace::Hold;
use super::{Diagnosis, repair, text};
use crate::fault::Blame;
use crate::finding::Evidence;
use crate::link::Lease;
use crate::name::Vantage;
use crate::outcome::Layer;
use crate::time::{Tick, spoken};

/// A client whose renewal stayed unanswered asks again after a minute at the earliest
/// (RFC 2131 §4.4.5).
const ASKS_AGAIN: Duration = Duration::from_secs(75);

/// How long the first overdue lease waits for others, whose vantages report a second apart.
const JOINS: Duration = Duration::from_secs(2);

/// One machine's lease, as of now.
struct Held<'a> {
    vantage: &'a Vantage,
    blame: Blame,
    name: &'a str,
    device: &'a str,
    lease: Lease,
    remaining: Duration,
    told: Tick,
    left: LeaseSign,
}

/// F2a, F33.
pub(super) fn diagnose(case: &Case<'_>, blamed: &Blamed, found: &mut Vec<Diagnosis>) {
    let leases = held(case, blamed);
    let mut overdue = leases
        .iter()
        .filter(|h| h.left != LeaseSign::Fresh)
        .peekable();
    let joins = overdue.peek().is_some() && overdue.all(is_just_overdue);
    if case.holds(Hold::LeaseJoins, &"PN", joins) {
        return;
    }
    let server = server(case, &leases);
    let silent = server.is_some() || case.blamed.dhcp;
    found.extend(server);
    for held in &leases {
        let signs = LeaseSigns {
            left: held.left,
            server_silent: case.holds(Hold::SilentServer, held.vantage, silent),
        };
        let about = (held.blame, held.name);
        if let Some(named) = case.ask(table::LEASE, &signs, about) {
            let mut diagnosis =
                Diagnosis::new(held.blame, held.name, named, overdue_since(case, held));
            describe(case, &mut diagnosis, held);
            found.push(diagnosis);
        }
    }
}

/// Every lease of whoever reports and is not blamed already.
fn held<'a>(case: &Case<'a>, blamed: &Blamed) -> Vec<Held<'a>> {
    let mut all = Vec::new();
    for (vantage, sight) in case.board.vantages() {
        let (blame, name, extent) = match vantage {
            Vantage::Node(n) => (Blame::Node, n.as_str(), blamed.nodes.get(n)),
            Vantage::Host(h) => (Blame::Host, h.as_str(), blamed.hosts.get(h)),
            Vantage::Vm(..) => continue,
        };
        let hidden = case.holds(
            Hold::LeaseOfBlamed,
            vantage,
            matches!(extent, Some(Extent::All | Extent::Before(_))),
        );
        // What a silent vantage said last says nothing of now; nor does one that has slept and
        // speaks again, before it has looked at its leg: the lease may be renewed since.
        let told = case.board.tells_link(vantage, case.now.tick);
        let silent = case.holds(Hold::SilentVantage, vantage, !told);
        let Some((facts, _)) = sight.link.as_ref().filter(|_| !hidden && !silent) else {
            continue;
        };
        let Some(lease) = facts.lease(case.inventory.pn_cidr) else {
            continue;
        };
        // Leases are told in whole seconds; what has passed since counts too.
        let passed = case.now.tick.since(sight.link_told);
        let remaining = lease.remaining.saturating_sub(passed);
        all.push(Held {
            vantage,
            blame,
            name,
            device: &facts.device,
            remaining,
            told: sight.link_told,
            left: table::lease_sign(remaining.as_secs_f64(), lease.granted.as_secs_f64()),
            lease,
        });
    }
    all
}

fn is_just_overdue(held: &Held<'_>) -> bool {
    let was = held.remaining.saturating_add(JOINS).as_secs_f64();
    table::lease_sign(was, held.lease.granted.as_secs_f64()) == LeaseSign::Fresh
}

/// Whether any lease was renewed since `since`. Once a silent server answers again, clients come
/// back one by one as each asks again: for [`ASKS_AGAIN`] its finding goes on.
fn is_answered(case: &Case<'_>, leases: &[Held<'_>], since: Tick) -> bool {
    let grace = if case.blamed.dhcp {
        ASKS_AGAIN
    } else {
        Duration::ZERO
    };
    leases.iter().any(|held| {
        let age = held.lease.granted.saturating_sub(held.lease.remaining);
        let renewed = held.told.before(age);
        renewed > since && case.now.tick.since(renewed) >= grace
    })
}

fn overdue_since(case: &Case<'_>, held: &Held<'_>) -> Tick {
    let renewed = held.lease.granted.saturating_sub(held.remaining);
    let overdue = renewed.saturating_sub(held.lease.granted / 2);
    case.now.tick.before(overdue)
}

/// F33: one finding of the network for several machines.
fn server(case: &Case<'_>, leases: &[Held<'_>]) -> Option<Diagnosis> {
    let overdue: Vec<&Held<'_>> = leases
        .iter()
        .filter(|h| h.left != LeaseSign::Fresh)
        .collect();
    if overdue.is_empty() && !case.is_traced() {
        return None;
    }
    let first = overdue.iter().map(|h| overdue_since(case, h)).min();
    let goes_on = case.blamed.dhcp && !overdue.is_empty();
    let signs = ServerSigns {
        // Whoever is left of several when it answers again is still one of them.
        overdue: if goes_on {
            Witnesses::Many
        } else {
            Witnesses::count(overdue.len())
        },
        answered: first.is_some_and(|since| is_answered(case, leases, since)),
        worst: overdue
            .iter()
            .map(|h| h.left)
            .max()
            .unwrap_or(LeaseSign::Fresh),
        unanswered: overdue.iter().any(|h| is_unanswered(case, h.vantage)),
    };
    let named = case.ask(table::SERVER, &signs, (Blame::Network, "PN"))?;
    let since = first?;
    let mut diagnosis = Diagnosis::new(Blame::Network, "PN", named, since);
    for held in overdue.iter().take(text::MAX_LINES) {
        diagnosis.evidence.push(line(case, held));
    }
    diagnosis.vantages = overdue.iter().map(|h| h.vantage.clone()).collect();
    let nodes = case.inventory.targets.values();
    diagnosis.accounts = text::accounts(nodes.filter(|t| {
        let node = Vantage::Node(t.node.clone());
        diagnosis.vantages.contains(&node)
    }));
    diagnosis.summary = format!(
        "private network of {}: the DHCP server is silent; {} machines' leases are not renewed, \
         the first runs out in {}",
        case.inventory.cluster,
        overdue.len(),
        spoken(
            overdue
                .iter()
                .map(|h| h.remaining)
                .min()
                .unwrap_or_default()
        )
    );
    diagnosis.repair = repair::dhcp();
    Some(diagnosis)
}

fn line(case: &Case<'_>, held: &Held<'_>) -> Evidence {
    Evidence {
        layer: Some(Layer::Link),
        vantage: Some(held.vantage.clone()),
        text: format!(
            "{} of {} left; a renewal was due at half of it",
            spoken(held.remaining),
            spoken(held.lease.granted)
        ),
        seen_at: case.now.wall_at(held.told),
    }
}

fn describe(case: &Case<'_>, diagnosis: &mut Diagnosis, held: &Held<'_>) {
    diagnosis.summary = format!(
        "{} {}: the lease of {} on {} is not renewed and runs out",
        held.blame.as_label(),
        held.name,
        held.lease.address,
        held.device
    );
    diagnosis.evidence.push(line(case, held));
    match held.vantage {
        Vantage::Node(node) => {
            diagnosis.node = Some(node.clone());
            diagnosis.accounts = text::accounts(case.inventory.targets_of(node).map(|(_, t)| t));
        }
        other => diagnosis.host = other.host().cloned(),
    }
    diagnosis.address = Some(held.lease.address);
    diagnosis.vantages = vec![held.vantage.clone()];
    diagnosis.repair = repair::lease(held.vantage, held.device);
}

/// DHCP requests that stay without an answer count from this many on: one may be lost.
const UNANSWERED: u32 = 2;

/// Whether a machine's own requests stay without answers on the wire.
fn is_unanswered(case: &Case<'_>, vantage: &Vantage) -> bool {
    let sight = case.board.vantages().get(vantage);
    let word = sight.and_then(|s| s.witness.as_ref());
    word.is_some_and(|(report, _)| report.dhcp.unanswered >= UNANSWERED)
}
