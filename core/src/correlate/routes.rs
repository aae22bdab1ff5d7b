//! One route of a pod: silent while the account uses it elsewhere, or shed.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{Fleet, PodSight, Settings};
use crate::traffic::{PodTraffic, Traffic};

/// A route that is silent here and busy elsewhere for the same account.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSilence {
    /// The route.
    pub route: String,
    /// For how long it has been silent here; `None` = its series was never born.
    pub lasted: Option<Duration>,
    /// Requests per second on it elsewhere.
    pub elsewhere: f64,
    /// Public requests per second on other routes here.
    pub others_here: f64,
}

/// A route that is shed.
#[derive(Debug, Clone, PartialEq)]
pub struct Shedding {
    /// The route.
    pub route: String,
    /// Share of 429 and 503 over the window, 0 to 1.
    pub share: f64,
    /// Requests shed over the window.
    pub shed: f64,
}

/// Routes of `pod` that one client may never have learned. Only where other routes flow here,
/// and where no route flows here that the witnesses do not know: that would be a new name.
pub(super) fn silent(pod: &PodSight, fleet: &Fleet<'_>, settings: &Settings) -> Vec<RouteSilence> {
    let Traffic::Flowing { rate: others_here } = pod.traffic.public else {
        return Vec::new();
    };
    if pod.node.is_none() || pod.traffic.watched < settings.dispatch_after {
        return Vec::new();
    }
    let elsewhere: Vec<_> = fleet
        .pods
        .iter()
        .filter(|p| p.account == pod.account && p.node.is_some() && p.node != pod.node)
        .flat_map(|p| &p.traffic.routes)
        .collect();
    let known: BTreeSet<&str> = elsewhere.iter().map(|r| r.route.as_str()).collect();
    let renamed =
        pod.traffic.routes.iter().any(|r| {
            matches!(r.traffic, Traffic::Flowing { .. }) && !known.contains(r.route.as_str())
        });
    if renamed {
        return Vec::new();
    }
    known
        .into_iter()
        .filter_map(|route| {
            let lasted = match pod.traffic.routes.iter().find(|r| r.route == route) {
                None => None,
                Some(here) => match here.traffic {
                    Traffic::Zero { lasted } if lasted >= settings.dispatch_after => Some(lasted),
                    _ => return None,
                },
            };
            let rate: f64 = elsewhere
                .iter()
                .filter(|r| r.route == route)
                .filter_map(|r| r.traffic.rate())
                .sum();
            (rate > 0.0).then(|| RouteSilence {
                route: route.to_owned(),
                lasted,
                elsewhere: rate,
                others_here,
            })
        })
        .collect()
}

/// Routes of `pod` that are shed.
pub(super) fn shedding(pod: &PodTraffic, settings: &Settings) -> Vec<Shedding> {
    pod.routes
        .iter()
        .filter_map(|route| {
            let share = route.shed_share?;
            (share >= settings.shed_share && route.shed >= settings.shed_least).then(|| Shedding {
                route: route.route.clone(),
                share,
                shed: route.shed,
            })
        })
        .collect()
}
