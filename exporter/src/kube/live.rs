//! The watch as the exporter's source of inventory: started, waited for, followed.
//!
//! One background task, ended when this is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::kube::Client;
use pnwatch_core::inventory::Inventory;
use pnwatch_core::kube::Reading;
use pnwatch_core::name::Cluster;
use pnwatch_core::targets::Targets;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::Kubernetes;
use tokio::sync::watch as latest;
use tokio::task::JoinSet;

use super::condition::Writer;
use super::connect::{ConnectError, connect};
use super::identity::Reviewer;
use super::{InventorySnapshot, follow, gateways, watch};
use crate::owner::Handle;
use crate::tally::Tally;
use crate::traffic::PodTarget;

/// How long a start waits for the first complete lists. An engine that starts without them
/// knows no node and would close restored findings as of things that are gone.
pub const FIRST: Duration = Duration::from_secs(30);

/// The Lease of the one who writes node conditions; deploy/rbac/condition.yaml names it too.
const LEASE_NAME: &str = "pnwatch-conditions";

/// A running watch.
pub struct Live {
    client: Client,
    config: Arc<Kubernetes>,
    cluster: Cluster,
    clock: SharedClock,
    readings: latest::Receiver<InventorySnapshot>,
    task: JoinSet<()>,
}

impl Live {
    /// Connects and starts to watch.
    pub async fn start(
        config: &Kubernetes,
        cluster: &Cluster,
        clock: SharedClock,
    ) -> Result<Self, ConnectError> {
        let config = Arc::new(config.clone());
        let client = connect(config.kubeconfig.as_deref()).await?;
        let (out, readings) = latest::channel(InventorySnapshot::default());
        let mut task = JoinSet::new();
        task.spawn(watch(
            client.clone(),
            Arc::clone(&config),
            cluster.clone(),
            Arc::clone(&clock),
            out,
        ));
        Ok(Self {
            client,
            config,
            cluster: cluster.clone(),
            clock,
            readings,
            task,
        })
    }

    /// The first inventory, or an empty one if there is none in time; and whether there was.
    pub async fn first(&mut self) -> (Inventory, bool) {
        let complete = self.readings.wait_for(|r| r.inventory.is_some());
        if let Ok(Ok(reading)) = tokio::time::timeout(FIRST, complete).await
            && let Some(inventory) = &reading.inventory
        {
            return (inventory.clone(), true);
        }
        tracing::error!(
            "the Kubernetes API gave no complete lists in {} s; starting without an inventory until it does",
            FIRST.as_secs()
        );
        let none = Inventory {
            cluster: self.cluster.clone(),
            pn_cidr: self.config.pn_cidr,
            nodes: BTreeMap::new(),
            vantages: BTreeMap::new(),
            targets: Targets::default(),
        };
        (none, false)
    }

    /// Who a service account's token speaks for.
    pub fn reviewer(&self) -> Reviewer {
        let (audience, account) = (&self.config.audience, &self.config.prober_account);
        Reviewer::new(
            self.client.clone(),
            audience,
            account,
            Arc::clone(&self.clock),
        )
    }

    /// The readings as they come.
    pub fn readings(&self) -> latest::Receiver<InventorySnapshot> {
        self.readings.clone()
    }

    /// Feeds the engine, notes how fresh the objects are, and writes node conditions if asked to;
    /// ends only if the watch dies.
    pub async fn follow(mut self, engine: Handle, tally: &Tally) {
        if self.config.condition {
            let namespace = &self.config.condition_namespace;
            let writer = Writer::new(self.client.clone(), namespace, LEASE_NAME, &holder());
            self.task
                .spawn(writer.run(engine.clone(), Arc::clone(&self.clock)));
        }
        let looked = (self.readings.clone(), engine.clone());
        gateways::start(&self.config, &self.clock, looked, &mut self.task);
        tokio::select! {
            () = follow(self.readings.clone(), engine) => {}
            () = note_staleness(self.readings.clone(), tally) => {}
            _ = self.task.join_next() => {}
        }
    }
}

/// Keeps the metric of how fresh the objects are; ends with the watch.
async fn note_staleness(mut readings: latest::Receiver<InventorySnapshot>, tally: &Tally) {
    loop {
        let since = readings.borrow_and_update().stale_since;
        tally.inventory_stale_since(since);
        if readings.changed().await.is_err() {
            return;
        }
    }
}

/// A name that no other replica has: the Pod's, or one with the process id.
fn holder() -> String {
    let pod = std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty());
    pod.unwrap_or_else(|| format!("pnwatch-{}", std::process::id()))
}

/// The pods of a reading as targets of the traffic scraper: those that name account and instance;
/// of several of one instance the first by name, which is the one that the `NodePort` is pinned to.
pub fn pod_targets(reading: &Reading) -> Vec<PodTarget> {
    let mut first: BTreeMap<_, &pnwatch_core::kube::Scrape> = BTreeMap::new();
    for scrape in &reading.scrapes {
        let known = first.entry(&scrape.instance).or_insert(scrape);
        if scrape.pod < known.pod {
            *known = scrape;
        }
    }
    let target = |scrape: &pnwatch_core::kube::Scrape| {
        let at = std::net::SocketAddr::new(scrape.address, scrape.port);
        Some(PodTarget {
            account: scrape.account.clone()?,
            instance: scrape.instance.clone()?,
            node: scrape.node.clone(),
            url: Some(format!("http://{at}{}", scrape.path)),
        })
    };
    first.into_values().filter_map(target).collect()
}
