//! Where evidence lies: the newest state of every vantage and path, as reports brought it.
//!
//! Taking a report in mutates; every question is asked with `now` and mutates nothing.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::BTreeMap;

use crate::link::{Cidr, LinkFacts, Mac};
use crate::name::Vantage;
use crate::outcome::{Blind, Layer, Outcome};
use crate::path::{Limits, Observation, PathState, Verdict};
use crate::subject::{PathKey, Subject};
use crate::time::{Now, Tick};
use crate::wire::{Counter, DeviceReport, PathReport, Report};

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It was newer than what was known, and counts.
    Fresh,
    /// Same boot, sequence number not newer: ignored.
    Duplicate,
    /// Evidence from before a restart: counted, never judged by.
    History,
    /// For another private network: ignored.
    WrongCluster,
}

/// Most observations unfolded from one run; a run says no more with more of them.
const MAX_UNFOLDED: u32 = 64;

/// One report each second, and half a second for its way.
const TOLD_LATELY: Duration = Duration::from_millis(1500);

/// What is known of one vantage.
#[derive(Debug, Clone)]
pub struct Sight {
    /// When its last report came.
    pub last_report: Tick,
    /// When it was last newly heard after silence (or first of all).
    pub heard_since: Tick,
    /// It said that it stops.
    pub stopping: bool,
    boot_id: String,
    seq: u64,
    /// Its PN leg, and since when it has been like that.
    pub link: Option<(LinkFacts, Tick)>,
    /// When the link facts were last told.
    pub link_told: Tick,
    /// Its own counters.
    pub counters: Vec<Counter>,
    /// Its network devices.
    pub devices: Vec<DeviceReport>,
}

/// What is known of one path.
#[derive(Debug, Clone, Default)]
pub struct Path {
    /// Its checks.
    pub state: PathState,
    /// The MAC that answered last.
    pub mac: Option<Mac>,
    /// Last round trip, microseconds.
    pub rtt_us: Option<u32>,
    /// When this engine first knew it down.
    pub down_seen: Option<Tick>,
}

/// What `/ready` said last.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// It said draining.
    pub draining: bool,
    /// When.
    pub at: Tick,
}

/// The newest state of everything.
#[derive(Debug, Clone, Default)]
pub struct Board {
    limits: Limits,
    vantages: BTreeMap<Vantage, Sight>,
    paths: BTreeMap<Subject, BTreeMap<(Layer, Vantage), Path>>,
    ready: BTreeMap<Subject, Ready>,
}

/// Who reaches a subject, who does not, and who cannot tell yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Vantages with a success that started after the onset.
    pub reached: Vec<Vantage>,
    /// Vantages that miss it and had no success since the onset.
    pub missing: Vec<Vantage>,
    /// How many of the missing are `Down`.
    pub down: usize,
    /// Vantages that report and have told of no miss, but of no success since the onset
    /// either. A miss is told at once: past the naming wait their quiet means success.
    pub quiet: Vec<Vantage>,
    /// Start of the first miss.
    pub onset: Option<Tick>,
    /// When the first `Down` was known.
    pub down_seen: Option<Tick>,
    /// Newest evidence of all.
    pub newest: Option<Tick>,
}

impl Board {
    /// An empty board.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes a report in.
    pub fn apply(&mut self, report: &Report, now: Now) -> Applied {
        if report.history {
            return Applied::History;
        }
        if !self.note_vantage(report, now.tick) {
            return Applied::Duplicate;
        }
        for path in &report.paths {
            self.note_path(&report.vantage, path, now.tick);
        }
        for ready in &report.ready {
            let seen = Ready {
                draining: ready.draining,
                at: now.tick.before(Duration::from_micros(ready.age_us)),
            };
            let entry = self.ready.entry(ready.subject.clone()).or_insert(seen);
            if entry.at <= seen.at {
                *entry = seen;
            }
        }
        Applied::Fresh
    }

    fn note_vantage(&mut self, report: &Report, now: Tick) -> bool {
        let sight = self
            .vantages
            .entry(report.vantage.clone())
            .or_insert_with(|| Sight {
                last_report: now,
                heard_since: now,
                stopping: false,
                boot_id: String::new(),
                seq: 0,
                link: None,
                link_told: now,
                counters: Vec::new(),
                devices: Vec::new(),
            });
        if sight.boot_id == report.boot_id && report.seq <= sight.seq {
            return false;
        }
        if now.since(sight.last_report) > self.limits.stale {
            sight.heard_since = now;
        }
        sight.boot_id.clone_from(&report.boot_id);
        sight.seq = report.seq;
        sight.last_report = now;
        sight.stopping = report.stopping;
        if let Some(link) = &report.link {
            sight.link = Some((
                link.facts.clone(),
                now.before(Duration::from_micros(link.held_us)),
            ));
            sight.link_told = now;
        }
        if !report.counters.is_empty() {
            sight.counters.clone_from(&report.counters);
        }
        if !report.devices.is_empty() {
            sight.devices.clone_from(&report.devices);
        }
        true
    }

    fn note_path(&mut self, vantage: &Vantage, seen: &PathReport, now: Tick) {
        let path = self
            .paths
            .entry(seen.subject.clone())
            .or_default()
            .entry((seen.layer, vantage.clone()))
            .or_default();
        for run in &seen.runs {
            let first = now.before(Duration::from_micros(run.first_age_us));
            let last = now.before(Duration::from_micros(run.last_age_us));
            let steps = run.count.clamp(1, MAX_UNFOLDED);
            for step in 0..steps {
                path.state.observe(
                    Observation {
                        start: between(first, last, step, steps),
                        outcome: run.outcome,
                    },
                    &self.limits,
                );
            }
            if let Some(rtt) = run.rtt_us.last() {
                path.rtt_us = Some(*rtt);
            }
        }
        if seen.mac.is_some() {
            path.mac = seen.mac;
        }
        path.down_seen = match path.state.verdict_at(now, &self.limits) {
            Verdict::Down => path.down_seen.or(Some(now)),
            _ => None,
        };
    }

    /// Forgets what is neither planned nor reported any more.
    pub fn retain(
        &mut self,
        vantage: impl Fn(&Vantage, &Sight) -> bool,
        subject: impl Fn(&Subject) -> bool,
    ) {
        self.vantages.retain(|v, sight| vantage(v, sight));
        let vantages = &self.vantages;
        self.paths.retain(|s, paths| {
            paths.retain(|(_, v), _| vantages.contains_key(v));
            !paths.is_empty() && subject(s)
        });
        self.ready.retain(|s, _| subject(s));
    }

    /// The thresholds of the paths.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Every vantage that ever reported and is not forgotten.
    pub fn vantages(&self) -> &BTreeMap<Vantage, Sight> {
        &self.vantages
    }

    /// Whether `vantage` reported within the stale time and has not said goodbye.
    pub fn is_reporting(&self, vantage: &Vantage, now: Tick) -> bool {
        self.vantages
            .get(vantage)
            .is_some_and(|s| !s.stopping && now.since(s.last_report) <= self.limits.stale)
    }

    /// Whether `vantage` reported within one report's time, so that a miss would be known.
    fn told_lately(&self, vantage: &Vantage, now: Tick) -> bool {
        self.vantages
            .get(vantage)
            .is_some_and(|s| now.since(s.last_report) <= TOLD_LATELY)
    }

    /// One path.
    pub fn path(&self, vantage: &Vantage, subject: &Subject, layer: Layer) -> Option<&Path> {
        self.paths.get(subject)?.get(&(layer, vantage.clone()))
    }

    /// The verdict of one path; `Unknown` if there is none.
    pub fn verdict(
        &self,
        vantage: &Vantage,
        subject: &Subject,
        layer: Layer,
        now: Tick,
    ) -> Verdict {
        self.path(vantage, subject, layer)
            .map_or(Verdict::Unknown, |p| p.state.verdict_at(now, &self.limits))
    }

    /// All paths to `subject` at `layer`.
    pub fn paths_to<'a>(
        &'a self,
        subject: &Subject,
        layer: Layer,
    ) -> impl Iterator<Item = (&'a Vantage, &'a Path)> {
        self.paths
            .get(subject)
            .into_iter()
            .flatten()
            .filter(move |((l, _), _)| *l == layer)
            .map(|((_, v), p)| (v, p))
    }

    /// All paths.
    pub fn paths(&self) -> impl Iterator<Item = (PathKey, &Path)> {
        self.paths.iter().flat_map(|(subject, paths)| {
            paths.iter().map(move |((layer, vantage), path)| {
                let key = PathKey {
                    vantage: vantage.clone(),
                    subject: subject.clone(),
                    layer: *layer,
                };
                (key, path)
            })
        })
    }

    /// What `/ready` said of `subject`, if it said so within `age`.
    pub fn ready(&self, subject: &Subject, now: Tick, age: Duration) -> Option<Ready> {
        self.ready
            .get(subject)
            .copied()
            .filter(|r| now.since(r.at) <= age)
    }

    /// Who reaches `subject` at `layer` among those for whom `credible` holds.
    ///
    /// `since`: successes must have started after it to count; `None` = after the first miss.
    pub fn tally(
        &self,
        subject: &Subject,
        layer: Layer,
        since: Option<Tick>,
        now: Tick,
        credible: impl Fn(&Vantage) -> bool,
    ) -> Tally {
        let paths: Vec<(&Vantage, &Path, Verdict)> = self
            .paths_to(subject, layer)
            .filter(|(v, _)| credible(v))
            .map(|(v, p)| (v, p, p.state.verdict_at(now, &self.limits)))
            .collect();
        let mut tally = Tally {
            onset: paths
                .iter()
                .filter(|(_, _, verdict)| verdict.is_missing())
                .filter_map(|(_, p, _)| p.state.missing_since())
                .min(),
            down_seen: paths.iter().filter_map(|(_, p, _)| p.down_seen).min(),
            newest: paths.iter().filter_map(|(_, p, _)| p.state.newest()).max(),
            ..Tally::default()
        };
        let onset = since.or(tally.onset);
        for (vantage, path, verdict) in paths {
            match verdict {
                Verdict::Down | Verdict::Suspect => {
                    tally.missing.push(vantage.clone());
                    tally.down += usize::from(verdict == Verdict::Down);
                }
                Verdict::Up | Verdict::Degraded
                    if onset.is_none_or(|o| path.state.last_success() > Some(o)) =>
                {
                    tally.reached.push(vantage.clone());
                }
                Verdict::Up | Verdict::Degraded if self.told_lately(vantage, now) => {
                    tally.quiet.push(vantage.clone());
                }
                _ => {}
            }
        }
        tally
    }

    /// The PN addresses that vantages report.
    pub fn addresses(&self, pn: Cidr) -> BTreeMap<Vantage, Ipv4Addr> {
        self.vantages
            .iter()
            .filter_map(|(v, sight)| {
                let held = sight.link.as_ref()?.0.pn_address(pn)?;
                Some((v.clone(), held.address))
            })
            .collect()
    }

    /// Whether the vantage's newest results say that this process is denied the local network.
    pub fn denied(&self, vantage: &Vantage) -> bool {
        let denied = Outcome::Unmeasured(Blind::LocalNetworkDenied);
        self.paths
            .values()
            .flatten()
            .filter(|((layer, v), _)| v == vantage && *layer == Layer::Tcp)
            .any(|(_, p)| p.state.last().is_some_and(|l| l.outcome == denied))
    }
}

fn between(first: Tick, last: Tick, step: u32, steps: u32) -> Tick {
    if steps < 2 {
        return last;
    }
    first.after(last.since(first) / (steps - 1) * step)
}
