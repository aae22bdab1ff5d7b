//! The long-poll for plans.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::http::header::ETAG;
use common::{INVENTORY, Setup, replace, report};
use pnwatch_core::assign::Sparse;
use pnwatch_core::name::Cluster;
use pnwatch_core::plan::Plan;
use pnwatch_edge::config::TokenBinding;
use pnwatch_edge::http::{Client, ClientSettings, Request};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_handed_out_and_then_only_when_it_changes() {
    let it = Setup::new().start().await;
    let first = it.send(it.plan("host/mini-1", "")).await;
    assert_eq!(first.status, 200);
    let plan: Plan = serde_json::from_slice(&first.body).unwrap();
    let cluster = Cluster::new("staging").unwrap();
    plan.validate(&cluster, &"host/mini-1".parse().unwrap())
        .unwrap();
    assert_eq!(first.headers[ETAG], format!("\"{}\"", plan.id));
    assert_eq!((plan.nodes.len(), plan.targets.len()), (1, 1));

    let same = it
        .send(it.plan("host/mini-1", &format!("have={}", plan.id)))
        .await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    let waited = format!("have={}&wait=20ms", plan.id);
    assert_eq!(it.send(it.plan("host/mini-1", &waited)).await.status, 304);
    // Of another plan the current one is the news.
    let stale = it
        .send(it.plan("host/mini-1", "have=0000000000000000&wait=30"))
        .await;
    assert_eq!(stale.status, 200);
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_address_or_target_ends_the_wait_at_once() {
    let it = Setup::new().start().await;
    let id = |body: &[u8]| serde_json::from_slice::<Plan>(body).unwrap().id;
    let first = id(&it.send(it.plan("host/mini-1", "")).await.body);

    // Another host reports an address that was not known.
    let query = format!("have={first}&wait=30s");
    let waiting = it.send(it.plan("host/mini-1", &query));
    let mut moved = report("host/mini-2", 1, &[]);
    moved["link"] = json!({ "held_us": 1_000_000, "facts": {
        "device": "vlan0", "state": "up",
        "addresses": [{ "address": "172.16.0.99", "prefix_len": 22 }],
    }});
    let told = async {
        it.report(&moved).await;
        Instant::now()
    };
    let (answer, reported) = tokio::join!(waiting, told);
    // The goal is 100 ms; here it only must not be the timeout.
    assert!(reported.elapsed() < Duration::from_secs(5));
    let second = id(&answer.body);
    assert_ne!(first, second);
    assert!(String::from_utf8_lossy(&answer.body).contains("172.16.0.99"));

    let query = format!("have={second}&wait=30s");
    let waiting = it.send(it.plan("host/mini-1", &query));
    let more = format!(
        "{INVENTORY}  - {{ account: beta, instance: kura-beta-1, node: kura-fleet-1, address: 172.16.0.2, port: 30900 }}\n"
    );
    replace(&it.inventory(), &more);
    it.reload.notify_one();
    let plan: Plan = serde_json::from_slice(&waiting.await.body).unwrap();
    assert_eq!(plan.targets.len(), 2);
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_is_bounded_and_parameters_are_checked() {
    let it = Setup::new().start().await;
    for (query, says) in [
        ("wait=soon", "30s"),
        ("wiat=30", "wiat"),
        ("have=1&x", "\\\"x\\\""),
    ] {
        let answer = it.send(it.plan("host/mini-1", query)).await;
        assert_eq!(answer.status, 400, "{query}");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(body.contains(says), "{body}");
    }
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_wait() {
    let it = Setup::new().start().await;
    let plan: Plan =
        serde_json::from_slice(&it.send(it.plan("host/mini-1", "")).await.body).unwrap();
    let request: Request = it.plan("host/mini-1", &format!("have={}&wait=30s", plan.id));
    let client = Client::new(ClientSettings::default()).unwrap();
    let waiting = tokio::spawn(async move { client.send(request.within(common::DEADLINE)).await });
    let started = Instant::now();
    it.stop().await;
    assert!(started.elapsed() < Duration::from_secs(15));
    // Answered, or refused because the listener was gone before it came.
    if let Ok(answer) = waiting.await.unwrap() {
        assert_eq!(answer.status, 304);
    }
}

/// The plans of six hosts as they are handed out, for twelve accounts on one node.
async fn handed_out(above: usize) -> Vec<Plan> {
    let hosts: Vec<String> = (1..=6).map(|n| format!("host/mini-{n}")).collect();
    let vantages: Vec<String> = (3..=6)
        .map(|n| format!("  - {{ vantage: host/mini-{n}, address: 172.16.0.1{n} }}\n"))
        .collect();
    let accounts: Vec<String> = (1..12)
        .map(|n| {
            let of_node = "node: kura-fleet-1, address: 172.16.0.2";
            let port = 30_900 + n;
            format!(
                "  - {{ account: a{n}, tenant: a{n}, instance: kura-a{n}, {of_node}, port: {port} }}\n"
            )
        })
        .collect();
    let inventory = INVENTORY.replace("targets:", &format!("{}targets:", vantages.concat()))
        + &accounts.concat();
    let mut setup = Setup::new();
    std::fs::write(setup.dir.path().join("inventory.yaml"), inventory).unwrap();
    for vantage in &hosts[2..] {
        let file = setup.dir.path().join(vantage.replace('/', "-"));
        std::fs::write(&file, format!("token-of-{vantage}")).unwrap();
        let vantage = vantage.parse().unwrap();
        setup.serve().tokens.push(TokenBinding { vantage, file });
    }
    setup.serve().sparse = Sparse { above, vantages: 3 };
    let it = setup.start().await;
    let mut plans = Vec::new();
    for (index, vantage) in hosts.iter().enumerate() {
        let token = match index {
            0 | 1 => common::token(vantage).to_owned(),
            _ => format!("token-of-{vantage}"),
        };
        let (name, value) = common::bearer(&token);
        let request = Request::get(format!("http://{}/v1/plan", it.at.ingest));
        let answer = it.send(request.header(name, value)).await;
        assert_eq!(answer.status, 200, "{vantage}: {}", answer.first_line());
        plans.push(serde_json::from_slice(&answer.body).unwrap());
    }
    it.stop().await;
    plans
}

#[tokio::test(flavor = "multi_thread")]
async fn above_a_size_each_target_is_checked_by_a_few_hosts_and_each_node_by_all() {
    // Seven vantages times twelve targets are 84 paths.
    for plan in handed_out(84).await {
        assert_eq!((plan.nodes.len(), plan.targets.len()), (1, 12));
    }
    let plans = handed_out(83).await;
    let mut checked: BTreeMap<String, usize> = BTreeMap::new();
    for plan in &plans {
        assert_eq!(plan.nodes.len(), 1);
        for target in &plan.targets {
            *checked.entry(target.port.to_string()).or_default() += 1;
        }
    }
    assert_eq!(checked.len(), 12, "no target is nobody's");
    assert!(checked.values().all(|hosts| *hosts == 3), "{checked:?}");
}
