//! Mac hosts: by their own word, by comparison with others, and as their VMs feel it.

use std::collections::BTreeSet;

use super::Diagnosis;
use super::scope::{Blamed, Case};
use super::symptom::{LinkSign, Reach, link_word};
use super::table::{self, HostSigns, Named, VmSigns};
use super::{repair, text};
use crate::board::Tally;
use crate::fault::{Blame, Fault};
use crate::name::{Host, Vantage};
use crate::outcome::Layer;
use crate::path::Verdict;
use crate::subject::Subject;
use crate::time::Tick;

fn hosts(case: &Case<'_>) -> Vec<Host> {
    let all: BTreeSet<Host> = case
        .board
        .vantages()
        .keys()
        .filter_map(|v| v.host().cloned())
        .collect();
    all.into_iter().collect()
}

/// F10, F11: the host's own word, unless its own checks succeed since.
pub(super) fn by_own_link(case: &Case<'_>, blamed: &mut Blamed, found: &mut Vec<Diagnosis>) {
    for host in hosts(case) {
        let own = Vantage::Host(host.clone());
        if !case.board.is_reporting(&own, case.now.tick) {
            continue;
        }
        let word = link_word(
            case.board.vantages().get(&own),
            case.board,
            (case.inventory.pn_cidr, None),
            (None, case.patience.link_hold),
            case.now.tick,
        );
        let reach = |layer| told_since(case, &own, layer, word.since);
        let signs = HostSigns {
            link: word.sign,
            arp: reach(Layer::Arp),
            ports: reach(Layer::Tcp),
            others: Reach::Unknown,
            control: Reach::Unknown,
            denied: case.board.denied(&own),
        };
        let bad = !matches!(word.sign, LinkSign::Fine | LinkSign::Silent);
        if let Some(named) = table::host(signs).filter(|_| bad || signs.denied) {
            let mut diagnosis = new(&host, named, word.since);
            diagnosis.evidence.push(text::link_line(case, &own, &word));
            finish(case, diagnosis, &host, blamed, found);
        }
    }
}

/// F12, F24, F32 of a host: it fails where others succeed.
pub(super) fn by_comparison(case: &Case<'_>, blamed: &mut Blamed, found: &mut Vec<Diagnosis>) {
    for host in hosts(case) {
        let own = Vantage::Host(host.clone());
        if blamed.network
            || blamed.hosts.contains(&host)
            || !case.board.is_reporting(&own, case.now.tick)
        {
            continue;
        }
        // Nodes that carry blame already prove nothing against a host.
        let innocent = |subject: &Subject| !of_blamed_node(case, blamed, subject);
        let (arp, arp_since) = own_reach(case, &own, Layer::Arp, innocent);
        let (ports, tcp_since) = own_reach(case, &own, Layer::Tcp, innocent);
        let Some(since) = arp_since.into_iter().chain(tcp_since).min() else {
            continue;
        };
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
        };
        if let Some(named) = table::host(signs) {
            let mut diagnosis = new(&host, named, since);
            diagnosis.evidence.extend(own_lines(case, &own, innocent));
            finish(case, diagnosis, &host, blamed, found);
        }
    }
}

/// F3, F7, F9: a host's VMs fail where the host itself succeeds.
pub(super) fn by_vms(case: &Case<'_>, blamed: &mut Blamed, found: &mut Vec<Diagnosis>) {
    for host in hosts(case) {
        if blamed.network || blamed.hosts.contains(&host) {
            continue;
        }
        let now = case.now.tick;
        let vm_of = |v: &Vantage| {
            matches!(v, Vantage::Vm(h, _) if *h == host) && case.board.is_reporting(v, now)
        };
        let innocent: Vec<&Subject> = case
            .inventory
            .targets
            .keys()
            .filter(|s| !of_blamed_node(case, blamed, s))
            .collect();
        let tally = |s: &Subject, layer, since| case.board.tally(s, layer, since, now, vm_of);
        let ports: Vec<Tally> = innocent
            .iter()
            .map(|s| tally(s, Layer::Tcp, None))
            .collect();
        let Some(since) = ports
            .iter()
            .filter(|t| t.down > 0)
            .filter_map(|t| t.onset)
            .min()
        else {
            continue;
        };
        let own = Vantage::Host(host.clone());
        let of_host: Vec<Tally> = innocent
            .iter()
            .map(|s| {
                case.board
                    .tally(s, Layer::Tcp, Some(since), now, |v| *v == own)
            })
            .collect();
        if ports.iter().chain(&of_host).any(|t| case.must_wait(t)) {
            continue;
        }
        let control = tally(&Subject::Control, Layer::Control, Some(since));
        let signs = VmSigns {
            ports: Reach::over(&ports),
            control: if control.missing.is_empty() {
                Reach::of(&control)
            } else {
                Reach::Nobody
            },
            host: Reach::over(&of_host),
        };
        if let Some(named) = table::vms(signs) {
            let mut diagnosis = new(&host, named, since);
            for (subject, tally) in innocent.iter().zip(&ports).take(text::MAX_LINES) {
                let name = text::subject(subject);
                diagnosis
                    .evidence
                    .extend(text::tally_line(case, Layer::Tcp, &name, tally));
            }
            diagnosis.vantages = ports.into_iter().flat_map(|t| t.missing).collect();
            finish(case, diagnosis, &host, blamed, found);
        }
    }
}

fn new(host: &Host, named: Named, since: Tick) -> Diagnosis {
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

fn finish(
    case: &Case<'_>,
    mut diagnosis: Diagnosis,
    host: &Host,
    blamed: &mut Blamed,
    found: &mut Vec<Diagnosis>,
) {
    let own = Vantage::Host(host.clone());
    let facts = case
        .board
        .vantages()
        .get(&own)
        .and_then(|s| s.link.as_ref())
        .map(|(facts, _)| facts);
    diagnosis.vantages.push(own);
    diagnosis.vantages.sort();
    diagnosis.vantages.dedup();
    diagnosis.summary = format!("host {host}: {}", text::host_clause(diagnosis.fault, facts));
    diagnosis.repair = repair::host(diagnosis.fault, host, facts);
    blamed.hosts.insert(host.clone());
    found.push(diagnosis);
}

fn of_blamed_node(case: &Case<'_>, blamed: &Blamed, subject: &Subject) -> bool {
    match subject {
        Subject::Node(node) => blamed.nodes.contains(node),
        Subject::Account(..) => case
            .inventory
            .targets
            .get(subject)
            .is_some_and(|t| blamed.nodes.contains(&t.node)),
        Subject::Neighbour(v) => v.host().is_some_and(|h| blamed.hosts.contains(h)),
        Subject::Control => false,
    }
}

fn subjects<'a>(case: &'a Case<'_>, layer: Layer) -> Vec<Subject> {
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
                .tally(s, layer, Some(since), case.now.tick, |v| v == own)
        })
        .collect();
    Reach::told(&tallies)
}

/// What one vantage reaches at `layer`, and since when it misses what it misses.
fn own_reach(
    case: &Case<'_>,
    own: &Vantage,
    layer: Layer,
    counts: impl Fn(&Subject) -> bool,
) -> (Reach, Option<Tick>) {
    let subjects = subjects(case, layer);
    let tallies = |since| -> Vec<Tally> {
        subjects
            .iter()
            .filter(|s| counts(s))
            .map(|s| {
                case.board
                    .tally(s, layer, since, case.now.tick, |v| v == own)
            })
            .collect()
    };
    let onset = tallies(None)
        .iter()
        .filter(|t| t.down > 0)
        .filter_map(|t| t.onset)
        .min();
    // A success from before the onset says nothing about now.
    (Reach::over(&tallies(onset)), onset)
}

/// Whether other credible vantages reach what `own` misses, and whether to wait for them.
fn others_reach(
    case: &Case<'_>,
    blamed: &Blamed,
    own: &Vantage,
    counts: impl Fn(&Subject) -> bool,
) -> (Reach, bool) {
    let now = case.now.tick;
    let mut tallies = Vec::new();
    let mut waiting = false;
    for layer in [Layer::Arp, Layer::Tcp] {
        for subject in subjects(case, layer).iter().filter(|s| counts(s)) {
            let mine = case.board.tally(subject, layer, None, now, |v| v == own);
            if mine.down == 0 {
                continue;
            }
            let others = case.board.tally(subject, layer, mine.onset, now, |v| {
                v != own && case.credible(blamed, v) && v.host() != own.host()
            });
            let early = mine
                .down_seen
                .is_some_and(|seen| now.since(seen) < case.patience.naming_wait);
            waiting |= early && !others.quiet.is_empty() && others.reached.is_empty();
            tallies.push(others);
        }
    }
    (Reach::over(&tallies), waiting)
}

fn own_lines(
    case: &Case<'_>,
    own: &Vantage,
    counts: impl Fn(&Subject) -> bool,
) -> Vec<crate::finding::Evidence> {
    let mut lines = Vec::new();
    for layer in [Layer::Arp, Layer::Tcp] {
        for subject in subjects(case, layer).iter().filter(|s| counts(s)) {
            let mine = case
                .board
                .tally(subject, layer, None, case.now.tick, |v| v == own);
            if mine.down > 0 && lines.len() < text::MAX_LINES {
                lines.extend(text::tally_line(
                    case,
                    layer,
                    &text::subject(subject),
                    &mine,
                ));
            }
        }
    }
    lines
}
