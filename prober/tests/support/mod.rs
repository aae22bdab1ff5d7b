//! What the prober's integration tests share: peers that answer, an exporter that listens,
//! namespaces that they may break.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests: each file uses its part, and fails by panicking"
)]

pub mod exporter;
pub mod netns;
pub mod peer;

use std::net::{SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::inventory::InventoryFile;
use pnwatch_core::name::Vantage;
use pnwatch_core::plan::{Pace, Plan};
use pnwatch_edge::clock::SystemClock;
use pnwatch_edge::shutdown::{Shutdown, Trigger};
use pnwatch_prober::settings::Settings;
use pnwatch_prober::transport::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use exporter::Exporter;

pub const CLUSTER: &str = "test";
pub const VANTAGE: &str = "host/a";

/// What is probed from where.
pub struct Probed {
    pub interface: String,
    pub pn: String,
    pub listen: Option<SocketAddr>,
    pub control: Vec<SocketAddr>,
}

impl Probed {
    pub fn on_loopback() -> Self {
        Self::on("lo", "127.0.0.0/8")
    }

    pub fn on(interface: &str, pn: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            pn: pn.to_owned(),
            listen: None,
            control: Vec::new(),
        }
    }
}

/// A prober that runs.
pub struct Running {
    trigger: Trigger,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub async fn stop(self) {
        self.trigger.request();
        self.task.await.expect("the prober ends well");
    }
}

pub fn settings(probed: &Probed, state_dir: Option<&Path>) -> Settings {
    Settings {
        relay: None,
        cluster: CLUSTER.parse().unwrap(),
        vantage: VANTAGE.parse().unwrap(),
        interface: probed.interface.clone(),
        devices: Vec::new(),
        pn_cidr: probed.pn.parse().unwrap(),
        plan_file: None,
        state_dir: state_dir.map(Into::into),
        control: probed.control.clone(),
        listen: probed.listen,
        pace: Pace::default(),
        boot_id: "b00710".to_owned(),
    }
}

/// Starts the prober on this runtime (and so in this thread's namespace).
pub fn start(probed: &Probed, exporters: &[&Exporter], state_dir: Option<&Path>) -> Running {
    let settings = settings(probed, state_dir);
    let transports: Vec<Arc<dyn Transport>> = exporters
        .iter()
        .map(|exporter| Arc::new((*exporter).clone()) as Arc<dyn Transport>)
        .collect();
    let (trigger, shutdown) = Shutdown::manual();
    let task = tokio::spawn(async move {
        pnwatch_prober::run_with(settings, transports, SystemClock::shared(), shutdown)
            .await
            .expect("the prober runs");
    });
    Running { trigger, task }
}

/// One node `n1` with the address of the first target, an account per target named by its port.
pub fn plan(pn: &str, targets: &[SocketAddrV4], pace: Pace) -> Plan {
    plan_with(pn, targets[0].ip().to_string().as_str(), targets, &[], pace)
}

pub fn plan_with(
    pn: &str,
    node: &str,
    targets: &[SocketAddrV4],
    neighbours: &[(&str, &str)],
    pace: Pace,
) -> Plan {
    let targets: Vec<_> = targets
        .iter()
        .map(|to| {
            serde_json::json!({"account": format!("p{}", to.port()), "tenant": "t1",
                "instance": "i", "node": "n1", "address": to.ip(), "port": to.port()})
        })
        .collect();
    let vantages: Vec<_> = neighbours
        .iter()
        .map(|(vantage, address)| serde_json::json!({"vantage": vantage, "address": address}))
        .collect();
    let file: InventoryFile = serde_json::from_value(serde_json::json!({
        "pn_cidr": pn,
        "nodes": [{"name": "n1", "address": node}],
        "vantages": vantages,
        "targets": targets,
    }))
    .unwrap();
    let inventory = file.into_inventory(CLUSTER.parse().unwrap()).unwrap();
    let vantage: Vantage = VANTAGE.parse().unwrap();
    Plan::for_vantage(
        &inventory,
        &vantage,
        &std::collections::BTreeMap::new(),
        pace,
    )
}

/// Waits until `holds`, or fails.
pub async fn until(within: Duration, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + within;
    while !holds() {
        assert!(std::time::Instant::now() < end, "not within {within:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A loopback address that nobody listens on now.
pub async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// The whole answer to a GET.
pub async fn get(from: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(from).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}
