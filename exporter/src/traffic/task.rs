//! The task around the judge: numbers fetched, verdicts published, diagnoses handed on.
//!
//! One task with the sources' tasks as its own; all end with it. Dropping it loses nothing but
//! the pods' recent history. Targets follow the inventory at every turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use pnwatch_core::correlate::table::PathSign;
use pnwatch_core::correlate::{Correlation, Settings as CorrelateSettings, TrafficVerdict};
use pnwatch_core::inventory::Inventory;
use pnwatch_core::name::Instance;
use pnwatch_core::slo::Maintenance;
use pnwatch_core::traffic::Settings as PodSettings;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::{DemandQuery, PrometheusSource, Traffic, TrafficSource};
use pnwatch_edge::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::scraper::Urgent;
use super::{
    Demands, Judge, PodTarget, Prometheus, PrometheusSettings, Sample, Scraper, ScraperSettings,
};
use crate::error::ServeError;
use crate::health::Pulse;
use crate::kube::{InventorySnapshot, pod_targets};
use crate::owner::Handle;

/// Longest time between two verdicts.
const TURN: Duration = Duration::from_secs(1);
/// Samples that may wait for the judge.
const WAITING: usize = 1024;

/// The newest correlation of every watched instance.
pub type Verdicts = Arc<Vec<Correlation>>;

/// The judge with its sources, before it runs.
pub struct Watcher {
    source: TrafficSource,
    scraper: Option<Scraper>,
    prometheus: Option<Prometheus>,
    judge: Judge,
    turn: Duration,
    pods: Option<watch::Receiver<InventorySnapshot>>,
    verdicts: watch::Sender<Verdicts>,
    clock: SharedClock,
    pulse: Arc<Pulse>,
}

impl Watcher {
    /// Sets the sources up; `None` if nobody is to be asked. `pods` are the cluster's, if there
    /// is one.
    pub fn new(
        config: &Traffic,
        maintenance: Vec<Maintenance>,
        pods: Option<watch::Receiver<InventorySnapshot>>,
        clock: &SharedClock,
    ) -> Result<Option<Self>, ServeError> {
        if config.source == TrafficSource::None {
            return Ok(None);
        }
        let by_query = config.source == TrafficSource::Promql;
        let scraper = (!by_query)
            .then(|| {
                let settings = ScraperSettings {
                    interval: config.interval,
                    names: config.names.clone(),
                    ..ScraperSettings::default()
                };
                Scraper::new(settings, Arc::clone(clock))
            })
            .transpose()
            .map_err(ServeError::Traffic)?;
        let asked = config
            .prometheus
            .as_ref()
            .filter(|_| by_query || config.demand.is_some());
        let prometheus = asked
            .map(|source| {
                let settings = settings(config, source, config.demand.as_ref())?;
                Prometheus::new(settings, Arc::clone(clock)).map_err(ServeError::Traffic)
            })
            .transpose()?;
        let traffic = PodSettings {
            interval: config.interval,
            window: config.window,
        };
        let correlate = CorrelateSettings {
            traffic,
            dispatch_after: config.dispatch_after,
            ..CorrelateSettings::default()
        };
        Ok(Some(Self {
            source: config.source,
            scraper,
            prometheus,
            judge: Judge::new(correlate, maintenance),
            turn: config.interval.min(TURN),
            pods,
            verdicts: watch::channel(Verdicts::default()).0,
            pulse: Pulse::new("traffic", clock.now().tick),
            clock: Arc::clone(clock),
        }))
    }

    /// Verdicts as they change.
    pub fn verdicts(&self) -> watch::Receiver<Verdicts> {
        self.verdicts.subscribe()
    }

    /// Beats with every turn.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Runs until the shutdown, or until a source dies.
    pub async fn run(mut self, engine: Handle, shutdown: Shutdown) {
        let basis = engine.basis();
        let (sink, mut samples) = mpsc::channel(WAITING);
        let (targets, wanted) = watch::channel(Arc::new(Vec::new()));
        let (demand, demands) = watch::channel(Demands::default());
        let (hurry, urgent) = watch::channel(Urgent::default());
        self.scraper = self.scraper.take().map(|scraper| scraper.hurry(urgent));
        let mut sources = self.start(sink, &wanted, demand, &shutdown);
        let mut ticks = tokio::time::interval(self.turn);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                Some(sample) = samples.recv() => {
                    self.judge.apply(sample);
                    continue;
                }
                Some(_) = sources.join_next() => {
                    if !shutdown.is_requested() {
                        tracing::error!("a source of traffic ended; restart the exporter");
                    }
                    return;
                }
                _ = ticks.tick() => {}
            }
            self.pulse.beat(self.clock.now().tick);
            let new = self.targets(&basis.borrow().inventory);
            if **targets.borrow() != new {
                self.judge.set_targets(&new);
                targets.send_replace(Arc::new(new));
            }
            let blind = self.source == TrafficSource::Scrape && targets.borrow().is_empty();
            if blind && !told {
                tracing::warn!(
                    "serve.traffic.source is scrape, but the inventory knows no pod's metrics: \
                     add `metrics: http://…/metrics` to its targets"
                );
            }
            told = blind;
            // An engine that has no room now is asked again at the next turn.
            let Ok(snapshot) = engine.read().await else {
                continue;
            };
            let known = demands.borrow().clone();
            let said = self.judge.judge(&snapshot.view, &known, self.clock.now());
            hurry.send_replace(Arc::new(early(&said.correlations)));
            self.verdicts.send_replace(Arc::new(said.correlations));
            let _ = engine.set_external("traffic", said.diagnoses).await;
        }
    }

    fn start(
        &mut self,
        sink: mpsc::Sender<Sample>,
        wanted: &watch::Receiver<Arc<Vec<PodTarget>>>,
        demand: watch::Sender<Demands>,
        shutdown: &Shutdown,
    ) -> JoinSet<()> {
        let mut sources = JoinSet::new();
        match (self.scraper.take(), self.prometheus.take()) {
            (Some(scraper), prometheus) => {
                sources.spawn(scraper.run(wanted.clone(), sink, shutdown.clone()));
                if let Some(prometheus) = prometheus {
                    let asked = prometheus.run_demand(wanted.clone(), demand, shutdown.clone());
                    sources.spawn(asked);
                }
            }
            (None, Some(prometheus)) => {
                sources.spawn(prometheus.run(wanted.clone(), sink, demand, shutdown.clone()));
            }
            (None, None) => {}
        }
        sources
    }

    /// The pods to watch: one per instance. What runs in the cluster is known better than what
    /// a file says.
    fn targets(&self, inventory: &Inventory) -> Vec<PodTarget> {
        let mut targets: BTreeMap<Instance, PodTarget> = BTreeMap::new();
        for target in inventory.targets.values() {
            let pod = targets
                .entry(target.instance.clone())
                .or_insert_with(|| PodTarget {
                    account: target.account.clone(),
                    instance: target.instance.clone(),
                    node: Some(target.node.clone()),
                    url: None,
                });
            if pod.url.is_none() {
                pod.url.clone_from(&target.metrics);
            }
        }
        if let Some(pods) = &self.pods {
            for pod in pod_targets(&pods.borrow()) {
                targets.insert(pod.instance.clone(), pod);
            }
        } else if self.source != TrafficSource::Promql {
            targets.retain(|_, pod| pod.url.is_some());
        }
        targets.into_values().collect()
    }
}

/// The pods whose path has died and whose counters do not say yet whether builds notice.
fn early(seen: &[Correlation]) -> BTreeSet<Instance> {
    seen.iter()
        .filter(|c| c.verdict == TrafficVerdict::Unknown && c.signs.path == PathSign::Down)
        .map(|c| c.instance.clone())
        .collect()
}

fn settings(
    config: &Traffic,
    source: &PrometheusSource,
    demand: Option<&DemandQuery>,
) -> Result<PrometheusSettings, ServeError> {
    let mut headers = Vec::new();
    for (name, value) in &source.headers {
        let unsendable = || ServeError::Header("serve.traffic.prometheus", name.clone());
        headers.push((
            HeaderName::try_from(name).map_err(|_| unsendable())?,
            HeaderValue::try_from(value).map_err(|_| unsendable())?,
        ));
    }
    Ok(PrometheusSettings {
        url: source.url.as_str().to_owned(),
        interval: config.interval,
        timeout: source.timeout,
        token_file: source.token_file.clone(),
        ca_file: source.ca_file.clone(),
        headers,
        selector: source.selector.clone(),
        pod_label: source.pod_label.clone(),
        demand: demand.map(|d| d.query.clone()),
        account_label: demand.map_or_else(|| "account".into(), |d| d.account_label.clone()),
        absent_is_none: demand.is_some_and(|d| d.absent_is_none),
        names: config.names.clone(),
    })
}
