//! Wire v1 against its committed samples, its bounds, and arbitrary bytes.

#![allow(clippy::unwrap_used)] // a test: a fault ends it

use pnwatch_core::bandwidth::Throughput;
use pnwatch_core::link::{DeviceState, HeldAddress, MAX_ADDRESSES};
use pnwatch_core::outcome::{Blind, Cause, Layer, Outcome};
use pnwatch_core::wire::{
    Counter, DeviceReport, MAX_BUCKETS, MAX_COUNTERS, MAX_DEVICES, MAX_PATHS, MAX_RUNS,
    MAX_SAMPLES, MAX_VM_PATHS, MAX_VMS, PathReport, Peak, ReadyReport, Report, ReportError, Run,
    VmReport,
};
use pnwatch_core::witness::{MAX_CLAIMS, MAX_FLOWS, WitnessReport};
use proptest::prelude::*;

const SAMPLES: [(&str, &str); 6] = [
    ("hello", include_str!("wire/v1/hello.json")),
    ("host", include_str!("wire/v1/host.json")),
    (
        "node_lost_address",
        include_str!("wire/v1/node_lost_address.json"),
    ),
    ("goodbye", include_str!("wire/v1/goodbye.json")),
    ("newer_peer", include_str!("wire/v1/newer_peer.json")),
    ("witness", include_str!("wire/v1/witness.json")),
];

fn sample(name: &str) -> Report {
    let (_, text) = SAMPLES.iter().find(|(n, _)| *n == name).unwrap();
    Report::from_json(text.as_bytes()).unwrap()
}

/// `host.json`, changed by `change`, as it would be read.
fn changed(change: impl FnOnce(&mut Report)) -> Result<Report, ReportError> {
    let mut report = sample("host");
    change(&mut report);
    Report::from_json(&report.to_json())
}

#[test]
fn the_samples_read_and_read_back_the_same() {
    for (name, _) in SAMPLES {
        let report = sample(name);
        let again = Report::from_json(&report.to_json()).unwrap();
        assert_eq!(again, report, "{name}");
    }
}

#[test]
fn what_is_written_is_what_was_committed() {
    // A renamed or newly required field would break an older or newer peer.
    for name in ["hello", "host", "node_lost_address", "goodbye", "witness"] {
        let (_, text) = SAMPLES.iter().find(|(n, _)| *n == name).unwrap();
        let committed: serde_json::Value = serde_json::from_str(text).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&sample(name).to_json()).unwrap();
        let serde_json::Value::Object(fields) = &committed else {
            panic!("{name} is no object")
        };
        for (key, value) in fields {
            assert_eq!(pruned(&written[key]), pruned(value), "{name}: {key}");
        }
    }
}

/// Without what a writer may spell out or leave out: empty lists, `false`, 0 of what was counted.
fn pruned(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(k, v)| (k.clone(), pruned(v)))
                .filter(|(_, v)| {
                    let empty = *v == Value::Array(Vec::new());
                    !empty && *v != Value::Bool(false) && *v != 0
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(pruned).collect()),
        other => other.clone(),
    }
}

#[test]
fn the_samples_say_what_they_say() {
    let host = sample("host");
    assert_eq!(
        host.paths[0].runs[1].outcome,
        Outcome::Unreached(Cause::ArpUnanswered)
    );
    assert_eq!(host.paths[2].layer, Layer::Http);
    assert!(host.ready[0].draining);
    let node = sample("node_lost_address").link.unwrap();
    assert_eq!(node.facts.state, DeviceState::Up);
    assert!(node.facts.addresses.is_empty());
    let newer = sample("newer_peer");
    assert_eq!(
        newer.paths[0].runs[0].outcome,
        Outcome::Unmeasured(Blind::Unrecognised)
    );
    let node = sample("witness");
    let seen = node.witness.unwrap();
    assert_eq!((seen.flows.len(), seen.dhcp.unanswered), (2, 2));
    assert_eq!(seen.unanswered().count(), 1);
    assert_eq!(node.large[0].misses, 2);
    let bye = sample("goodbye");
    assert!(bye.stopping && bye.history);
}

fn many<T: Clone>(one: T, count: usize) -> Vec<T> {
    vec![one; count]
}

/// A change that makes a report unacceptable.
type Damage = Box<dyn FnOnce(&mut Report)>;

#[test]
fn every_bound_is_kept() {
    let run = sample("host").paths[0].runs[0].clone();
    let path = PathReport {
        runs: Vec::new(),
        mac: None,
        ..sample("host").paths[0].clone()
    };
    let ready: ReadyReport = sample("host").ready[0].clone();
    let device: DeviceReport = sample("host").devices[0].clone();
    let counter = |name: &str| Counter {
        name: name.into(),
        value: 1.0,
    };
    let address = HeldAddress {
        address: "172.16.0.1".parse().unwrap(),
        prefix_len: 22,
        valid_for_s: None,
        renewed_ago_s: None,
    };
    let peak = Peak {
        window_s: 15,
        receive: 1,
        transmit: 1,
    };
    let (run2, run3, run4) = (run.clone(), run.clone(), run.clone());
    let (device2, device3) = (device.clone(), device.clone());
    let refused: Vec<(&str, Damage)> = vec![
        ("version", Box::new(|r| r.version = 2)),
        (
            "paths",
            Box::new(move |r| r.paths = many(path, MAX_PATHS + 1)),
        ),
        (
            "ready",
            Box::new(move |r| r.ready = many(ready, MAX_PATHS + 1)),
        ),
        (
            "counters",
            Box::new(move |r| r.counters = many(counter("a"), MAX_COUNTERS + 1)),
        ),
        (
            "devices",
            Box::new(move |r| r.devices = many(device, MAX_DEVICES + 1)),
        ),
        (
            "peaks",
            Box::new(move |r| r.devices[0].peaks = many(peak, 9)),
        ),
        (
            "throughput",
            Box::new(move |r| {
                r.devices[0].transmit_throughput = Some(Throughput {
                    seconds: vec![1; MAX_BUCKETS + 1],
                    bytes: 1,
                });
            }),
        ),
        (
            "runs",
            Box::new(move |r| r.paths[0].runs = many(run, MAX_RUNS + 1)),
        ),
        (
            "rtt",
            Box::new(|r| r.paths[0].runs[0].rtt_us = many(1, MAX_SAMPLES + 1)),
        ),
        (
            "kernel rtt",
            Box::new(|r| r.paths[0].runs[0].kernel_rtt_us = many(1, MAX_SAMPLES + 1)),
        ),
        (
            "count 0",
            Box::new(move |r| r.paths[0].runs = vec![Run { count: 0, ..run2 }]),
        ),
        (
            "ages",
            Box::new(move |r| {
                r.paths[0].runs = vec![Run {
                    first_age_us: 1,
                    last_age_us: 2,
                    ..run3
                }];
            }),
        ),
        (
            "addresses",
            Box::new(move |r| {
                r.link.as_mut().unwrap().facts.addresses = many(address, MAX_ADDRESSES + 1);
            }),
        ),
        (
            "flows",
            Box::new(|r| {
                let witness = sample("witness").witness.unwrap();
                r.witness = Some(WitnessReport {
                    flows: many(witness.flows[0], MAX_FLOWS + 1),
                    ..witness
                });
            }),
        ),
        (
            "claims",
            Box::new(|r| {
                let witness = sample("witness").witness.unwrap();
                r.witness = Some(WitnessReport {
                    claims: many(witness.claims[0], MAX_CLAIMS + 1),
                    ..witness
                });
            }),
        ),
        ("boot id", Box::new(|r| r.boot_id = "a b".into())),
        ("no boot id", Box::new(|r| r.boot_id = String::new())),
        ("long boot id", Box::new(|r| r.boot_id = "a".repeat(65))),
        (
            "counter name",
            Box::new(|r| r.counters[0].name = "a{b=\"c\"}".into()),
        ),
        (
            "device",
            Box::new(move |r| {
                r.devices = vec![DeviceReport {
                    device: "eth0;reboot\n".into(),
                    ..device2
                }];
            }),
        ),
        (
            "plane",
            Box::new(move |r| {
                r.devices = vec![DeviceReport {
                    plane: "PN".into(),
                    ..device3
                }];
            }),
        ),
        (
            "link device",
            Box::new(|r| {
                r.link.as_mut().unwrap().facts.device = "$(id)".into();
            }),
        ),
        (
            "route device",
            Box::new(|r| {
                r.link
                    .as_mut()
                    .unwrap()
                    .facts
                    .route
                    .as_mut()
                    .unwrap()
                    .device = Some("a'b".into());
            }),
        ),
    ];
    for (what, damage) in refused {
        let error = changed(damage).expect_err(what);
        let said = error.to_string();
        assert!(!said.is_empty() && said.len() < 400, "{what}: {said}");
    }
    assert!(changed(move |r| r.paths[0].runs = many(run4, MAX_RUNS)).is_ok());
}

#[test]
fn hostile_names_do_not_pass() {
    for (from, to) in [
        ("host/mini-1", "host/mini 1"),
        ("host/mini-1", "host/<script>"),
        ("node:kura-fleet-1", "node:a\\\"b"),
        ("production", "../../etc"),
        ("02:00:00:00:00:02", "02:00"),
        ("\"layer\": \"arp\"", "\"layer\": \"smell\""),
        ("172.16.0.11", "172.16.0.999"),
        ("\"seq\": 42", "\"seq\": -1"),
        ("\"seq\": 42", "\"seq\": 1e400"),
    ] {
        let text = include_str!("wire/v1/host.json").replacen(from, to, 1);
        assert!(
            Report::from_json(text.as_bytes()).is_err(),
            "{from} -> {to}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Report::from_json(&bytes);
    }

    /// Damaged samples come closer to the parser's inside than noise does.
    #[test]
    fn damaged_samples_never_panic(
        which in 0usize..SAMPLES.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = SAMPLES[which].1.as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(report) = Report::from_json(&bytes) {
            prop_assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
        }
    }
}

#[test]
fn a_filter_is_bounded_and_its_device_is_a_device() {
    use pnwatch_core::filter::{FilterKind, MAX_PORT_SPANS, PortSpan};
    let with = |change: fn(&mut pnwatch_core::filter::FilterFacts)| {
        changed(|report| {
            let link = report.link.as_mut().unwrap();
            change(link.facts.filter.as_mut().unwrap());
        })
    };
    let span = PortSpan {
        first: 30000,
        last: 32767,
    };
    let pf = with(|f| {
        f.kind = FilterKind::Pf;
        f.ports = vec![
            PortSpan {
                first: 30000,
                last: 32767
            };
            MAX_PORT_SPANS
        ];
        f.nat_device = Some("vlan1".into());
    })
    .unwrap();
    let filter = pf.link.unwrap().facts.filter.unwrap();
    assert_eq!((filter.kind, filter.ports[0]), (FilterKind::Pf, span));
    for change in [
        (|f| f.ports = vec![PortSpan { first: 1, last: 2 }; MAX_PORT_SPANS + 1])
            as fn(&mut pnwatch_core::filter::FilterFacts),
        |f| f.nat_device = Some("vlan1; reboot".into()),
        |f| f.nat_device = Some(String::new()),
        |f| f.nat_device = Some("x".repeat(17)),
    ] {
        assert!(with(change).is_err());
    }
}

fn of_vm(subject: &str, layer: Layer) -> PathReport {
    PathReport {
        subject: subject.parse().unwrap(),
        layer,
        runs: vec![Run {
            outcome: Outcome::Unreached(Cause::SynUnanswered),
            count: 1,
            first_age_us: 10,
            last_age_us: 10,
            rtt_us: Vec::new(),
            kernel_rtt_us: Vec::new(),
        }],
        mac: None,
    }
}

fn vm(slot: &str, paths: Vec<PathReport>) -> VmReport {
    VmReport {
        slot: slot.parse().unwrap(),
        boot_id: "b-1".to_owned(),
        stopping: false,
        paths,
    }
}

#[test]
fn a_vm_speaks_through_its_host_and_of_what_it_can_know() {
    let account = "account:tuist/kura-tuist-scw-fr-par/nodeport";
    let report = changed(|report| {
        report.vms = vec![vm(
            "0",
            vec![
                of_vm(account, Layer::Tcp),
                of_vm("control", Layer::Control),
                of_vm("node:kura-fleet-1", Layer::Arp),
                of_vm("neighbour:host/mini-9", Layer::Arp),
                of_vm(account, Layer::Link),
            ],
        )];
    })
    .unwrap();
    let told: Vec<Report> = report.vm_reports().collect();
    let host = report.vantage.host().unwrap();
    assert_eq!(told[0].vantage.to_string(), format!("vm/{host}/0"));
    let layers: Vec<Layer> = told[0].paths.iter().map(|p| p.layer).collect();
    assert_eq!(layers, [Layer::Tcp, Layer::Control]);
    assert!(told[0].vms.is_empty() && told[0].link.is_none());
    // A node has no VMs, and no VM has any.
    for vantage in ["node/n1", "vm/mini-1/0"] {
        let mut other = report.clone();
        other.vantage = vantage.parse().unwrap();
        assert_eq!(other.vm_reports().count(), 0);
    }
}

#[test]
fn vms_are_bounded() {
    let slots = |n: usize| (0..n).map(|slot| vm(&slot.to_string(), Vec::new()));
    assert!(changed(|r| r.vms = slots(MAX_VMS).collect()).is_ok());
    assert!(changed(|r| r.vms = slots(MAX_VMS + 1).collect()).is_err());
    let paths = vec![of_vm("control", Layer::Control); MAX_VM_PATHS + 1];
    assert!(changed(|r| r.vms = vec![vm("0", paths)]).is_err());
    let mut backwards = vec![of_vm("control", Layer::Control)];
    backwards[0].runs[0].last_age_us = 11;
    assert!(changed(|r| r.vms = vec![vm("0", backwards)]).is_err());
    let mut nameless = vm("0", Vec::new());
    nameless.boot_id.clear();
    assert!(changed(|r| r.vms = vec![nameless]).is_err());
}
