//! What the receiver's witness adds to a diagnosis, from reports as they come over the wire.

#![allow(clippy::unwrap_used)] // a test: a fault ends it

use pnwatch_core::engine::{Engine, Settings};
use pnwatch_core::fault::Fault;
use pnwatch_core::finding::Finding;
use pnwatch_core::inventory::InventoryFile;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::wire::Report;
use serde_json::{Value, json};

const NODE_MAC: &str = "02:00:00:00:00:02";
const OTHER_MAC: &str = "02:00:00:00:00:99";

struct World {
    engine: Engine,
    millis: u64,
    seq: u64,
}

impl World {
    fn new() -> Self {
        let file = json!({
            "pn_cidr": "172.16.0.0/22",
            "nodes": [{"name": "n1", "address": "172.16.0.2"}],
            "vantages": [{"vantage": "node/n1"}, {"vantage": "host/a"}, {"vantage": "host/b"}],
            "targets": [
                {"account": "acme", "instance": "acme-1", "node": "n1", "address": "172.16.0.2", "port": 30815},
                {"account": "shop", "instance": "shop-1", "node": "n1", "address": "172.16.0.2", "port": 30816},
            ],
        });
        let file: InventoryFile = serde_json::from_value(file).unwrap();
        let inventory = file.into_inventory("test".parse().unwrap()).unwrap();
        Self {
            engine: Engine::new(inventory, Settings::default(), now(1_000)),
            millis: 1_000,
            seq: 0,
        }
    }

    fn tell(&mut self, vantage: &str, rest: &Value) {
        self.seq += 1;
        let mut report = json!({"version": 1, "cluster": "test", "vantage": vantage, "boot_id": "b",
            "seq": self.seq, "sent_at": "2026-06-22T09:14:30Z"});
        report
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        let report = Report::from_json(report.to_string().as_bytes()).unwrap();
        self.engine.apply(&report, now(self.millis));
    }

    /// One second of reports: `acme` is the outcome of its connections, `macs` who answers ARP.
    fn second(&mut self, acme: &str, macs: [&str; 2], witness: &Value) {
        self.millis += 1_000;
        let leg = |address: &str, mac: &str| {
            json!({"facts": {"device": "pn0", "state": "up", "mac": mac,
                "addresses": [{"address": address, "prefix_len": 22}]}, "held_us": 60_000_000})
        };
        let run = |outcome: &str| json!([{"outcome": outcome, "count": 1, "first_age_us": 1000, "last_age_us": 1000}]);
        for (n, mac) in macs.into_iter().enumerate() {
            let (vantage, address) = (["host/a", "host/b"][n], ["172.16.0.11", "172.16.0.12"][n]);
            let mut paths = vec![
                json!({"subject": "node:n1", "layer": "arp", "runs": run("reached"), "mac": mac}),
                json!({"subject": "account:acme/acme-1/nodeport", "layer": "tcp", "runs": run(acme)}),
                json!({"subject": "account:shop/shop-1/nodeport", "layer": "tcp", "runs": run("reached")}),
                json!({"subject": "account:shop/shop-1/nodeport", "layer": "http", "runs": run("reached")}),
            ];
            if acme == "reached" {
                paths.push(json!({"subject": "account:acme/acme-1/nodeport", "layer": "http", "runs": run(acme)}));
            }
            self.tell(
                vantage,
                &json!({"paths": paths, "link": leg(address, "02:00:00:00:00:0a")}),
            );
        }
        self.tell(
            "node/n1",
            &json!({"link": leg("172.16.0.2", NODE_MAC), "witness": witness}),
        );
        self.engine.evaluate(now(self.millis));
    }

    fn open(&self) -> Vec<Finding> {
        self.engine.view(now(self.millis)).open
    }
}

fn now(millis: u64) -> Now {
    Now {
        tick: Tick::from_millis(millis),
        wall: Timestamp::from_unix_nanos(1_782_000_000_000_000_000 + millis * 1_000_000),
    }
}

/// Both hosts' flows to the port of `acme`, of this age, answered or not.
fn flows(syn_ack: bool) -> Value {
    let flow = |client: &str| {
        let mut flow = json!({"client": client, "server": "172.16.0.2", "port": 30815, "syns": 6,
            "repeats": 3, "syn_acks": 0, "syn_age_us": 200_000});
        if syn_ack {
            flow["syn_acks"] = 4.into();
            flow["syn_ack_age_us"] = 200_000.into();
        }
        flow
    };
    json!([flow("172.16.0.11"), flow("172.16.0.12")])
}

fn broken(witness: &Value) -> Finding {
    let mut world = World::new();
    let macs = [NODE_MAC, NODE_MAC];
    for _ in 0..8 {
        world.second("reached", macs, &json!({"window_us": 10_000_000}));
    }
    assert_eq!(world.open(), []);
    for _ in 0..6 {
        world.second("unreached:syn_unanswered", macs, witness);
    }
    let mut open = world.open();
    assert_eq!(open.len(), 1, "{open:?}");
    open.remove(0)
}

/// Rows 4, 5 and 12 of the table of socket causes: the same for a client, told by the node.
#[test]
fn where_a_syn_ended_stands_in_the_finding() {
    let window = 10_000_000;
    let unanswered = json!({"window_us": window, "flows": flows(false), "listen_overflows": 0});
    let full = json!({"window_us": window, "flows": flows(false), "listen_overflows": 3});
    let lost = json!({"window_us": window, "flows": flows(true)});
    let none = json!({"window_us": window});
    for (witness, seen, possible) in [
        (
            unanswered,
            "SYNs came and none was answered",
            "the node drops the SYN",
        ),
        (
            full,
            "SYNs came and none was answered",
            "the node's accept queue is full",
        ),
        (
            lost,
            "the answers do not arrive",
            "the node's answer is lost on its way back",
        ),
        (none, "no SYN came", "the SYN is lost before the node"),
    ] {
        let finding = broken(&witness);
        assert_eq!(finding.fault, Fault::AccountUnreachable);
        let said = |text: &str| finding.evidence.iter().any(|e| e.text.contains(text));
        assert!(said(seen), "{seen}: {:?}", finding.evidence);
        let left = finding.missing.join("\n");
        assert!(left.contains(&format!("possible: {possible}")), "{left}");
    }
    // Nobody watched: everything remains possible, and is listed.
    let finding = broken(&Value::Null);
    let left = finding.missing.join("\n");
    for possible in [
        "lost before the node",
        "policy",
        "accept queue",
        "on its way back",
    ] {
        assert!(left.contains(possible), "{possible}: {left}");
    }
}

fn answered(macs: [&str; 2], claims: &Value) -> Vec<Finding> {
    let mut world = World::new();
    for _ in 0..8 {
        let witness = json!({"window_us": 10_000_000, "claims": claims});
        world.second("reached", macs, &witness);
    }
    world.open()
}

#[test]
fn who_answers_arp_is_compared_with_the_nodes_own_word() {
    assert_eq!(answered([NODE_MAC, NODE_MAC], &json!([])), []);
    let claim = json!([{"address": "172.16.0.2", "mac": OTHER_MAC, "age_us": 100_000}]);
    for (macs, claims, fault) in [
        ([NODE_MAC, OTHER_MAC], json!([]), Fault::AddressConflict),
        ([NODE_MAC, NODE_MAC], claim.clone(), Fault::AddressConflict),
        ([OTHER_MAC, OTHER_MAC], claim, Fault::AnsweredByOther),
    ] {
        let open = answered(macs, &claims);
        assert_eq!(open.len(), 1, "{open:?}");
        assert_eq!(
            (open[0].fault, open[0].identity.subject.as_str()),
            (fault, "n1")
        );
        assert!(
            open[0].evidence.iter().any(|e| e.text.contains(OTHER_MAC)),
            "{:?}",
            open[0].evidence
        );
    }
    // What is claimed of another address is none of the node's affair.
    let other = json!([{"address": "172.16.0.9", "mac": OTHER_MAC, "age_us": 100_000}]);
    assert_eq!(answered([NODE_MAC, NODE_MAC], &other), []);
}
