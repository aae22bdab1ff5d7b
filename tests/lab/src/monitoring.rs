//! The real Prometheus and Alertmanager beside the exporter, with the shipped configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::command::{ALERTMANAGER, PROMETHEUS};
use crate::http;
use crate::net::Namespace;
use crate::process::Processes;
use crate::topology::{CLUSTER, EXPORTERS};
use crate::wait;
use crate::webhook::Webhook;

/// The Alertmanager, on the loopback of the monitoring namespace.
pub const ALERTMANAGER_ADDRESS: &str = "127.0.0.1:9093";
/// The Prometheus, likewise.
pub const PROMETHEUS_ADDRESS: &str = "127.0.0.1:9090";
/// The port that exporters serve metrics on.
pub const METRICS_PORT: u16 = 9762;

/// The example configuration as it ships.
const SHIPPED: &str = include_str!("../../../alerts/alertmanager.example.yml");
/// The rules as they ship.
const RULES: &str = include_str!("../../../alerts/rules.yaml");
/// What all URLs begin with that a user must replace: a closed port.
const PLACEHOLDER: &str = "http://127.0.0.1:9/";
/// Both are ready in 0.2 s on an idle machine.
const READY_DEADLINE: Duration = Duration::from_secs(20);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Alertmanager, Prometheus and the webhook behind them.
#[derive(Debug)]
pub struct Monitoring {
    /// Where pages arrive.
    pub webhook: Webhook,
    generation: u32,
}

impl Monitoring {
    /// Starts all three inside `namespace` and waits until they are ready.
    pub fn start(
        processes: &mut Processes,
        namespace: &Namespace,
        dir: &Path,
        exporters: usize,
    ) -> Result<Self> {
        let webhook = Webhook::start(namespace, dir)?;
        start_prometheus(processes, namespace, dir, exporters)?;
        let mut monitoring = Self {
            webhook,
            generation: 0,
        };
        monitoring.restart_alertmanager(processes, namespace, dir)?;
        wait_ready(processes, namespace, "prometheus", PROMETHEUS_ADDRESS)?;
        Ok(monitoring)
    }

    /// (Re)starts Alertmanager with empty storage. One that has just told of an alert keeps its
    /// group for up to half a minute, and the same alert would wait there for `group_interval`:
    /// true for a relapse, but not what a run measures.
    pub fn restart_alertmanager(
        &mut self,
        processes: &mut Processes,
        namespace: &Namespace,
        dir: &Path,
    ) -> Result<()> {
        self.stop_alertmanager(processes)?;
        self.generation += 1;
        self.resume_alertmanager(processes, namespace, dir)
    }

    /// Ends Alertmanager; it writes down what it has told.
    pub fn stop_alertmanager(&mut self, processes: &mut Processes) -> Result<()> {
        processes.terminate("alertmanager")
    }

    /// Starts Alertmanager with the storage that it had.
    pub fn resume_alertmanager(
        &mut self,
        processes: &mut Processes,
        namespace: &Namespace,
        dir: &Path,
    ) -> Result<()> {
        let storage = dir.join(format!("alertmanager.{}", self.generation));
        start_alertmanager(processes, namespace, dir, (&storage, self.webhook.url()))?;
        wait_ready(processes, namespace, "alertmanager", ALERTMANAGER_ADDRESS)
    }
}

fn wait_ready(
    processes: &mut Processes,
    namespace: &Namespace,
    name: &str,
    address: &str,
) -> Result<()> {
    wait::until(&format!("{name} to be ready"), READY_DEADLINE, || {
        processes.check(name)?;
        let answer = http::request(namespace, "GET", address, "/-/ready", "", REQUEST_TIMEOUT);
        Ok(answer
            .is_ok_and(|answer| answer.status == 200)
            .then_some(()))
    })
}

fn start_alertmanager(
    processes: &mut Processes,
    namespace: &Namespace,
    dir: &Path,
    (storage, webhook): (&Path, &str),
) -> Result<()> {
    let config = write(dir, "alertmanager.yml", &alertmanager_config(webhook)?)?;
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", storage.display()),
        format!("--web.listen-address={ALERTMANAGER_ADDRESS}"),
        // No gossip.
        "--cluster.listen-address=".to_owned(),
    ];
    processes.start(
        "alertmanager",
        namespace,
        &ALERTMANAGER.require()?,
        &arguments,
    )?;
    Ok(())
}

/// The shipped example with the one change that its first lines ask for: its URLs. Their paths
/// stay apart, the webhook takes any.
fn alertmanager_config(webhook: &str) -> Result<String> {
    if !SHIPPED.contains(PLACEHOLDER) {
        bail!("the shipped Alertmanager example lacks placeholder URLs {PLACEHOLDER}…");
    }
    Ok(SHIPPED.replace(PLACEHOLDER, webhook))
}

fn start_prometheus(
    processes: &mut Processes,
    namespace: &Namespace,
    dir: &Path,
    exporters: usize,
) -> Result<()> {
    write(dir, "rules.yaml", RULES)?;
    let config = write(dir, "prometheus.yml", &prometheus_config(exporters))?;
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", dir.join("prometheus").display()),
        format!("--web.listen-address={PROMETHEUS_ADDRESS}"),
    ];
    processes.start("prometheus", namespace, &PROMETHEUS.require()?, &arguments)?;
    Ok(())
}

fn prometheus_config(exporters: usize) -> String {
    let targets: Vec<String> = EXPORTERS
        .iter()
        .take(exporters)
        .map(|address| format!("'{address}:{METRICS_PORT}'"))
        .collect();
    let targets = targets.join(", ");
    format!(
        "global:\n  scrape_interval: 5s\n  evaluation_interval: 5s\n  external_labels: {{ cluster: {CLUSTER} }}\n\
         rule_files: [rules.yaml]\nalerting:\n  alertmanagers:\n    - static_configs: [{{ targets: ['{ALERTMANAGER_ADDRESS}'] }}]\n\
         scrape_configs:\n  - job_name: pnwatch\n    static_configs: [{{ targets: [{targets}] }}]\n"
    )
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_example_takes_the_webhook_and_nothing_else() {
        let config = alertmanager_config("http://127.0.0.1:4711/").unwrap();
        assert!(config.contains("http://127.0.0.1:4711/") && !config.contains(PLACEHOLDER));
        assert_eq!(config.lines().count(), SHIPPED.lines().count());
    }

    #[test]
    fn prometheus_scrapes_each_exporter() {
        assert!(prometheus_config(1).contains("targets: ['198.18.0.10:9762'] }"));
        assert!(
            prometheus_config(2).contains("targets: ['198.18.0.10:9762', '198.18.0.14:9762'] }")
        );
    }
}
