//! What an exporter knows after a restart, before it knows what should exist; and history,
//! which is counted once and judged by never.

#![allow(clippy::unwrap_used, reason = "a test ends by failing")]

use std::collections::BTreeMap;

use pnwatch_core::board::Applied;
use pnwatch_core::engine::{Engine, Settings};
use pnwatch_core::finding::Finding;
use pnwatch_core::inventory::Inventory;
use pnwatch_core::targets::Targets;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::wire::Report;

fn at(second: u64) -> Now {
    Now {
        tick: Tick::from_millis(second * 1000),
        wall: Timestamp::from_unix_seconds(1_700_000_000 + second),
    }
}

fn nothing(report: &Report) -> Inventory {
    Inventory {
        cluster: report.cluster.clone(),
        pn_cidr: "172.16.0.0/22".parse().unwrap(),
        nodes: BTreeMap::new(),
        vantages: BTreeMap::new(),
        targets: Targets::default(),
    }
}

fn report() -> Report {
    Report::from_json(include_bytes!("wire/v1/host.json")).unwrap()
}

fn open_finding(inventory: &Inventory) -> Finding {
    let json = serde_json::json!({
        "id": "node-n1-1", "cluster": inventory.cluster, "blame": "node", "subject": "n1",
        "fault": "address_lost", "severity": "critical", "alertname": "PNNodeUnreachable",
        "confidence": "high", "started_at": "2023-11-14T22:13:00Z",
        "opened_at": "2023-11-14T22:13:01Z", "sharpened_at": "2023-11-14T22:13:01Z",
        "summary": "", "evidence": [], "missing": [], "node": "n1", "accounts": [],
        "vantages": [],
    });
    serde_json::from_value(json).unwrap()
}

#[test]
fn without_an_inventory_nothing_is_known_to_be_gone() {
    let inventory = nothing(&report());
    let kept = open_finding(&inventory);
    for awaits in [true, false] {
        let mut engine = Engine::new(inventory.clone(), Settings::default(), at(0));
        engine.restore(vec![kept.clone()]);
        if awaits {
            engine.await_inventory();
        }
        let mut closed = 0;
        for second in 1..60 {
            closed += engine.evaluate(at(second)).len();
        }
        assert_eq!(closed, usize::from(!awaits), "awaits {awaits}");
        let open = engine.view(at(60)).open;
        assert_eq!(open.len(), usize::from(awaits));
        assert!(open.iter().all(|f| f.started_at == kept.started_at));
        // The inventory comes, and the node is in it no longer.
        engine.set_inventory(inventory.clone());
        for second in 60..80 {
            engine.evaluate(at(second));
        }
        assert!(engine.view(at(80)).open.is_empty());
    }
}

#[test]
fn history_is_counted_once_whenever_it_comes() {
    let mut history = report();
    history.history = true;
    let mut engine = Engine::new(nothing(&history), Settings::default(), at(0));
    let mut apply = |boot: &str, seq: u64, is_history: bool| {
        let mut report = history.clone();
        report.boot_id = boot.into();
        report.seq = seq;
        report.history = is_history;
        engine.apply(&report, at(1))
    };
    assert_eq!(apply("b1-spool", 10, true), Applied::History);
    assert_eq!(apply("b1-spool", 10, true), Applied::Duplicate);
    assert_eq!(apply("b2", 700, false), Applied::Fresh);
    // Its numbers are its own: older than what is fresh, and news all the same.
    assert_eq!(apply("b2-spool", 20, true), Applied::History);
    assert_eq!(apply("b1-spool", 20, true), Applied::History);
    assert_eq!(apply("b2-spool", 20, true), Applied::Duplicate);
    assert_eq!(apply("b2", 701, false), Applied::Fresh);
    // However many boots there were, it stays bounded.
    for boot in 0..100 {
        assert_eq!(apply(&format!("x{boot}"), 1, true), Applied::History);
    }
}
