//! A real exporter, and reports to it.

use std::time::{Duration, Instant};

use pnwatch_edge::http::{Client, ClientSettings, Request};
use serde_json::{Value, json};

use crate::run::DEADLINE;
use crate::serving::{Serving, token};

const TARGET: &str = "targets:
  - { account: acme, tenant: acme, instance: kura-acme-1, node: kura-fleet-1, address: 127.0.0.1, port: 30815 }
";
const HOSTS: [&str; 2] = ["host/mini-1", "host/mini-2"];

pub(crate) struct Exporter {
    serving: Serving,
    pub(crate) url: String,
    client: Client,
    seq: u64,
}

impl Exporter {
    /// Two hosts, one node, one account.
    pub(crate) async fn start() -> Self {
        Self::with(TARGET).await
    }

    pub(crate) async fn without_accounts() -> Self {
        Self::with("").await
    }

    async fn with(targets: &str) -> Self {
        let inventory = format!(
            "pn_cidr: 127.0.0.0/8\nnodes:\n  - {{ name: kura-fleet-1, address: 127.0.0.1 }}\n\
             vantages:\n  - {{ vantage: host/mini-1 }}\n  - {{ vantage: host/mini-2 }}\n{targets}"
        );
        let serving = Serving::start(&inventory, &HOSTS).await;
        Self {
            url: serving.page.clone(),
            serving,
            client: Client::new(ClientSettings::default()).unwrap(),
            seq: 0,
        }
    }

    /// Both hosts reach everything.
    pub(crate) async fn healthy(&mut self) {
        self.seq += 1;
        for host in HOSTS {
            let paths = [
                path("node:kura-fleet-1", "arp", "reached", 900),
                path("account:acme/kura-acme-1/nodeport", "tcp", "reached", 900),
                path("account:acme/kura-acme-1/nodeport", "http", "reached", 900),
                path("control", "control", "reached", 900),
                path("neighbour:host/mini-1", "arp", "reached", 900),
                path("neighbour:host/mini-2", "arp", "reached", 900),
            ];
            self.report(host, &paths).await;
        }
    }

    /// Both hosts have missed the node for two seconds, and nothing else.
    pub(crate) async fn lost(&mut self) {
        self.seq += 1;
        for host in HOSTS {
            let paths = [
                path(
                    "node:kura-fleet-1",
                    "arp",
                    "unreached:arp_unanswered",
                    2_000,
                ),
                path(
                    "account:acme/kura-acme-1/nodeport",
                    "tcp",
                    "unreached:syn_unanswered",
                    2_000,
                ),
                path("control", "control", "reached", 2_000),
                path("neighbour:host/mini-1", "arp", "reached", 2_000),
                path("neighbour:host/mini-2", "arp", "reached", 2_000),
            ];
            self.report(host, &paths).await;
        }
    }

    async fn report(&self, vantage: &str, paths: &[Value]) {
        let report = json!({
            "version": 1, "cluster": "staging", "vantage": vantage, "boot_id": "boot-1",
            "seq": self.seq, "sent_at": "2026-06-22T09:14:30.123Z", "paths": paths,
        });
        let body = serde_json::to_vec(&report).unwrap().into();
        let url = format!("{}/v1/report", self.serving.ingest);
        let mut request = Request::post(url, "application/json", body);
        let bearer = format!("Bearer {}", token(vantage));
        request
            .headers
            .insert("authorization", bearer.parse().unwrap());
        let answer = self.client.send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.first_line());
    }

    /// The answer to a GET on the page listener.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self
            .client
            .get(&format!("{}{path}", self.url))
            .await
            .unwrap();
        let body = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status, body)
    }

    pub(crate) async fn post(&self, url: String, body: &Value) -> u16 {
        let body = serde_json::to_vec(body).unwrap().into();
        let request = Request::post(url, "application/json", body);
        self.client.send(request).await.unwrap().status
    }

    /// Reports a lost node until there is a finding.
    pub(crate) async fn until_found(&mut self) {
        let started = Instant::now();
        loop {
            self.lost().await;
            let (_, all) = self.get("/v1/findings").await;
            if all["data"].as_array().is_some_and(|open| !open.is_empty()) {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "no finding: {all}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Reports until the gate says `verdict`.
    pub(crate) async fn until(&mut self, verdict: &str) {
        let started = Instant::now();
        loop {
            if verdict == "open" {
                self.healthy().await;
            } else {
                self.lost().await;
            }
            let (_, body) = self.get("/v1/gate?all=1").await;
            if body["data"]["verdict"] == verdict {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "never {verdict}: {body}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn path(subject: &str, layer: &str, outcome: &str, from_ms: u64) -> Value {
    let mut run = json!({
        "outcome": outcome, "count": 10, "first_age_us": from_ms * 1000, "last_age_us": 10_000,
    });
    if outcome == "reached" {
        run["rtt_us"] = json!([300, 310]);
    }
    json!({ "subject": subject, "layer": layer, "runs": [run] })
}
