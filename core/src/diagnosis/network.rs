//! The private network itself: nobody hears anybody.

use super::Diagnosis;
use super::scope::{Blamed, Case};
use super::symptom::{Reach, Witnesses};
use super::table::{self, NetworkSigns};
use super::text;
use super::trace::Hold;
use crate::board::{Path, Tally};
use crate::fault::Blame;
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
    if !subjects.iter().any(|s| case.board.is_missed(s)) && !case.is_traced() {
        return Word::Fine;
    }
    let arp = |s: &Subject, since| case.board.tally(s, Layer::Arp, since, now, host);
    let onset = subjects
        .iter()
        .chain(&peers)
        .map(|s| arp(s, None))
        .filter(|t| t.down > 0)
        .filter_map(|t| t.onset)
        .min();
    let nodes: Vec<Tally> = subjects.iter().map(|s| arp(s, onset)).collect();
    let peers: Vec<Tally> = peers.iter().map(|s| arp(s, onset)).collect();
    let all = || nodes.iter().chain(&peers);
    let mut witnesses: Vec<Vantage> = all().flat_map(|t| t.missing.iter().cloned()).collect();
    witnesses.sort();
    witnesses.dedup();
    // A connection that still succeeds contradicts: then ARP alone is filtered.
    let connects = case.inventory.targets.keys().any(|s| {
        let tally = case.board.tally(s, Layer::Tcp, onset, now, |v, p| {
            case.credible(blamed, v, p)
        });
        !tally.reached.is_empty()
    });
    let mut signs = NetworkSigns {
        nodes: missed(&nodes),
        peers: missed(&peers),
        connects,
        witnesses: Witnesses::count(witnesses.len()),
        crowd: witnesses.len() > 2,
    };
    let quiet = all().any(|t| !t.quiet.is_empty());
    let may_be = !connects
        && signs.nodes == Reach::Nobody
        && signs.peers != Reach::All
        && signs.peers != Reach::Some
        && peers
            .iter()
            .any(|t| !t.missing.is_empty() || !t.quiet.is_empty());
    if may_be && quiet && onset.is_some() {
        let down_seen = all().filter_map(|t| t.down_seen).min();
        let early = down_seen.is_some_and(|seen| now.since(seen) < case.patience.naming_wait);
        if case.holds(Hold::NamingWait, &"PN", early) {
            return Word::Wait;
        }
        // Past the wait, who has told of no miss has none.
        signs.peers = Reach::All;
    }
    let named = case.ask(table::NETWORK, &signs, (Blame::Network, "PN"));
    let (Some(named), Some(onset)) = (named, onset) else {
        return Word::Fine;
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

/// Over several machines, where a miss counts before it is sure: the first that is sure decides
/// for all.
fn missed(tallies: &[Tally]) -> Reach {
    let missing = tallies.iter().any(|t| !t.missing.is_empty());
    let reached = tallies.iter().any(|t| !t.reached.is_empty());
    match (reached, missing) {
        (false, true) => Reach::Nobody,
        (true, true) => Reach::Some,
        (true, false) => Reach::All,
        (false, false) => Reach::Unknown,
    }
}
