//! The table itself: five signs in, one verdict out. Exhaustive, readable without the rest.
#![allow(
    clippy::match_same_arms,
    reason = "a table is read row by row; merged rows hide their reasons"
)]

use crate::outcome::labels;

labels!(
    /// What is to be thought of an account's traffic: the metric label `verdict`.
    TrafficVerdict {
        /// Builds use the endpoint.
        Flowing => "flowing",
        /// Builds try, nothing arrives.
        Blackhole => "blackhole",
        /// The endpoint works, those who should use it do not.
        NotDispatched => "not_dispatched",
        /// Nobody wants anything.
        Idle => "idle",
        /// Checks fail while builds get through.
        VantageFault => "vantage_fault",
        /// The evidence does not say.
        Unknown => "unknown",
    }
);

labels!(
    /// What client vantages find.
    PathSign {
        /// All that say anything reach it.
        Reached => "reached",
        /// Some reach it, some find it down.
        Split => "split",
        /// All that say anything find it down.
        Down => "down",
        /// No client vantage says anything.
        Unwatched => "unwatched",
    }
);

labels!(
    /// What the pod's public counter says.
    PublicSign {
        /// Nothing: no fresh scrape, a fresh process, a renamed label.
        Missing => "missing",
        /// It rises.
        Flowing => "flowing",
        /// It stands still, no longer than chance explains.
        Pausing => "pausing",
        /// It stands still for longer, not yet for long enough.
        Lull => "lull",
        /// It rose, and stopped for longer than chance and habit explain.
        Stopped => "stopped",
        /// It has stood still for long, or was never born.
        Dry => "dry",
    }
);

labels!(
    /// What the pod's internal counter says.
    InternalSign {
        /// Peers reach it: it lives.
        Flowing => "flowing",
        /// No peer asks, or nothing is known.
        Silent => "silent",
    }
);

labels!(
    /// What pods that do not sit behind the accused node say.
    WitnessSign {
        /// The same account is served elsewhere.
        AccountElsewhere => "account_elsewhere",
        /// Others are served on other nodes, while everybody behind this one stopped together.
        NodeAlone => "node_alone",
        /// Others are served on other nodes; for this account that says nothing.
        Mixed => "mixed",
        /// There are witnesses, and none is busy.
        Quiet => "quiet",
        /// There is no witness.
        Absent => "absent",
    }
);

labels!(
    /// Whether somebody wants to use the endpoint.
    DemandSign {
        /// Jobs run.
        Proven => "proven",
        /// The source answered, and none runs.
        None => "none",
        /// No source, or it failed.
        Unknown => "unknown",
    }
);

/// Everything that the verdict is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs {
    /// Client vantages.
    pub path: PathSign,
    /// The public counter.
    pub public: PublicSign,
    /// The internal counter.
    pub internal: InternalSign,
    /// Pods elsewhere.
    pub witness: WitnessSign,
    /// Demand.
    pub demand: DemandSign,
}

/// Looks the verdict up.
pub fn verdict(signs: Signs) -> TrafficVerdict {
    use TrafficVerdict::{Flowing, Idle, Unknown, VantageFault};
    match (signs.public, signs.path) {
        // What the pod did not count cannot be judged; the checks speak for themselves.
        (PublicSign::Missing, _) => Unknown,
        // Builds get through: whoever finds the path down finds only itself.
        (PublicSign::Flowing, PathSign::Down | PathSign::Split)
        | (PublicSign::Pausing, PathSign::Split) => VantageFault,
        (PublicSign::Flowing | PublicSign::Pausing, PathSign::Reached | PathSign::Unwatched) => {
            Flowing
        }
        // Too early: the next scrapes tell.
        (PublicSign::Pausing | PublicSign::Lull, PathSign::Down) => Unknown,
        (PublicSign::Lull, PathSign::Split) => VantageFault,
        (PublicSign::Lull, PathSign::Reached | PathSign::Unwatched) => match signs {
            Signs {
                demand: DemandSign::None,
                ..
            } => Idle,
            Signs {
                demand: DemandSign::Unknown,
                witness: WitnessSign::Quiet,
                ..
            } => Idle,
            _ => Unknown,
        },
        (PublicSign::Stopped | PublicSign::Dry, PathSign::Down) => down(signs),
        (PublicSign::Stopped | PublicSign::Dry, PathSign::Split) => split(signs),
        (PublicSign::Stopped | PublicSign::Dry, PathSign::Reached) => reached(signs),
        (PublicSign::Stopped | PublicSign::Dry, PathSign::Unwatched) => unwatched(signs),
    }
}

/// The path is down and nothing arrives.
fn down(signs: Signs) -> TrafficVerdict {
    use TrafficVerdict::{Blackhole, Idle, Unknown};
    match (signs.public, signs.demand, signs.witness) {
        // What flowed stopped when the path died.
        (PublicSign::Stopped, _, _)
        | (_, DemandSign::Proven, _)
        | (_, DemandSign::Unknown, WitnessSign::AccountElsewhere) => Blackhole,
        // The path is down and nobody tries. The checks' own finding pages all the same.
        (_, DemandSign::None, _) | (_, DemandSign::Unknown, WitnessSign::Quiet) => Idle,
        (
            _,
            DemandSign::Unknown,
            WitnessSign::NodeAlone | WitnessSign::Mixed | WitnessSign::Absent,
        ) => Unknown,
    }
}

/// Some vantages find the path down, nothing arrives.
fn split(signs: Signs) -> TrafficVerdict {
    match (signs.demand, signs.witness) {
        // All hosts pass, all VMs fail: only the latter do what builds do.
        (DemandSign::Proven, _) | (DemandSign::Unknown, WitnessSign::AccountElsewhere) => {
            TrafficVerdict::Blackhole
        }
        _ => TrafficVerdict::VantageFault,
    }
}

/// The path works and nothing arrives.
fn reached(signs: Signs) -> TrafficVerdict {
    use TrafficVerdict::{Idle, NotDispatched, Unknown};
    match (signs.demand, signs.witness) {
        (DemandSign::Proven, _) => NotDispatched,
        (DemandSign::None, _) | (DemandSign::Unknown, WitnessSign::Quiet | WitnessSign::Mixed) => {
            Idle
        }
        (DemandSign::Unknown, WitnessSign::AccountElsewhere | WitnessSign::NodeAlone) => {
            match signs.public {
                // It was used, it works, it is used elsewhere, and here no more.
                PublicSign::Stopped => NotDispatched,
                // It may never have been meant to be used here.
                _ => Unknown,
            }
        }
        // A single node whose pods are all silent: nothing to compare with.
        (DemandSign::Unknown, WitnessSign::Absent) => Unknown,
    }
}

/// Nobody checks the path, and nothing arrives.
fn unwatched(signs: Signs) -> TrafficVerdict {
    use TrafficVerdict::{Blackhole, Idle, Unknown};
    match (signs.demand, signs.witness, signs.internal, signs.public) {
        (DemandSign::Proven, _, _, _) => Blackhole,
        (DemandSign::None, _, _, _) | (DemandSign::Unknown, WitnessSign::Quiet, _, _) => Idle,
        (DemandSign::Unknown, WitnessSign::AccountElsewhere, InternalSign::Flowing, _)
        | (
            DemandSign::Unknown,
            WitnessSign::NodeAlone,
            InternalSign::Flowing,
            PublicSign::Stopped,
        ) => Blackhole,
        _ => Unknown,
    }
}
