//! The numbers as a person says them.

use core::time::Duration;

use super::signs::Witnesses;
use super::table::{DemandSign, PathSign, Signs, TrafficVerdict, WitnessSign};
use super::{Demand, Fleet, PathSight, PodSight};
use crate::time::spoken;
use crate::traffic::Traffic;

/// `0 public requests for 94 s; 212/s internal; same account elsewhere 31/s; 4 jobs running`.
pub(super) fn sentence(
    pod: &PodSight,
    path: &PathSight,
    witnesses: &Witnesses,
    fleet: &Fleet<'_>,
) -> String {
    let mut parts = Vec::new();
    parts.push(match pod.traffic.public {
        Traffic::Missing => match pod.traffic.failing_for {
            Some(silent) => format!("no numbers: the pod's metrics failed for {}", span(silent)),
            None => "no usable public counter".into(),
        },
        Traffic::Zero { lasted } if !pod.traffic.born => {
            format!("no public request ever, for {}", span(lasted))
        }
        Traffic::Zero { lasted } => format!("0 public requests for {}", span(lasted)),
        Traffic::Flowing { rate } => format!("{} public", per_second(rate)),
    });
    if let (Traffic::Zero { .. }, Some(before)) = (pod.traffic.public, pod.traffic.before) {
        parts.push(format!("{} before", per_second(before)));
    }
    parts.push(match pod.traffic.internal {
        Traffic::Missing => "internal not known".into(),
        Traffic::Zero { lasted } => format!("0 internal for {}", span(lasted)),
        Traffic::Flowing { rate } => format!("{} internal", per_second(rate)),
    });
    parts.push(match (witnesses.account_pods, witnesses.other_pods) {
        (0, 0) => "no witness elsewhere".into(),
        (0, n) => format!(
            "{n} pods of other accounts on other nodes {}",
            per_second(witnesses.other_rate)
        ),
        _ => format!(
            "same account elsewhere {}",
            per_second(witnesses.account_rate)
        ),
    });
    match fleet.demand_of(&pod.account) {
        Demand::Proven { jobs } if jobs > 0.0 => parts.push(jobs_running(jobs)),
        Demand::Proven { .. } | Demand::Absent => parts.push("no job running".into()),
        Demand::Unknown => {}
    }
    let asked = path.reached + path.down;
    if asked > 0 {
        parts.push(format!(
            "{} of {asked} client vantages reach it",
            path.reached
        ));
    }
    parts.join("; ")
}

/// What is missing to be surer.
pub(super) fn missing(signs: Signs, verdict: TrafficVerdict) -> Vec<String> {
    let mut missing = Vec::new();
    if signs.path == PathSign::Unwatched && verdict == TrafficVerdict::Blackhole {
        missing.push(
            "no host or VM checks this endpoint, so this is only a warning: \
             run a prober on a Mac host of this network"
                .into(),
        );
    }
    if verdict == TrafficVerdict::Unknown {
        if signs.demand == DemandSign::Unknown {
            missing.push("running jobs are not known: configure serve.traffic.demand".into());
        }
        if signs.witness == WitnessSign::Absent {
            missing.push("no pod on another node to compare with".into());
        }
    }
    missing
}

fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 10..120 => format!("{seconds} s"),
        _ => spoken(duration),
    }
}

fn per_second(rate: f64) -> String {
    if rate >= 9.95 {
        format!("{rate:.0}/s")
    } else if rate >= 0.095 || rate <= 0.0 {
        let text = format!("{rate:.1}");
        format!("{}/s", text.strip_suffix(".0").unwrap_or(&text))
    } else {
        format!("{:.1}/min", rate * 60.0)
    }
}

fn jobs_running(jobs: f64) -> String {
    let word = if jobs.round() <= 1.0 { "job" } else { "jobs" };
    format!("{jobs:.0} {word} running")
}
