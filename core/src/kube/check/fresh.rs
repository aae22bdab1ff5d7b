//! Kinds that cannot be read, and objects of which something could not be read. The first is
//! the monitor's blindness (F40), the second the control plane's doing (F18).

use core::time::Duration;
use std::collections::BTreeMap;

use super::{Case, object};
use crate::diagnosis::Diagnosis;
use crate::fault::{Blame, Fault, Severity};
use crate::kube::marks::Marks;
use crate::kube::object::{Kind, quoted};
use crate::kube::shelf::{MAX_OBJECTS, Shelf};
use crate::time::{Now, spoken};

/// How long a transient failure is nobody's business: watches break and come back.
const TRANSIENT: Duration = Duration::from_secs(15);

pub(in crate::kube) fn freshness(
    shelves: &BTreeMap<Kind, Shelf>,
    marks: &mut Marks,
    now: Now,
) -> Vec<Diagnosis> {
    let mut found = failing(shelves, now);
    for (kind, shelf) in shelves {
        let first = marks.since(format!("listing {}", kind.as_label()), now);
        let waiting = now.tick.since(first.tick);
        if !shelf.listed && shelf.failing.is_none() && waiting >= TRANSIENT {
            let how = format!("has not answered the first list for {}", spoken(waiting));
            found.push(blind(
                &format!("kubernetes {}", kind.as_label()),
                first,
                &[how],
                now,
            ));
        }
        found.extend(unreadable(*kind, shelf, marks, now));
    }
    found
}

/// One finding per kind that is refused, one for all that fail together.
fn failing(shelves: &BTreeMap<Kind, Shelf>, now: Now) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    let mut together = Vec::new();
    let mut since: Option<Now> = None;
    for (kind, shelf) in shelves {
        let Some(failing) = &shelf.failing else {
            continue;
        };
        let (resource, why) = (kind.as_label(), quoted(&failing.why));
        let line = format!(
            "{resource} cannot be read since {}: {why}",
            failing.since.wall
        );
        if failing.denied {
            let subject = format!("kubernetes {resource}");
            found.push(blind(&subject, failing.since, &[line], now));
        } else if now.tick.since(failing.since.tick) >= TRANSIENT {
            since = Some(since.map_or(failing.since, |s: Now| {
                if s.tick <= failing.since.tick {
                    s
                } else {
                    failing.since
                }
            }));
            together.push(line);
        }
    }
    if let Some(since) = since {
        found.push(blind("kubernetes", since, &together, now));
    }
    found
}

fn blind(subject: &str, since: Now, lines: &[String], now: Now) -> Diagnosis {
    let first = lines.first().cloned().unwrap_or_default();
    let more = match lines.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more kinds)", n - 1),
    };
    let case = Case {
        blame: Blame::Monitor,
        subject: subject.replace(' ', "-"),
        fault: Fault::MonitorBlind,
        // Checks go on with what was known: this alone never pages.
        severity: Severity::Warning,
        since: since.tick,
        summary: format!(
            "the Kubernetes API: {first}{more}; checks go on with what was last known"
        ),
        evidence: lines.to_vec(),
        look: (
            "in the cluster".into(),
            "see whether the API server answers, and whether the exporter's role grants list and watch of this kind".into(),
        ),
    };
    case.told(now)
}

fn unreadable(kind: Kind, shelf: &Shelf, marks: &mut Marks, now: Now) -> Option<Diagnosis> {
    let mut evidence: Vec<String> = shelf
        .entries
        .values()
        .filter(|entry| !entry.problems.is_empty())
        .map(|entry| {
            let skipped = if entry.object.is_none() {
                " (skipped)"
            } else {
                ""
            };
            let what = entry
                .problems
                .iter()
                .take(3)
                .map(|p| quoted(p))
                .collect::<Vec<_>>();
            format!(
                "{}{skipped}: {}",
                object(kind.as_label(), &entry.key),
                what.join("; ")
            )
        })
        .collect();
    if shelf.overflow {
        evidence.push(format!(
            "there are more than {MAX_OBJECTS}; the rest is left out"
        ));
    }
    let first = evidence.first()?.clone();
    let seen = marks.since(format!("unreadable {}", kind.as_label()), now);
    // No wait: a malformed object does not mend itself, and a skipped one is a missing target.
    let case = Case {
        blame: Blame::ControlPlane,
        subject: format!("unreadable-{}", kind.as_label().replace(' ', "-")),
        fault: Fault::StatusStale,
        severity: Severity::Warning,
        since: seen.tick,
        summary: format!(
            "{} of the {} cannot be read as expected: {first}",
            evidence.len(),
            kind.as_label()
        ),
        evidence,
        look: (
            "in the cluster".into(),
            "look at the named field; an object of another version or a hand-made one".into(),
        ),
    };
    Some(case.told(now))
}
