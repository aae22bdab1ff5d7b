//! What a drill must tell, and the judgement of what was told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::findings::Finding;
use crate::judge::{DEAD_MANS_SWITCH, seconds_between};
use crate::monitoring::Monitoring;
use crate::wait;
use crate::webhook::Notification;

/// How far an alert's own start may be from the truth: the pace of checks, and a second for
/// faults whose time is the order's.
const TRUE_WITHIN_S: f64 = 2.5;

/// Which alert: its name, subject and severity.
pub(super) type Key = (&'static str, String, &'static str);

/// An alert that must be told.
#[derive(Debug, Clone)]
pub struct Told {
    /// Which.
    pub key: Key,
    /// When its cause really began; `None` = not judged.
    pub began: Option<Timestamp>,
    /// When its cause really ended; a resolution before it is too early.
    pub ended: Option<Timestamp>,
    /// Whether its resolution must be told; an alert that grew worse is inhibited by its successor.
    pub resolves: bool,
}

/// What must be told in one drill.
#[derive(Debug)]
pub struct Story {
    mark: usize,
    told: Vec<Told>,
    allowed: Vec<(&'static str, String)>,
    wrong: Vec<String>,
    measured: BTreeMap<&'static str, f64>,
}

/// How one alert was told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Its name.
    pub alertname: String,
    /// Its subject.
    pub subject: String,
    /// Its severity.
    pub severity: String,
    /// Notifications as firing.
    pub firing: usize,
    /// Notifications as resolved.
    pub resolved: usize,
    /// From its true begin to its notification, seconds.
    pub told_s: Option<f64>,
    /// Its own start minus its true begin, seconds.
    pub start_off_s: Option<f64>,
    /// From its true end to the notification of its end, seconds.
    pub resolved_s: Option<f64>,
}

/// The result of one drill, one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Performance {
    /// The drill's name.
    pub fault: &'static str,
    /// How long what was away was away.
    pub away_s: f64,
    /// Whether everything was told once, with its true time, and nothing else was.
    pub as_expected: bool,
    /// What was not, in words.
    pub wrong: Vec<String>,
    /// Always `real` here: real sockets, real links.
    pub evidence: &'static str,
    /// What was told.
    pub told: Vec<Line>,
    /// What else was measured.
    pub measured: BTreeMap<&'static str, f64>,
    /// Alerts of severity warning or critical that nobody should have got.
    pub false_pages: usize,
}

/// One line for people, one more per alert, and one per thing that is wrong.
impl fmt::Display for Performance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.as_expected {
            "as expected"
        } else {
            "WRONG"
        };
        write!(
            f,
            "{}: {verdict}; away {} s, {} false",
            self.fault, self.away_s, self.false_pages
        )?;
        let seconds =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2} s"));
        for line in &self.told {
            write!(
                f,
                "\n  {} {} {}: {} firing, {} resolved; told after {}, its start off by {}, resolved after {}",
                line.severity,
                line.alertname,
                line.subject,
                line.firing,
                line.resolved,
                seconds(line.told_s),
                seconds(line.start_off_s),
                seconds(line.resolved_s)
            )?;
        }
        for (what, value) in &self.measured {
            write!(f, "\n  {what} {value:.2}")?;
        }
        self.wrong
            .iter()
            .try_for_each(|wrong| write!(f, "\n  {wrong}"))
    }
}

impl Story {
    /// Begins now: what was told before is another story.
    pub fn begin(monitoring: &Monitoring) -> Self {
        Self {
            mark: monitoring.webhook.count(),
            told: Vec::new(),
            allowed: Vec::new(),
            wrong: Vec::new(),
            measured: BTreeMap::new(),
        }
    }

    /// From now on this must be told, once.
    pub fn must_tell(&mut self, key: Key, began: Option<Timestamp>) {
        self.told.push(Told {
            key,
            began,
            ended: None,
            resolves: true,
        });
    }

    /// The cause of an alert ends now.
    pub fn ends(&mut self, alertname: &str) {
        for told in &mut self.told {
            if told.key.0 == alertname {
                told.ended = Some(Timestamp::now());
            }
        }
    }

    /// An alert whose end nobody is told, because a worse one takes its place.
    pub fn gives_way(&mut self, alertname: &str, severity: &str) {
        for told in &mut self.told {
            if told.key.0 == alertname && told.key.2 == severity {
                told.resolves = false;
            }
        }
    }

    /// This may be told besides, and is no false page.
    pub fn may_tell(&mut self, alertname: &'static str, subject: impl Into<String>) {
        self.allowed.push((alertname, subject.into()));
    }

    /// Something else is wrong.
    pub fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Something else was measured.
    pub fn measured(&mut self, what: &'static str, value: f64) {
        self.measured.insert(what, value);
    }

    /// The first notification of `key` with `status` so far.
    pub fn heard(&self, monitoring: &Monitoring, key: &Key, status: &str) -> Option<Timestamp> {
        let arrived = monitoring.webhook.since(self.mark);
        let (at, _) = matching(&arrived, key, status).into_iter().next()?;
        Some(at)
    }

    /// Waits until `key` was notified with `status`; what does not come is judged at the end.
    pub fn wait_for(
        &self,
        monitoring: &Monitoring,
        (key, status): (&Key, &str),
        patience: Duration,
    ) -> Result<Option<Timestamp>> {
        wait::polled(patience, || Ok(self.heard(monitoring, key, status)))
    }

    /// Judges what was told since [`Story::begin`].
    pub fn judge(
        mut self,
        name: &'static str,
        away: Duration,
        monitoring: &Monitoring,
        open: &[Finding],
    ) -> Performance {
        let arrived = monitoring.webhook.since(self.mark);
        let told: Vec<Told> = std::mem::take(&mut self.told);
        let lines: Vec<Line> = told.iter().map(|told| self.line(&arrived, told)).collect();
        let unexpected = self.unexpected(&arrived, &told);
        for (alertname, subject, severity) in &unexpected {
            self.wrong
                .push(format!("a false page: {severity} {alertname} of {subject}"));
        }
        for finding in open {
            self.wrong.push(format!(
                "still open at the end: {} of {}",
                finding.fault, finding.subject
            ));
        }
        Performance {
            fault: name,
            away_s: away.as_secs_f64(),
            as_expected: self.wrong.is_empty(),
            wrong: self.wrong,
            evidence: "real",
            told: lines,
            measured: self.measured,
            false_pages: unexpected.len(),
        }
    }

    fn line(&mut self, arrived: &[Notification], told: &Told) -> Line {
        let (alertname, subject, severity) = &told.key;
        let firing = matching(arrived, &told.key, "firing");
        let resolved = matching(arrived, &told.key, "resolved");
        let (at, starts_at) = firing.first().copied().unzip();
        let starts_at = starts_at.flatten();
        let start_off_s = told
            .began
            .zip(starts_at)
            .map(|(began, starts)| seconds_between(began, starts));
        let resolved_s = told
            .ended
            .zip(resolved.first())
            .map(|(ended, (at, _))| seconds_between(ended, *at));
        let of = format!("{severity} {alertname} of {subject}");
        if firing.len() != 1 {
            self.wrong
                .push(format!("{of}: {} firing notifications", firing.len()));
        }
        let right = if told.resolves { 1..=1 } else { 0..=1 };
        if !right.contains(&resolved.len()) {
            self.wrong
                .push(format!("{of}: {} resolved notifications", resolved.len()));
        }
        if told.resolves && resolved_s.is_some_and(|after| after < 0.0) {
            self.wrong
                .push(format!("{of}: resolved before its cause ended"));
        }
        if start_off_s.is_some_and(|off| off.abs() > TRUE_WITHIN_S) {
            self.wrong.push(format!(
                "{of}: its start is off by {:.1} s",
                start_off_s.unwrap_or_default()
            ));
        }
        Line {
            alertname: (*alertname).to_owned(),
            subject: subject.clone(),
            severity: (*severity).to_owned(),
            firing: firing.len(),
            resolved: resolved.len(),
            told_s: told
                .began
                .zip(at)
                .map(|(began, at)| seconds_between(began, at)),
            start_off_s,
            resolved_s,
        }
    }

    /// Firing alerts that the story neither has nor allows. Severity `info` is no page, nor is
    /// the dead man's switch.
    fn unexpected(&self, arrived: &[Notification], told: &[Told]) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        for notification in arrived {
            if notification.receiver == DEAD_MANS_SWITCH {
                continue;
            }
            for alert in &notification.alerts {
                let label = |name| alert.label(name).to_owned();
                let key = (label("alertname"), label("subject"), label("severity"));
                let expected = told
                    .iter()
                    .any(|told| told.key.0 == key.0 && told.key.1 == key.1 && told.key.2 == key.2);
                let allowed = self
                    .allowed
                    .iter()
                    .any(|(name, subject)| *name == key.0 && *subject == key.1);
                let fine = expected || allowed || key.2 == "info" || alert.status != "firing";
                if !fine && !found.contains(&key) {
                    found.push(key);
                }
            }
        }
        found
    }
}

/// Arrival and own start of each notification that holds `key` with `status`.
fn matching(
    arrived: &[Notification],
    key: &Key,
    status: &str,
) -> Vec<(Timestamp, Option<Timestamp>)> {
    let (alertname, subject, severity) = key;
    let mut found = Vec::new();
    for notification in arrived {
        let mut alerts = notification.alerts.iter();
        let alert = alerts.find(|alert| {
            alert.status == status
                && alert.label("alertname") == *alertname
                && alert.label("subject") == subject
                && alert.label("severity") == *severity
        });
        if let Some(alert) = alert {
            found.push((notification.at, alert.starts_at));
        }
    }
    found
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
