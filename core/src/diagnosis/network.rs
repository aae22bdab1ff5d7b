//! The private network itself: nobody hears anybody.

use super::Diagnosis;
use super::scope::{Blamed, Case};
use super::table::Named;
use super::text;
use crate::board::{Path, Tally};
use crate::fault::{Blame, Confidence, Fault, Severity};
use crate::name::Vantage;
use crate::outcome::Layer;
use crate::subject::Subject;

/// Whether the network itself is down.
pub(super) enum Word {
    /// It is not, as far as can be seen.
    Fine,
    /// It may be: somebody has not told yet.
    Wait,
    /// It is.
    Down(Box<Diagnosis>),
}

/// F31: at least two hosts, and neither nodes nor neighbours answer any of them.
pub(super) fn diagnose(case: &Case<'_>, blamed: &Blamed) -> Word {
    let now = case.now.tick;
    let host = |v: &Vantage, p: &Path| matches!(v, Vantage::Host(_)) && case.credible(blamed, v, p);
    let subjects: Vec<Subject> = case
        .inventory
        .nodes
        .keys()
        .map(|n| Subject::Node(n.clone()))
        .collect();
    let peers: Vec<Subject> = case
        .inventory
        .vantages
        .keys()
        .filter(|v| matches!(v, Vantage::Host(_)))
        .map(|v| Subject::Neighbour(v.clone()))
        .collect();
    if !subjects.iter().any(|s| case.board.is_missed(s)) {
        return Word::Fine;
    }
    let arp = |s: &Subject, since| case.board.tally(s, Layer::Arp, since, now, host);
    let Some(onset) = subjects
        .iter()
        .chain(&peers)
        .map(|s| arp(s, None))
        .filter(|t| t.down > 0)
        .filter_map(|t| t.onset)
        .min()
    else {
        return Word::Fine;
    };
    let nodes: Vec<Tally> = subjects.iter().map(|s| arp(s, Some(onset))).collect();
    let peers: Vec<Tally> = peers.iter().map(|s| arp(s, Some(onset))).collect();
    let all = || nodes.iter().chain(&peers);
    let down_seen = all().filter_map(|t| t.down_seen).min();
    let misses = |tallies: &[Tally]| tallies.iter().any(|t| !t.missing.is_empty());
    let mut witnesses: Vec<Vantage> = all().flat_map(|t| t.missing.iter().cloned()).collect();
    witnesses.sort();
    witnesses.dedup();
    // A connection that still succeeds contradicts: then ARP alone is filtered.
    let connects = case.inventory.targets.keys().any(|s| {
        let tally = case.board.tally(s, Layer::Tcp, Some(onset), now, |v, p| {
            case.credible(blamed, v, p)
        });
        !tally.reached.is_empty()
    });
    if connects
        || all().any(|t| !t.reached.is_empty())
        || !misses(&nodes)
        || !peers
            .iter()
            .any(|t| !t.missing.is_empty() || !t.quiet.is_empty())
    {
        return Word::Fine;
    }
    if all().any(|t| !t.quiet.is_empty()) {
        let early = down_seen.is_some_and(|seen| now.since(seen) < case.patience.naming_wait);
        return if early { Word::Wait } else { Word::Fine };
    }
    if !misses(&peers) || witnesses.len() < 2 {
        return Word::Fine;
    }
    let named = Named {
        fault: Fault::NetworkDown,
        severity: Severity::Critical,
        confidence: if witnesses.len() > 2 {
            Confidence::High
        } else {
            Confidence::Medium
        },
    };
    let mut found = Diagnosis::new(Blame::Network, "PN", named, onset);
    found.accounts = text::accounts(case.inventory.targets.values());
    found.summary = format!(
        "private network of {}: hosts reach neither nodes nor one another; {}",
        case.inventory.cluster,
        text::affected(found.accounts.len(), &witnesses)
    );
    for tally in all()
        .filter(|t| !t.missing.is_empty())
        .take(text::MAX_LINES)
    {
        found.evidence.extend(text::tally_line(
            case,
            Layer::Arp,
            "another machine of the PN",
            tally,
        ));
    }
    found.vantages = witnesses;
    found.repair = super::repair::network();
    Word::Down(Box::new(found))
}
