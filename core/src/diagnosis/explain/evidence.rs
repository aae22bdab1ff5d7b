//! What was seen of the thing that is explained, whatever came of it.

use super::super::host::facts;
use super::super::scope::Case;
use super::super::symptom::link_word;
use super::super::text;
use super::super::vms::filter_line;
use super::About;
use crate::board::Path;
use crate::finding::{Evidence, Finding};
use crate::name::Vantage;
use crate::outcome::Layer;
use crate::subject::Subject;
use crate::time::spoken;
use core::fmt::Write as _;

/// What was seen of `about`, then what open findings add to it.
pub(super) fn of(case: &Case<'_>, about: &About, findings: &[Finding]) -> Vec<Evidence> {
    let mut lines = Vec::new();
    seen(case, about, &mut lines);
    for evidence in findings.iter().flat_map(|f| &f.evidence) {
        if !lines.iter().any(|known| known.text == evidence.text) {
            lines.push(evidence.clone());
        }
    }
    lines.truncate(super::MOST);
    lines
}

fn seen(case: &Case<'_>, about: &About, lines: &mut Vec<Evidence>) {
    match about {
        About::Network => {
            for node in case.inventory.nodes.keys() {
                shared(case, &Subject::Node(node.clone()), Layer::Arp, lines);
            }
            let hosts = case.inventory.vantages.keys();
            for host in hosts.filter(|v| matches!(v, Vantage::Host(_))) {
                shared(case, &Subject::Neighbour(host.clone()), Layer::Arp, lines);
            }
        }
        About::Monitor => {
            for vantage in case.inventory.vantages.keys().filter(|v| v.is_witness()) {
                lines.push(last_report(case, vantage));
            }
        }
        About::Node(node) => {
            let own = Vantage::Node(node.clone());
            let expected = case.inventory.nodes.get(node).map(|n| n.address);
            let word = link_word(case, &own, expected, None);
            lines.push(text::link_line(case, &own, &word));
            lines.push(last_report(case, &own));
            shared(case, &Subject::Node(node.clone()), Layer::Arp, lines);
            let targets: Vec<&Subject> = case.inventory.targets_of(node).map(|(s, _)| s).collect();
            for subject in targets.into_iter().take(text::MAX_LINES) {
                shared(case, subject, Layer::Tcp, lines);
            }
        }
        About::Host(host) => {
            let own = Vantage::Host(host.clone());
            if facts(case, &own).is_some() {
                lines.push(text::link_line(
                    case,
                    &own,
                    &link_word(case, &own, None, None),
                ));
            }
            lines.extend(filter_line(case, &own));
            lines.push(last_report(case, &own));
            shared(case, &Subject::Neighbour(own.clone()), Layer::Arp, lines);
            let of_host = case.board.vantages().keys();
            for vantage in of_host.filter(|v| v.host() == Some(host)) {
                lines.extend(by(case, vantage));
            }
        }
        About::Account(account) => {
            let theirs = case.inventory.targets.iter();
            for (subject, _) in theirs.filter(|(_, t)| t.account == *account) {
                shared(case, subject, Layer::Tcp, lines);
                shared(case, subject, Layer::Http, lines);
                if let Some(ready) =
                    case.board
                        .ready(subject, case.now.tick, case.patience.drain_excuse)
                {
                    let said = if ready.draining {
                        "draining"
                    } else {
                        "not draining"
                    };
                    lines.push(line(
                        case,
                        None,
                        Some(Layer::Http),
                        ready.at,
                        format!("/ready said {said}"),
                    ));
                }
            }
        }
        About::Path(vantage, to) => {
            lines.push(last_report(case, vantage));
            let subjects = match &**to {
                About::Node(node) => vec![Subject::Node(node.clone())],
                About::Host(host) => vec![Subject::Neighbour(Vantage::Host(host.clone()))],
                About::Account(account) => {
                    let theirs = case.inventory.targets.iter();
                    let theirs = theirs.filter(|(_, t)| t.account == *account);
                    theirs.map(|(s, _)| s.clone()).collect()
                }
                _ => Vec::new(),
            };
            for subject in subjects {
                for layer in [Layer::Arp, Layer::Tcp, Layer::Http] {
                    let path = case.board.path(vantage, &subject, layer);
                    lines.extend(path.and_then(|p| of_path(case, vantage, (&subject, layer), p)));
                }
            }
        }
    }
}

fn line(
    case: &Case<'_>,
    vantage: Option<&Vantage>,
    layer: Option<Layer>,
    at: crate::time::Tick,
    text: String,
) -> Evidence {
    Evidence {
        layer,
        vantage: vantage.cloned(),
        text,
        seen_at: case.now.wall_at(at),
    }
}

fn last_report(case: &Case<'_>, vantage: &Vantage) -> Evidence {
    let sight = case.board.vantages().get(vantage);
    let (at, said) = match sight {
        None => (case.now.tick, "has never reported"),
        Some(s) if s.stopping => (s.last_report, "said goodbye"),
        Some(s) if case.board.is_reporting(vantage, case.now.tick) => (s.last_report, "reports"),
        Some(s) => (s.last_report, "does not report any more; its last report"),
    };
    line(case, Some(vantage), None, at, said.to_owned())
}

/// Who reaches `subject`, and who does not.
fn shared(case: &Case<'_>, subject: &Subject, layer: Layer, lines: &mut Vec<Evidence>) {
    let now = case.now.tick;
    let tally = case.board.tally(subject, layer, None, now, |v, _| {
        v.is_witness() && case.board.is_reporting(v, now)
    });
    let name = text::subject(subject);
    lines.extend(text::tally_line(case, layer, &name, &tally));
    lines.extend(text::reached_line(case, layer, &name, &tally));
}

/// What one vantage reaches and misses, counted.
fn by(case: &Case<'_>, vantage: &Vantage) -> Option<Evidence> {
    let now = case.now.tick;
    let (mut reached, mut missed, mut newest) = (0, 0, None);
    for (key, path) in case
        .board
        .paths()
        .filter(|(key, _)| key.vantage == *vantage)
    {
        let verdict = case.board.verdict(vantage, &key.subject, key.layer, now);
        reached += usize::from(verdict.is_reached());
        missed += usize::from(verdict.is_missing());
        newest = newest.max(path.state.newest());
    }
    let said = format!("of its own checks {reached} succeed and {missed} fail");
    newest.map(|at| line(case, Some(vantage), None, at, said))
}

fn of_path(
    case: &Case<'_>,
    vantage: &Vantage,
    (subject, layer): (&Subject, Layer),
    path: &Path,
) -> Option<Evidence> {
    let now = case.now.tick;
    let verdict = path.state.verdict_at(now, case.board.limits());
    let mut said = format!("{} {layer}: {verdict}", text::subject(subject));
    if let Some(since) = path.state.missing_since() {
        let _ = write!(said, ", without success for {}", spoken(now.since(since)));
    }
    if let Some((_, cause)) = path.state.last_miss() {
        let _ = write!(said, "; last miss: {cause}");
    }
    let loss = path.state.loss();
    if loss > 0.0 {
        let _ = write!(said, "; {:.0} % of the newest checks missed", loss * 100.0);
    }
    let newest = path.state.newest()?;
    Some(line(case, Some(vantage), Some(layer), newest, said))
}
