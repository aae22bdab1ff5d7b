use pnwatch_core::name::Cluster;
use pnwatch_core::outcome::{Layer, Outcome};
use pnwatch_core::path::Verdict;
use pnwatch_core::subject::{PathKey, Subject};
use pnwatch_core::time::Timestamp;
use pnwatch_core::view::{NodeView, PathView, VantageView};
use serde_json::json;

use super::*;

fn finding(fault: &str, blame: &str, subject: &str, accounts: usize) -> Finding {
    let accounts: Vec<String> = (0..accounts).map(|n| format!("account-{n}")).collect();
    serde_json::from_value(json!({
        "id": "x", "cluster": "staging", "blame": blame, "subject": subject, "fault": fault,
        "severity": "critical", "confidence": "high", "summary": "long",
        "started_at": "2026-06-22T09:11:18Z", "opened_at": "2026-06-22T09:11:19Z",
        "sharpened_at": "2026-06-22T09:11:19Z", "address": "172.16.0.2",
        "evidence": [], "missing": [], "accounts": accounts, "vantages": [],
    }))
    .unwrap()
}

fn view() -> View {
    let vantage: pnwatch_core::name::Vantage = "host/mini-1".parse().unwrap();
    let now = Timestamp::from_unix_seconds(1_782_119_670);
    View {
        cluster: Cluster::new("staging").unwrap(),
        at: now,
        started_at: now,
        open: Vec::new(),
        closed: Vec::new(),
        nodes: vec![NodeView {
            node: "kura-fleet-1".parse().unwrap(),
            address: "172.16.0.2".parse().unwrap(),
            verdict: Verdict::Up,
        }],
        targets: Vec::new(),
        vantages: vec![VantageView {
            vantage,
            expected: true,
            reporting: true,
            stopping: false,
            last_report: Some(now),
            address: None,
            link: None,
            counters: Vec::new(),
            devices: Vec::new(),
        }],
        paths: Vec::new(),
    }
}

fn path(n: usize, verdict: Verdict, last: Outcome) -> PathView {
    PathView {
        key: PathKey {
            vantage: "host/mini-1".parse().unwrap(),
            subject: format!("node:n{n}").parse::<Subject>().unwrap(),
            layer: Layer::Arp,
        },
        verdict,
        last_outcome: Some(last),
        down_since: None,
        newest_age: Some(Duration::from_millis(840)),
        mac: None,
        rtt_us: None,
        failures: Vec::new(),
    }
}

#[test]
fn a_finding_is_told_in_one_line() {
    for (found, fact) in [
        (
            finding("address_lost", "node", "kura-fleet-1", 11),
            "node kura-fleet-1 lost 172.16.0.2 · 11 accounts",
        ),
        (
            finding("node_unreachable", "node", "kura-fleet-1", 1),
            "node kura-fleet-1 is unreachable at 172.16.0.2 · 1 account",
        ),
        (
            finding("wrong_tenant", "account", "account-0", 1),
            "account account-0: the NodePort answers for another tenant",
        ),
        (
            finding("monitor_blind", "monitor", "staging", 0),
            "pnwatch cannot see",
        ),
    ] {
        let mut view = view();
        view.at = Timestamp::from_unix_seconds(1_782_119_670);
        view.open = vec![found];
        let told = headline(&view);
        assert_eq!((told.mood, told.fact.as_str()), (Mood::Critical, fact));
        assert_eq!(told.ticking, "for 3 min 12 s");
    }
}

#[test]
fn calm_says_how_much_is_known() {
    let all = |n: usize| (0..n).map(|n| path(n, Verdict::Up, Outcome::Reached));
    let mut calm = view();
    calm.paths = all(412).collect();
    calm.paths
        .push(path(900, Verdict::Unknown, Outcome::NotApplicable));
    let told = headline(&calm);
    assert_eq!(told.fact, "all 412 paths healthy");
    assert_eq!(told.ticking, "newest evidence 0.8 s old");
    assert_eq!(told.mood, Mood::Fine);

    calm.paths
        .push(path(901, Verdict::Unknown, Outcome::Reached));
    calm.paths
        .push(path(902, Verdict::Suspect, Outcome::Reached));
    let told = headline(&calm);
    assert_eq!(told.fact, "412 of 414 paths healthy, 1 wavering, 1 unknown");

    let mut blind = calm.clone();
    blind.vantages[0].reporting = false;
    assert_eq!(headline(&blind).mood, Mood::Blind);
    blind.vantages[0].last_report = None;
    assert!(headline(&blind).fact.starts_with("waiting"));
    blind.nodes.clear();
    assert!(headline(&blind).fact.starts_with("nothing to watch"));
}
