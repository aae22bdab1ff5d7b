//! An alert as Alertmanager reads it: `POST /api/v2/alerts` (its
//! `api/v2/openapi.yaml`, `postableAlert`).

use std::collections::BTreeMap;

use pnwatch_core::finding::Finding;
use pnwatch_core::rules::{board, words};
use pnwatch_core::time::Timestamp;
use serde::Serialize;

use super::Settings;

/// Longest annotation in bytes; receivers cut or refuse longer texts.
const MAX_TEXT: usize = 4_000;
/// Most evidence lines in a description.
const MAX_LINES: usize = 12;

/// What makes an alert the same alert. No replica, no fault, no finding id: those change while
/// the finding lives, and a changed label would be a second alert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<&'static str, String>);

impl Labels {
    /// The labels of `finding`; `None` for a finding that never alerts.
    pub fn of(finding: &Finding) -> Option<Self> {
        let mut labels = BTreeMap::from([
            ("alertname", finding.alertname?.as_label().to_owned()),
            ("cluster", finding.identity.cluster.to_string()),
            ("blame", finding.identity.blame.as_label().to_owned()),
            ("subject", finding.identity.subject.clone()),
            ("severity", finding.severity.as_label().to_owned()),
        ]);
        let optional = [
            ("node", finding.node.as_ref().map(ToString::to_string)),
            ("host", finding.host.as_ref().map(ToString::to_string)),
            ("account", finding.account.as_ref().map(ToString::to_string)),
        ];
        labels.extend(optional.into_iter().filter_map(|(k, v)| Some((k, v?))));
        Some(Self(labels))
    }

    /// The labels of the heartbeat `alertname` of `cluster`.
    pub(super) fn heartbeat(alertname: &str, cluster: &pnwatch_core::name::Cluster) -> Self {
        Self(BTreeMap::from([
            ("alertname", alertname.to_owned()),
            ("cluster", cluster.to_string()),
            ("severity", "info".to_owned()),
        ]))
    }

    /// One label's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// One alert, firing or resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Its identity.
    pub labels: Labels,
    /// What a person reads.
    pub annotations: BTreeMap<&'static str, String>,
    /// When the first check was missed.
    pub starts_at: Timestamp,
    /// In the future: until when it counts as firing. In the past: when it ended.
    pub ends_at: Timestamp,
}

/// What a person reads of `finding`, with the links that `settings` knows.
pub(super) fn annotations(
    finding: &Finding,
    settings: &Settings,
) -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::from([
        ("summary", bounded(finding.summary.clone())),
        ("description", bounded(description(finding))),
        ("finding", finding.id.clone()),
        ("fault", finding.fault.as_label().to_owned()),
    ]);
    if let (Some(base), Some(alert)) = (&settings.runbooks, finding.alertname) {
        let base = base.trim_end_matches('/');
        let fault = finding.fault.as_label();
        all.insert("runbook_url", format!("{base}/{alert}.md#{fault}"));
    }
    if let Some(base) = &settings.grafana {
        all.insert("dashboard_url", dashboard(base, finding));
    }
    all
}

/// The board on which the finding shows: its account's, or the whole network's. Names of clusters
/// and accounts need no escape in a URL ([`pnwatch_core::name`]).
fn dashboard(base: &str, finding: &Finding) -> String {
    let base = base.trim_end_matches('/');
    let cluster = &finding.identity.cluster;
    match &finding.account {
        Some(account) => format!(
            "{base}/d/{}?var-cluster={cluster}&var-account={account}",
            board::ACCOUNT
        ),
        None => format!("{base}/d/{}?var-cluster={cluster}", board::FLEET),
    }
}

fn description(finding: &Finding) -> String {
    let mut lines = vec![format!(
        "{} (confidence {}), since {}.",
        finding.fault.title(),
        finding.confidence,
        finding.started_at
    )];
    if let Some(since) = finding.blind_since {
        lines.push(format!("No evidence either way since {since}."));
    }
    lines.extend(counted("Affected", "account", &finding.accounts));
    lines.extend(counted("Seen on", "machine", &finding.vantages));
    for evidence in finding.evidence.iter().take(MAX_LINES) {
        lines.push(format!("- {} (seen {})", evidence.text, evidence.seen_at));
    }
    if let Some(more) = finding
        .evidence
        .len()
        .checked_sub(MAX_LINES)
        .filter(|n| *n > 0)
    {
        lines.push(format!("- and {more} more lines of evidence on the page"));
    }
    for missing in finding.missing.iter().take(MAX_LINES) {
        lines.push(format!("Missing to be surer: {missing}"));
    }
    let words = finding.alertname.map(words::of);
    if let Some(words) = words {
        lines.insert(1, words.impact.to_owned());
    }
    let mut typed = false;
    if let Some(repair) = &finding.repair {
        typed = repair.command.is_some();
        lines.push(match &repair.command {
            Some(command) => format!("Repair {}: {}\n    {command}", repair.place, repair.text),
            None => format!("Repair {}: {}", repair.place, repair.text),
        });
    }
    // Whoever is woken must have something to type.
    if let Some(words) = words.filter(|_| !typed) {
        lines.push(format!("Type: {}", words.command));
    }
    lines.join("\n")
}

/// `Affected: 2 accounts (acme, tuist).`; nothing where there is nobody.
fn counted(head: &str, noun: &str, names: &[impl ToString]) -> Option<String> {
    let plural = if names.len() == 1 { "" } else { "s" };
    let (count, listed) = (names.len(), listed(names));
    (count > 0).then(|| format!("{head}: {count} {noun}{plural} ({listed})."))
}

fn listed(names: &[impl ToString]) -> String {
    const SHOWN: usize = 5;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}
