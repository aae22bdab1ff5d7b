//! F35, F36: reached, but badly. Whose fault is told by what all bad paths have in common.
//!
//! Every path is an edge between two machines. The machine most of whose edges are bad is
//! blamed, and its edges are taken away; what is left is judged again. So a lossy host is no
//! fault of the nodes that it checks, nor of the hosts that it hears badly.

use core::time::Duration;
use std::collections::BTreeSet;

use super::scope::{Blamed, Case, Ill};
use super::symptom::Witnesses;
use super::table::{self, Flaw, QualitySigns, Scope};
use super::trace::Hold;
use super::{Diagnosis, repair, text};
use crate::fault::Blame;
use crate::finding::Evidence;
use crate::name::{Account, Host, Node, Vantage};
use crate::outcome::{Cause, Layer, Outcome};
use crate::path::Verdict;
use crate::subject::Subject;
use crate::time::Tick;
use crate::witness::LargeRead;

/// Reads that must have stalled in a row: one may have met a loss.
const STALLED: u32 = 2;
/// Reads older than this say nothing of now: they come once a minute.
const READ_LATELY: Duration = Duration::from_secs(150);
/// Silences among the last results that make loss: an outage is one, and fewer may be chance.
const SILENCES: usize = 6;
/// Share of a machine's paths that must be bad for it to be blamed.
const SHARE: f64 = 0.75;

/// Whether a read of many segments that began at `at` says anything of now.
pub(crate) fn is_recent(at: Tick, now: Tick) -> bool {
    now.since(at) <= READ_LATELY
}

/// Whether it stopped in the middle.
pub(crate) fn has_stalled(read: &LargeRead) -> bool {
    read.outcome == Outcome::Unreached(Cause::TransferStalled)
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Machine {
    Node(Node),
    Host(Host),
}

/// One path between two machines.
struct Edge {
    from: Host,
    to: Machine,
    account: Option<Account>,
    bad: bool,
    seen: Tick,
    said: String,
}

impl Edge {
    fn touches(&self, machine: &Machine) -> bool {
        self.to == *machine || matches!(machine, Machine::Host(h) if *h == self.from)
    }
}

/// What is reached, but badly.
pub(super) fn diagnose(case: &Case<'_>, blamed: &Blamed, found: &mut Vec<Diagnosis>) {
    for flaw in [Flaw::Lossy, Flaw::LargeLost] {
        let edges = match flaw {
            Flaw::Lossy => lossy(case, blamed),
            Flaw::LargeLost => large(case, blamed),
        };
        if edges.iter().any(|e| e.bad) {
            // A lost packet is repeated by TCP: whether machines lose any is told by ARP, and
            // what ARP says of a machine explains its accounts.
            let (machines, accounts): (Vec<Edge>, Vec<Edge>) =
                edges.into_iter().partition(|e| e.account.is_none());
            let unclear = |e: &Edge| {
                machines.iter().any(|m| {
                    m.bad && (m.touches(&e.to) || m.touches(&Machine::Host(e.from.clone())))
                })
            };
            if machines.is_empty() {
                judge(case, flaw, accounts, found);
            } else {
                let accounts: Vec<Edge> = accounts.into_iter().filter(|e| !unclear(e)).collect();
                judge_accounts(case, flaw, &accounts, found);
                judge(case, flaw, machines, found);
            }
        }
    }
}

fn judge(case: &Case<'_>, flaw: Flaw, mut edges: Vec<Edge>, found: &mut Vec<Diagnosis>) {
    let machines: BTreeSet<Machine> = edges
        .iter()
        .flat_map(|e| [Machine::Host(e.from.clone()), e.to.clone()])
        .collect();
    // What all reach badly that is the only thing there is may as well be its own fault.
    let ends: BTreeSet<&Machine> = edges.iter().map(|e| &e.to).collect();
    let bad_ends = ends
        .iter()
        .filter(|end| share(&edges, &|e| e.to == ***end).0 >= SHARE);
    let worst = machines
        .iter()
        .filter(|m| share(&edges, &|e| e.touches(m)).0 >= SHARE);
    if bad_ends.count() > 1 && worst.count() > 2 && share(&edges, &|_| true).0 >= SHARE {
        found.extend(name(case, flaw, Scope::Network, "PN", &edges, &|_| true));
        return;
    }
    // What an open finding says of a node, or of all, is no sign against a host or an account.
    let told = |e: &Edge| {
        let node = match &e.to {
            Machine::Node(node) => case.ails(flaw, Ill::Node(node.clone()), e.seen),
            Machine::Host(_) => false,
        };
        let by = e.bad && (node || case.ails(flaw, Ill::Network, e.seen));
        case.holds(Hold::IllTarget, &Vantage::Host(e.from.clone()), by)
    };
    loop {
        let rated = machines.iter().map(|m| {
            let of_host = matches!(m, Machine::Host(_));
            (share(&edges, &|e| e.touches(m) && !(of_host && told(e))), m)
        });
        let rated = rated.filter(|((share, _), _)| *share >= SHARE);
        let worst = rated.max_by(|((a, n), x), ((b, m), y)| {
            // Of equals a node: whoever sees only one cannot tell, and a node serves many.
            a.total_cmp(b).then(n.cmp(m)).then(y.cmp(x))
        });
        let Some((_, machine)) = worst else { break };
        let (scope, subject) = match machine {
            Machine::Node(node) => (Scope::Node, node.as_str()),
            Machine::Host(host) => (Scope::Host, host.as_str()),
        };
        found.extend(name(case, flaw, scope, subject, &edges, &|e| {
            e.touches(machine)
        }));
        edges.retain(|e| !e.touches(machine));
    }
    edges.retain(|e| !told(e));
    judge_accounts(case, flaw, &edges, found);
}

/// Share of the bad among those of `edges` that are `theirs`, and how many these are.
fn share(edges: &[Edge], theirs: &dyn Fn(&Edge) -> bool) -> (f64, u32) {
    let (mut bad, mut all) = (0, 0);
    for edge in edges.iter().filter(|e| theirs(e)) {
        bad += u32::from(edge.bad);
        all += 1;
    }
    (f64::from(bad) / f64::from(all.max(1)), all)
}

fn judge_accounts(case: &Case<'_>, flaw: Flaw, edges: &[Edge], found: &mut Vec<Diagnosis>) {
    let accounts: BTreeSet<&Account> = edges.iter().filter_map(|e| e.account.as_ref()).collect();
    for account in accounts {
        let theirs = |e: &Edge| e.account.as_ref() == Some(account);
        if share(edges, &theirs).0 >= SHARE {
            found.extend(name(
                case,
                flaw,
                Scope::Account,
                account.as_str(),
                edges,
                &theirs,
            ));
        }
    }
}

fn name(
    case: &Case<'_>,
    flaw: Flaw,
    scope: Scope,
    subject: &str,
    edges: &[Edge],
    theirs: &dyn Fn(&Edge) -> bool,
) -> Option<Diagnosis> {
    let bad: Vec<&Edge> = edges.iter().filter(|e| e.bad && theirs(e)).collect();
    let vantages: BTreeSet<Vantage> = edges
        .iter()
        .map(|e| Vantage::Host(e.from.clone()))
        .collect();
    let signs = QualitySigns {
        flaw,
        scope,
        witnesses: Witnesses::count(vantages.len()),
    };
    let blame = match scope {
        Scope::Network => Blame::Network,
        Scope::Node => Blame::Node,
        Scope::Host => Blame::Host,
        Scope::Account => Blame::Account,
    };
    let named = case.ask(table::QUALITY, &signs, (blame, subject))?;
    let since = bad.iter().map(|e| e.seen).min()?;
    let mut diagnosis = Diagnosis::new(blame, subject, named, since);
    let what = match flaw {
        Flaw::Lossy => "loses a quarter of its packets or more",
        Flaw::LargeLost => "answers small requests, but large packets are lost (MTU)",
    };
    diagnosis.summary = format!("{} {subject}: {what}", blame.as_label());
    for edge in bad.iter().take(text::MAX_LINES) {
        diagnosis.evidence.push(Evidence {
            layer: Some(if flaw == Flaw::Lossy {
                Layer::Arp
            } else {
                Layer::Http
            }),
            vantage: Some(Vantage::Host(edge.from.clone())),
            text: edge.said.clone(),
            seen_at: case.now.wall_at(edge.seen),
        });
    }
    let suffering: BTreeSet<Vantage> = bad.iter().map(|e| Vantage::Host(e.from.clone())).collect();
    diagnosis.vantages = suffering.into_iter().collect();
    match scope {
        Scope::Node => diagnosis.node = subject.parse().ok(),
        Scope::Host => diagnosis.host = subject.parse().ok(),
        Scope::Account => diagnosis.account = subject.parse().ok(),
        Scope::Network => {}
    }
    diagnosis.repair = repair::quality(flaw, blame, subject);
    Some(diagnosis)
}

/// Every path between a host that reports and another machine, by how much it loses.
fn lossy(case: &Case<'_>, blamed: &Blamed) -> Vec<Edge> {
    if !case.board.is_lossy() {
        return Vec::new();
    }
    let now = case.now.tick;
    let hosts = case.board.vantages().keys().filter_map(|v| match v {
        Vantage::Host(host) => Some(host),
        _ => None,
    });
    let mut edges = Vec::new();
    for host in hosts {
        let own = Vantage::Host(host.clone());
        for (subject, layer, to, account) in ends(case, host) {
            let verdict = case.board.verdict(&own, &subject, layer, now);
            if !verdict.is_reached() {
                continue;
            }
            let path = case.board.path(&own, &subject, layer);
            let here_and_there = path.is_some_and(|p| p.state.silences() >= SILENCES);
            let bad = verdict == Verdict::Degraded && here_and_there;
            if is_explained(case, blamed, &own, &subject) {
                continue;
            }
            let Some((seen, loss)) = path.and_then(|p| Some((p.state.newest()?, p.state.loss())))
            else {
                continue;
            };
            edges.push(Edge {
                from: host.clone(),
                to,
                account,
                bad,
                seen,
                said: format!(
                    "{:.0} % of the {layer} checks of {} are lost",
                    loss * 100.0,
                    text::subject(&subject)
                ),
            });
        }
    }
    edges
}

/// What a host checks: the subject, at which layer, on which machine, of which account.
fn ends(case: &Case<'_>, own: &Host) -> Vec<(Subject, Layer, Machine, Option<Account>)> {
    let nodes = case.inventory.nodes.keys();
    let nodes = nodes.map(|n| {
        (
            Subject::Node(n.clone()),
            Layer::Arp,
            Machine::Node(n.clone()),
            None,
        )
    });
    let peers = case.inventory.vantages.keys().filter_map(|v| match v {
        Vantage::Host(host) if host != own => Some((
            Subject::Neighbour(v.clone()),
            Layer::Arp,
            Machine::Host(host.clone()),
            None,
        )),
        _ => None,
    });
    let targets = case.inventory.targets.iter();
    let targets = targets.map(|(subject, t)| {
        let to = Machine::Node(t.node.clone());
        (subject.clone(), Layer::Tcp, to, Some(t.account.clone()))
    });
    nodes.chain(peers).chain(targets).collect()
}

/// Whether what is bad there is somebody's fault already.
fn is_explained(case: &Case<'_>, blamed: &Blamed, own: &Vantage, subject: &Subject) -> bool {
    let onset = case.now.tick;
    let explained = case.explained(blamed, subject, onset) || case.discredits(blamed, own, onset);
    case.holds(Hold::LossOfBlamed, subject, explained)
}

/// Whether small answers still failed when a read began: if it stalled, that says nothing of large
/// ones.
fn began_in_silence(case: &Case<'_>, (vantage, subject): (&Vantage, &Subject), at: Tick) -> bool {
    let path = case.board.path(vantage, subject, Layer::Http);
    let back = path.and_then(|path| path.state.recovered_at());
    back.is_some_and(|back| back > at)
}

/// Every account target that a host reads many segments from.
fn large(case: &Case<'_>, blamed: &Blamed) -> Vec<Edge> {
    let now = case.now.tick;
    let mut edges = Vec::new();
    for (subject, target) in &case.inventory.targets {
        for (vantage, read, at) in case.board.large(subject) {
            let Vantage::Host(host) = vantage else {
                continue;
            };
            let up = case.board.verdict(vantage, subject, Layer::Http, now);
            let fresh = is_recent(at, now) && case.board.is_reporting(vantage, now);
            // Where small answers fail too, this says nothing more.
            if !fresh || !up.is_reached() {
                continue;
            }
            if has_stalled(read) && began_in_silence(case, (vantage, subject), at) {
                continue;
            }
            let bad = has_stalled(read) && read.misses >= STALLED;
            // One that stalled once says neither.
            if has_stalled(read) && !bad {
                continue;
            }
            if is_explained(case, blamed, vantage, subject) {
                continue;
            }
            edges.push(Edge {
                from: host.clone(),
                to: Machine::Node(target.node.clone()),
                account: Some(target.account.clone()),
                bad,
                seen: at,
                said: format!(
                    "{} answers /up, and a read of many segments stalls after {} bytes ({} times)",
                    text::subject(subject),
                    read.bytes,
                    read.misses
                ),
            });
        }
    }
    edges
}
