//! Traffic that should be there: does an account's silence mean a black hole, or nothing?
//!
//! [`correlate`] joins what checks find, what the pod counts, what witnesses count and what
//! demand is proven, reduces each to a small closed sign ([`signs`]) and looks the verdict up
//! in one exhaustive table ([`table`]). Witnesses never sit behind the accused node: pods of
//! the same account elsewhere first, then other accounts on other nodes; a pod whose node is
//! not known is no witness. A warm VM is no demand. Pure.

mod diagnose;
mod evidence;
mod routes;
pub mod signs;
pub mod table;

use core::time::Duration;
use std::collections::BTreeMap;

use crate::name::{Account, Instance, Node};
use crate::path::Verdict;
use crate::time::{Now, Tick};
use crate::traffic::PodTraffic;

pub use diagnose::diagnoses;
pub use routes::{RouteSilence, Shedding};
pub use table::{Signs, TrafficVerdict};

/// Thresholds of the correlation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How counters become traffic.
    pub traffic: crate::traffic::Settings,
    /// Requests that must be missing before silence means anything: by chance alone ten are
    /// missing once in 22,000 times (Poisson, e^-10).
    pub expected: f64,
    /// The same where checks confirm the silence (e^-3, and a dead path beside it).
    pub expected_confirmed: f64,
    /// Silence on a path that works, or of a series never born, that means anything: longer
    /// than the public counters' dips in a controller rollout (4 to 11 minutes).
    pub dispatch_after: Duration,
    /// Longest pause of a pod's own that is waited out.
    pub longest_pause: Duration,
    /// Share of 429 and 503 on a route that is shedding, 0 to 1.
    pub shed_share: f64,
    /// Requests shed on a route within the window that are shedding.
    pub shed_least: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            traffic: crate::traffic::Settings::default(),
            expected: 10.0,
            expected_confirmed: 3.0,
            dispatch_after: Duration::from_mins(15),
            longest_pause: Duration::from_mins(30),
            shed_share: 0.05,
            shed_least: 20.0,
        }
    }
}

/// One cache pod: whose, where, and what it carries.
#[derive(Debug, Clone, PartialEq)]
pub struct PodSight {
    /// Whose.
    pub account: Account,
    /// Which instance.
    pub instance: Instance,
    /// Behind which node; `None` = not known, and then it is no witness.
    pub node: Option<Node>,
    /// What it carries.
    pub traffic: PodTraffic,
}

/// What *client* vantages find of the endpoint, over TCP and HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathSight {
    /// How many reach it.
    pub reached: usize,
    /// How many find it down.
    pub down: usize,
    /// Start of the first miss among those.
    pub down_since: Option<Tick>,
}

impl PathSight {
    /// Takes one client vantage's verdict in. Paths of node vantages must not come here.
    pub fn add(&mut self, verdict: Verdict, missing_since: Option<Tick>) {
        match verdict {
            Verdict::Up | Verdict::Degraded => self.reached += 1,
            Verdict::Down => {
                self.down += 1;
                self.down_since = match (self.down_since, missing_since) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
            Verdict::Suspect | Verdict::Unknown => {}
        }
    }
}

/// Whether somebody wants to use the endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Demand {
    /// So many jobs of the account run.
    Proven {
        /// How many.
        jobs: f64,
    },
    /// The source answered, and none runs.
    Absent,
    /// No source, or it failed.
    Unknown,
}

/// Everything that the correlation looks at beside the pod itself.
#[derive(Debug, Clone, Copy)]
pub struct Fleet<'a> {
    /// All pods that are watched, the judged one among them.
    pub pods: &'a [PodSight],
    /// Demand per account; an account that is not there is [`Demand::Unknown`].
    pub demand: &'a BTreeMap<Account, Demand>,
}

impl Fleet<'_> {
    /// Demand of `account`.
    pub fn demand_of(&self, account: &Account) -> Demand {
        self.demand.get(account).copied().unwrap_or(Demand::Unknown)
    }
}

/// What is to be thought of one account's traffic at one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// Whose.
    pub account: Account,
    /// Which instance.
    pub instance: Instance,
    /// Behind which node.
    pub node: Option<Node>,
    /// The verdict.
    pub verdict: TrafficVerdict,
    /// The signs that it was looked up by.
    pub signs: Signs,
    /// Bytes per second sent to clients, where it is known.
    pub egress: Option<f64>,
    /// The numbers, as one sentence.
    pub evidence: String,
    /// What is missing to be surer, as sentences.
    pub missing: Vec<String>,
    /// Since when the public counter has stood still, where it has.
    pub silent_since: Option<Tick>,
    /// Routes that are silent here and busy elsewhere for the same account.
    pub routes: Vec<RouteSilence>,
    /// Routes that are shed.
    pub shedding: Vec<Shedding>,
}

/// Judges the traffic of `pod`.
pub fn correlate(
    pod: &PodSight,
    path: &PathSight,
    fleet: &Fleet<'_>,
    settings: &Settings,
    now: Now,
) -> Correlation {
    let witnesses = signs::Witnesses::of(pod, fleet, settings);
    let signs = Signs {
        path: signs::path(path),
        public: signs::public(&pod.traffic, path, settings),
        internal: signs::internal(&pod.traffic),
        witness: witnesses.sign(),
        demand: signs::demand(fleet.demand_of(&pod.account)),
    };
    let verdict = table::verdict(signs);
    Correlation {
        account: pod.account.clone(),
        instance: pod.instance.clone(),
        node: pod.node.clone(),
        verdict,
        signs,
        egress: pod.traffic.egress,
        evidence: evidence::sentence(pod, path, &witnesses, fleet),
        missing: evidence::missing(signs, verdict),
        silent_since: match pod.traffic.public {
            crate::traffic::Traffic::Zero { lasted } => Some(now.tick.before(lasted)),
            _ => None,
        },
        routes: routes::silent(pod, fleet, settings),
        shedding: routes::shedding(&pod.traffic, settings),
    }
}

#[cfg(test)]
mod tests;
