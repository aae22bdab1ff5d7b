//! Why something is judged as it is: what was seen, which rows decided, which did not and on
//! which sign they failed, and what was held back. Pure; `pnwatch explain` and the API show it.

mod about;
mod evidence;
mod render;

use serde::{Deserialize, Serialize};

use super::Diagnosis;
use super::scope::Case;
use super::table::Named;
use super::trace::Step;
use crate::fault::{Blame, ROWS};
use crate::finding::{Evidence, Finding};
use crate::name::Cluster;
use crate::time::Timestamp;

pub use about::{About, AboutError};
pub use render::render;

/// Most rows and lines of one kind.
const MOST: usize = 64;

/// A row that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The row.
    pub rule: String,
    /// Of whom it was asked: `node node-1`.
    pub of: String,
    /// What it names; `None` = it keeps silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<String>,
    /// Why, as a sentence.
    pub because: String,
    /// The signs that it was asked with: `arp = nobody`.
    pub signs: Vec<String>,
}

/// A row that was asked and did not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The row.
    pub rule: String,
    /// Of whom it was asked.
    pub of: String,
    /// What it would have named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<String>,
    /// The first sign that it failed on.
    pub sign: String,
    /// What it wanted there: `a|b`.
    pub wants: String,
    /// What was there.
    pub saw: String,
}

/// Something that was held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The rule.
    pub rule: String,
    /// About whom.
    pub of: String,
    /// Why, as a sentence.
    pub because: String,
}

/// An open finding, as far as an explanation needs it; words, so that an older reader can read
/// a newer exporter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Its id.
    pub id: String,
    /// Whose fault: `node node-1`.
    pub of: String,
    /// What: `address_lost critical (high)`.
    pub names: String,
    /// Its alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertname: Option<String>,
    /// Since when.
    pub started_at: Timestamp,
    /// The first line of its page.
    pub summary: String,
}

impl From<&Finding> for Open {
    fn from(finding: &Finding) -> Self {
        Self {
            id: finding.id.clone(),
            of: format!("{} {}", finding.identity.blame, finding.identity.subject),
            names: words(Named {
                fault: finding.fault,
                severity: finding.severity,
                confidence: finding.confidence,
            }),
            alertname: finding.alertname.map(|a| a.as_label().to_owned()),
            started_at: finding.started_at,
            summary: finding.summary.clone(),
        }
    }
}

/// Why something is judged as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// On which network.
    pub cluster: Cluster,
    /// What it is about.
    pub about: String,
    /// As of when.
    pub at: Timestamp,
    /// In one sentence.
    pub verdict: String,
    /// Open findings about it, or that explain what it suffers.
    pub findings: Vec<Open>,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// The rows that decided.
    pub applied: Vec<Applied>,
    /// What was held back.
    pub held: Vec<Held>,
    /// The rows that did not fit.
    pub rejected: Vec<Rejected>,
    /// What is missing to be surer.
    pub missing: Vec<String>,
}

fn words(named: Named) -> String {
    format!("{} {} ({})", named.fault, named.severity, named.confidence)
}

/// Puts together what `steps` tell of `about`.
pub(crate) fn explain(
    case: &Case<'_>,
    about: &About,
    open: &[Finding],
    diagnoses: &[Diagnosis],
    steps: Vec<Step>,
) -> Option<Explanation> {
    if !about.exists(case) {
        return None;
    }
    let findings: Vec<Finding> = open
        .iter()
        .filter(|f| about.concerns(case, f))
        .cloned()
        .collect();
    let mut explanation = Explanation {
        cluster: case.inventory.cluster.clone(),
        about: about.to_string(),
        at: case.now.wall,
        verdict: verdict(case, about, &findings),
        evidence: evidence::of(case, about, &findings),
        applied: Vec::new(),
        held: Vec::new(),
        rejected: Vec::new(),
        missing: findings
            .iter()
            .flat_map(|f| f.missing.iter().cloned())
            .collect(),
        findings: findings.iter().map(Open::from).collect(),
    };
    explanation.missing.dedup();
    for step in steps {
        take(&mut explanation, case, about, step);
    }
    let asked = explanation
        .applied
        .iter()
        .map(|a| a.of.clone())
        .collect::<Vec<_>>();
    let fed = diagnoses
        .iter()
        .filter(|d| about.is_asked_of(case, d.blame, &d.subject));
    for diagnosis in fed {
        let of = format!("{} {}", diagnosis.blame.as_label(), diagnosis.subject);
        let named = words(Named {
            fault: diagnosis.fault,
            severity: diagnosis.severity,
            confidence: diagnosis.confidence,
        });
        let known = explanation
            .applied
            .iter()
            .any(|a| a.of == of && a.names.as_ref() == Some(&named));
        if !known || !asked.contains(&of) {
            explanation
                .applied
                .push(by_another_judge(diagnosis, of, named));
        }
    }
    // What decided and names something comes first.
    explanation.applied.sort_by_key(|a| a.names.is_none());
    explanation.applied.truncate(MOST);
    explanation.rejected.truncate(MOST);
    explanation.held.truncate(MOST);
    Some(explanation)
}

fn take(explanation: &mut Explanation, case: &Case<'_>, about: &About, step: Step) {
    match step {
        Step::Asked {
            about: (blame, subject),
            signs,
            applied,
            refused,
        } if about.is_asked_of(case, blame, &subject) => {
            let of = format!("{} {subject}", blame.as_label());
            if let Some((rule, names, because)) = applied {
                explanation.applied.push(Applied {
                    rule: rule.to_owned(),
                    of: of.clone(),
                    names: names.map(words),
                    because: because.to_owned(),
                    signs: signs
                        .iter()
                        .map(|(sign, word)| format!("{sign} = {word}"))
                        .collect(),
                });
            }
            explanation
                .rejected
                .extend(refused.into_iter().map(|r| Rejected {
                    rule: r.rule.to_owned(),
                    of: of.clone(),
                    names: r.names.map(words),
                    sign: r.sign.to_owned(),
                    wants: r.wants,
                    saw: r.saw.to_owned(),
                }));
        }
        Step::Held { about: of, hold } if about.is_held(case, &of) => {
            explanation.held.push(Held {
                rule: hold.as_label().to_owned(),
                of,
                because: hold.because().to_owned(),
            });
        }
        Step::Asked { .. } | Step::Held { .. } => {}
    }
}

/// Discovery, correlation, budgets: they hand in a name, and the fault table says by what.
fn by_another_judge(diagnosis: &Diagnosis, of: String, named: String) -> Applied {
    let row = ROWS
        .iter()
        .find(|r| r.fault == diagnosis.fault && r.blame == diagnosis.blame)
        .or_else(|| ROWS.iter().find(|r| r.fault == diagnosis.fault));
    let id = row.map_or("", |r| r.id);
    Applied {
        rule: if id.is_empty() {
            diagnosis.fault.as_label().to_owned()
        } else {
            format!("row {id}")
        },
        of,
        names: Some(named),
        because: row.map_or_else(String::new, |r| r.told_by.to_owned()),
        signs: Vec::new(),
    }
}

fn verdict(case: &Case<'_>, about: &About, findings: &[Finding]) -> String {
    let own = findings
        .iter()
        .find(|f| about.is(case, f.identity.blame, &f.identity.subject));
    match (own, findings.first()) {
        (Some(own), _) => format!("{}: {}", own.severity, own.summary),
        (None, Some(cause)) => format!("it suffers from {}: {}", cause.severity, cause.summary),
        (None, None) if about.is_known_now(case) => {
            format!("nothing is the matter with {about}, as far as can be seen")
        }
        (None, None) => format!("nobody can say anything of {about} now"),
    }
}

/// Whether an identity is of the thing itself.
pub(super) fn is_named(blame: Blame, subject: &str, wanted: (Blame, &str)) -> bool {
    (blame, subject) == wanted
}
