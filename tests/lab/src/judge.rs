//! The judgement of a run: what came, against what the row says.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::expect::{Expected, Row};
use crate::lab::Lab;
use crate::webhook::{Alert, Notification};

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Seen {
    /// The page's blame.
    pub blame: String,
    /// The page's subject.
    pub subject: String,
    /// The page's severity.
    pub severity: String,
    /// The page's name.
    pub alertname: String,
    /// Every fault that the finding named before it was healed, in order; the last one counts.
    /// While it heals, the evidence passes through other states.
    pub fault: Vec<String>,
}

/// How often the expected alert was notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Notified {
    /// As firing.
    pub firing: usize,
    /// As resolved.
    pub resolved: usize,
}

/// The result of one run, one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The row's name.
    pub fault: &'static str,
    /// What should have come; absent for silence.
    pub expected: Option<Expected>,
    /// What came first; absent for silence.
    pub seen: Option<Seen>,
    /// Whether content and counts are right.
    pub as_expected: bool,
    /// What was not, in words.
    pub wrong: Vec<String>,
    /// Always `real` here: real sockets, real links.
    pub evidence: &'static str,
    /// From the fault until the exporter's finding was open.
    pub detected_s: Option<f64>,
    /// From the fault until the webhook had the page.
    pub paged_s: Option<f64>,
    /// From healing until the webhook had the resolution.
    pub resolved_s: Option<f64>,
    /// From the return of the evidence until the finding named the cause.
    pub sharpened_s: Option<f64>,
    /// The goal for `paged_s`.
    pub bar_s: Option<f64>,
    /// Notifications of the expected alert.
    pub notifications: Notified,
    /// Alerts of severity warning or critical that nobody should have got.
    pub false_pages: usize,
    /// How long a silent scenario was disturbed.
    pub quiet_s: Option<f64>,
    /// What else the row looked at, in words, with its numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
}

/// What a row looks at beside its page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Also {
    /// What was seen.
    pub facts: Vec<String>,
    /// What was not as it should be.
    pub wrong: Vec<String>,
}

impl Also {
    /// Notes `what` was seen, and whether it is `right`.
    pub fn note(&mut self, right: bool, what: String) {
        if !right {
            self.wrong.push(what.clone());
        }
        self.facts.push(what);
    }
}

impl Outcome {
    /// Takes in what the row looked at beside its page.
    pub fn add(&mut self, also: Also) {
        self.facts.extend(also.facts);
        self.wrong.extend(also.wrong);
        self.as_expected = self.wrong.is_empty();
    }

    /// Whether the page came within its goal; true where there is none.
    pub fn is_in_time(&self) -> bool {
        match (self.bar_s, self.paged_s) {
            (Some(bar), Some(paged)) => paged <= bar,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }
}

/// One line for people, and one more per thing that is wrong.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.as_expected {
            "as expected"
        } else {
            "WRONG"
        };
        let seconds =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2} s"));
        write!(f, "{}: {verdict}; ", self.fault)?;
        match &self.seen {
            Some(seen) => {
                let Seen {
                    blame,
                    subject,
                    severity,
                    alertname,
                    fault,
                } = seen;
                let late = if self.is_in_time() { "" } else { " (LATE)" };
                write!(
                    f,
                    "{severity} {alertname} {blame} {subject} ({}); detected {}, paged {}{late}, resolved {}",
                    fault.join(" > "),
                    seconds(self.detected_s),
                    seconds(self.paged_s),
                    seconds(self.resolved_s),
                )?;
            }
            None => write!(f, "silent for {}", seconds(self.quiet_s))?,
        }
        let Notified { firing, resolved } = self.notifications;
        write!(
            f,
            "; {firing} firing, {resolved} resolved, {} false",
            self.false_pages
        )?;
        for fact in &self.facts {
            write!(f, "\n  {fact}")?;
        }
        self.wrong
            .iter()
            .try_for_each(|wrong| write!(f, "\n  WRONG: {wrong}"))
    }
}

/// Where a run began to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// Notifications that had arrived before.
    pub(crate) notifications: usize,
    /// Wall time.
    pub(crate) at: Timestamp,
}

/// What happened when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// The fault, by the kernel where it reports one.
    pub(crate) fault: Timestamp,
    /// From the return of the evidence to the sharpened finding, in seconds.
    pub(crate) sharpened_s: Option<f64>,
    /// How long it was disturbed, in seconds.
    pub(crate) quiet_s: Option<f64>,
    /// When healing began.
    pub(crate) healed: Timestamp,
}

/// Judges a run that is over.
pub(crate) fn judge(lab: &Lab, row: &'static Row, mark: Mark, times: Times) -> Result<Outcome> {
    let arrived = lab.monitoring.webhook.since(mark.notifications);
    let findings = lab.findings()?.seen_since(mark.at);
    let seen_alert = row
        .expected
        .and_then(|expected| first(&arrived, &expected, "firing"))
        .or_else(|| unexpected(&arrived, row).into_iter().next());
    let finding = seen_alert.as_ref().and_then(|(_, alert)| {
        findings.iter().find(|seen| {
            seen.finding.blame == alert.label("blame")
                && seen.finding.subject == alert.label("subject")
        })
    });
    let seen = seen_alert.as_ref().map(|(_, alert)| Seen {
        blame: alert.label("blame").to_owned(),
        subject: alert.label("subject").to_owned(),
        severity: alert.label("severity").to_owned(),
        alertname: alert.label("alertname").to_owned(),
        fault: finding
            .map(|seen| seen.faults_before(times.healed))
            .unwrap_or_default(),
    });
    let since_fault = |at: Timestamp| seconds_between(times.fault, at);
    let notifications = row
        .expected
        .map_or_else(Notified::default, |expected| Notified {
            firing: count(&arrived, &expected, "firing"),
            resolved: count(&arrived, &expected, "resolved"),
        });
    let resolved = row
        .expected
        .and_then(|expected| first(&arrived, &expected, "resolved"));
    let false_pages = unexpected(&arrived, row);
    let mut wrong = wrong(row, seen.as_ref(), notifications);
    for (_, alert) in &false_pages {
        let (name, subject) = (alert.label("alertname"), alert.label("subject"));
        wrong.push(format!("a false page: {name} of {subject}"));
    }
    for open in lab.findings()?.open()? {
        wrong.push(format!(
            "still open after healing: {} of {}",
            open.fault, open.subject
        ));
    }
    Ok(Outcome {
        fault: row.name,
        expected: row.expected,
        as_expected: wrong.is_empty(),
        wrong,
        evidence: "real",
        detected_s: finding.map(|seen| since_fault(seen.first_at)),
        paged_s: row
            .expected
            .and(seen_alert.as_ref())
            .map(|(at, _)| since_fault(*at)),
        resolved_s: resolved.map(|(at, _)| seconds_between(times.healed, at)),
        sharpened_s: times.sharpened_s,
        bar_s: row.bar_s,
        notifications,
        false_pages: false_pages.len(),
        quiet_s: times.quiet_s,
        facts: Vec::new(),
        seen,
    })
}

/// What is not as the row says, in words.
fn wrong(row: &Row, seen: Option<&Seen>, notified: Notified) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(expected) = row.expected else {
        return wrong;
    };
    let Some(seen) = seen else {
        return vec!["no page came".to_owned()];
    };
    for (what, expected, seen) in [
        ("blame", expected.blame, &seen.blame),
        ("subject", expected.subject, &seen.subject),
        ("severity", expected.severity, &seen.severity),
        ("alertname", expected.alertname, &seen.alertname),
    ] {
        if expected != seen {
            wrong.push(format!("{what} is {seen:?}, not {expected:?}"));
        }
    }
    let fault = seen.fault.last().map_or("", String::as_str);
    if !expected.fault.contains(&fault) {
        wrong.push(format!(
            "fault is {:?}, not one of {:?}",
            seen.fault, expected.fault
        ));
    }
    if notified
        != (Notified {
            firing: 1,
            resolved: 1,
        })
    {
        let Notified { firing, resolved } = notified;
        wrong.push(format!(
            "{firing} firing and {resolved} resolved notifications, not one of each"
        ));
    }
    wrong
}

fn is_expected(alert: &Alert, expected: &Expected) -> bool {
    alert.label("alertname") == expected.alertname && alert.label("subject") == expected.subject
}

/// Whether an alert is the page of `row`, is allowed besides it, or only informs.
pub(crate) fn is_page_of(alert: &Alert, row: &Row) -> bool {
    let (name, subject) = (alert.label("alertname"), alert.label("subject"));
    let allowed = |a: &crate::expect::Allowed| a.alertname == name && a.subject == subject;
    row.expected
        .is_some_and(|expected| is_expected(alert, &expected))
        || row.allowed.iter().any(allowed)
        || alert.label("severity") == "info"
}

/// The first notification of the expected alert with this status.
pub(crate) fn first(
    arrived: &[Notification],
    expected: &Expected,
    status: &str,
) -> Option<(Timestamp, Alert)> {
    arrived.iter().find_map(|notification| {
        let mut alerts = notification.alerts.iter();
        let alert = alerts.find(|alert| alert.status == status && is_expected(alert, expected))?;
        Some((notification.at, alert.clone()))
    })
}

/// How many notifications hold the expected alert with this status.
pub(crate) fn count(arrived: &[Notification], expected: &Expected, status: &str) -> usize {
    let holds = |notification: &&Notification| {
        let mut alerts = notification.alerts.iter();
        alerts.any(|alert| alert.status == status && is_expected(alert, expected))
    };
    arrived.iter().filter(holds).count()
}

/// The receiver of the shipped configuration that must be rung all the time.
pub(crate) const DEAD_MANS_SWITCH: &str = "dead-mans-switch";

/// The first firing notification of each alert that the row neither expects nor allows, pushed
/// or from the rules. Severity `info` is no page, nor is the dead man's switch.
pub(crate) fn unexpected(arrived: &[Notification], row: &Row) -> Vec<(Timestamp, Alert)> {
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    let arrived = arrived
        .iter()
        .filter(|notification| notification.receiver != DEAD_MANS_SWITCH);
    for notification in arrived {
        for alert in &notification.alerts {
            let (name, subject) = (alert.label("alertname"), alert.label("subject"));
            let fine = row
                .expected
                .is_some_and(|expected| is_expected(alert, &expected))
                || row
                    .allowed
                    .iter()
                    .any(|allowed| allowed.alertname == name && allowed.subject == subject)
                || alert.label("severity") == "info";
            if !fine
                && alert.status == "firing"
                && known.insert((name.to_owned(), subject.to_owned()))
            {
                found.push((notification.at, alert.clone()));
            }
        }
    }
    found
}

/// Seconds from one wall time to another, negative if it was earlier.
pub(crate) fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
