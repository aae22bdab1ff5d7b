use std::collections::BTreeMap;

use super::*;
use crate::expect::row;

fn alert(status: &str, name: &str, subject: &str, severity: &str) -> Alert {
    let labels = [
        ("alertname", name),
        ("subject", subject),
        ("severity", severity),
        ("blame", "node"),
    ];
    Alert {
        status: status.to_owned(),
        labels: labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        annotations: BTreeMap::new(),
        starts_at: None,
    }
}

fn at(second: i64, alerts: Vec<Alert>) -> Notification {
    Notification {
        at: Timestamp::from_second(second).unwrap(),
        receiver: "pnwatch-page".to_owned(),
        alerts,
    }
}

const NODE: &str = "prod-kura-fleet-1";

#[test]
fn notifications_of_the_expected_alert_are_counted() {
    let expected = row("F2").unwrap().expected.unwrap();
    let arrived = [
        at(
            1,
            vec![alert("firing", "PNVantageSilent", "host/mini-1", "warning")],
        ),
        at(
            2,
            vec![alert("firing", "PNNodeUnreachable", NODE, "critical")],
        ),
        at(
            3,
            vec![alert("firing", "PNNodeUnreachable", "another", "critical")],
        ),
        at(
            9,
            vec![alert("resolved", "PNNodeUnreachable", NODE, "critical")],
        ),
    ];
    assert_eq!(count(&arrived, &expected, "firing"), 1);
    assert_eq!(count(&arrived, &expected, "resolved"), 1);
    assert_eq!(
        first(&arrived, &expected, "firing").unwrap().0,
        arrived[1].at
    );
    let names: Vec<String> = unexpected(&arrived, row("F2").unwrap())
        .iter()
        .map(|(_, alert)| format!("{} {}", alert.label("alertname"), alert.label("subject")))
        .collect();
    assert_eq!(
        names,
        ["PNVantageSilent host/mini-1", "PNNodeUnreachable another"]
    );
}

#[test]
fn what_is_allowed_or_only_informs_is_no_false_page() {
    let blind = row("F2-blind").unwrap();
    let silent = alert(
        "firing",
        "PNVantageSilent",
        "node/prod-kura-fleet-1",
        "warning",
    );
    let info = alert("firing", "PNLeaseNotRenewed", NODE, "info");
    let resolved = alert("resolved", "PNDegraded", NODE, "warning");
    assert!(unexpected(&[at(1, vec![silent.clone(), info, resolved])], blind).is_empty());
    let mut heartbeat = at(1, vec![alert("firing", "PNWatchdog", "", "warning")]);
    heartbeat.receiver = "dead-mans-switch".to_owned();
    assert!(unexpected(&[heartbeat], row("healthy").unwrap()).is_empty());
    // Twice notified is one false page.
    let arrived = [at(1, vec![silent.clone()]), at(2, vec![silent])];
    assert_eq!(unexpected(&arrived, row("healthy").unwrap()).len(), 1);
}

#[test]
fn every_deviation_is_named() {
    let row = row("F2").unwrap();
    assert_eq!(wrong(row, None, Notified::default()), ["no page came"]);
    let right = Seen {
        blame: "node".into(),
        subject: NODE.into(),
        severity: "critical".into(),
        alertname: "PNNodeUnreachable".into(),
        fault: vec!["node_unreachable".into(), "address_lost".into()],
    };
    let once = Notified {
        firing: 1,
        resolved: 1,
    };
    assert!(wrong(row, Some(&right), once).is_empty());
    let twice = Notified {
        firing: 2,
        resolved: 1,
    };
    assert_eq!(wrong(row, Some(&right), twice).len(), 1);
    let blunt = Seen {
        fault: vec!["node_unreachable".into()],
        ..right.clone()
    };
    assert_eq!(wrong(row, Some(&blunt), once).len(), 1);
    let other = Seen {
        blame: "host".into(),
        severity: "warning".into(),
        ..right
    };
    assert_eq!(wrong(row, Some(&other), once).len(), 2);
}

#[test]
fn a_missing_page_is_late_and_silence_is_not() {
    let outcome = |bar_s, paged_s| Outcome {
        fault: "F2",
        expected: None,
        seen: None,
        as_expected: true,
        wrong: Vec::new(),
        evidence: "real",
        detected_s: None,
        paged_s,
        resolved_s: None,
        sharpened_s: None,
        bar_s,
        notifications: Notified::default(),
        false_pages: 0,
        quiet_s: None,
        facts: Vec::new(),
    };
    assert!(outcome(None, None).is_in_time());
    assert!(outcome(Some(2.0), Some(1.9)).is_in_time());
    assert!(!outcome(Some(2.0), Some(2.1)).is_in_time());
    assert!(!outcome(Some(2.0), None).is_in_time());
}
