//! The inventory file as it changes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use common::{INVENTORY, Setup, healthy, replace};

const LOADED: &str = "pnwatch_inventory_last_load_success{cluster=\"staging\"}";
const BETA: &str = "  - { account: beta, instance: kura-beta-1, node: kura-fleet-1, address: 172.16.0.2, port: 30900 }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_used_and_a_bad_one_is_not() {
    let it = Setup::new().start().await;
    let accounts = async || -> Vec<String> {
        let view = it.json("/v1/view").await;
        let targets = view["targets"].as_array().unwrap();
        let name = |t: &serde_json::Value| t["target"]["account"].as_str().unwrap().to_owned();
        targets.iter().map(name).collect()
    };
    assert_eq!(accounts().await, ["acme"]);
    // By itself, within its look each second.
    replace(&it.inventory(), &format!("{INVENTORY}{BETA}"));
    common::until("the new account", async || {
        (accounts().await == ["acme", "beta"]).then_some(())
    })
    .await;
    assert_eq!(it.metric(LOADED).await, Some(1.0));

    for bad in ["pn_cidr: [", "", &format!("{INVENTORY}{BETA}{BETA}")] {
        replace(&it.inventory(), bad);
        it.reload.notify_one();
        common::until("the metric", async || {
            (it.metric(LOADED).await == Some(0.0)).then_some(())
        })
        .await;
        assert_eq!(accounts().await, ["acme", "beta"]);
        replace(&it.inventory(), &format!("{INVENTORY}{BETA}"));
        it.reload.notify_one();
        common::until("the metric", async || {
            (it.metric(LOADED).await == Some(1.0)).then_some(())
        })
        .await;
    }
    std::fs::remove_file(it.inventory()).unwrap();
    common::until("the metric", async || {
        (it.metric(LOADED).await == Some(0.0)).then_some(())
    })
    .await;
    assert_eq!(accounts().await, ["acme", "beta"]);
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_the_inventory_leaves_the_metrics() {
    let it = Setup::new().start().await;
    it.report(&healthy("host/mini-1", 1)).await;
    assert!(it.metrics().await.contains("account=\"acme\""));
    replace(&it.inventory(), INVENTORY.split("targets:").next().unwrap());
    it.reload.notify_one();
    common::until("no trace of the account", async || {
        (!it.metrics().await.contains("acme")).then_some(())
    })
    .await;
    it.stop().await;
}
