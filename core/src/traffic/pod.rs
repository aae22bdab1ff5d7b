//! One cache pod over time: successive scrapes in, what flows out.

use core::time::Duration;
use std::collections::BTreeMap;

use super::Traffic;
use super::flow::Flow;
use super::parse::{MAX_ROUTES, Scrape};
use crate::time::{Now, Tick};

/// How numbers become traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Time between scrapes.
    pub interval: Duration,
    /// Span over which rates are taken.
    pub window: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            window: Duration::from_mins(1),
        }
    }
}

impl Settings {
    /// Age at which the newest scrape says nothing any more: three intervals and a half.
    pub fn stale(&self) -> Duration {
        self.interval.saturating_mul(7) / 2
    }
}

/// One cache pod over time.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    last: Option<(Tick, Scrape)>,
    /// First scrape of this run of the process.
    since: Option<Tick>,
    restarts: u32,
    public: Flow,
    internal: Flow,
    unclassified: Flow,
    egress: Flow,
    routes: BTreeMap<String, (Flow, Flow)>,
    failing_since: Option<Tick>,
    /// Counters vanished while the process stayed: a renamed label or family, not silence.
    contradicted: bool,
}

/// What one public route carries.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteTraffic {
    /// The route, as the pod names it.
    pub route: String,
    /// Its traffic.
    pub traffic: Traffic,
    /// Requests per second before it fell silent.
    pub before: Option<f64>,
    /// Share of 429 and 503 over the window, 0 to 1; `None` without requests.
    pub shed_share: Option<f64>,
    /// Requests shed over the window.
    pub shed: f64,
}

/// What a pod carries, as of one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct PodTraffic {
    /// Public requests.
    pub public: Traffic,
    /// Requests between cache pods.
    pub internal: Traffic,
    /// When the public counter last rose, in this run of the process.
    pub last_public: Option<Tick>,
    /// Public requests per second before they stopped; `None` if none were ever seen.
    pub before: Option<f64>,
    /// The longest pause that its public traffic made on its own lately.
    pub usual_gap: Duration,
    /// For how long this run of the process has been watched.
    pub watched: Duration,
    /// The public series exists in this run of the process.
    pub born: bool,
    /// Public routes.
    pub routes: Vec<RouteTraffic>,
    /// Bytes per second sent to clients.
    pub egress: Option<f64>,
    /// Restarts of the process that were seen.
    pub restarts: u32,
    /// For how long scrapes have failed: the pod, or the overlay to it, is dead.
    pub failing_for: Option<Duration>,
}

impl PodTraffic {
    /// A pod of which nothing is known.
    pub fn missing() -> Self {
        Pod::default().read(Now::default(), &Settings::default())
    }
}

impl Pod {
    /// Takes a scrape in that *started* at `at`. One that is cut or older than the newest is
    /// ignored; two at one instant likewise.
    pub fn observe(&mut self, scrape: Scrape, at: Tick, settings: &Settings) {
        if !scrape.complete {
            self.failed(at);
            return;
        }
        self.failing_since = None;
        let Some((then, last)) = self.last.take() else {
            self.since = Some(at);
            self.last = Some((at, scrape));
            return;
        };
        if at <= then {
            self.last = Some((then, last));
            return;
        }
        if restarted(&last, &scrape) {
            self.contradicted = same_process(&last, &scrape);
            self.restarts = self.restarts.saturating_add(1);
            self.since = Some(at);
            self.interrupt();
        } else {
            self.advance(&last, &scrape, (then, at), settings.window);
            self.contradicted &= self.public.newest().is_none_or(|rise| rise <= 0.0);
        }
        self.last = Some((at, scrape));
    }

    /// A scrape failed.
    pub fn failed(&mut self, at: Tick) {
        self.failing_since.get_or_insert(at);
    }

    fn interrupt(&mut self) {
        for flow in [
            &mut self.public,
            &mut self.internal,
            &mut self.unclassified,
            &mut self.egress,
        ] {
            flow.interrupted();
        }
        for (total, shed) in self.routes.values_mut() {
            total.interrupted();
            shed.interrupted();
        }
    }

    fn advance(&mut self, last: &Scrape, scrape: &Scrape, step: (Tick, Tick), window: Duration) {
        let (then, at) = step;
        let length = at.since(then);
        let rise = |new: f64, old: f64| (new - old).max(0.0);
        let by_latency = rise(
            scrape.latency_count.unwrap_or(0.0),
            last.latency_count.unwrap_or(0.0),
        );
        // Where the two families disagree, the one that saw a request is right.
        let public = rise(scrape.public, last.public).max(by_latency);
        self.public.step(at, length, public, window);
        let internal = rise(scrape.internal, last.internal);
        self.internal.step(at, length, internal, window);
        let unclassified = rise(scrape.unclassified, last.unclassified);
        self.unclassified.step(at, length, unclassified, window);
        if let (Some(new), Some(old)) = (scrape.egress, last.egress) {
            self.egress.step(at, length, rise(new, old), window);
        }
        for (route, count) in &scrape.routes {
            if !self.routes.contains_key(route) && self.routes.len() >= MAX_ROUTES {
                continue;
            }
            let old = last.routes.get(route).copied().unwrap_or_default();
            let (total, shed) = self.routes.entry(route.clone()).or_default();
            total.step(at, length, rise(count.total, old.total), window);
            shed.step(at, length, rise(count.shed, old.shed), window);
        }
        self.routes
            .retain(|route, _| scrape.routes.contains_key(route));
    }

    /// What the pod carries as of `now`.
    pub fn read(&self, now: Now, settings: &Settings) -> PodTraffic {
        let fresh = self
            .last
            .as_ref()
            .filter(|(at, _)| now.tick.since(*at) <= settings.stale());
        let watched = match (fresh, self.since) {
            (Some((at, _)), Some(since)) => at.since(since),
            _ => Duration::ZERO,
        };
        let born = self
            .last
            .as_ref()
            .is_some_and(|(_, s)| s.public > 0.0 || s.latency_count.is_some_and(|n| n > 0.0));
        let classified = self.unclassified.sum() <= 0.0;
        let classified = classified && !self.contradicted;
        let known = |has: bool| has && classified && self.public.newest().is_some();
        let traffic = |flow: &Flow, has: bool| match fresh {
            Some((at, _)) if known(has) => judge(flow, *at, self.since.unwrap_or(*at)),
            _ => Traffic::Missing,
        };
        let has = |test: fn(&Scrape) -> bool| fresh.is_some_and(|(_, scrape)| test(scrape));
        let mut public = traffic(
            &self.public,
            has(|s| s.has_requests || s.latency_count.is_some()),
        );
        if let (Traffic::Zero { lasted }, false, Some((_, scrape))) = (public, born, fresh) {
            // A counter that was never born has been zero since the process started.
            let lived = scrape.started.map_or(Duration::ZERO, |s| lived(s, now));
            public = Traffic::Zero {
                lasted: lasted.max(lived),
            };
        }
        PodTraffic {
            public,
            internal: traffic(&self.internal, has(|s| s.has_requests)),
            last_public: self.public.last_increase(),
            before: self.public.before(),
            usual_gap: self.public.usual_gap(),
            watched,
            born,
            routes: fresh.map_or_else(Vec::new, |(at, _)| self.read_routes(*at)),
            egress: fresh
                .filter(|_| self.egress.newest().is_some())
                .map(|_| self.egress.rate()),
            restarts: self.restarts,
            failing_for: self.failing_since.map(|since| now.tick.since(since)),
        }
    }

    fn read_routes(&self, at: Tick) -> Vec<RouteTraffic> {
        let since = self.since.unwrap_or(at);
        self.routes
            .iter()
            .filter(|(_, (total, _))| total.newest().is_some())
            .map(|(route, (total, shed))| RouteTraffic {
                route: route.clone(),
                traffic: judge(total, at, since),
                before: total.before(),
                shed_share: (total.sum() > 0.0).then(|| (shed.sum() / total.sum()).min(1.0)),
                shed: shed.sum(),
            })
            .collect()
    }
}

fn judge(flow: &Flow, at: Tick, since: Tick) -> Traffic {
    if flow.newest().is_some_and(|increase| increase > 0.0) {
        return Traffic::Flowing { rate: flow.rate() };
    }
    Traffic::Zero {
        lasted: at.since(flow.last_increase().unwrap_or(since)),
    }
}

/// Age of a process by its own word, at most 90 days: a clock that lies may not say more.
fn lived(started: f64, now: Now) -> Duration {
    let seconds = (now.wall.as_unix_seconds_f64() - started).clamp(0.0, 90.0 * 86_400.0);
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Another start time, or any sum that went down.
fn restarted(last: &Scrape, new: &Scrape) -> bool {
    let moved = last.started.is_some() && new.started.is_some() && !same_process(last, new);
    moved
        || new.public < last.public
        || new.internal < last.internal
        || new.latency_count.unwrap_or(0.0) < last.latency_count.unwrap_or(0.0)
}

/// Whether both scrapes name one start of the process.
fn same_process(last: &Scrape, new: &Scrape) -> bool {
    match (last.started, new.started) {
        (Some(a), Some(b)) => (a - b).abs() <= 1.0,
        _ => false,
    }
}
