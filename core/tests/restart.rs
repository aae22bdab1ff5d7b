//! What an exporter knows after a restart, before it knows what should exist; and history,
//! which is counted once and judged by never.

#![allow(clippy::unwrap_used, reason = "a test ends by failing")]

use std::collections::BTreeMap;

use pnwatch_core::board::Applied;
use pnwatch_core::engine::{Engine, Settings};
use pnwatch_core::fault::Fault;
use pnwatch_core::finding::{Change, Finding, Transition};
use pnwatch_core::inventory::{Inventory, InventoryFile};
use pnwatch_core::outcome::{Cause, Layer, Outcome};
use pnwatch_core::targets::Targets;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::wire::{PathReport, Report, Run};

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

fn site(cluster: &pnwatch_core::name::Cluster) -> Inventory {
    let file: InventoryFile = serde_json::from_value(serde_json::json!({
        "pn_cidr": "172.16.0.0/22",
        "nodes": [{ "name": "n", "address": "172.16.0.2" }],
        "vantages": [{ "vantage": "host/m1" }, { "vantage": "host/m2" }],
        "targets": [],
    }))
    .unwrap();
    file.into_inventory(cluster.clone()).unwrap()
}

/// ARP for the node by one host: `outcome`, once a second from `first` to `last` seconds ago.
fn asked(host: &str, seq: u64, outcome: Outcome, (first, last): (u64, u64)) -> Report {
    Report {
        vantage: host.parse().unwrap(),
        seq,
        paths: vec![PathReport {
            subject: "node:n".parse().unwrap(),
            layer: Layer::Arp,
            runs: vec![Run {
                outcome,
                count: u32::try_from(first - last + 1).unwrap(),
                first_age_us: first * 1_000_000,
                last_age_us: last * 1_000_000,
                rtt_us: Vec::new(),
                kernel_rtt_us: Vec::new(),
            }],
            mac: None,
        }],
        link: None,
        ready: Vec::new(),
        large: Vec::new(),
        ..report()
    }
}

/// The exporter is back; the node was gone until three seconds ago, and that is told first.
#[test]
fn what_newer_evidence_waits_behind_is_judged_by_once_that_has_come() {
    let missed = Outcome::Unreached(Cause::ArpUnanswered);
    for (behind, opened) in [(true, 0), (false, 1)] {
        let inventory = site(&report().cluster);
        let mut engine = Engine::new(inventory, Settings::default(), at(100));
        let mut found = 0;
        let opened_now = |engine: &mut Engine, now| {
            let seen = engine.evaluate(now).into_iter();
            seen.filter(|t| t.change == Change::Opened).count()
        };
        for host in ["host/m1", "host/m2"] {
            let mut old = asked(host, 1, missed, (13, 4));
            old.behind = behind;
            assert_eq!(engine.apply(&old, at(100)), Applied::Fresh);
            found += opened_now(&mut engine, at(100));
        }
        // Naming waits for nobody any more.
        found += opened_now(&mut engine, at(101));
        assert_eq!(found, opened, "behind {behind}");
        for host in ["host/m1", "host/m2"] {
            let new = asked(host, 2, Outcome::Reached, (4, 0));
            assert_eq!(engine.apply(&new, at(101)), Applied::Fresh);
            found += opened_now(&mut engine, at(101));
        }
        assert_eq!(found, opened, "behind {behind}");
    }
}

/// A prober that slept for longer than its lease speaks again before it has looked at its leg.
#[test]
fn what_was_told_of_a_lease_before_a_sleep_says_nothing_after_it() {
    let leased = |seq: u64, left: u64| {
        let mut told = asked("host/m1", seq, Outcome::Reached, (0, 0));
        let mut link = report().link.unwrap();
        for held in &mut link.facts.addresses {
            held.valid_for_s = Some(left);
            held.renewed_ago_s = Some(600 - left);
        }
        told.link = Some(link);
        told
    };
    for (left_after, named) in [(None, false), (Some(400), false), (Some(20), true)] {
        let mut engine = Engine::new(site(&report().cluster), Settings::default(), at(100));
        let mut found = Vec::new();
        let mut tell = |report: &Report, second: u64| {
            engine.apply(report, at(second));
            found.extend(engine.evaluate(at(second)));
        };
        tell(&leased(1, 500), 100);
        let awake = 100 + 20 * 60;
        tell(&asked("host/m1", 2, Outcome::Reached, (0, 0)), awake);
        if let Some(left) = left_after {
            for second in 1..5 {
                tell(&leased(2 + second, left), awake + second);
            }
        }
        let lease = |t: &Transition| t.finding.fault == Fault::LeaseNotRenewed;
        assert_eq!(found.iter().any(lease), named, "{left_after:?}: {found:?}");
    }
}
