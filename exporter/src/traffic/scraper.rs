//! Asks each pod for its metrics, every interval, spread evenly over it; each second those of
//! which the judge wants to know sooner.
//!
//! One task. A pod whose last answer is still under way is not asked again. Cancel-safe:
//! dropping the future drops the requests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::name::Instance;
use pnwatch_core::traffic::{Names, Parser, Scrape};
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::http::{Client, ClientError, ClientSettings};
use pnwatch_edge::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::{CONCURRENT, MAX_METRICS, PodTarget, Sample};

/// Between two looks at a pod whose path has just died.
const URGENT: Duration = Duration::from_secs(1);

/// Pods to look at each second.
pub(super) type Urgent = Arc<BTreeSet<Instance>>;

/// How pods are scraped.
#[derive(Debug, Clone)]
pub struct ScraperSettings {
    /// Between two looks at one pod.
    pub interval: Duration,
    /// How long one look may take; capped at the interval.
    pub timeout: Duration,
    /// Names of families, labels and routes.
    pub names: Names,
}

impl Default for ScraperSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(3),
            names: Names::default(),
        }
    }
}

/// Asks each pod for its metrics.
pub struct Scraper {
    client: Arc<Client>,
    names: Arc<Names>,
    interval: Duration,
    clock: SharedClock,
    urgent: Option<watch::Receiver<Urgent>>,
}

impl Scraper {
    /// Sets the client up.
    pub fn new(settings: ScraperSettings, clock: SharedClock) -> Result<Self, ClientError> {
        let timeout = settings.timeout.min(settings.interval);
        let client = Client::new(ClientSettings {
            connect_timeout: timeout,
            timeout,
            body_limit: MAX_METRICS,
            ..ClientSettings::default()
        })?;
        Ok(Self {
            client: Arc::new(client),
            names: Arc::new(settings.names),
            interval: settings.interval.max(Duration::from_millis(100)),
            clock,
            urgent: None,
        })
    }

    /// Looks each second at the pods that `urgent` names.
    pub(super) fn hurry(mut self, urgent: watch::Receiver<Urgent>) -> Self {
        self.urgent = Some(urgent);
        self
    }

    /// Scrapes `targets` into `sink` until the shutdown, or until nobody listens.
    pub async fn run(
        self,
        mut targets: watch::Receiver<Arc<Vec<PodTarget>>>,
        sink: mpsc::Sender<Sample>,
        shutdown: Shutdown,
    ) {
        let mut running: JoinSet<Sample> = JoinSet::new();
        let mut busy: BTreeSet<Instance> = BTreeSet::new();
        let mut now = targets.borrow_and_update().clone();
        let mut next = 0;
        let mut tick = self.ticks(now.len());
        let mut hurry = tokio::time::interval(URGENT);
        hurry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                changed = targets.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    now = targets.borrow_and_update().clone();
                    tick = self.ticks(now.len());
                }
                Some(done) = running.join_next() => {
                    // A panic in a scrape is a bug, but not a reason to stop the others.
                    let Ok(sample) = done else { continue };
                    busy.remove(&sample.instance);
                    if sink.send(sample).await.is_err() {
                        return;
                    }
                }
                _ = tick.tick(), if !now.is_empty() && running.len() < CONCURRENT => {
                    next = (next + 1) % now.len();
                    let Some(target) = now.get(next) else { continue };
                    if target.url.is_some() && busy.insert(target.instance.clone()) {
                        running.spawn(self.look(target.clone()));
                    }
                }
                _ = hurry.tick() => {
                    let wanted = self.wanted();
                    for target in now.iter().filter(|t| wanted.contains(&t.instance)) {
                        if running.len() >= CONCURRENT {
                            break;
                        }
                        if target.url.is_some() && busy.insert(target.instance.clone()) {
                            running.spawn(self.look(target.clone()));
                        }
                    }
                }
            }
        }
    }

    fn wanted(&self) -> Urgent {
        let wanted = self.urgent.as_ref();
        wanted.map_or_else(Urgent::default, |urgent| Arc::clone(&urgent.borrow()))
    }

    /// One tick per pod and interval, so that 200 pods are 40 requests a second and no burst.
    fn ticks(&self, pods: usize) -> tokio::time::Interval {
        let pods = u32::try_from(pods.max(1)).unwrap_or(u32::MAX);
        let step = (self.interval / pods).max(Duration::from_micros(100));
        let mut ticks = tokio::time::interval_at(Instant::now() + step, step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    fn look(&self, target: PodTarget) -> impl Future<Output = Sample> + use<> {
        let (client, names) = (Arc::clone(&self.client), Arc::clone(&self.names));
        let at = self.clock.now().tick;
        async move {
            let url = target.url.unwrap_or_default();
            let result = match client.get(&url).await {
                Ok(response) if response.is_success() => read(&names, &response.body),
                Ok(response) => Err(format!("{url} answered {}", response.status)),
                Err(error) => Err(error.to_string()),
            };
            Sample {
                instance: target.instance,
                at,
                result,
            }
        }
    }
}

fn read(names: &Names, body: &[u8]) -> Result<Scrape, String> {
    let mut parser = Parser::new(names);
    parser.push(body);
    let scrape = parser.finish();
    if scrape.complete {
        Ok(scrape)
    } else {
        Err("the metrics ended in the middle of a line".into())
    }
}
