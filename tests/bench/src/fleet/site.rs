//! The site that is watched, and the exporter that watches it as a process of its own.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use pnwatch_core::inventory::{Inventory, InventoryFile};
use pnwatch_core::name::Cluster;
use pnwatch_edge::config::{BaseUrl, ExporterEndpoint};
use pnwatch_edge::http::{Client, ClientSettings};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// The private network of the benchmark: documentation addresses would be too few. Nobody dials
/// them, they only stand in reports.
const PN: &str = "127.64.0.0/10";
/// Accounts behind one node, as a cache node has them.
const PER_NODE: usize = 25;

/// How large a site is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Vantages that are expected and report.
    pub(super) vantages: usize,
    /// Vantages that have a token but are expected by nobody: they come and go.
    pub(super) passing: usize,
    /// Accounts, one target each.
    pub(super) accounts: usize,
}

impl Size {
    pub(super) fn new(vantages: usize, accounts: usize) -> Self {
        Self {
            vantages,
            passing: 0,
            accounts,
        }
    }
}

/// Name of vantage number `n`: every 50th is a cache node, as is one node per 25 accounts.
pub(super) fn vantage(n: usize) -> String {
    format!("host/mini-{n:04}")
}

/// Name of passing vantage number `n`: VMs are expected by nobody.
pub(super) fn passing(n: usize) -> String {
    format!("vm/mini-{:04}/slot-{n}", n % 200)
}

fn address(n: usize) -> Ipv4Addr {
    let base = u32::from(Ipv4Addr::new(127, 64, 0, 1));
    Ipv4Addr::from(base.wrapping_add(u32::try_from(n).unwrap_or(u32::MAX)))
}

/// The PN address of vantage number `n`.
pub(super) fn vantage_address(n: usize) -> Ipv4Addr {
    address(0x1_0000 + n)
}

/// What should exist.
pub(super) fn inventory_file(size: Size) -> Value {
    let nodes = size.accounts.div_ceil(PER_NODE);
    json!({
        "pn_cidr": PN,
        "nodes": (0..nodes).map(|n| json!({ "name": node(n), "address": address(n) }))
            .collect::<Vec<_>>(),
        "vantages": (0..size.vantages).map(|n| json!({ "vantage": vantage(n) }))
            .collect::<Vec<_>>(),
        "targets": (0..size.accounts).map(|n| json!({
            "account": format!("account-{n:05}"), "tenant": format!("account-{n:05}"),
            "instance": format!("kura-account-{n:05}"), "node": node(n / PER_NODE),
            "address": address(n / PER_NODE), "port": 30_000 + n % 2_768,
        })).collect::<Vec<_>>(),
    })
}

fn node(n: usize) -> String {
    format!("kura-fleet-{n:04}")
}

/// An exporter at work.
pub(super) struct Site {
    child: Child,
    folder: tempfile::TempDir,
    ingest: String,
    page: String,
    metrics: String,
    client: Client,
    pub(super) inventory: Inventory,
}

impl Site {
    /// Writes the files of a site, starts `pnwatch serve` on them and waits until it serves.
    pub(super) async fn start(
        pnwatch: &Path,
        size: Size,
        alertmanager: Option<&str>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let inventory = inventory_file(size);
        std::fs::write(folder.path().join("inventory.yaml"), inventory.to_string())?;
        let config = config(folder.path(), size, alertmanager)?;
        let mut child = Command::new(pnwatch)
            .args(["serve", "--config"])
            .arg(config)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {}; build it with `cargo build --release`, or name it by --pnwatch",
                    pnwatch.display()
                )
            })?;
        let lines = child.stderr.take().context("no pipe")?;
        let [ingest, page, metrics] = serving(BufReader::new(lines)).await?;
        let file: InventoryFile = serde_json::from_value(inventory)?;
        Ok(Self {
            child,
            folder,
            ingest,
            page,
            metrics,
            client: Client::new(ClientSettings {
                timeout: Duration::from_mins(1),
                body_limit: 256 << 20,
                ..ClientSettings::default()
            })?,
            inventory: file.into_inventory(Cluster::new("bench")?)?,
        })
    }

    /// Replaces the inventory file, as a person or a job would.
    pub(super) fn rewrite(&self, size: Size) -> anyhow::Result<()> {
        let fresh = self.folder.path().join("inventory.new");
        std::fs::write(&fresh, inventory_file(size).to_string())?;
        std::fs::rename(&fresh, self.folder.path().join("inventory.yaml"))?;
        Ok(())
    }

    /// The process.
    pub(super) fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("pnwatch serve ended by itself")
    }

    /// Where vantage `name` reports to.
    pub(super) fn endpoint(&self, name: &str) -> anyhow::Result<ExporterEndpoint> {
        Ok(ExporterEndpoint {
            url: BaseUrl::new(&format!("http://{}", self.ingest)).map_err(anyhow::Error::msg)?,
            token_file: Some(token_file(self.folder.path(), name)),
            ca_file: None,
            identity: None,
            proxy: None,
        })
    }

    /// The metrics, and how long they took as a whole.
    pub(super) async fn scrape(&self) -> anyhow::Result<(String, Duration)> {
        self.get(&format!("http://{}/metrics", self.metrics)).await
    }

    /// A page or an answer of the API, and how long it took as a whole.
    pub(super) async fn read(&self, path: &str) -> anyhow::Result<(String, Duration)> {
        self.get(&format!("http://{}{path}", self.page)).await
    }

    async fn get(&self, url: &str) -> anyhow::Result<(String, Duration)> {
        let began = Instant::now();
        let answer = self.client.get(url).await?;
        let took = began.elapsed();
        anyhow::ensure!(answer.status == 200, "{url}: HTTP {}", answer.status);
        Ok((String::from_utf8(answer.body.to_vec())?, took))
    }

    /// Waits until `/metrics` is as `wanted`; how long that took.
    pub(super) async fn until(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Duration> {
        let began = Instant::now();
        loop {
            if wanted(&self.scrape().await?.0) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > within {
                bail!("{what}: not within {within:?}");
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

fn token_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("token-{}", name.replace('/', "-")))
}

fn config(folder: &Path, size: Size, alertmanager: Option<&str>) -> anyhow::Result<PathBuf> {
    let mut text = format!(
        "cluster: bench\nlog: {{ format: json }}\nserve:\n  inventory: {{ file: {0}/inventory.yaml }}\n  \
         state_dir: {0}/state\n  listen: {{ ingest: \"127.0.0.1:0\", page: \"127.0.0.1:0\", \
         metrics: \"127.0.0.1:0\" }}\n",
        folder.display()
    );
    if let Some(url) = alertmanager {
        writeln!(text, "  alertmanager: {{ urls: [\"{url}\"] }}")?;
    }
    text.push_str("  tokens:\n");
    let names = (0..size.vantages)
        .map(vantage)
        .chain((0..size.passing).map(passing));
    for name in names {
        let file = token_file(folder, &name);
        std::fs::write(&file, format!("token-of-{name}"))?;
        writeln!(
            text,
            "    - {{ vantage: {name}, file: {} }}",
            file.display()
        )?;
    }
    let file = folder.join("pnwatch.yaml");
    std::fs::write(&file, text)?;
    Ok(file)
}

/// Reads the exporter's log until it says where it serves; goes on reading for ever after, so
/// that nobody waits for a full pipe. What it says as an error is shown.
async fn serving(lines: BufReader<tokio::process::ChildStderr>) -> anyhow::Result<[String; 3]> {
    let mut lines = lines.lines();
    while let Some(line) = lines.next_line().await? {
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if said["message"] != "serving" {
            continue;
        }
        let at = |name: &str| {
            let address = said[name].as_str().map(ToOwned::to_owned);
            address.context("the exporter does not say where it serves")
        };
        let at = [at("ingest")?, at("page")?, at("metrics")?];
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("\"ERROR\"") || line.contains("panicked") {
                    eprintln!("exporter: {line}");
                }
            }
        });
        return Ok(at);
    }
    bail!("pnwatch serve ended before it served")
}
