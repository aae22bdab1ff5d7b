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
    let url = format!("http://{}", exporter.addresses().unwrap().ingest);
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
