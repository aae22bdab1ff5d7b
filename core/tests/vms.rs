//! VMs in the engine: weighed against their own host, and against nothing else.

#![allow(clippy::unwrap_used)] // a test: a fault ends it

use core::time::Duration;

use pnwatch_core::engine::{Engine, Settings};
use pnwatch_core::inventory::InventoryFile;
use pnwatch_core::outcome::{Cause, Layer, Outcome};
use pnwatch_core::subject::Subject;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::wire::{PathReport, REPORT_VERSION, Report, Run, VmReport};

const MISSED: Outcome = Outcome::Unreached(Cause::SynUnanswered);
const PORTS: [&str; 2] = ["account:a/i/nodeport", "account:b/j/nodeport"];

fn engine() -> Engine {
    let file = serde_json::json!({
        "pn_cidr": "172.16.0.0/22",
        "nodes": [{"name": "n1", "address": "172.16.0.2"}],
        "vantages": [{"vantage": "host/m0", "address": "172.16.0.11"},
                     {"vantage": "host/m1", "address": "172.16.0.12"}],
        "targets": [
            {"account": "a", "instance": "i", "node": "n1", "address": "172.16.0.2", "port": 30001},
            {"account": "b", "instance": "j", "node": "n1", "address": "172.16.0.2", "port": 30002}],
    });
    let file: InventoryFile = serde_json::from_value(file).unwrap();
    let inventory = file.into_inventory("test".parse().unwrap()).unwrap();
    Engine::new(inventory, Settings::default(), now(0))
}

fn now(ms: u64) -> Now {
    Now {
        tick: Tick::from_millis(ms),
        wall: Timestamp::from_unix_seconds(1_700_000_000).after(Duration::from_millis(ms)),
    }
}

fn path(subject: &str, layer: Layer, outcome: Outcome) -> PathReport {
    PathReport {
        subject: subject.parse().unwrap(),
        layer,
        runs: vec![Run {
            outcome,
            count: 1,
            first_age_us: 10_000,
            last_age_us: 10_000,
            rtt_us: Vec::new(),
            kernel_rtt_us: Vec::new(),
        }],
        mac: None,
    }
}

/// A VM that sees this of the PN and of its control.
fn vm(boot_id: &str, pn: Outcome, control: Outcome) -> VmReport {
    let mut paths = vec![path("control", Layer::Control, control)];
    for port in PORTS {
        paths.push(path(port, Layer::Tcp, pn));
        if pn == Outcome::Reached {
            paths.push(path(port, Layer::Http, pn));
        }
    }
    VmReport {
        slot: "0".parse().unwrap(),
        boot_id: boot_id.to_owned(),
        stopping: false,
        paths,
    }
}

fn report(host: &str, seq: u64, pn: Outcome, vms: Vec<VmReport>) -> Report {
    let arp = match pn {
        Outcome::Reached => pn,
        _ => Outcome::Unreached(Cause::ArpUnanswered),
    };
    let neighbour = if host == "host/m0" { "m1" } else { "m0" };
    let mut paths = vec![
        path("node:n1", Layer::Arp, arp),
        path(
            &format!("neighbour:host/{neighbour}"),
            Layer::Arp,
            Outcome::Reached,
        ),
        path("control", Layer::Control, Outcome::Reached),
    ];
    for port in PORTS {
        paths.push(path(port, Layer::Tcp, pn));
        if pn == Outcome::Reached {
            paths.push(path(port, Layer::Http, pn));
        }
    }
    Report {
        version: REPORT_VERSION,
        cluster: "test".parse().unwrap(),
        vantage: host.parse().unwrap(),
        boot_id: "b".to_owned(),
        seq,
        plan_id: None,
        sent_at: now(0).wall,
        stopping: false,
        history: false,
        behind: false,
        paths,
        link: None,
        ready: Vec::new(),
        counters: Vec::new(),
        devices: Vec::new(),
        witness: None,
        large: Vec::new(),
        vms,
    }
}

/// Both hosts report twice a second from `from` to `to` seconds; what is open at the end.
fn pass(
    engine: &mut Engine,
    (from, to): (u64, u64),
    pn: Outcome,
    vms: impl Fn(&str) -> Vec<VmReport>,
) -> Vec<(String, String)> {
    for half in from * 2..to * 2 {
        let at = now(half * 500);
        for host in ["host/m0", "host/m1"] {
            engine.apply(&report(host, half + 1, pn, vms(host)), at);
        }
        engine.evaluate(at);
    }
    let open = engine.view(now(to * 1000)).open;
    let named = open
        .iter()
        .map(|f| (f.fault.to_string(), f.identity.subject.clone()));
    named.collect()
}

fn one(fault: &str, subject: &str) -> Vec<(String, String)> {
    vec![(fault.to_owned(), subject.to_owned())]
}

#[test]
fn vms_that_fail_where_their_host_succeeds_accuse_it_alone() {
    for (control, fault) in [
        (Outcome::Reached, "vm_nat_missing"),
        (MISSED, "vm_network_dead"),
    ] {
        let mut engine = engine();
        let well = |_: &str| vec![vm("v1", Outcome::Reached, Outcome::Reached)];
        assert_eq!(pass(&mut engine, (0, 6), Outcome::Reached, well), []);
        let ill = |host: &str| match host {
            "host/m0" => vec![vm("v1", MISSED, control)],
            _ => vec![vm("v1", Outcome::Reached, Outcome::Reached)],
        };
        let open = pass(&mut engine, (6, 12), Outcome::Reached, ill);
        assert_eq!(open, one(fault, "m0"));
        assert_eq!(pass(&mut engine, (12, 30), Outcome::Reached, well), []);
    }
}

#[test]
fn a_vm_that_lies_clears_nobody() {
    let mut engine = engine();
    let liar = |_: &str| vec![vm("v1", Outcome::Reached, Outcome::Reached)];
    assert_eq!(pass(&mut engine, (0, 6), Outcome::Reached, liar), []);
    let open = pass(&mut engine, (6, 12), MISSED, liar);
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0].1, "n1");
    // Nor does it open a gate or close a finding.
    let view = engine.view(now(12_000));
    assert!(view.targets.iter().all(|t| !t.verdict.is_reached()));
    assert_eq!(pass(&mut engine, (12, 20), MISSED, liar).len(), 1);
}

#[test]
fn a_vm_alone_in_its_misses_accuses_no_account_and_no_node() {
    let mut engine = engine();
    let all = |_: &str| vec![vm("v1", MISSED, MISSED)];
    let open = pass(&mut engine, (0, 12), Outcome::Reached, all);
    let mut subjects: Vec<&str> = open.iter().map(|(_, subject)| subject.as_str()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["m0", "m1"]);
}

#[test]
fn another_vm_in_the_slot_starts_without_a_past() {
    let mut engine = engine();
    let first = |_: &str| vec![vm("v1", MISSED, Outcome::Reached)];
    // Too short to be down: it ends in the middle of its checks.
    pass(&mut engine, (0, 1), Outcome::Reached, first);
    let second = |_: &str| {
        let mut silent = vm("v2", MISSED, Outcome::Reached);
        silent.paths.clear();
        vec![silent]
    };
    assert_eq!(pass(&mut engine, (1, 5), Outcome::Reached, second), []);
    let view = engine.view(now(5000));
    let of_vm = |p: &&pnwatch_core::view::PathView| p.key.vantage.to_string().starts_with("vm/");
    assert_eq!(view.paths.iter().filter(of_vm).count(), 0);
}

#[test]
fn vms_that_are_gone_leave_nothing() {
    let mut engine = engine();
    let there = |_: &str| vec![vm("v1", Outcome::Reached, Outcome::Reached)];
    pass(&mut engine, (0, 5), Outcome::Reached, there);
    assert_eq!(
        pass(&mut engine, (5, 60), Outcome::Reached, |_| Vec::new()),
        []
    );
    let view = engine.view(now(60_000));
    assert!(view.vantages.iter().all(|v| v.expected));
    let is_vm = |subject: &Subject| matches!(subject, Subject::Control);
    assert!(view.paths.iter().any(|p| is_vm(&p.key.subject)));
    assert!(
        view.paths
            .iter()
            .all(|p| p.key.vantage.to_string().starts_with("host/"))
    );
}
