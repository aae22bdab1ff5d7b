//! Reads of many segments: what stalls beside answers is large packets lost, what stalled while
//! nothing was answered is not.

#![allow(clippy::unwrap_used, reason = "a test ends by failing")]

use pnwatch_core::engine::{Engine, Settings};
use pnwatch_core::fault::Fault;
use pnwatch_core::inventory::{Inventory, InventoryFile};
use pnwatch_core::name::Cluster;
use pnwatch_core::outcome::{Cause, Layer, Outcome};
use pnwatch_core::subject::Subject;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::wire::{PathReport, Report, Run};
use pnwatch_core::witness::LargeRead;

const HOSTS: [&str; 2] = ["host/m1", "host/m2"];

fn at(second: u64) -> Now {
    Now {
        tick: Tick::from_millis(second * 1000),
        wall: Timestamp::from_unix_seconds(1_700_000_000 + second),
    }
}

fn empty() -> Report {
    Report::from_json(include_bytes!("wire/v1/host.json")).unwrap()
}

fn site(cluster: &Cluster) -> Inventory {
    let file: InventoryFile = serde_json::from_value(serde_json::json!({
        "pn_cidr": "172.16.0.0/22",
        "nodes": [{ "name": "n", "address": "172.16.0.2" }],
        "vantages": [{ "vantage": "host/m1" }, { "vantage": "host/m2" }],
        "targets": [{ "account": "a", "instance": "kura-a", "node": "n", "address": "172.16.0.2", "port": 30001 }],
    }))
    .unwrap();
    file.into_inventory(cluster.clone()).unwrap()
}

/// A second of one host: everything answers but HTTP, which does as told.
fn told(host: &str, seq: u64, http: Outcome, large: Option<LargeRead>) -> Report {
    let account: Subject = "account:a/kura-a/nodeport".parse().unwrap();
    let path = |subject: Subject, layer, outcome| PathReport {
        subject,
        layer,
        runs: vec![Run {
            outcome,
            count: 2,
            first_age_us: 600_000,
            last_age_us: 100_000,
            rtt_us: Vec::new(),
            kernel_rtt_us: Vec::new(),
        }],
        mac: None,
    };
    Report {
        vantage: host.parse().unwrap(),
        boot_id: "b".into(),
        seq,
        paths: vec![
            path("node:n".parse().unwrap(), Layer::Arp, Outcome::Reached),
            path(account.clone(), Layer::Tcp, Outcome::Reached),
            path(account, Layer::Http, http),
        ],
        link: None,
        witness: None,
        ready: Vec::new(),
        large: large.into_iter().collect(),
        ..empty()
    }
}

fn stalled(age_us: u64) -> LargeRead {
    LargeRead {
        subject: "account:a/kura-a/nodeport".parse().unwrap(),
        outcome: Outcome::Unreached(Cause::TransferStalled),
        bytes: 1400,
        misses: 2,
        age_us,
    }
}

#[test]
fn what_stalled_while_the_pod_hung_accuses_nobody_once_it_answers() {
    let mut engine = Engine::new(site(&empty().cluster), Settings::default(), at(100));
    let mut named = Vec::new();
    for second in 100..140 {
        let hangs = (110..115).contains(&second);
        let http = if hangs {
            Outcome::Unreached(Cause::NoFirstByte)
        } else {
            Outcome::Reached
        };
        for host in HOSTS {
            // The second stalled read began while the pod hung; the last ones when it did not.
            let large = match second {
                112 => Some(stalled(500_000)),
                130.. => Some(stalled(0)),
                _ => None,
            };
            engine.apply(&told(host, second, http, large), at(second));
            for transition in engine.evaluate(at(second)) {
                named.push((second, transition.finding.fault));
            }
        }
    }
    let degraded =
        |(second, fault): &(u64, Fault)| (*fault == Fault::LargePacketsLost).then_some(*second);
    assert!(
        named.iter().any(|(_, fault)| *fault == Fault::PodDead),
        "{named:?}"
    );
    let first = named.iter().find_map(degraded);
    assert!(first.is_some_and(|second| second >= 130), "{named:?}");
}
