//! Writes the alerts as Grafana-managed rules (file provisioning, `apiVersion: 1`).
//!
//! Each rule is one query A, spelled out without recording rules, and one expression B that is 1
//! for every series that A returns: the query itself holds the condition, as in Prometheus. No
//! data is good news, an error of the data source is not. Provisioning replaces `$NAME` from the
//! environment in the data source's uid, not in models and annotations, so `$labels` stays as it is
//! and the uid comes from `PNWATCH_DATASOURCE_UID`.

use serde_json::{Value, json};

use super::{Alerting, Group};
use crate::burn::window_label;

/// Longest uid that Grafana takes.
const MAX_UID: usize = 40;

/// How far back A may look for samples, in seconds; ranges inside the query reach further.
const LOOK_BACK: u64 = 600;

fn uid(alert: &Alerting, severity: &str) -> String {
    let mut uid = format!("{}-{severity}", alert.name).to_ascii_lowercase();
    uid.truncate(MAX_UID);
    uid
}

/// Grafana's `$value` is a text of all values; the number is that of query A.
fn annotation(text: &str) -> String {
    text.replace("$value", "$values.A.Value")
}

fn rule(alert: &Alerting) -> Value {
    let severity = alert.severity.map_or("any", super::Severity::as_label);
    let annotations: serde_json::Map<String, Value> = alert
        .annotations
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Value::from(annotation(text))))
        .collect();
    json!({
        "uid": uid(alert, severity),
        "title": format!("{} ({severity})", alert.name),
        "condition": "B",
        "data": [
            {
                "refId": "A",
                "datasourceUid": "$PNWATCH_DATASOURCE_UID",
                "relativeTimeRange": { "from": LOOK_BACK, "to": 0 },
                "model": { "refId": "A", "expr": alert.expr, "instant": true, "range": false }
            },
            {
                "refId": "B",
                "datasourceUid": "__expr__",
                "relativeTimeRange": { "from": 0, "to": 0 },
                "model": { "refId": "B", "type": "math", "expression": "is_number($A)" }
            }
        ],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": window_label(alert.hold),
        "labels": alert.labels(),
        "annotations": annotations,
        "isPaused": false
    })
}

/// A provisioning file of the groups in [`super::Form::Inline`].
pub fn provisioning(groups: &[Group]) -> String {
    let groups: Vec<Value> = groups
        .iter()
        .map(|group| {
            json!({
                "orgId": 1,
                "name": group.name,
                "folder": "pnwatch",
                "interval": "1m",
                "rules": group.alerts().map(rule).collect::<Vec<_>>()
            })
        })
        .collect();
    format!("{:#}\n", json!({ "apiVersion": 1, "groups": groups }))
}
