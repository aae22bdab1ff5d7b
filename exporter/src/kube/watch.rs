//! One task per kind that lists and watches, one loop that owns the index.
//!
//! A watch that breaks is begun anew with a list: only a complete list proves that the kind can
//! be read again, and nothing is missed. Until then the index keeps what it had. Everything runs
//! inside the future of [`watch`] and ends with it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::kube::Api;
use ::kube::Client;
use ::kube::core::ApiResource;
use ::kube::runtime::watcher::{self, Event, watcher};
use futures_util::StreamExt as _;
use pnwatch_core::kube::object::Kind;
use pnwatch_core::kube::{Change, Index, Reading};
use pnwatch_core::name::Cluster;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::Kubernetes;
use tokio::sync::{mpsc, watch as latest};
use tokio::task::JoinSet;

use super::InventorySnapshot;
use super::loose::Loose;
use super::reduce;
use crate::owner::Handle;

/// Changes that may wait for the index; a full queue slows the watch, nothing is lost.
const QUEUE: usize = 1024;
/// Changes taken between two readings.
const BATCH: usize = 1024;
/// Least time between two readings while changes come.
const QUIET: Duration = Duration::from_millis(100);
/// Most time between two readings: excuses end and contradictions ripen by themselves.
const RIPEN: Duration = Duration::from_secs(1);
/// Pause before a broken watch is begun anew: the first, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(10));
/// How long one page of a list may take.
const LISTING: Duration = Duration::from_mins(1);
/// How long the server lets a watch run, in seconds.
const WATCH_SECONDS: u32 = 290;

/// Watches for ever and publishes each reading that differs from the one before.
pub async fn watch(
    client: Client,
    config: Arc<Kubernetes>,
    cluster: Cluster,
    clock: SharedClock,
    out: latest::Sender<InventorySnapshot>,
) {
    let settings = config.settings(cluster);
    let kinds = Index::kinds(config.profile, config.machines);
    let mut index = Index::new(settings, &kinds);
    let (sender, mut changes) = mpsc::channel(QUEUE);
    // Dropped with this future, and its tasks with it.
    let mut tasks = JoinSet::new();
    for kind in kinds {
        let (api, selection) = source(&client, &config, kind);
        let paused = config.names.paused_annotation.clone();
        tasks.spawn(read(kind, api, selection, paused, sender.clone()));
    }
    drop(sender);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let now = clock.now();
        for (kind, change) in batch.drain(..) {
            log(kind, &change);
            index.take(kind, change, now);
        }
        publish(&out, index.judge(now));
        tokio::time::sleep(QUIET).await;
        tokio::select! {
            taken = changes.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    return;
                }
            }
            () = tokio::time::sleep(RIPEN) => {}
        }
    }
}

fn publish(out: &latest::Sender<InventorySnapshot>, reading: Reading) {
    out.send_if_modified(|last| {
        let differs = **last != reading;
        if differs {
            *last = Arc::new(reading);
        }
        differs
    });
}

fn log(kind: Kind, change: &Change) {
    let kind = kind.as_label();
    match change {
        Change::Failed { why, .. } => {
            let why: String = why.chars().take(300).collect();
            tracing::warn!(kind, "cannot be read now, the last state stays: {why}");
        }
        Change::InitDone => tracing::info!(kind, "listed"),
        Change::InitApply(entry) | Change::Apply(entry) if !entry.problems.is_empty() => {
            let (object, problems) = (&entry.key.name, entry.problems.join("; "));
            tracing::warn!(kind, %object, "cannot be read as expected: {problems}");
        }
        _ => {}
    }
}

/// Feeds the engine from readings as they come. Ends with the sender or the engine.
pub async fn follow(mut readings: latest::Receiver<InventorySnapshot>, engine: Handle) {
    let mut given = None;
    loop {
        let reading = Arc::clone(&readings.borrow_and_update());
        let mut told = true;
        if let Some(inventory) = &reading.inventory
            && given.as_ref() != Some(inventory)
        {
            told = engine.set_inventory(inventory.clone()).await.is_ok();
            if told {
                let (nodes, vantages, targets) = (
                    inventory.nodes.len(),
                    inventory.vantages.len(),
                    inventory.targets.len(),
                );
                tracing::info!(nodes, vantages, targets, "inventory read from Kubernetes");
                given = Some(inventory.clone());
            }
        }
        let diagnoses = reading.diagnoses.clone();
        told &= engine.set_external("kubernetes", diagnoses).await.is_ok();
        if told {
            if readings.changed().await.is_err() {
                return;
            }
        } else {
            // The engine has no room: again, with the newest reading.
            tokio::time::sleep(RIPEN).await;
        }
    }
}

/// Where objects of a kind come from, and which of them.
fn source(client: &Client, config: &Kubernetes, kind: Kind) -> (Api<Loose>, watcher::Config) {
    let resource = |group: &str, version: &str, name: &str, plural: &str| ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        },
        kind: name.to_owned(),
        plural: plural.to_owned(),
    };
    let all = watcher::Config::default().timeout(WATCH_SECONDS);
    let labelled = |selector: &Option<String>| match selector {
        Some(selector) => all.clone().labels(selector),
        None => all.clone(),
    };
    let cache = |r: ApiResource| Api::namespaced_with(client.clone(), &config.namespace, &r);
    let anywhere = |r: ApiResource| Api::all_with(client.clone(), &r);
    match kind {
        Kind::Instance => {
            let (group, version) = (&config.instance_group, &config.instance_version);
            let api = cache(resource(
                group,
                version,
                "KuraInstance",
                &config.instance_plural,
            ));
            (api, all)
        }
        Kind::Service => (
            cache(resource("", "v1", "Service", "services")),
            labelled(&config.service_selector),
        ),
        Kind::Slice => {
            let group = "discovery.k8s.io";
            (
                cache(resource(group, "v1", "EndpointSlice", "endpointslices")),
                all,
            )
        }
        Kind::Pod => (
            cache(resource("", "v1", "Pod", "pods")),
            labelled(&config.pod_selector),
        ),
        Kind::Runner => {
            let pods = resource("", "v1", "Pod", "pods");
            (
                Api::namespaced_with(client.clone(), &config.runner_namespace, &pods),
                labelled(&config.runner_selector),
            )
        }
        Kind::Node => (anywhere(resource("", "v1", "Node", "nodes")), all),
        Kind::Policy => {
            let group = "networking.k8s.io";
            (
                cache(resource(group, "v1", "NetworkPolicy", "networkpolicies")),
                all,
            )
        }
        Kind::Machine => {
            let (group, version) = ("cluster.x-k8s.io", &config.machine_version);
            (
                anywhere(resource(group, version, "Machine", "machines")),
                all,
            )
        }
        Kind::Definition => {
            let api = anywhere(resource(
                "apiextensions.k8s.io",
                "v1",
                "CustomResourceDefinition",
                "customresourcedefinitions",
            ));
            // By name alone, so that the role can be bound to that name.
            let name = &config.names.definition;
            (api, all.fields(&format!("metadata.name={name}")))
        }
    }
}

/// Lists and watches one kind until nobody listens.
async fn read(
    kind: Kind,
    api: Api<Loose>,
    selection: watcher::Config,
    paused: String,
    out: mpsc::Sender<(Kind, Change)>,
) {
    let mut failures = 0;
    loop {
        let mut events = pin!(watcher(api.clone(), selection.clone()));
        let mut listing = true;
        let why = loop {
            let next = events.next();
            let event = if listing {
                match tokio::time::timeout(LISTING, next).await {
                    Ok(event) => event,
                    Err(_) => break Some(late()),
                }
            } else {
                next.await
            };
            let change = match event {
                Some(Ok(Event::Init)) => Change::Init,
                Some(Ok(Event::InitApply(o))) => {
                    Change::InitApply(reduce::entry(kind, &o.value, &paused))
                }
                Some(Ok(Event::InitDone)) => {
                    listing = false;
                    failures = 0;
                    Change::InitDone
                }
                Some(Ok(Event::Apply(o))) => Change::Apply(reduce::entry(kind, &o.value, &paused)),
                Some(Ok(Event::Delete(o))) => Change::Delete(reduce::key(&o.value)),
                Some(Err(error)) => break failure(error),
                None => break None,
            };
            if out.send((kind, change)).await.is_err() {
                return;
            }
        };
        if let Some(failed) = why
            && out.send((kind, failed)).await.is_err()
        {
            return;
        }
        tokio::time::sleep(pause(kind, failures)).await;
        failures += 1;
    }
}

/// Doubling from the first pause to the longest; each kind a little apart from the others.
fn pause(kind: Kind, failures: u32) -> Duration {
    let (first, longest) = AGAIN;
    let doubled = first.saturating_mul(1 << failures.min(8)).min(longest);
    let place = Kind::ALL.iter().position(|k| *k == kind).unwrap_or(0);
    doubled + doubled / 32 * u32::try_from(place).unwrap_or(0)
}

fn late() -> Change {
    Change::Failed {
        why: format!("the list took longer than {} s", LISTING.as_secs()),
        denied: false,
    }
}

/// What a watcher's error means; `None` = an expired watch (410), which only asks for a new list.
fn failure(error: watcher::Error) -> Option<Change> {
    let (code, why) = match error {
        watcher::Error::WatchError(status) => (status.code, status.message.clone()),
        watcher::Error::InitialListFailed(::kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(::kube::Error::Api(status))
        | watcher::Error::WatchFailed(::kube::Error::Api(status)) => {
            (status.code, status.message.clone())
        }
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => (0, chain(&error)),
        error @ watcher::Error::NoResourceVersion => (0, error.to_string()),
    };
    (code != 410).then_some(Change::Failed {
        denied: matches!(code, 403 | 404),
        why,
    })
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
