//! Verdicts on traffic: what pods carry joined with what checks find.
//!
//! Plain state: [`Judge::apply`] for every sample, [`Judge::judge`] as often as a verdict is
//! wanted. Client vantages alone count; an endpoint with an excuse is not judged. Where nothing
//! is known any more, what was found stays found: a gap in the numbers is no recovery.

use std::collections::{BTreeMap, BTreeSet};

use pnwatch_core::correlate::{
    Correlation, Demand, Fleet, PathSight, PodSight, Settings, TrafficVerdict, correlate, diagnoses,
};
use pnwatch_core::diagnosis::Diagnosis;
use pnwatch_core::diagnosis::table::Named;
use pnwatch_core::fault::Fault;
use pnwatch_core::finding::Finding;
use pnwatch_core::inventory::AccountTarget;
use pnwatch_core::name::{Account, Instance, Vantage};
use pnwatch_core::outcome::Layer;
use pnwatch_core::path::Verdict;
use pnwatch_core::slo::Maintenance;
use pnwatch_core::subject::Subject;
use pnwatch_core::time::{Now, Timestamp};
use pnwatch_core::view::View;

use super::{PodTarget, Pods, Sample};

/// Faults that only this judge tells.
const OWN: [Fault; 3] = [Fault::TrafficSilent, Fault::NotDispatched, Fault::Shedding];

/// What there is to say at one instant.
#[derive(Debug, Default)]
pub struct Judgement {
    /// One per instance of the inventory that is watched.
    pub correlations: Vec<Correlation>,
    /// What they amount to, for [`pnwatch_core::engine::Engine::set_external`].
    pub diagnoses: Vec<Diagnosis>,
}

/// Judges traffic.
#[derive(Debug)]
pub struct Judge {
    pods: Pods,
    settings: Settings,
    maintenance: Vec<Maintenance>,
}

impl Judge {
    /// Has seen nothing yet.
    pub fn new(settings: Settings, maintenance: Vec<Maintenance>) -> Self {
        Self {
            pods: Pods::new(settings.traffic),
            settings,
            maintenance,
        }
    }

    /// Replaces the watched pods.
    pub fn set_targets(&mut self, targets: &[PodTarget]) {
        self.pods.set_targets(targets);
    }

    /// Takes a sample in.
    pub fn apply(&mut self, sample: Sample) {
        self.pods.apply(sample);
    }

    /// Judges every watched instance that `view` has an endpoint of.
    pub fn judge(&self, view: &View, demand: &BTreeMap<Account, Demand>, now: Now) -> Judgement {
        let pods = self.pods.sights(now);
        let fleet = Fleet {
            pods: &pods,
            demand,
        };
        let mut ways = Ways::of(view);
        let mut said = Judgement::default();
        for pod in &pods {
            let Some((path, excused)) = self.endpoint(pod, view, &mut ways, now) else {
                continue;
            };
            let seen = correlate(pod, &path, &fleet, &self.settings, now);
            if !excused {
                let mut found = diagnoses(&seen, &self.settings, now);
                if seen.verdict == TrafficVerdict::Unknown {
                    hold(&mut found, &seen, view, now);
                }
                said.diagnoses.append(&mut found);
            }
            said.correlations.push(seen);
        }
        said
    }

    /// What checks find of the pod's endpoint, and whether it is excused; `None` = it has none
    /// here, and is a witness alone.
    fn endpoint<'a>(
        &self,
        pod: &PodSight,
        view: &'a View,
        ways: &mut Ways<'a>,
        now: Now,
    ) -> Option<(PathSight, bool)> {
        let theirs = |t: &&AccountTarget| t.account == pod.account && t.instance == pod.instance;
        let mut targets = view.targets.iter().map(|seen| &seen.target).filter(theirs);
        let first = targets.next()?;
        let excused =
            self.is_excused(first, now) || targets.any(|target| self.is_excused(target, now));
        let key = (&first.account, &first.instance);
        let by_vantage = ways.0.remove(&key).unwrap_or_default();
        let mut sight = PathSight::default();
        for way in by_vantage.into_values() {
            let since = way
                .down_since
                .map(|since| now.tick.before(view.at.since(since)));
            sight.add(way.verdict, since);
        }
        Some((sight, excused))
    }

    fn is_excused(&self, target: &AccountTarget, now: Now) -> bool {
        let told = target.excuse.as_ref().is_some_and(|e| now.wall < e.until);
        let mut windows = self.maintenance.iter();
        told || windows.any(|w| w.covers(&target.account, &target.node, now.wall))
    }
}

/// What one client vantage finds of one instance.
#[derive(Debug, Clone, Copy)]
struct Way {
    verdict: Verdict,
    down_since: Option<Timestamp>,
}

/// TCP and HTTP.
type ByLayer = (Option<Way>, Option<Way>);

/// What client vantages find of every instance, by whichever endpoint reaches it.
struct Ways<'a>(BTreeMap<(&'a Account, &'a Instance), BTreeMap<&'a Vantage, Way>>);

impl<'a> Ways<'a> {
    fn of(view: &'a View) -> Self {
        let mut layers: BTreeMap<(&Subject, &Vantage), ByLayer> = BTreeMap::new();
        for path in &view.paths {
            let key = &path.key;
            if !key.vantage.is_witness() || !matches!(key.subject, Subject::Account(..)) {
                continue;
            }
            let both = layers.entry((&key.subject, &key.vantage)).or_default();
            let way = Some(Way {
                verdict: path.verdict,
                down_since: path.down_since,
            });
            match key.layer {
                Layer::Tcp => both.0 = way,
                Layer::Http => both.1 = way,
                _ => {}
            }
        }
        let mut ways: BTreeMap<_, BTreeMap<&Vantage, Way>> = BTreeMap::new();
        for ((subject, vantage), (tcp, http)) in layers {
            let (Subject::Account(account, instance, _), Some(tcp)) = (subject, tcp) else {
                continue;
            };
            // As a build feels it: TCP, and HTTP where TCP is fine.
            let way = match http {
                Some(http) if tcp.verdict.is_reached() && http.verdict.is_missing() => http,
                _ => tcp,
            };
            let by_vantage = ways.entry((account, instance)).or_default();
            let known = by_vantage.entry(vantage).or_insert(way);
            if way.verdict.is_reached() {
                *known = way;
            }
        }
        Self(ways)
    }
}

/// Keeps what was found of an account while its numbers say nothing.
fn hold(found: &mut Vec<Diagnosis>, seen: &Correlation, view: &View, now: Now) {
    let said: BTreeSet<&str> = found.iter().map(|d| d.fault.as_label()).collect();
    let held: Vec<Diagnosis> = view
        .open
        .iter()
        .filter(|f| f.account.as_ref() == Some(&seen.account) && f.node == seen.node)
        .filter(|f| OWN.contains(&f.fault) && !said.contains(f.fault.as_label()))
        .map(|f| again(f, view, now))
        .collect();
    found.extend(held);
}

/// The diagnosis that `finding` was last told by.
fn again(finding: &Finding, view: &View, now: Now) -> Diagnosis {
    let named = Named {
        fault: finding.fault,
        severity: finding.severity,
        confidence: finding.confidence,
    };
    let since = now.tick.before(view.at.since(finding.started_at));
    let subject = finding.identity.subject.as_str();
    let mut diagnosis = Diagnosis::new(finding.identity.blame, subject, named, since);
    diagnosis.summary.clone_from(&finding.summary);
    diagnosis.evidence.clone_from(&finding.evidence);
    diagnosis.missing.clone_from(&finding.missing);
    diagnosis.node.clone_from(&finding.node);
    diagnosis.account.clone_from(&finding.account);
    diagnosis.accounts.clone_from(&finding.accounts);
    diagnosis
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
