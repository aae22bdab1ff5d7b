//! The node condition: set, read back, flipped, one Event each, one writer at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use pnwatch_core::kube::condition::{Said, say};
use pnwatch_core::link::LinkState;
use pnwatch_core::name::Node;
use pnwatch_core::path::Verdict;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_exporter::kube::{Writer, connect};
use pnwatch_kubeapi::{FakeApi, Identity, compare, objects};
use serde_json::{Value, json};

use crate::rights::{CONDITION, rules};

fn at(seconds: u64) -> Now {
    Now {
        tick: Tick::from_millis(1_000_000 + seconds * 1000),
        wall: Timestamp::from_unix_seconds(1_790_000_000 + seconds),
    }
}

fn up() -> BTreeMap<Node, Said> {
    let said = say(Some(LinkState::Fine), Verdict::Up).unwrap();
    [(Node::new("node-1").unwrap(), said)].into()
}

fn down() -> BTreeMap<Node, Said> {
    let said = say(Some(LinkState::InterfaceMissing), Verdict::Down).unwrap();
    [(Node::new("node-1").unwrap(), said)].into()
}

async fn bench() -> (FakeApi, Writer, Writer) {
    let api = FakeApi::start();
    for name in ["pnwatch", "default"] {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        // `default` is always there.
        let _ = api.apply(namespace);
    }
    api.apply(objects::linux_node("node-1", "172.16.0.2"))
        .unwrap();
    let exporter = Identity::service_account("pnwatch", "pnwatch-exporter");
    let exporter = rules(&[CONDITION])
        .into_iter()
        .fold(exporter, Identity::allow);
    api.token("exporter", exporter);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    std::fs::write(&file, api.kubeconfig("exporter")).unwrap();
    let client = connect(Some(&file)).await.unwrap();
    let writer = |holder| Writer::new(client.clone(), "pnwatch", "pnwatch-conditions", holder);
    let (a, b) = (writer("exporter-0"), writer("exporter-1"));
    (api, a, b)
}

fn condition(api: &FakeApi, kind: &str) -> Value {
    let node = api.get("nodes", "", "node-1").unwrap();
    let all = node["status"]["conditions"].as_array().unwrap().clone();
    all.into_iter()
        .find(|c| c["type"] == kind)
        .unwrap_or_default()
}

fn ours(api: &FakeApi) -> Value {
    condition(api, "PrivateNetworkReachable")
}

fn events(api: &FakeApi) -> Vec<String> {
    let told = |e: &Value| {
        format!(
            "{} {}",
            e["type"].as_str().unwrap(),
            e["reason"].as_str().unwrap()
        )
    };
    api.list("events").iter().map(told).collect()
}

#[tokio::test]
async fn set_flipped_and_back_with_one_event_each_beside_the_kubelet() {
    let (api, mut writer, _) = bench().await;
    assert!(writer.turn(&up(), at(0)).await.unwrap());
    assert_eq!(
        (&ours(&api)["status"], &ours(&api)["reason"]),
        (&json!("True"), &json!("Reachable"))
    );
    assert!(events(&api).is_empty(), "the first word is no transition");
    for second in 10..14 {
        // The kubelet writes its own meanwhile.
        api.edit("nodes", ("", "node-1"), |o| {
            o["status"]["conditions"][3]["lastHeartbeatTime"] =
                json!(format!("2026-10-01T00:00:{second}Z"));
        });
        assert!(writer.turn(&down(), at(second)).await.unwrap());
    }
    assert_eq!(
        (&ours(&api)["status"], &ours(&api)["reason"]),
        (&json!("False"), &json!("InterfaceMissing"))
    );
    assert_eq!(
        ours(&api)["lastTransitionTime"],
        json!("2026-09-21T14:13:31Z")
    );
    assert_eq!(
        condition(&api, "Ready")["lastHeartbeatTime"],
        json!("2026-10-01T00:00:13Z")
    );
    assert_eq!(condition(&api, "Ready")["status"], json!("True"));
    for second in 14..25 {
        assert!(writer.turn(&up(), at(second)).await.unwrap());
    }
    assert_eq!(ours(&api)["status"], json!("True"));
    assert_eq!(
        events(&api),
        ["Warning InterfaceMissing", "Normal Reachable"]
    );
    let compared = compare(&rules(&[CONDITION]), &api.requests());
    assert_eq!(
        compared.missing.len() + compared.unused.len(),
        0,
        "{compared:#?}"
    );
}

#[tokio::test]
async fn a_killed_writer_is_followed_by_the_other_without_a_false_event() {
    let (api, mut first, mut second) = bench().await;
    assert!(first.turn(&up(), at(0)).await.unwrap());
    let changed = ours(&api)["lastTransitionTime"].clone();
    for s in 1..=20 {
        assert!(first.turn(&up(), at(s)).await.unwrap());
        assert!(
            !second.turn(&down(), at(s)).await.unwrap(),
            "two writers at {s}"
        );
    }
    // The holder is killed at 20; it showed life last at 20.
    drop(first);
    let mut taken = None;
    for s in 21..=60 {
        if second.turn(&up(), at(s)).await.unwrap() {
            taken.get_or_insert(s);
        }
    }
    let taken = taken.unwrap();
    assert!((35..=45).contains(&taken), "taken over at {taken}");
    assert_eq!(ours(&api)["lastTransitionTime"], changed);
    assert!(events(&api).is_empty());
    let lease = api
        .get(
            "leases.coordination.k8s.io",
            "pnwatch",
            "pnwatch-conditions",
        )
        .unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], json!("exporter-1"));
}

#[tokio::test]
async fn a_holder_that_loses_the_server_stops_before_another_may_begin() {
    let (api, mut writer, _) = bench().await;
    assert!(writer.turn(&up(), at(0)).await.unwrap());
    api.faults()
        .add(pnwatch_kubeapi::Fault::new(pnwatch_kubeapi::Action::Refuse(503)).on("leases"));
    let mut held = Duration::ZERO;
    for s in 1..=20 {
        if writer.turn(&up(), at(s)).await.unwrap_or(false) {
            held = Duration::from_secs(s);
        }
    }
    assert!(held < Duration::from_secs(15), "held for {held:?}");
}
