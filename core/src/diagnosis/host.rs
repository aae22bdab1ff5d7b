//! Mac hosts: by their own word, and by comparison with others.

use std::collections::BTreeSet;

use super::Diagnosis;
use super::scope::{Blamed, Case, Extent, Ill};
use super::symptom::{LinkSign, Reach, SETTLE, link_word, room};
use super::table::{self, Flaw, HostSigns, Named, Room};
use super::trace::Hold;
use super::{repair, text};
use crate::board::Tally;
use crate::fault::{Blame, Fault};
use crate::link::LinkFacts;
use crate::name::{Host, Vantage};
use crate::outcome::Layer;
use crate::path::Verdict;
use crate::subject::Subject;
use crate::time::Tick;

/// Share of ARP requests, and separate silences, that are loss and no chance.
const LOSES: f64 = 0.2;
/// See [`LOSES`].
const LOSES_SILENCES: usize = 3;

fn hosts(case: &Case<'_>) -> Vec<Host> {
    let all: BTreeSet<Host> = case
        .board
        .vantages()
        .keys()
        .filter_map(|v| v.host().cloned())
        .collect();
    all.into_iter().collect()
}

pub(super) fn about(host: &Host) -> (Blame, &str) {
    (Blame::Host, host.as_str())
}

pub(super) fn facts<'a>(case: &Case<'a>, own: &Vantage) -> Option<&'a LinkFacts> {
    let link = case.board.vantages().get(own)?.link.as_ref();
    link.map(|(facts, _)| facts)
}

/// F10, F11: the host's own word, unless its own checks succeed since.
pub(super) fn by_own_link(case: &Case<'_>, blamed: &mut Blamed, found: &mut Vec<Diagnosis>) {
    for host in hosts(case) {
        let own = Vantage::Host(host.clone());
        if !case.board.is_reporting(&own, case.now.tick) {
            continue;
        }
        let word = link_word(case, &own, None, None);
        let bad = !matches!(word.sign, LinkSign::Fine | LinkSign::Silent);
        if !bad && !case.board.denied(&own) && !case.is_traced() {
            continue;
        }
        let reach = |layer| told_since(case, &own, layer, word.since);
        let signs = HostSigns {
            link: word.sign,
            arp: reach(Layer::Arp),
            ports: reach(Layer::Tcp),
            others: Reach::Unknown,
            control: Reach::Unknown,
            denied: case.board.denied(&own),
            states: Room::Enough,
        };
        if let Some(named) = case.ask(table::HOST, &signs, about(&host)) {
            let mut diagnosis = new(&host, named, word.since);
            diagnosis.evidence.push(text::link_line(case, &own, &word));
            finish(case, diagnosis, &host, blamed, found);
        }
    }
}

/// F12, F24, F32 of a host: it fails where others succeed.
pub(super) fn by_comparison(case: &Case<'_>, blamed: &mut Blamed, found: &mut Vec<Diagnosis>) {
    for host in troubled(case, |v| matches!(v, Vantage::Host(_))) {
        let own = Vantage::Host(host.clone());
        if blamed.network == Some(Extent::All)
            || found.iter().any(|d| d.host.as_ref() == Some(&host))
            || !case.board.is_reporting(&own, case.now.tick)
        {
            continue;
        }
        // What others are blamed for already proves nothing against a host.
        let innocent = |subject: &Subject, onset| case.is_innocent(blamed, subject, onset);
        let missed_arp = missed(case, &own, Layer::Arp, innocent);
        let missed_tcp = missed(case, &own, Layer::Tcp, innocent);
        let onsets = missed_arp.iter().chain(&missed_tcp);
        let Some(since) = onsets.filter_map(|(_, t)| t.onset).min() else {
            continue;
        };
        if case.holds(Hold::HostSettles, &own, is_settling(case, &own, since)) {
            continue;
        }
        let arp = own_reach(case, &own, Layer::Arp, &missed_arp, (since, false));
        let lossy = arp != Reach::Nobody && loses_arp(case, &own);
        if case.holds(Hold::LossyHost, &own, lossy) {
            continue;
        }
        // A connection takes longer to be missed than ARP: its quiet proves nothing yet.
        let told = arp == Reach::Nobody;
        let ports = own_reach(case, &own, Layer::Tcp, &missed_tcp, (since, told));
        let (others, waiting) = others_reach(case, blamed, &own, innocent);
        if waiting {
            continue;
        }
        let control =
            match case
                .board
                .verdict(&own, &Subject::Control, Layer::Control, case.now.tick)
            {
                Verdict::Unknown => Reach::Unknown,
                Verdict::Up | Verdict::Degraded => Reach::All,
                Verdict::Suspect | Verdict::Down => Reach::Nobody,
            };
        let signs = HostSigns {
            link: LinkSign::Fine,
            arp,
            ports,
            others,
            control,
            denied: false,
            states: room(facts(case, &own)),
        };
        if let Some(named) = case.ask(table::HOST, &signs, about(&host)) {
            let mut diagnosis = new(&host, named, since);
            diagnosis.evidence.extend(own_lines(case, &own, innocent));
            finish(case, diagnosis, &host, blamed, found);
        }
    }
}

/// Whether the host loses packets here and there at layer 2, or is known for it.
pub(super) fn loses_arp(case: &Case<'_>, own: &Vantage) -> bool {
    let told = |host: &Host| case.ails(Flaw::Lossy, Ill::Host(host.clone()), case.now.tick);
    let loses = |subject: &Subject| {
        let path = case.board.path(own, subject, Layer::Arp);
        path.is_some_and(|p| p.state.loss() >= LOSES && p.state.silences() >= LOSES_SILENCES)
    };
    own.host().is_some_and(told) || subjects(case, Layer::Arp).iter().any(loses)
}

/// Whether the host has only just come back from what its misses began with: connections
/// under way, and their slower pace, follow link and ARP by seconds.
fn is_settling(case: &Case<'_>, own: &Vantage, onset: Tick) -> bool {
    let link = case.board.vantages().get(own).and_then(|s| s.link.as_ref());
    let link = link.map(|(_, since)| *since);
    let back = |layer| {
        subjects(case, layer)
            .iter()
            .filter_map(|s| case.board.path(own, s, layer)?.state.recovered_at())
            .max()
    };
    link.into_iter()
        .chain(back(Layer::Arp))
        .chain(back(Layer::Tcp))
        .any(|back| onset < back && case.now.tick.since(back) < SETTLE)
}

/// Hosts of vantages that miss anything and for which `counts` holds.
pub(super) fn troubled(case: &Case<'_>, counts: impl Fn(&Vantage) -> bool) -> Vec<Host> {
    let all: BTreeSet<Host> = case
        .board
        .missing_vantages()
        .filter(|v| counts(v))
        .filter_map(|v| v.host().cloned())
        .collect();
    all.into_iter().collect()
}

pub(super) fn new(host: &Host, named: Named, since: Tick) -> Diagnosis {
    let blame = match named.fault {
        Fault::VantageLost | Fault::LocalNetworkDenied => Blame::Vantage,
        _ => Blame::Host,
    };
    let subject = match blame {
        Blame::Vantage => Vantage::Host(host.clone()).to_string(),
        _ => host.to_string(),
    };
    let mut diagnosis = Diagnosis::new(blame, subject, named, since);
    diagnosis.host = Some(host.clone());
    diagnosis
}

pub(super) fn finish(
    case: &Case<'_>,
    mut diagnosis: Diagnosis,
    host: &Host,
    blamed: &mut Blamed,
    found: &mut Vec<Diagnosis>,
) {
    let own = Vantage::Host(host.clone());
    let facts = facts(case, &own);
    diagnosis.vantages.push(own);
    diagnosis.vantages.sort();
    diagnosis.vantages.dedup();
    diagnosis.summary = format!("host {host}: {}", text::host_clause(diagnosis.fault, facts));
    diagnosis.repair = repair::host(diagnosis.fault, host, facts);
    let kind = match diagnosis.fault {
        Fault::VmNatMissing | Fault::VmNetworkDead | Fault::FilterStale => &mut blamed.vms,
        _ => &mut blamed.hosts,
    };
    kind.insert(host.clone(), Extent::All);
    found.push(diagnosis);
}

fn subjects(case: &Case<'_>, layer: Layer) -> Vec<Subject> {
    let nodes = case.inventory.nodes.keys().cloned().map(Subject::Node);
    match layer {
        Layer::Arp => nodes
            .chain(
                case.inventory
                    .vantages
                    .keys()
                    .filter(|v| matches!(v, Vantage::Host(_)))
                    .cloned()
                    .map(Subject::Neighbour),
            )
            .collect(),
        _ => case.inventory.targets.keys().cloned().collect(),
    }
}

/// What one vantage told to have reached at `layer` since `since`.
fn told_since(case: &Case<'_>, own: &Vantage, layer: Layer, since: Tick) -> Reach {
    let tallies: Vec<Tally> = subjects(case, layer)
        .iter()
        .map(|s| {
            case.board
                .tally_of(own, s, layer, Some(since), case.now.tick)
        })
        .collect();
    Reach::told(&tallies)
}

/// What one vantage misses at `layer` that nobody else is blamed for.
fn missed(
    case: &Case<'_>,
    own: &Vantage,
    layer: Layer,
    innocent: impl Fn(&Subject, Tick) -> bool,
) -> Vec<(Subject, Tally)> {
    case.board
        .missing_of(own)
        .filter(|(l, _)| *l == layer)
        .map(|(_, subject)| {
            let tally = case
                .board
                .tally_of(own, subject, layer, None, case.now.tick);
            (subject.clone(), tally)
        })
        .filter(|(subject, tally)| {
            tally.down > 0 && tally.onset.is_some_and(|onset| !innocent(subject, onset))
        })
        .collect()
}

/// What one vantage reaches at `layer` since `since`, where only what it told counts if `told`.
fn own_reach(
    case: &Case<'_>,
    own: &Vantage,
    layer: Layer,
    missed: &[(Subject, Tally)],
    (since, told): (Tick, bool),
) -> Reach {
    // A success from before the onset says nothing about now.
    let others: Vec<Tally> = subjects(case, layer)
        .iter()
        .map(|s| {
            case.board
                .tally_of(own, s, layer, Some(since), case.now.tick)
        })
        .filter(|t| t.missing.is_empty())
        .collect();
    let all = others.iter().chain(missed.iter().map(|(_, t)| t));
    if told {
        Reach::told(all)
    } else {
        Reach::over(all)
    }
}

/// Whether other credible vantages reach what `own` misses, and whether to wait for them.
fn others_reach(
    case: &Case<'_>,
    blamed: &Blamed,
    own: &Vantage,
    innocent: impl Fn(&Subject, Tick) -> bool,
) -> (Reach, bool) {
    let now = case.now.tick;
    let mut tallies = Vec::new();
    let mut waiting = false;
    let lossy = is_lossy(case, own);
    for layer in [Layer::Arp, Layer::Tcp] {
        for (subject, mine) in missed(case, own, layer, &innocent) {
            let since = mine.onset.map(|onset| sure_after(case, onset, lossy));
            let others = case.board.tally(&subject, layer, since, now, |v, p| {
                v != own && case.credible(blamed, v, p) && v.host() != own.host()
            });
            let early = mine
                .down_seen
                .is_some_and(|seen| now.since(seen) < case.patience.naming_wait);
            waiting |= early && !others.quiet.is_empty() && others.reached.is_empty();
            tallies.push(others);
        }
    }
    let reach = if lossy {
        Reach::told(&tallies)
    } else {
        Reach::over(&tallies)
    };
    (reach, waiting)
}

/// Whether `own` loses packets anyway: then one that it lost just before a fault of somebody
/// else makes its silence the first to be sure.
pub(super) fn is_lossy(case: &Case<'_>, own: &Vantage) -> bool {
    let losses = [Layer::Arp, Layer::Tcp].into_iter().flat_map(|layer| {
        let of = subjects(case, layer).into_iter();
        of.filter_map(move |s| {
            let state = &case.board.path(own, &s, layer)?.state;
            Some(state.missing_since().is_none() && state.loss() > 0.0)
        })
    });
    let lossy = losses.filter(|lossy| *lossy).count() >= 2;
    case.holds(Hold::SharedOnset, own, lossy)
}

/// From when on a success of others contradicts the misses of `own` that began at `onset`.
pub(super) fn sure_after(case: &Case<'_>, onset: Tick, lossy: bool) -> Tick {
    if lossy {
        onset.after(case.board.limits().confirm)
    } else {
        onset
    }
}

fn own_lines(
    case: &Case<'_>,
    own: &Vantage,
    innocent: impl Fn(&Subject, Tick) -> bool,
) -> Vec<crate::finding::Evidence> {
    let mut lines = Vec::new();
    for layer in [Layer::Arp, Layer::Tcp] {
        for (subject, mine) in missed(case, own, layer, &innocent) {
            if lines.len() < text::MAX_LINES {
                lines.extend(text::tally_line(
                    case,
                    layer,
                    &text::subject(&subject),
                    &mine,
                ));
            }
        }
    }
    lines
}
