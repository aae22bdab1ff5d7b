use std::time::Duration;

use pnwatch_core::kube::Kind;
use pnwatch_kubeapi::{Action, FakeApi, Fault, objects};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::common::{Watching, home, small, told};

#[tokio::test]
async fn first_lists_then_live_changes() {
    let (api, acme) = small();
    let mut watching = Watching::start(&api).await;
    let reading = watching.targets(1).await;
    assert_eq!(reading.diagnoses, []);
    let inventory = reading.inventory.clone().unwrap();
    assert_eq!(inventory.nodes.len(), 2);
    let vantages: Vec<String> = inventory.vantages.keys().map(ToString::to_string).collect();
    assert_eq!(vantages, ["node/node-1", "node/node-2", "host/mini-1"]);
    assert_eq!(reading.scrapes.len(), 1);
    assert_eq!(reading.gateways.len(), 1);
    assert_eq!(reading.runners.values().sum::<usize>(), 1);

    let other = objects::Instance::new("other", "node-2", "172.16.0.3", 30816);
    for object in other.all() {
        api.apply(object).unwrap();
    }
    watching.targets(2).await;
    // The pod moves, and its controller follows.
    let moved = objects::Instance::new("acme", "node-2", "172.16.0.3", 30815);
    for object in moved.all() {
        api.apply(object).unwrap();
    }
    watching
        .until("the move", |r| home(r) == Some("node-2"))
        .await;
    assert!(api.delete("kurainstances", "kura", &acme.name()));
    watching.targets(1).await;
    assert!(api.delete("nodes", "", "node-1"));
    watching
        .until("the node's end", |r| {
            r.inventory.as_ref().unwrap().nodes.len() == 1
        })
        .await;
}

/// Something changes unseen; afterwards it must be seen.
async fn unseen(api: &FakeApi, watching: &mut Watching, port: u16) {
    let done = api.edit("kurainstances", ("kura", "kura-acme-scw-fr-par"), |o| {
        o["status"]["nodePortCache"] = port.into();
    });
    assert!(done);
    watching
        .until(&format!("port {port}"), |r| {
            let inventory = r.inventory.as_ref().unwrap();
            r.stale.is_empty() && inventory.targets.values().all(|t| t.port == port)
        })
        .await;
}

#[tokio::test]
async fn expired_watches_cut_connections_and_a_restart_lose_nothing() {
    let (api, _) = small();
    let mut watching = Watching::start(&api).await;
    watching.targets(1).await;
    api.faults().expire_watches();
    unseen(&api, &mut watching, 30001).await;
    api.faults().expire_history();
    api.faults().cut();
    unseen(&api, &mut watching, 30002).await;
    api.faults().cut();
    unseen(&api, &mut watching, 30003).await;
    api.stop();
    watching.until("staleness", |r| r.stale.len() == 8).await;
    let reading = watching.readings.borrow().clone();
    assert_eq!(reading.inventory.as_ref().unwrap().targets.len(), 1);
    assert!(reading.stale_since.is_some());
    api.resume().unwrap();
    unseen(&api, &mut watching, 30004).await;
    assert!(watching.readings.borrow().stale_since.is_none());
}

#[tokio::test]
async fn unauthorized_then_recovery() {
    let (api, _) = small();
    let mut watching = Watching::start(&api).await;
    watching.targets(1).await;
    let fault = api.faults().unauthorized();
    api.faults().cut();
    let reading = watching.until("401", |r| r.stale.len() == 8).await;
    assert_eq!(
        reading.inventory.as_ref().unwrap().targets.len(),
        1,
        "nothing is forgotten"
    );
    // Named once it is no mere blip.
    watching
        .until("the finding", |r| told(r, "kubernetes", &["Unauthorized"]))
        .await;
    api.faults().end(fault);
    let reading = watching.targets(1).await;
    assert_eq!(reading.diagnoses, []);
}

#[tokio::test]
async fn a_forbidden_kind_is_named_and_the_others_go_on() {
    let (api, _) = small();
    let fault = api.faults().forbid("networkpolicies");
    let pods = api.faults().forbid("pods");
    let mut watching = Watching::start(&api).await;
    let reading = watching
        .until("the findings", |r| {
            r.inventory.is_some()
                && told(r, "kubernetes-networkpolicies", &["forbidden"])
                && told(r, "kubernetes-pods", &["forbidden"])
        })
        .await;
    let inventory = reading.inventory.as_ref().unwrap();
    assert_eq!((inventory.nodes.len(), inventory.targets.len()), (2, 1));
    assert_eq!(reading.stale, [Kind::Pod, Kind::Runner, Kind::Policy]);
    unforbidden(&api, &mut watching, &[fault, pods]).await;
}

async fn unforbidden(api: &FakeApi, watching: &mut Watching, faults: &[pnwatch_kubeapi::FaultId]) {
    for fault in faults {
        api.faults().end(*fault);
    }
    let reading = watching.targets(1).await;
    assert_eq!(reading.diagnoses, []);
    assert_eq!(reading.scrapes.len(), 1);
}

#[tokio::test]
async fn nothing_is_published_before_the_lists_are_complete() {
    let (api, _) = small();
    let failing = Fault::new(Action::Refuse(503)).on("kurainstances");
    let fault = api.faults().add(failing);
    let mut watching = Watching::start(&api).await;
    watching
        .until("all but the instances", |r| {
            r.stale == [Kind::Instance] && r.stale_since.is_some()
        })
        .await;
    assert!(watching.readings.borrow().inventory.is_none());
    api.faults().end(fault);
    watching.targets(1).await;
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let (api, _) = small();
    api.faults().delay(Duration::from_millis(1500));
    let mut watching = Watching::start(&api).await;
    let reading = watching.targets(1).await;
    assert_eq!(reading.diagnoses, []);
}

#[tokio::test]
async fn malformed_objects_are_skipped_and_named() {
    let (api, _) = small();
    for item in [
        json!("a text"),
        json!({"metadata": {"name": 5, "labels": []}, "spec": 7}),
        Value::Null,
    ] {
        api.faults().malformed("kurainstances", item.clone());
        api.faults().malformed("nodes", item);
    }
    let mut bad = objects::Instance::new("bad", "node-1", "172.16.0.2", 30900).later();
    bad["status"]["nodePortCache"] = json!("thirty thousand");
    api.apply(bad).unwrap();
    let mut watching = Watching::start(&api).await;
    let reading = watching.targets(1).await;
    assert!(told(
        &reading,
        "unreadable-kurainstances",
        &["kura-bad", "status.nodePortCache is a text"]
    ));
    assert!(told(
        &reading,
        "unreadable-nodes",
        &["metadata.name", "skipped"]
    ));
    assert_eq!(reading.inventory.as_ref().unwrap().nodes.len(), 2);
    // In a watch as well: what cannot be a change ends that watch, and a new list follows.
    api.faults()
        .raw_watch_line("pods", "{\"type\":\"ADDED\",\"object\":7}");
    api.faults().raw_watch_line("services", "no JSON at all");
    let other = objects::Instance::new("other", "node-2", "172.16.0.3", 30816);
    for object in other.all() {
        api.apply(object).unwrap();
    }
    watching.targets(2).await;
    api.faults().clear();
}

#[tokio::test]
async fn a_hundred_instances_on_forty_nodes_settle_in_seconds() {
    let api = FakeApi::start();
    for n in 0..40 {
        let address = format!("172.16.0.{}", n + 2);
        api.apply(objects::linux_node(&format!("node-{n}"), &address))
            .unwrap();
    }
    for n in 0..100_u16 {
        let (home, account) = (n % 40, format!("account-{n}"));
        let address = format!("172.16.0.{}", home + 2);
        let instance =
            objects::Instance::new(&account, &format!("node-{home}"), &address, 30_000 + n);
        for object in instance.all() {
            api.apply(object).unwrap();
        }
    }
    let start = Instant::now();
    let mut watching = Watching::start(&api).await;
    let reading = watching.targets(100).await;
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(9),
        "settled in {took:?}, three times the goal of 3 s"
    );
    assert_eq!(reading.diagnoses, []);
    assert_eq!(reading.inventory.as_ref().unwrap().nodes.len(), 40);
    assert_eq!(reading.scrapes.len(), 100);
}

#[tokio::test]
async fn contradictions_are_found_live() {
    let (api, acme) = small();
    let quick = [
        "times: { settle: 500ms, endpoint: 500ms, ready: 1s }",
        "machines: true",
    ];
    let mut watching = Watching::with(&api, pnwatch_kubeapi::ADMIN_TOKEN, &quick).await;
    watching.targets(1).await;
    let pod = format!("{}-0", acme.name());
    // F19: the pod runs elsewhere, the endpoint stays.
    api.edit("pods", ("kura", &pod), |o| {
        o["spec"]["nodeName"] = "node-2".into();
    });
    watching
        .until("F19", |r| {
            told(
                r,
                "acme",
                &["status.nodeAddress is 172.16.0.2", "172.16.0.3"],
            )
        })
        .await;
    api.edit("pods", ("kura", &pod), |o| {
        o["spec"]["nodeName"] = "node-1".into();
    });
    watching
        .until("F19's end", |r| r.diagnoses.is_empty())
        .await;
    // F18: an old CRD.
    api.apply(objects::kura_crd(&["phase", "message"])).unwrap();
    watching
        .until("the CRD", |r| {
            told(r, "kurainstances.kura.tuist.dev", &["status.nodeAddress"])
        })
        .await;
    let whole = ["phase", "nodeAddress", "nodePortCache"];
    api.apply(objects::kura_crd(&whole)).unwrap();
    watching
        .until("the CRD's end", |r| r.diagnoses.is_empty())
        .await;
    // A policy without the PN.
    api.apply(acme.network_policy(&["10.0.0.0/8"])).unwrap();
    watching
        .until("the policy", |r| {
            told(r, &acme.name(), &["NetworkPolicy", "ipBlock.cidr"])
        })
        .await;
    api.apply(acme.network_policy(&[objects::PN_CIDR])).unwrap();
    watching
        .until("the policy's end", |r| r.diagnoses.is_empty())
        .await;
    // F28: two Nodes, one address; two Machines, one host.
    api.apply(objects::linux_node("node-3", "172.16.0.3"))
        .unwrap();
    watching
        .until("F28", |r| told(r, "172.16.0.3", &["node-2", "node-3"]))
        .await;
    api.delete("nodes", "", "node-3");
    api.apply(objects::machine("m-1", Some("mini-1"), false))
        .unwrap();
    api.apply(objects::machine("m-2", Some("mini-1"), false))
        .unwrap();
    watching
        .until("F28", |r| told(r, "mini-1", &["m-1", "m-2"]))
        .await;
    api.delete("machines", "default", "m-2");
    watching
        .until("F28's end", |r| r.diagnoses.is_empty())
        .await;
    // F26: a node that nothing is bound to.
    api.edit("nodes", ("", "node-2"), |o| {
        o["spec"]["providerID"] = Value::Null;
    });
    watching
        .until("F26", |r| told(r, "node-2", &["spec.providerID"]))
        .await;
    api.apply(objects::linux_node("node-2", "172.16.0.3"))
        .unwrap();
    watching
        .until("F26's end", |r| r.diagnoses.is_empty())
        .await;
    // F27: a pod that cannot be scheduled.
    let mut pending = objects::Instance::new("young", "node-1", "", 0);
    pending.address.clear();
    let mut young = pending.pruned();
    young["spec"]["exposeNodePort"] = true.into();
    api.apply(young).unwrap();
    watching
        .until("F27", |r| {
            told(
                r,
                "young",
                &["nodes is forbidden", "no endpoint was ever published"],
            )
        })
        .await;
}

#[tokio::test]
async fn any_service_of_a_selector_is_a_target() {
    let (api, _) = small();
    let generic = [
        "profile: generic",
        "service_selector: tuist.dev/account=acme",
    ];
    let mut watching = Watching::with(&api, pnwatch_kubeapi::ADMIN_TOKEN, &generic).await;
    let reading = watching.targets(1).await;
    let inventory = reading.inventory.as_ref().unwrap();
    let target = inventory.targets.values().next().unwrap();
    assert_eq!((target.account.as_str(), target.port), ("acme", 30815));
    let asked: Vec<String> = api.requests().iter().map(|r| r.resource.clone()).collect();
    assert!(!asked.iter().any(|r| r == "kurainstances"));
}
