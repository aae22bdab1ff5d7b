//! From numbers to signs.

use core::time::Duration;

use super::table::{DemandSign, InternalSign, PathSign, PublicSign, WitnessSign};
use super::{Demand, Fleet, PathSight, PodSight, Settings};
use crate::traffic::{PodTraffic, Traffic};

/// What client vantages find.
pub fn path(path: &PathSight) -> PathSign {
    match (path.reached, path.down) {
        (0, 0) => PathSign::Unwatched,
        (_, 0) => PathSign::Reached,
        (0, _) => PathSign::Down,
        (_, _) => PathSign::Split,
    }
}

/// What the internal counter says.
pub fn internal(pod: &PodTraffic) -> InternalSign {
    match pod.internal {
        Traffic::Flowing { .. } => InternalSign::Flowing,
        Traffic::Missing | Traffic::Zero { .. } => InternalSign::Silent,
    }
}

/// Whether somebody wants to use the endpoint.
pub fn demand(demand: Demand) -> DemandSign {
    match demand {
        Demand::Proven { jobs } if jobs > 0.0 => DemandSign::Proven,
        Demand::Proven { .. } | Demand::Absent => DemandSign::None,
        Demand::Unknown => DemandSign::Unknown,
    }
}

/// What the public counter says, in the light of what the checks say.
pub fn public(pod: &PodTraffic, seen: &PathSight, settings: &Settings) -> PublicSign {
    let window = settings.traffic.window;
    match pod.public {
        Traffic::Missing => PublicSign::Missing,
        Traffic::Flowing { .. } if !since_down(pod, seen, settings) => PublicSign::Pausing,
        Traffic::Flowing { .. } => PublicSign::Flowing,
        // A process that is watched for less than a window has not shown its habits.
        Traffic::Zero { .. } if pod.watched < window => PublicSign::Missing,
        Traffic::Zero { lasted } => match path(seen) {
            PathSign::Down => silent_and_down(pod, lasted, seen, settings),
            PathSign::Reached => silent(pod, lasted, settings.dispatch_after, settings),
            PathSign::Split | PathSign::Unwatched => {
                let habit = pod.usual_gap.saturating_mul(2).min(settings.longest_pause);
                silent(pod, lasted, window.max(habit), settings)
            }
        },
    }
}

/// Whether the newest increase came after the path died (and not before, in the same step).
fn since_down(pod: &PodTraffic, seen: &PathSight, settings: &Settings) -> bool {
    match (path(seen), seen.down_since, pod.last_public) {
        (PathSign::Down, Some(down), Some(last)) => last > down.after(settings.traffic.interval),
        _ => true,
    }
}

fn silent_and_down(
    pod: &PodTraffic,
    lasted: Duration,
    seen: &PathSight,
    settings: &Settings,
) -> PublicSign {
    let slack = settings.traffic.interval.saturating_mul(2) + pod.usual_gap;
    let together = match (pod.last_public, seen.down_since) {
        (Some(last), Some(down)) => last >= down.before(slack),
        _ => false,
    };
    let expected = pod.before.unwrap_or(0.0) * lasted.as_secs_f64();
    if together && expected >= settings.expected_confirmed {
        PublicSign::Stopped
    } else if lasted >= settings.traffic.window {
        PublicSign::Dry
    } else {
        PublicSign::Pausing
    }
}

fn silent(pod: &PodTraffic, lasted: Duration, enough: Duration, settings: &Settings) -> PublicSign {
    let flowed = pod.born && pod.last_public.is_some();
    let expected = pod.before.unwrap_or(0.0) * lasted.as_secs_f64();
    if flowed && lasted >= enough && expected >= settings.expected {
        PublicSign::Stopped
    } else if flowed && lasted < settings.traffic.window {
        PublicSign::Pausing
    } else if lasted >= settings.dispatch_after.max(enough) {
        PublicSign::Dry
    } else {
        PublicSign::Lull
    }
}

/// What pods that do not sit behind the accused node say, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Witnesses {
    /// Pods of the same account elsewhere of which something is known.
    pub account_pods: usize,
    /// Their public requests per second, together.
    pub account_rate: f64,
    /// How many of them are busy.
    pub account_busy: usize,
    /// Pods of other accounts on other nodes of which something is known.
    pub other_pods: usize,
    /// Their public requests per second, together.
    pub other_rate: f64,
    /// How many of them are busy.
    pub other_busy: usize,
    /// Pods behind the accused node, the judged one among them, that stopped together.
    pub stopped_together: usize,
    /// Pods behind the accused node that still serve.
    pub node_busy: usize,
}

/// Whether a witness is busy; `None` = nothing is known of it.
fn busy(pod: &PodTraffic, settings: &Settings) -> Option<bool> {
    match pod.public {
        Traffic::Missing => None,
        Traffic::Flowing { .. } => Some(true),
        Traffic::Zero { lasted } => {
            Some(pod.last_public.is_some() && lasted < settings.traffic.window)
        }
    }
}

impl Witnesses {
    /// Asks the witnesses for `pod`.
    pub fn of(pod: &PodSight, fleet: &Fleet<'_>, settings: &Settings) -> Self {
        let mut seen = Self::default();
        // Without knowing the accused node, nobody is known to sit elsewhere.
        let Some(accused) = &pod.node else {
            return seen;
        };
        for other in fleet.pods {
            let Some(node) = &other.node else { continue };
            let Some(is_busy) = busy(&other.traffic, settings) else {
                continue;
            };
            let rate = other.traffic.public.rate().unwrap_or(0.0);
            let count = usize::from(is_busy);
            if node == accused {
                seen.node_busy += count;
                seen.stopped_together += usize::from(!is_busy && together(pod, other, settings));
            } else if other.account == pod.account {
                seen.account_pods += 1;
                seen.account_rate += rate;
                seen.account_busy += count;
            } else {
                seen.other_pods += 1;
                seen.other_rate += rate;
                seen.other_busy += count;
            }
        }
        seen
    }

    /// What they say.
    pub fn sign(&self) -> WitnessSign {
        if self.account_busy > 0 {
            WitnessSign::AccountElsewhere
        } else if self.account_pods > 0 {
            // Who is idle everywhere is idle here.
            WitnessSign::Quiet
        } else if self.other_pods == 0 {
            WitnessSign::Absent
        } else if self.other_busy == 0 {
            WitnessSign::Quiet
        } else if self.node_busy == 0 && self.stopped_together >= 2 {
            WitnessSign::NodeAlone
        } else {
            WitnessSign::Mixed
        }
    }
}

/// Whether both fell silent within one window of one another.
fn together(pod: &PodSight, other: &PodSight, settings: &Settings) -> bool {
    match (pod.traffic.last_public, other.traffic.last_public) {
        (Some(a), Some(b)) => a.max(b).since(a.min(b)) <= settings.traffic.window,
        _ => false,
    }
}
