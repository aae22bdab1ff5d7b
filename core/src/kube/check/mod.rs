//! Where objects contradict one another, stand still, or cannot be read: one diagnosis per
//! subject, each naming object and field.

mod definition;
mod fresh;
mod instance;
mod node;
mod policy;
mod ready;
mod shared;

use super::marks::Marks;
use super::object::Key;
use super::settings::Profile;
use super::view::Objects;
use crate::diagnosis::Diagnosis;
use crate::diagnosis::table::Named;
use crate::fault::{Blame, Confidence, Fault, Severity};
use crate::finding::{Evidence, Repair};
use crate::time::{Now, Tick};

pub(super) use self::fresh::freshness;

/// Most evidence lines in one diagnosis.
const MAX_LINES: usize = 10;

/// Every contradiction that has outlasted its time.
pub(super) fn consistency(objects: &Objects<'_>, marks: &mut Marks, now: Now) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    node::check(objects, marks, now, &mut found);
    if objects.settings.profile == Profile::Kura {
        instance::check(objects, marks, now, &mut found);
        definition::check(objects, marks, now, &mut found);
    }
    found
}

/// A contradiction before it is told.
struct Case {
    blame: Blame,
    subject: String,
    fault: Fault,
    severity: Severity,
    since: Tick,
    summary: String,
    evidence: Vec<String>,
    /// Where to look, and at what.
    look: (String, String),
}

impl Case {
    fn told(self, now: Now) -> Diagnosis {
        let named = Named {
            fault: self.fault,
            severity: self.severity,
            confidence: Confidence::High,
        };
        let mut diagnosis = Diagnosis::new(self.blame, self.subject, named, self.since);
        diagnosis.summary = self.summary;
        let more = self.evidence.len().saturating_sub(MAX_LINES);
        let lines = self.evidence.into_iter().take(MAX_LINES);
        let rest = (more > 0).then(|| format!("and {more} more of the same kind"));
        diagnosis.evidence = lines
            .chain(rest)
            .map(|text| Evidence {
                layer: None,
                vantage: None,
                text,
                seen_at: now.wall,
            })
            .collect();
        let (place, text) = self.look;
        diagnosis.repair = Some(Repair {
            place,
            command: None,
            text,
        });
        diagnosis
    }
}

/// `KuraInstance kura/kura-tuist-scw-fr-par`.
fn object(kind: &str, key: &Key) -> String {
    if key.namespace.is_empty() {
        format!("{kind} {}", key.name)
    } else {
        format!("{kind} {}/{}", key.namespace, key.name)
    }
}

/// The earlier of a mark and the time that the object itself names.
fn tick_of(at: crate::time::Timestamp, now: Now) -> Tick {
    now.tick.before(now.wall.since(at))
}
