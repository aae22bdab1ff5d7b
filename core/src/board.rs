//! Where evidence lies: the newest state of every vantage and path, as reports brought it.
//!
//! Taking a report in mutates; every question is asked with `now` and mutates nothing.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::filter::FilterFacts;
use crate::link::{Cidr, LinkFacts, Mac};
use crate::name::Vantage;
use crate::outcome::{Blind, Layer, Outcome};
use crate::path::{Limits, Observation, PathState, Verdict};
use crate::subject::{PathKey, Subject};
use crate::time::{Now, Tick};
use crate::wire::{Counter, DeviceReport, PathReport, Report};
use crate::witness::{LargeRead, WitnessReport};

mod tally;
pub use tally::{SKEW, Tally};

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

/// Most boots of one vantage, and most vantages, whose history is known by its numbers.
const MAX_BOOTS: usize = 8;
const MAX_HISTORIES: usize = 4096;

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
    /// Newer evidence of it is still on its way.
    pub behind: bool,
    boot_id: String,
    seq: u64,
    /// Its PN leg, and since when it has been like that.
    pub link: Option<(LinkFacts, Tick)>,
    /// When the rules of its packet filter were first told as they are.
    pub filter_since: Option<Tick>,
    /// When the link facts were last told.
    pub link_told: Tick,
    /// Its own counters.
    pub counters: Vec<Counter>,
    /// Its network devices.
    pub devices: Vec<DeviceReport>,
    /// What its own packet socket and kernel tables said last, and when.
    pub witness: Option<(WitnessReport, Tick)>,
    /// Its newest connects say that this process is denied the local network.
    pub denied: bool,
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
    paths: BTreeMap<Subject, BTreeMap<Layer, BTreeMap<Vantage, Path>>>,
    /// What misses, from both sides: a healthy network costs its judges nothing.
    missed: BTreeMap<Subject, BTreeSet<(Layer, Vantage)>>,
    missing: BTreeMap<Vantage, BTreeSet<(Layer, Subject)>>,
    /// Paths that were degraded as of their last report.
    lossy: BTreeSet<(Vantage, Layer, Subject)>,
    ready: BTreeMap<Subject, Ready>,
    /// The newest read of many segments, and when it started.
    large: BTreeMap<Subject, BTreeMap<Vantage, (LargeRead, Tick)>>,
    /// The newest number of history per vantage and boot, the newest boot last.
    history: BTreeMap<Vantage, VecDeque<(String, u64)>>,
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
            return self.note_history(report);
        }
        if !self.note_vantage(report, now.tick) {
            return Applied::Duplicate;
        }
        for path in &report.paths {
            self.note_path(&report.vantage, path, now.tick);
        }
        self.note_denial(report);
        for read in &report.large {
            let at = now.tick.before(Duration::from_micros(read.age_us));
            let of = self.large.entry(read.subject.clone()).or_default();
            of.insert(report.vantage.clone(), (read.clone(), at));
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

    /// History is counted once: a report whose answer was lost comes again.
    fn note_history(&mut self, report: &Report) -> Applied {
        if !self.history.contains_key(&report.vantage) && self.history.len() >= MAX_HISTORIES {
            return Applied::History;
        }
        let boots = self.history.entry(report.vantage.clone()).or_default();
        if let Some((_, seq)) = boots.iter_mut().find(|(boot, _)| *boot == report.boot_id) {
            if report.seq <= *seq {
                return Applied::Duplicate;
            }
            *seq = report.seq;
            return Applied::History;
        }
        boots.push_back((report.boot_id.clone(), report.seq));
        if boots.len() > MAX_BOOTS {
            boots.pop_front();
        }
        Applied::History
    }

    fn note_vantage(&mut self, report: &Report, now: Tick) -> bool {
        let sight = self
            .vantages
            .entry(report.vantage.clone())
            .or_insert_with(|| Sight {
                last_report: now,
                heard_since: now,
                stopping: false,
                behind: false,
                boot_id: String::new(),
                seq: 0,
                link: None,
                filter_since: None,
                link_told: now,
                counters: Vec::new(),
                devices: Vec::new(),
                witness: None,
                denied: false,
            });
        if sight.boot_id == report.boot_id && report.seq <= sight.seq {
            return false;
        }
        if now.since(sight.last_report) > self.limits.stale {
            sight.heard_since = now;
        }
        let another_vm = matches!(report.vantage, Vantage::Vm(..))
            && !sight.boot_id.is_empty()
            && sight.boot_id != report.boot_id;
        sight.boot_id.clone_from(&report.boot_id);
        sight.seq = report.seq;
        sight.last_report = now;
        sight.stopping = report.stopping;
        sight.behind = report.behind;
        if let Some(link) = &report.link {
            let before = sight.link.as_ref().and_then(|(f, _)| f.filter.as_ref());
            let filter = link.facts.filter.as_ref();
            if before.map(FilterFacts::rules) != filter.map(FilterFacts::rules) {
                sight.filter_since = Some(now);
            }
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
        if let Some(witness) = &report.witness {
            sight.witness = Some((witness.clone(), now));
        }
        if another_vm {
            self.forget_paths(&report.vantage);
        }
        true
    }

    /// Another VM has the slot: what the one before it saw says nothing of this one.
    fn forget_paths(&mut self, vantage: &Vantage) {
        for layers in self.paths.values_mut() {
            for paths in layers.values_mut() {
                paths.remove(vantage);
            }
        }
        for (layer, subject) in self.missing.remove(vantage).unwrap_or_default() {
            note(&mut self.missed, &subject, (layer, vantage), false);
        }
    }

    fn note_path(&mut self, vantage: &Vantage, seen: &PathReport, now: Tick) {
        let path = self
            .paths
            .entry(seen.subject.clone())
            .or_default()
            .entry(seen.layer)
            .or_default()
            .entry(vantage.clone())
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
        let verdict = path.state.verdict_at(now, &self.limits);
        if verdict == Verdict::Degraded || !self.lossy.is_empty() {
            let key = (vantage.clone(), seen.layer, seen.subject.clone());
            if verdict == Verdict::Degraded {
                self.lossy.insert(key);
            } else {
                self.lossy.remove(&key);
            }
        }
        path.down_seen = match verdict {
            Verdict::Down => path.down_seen.or(Some(now)),
            _ => None,
        };
        let missing = path.state.missing_since().is_some();
        note(
            &mut self.missed,
            &seen.subject,
            (seen.layer, vantage),
            missing,
        );
        note(
            &mut self.missing,
            vantage,
            (seen.layer, &seen.subject),
            missing,
        );
    }

    fn note_denial(&mut self, report: &Report) {
        let denied = Outcome::Unmeasured(Blind::LocalNetworkDenied);
        let mut connects = report
            .paths
            .iter()
            .filter(|p| p.layer == Layer::Tcp)
            .filter_map(|p| p.runs.last())
            .peekable();
        if connects.peek().is_none() {
            return;
        }
        let any = connects.any(|run| run.outcome == denied);
        if let Some(sight) = self.vantages.get_mut(&report.vantage) {
            sight.denied = any;
        }
    }

    /// Forgets what is neither planned nor reported any more.
    pub fn retain(
        &mut self,
        vantage: impl Fn(&Vantage, &Sight) -> bool,
        subject: impl Fn(&Subject, &BTreeMap<Vantage, Sight>) -> bool,
    ) {
        self.vantages.retain(|v, sight| vantage(v, sight));
        let vantages = &self.vantages;
        self.paths.retain(|s, layers| {
            layers.retain(|_, paths| {
                paths.retain(|v, _| vantages.contains_key(v));
                !paths.is_empty()
            });
            !layers.is_empty() && subject(s, vantages)
        });
        let paths = &self.paths;
        let known = |s: &Subject, l: Layer, v: &Vantage| {
            paths
                .get(s)
                .and_then(|layers| layers.get(&l))
                .is_some_and(|p| p.contains_key(v))
        };
        self.missed.retain(|s, by| {
            by.retain(|(l, v)| known(s, *l, v));
            !by.is_empty()
        });
        self.missing.retain(|v, of| {
            of.retain(|(l, s)| known(s, *l, v));
            !of.is_empty()
        });
        self.lossy.retain(|(v, l, s)| known(s, *l, v));
        self.ready.retain(|s, _| subject(s, vantages));
        self.large.retain(|s, by| {
            by.retain(|v, _| vantages.contains_key(v));
            !by.is_empty() && subject(s, vantages)
        });
    }

    /// Whether anybody misses `subject` at any layer, as of the last report.
    pub fn is_missed(&self, subject: &Subject) -> bool {
        self.missed.contains_key(subject)
    }

    /// What `vantage` misses, as of its last report.
    pub fn missing_of(&self, vantage: &Vantage) -> impl Iterator<Item = (Layer, &Subject)> {
        let of = self.missing.get(vantage).into_iter().flatten();
        of.map(|(layer, subject)| (*layer, subject))
    }

    /// Whether any path was degraded as of its last report.
    pub fn is_lossy(&self) -> bool {
        !self.lossy.is_empty()
    }

    /// Paths that were degraded as of their last report.
    pub fn lossy_paths(&self) -> impl Iterator<Item = (&Vantage, &Subject)> {
        self.lossy
            .iter()
            .map(|(vantage, _, subject)| (vantage, subject))
    }

    /// Who misses anything, as of the last reports.
    pub fn missing_vantages(&self) -> impl Iterator<Item = &Vantage> {
        self.missing.keys()
    }

    /// The thresholds of the paths.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Every vantage that ever reported and is not forgotten.
    pub fn vantages(&self) -> &BTreeMap<Vantage, Sight> {
        &self.vantages
    }

    /// Whether `vantage` reported within the stale time, has not said goodbye, and has told all
    /// that it knows.
    pub fn is_reporting(&self, vantage: &Vantage, now: Tick) -> bool {
        let current = |s: &Sight| !s.stopping && !s.behind;
        self.vantages
            .get(vantage)
            .is_some_and(|s| current(s) && now.since(s.last_report) <= self.limits.stale)
    }

    /// Whether `vantage` reports, and told of its own leg within the stale time.
    pub fn tells_link(&self, vantage: &Vantage, now: Tick) -> bool {
        let sight = self.vantages.get(vantage);
        let told = sight.is_some_and(|s| now.since(s.link_told) <= self.limits.stale);
        told && self.is_reporting(vantage, now)
    }

    /// Whether `vantage` reported within one report's time, so that a miss would be known.
    fn told_lately(&self, vantage: &Vantage, now: Tick) -> bool {
        self.vantages
            .get(vantage)
            .is_some_and(|s| now.since(s.last_report) <= TOLD_LATELY)
    }

    /// One path.
    pub fn path(&self, vantage: &Vantage, subject: &Subject, layer: Layer) -> Option<&Path> {
        self.paths.get(subject)?.get(&layer)?.get(vantage)
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
            .and_then(|layers| layers.get(&layer))
            .into_iter()
            .flatten()
    }

    /// All paths.
    pub fn paths(&self) -> impl Iterator<Item = (PathKey, &Path)> {
        self.paths.iter().flat_map(|(subject, layers)| {
            layers.iter().flat_map(move |(layer, paths)| {
                paths.iter().map(move |(vantage, path)| {
                    let key = PathKey {
                        vantage: vantage.clone(),
                        subject: subject.clone(),
                        layer: *layer,
                    };
                    (key, path)
                })
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

    /// The newest reads of many segments from `subject`, and when each started.
    pub fn large<'a>(
        &'a self,
        subject: &Subject,
    ) -> impl Iterator<Item = (&'a Vantage, &'a LargeRead, Tick)> {
        let by = self.large.get(subject).into_iter().flatten();
        by.map(|(vantage, (read, at))| (vantage, read, *at))
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
        self.vantages.get(vantage).is_some_and(|s| s.denied)
    }
}

/// Puts `value` into the set at `key`, or takes it out, without copies where nothing changes.
fn note<K: Ord + Clone, V: Ord + Clone>(
    index: &mut BTreeMap<K, BTreeSet<(Layer, V)>>,
    key: &K,
    (layer, value): (Layer, &V),
    present: bool,
) {
    if present {
        if !index.contains_key(key) {
            index.insert(key.clone(), BTreeSet::new());
        }
        if let Some(set) = index.get_mut(key) {
            set.insert((layer, value.clone()));
        }
    } else if let Some(set) = index.get_mut(key) {
        set.remove(&(layer, value.clone()));
        if set.is_empty() {
            index.remove(key);
        }
    }
}

fn between(first: Tick, last: Tick, step: u32, steps: u32) -> Tick {
    if steps < 2 {
        return last;
    }
    first.after(last.since(first) / (steps - 1) * step)
}
