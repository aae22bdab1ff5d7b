//! The whole exporter on a cluster: who may ask, and how soon a plan follows the pods.

use std::time::Duration;

use pnwatch_core::plan::Plan;
use pnwatch_edge::config::{Config, parse};
use pnwatch_edge::http::{Client, ClientSettings, Request, Response};
use pnwatch_edge::shutdown::Shutdown;
use pnwatch_exporter::Exporter;
use pnwatch_kubeapi::{ADMIN_TOKEN, FakeApi, Identity, objects};
use tokio::task::JoinSet;

use crate::common::{DEADLINE, SinceObjects, small};
use crate::identity::token;

struct Running {
    url: String,
    metrics: String,
    client: Client,
    exporter: JoinSet<Result<(), pnwatch_exporter::ServeError>>,
    _dir: tempfile::TempDir,
}

fn config(api: &FakeApi, dir: &std::path::Path) -> Config {
    let kubeconfig = dir.join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig(ADMIN_TOKEN)).unwrap();
    let text = format!(
        "cluster: staging
serve:
  listen: {{ ingest: '127.0.0.1:0', page: '127.0.0.1:0', metrics: '127.0.0.1:0' }}
  inventory:
    kubernetes:
      pn_cidr: 172.16.0.0/22
      gateways: none
      kubeconfig: {}
",
        kubeconfig.display()
    );
    let (config, problems) = parse(&text);
    assert!(problems.is_empty(), "{problems:#?}");
    config.unwrap()
}

async fn start(api: &FakeApi) -> Running {
    let dir = tempfile::tempdir().unwrap();
    // The prober of node-1, by the service account of its Pod.
    let bearer = token("pnwatch", 3600, "prober");
    let prober = Identity::service_account("pnwatch", "pnwatch-prober")
        .audiences(&["pnwatch"])
        .bound_to_pod("prober-1", "p1")
        .bound_to_node("node-1", "n1");
    api.token(&bearer, prober);
    let file = dir.path().join("token");
    std::fs::write(&file, &bearer).unwrap();
    let exporter = Exporter::bind(&config(api, dir.path()), SinceObjects::shared())
        .await
        .unwrap();
    let addresses = exporter.addresses().unwrap();
    let url = format!("http://{}", addresses.ingest);
    let metrics = format!("http://{}/metrics", addresses.metrics);
    let (trigger, shutdown) = Shutdown::manual();
    let mut running = JoinSet::new();
    running.spawn(async move {
        let _until_dropped = trigger;
        exporter.run(shutdown).await
    });
    let client = Client::new(ClientSettings {
        token_file: Some(file),
        timeout: DEADLINE,
        ..ClientSettings::default()
    })
    .unwrap();
    Running {
        url,
        metrics,
        client,
        exporter: running,
        _dir: dir,
    }
}

impl Running {
    async fn ask(&self, query: &str) -> Response {
        self.client
            .get(&format!("{}/v1/plan{query}", self.url))
            .await
            .unwrap()
    }

    /// node-1's device stands at a level, in bytes per second, after a burst.
    async fn report_level(&self, seq: u64, level: u64) {
        let body = serde_json::json!({
            "version": 1, "cluster": "staging", "vantage": "node/node-1", "boot_id": "boot-1", "seq": seq,
            "sent_at": "2026-06-22T09:14:30.123Z", "paths": [],
            "devices": [{
                "device": "pn0", "plane": "pn", "receive_bytes": 0, "transmit_bytes": 0,
                "transmit_plateau": { "level": level, "burst": 3 * level, "held_ms": 7_000 },
            }],
        });
        let body = serde_json::to_vec(&body).unwrap();
        let url = format!("{}/v1/report", self.url);
        let request = Request::post(url, "application/json", body.into());
        let response = self.client.send(request).await.unwrap();
        assert_eq!(response.status, 200, "{:?}", response.body);
    }

    async fn plan(&self, query: &str) -> Plan {
        let response = self.ask(query).await;
        assert_eq!(response.status, 200, "{:?}", response.body);
        serde_json::from_slice(&response.body).unwrap()
    }
}

#[tokio::test]
async fn a_pod_move_reaches_a_waiting_prober_by_one_long_poll() {
    let (api, _) = small();
    let running = start(&api).await;
    let plan = running.plan("").await;
    assert_eq!(plan.vantage.to_string(), "node/node-1");
    assert_eq!(plan.targets[0].node.as_str(), "node-1");

    let query = format!("?have={}&wait=30s", plan.id);
    let moving = async {
        // The poll is under way: what comes is its answer.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let moved = objects::Instance::new("acme", "node-2", "172.16.0.3", 30815);
        for object in moved.all() {
            api.apply(object).unwrap();
        }
    };
    let (new, ()) = tokio::join!(running.plan(&query), moving);
    assert_ne!(new.id, plan.id);
    // The status or the pod may come first; the next poll brings the rest.
    let mut last = new;
    while last.targets[0].address != std::net::Ipv4Addr::new(172, 16, 0, 3) {
        last = running.plan(&format!("?have={}&wait=30s", last.id)).await;
    }
    assert_eq!(last.targets[0].node.as_str(), "node-2");
}

/// A flat level after a burst at an account's own cap is no clamp: the annotation says so.
#[tokio::test]
async fn an_annotated_cap_keeps_a_level_from_being_a_clamp() {
    let (api, _) = small();
    let running = start(&api).await;
    let annotate = |cap: &str| {
        let instance = objects::Instance::new("acme", "node-1", "172.16.0.2", 30815);
        for mut object in instance.all() {
            if object["kind"] == "Pod" {
                object["metadata"]["annotations"]["kubernetes.io/egress-bandwidth"] = cap.into();
                api.apply(object).unwrap();
            }
        }
    };
    let clamped = "fault=\"saturated\",severity=\"warning\",node=\"node-1\"";
    let cap = "pnwatch_account_egress_cap_bytes_per_second{cluster=\"staging\",account=\"acme\",node=\"node-1\"}";
    let mut seq = 0;
    for (annotation, bytes, is_clamp) in [("750M", "93750000", true), ("200M", "25000000", false)] {
        annotate(annotation);
        let line = format!("{cap} {bytes}\n");
        let told = async {
            loop {
                seq += 1;
                running.report_level(seq, 25_000_000).await;
                let text = running.client.get(&running.metrics).await.unwrap();
                let text = String::from_utf8(text.body.to_vec()).unwrap();
                if text.contains(&line) && text.contains(clamped) == is_clamp {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let told = tokio::time::timeout(DEADLINE, told).await;
        assert!(told.is_ok(), "with {annotation}: clamp is not {is_clamp}");
    }
}

#[tokio::test]
async fn a_service_account_reports_as_its_own_node_and_as_no_other() {
    let (api, _) = small();
    let running = start(&api).await;
    let report = async |vantage: &str| {
        let body = serde_json::json!({
            "version": 1, "cluster": "staging", "vantage": vantage, "boot_id": "boot-1", "seq": 1,
            "sent_at": "2026-06-22T09:14:30.123Z", "paths": [],
        });
        let body = serde_json::to_vec(&body).unwrap();
        let url = format!("{}/v1/report", running.url);
        let request = Request::post(url, "application/json", body.into());
        running.client.send(request).await.unwrap().status
    };
    assert_eq!(report("node/node-1").await, 200);
    assert_eq!(report("node/node-2").await, 403);
}

#[tokio::test]
async fn without_the_api_server_plans_and_known_probers_go_on() {
    let (api, _) = small();
    let mut running = start(&api).await;
    let plan = running.plan("").await;
    api.stop();
    let again = running.plan("").await;
    assert_eq!(plan, again);
    api.resume().unwrap();
    let poll = format!("?have={}&wait=1s", plan.id);
    assert_eq!(
        running.ask(&poll).await.status,
        304,
        "recovery changes nothing"
    );
    assert!(running.exporter.try_join_next().is_none());
}
