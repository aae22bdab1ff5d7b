//! An exporter on loopback with its own directory, two hosts and one node.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pnwatch_core::diagnosis::Diagnosis;
use pnwatch_core::diagnosis::table::Named;
use pnwatch_core::fault::{Blame, Confidence, Fault, Severity};
use pnwatch_core::name::Cluster;
use pnwatch_core::plan::Pace;
use pnwatch_edge::clock::{Clock as _, SharedClock, SystemClock};
use pnwatch_edge::config::{
    Alertmanager, Bandwidth, BaseUrl, Config, Gate, InventorySource, Listen, Log, Serve, Slo,
    TokenBinding, Traffic,
};
use pnwatch_edge::http::{Client, ClientSettings, Request, Response};
use pnwatch_edge::shutdown::{Shutdown, Trigger};
use pnwatch_exporter::owner::Handle;
use pnwatch_exporter::serve::Addresses;
use pnwatch_exporter::{Exporter, ServeError};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Far above what anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const INVENTORY: &str = "
pn_cidr: 172.16.0.0/22
nodes:
  - { name: kura-fleet-1, address: 172.16.0.2 }
vantages:
  - { vantage: node/kura-fleet-1 }
  - { vantage: host/mini-1, address: 172.16.0.11 }
  - { vantage: host/mini-2, address: 172.16.0.12 }
targets:
  - { account: acme, tenant: acme, instance: kura-acme-1, node: kura-fleet-1, address: 172.16.0.2, port: 30815 }
";

/// Tokens by vantage.
pub(crate) const TOKENS: [(&str, &str); 3] = [
    ("node/kura-fleet-1", "token-of-the-node"),
    ("host/mini-1", "token-of-mini-1"),
    ("host/mini-2", "token-of-mini-2"),
];

/// The directory and the config, before anything runs.
pub(crate) struct Setup {
    pub(crate) dir: TempDir,
    pub(crate) config: Config,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inventory = dir.path().join("inventory.yaml");
        std::fs::write(&inventory, INVENTORY).unwrap();
        let tokens = TOKENS
            .iter()
            .map(|(vantage, token)| {
                let file = dir.path().join(vantage.replace('/', "-"));
                std::fs::write(&file, token).unwrap();
                TokenBinding {
                    vantage: vantage.parse().unwrap(),
                    file,
                }
            })
            .collect();
        let any = "127.0.0.1:0".parse().unwrap();
        let config = Config {
            vm: None,
            cluster: Cluster::new("staging").unwrap(),
            log: Log::default(),
            probe: None,
            serve: Some(Serve {
                listen: Listen {
                    ingest: any,
                    page: any,
                    metrics: any,
                },
                inventory: InventorySource {
                    file: Some(inventory),
                    kubernetes: None,
                },
                tokens,
                readers: Vec::new(),
                alertmanager: None,
                state_dir: None,
                sparse: pnwatch_core::assign::Sparse::default(),
                tls: None,
                blind_critical_after: Duration::from_mins(10),
                pace: Pace::default(),
                traffic: Traffic::default(),
                bandwidth: Bandwidth::default(),
                slo: Slo::default(),
                gate: Gate::default(),
            }),
        };
        Self { dir, config }
    }

    pub(crate) fn serve(&mut self) -> &mut Serve {
        self.config.serve.as_mut().unwrap()
    }

    pub(crate) fn alertmanagers(mut self, urls: &[String], resend: Duration) -> Self {
        self.serve().alertmanager = Some(Alertmanager {
            urls: urls.iter().map(|u| BaseUrl::new(u).unwrap()).collect(),
            resend,
            timeout: Duration::from_secs(5),
            // The scripts count calls.
            heartbeat: Duration::ZERO,
            token_file: None,
            ca_file: None,
            external_url: Some(BaseUrl::new("http://alerts.example/am").unwrap()),
            headers: [("X-Scope-OrgID".to_owned(), "tenant-1".to_owned())].into(),
            runbooks: Some(BaseUrl::new("https://runbooks.example/pnwatch").unwrap()),
            grafana: None,
        });
        self
    }

    pub(crate) async fn start(self) -> Running {
        self.start_at(SystemClock::shared()).await
    }

    pub(crate) async fn start_at(self, clock: SharedClock) -> Running {
        let exporter = Exporter::bind(&self.config, clock).await.unwrap();
        let at = exporter.addresses().unwrap();
        let reload = exporter.reload();
        let engine = exporter.engine();
        let (trigger, shutdown) = Shutdown::manual();
        let task = tokio::spawn(exporter.run(shutdown));
        Running {
            dir: self.dir,
            at,
            reload,
            engine,
            trigger,
            task,
            client: Client::new(ClientSettings::default()).unwrap(),
        }
    }

    /// What keeps it from starting.
    pub(crate) async fn failure(self) -> ServeError {
        match Exporter::bind(&self.config, SystemClock::shared()).await {
            Ok(_) => panic!("it started"),
            Err(error) => error,
        }
    }
}

pub(crate) struct Running {
    dir: TempDir,
    pub(crate) at: Addresses,
    pub(crate) reload: Arc<Notify>,
    engine: Handle,
    trigger: Trigger,
    task: JoinHandle<Result<(), ServeError>>,
    client: Client,
}

pub(crate) fn token(vantage: &str) -> &'static str {
    TOKENS.iter().find(|(v, _)| *v == vantage).unwrap().1
}

pub(crate) fn bearer(token: &str) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    (HeaderName::from_static("authorization"), value)
}

pub(crate) fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

impl Running {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn inventory(&self) -> PathBuf {
        self.path("inventory.yaml")
    }

    pub(crate) async fn send(&self, request: Request) -> Response {
        self.client.send(request.within(DEADLINE)).await.unwrap()
    }

    pub(crate) async fn page(&self, path: &str) -> Response {
        self.send(Request::get(format!("http://{}{path}", self.at.page)))
            .await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.page(path).await;
        assert_eq!(answer.status, 200, "{path}");
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.at.metrics);
        let answer = self.send(Request::get(url)).await;
        assert_eq!(answer.status, 200, "{}", answer.first_line());
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// The value of the one sample whose line starts so.
    pub(crate) async fn metric(&self, start: &str) -> Option<f64> {
        let text = self.metrics().await;
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub(crate) fn post(&self, body: impl Into<Bytes>) -> Request {
        let url = format!("http://{}/v1/report", self.at.ingest);
        Request::post(url, "application/json", body.into())
    }

    /// Sends a report with the right token.
    pub(crate) async fn report(&self, report: &Value) -> Value {
        let vantage = report["vantage"].as_str().unwrap();
        let (name, value) = bearer(token(vantage));
        let request = self
            .post(gzip(&serde_json::to_vec(report).unwrap()))
            .header(name, value)
            .header(
                HeaderName::from_static("content-encoding"),
                HeaderValue::from_static("gzip"),
            );
        let answer = self.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.first_line());
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub(crate) fn plan(&self, vantage: &str, query: &str) -> Request {
        let (name, value) = bearer(token(vantage));
        Request::get(format!("http://{}/v1/plan?{query}", self.at.ingest)).header(name, value)
    }

    /// Another judge finds something wrong with each of `subjects`.
    pub(crate) async fn external<const N: usize>(&self, subjects: [&str; N]) {
        let named = Named {
            fault: Fault::StatusStale,
            severity: Severity::Warning,
            confidence: Confidence::High,
        };
        let since = SystemClock::new().now().tick;
        let found = subjects
            .map(|s| Diagnosis::new(Blame::ControlPlane, s, named, since))
            .to_vec();
        self.engine.set_external("test", found).await.unwrap();
    }

    /// Both hosts report that they miss the node, until a finding is open; returns it.
    /// Sequence numbers count up from `seq`.
    pub(crate) async fn lose_the_node(&self, seq: u64) -> Value {
        let mut seq = seq;
        loop {
            for host in ["host/mini-1", "host/mini-2"] {
                self.report(&node_lost(host, seq)).await;
            }
            seq += 1;
            let all = self.json("/v1/findings").await;
            if let Some(found) = all["data"].as_array().unwrap().first() {
                return found.clone();
            }
            assert!(seq < 1_000, "no finding");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Both hosts report that they reach everything, until no finding is open.
    pub(crate) async fn recover(&self, seq: u64) {
        let mut seq = seq;
        loop {
            for host in ["host/mini-1", "host/mini-2"] {
                self.report(&healthy(host, seq)).await;
            }
            seq += 1;
            let all = self.json("/v1/findings").await;
            if all["data"].as_array().unwrap().is_empty() {
                return;
            }
            assert!(seq < 10_000, "never closed: {all}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.trigger.request();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("stops in time")
            .unwrap()
            .unwrap();
    }
}

/// Waits until `check` gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A report of `vantage` with `paths`.
pub(crate) fn report(vantage: &str, seq: u64, paths: &[Value]) -> Value {
    json!({
        "version": 1, "cluster": "staging", "vantage": vantage, "boot_id": "boot-1", "seq": seq,
        "sent_at": "2026-06-22T09:14:30.123Z", "paths": paths,
    })
}

/// Ten checks in the last `from_ms` to `to_ms` with one outcome.
pub(crate) fn path(subject: &str, layer: &str, outcome: &str, from_ms: u64, to_ms: u64) -> Value {
    let mut run = json!({
        "outcome": outcome, "count": 10,
        "first_age_us": from_ms * 1000, "last_age_us": to_ms * 1000,
    });
    if outcome == "reached" {
        run["rtt_us"] = json!([300, 310]);
        run["kernel_rtt_us"] = json!([60]);
    }
    json!({ "subject": subject, "layer": layer, "runs": [run] })
}

pub(crate) const NODE: &str = "node:kura-fleet-1";
pub(crate) const ACCOUNT: &str = "account:acme/kura-acme-1/nodeport";

/// What a host that sees everything reports.
pub(crate) fn healthy(vantage: &str, seq: u64) -> Value {
    report(
        vantage,
        seq,
        &[
            path(NODE, "arp", "reached", 900, 10),
            path(ACCOUNT, "tcp", "reached", 900, 10),
            path(ACCOUNT, "http", "reached", 900, 10),
            path("control", "control", "reached", 900, 10),
            path("neighbour:host/mini-1", "arp", "reached", 900, 10),
            path("neighbour:host/mini-2", "arp", "reached", 900, 10),
        ],
    )
}

/// What a host reports that has not reached the node for two seconds, but everything else.
pub(crate) fn node_lost(vantage: &str, seq: u64) -> Value {
    report(
        vantage,
        seq,
        &[
            path(NODE, "arp", "unreached:arp_unanswered", 2_000, 10),
            path(ACCOUNT, "tcp", "unreached:syn_unanswered", 2_000, 10),
            path("control", "control", "reached", 2_000, 10),
            path("neighbour:host/mini-1", "arp", "reached", 2_000, 10),
            path("neighbour:host/mini-2", "arp", "reached", 2_000, 10),
        ],
    )
}

pub(crate) fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(&next, path).unwrap();
}
