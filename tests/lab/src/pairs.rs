//! Two faults at once: each must be named as if it were alone, and nobody else.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Serialize;

use crate::expect::{Row, row};
use crate::faults;
use crate::judge::{DEAD_MANS_SWITCH, count, first, is_page_of, seconds_between};
use crate::lab::Lab;
use crate::wait;
use crate::webhook::Notification;

/// Two faults by the names of their rows.
pub type Pair = (&'static str, &'static str);

/// Ten pairs of faults that do not hide one another.
pub const PAIRS: [Pair; 10] = [
    ("F17", "F24"),
    ("F17", "F8"),
    ("F17", "F32-host"),
    ("F2", "F24"),
    ("F1", "F8"),
    ("F2", "F32-host"),
    ("F30", "F24"),
    ("F32", "F8"),
    ("F38", "F8"),
    ("F17", "F12-host"),
];

/// The pairs that `names` (`ONE+OTHER`) name; without any, all of them.
pub fn named(names: &[String]) -> Result<Vec<Pair>> {
    if names.is_empty() {
        return Ok(PAIRS.to_vec());
    }
    let mut chosen = Vec::new();
    for name in names {
        let Some(pair) = PAIRS.iter().find(|(a, b)| *name == format!("{a}+{b}")) else {
            let known: Vec<String> = PAIRS.iter().map(|(a, b)| format!("{a}+{b}")).collect();
            bail!("{name:?} is no pair; there are: {}", known.join(", "));
        };
        chosen.push(*pair);
    }
    Ok(chosen)
}

/// By when both pages must have come: a vantage's silence alone takes a quarter of a minute.
const PAGES: Duration = Duration::from_secs(45);
/// How long both are left alone after their pages, and after their ends.
const LINGER: Duration = Duration::from_secs(6);
/// By when everything must have ended after healing.
const RESOLVE: Duration = Duration::from_secs(90);

/// What came of one pair.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The two faults.
    pub pair: Pair,
    /// `BLAME/SUBJECT/FAULT` of every finding that was open before healing.
    pub seen: Vec<String>,
    /// Whether both came as expected and nothing else.
    pub as_expected: bool,
    /// What was not, in words.
    pub wrong: Vec<String>,
    /// From the second fault to the page of each, seconds.
    pub paged_s: (Option<f64>, Option<f64>),
    /// Alerts that nobody should have got.
    pub false_pages: usize,
}

/// Runs one pair, heals it whatever happens, and judges.
pub fn run(lab: &mut Lab, names: Pair) -> Result<Outcome> {
    lab.start_daemons()
        .context("pnwatch did not come up healthy")?;
    let rows = (
        row(names.0).context("no such fault")?,
        row(names.1).context("no such fault")?,
    );
    let faults = (faults::fault(names.0)?, faults::fault(names.1)?);
    let before = lab.monitoring.webhook.count();
    (faults.0.prepare)(lab)?;
    (faults.1.prepare)(lab)?;
    let injected = (faults.0.inject)(lab).and_then(|_| (faults.1.inject)(lab));
    let watched = injected.and_then(|at| watch(lab, rows, before).map(|()| at));
    let healed = [(faults.1.heal)(lab), (faults.0.heal)(lab)];
    let at = watched?;
    for healed in healed {
        healed.context("cannot be healed")?;
    }
    judge(lab, names, rows, (before, at))
}

fn watch(lab: &mut Lab, rows: (&Row, &Row), before: usize) -> Result<()> {
    wait::polled(PAGES, || {
        lab.processes.check_all()?;
        let arrived = lab.monitoring.webhook.since(before);
        let paged = |row: &Row| {
            row.expected
                .is_none_or(|expected| first(&arrived, &expected, "firing").is_some())
        };
        Ok((paged(rows.0) && paged(rows.1)).then_some(()))
    })?;
    wait::pass(LINGER)
}

fn judge(
    lab: &mut Lab,
    names: Pair,
    rows: (&'static Row, &'static Row),
    (before, at): (usize, Timestamp),
) -> Result<Outcome> {
    let healed = Timestamp::now();
    let ended = wait::polled(RESOLVE, || {
        lab.processes.check_all()?;
        let arrived = lab.monitoring.webhook.since(before);
        let told = |row: &Row| {
            row.expected.is_none_or(|expected| {
                first(&arrived, &expected, "firing").is_none()
                    || first(&arrived, &expected, "resolved").is_some()
            })
        };
        let over = told(rows.0) && told(rows.1) && lab.findings()?.open()?.is_empty();
        Ok(over.then_some(()))
    })?;
    // What Alertmanager still holds back would come within its group interval.
    wait::pass(LINGER)?;
    let arrived = lab.monitoring.webhook.since(before);
    let findings = lab.findings()?.seen_since(at);
    let mut wrong = Vec::new();
    let mut paged = |row: &Row| {
        let expected = row.expected?;
        let page = first(&arrived, &expected, "firing");
        let named = findings.iter().any(|seen| {
            (seen.finding.blame.as_str(), seen.finding.subject.as_str())
                == (expected.blame, expected.subject)
                && seen
                    .faults_before(healed)
                    .last()
                    .is_some_and(|fault| expected.fault.contains(&fault.as_str()))
        });
        if page.is_none() {
            wrong.push(format!("{}: no page came", row.name));
        } else if !named {
            wrong.push(format!("{}: not named {:?}", row.name, expected.fault));
        }
        let told = ["firing", "resolved"].map(|status| count(&arrived, &expected, status));
        if told != [1, 1] {
            let [firing, resolved] = told;
            wrong.push(format!(
                "{}: {firing} firing and {resolved} resolved notifications, not one of each",
                row.name
            ));
        }
        page.map(|(when, _)| seconds_between(at, when))
    };
    let paged_s = (paged(rows.0), paged(rows.1));
    let mut false_pages = 0;
    let rung = |notification: &&Notification| notification.receiver != DEAD_MANS_SWITCH;
    for notification in arrived.iter().filter(rung) {
        for alert in notification.alerts.iter().filter(|a| a.status == "firing") {
            let known = |row: &Row| is_page_of(alert, row);
            if known(rows.0) || known(rows.1) {
                continue;
            }
            false_pages += 1;
            let (name, subject) = (alert.label("alertname"), alert.label("subject"));
            wrong.push(format!("a false page: {name} of {subject}"));
        }
    }
    if ended.is_none() {
        wrong.push(format!("not over {RESOLVE:?} after healing"));
    }
    Ok(Outcome {
        pair: names,
        seen: findings
            .iter()
            .map(|seen| {
                let faults = seen.faults_before(healed);
                let last = faults.last().map_or("", String::as_str);
                format!("{}/{}/{last}", seen.finding.blame, seen.finding.subject)
            })
            .collect(),
        as_expected: wrong.is_empty(),
        wrong,
        paged_s,
        false_pages,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_can_be_made_and_blames_two_things() {
        for (one, other) in PAIRS {
            let subject = |name| row(name).unwrap().expected.unwrap().subject;
            assert_ne!(subject(one), subject(other), "{one} {other}");
            assert!(faults::fault(one).is_ok() && faults::fault(other).is_ok());
        }
    }

    #[test]
    fn pairs_go_by_name() {
        assert_eq!(named(&[]).unwrap(), PAIRS);
        assert_eq!(named(&["F1+F8".to_owned()]).unwrap(), [("F1", "F8")]);
        for unknown in ["F8+F1", "F1", "F1+", ""] {
            let error = named(&[unknown.to_owned()]).unwrap_err().to_string();
            assert!(error.contains("F17+F24"), "{error}");
        }
    }
}
