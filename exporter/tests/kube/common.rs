//! A watch on a fake API server, and waiting for what it publishes with a deadline.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::kube::Reading;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_edge::clock::{Clock, SharedClock};
use pnwatch_edge::config::{Kubernetes, parse};
use pnwatch_exporter::kube::{InventorySnapshot, connect, watch};
use pnwatch_kubeapi::{ADMIN_TOKEN, FakeApi, objects};
use tokio::sync::watch as latest;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// At least three times what anything here needs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// Real time, told so that the objects' stamps are minutes old.
pub(crate) struct SinceObjects(Instant);

impl SinceObjects {
    pub(crate) fn shared() -> SharedClock {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for SinceObjects {
    fn now(&self) -> Now {
        let start: jiff::Timestamp = "2026-09-21T09:20:00Z".parse().unwrap();
        let elapsed = self.0.elapsed();
        Now {
            tick: Tick::from_millis(100_000_000).after(elapsed),
            wall: Timestamp::from_unix_seconds(u64::try_from(start.as_second()).unwrap())
                .after(elapsed),
        }
    }
}

/// A running watch; ends when dropped.
pub(crate) struct Watching {
    pub(crate) readings: latest::Receiver<InventorySnapshot>,
    pub(crate) kubeconfig: PathBuf,
    _task: JoinSet<()>,
    _dir: Option<tempfile::TempDir>,
}

/// The configuration with `more` lines under `kubernetes:`.
pub(crate) fn config(kubeconfig: &std::path::Path, more: &[&str]) -> Kubernetes {
    let mut text = format!(
        "cluster: staging\nserve:\n  inventory:\n    kubernetes:\n      pn_cidr: 172.16.0.0/22\n      kubeconfig: {}\n",
        kubeconfig.display()
    );
    text.extend(more.iter().map(|line| format!("      {line}\n")));
    let (config, problems) = parse(&text);
    assert!(problems.is_empty(), "{problems:#?}");
    config.unwrap().serve.unwrap().inventory.kubernetes.unwrap()
}

impl Watching {
    pub(crate) async fn start(api: &FakeApi) -> Self {
        Self::with(api, ADMIN_TOKEN, &[]).await
    }

    pub(crate) async fn with(api: &FakeApi, token: &str, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        std::fs::write(&kubeconfig, api.kubeconfig(token)).unwrap();
        Self {
            _dir: Some(dir),
            ..Self::by(kubeconfig, more).await
        }
    }

    /// A watch of the server that a kubeconfig names.
    pub(crate) async fn by(kubeconfig: PathBuf, more: &[&str]) -> Self {
        let config = Arc::new(config(&kubeconfig, more));
        let client = connect(Some(&kubeconfig)).await.unwrap();
        let (out, readings) = latest::channel(InventorySnapshot::default());
        let mut task = JoinSet::new();
        let cluster = "staging".parse().unwrap();
        task.spawn(watch(client, config, cluster, SinceObjects::shared(), out));
        Self {
            readings,
            kubeconfig,
            _task: task,
            _dir: None,
        }
    }

    /// Waits until a reading satisfies `done`; says what it last was if none does.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        done: impl Fn(&Reading) -> bool,
    ) -> InventorySnapshot {
        let wait = tokio::time::timeout(DEADLINE, self.readings.wait_for(|r| done(r)));
        match wait.await {
            Ok(Ok(reading)) => return Arc::clone(&reading),
            Ok(Err(_)) => panic!("{what}: the watch ended"),
            Err(_) => {}
        }
        panic!(
            "{what}: not within {DEADLINE:?}; last: {:#?}",
            self.readings.borrow()
        )
    }

    pub(crate) async fn targets(&mut self, count: usize) -> InventorySnapshot {
        self.until(&format!("{count} targets"), |r| {
            r.stale.is_empty()
                && r.inventory
                    .as_ref()
                    .is_some_and(|i| i.targets.len() == count)
        })
        .await
    }
}

/// A server with one node, one Mac and one instance on the node.
pub(crate) fn small() -> (FakeApi, objects::Instance) {
    let api = FakeApi::start();
    api.apply(objects::linux_node("node-1", "172.16.0.2"))
        .unwrap();
    api.apply(objects::linux_node("node-2", "172.16.0.3"))
        .unwrap();
    api.apply(objects::mac_node("mini-1")).unwrap();
    api.apply(objects::runner_pod("runner-1", "mini-1"))
        .unwrap();
    let instance = objects::Instance::new("acme", "node-1", "172.16.0.2", 30815);
    for object in instance.all() {
        api.apply(object).unwrap();
    }
    (api, instance)
}

/// The node of the only target.
pub(crate) fn home(reading: &Reading) -> Option<&str> {
    let targets = &reading.inventory.as_ref()?.targets;
    Some(targets.values().next()?.node.as_str())
}

/// Whether a diagnosis has this subject and says all these words.
pub(crate) fn told(reading: &Reading, subject: &str, words: &[&str]) -> bool {
    reading.diagnoses.iter().any(|d| {
        let said: String = d.evidence.iter().map(|e| e.text.as_str()).collect();
        d.subject == subject
            && words
                .iter()
                .all(|w| d.summary.contains(w) || said.contains(w))
    })
}
