//! Recording and alerting rules, generated from the core tables as data.
//!
//! The exporter pushes findings to Alertmanager itself, within a second. What is here stands
//! behind that push, for Prometheus, Mimir and Grafana:
//! - [`findings`]: the **back-up**: an open finding whose push failed, under the name `<Alert>Backup`;
//! - [`monitor`]: who watches the watcher: the dead man's switch, an exporter or vantages gone;
//! - [`bandwidth`]: links of nodes that are full, slow or broken;
//! - [`budget`]: burn rates and leases, judged once more from plain gauges;
//! - [`cache`]: twins of the correlation for those who scrape the cache, but not pnwatch.
//!
//! Everything that two replicas publish is taken `max without (pod, instance)` first, so that two
//! replicas give the answers of one. Ranges bridge one missed scrape at 60 s. Only what Prometheus
//! 2.42 knows is used (no group labels, no `query_offset`).
//!
//! Pure: settings in, [`Group`]s out; [`emit`] and [`grafana`] write them down.

pub mod bandwidth;
pub mod budget;
pub mod cache;
pub mod emit;
pub mod findings;
pub mod grafana;
pub mod monitor;
pub mod words;

use core::time::Duration;
use std::collections::BTreeMap;

use crate::burn;
use crate::fault::{Alert, Fault, Severity};

/// Value of the label `source` on every alert of these rules; pushed alerts carry no `source`.
pub const SOURCE: &str = "pnwatch-rules";

/// What the exporter publishes for budgets; `window` as [`burn::window_label`] writes it. Only bad
/// events that no open finding explains count in it.
pub const BURN_RATE: &str = crate::metric::SLO_BURN_RATE.name;

/// Families of the cache (not of pnwatch) that the twins read, in both generations of names.
pub const CACHE_FAMILIES: [&str; 3] = [
    "kura_http_requests_total_total",
    "kura_http_requests_total",
    "kura_node_info",
];

/// Identities of the boards that `dashboard_url` points to (`uid` of the Grafana board).
pub mod board {
    /// All networks at one look.
    pub const FLEET: &str = "pnwatch-fleet";
    /// One account.
    pub const ACCOUNT: &str = "pnwatch-account";
    /// Nodes' links, and who fills them.
    pub const BANDWIDTH: &str = "pnwatch-node-bandwidth";
    /// pnwatch itself.
    pub const MONITOR: &str = "pnwatch-monitor";
}

/// What a site may change.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where the runbooks are served, without a trailing slash.
    pub runbooks: String,
    /// Where Grafana is served, without a trailing slash.
    pub grafana: String,
    /// How old the last successful push may be before the back-up speaks.
    pub push_healthy: Duration,
    /// Budgets and windows.
    pub burn: burn::Table,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            runbooks: "https://example.com/pnwatch/alerts/runbooks".to_owned(),
            grafana: "https://grafana.example.com".to_owned(),
            push_healthy: Duration::from_mins(3),
            burn: burn::Table::default(),
        }
    }
}

impl Settings {
    /// Where the runbook of `alert` is, at the section of `fault` if there is one.
    pub fn runbook(&self, alert: Alert, fault: Option<Fault>) -> String {
        self.runbook_at(alert, fault.map(Fault::as_label))
    }

    /// Renderers make anchors of headings in lower case.
    fn runbook_at(&self, alert: Alert, section: Option<&str>) -> String {
        let base = self.runbooks.trim_end_matches('/');
        let anchor = section.map(|s| format!("#{}", s.to_ascii_lowercase()));
        format!("{base}/{alert}.md{}", anchor.unwrap_or_default())
    }

    fn board(&self, uid: &str, variables: &[&str]) -> String {
        let base = self.grafana.trim_end_matches('/');
        let query: Vec<String> = variables
            .iter()
            .map(|name| format!("var-{name}={{{{ $labels.{name} }}}}"))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{base}/d/{uid}{mark}{}", query.join("&"))
    }
}

/// Whether alerts read recorded series or spell everything out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Alerts read the series that the recording rules write.
    Recorded,
    /// Each alert stands alone (Grafana-managed rules cannot rely on recording rules).
    Inline,
}

/// A named, recorded expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// `level:metric:operation`.
    pub name: &'static str,
    /// The expression; `%` stands for further label matchers.
    template: String,
    /// Matchers that always apply.
    fixed: &'static str,
}

impl Recording {
    fn new(name: &'static str, template: impl Into<String>) -> Self {
        Self {
            name,
            template: template.into(),
            fixed: "",
        }
    }

    /// What Prometheus records.
    pub fn expr(&self) -> String {
        self.inline("")
    }

    fn inline(&self, matchers: &str) -> String {
        let all: Vec<&str> = [self.fixed, matchers]
            .into_iter()
            .filter(|m| !m.is_empty())
            .collect();
        let selector = if all.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", all.join(","))
        };
        self.template.replace('%', &selector)
    }

    /// How an alert reads it, narrowed by `matchers` (may be empty).
    fn read(&self, form: Form, matchers: &str) -> String {
        match (form, matchers) {
            (Form::Recorded, "") => self.name.to_owned(),
            (Form::Recorded, _) => format!("{}{{{matchers}}}", self.name),
            (Form::Inline, _) => format!("({})", self.inline(matchers)),
        }
    }
}

/// Why a rule exists: label `role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Stands behind a pushed alert.
    Backup,
    /// Watches pnwatch itself.
    Monitor,
    /// Judges the same thing from plain gauges.
    Judge,
    /// Correlation without pnwatch.
    Twin,
    /// The dead man's switch.
    Heartbeat,
}

impl Role {
    /// The value of the label `role`.
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Monitor => "monitor",
            Self::Judge => "judge",
            Self::Twin => "twin",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// An alerting rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerting {
    /// The alert's name.
    pub name: String,
    /// The expression.
    pub expr: String,
    /// How long it must hold.
    pub hold: Duration,
    /// How loudly; `None` = the expression's own label `severity` says so.
    pub severity: Option<Severity>,
    /// Why it exists.
    pub role: Role,
    /// The pushed alert in whose runbook it is explained.
    pub runbook: Alert,
    /// `summary`, `description`, `runbook_url`, `dashboard_url`.
    pub annotations: BTreeMap<&'static str, String>,
}

impl Alerting {
    /// The labels that the rule adds.
    pub fn labels(&self) -> BTreeMap<&'static str, String> {
        let mut labels = BTreeMap::from([
            ("source", SOURCE.to_owned()),
            ("role", self.role.as_label().to_owned()),
        ]);
        if let Some(severity) = self.severity {
            labels.insert("severity", severity.as_label().to_owned());
        }
        labels
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Writes a series.
    Record(Recording),
    /// Raises an alert.
    Alert(Alerting),
}

/// Rules that are evaluated together, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// Its rules.
    pub rules: Vec<Rule>,
}

impl Group {
    fn new(
        name: &'static str,
        form: Form,
        recordings: Vec<Recording>,
        alerts: Vec<Alerting>,
    ) -> Self {
        let recordings = match form {
            Form::Recorded => recordings,
            Form::Inline => Vec::new(),
        };
        Self {
            name,
            rules: recordings
                .into_iter()
                .map(Rule::Record)
                .chain(alerts.into_iter().map(Rule::Alert))
                .collect(),
        }
    }

    /// Its alerting rules.
    pub fn alerts(&self) -> impl Iterator<Item = &Alerting> {
        self.rules.iter().filter_map(|rule| match rule {
            Rule::Alert(alert) => Some(alert),
            Rule::Record(_) => None,
        })
    }
}

/// All rules.
pub fn groups(settings: &Settings, form: Form) -> Vec<Group> {
    vec![
        findings::group(settings, form),
        monitor::group(settings, form),
        budget::group(settings, form),
        bandwidth::group(settings, form),
        cache::group(settings, form),
    ]
}

#[cfg(test)]
mod tests;
