//! Asks a Prometheus or Mimir for the pods' counters, and for demand.
//!
//! Counters are fetched, never rates, so that resets and never-born series are judged by the
//! same code as in a scrape. A sample counts once, at the time at which *Prometheus* scraped
//! it: an instant query repeats the last one for five minutes. One task; cancel-safe.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use pnwatch_core::correlate::Demand;
use pnwatch_core::name::{Account, Instance};
use pnwatch_core::time::{Now, Timestamp};
use pnwatch_core::traffic::{Names, Parser, Scrape};
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::http::{Client, ClientError, ClientSettings};
use pnwatch_edge::shutdown::Shutdown;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::{PodTarget, Sample};

/// Most bytes of one answer.
const MAX_ANSWER: usize = 16 << 20;

/// Where to ask, and what.
#[derive(Debug, Clone)]
pub struct PrometheusSettings {
    /// Base URL, with the path prefix if it has one.
    pub url: String,
    /// Between two queries.
    pub interval: Duration,
    /// How long one query may take.
    pub timeout: Duration,
    /// A bearer token.
    pub token_file: Option<PathBuf>,
    /// The certificate authority; `None` = the system's.
    pub ca_file: Option<PathBuf>,
    /// More headers: basic authorization, `X-Scope-OrgID`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Selector of the cache pods' series, without braces: `job="kura"`.
    pub selector: String,
    /// Label of the pod's name.
    pub pod_label: String,
    /// Query of running jobs per account; `None` = demand is not known.
    pub demand: Option<String>,
    /// Label of the account in the answer to it.
    pub account_label: String,
    /// An account that is not in a non-empty answer has no demand. Off: it is unknown.
    pub absent_is_none: bool,
    /// Names of families, labels and routes.
    pub names: Names,
}

/// Demand per account.
pub type Demands = Arc<BTreeMap<Account, Demand>>;

/// Asks a Prometheus or Mimir.
pub struct Prometheus {
    client: Client,
    settings: PrometheusSettings,
    clock: SharedClock,
    /// Newest sample taken of each pod, milliseconds.
    taken: BTreeMap<Instance, u64>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    #[serde(default)]
    result: Vec<Series>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    /// Unix seconds, value as text.
    value: (f64, String),
}

impl Prometheus {
    /// Sets the client up.
    pub fn new(settings: PrometheusSettings, clock: SharedClock) -> Result<Self, ClientError> {
        let client = Client::new(ClientSettings {
            ca_file: settings.ca_file.clone(),
            token_file: settings.token_file.clone(),
            timeout: settings.timeout,
            body_limit: MAX_ANSWER,
            headers: settings.headers.clone(),
            ..ClientSettings::default()
        })?;
        Ok(Self {
            client,
            settings,
            clock,
            taken: BTreeMap::new(),
        })
    }

    /// Queries until the shutdown, or until nobody listens.
    pub async fn run(
        mut self,
        targets: watch::Receiver<Arc<Vec<PodTarget>>>,
        sink: mpsc::Sender<Sample>,
        demands: watch::Sender<Demands>,
        shutdown: Shutdown,
    ) {
        let mut ticks = tokio::time::interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                _ = ticks.tick() => {}
            }
            let known = targets.borrow().clone();
            for sample in self.look(&known).await {
                if sink.send(sample).await.is_err() {
                    return;
                }
            }
            demands.send_replace(Arc::new(self.demand(&known).await));
        }
    }

    /// Asks for demand alone, at its interval, until the shutdown.
    pub async fn run_demand(
        self,
        targets: watch::Receiver<Arc<Vec<PodTarget>>>,
        demands: watch::Sender<Demands>,
        shutdown: Shutdown,
    ) {
        let mut ticks = tokio::time::interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                _ = ticks.tick() => {}
            }
            let known = targets.borrow().clone();
            demands.send_replace(Arc::new(self.demand(&known).await));
        }
    }

    /// One look at all pods.
    pub async fn look(&mut self, targets: &[PodTarget]) -> Vec<Sample> {
        let now = self.clock.now();
        let (stamps, counters) = tokio::join!(
            self.query(self.stamp_query()),
            self.query(self.counter_query())
        );
        let (stamps, counters) = match (stamps, counters) {
            (Ok(stamps), Ok(counters)) => (stamps, counters),
            (Err(why), _) | (_, Err(why)) => {
                let failed = targets.iter().map(|target| Sample {
                    instance: target.instance.clone(),
                    at: now.tick,
                    result: Err(why.clone()),
                });
                return failed.collect();
            }
        };
        samples(
            &self.settings,
            &mut self.taken,
            targets,
            (&stamps, &counters),
            now,
        )
    }

    fn stamp_query(&self) -> String {
        let s = &self.settings;
        let (pod, started, selector) = (&s.pod_label, &s.names.started, &s.selector);
        format!("max by ({pod}) (timestamp({started}{{{selector}}}))")
    }

    fn counter_query(&self) -> String {
        let s = &self.settings;
        let n = &s.names;
        let names = [
            format!("{}(_total)?", n.requests),
            format!("{}_count", n.latency),
            n.started.clone(),
            format!("{}(_total)?", n.egress),
        ];
        format!(
            "sum by (__name__, {}, {}, {}) ({{__name__=~\"{}\"{}{}}})",
            s.pod_label,
            n.route_label,
            n.status_label,
            names.join("|"),
            if s.selector.is_empty() { "" } else { ", " },
            s.selector
        )
    }

    /// Demand per account; empty if it is not known.
    pub async fn demand(&self, targets: &[PodTarget]) -> BTreeMap<Account, Demand> {
        let Some(query) = self.settings.demand.clone() else {
            return BTreeMap::new();
        };
        let series = match self.query(query).await {
            Ok(series) => series,
            Err(why) => {
                tracing::warn!("demand is not known: {why}");
                return BTreeMap::new();
            }
        };
        demands(&self.settings, targets, &series)
    }

    async fn query(&self, query: String) -> Result<Vec<Series>, String> {
        let base = self.settings.url.trim_end_matches('/');
        let url = format!("{base}/api/v1/query?query={}", encoded(&query));
        let response = self.client.get(&url).await.map_err(|e| e.to_string())?;
        if !response.is_success() {
            return Err(format!(
                "{base} answered {}: {}",
                response.status,
                response.first_line()
            ));
        }
        series(&response.body).map_err(|error| format!("{base} answered no query result ({error})"))
    }
}

/// The series of an answer. Total.
pub(crate) fn series(bytes: &[u8]) -> Result<Vec<Series>, serde_json::Error> {
    let answer: Answer = serde_json::from_slice(bytes)?;
    Ok(answer.data.result)
}

/// What is new of `targets` in the answers `(stamps, counters)`; `taken` remembers the newest
/// sample of each.
pub(crate) fn samples(
    settings: &PrometheusSettings,
    taken: &mut BTreeMap<Instance, u64>,
    targets: &[PodTarget],
    (stamps, counters): (&[Series], &[Series]),
    now: Now,
) -> Vec<Sample> {
    let stamps = stamps_of(settings, stamps);
    let mut samples = Vec::new();
    for target in targets {
        let pods = stamps
            .iter()
            .filter(|(pod, _)| belongs(pod, &target.instance));
        // The newest of the instance's pods: a NodePort is pinned to one.
        let Some((pod, millis)) = pods.max_by_key(|(_, millis)| **millis) else {
            continue;
        };
        if taken.get(&target.instance).is_some_and(|t| t >= millis) {
            continue;
        }
        taken.insert(target.instance.clone(), *millis);
        let scraped = Timestamp::from_unix_nanos(millis.saturating_mul(1_000_000));
        samples.push(Sample {
            instance: target.instance.clone(),
            at: now.tick.before(now.wall.since(scraped)),
            result: Ok(scrape_of(settings, pod, counters)),
        });
    }
    samples
}

fn stamps_of<'a>(settings: &PrometheusSettings, series: &'a [Series]) -> BTreeMap<&'a str, u64> {
    series
        .iter()
        .filter_map(|one| {
            let pod = one.metric.get(&settings.pod_label)?;
            let seconds: f64 = one.value.1.parse().ok()?;
            (seconds.is_finite() && seconds > 0.0).then_some((pod.as_str(), (seconds * 1e3) as u64))
        })
        .collect()
}

/// The pod's series as the text that it wrote, read by the same parser.
fn scrape_of(settings: &PrometheusSettings, pod: &str, series: &[Series]) -> Scrape {
    let names = &settings.names;
    let mut text = String::new();
    let mine = series.iter().filter(|one| {
        one.metric
            .get(&settings.pod_label)
            .is_some_and(|p| p == pod)
    });
    for one in mine {
        text.push_str(one.metric.get("__name__").map_or("", String::as_str));
        text.push('{');
        for label in [&names.route_label, &names.status_label] {
            if let Some(value) = one.metric.get(label) {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                // Writing to a String cannot fail.
                let _ = write!(text, "{label}=\"{}\",", value.replace('\n', " "));
            }
        }
        text.push_str("} ");
        text.extend(one.value.1.chars().filter(|c| !c.is_whitespace()));
        text.push('\n');
    }
    let mut parser = Parser::new(names);
    parser.push(text.as_bytes());
    parser.finish()
}

/// What an answer says of demand.
pub(crate) fn demands(
    settings: &PrometheusSettings,
    targets: &[PodTarget],
    series: &[Series],
) -> BTreeMap<Account, Demand> {
    let mut demands = BTreeMap::new();
    // An empty answer may be a renamed label: missing is not zero.
    if settings.absent_is_none && !series.is_empty() {
        demands.extend(targets.iter().map(|t| (t.account.clone(), Demand::Absent)));
    }
    for one in series {
        let label = one.metric.get(&settings.account_label);
        let account = label.and_then(|text| Account::new(text.as_str()).ok());
        let jobs = one
            .value
            .1
            .parse::<f64>()
            .ok()
            .filter(|jobs| jobs.is_finite());
        if let (Some(account), Some(jobs)) = (account, jobs) {
            let demand = if jobs > 0.0 {
                Demand::Proven { jobs }
            } else {
                Demand::Absent
            };
            demands.insert(account, demand);
        }
    }
    demands
}

/// Whether `pod` is `<instance>-<ordinal>`.
fn belongs(pod: &str, instance: &Instance) -> bool {
    pod.strip_prefix(instance.as_str())
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Percent-encodes everything that is not unreserved (RFC 3986 §2.3).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
