//! F12 of a node: several of its ports fall silent together while others answer.
//!
//! One port is an account's affair: its pod, its policy, its endpoint. Two accounts that lose
//! their ports within seconds of one another, silently, on one node, are the node's filter.

use core::time::Duration;

use super::Diagnosis;
use super::scope::{Blamed, Case, Extent};
use super::symptom::Witnesses;
use super::table::{self, FilterSigns};
use super::trace::Hold;
use super::{repair, text};
use crate::board::{Path, Tally};
use crate::fault::Blame;
use crate::inventory::{AccountTarget, NodeTarget};
use crate::name::Vantage;
use crate::outcome::{Cause, Layer};
use crate::subject::{Subject, TargetKind};
use crate::time::Tick;

/// How far apart ports may fall silent to count as one event.
const TOGETHER: Duration = Duration::from_secs(2);

/// One port and who reaches it.
struct Port<'a> {
    subject: &'a Subject,
    target: &'a AccountTarget,
    tally: Tally,
}

/// Nodes whose ports are filtered.
pub(super) fn diagnose(case: &Case<'_>, blamed: &mut Blamed, found: &mut Vec<Diagnosis>) {
    for node in case.inventory.nodes.values() {
        if let Some((diagnosis, ports)) = judge(case, blamed, node) {
            blamed
                .ports
                .extend(ports.into_iter().map(|s| (s, Extent::All)));
            found.push(diagnosis);
        }
    }
}

fn judge(case: &Case<'_>, blamed: &Blamed, node: &NodeTarget) -> Option<(Diagnosis, Vec<Subject>)> {
    let mut dead: Vec<Port<'_>> = case
        .inventory
        .targets_of(&node.name)
        .filter(|(subject, _)| case.board.is_missed(subject))
        .filter_map(|(subject, target)| silent(case, blamed, subject, target))
        .collect();
    let onset = dead.iter().filter_map(|p| p.tally.onset).min()?;
    dead.retain(|p| p.tally.onset.is_some_and(|o| o.since(onset) <= TOGETHER));
    let mut accounts = text::accounts(dead.iter().map(|p| p.target));
    accounts.dedup();
    let signs = FilterSigns {
        silent: Witnesses::count(accounts.len()),
        others_answer: others_answer(case, blamed, node, &dead, onset),
        gateways: dead.iter().all(|p| p.target.kind == TargetKind::Gateway),
        witnesses: Witnesses::count(missing(&dead).len()),
    };
    let named = case.ask(table::FILTER, &signs, (Blame::Node, node.name.as_str()))?;
    let mut diagnosis = Diagnosis::new(Blame::Node, node.name.as_str(), named, onset);
    diagnosis.vantages = missing(&dead);
    diagnosis.summary = format!(
        "node {}: {} of its {} are filtered while others answer; {}",
        node.name,
        dead.len(),
        if signs.gateways {
            "gateways"
        } else {
            "NodePorts"
        },
        text::affected(accounts.len(), &diagnosis.vantages)
    );
    for port in dead.iter().take(text::MAX_LINES) {
        let name = text::subject(port.subject);
        diagnosis
            .evidence
            .extend(text::tally_line(case, Layer::Tcp, &name, &port.tally));
    }
    diagnosis.accounts = accounts;
    diagnosis.node = Some(node.name.clone());
    diagnosis.address = Some(node.address);
    diagnosis.repair = repair::node(named.fault, &node.name, node.address, None);
    let subjects = dead.into_iter().map(|p| p.subject.clone()).collect();
    Some((diagnosis, subjects))
}

fn missing(ports: &[Port<'_>]) -> Vec<Vantage> {
    let mut all: Vec<Vantage> = ports
        .iter()
        .flat_map(|p| p.tally.missing.iter().cloned())
        .collect();
    all.sort();
    all.dedup();
    all
}

fn tally(case: &Case<'_>, blamed: &Blamed, subject: &Subject, since: Option<Tick>) -> Tally {
    let counts = |v: &Vantage, p: &Path| {
        let explained = |onset| case.explained(blamed, subject, onset);
        case.credible(blamed, v, p) && !p.state.missing_since().is_some_and(explained)
    };
    case.board
        .tally(subject, Layer::Tcp, since, case.now.tick, counts)
}

/// A port that nobody reaches and nothing comes back from.
fn silent<'a>(
    case: &Case<'_>,
    blamed: &Blamed,
    subject: &'a Subject,
    target: &'a AccountTarget,
) -> Option<Port<'a>> {
    let tally = tally(case, blamed, subject, None);
    let alone = tally.down > 0 && tally.reached.is_empty() && tally.quiet.is_empty();
    // What an open finding of the account speaks for stays its own.
    let taken = case.blamed.accounts.contains_key(&target.account);
    let filtered = matches!(
        text::newest_cause(case, subject, Layer::Tcp, &tally),
        Some(
            Cause::SynUnanswered
                | Cause::AdminProhibited
                | Cause::PortUnreachable
                | Cause::HostUnreachable
                | Cause::NoAnswer
        )
    );
    (alone && !taken && filtered && !case.is_excused(subject, target)).then_some(Port {
        subject,
        target,
        tally,
    })
}

fn others_answer(
    case: &Case<'_>,
    blamed: &Blamed,
    node: &NodeTarget,
    dead: &[Port<'_>],
    onset: Tick,
) -> bool {
    case.inventory
        .targets_of(&node.name)
        .filter(|(subject, _)| !dead.iter().any(|p| p.subject == *subject))
        .any(|(subject, _)| {
            let tally = tally(case, blamed, subject, Some(onset));
            !tally.reached.is_empty() || !tally.quiet.is_empty()
        })
}

/// Whether an account must wait: others of its node are suspect, and it is not too late.
pub(super) fn undecided(
    case: &Case<'_>,
    blamed: &Blamed,
    subject: &Subject,
    target: &AccountTarget,
) -> bool {
    let early = tally(case, blamed, subject, None)
        .down_seen
        .is_some_and(|seen| case.now.tick.since(seen) < case.patience.naming_wait);
    let others = || {
        case.inventory
            .targets_of(&target.node)
            .filter(|(other, t)| *other != subject && t.account != target.account)
            .filter(|(other, _)| case.board.is_missed(other))
            .any(|(other, _)| {
                let tally = tally(case, blamed, other, None);
                !tally.missing.is_empty() && tally.down == 0
            })
    };
    case.holds(Hold::FilterUndecided, subject, early && others())
}
