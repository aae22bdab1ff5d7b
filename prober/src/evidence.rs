//! What the checks saw, gathered between two reports and folded into runs. Pure.
//!
//! Results come in the order in which they become known; a report tells them in the order in
//! which their checks started. Units are shared by the queues of all exporters.

use core::ops::Bound;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pnwatch_core::link::Mac;
use pnwatch_core::outcome::{Layer, Outcome};
use pnwatch_core::schedule::CheckId;
use pnwatch_core::subject::Subject;
use pnwatch_core::time::Tick;
use pnwatch_core::wire::{MAX_RUNS, MAX_SAMPLES, MAX_VMS, PathReport, ReadyReport, Run};
use pnwatch_core::witness::LargeRead;

use crate::link::micros;
use crate::relay::evidence::FoldedVm;

/// One or more equal outcomes.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What was seen.
    pub outcome: Outcome,
    /// How often.
    pub count: u32,
    /// Start of the first.
    pub first: Tick,
    /// Start of the last.
    pub last: Tick,
    /// Round trip by the program's clock.
    pub rtt: Option<Duration>,
    /// Round trip by the kernel's clock.
    pub kernel_rtt: Option<Duration>,
}

impl Entry {
    /// One outcome without a round trip.
    pub fn plain(outcome: Outcome, start: Tick) -> Self {
        Self {
            outcome,
            count: 1,
            first: start,
            last: start,
            rtt: None,
            kernel_rtt: None,
        }
    }
}

/// Most paths in one report: at the longest names it stays below
/// [`pnwatch_core::wire::MAX_REPORT_BYTES`]. What is more goes in several reports.
pub const PATHS_PER_REPORT: usize = 5000;

/// Paths that are folded at once: some two milliseconds, which no check is late by.
pub const PART: usize = 2000;

/// Results of one path between two reports, as long as it is in no burst.
const SELDOM_MORE: usize = 2;

#[derive(Debug)]
struct Gathered {
    subject: Arc<Subject>,
    /// Emptied by each report, kept for its memory.
    entries: Vec<Entry>,
    mac: Option<Mac>,
}

/// What `/ready` said, and when.
#[derive(Debug, Clone)]
pub struct ReadySeen {
    /// Of which target.
    pub subject: Arc<Subject>,
    /// It said ready.
    pub ready: bool,
    /// It said draining.
    pub draining: bool,
    /// Start of the check.
    pub at: Tick,
}

/// What a read of many segments saw, and when.
#[derive(Debug, Clone)]
pub struct LargeSeen {
    /// Of which target.
    pub subject: Arc<Subject>,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes of the body that arrived.
    pub bytes: u64,
    /// Failures in a row, this one included.
    pub misses: u32,
    /// Start of the check.
    pub at: Tick,
}

/// Everything since the last report.
#[derive(Debug, Default)]
pub struct Gathering {
    paths: BTreeMap<(CheckId, Layer), Gathered>,
    ready: BTreeMap<CheckId, ReadySeen>,
    large: BTreeMap<CheckId, LargeSeen>,
    /// The last path that was told, where others wait for their turn.
    told: Option<(CheckId, Layer)>,
}

impl Gathering {
    /// Takes one result in.
    pub fn add(
        &mut self,
        (id, layer): (CheckId, Layer),
        subject: &Arc<Subject>,
        entry: Entry,
        mac: Option<Mac>,
    ) {
        let path = self.paths.entry((id, layer)).or_insert_with(|| Gathered {
            subject: subject.clone(),
            entries: Vec::new(),
            mac: None,
        });
        path.mac = mac.or(path.mac);
        if path.entries.len() == path.entries.capacity() && path.entries.len() < SELDOM_MORE {
            // A check a second needs room for one or two, thousands of times.
            path.entries.reserve_exact(1);
        }
        path.entries.push(entry);
    }

    /// Keeps memory only for checks for which `planned` holds; what they saw is told all the same.
    pub fn retain(&mut self, planned: impl Fn(CheckId) -> bool) {
        self.paths
            .retain(|(id, _), path| planned(*id) || !path.entries.is_empty());
    }

    /// Takes an answer of `/ready` in; the newest per target is told.
    pub fn ready(&mut self, id: CheckId, seen: ReadySeen) {
        self.ready.insert(id, seen);
    }

    /// Takes a read of many segments in; the newest per target is told.
    pub fn large(&mut self, id: CheckId, seen: LargeSeen) {
        self.large.insert(id, seen);
    }

    /// Folds everything into a unit and starts anew.
    pub fn fold(&mut self, now: Tick) -> Unit {
        self.told = None;
        let paths = self.paths.iter_mut().filter_map(folded).collect();
        self.unit(now, paths)
    }

    /// Folds the next [`PART`] of the paths, in turn.
    pub fn fold_part(&mut self, now: Tick) -> Unit {
        let from = self.told.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.paths.range_mut((from, Bound::Unbounded));
        let mut last = None;
        let part = rest.by_ref().take(PART);
        let part = part.inspect(|(key, _)| last = Some(**key));
        let paths = part.filter_map(folded).collect();
        self.told = rest.next().and(last);
        self.unit(now, paths)
    }

    /// How many times [`Gathering::fold_part`] tells every path once.
    pub fn parts(&self) -> u32 {
        let parts = self.paths.len().div_ceil(PART).max(1);
        u32::try_from(parts).unwrap_or(u32::MAX)
    }

    fn unit(&mut self, at: Tick, paths: Vec<FoldedPath>) -> Unit {
        Unit {
            at,
            paths,
            ready: core::mem::take(&mut self.ready).into_values().collect(),
            large: core::mem::take(&mut self.large).into_values().collect(),
            vms: Vec::new(),
        }
    }
}

/// What one path saw, if it saw anything; it starts anew.
fn folded(((_, layer), path): (&(CheckId, Layer), &mut Gathered)) -> Option<FoldedPath> {
    (!path.entries.is_empty()).then(|| FoldedPath {
        subject: path.subject.clone(),
        layer: *layer,
        runs: runs(&mut path.entries),
        mac: path.mac.take(),
    })
}

/// Consecutive equal outcomes of one path, by start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickRun {
    outcome: Outcome,
    count: u32,
    first: Tick,
    last: Tick,
    rtt_us: Vec<u32>,
    kernel_rtt_us: Vec<u32>,
}

#[derive(Debug, Clone)]
struct FoldedPath {
    subject: Arc<Subject>,
    layer: Layer,
    runs: Vec<TickRun>,
    mac: Option<Mac>,
}

/// The evidence of one report.
#[derive(Debug, Clone)]
pub struct Unit {
    /// When it was folded.
    pub at: Tick,
    paths: Vec<FoldedPath>,
    ready: Vec<ReadySeen>,
    large: Vec<LargeSeen>,
    /// Of the VMs behind this host.
    pub vms: Vec<FoldedVm>,
}

/// Folds `entries`, and empties them.
fn runs(entries: &mut Vec<Entry>) -> Vec<TickRun> {
    entries.sort_by_key(|entry| entry.first);
    let mut runs: Vec<TickRun> = Vec::new();
    for entry in entries.drain(..) {
        // Beyond the wire's bound the last run takes the rest in, as unequal as it may be less
        // harmful than a report that is refused: only bursts over many seconds get there.
        let full = runs.len() >= MAX_RUNS;
        match runs.last_mut() {
            Some(run) if run.outcome == entry.outcome => run.take(&entry),
            Some(_) if full => {}
            _ => {
                let mut run = TickRun {
                    outcome: entry.outcome,
                    count: 0,
                    first: entry.first,
                    last: entry.first,
                    rtt_us: Vec::new(),
                    kernel_rtt_us: Vec::new(),
                };
                run.take(&entry);
                // One is what nearly every path has.
                runs.reserve_exact(usize::from(runs.is_empty()));
                runs.push(run);
            }
        }
    }
    runs
}

impl TickRun {
    fn take(&mut self, entry: &Entry) {
        self.count = self.count.saturating_add(entry.count.max(1));
        self.last = self.last.max(entry.last);
        for (samples, rtt) in [
            (&mut self.rtt_us, entry.rtt),
            (&mut self.kernel_rtt_us, entry.kernel_rtt),
        ] {
            if let Some(rtt) = rtt
                && samples.len() < MAX_SAMPLES
            {
                samples.push(u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
            }
        }
    }

    fn told(&self, now: Tick) -> Run {
        let first_age_us = micros(now.since(self.first));
        Run {
            outcome: self.outcome,
            count: self.count,
            first_age_us,
            last_age_us: micros(now.since(self.last)).min(first_age_us),
            rtt_us: self.rtt_us.clone(),
            kernel_rtt_us: self.kernel_rtt_us.clone(),
        }
    }
}

impl FoldedPath {
    /// A run that follows: an equal one goes on.
    fn extend(&mut self, run: &TickRun) {
        match self.runs.last_mut() {
            Some(last) if last.outcome == run.outcome && last.last <= run.first => {
                last.count = last.count.saturating_add(run.count);
                last.last = last.last.max(run.last);
                for (samples, more) in [
                    (&mut last.rtt_us, &run.rtt_us),
                    (&mut last.kernel_rtt_us, &run.kernel_rtt_us),
                ] {
                    let room = MAX_SAMPLES.saturating_sub(samples.len());
                    samples.extend(more.iter().take(room));
                }
            }
            _ => self.runs.push(run.clone()),
        }
    }
}

impl Unit {
    /// The paths as they are told at `now`.
    pub fn paths(&self, now: Tick) -> Vec<PathReport> {
        let told = |path: &FoldedPath| PathReport {
            subject: (*path.subject).clone(),
            layer: path.layer,
            runs: path.runs.iter().map(|run| run.told(now)).collect(),
            mac: path.mac,
        };
        self.paths.iter().map(told).collect()
    }

    /// The answers of `/ready` as they are told at `now`.
    pub fn ready(&self, now: Tick) -> Vec<ReadyReport> {
        let told = |seen: &ReadySeen| ReadyReport {
            subject: (*seen.subject).clone(),
            ready: seen.ready,
            draining: seen.draining,
            age_us: micros(now.since(seen.at)),
        };
        self.ready.iter().map(told).collect()
    }

    /// The reads of many segments as they are told at `now`.
    pub fn large(&self, now: Tick) -> Vec<LargeRead> {
        let told = |seen: &LargeSeen| LargeRead {
            subject: (*seen.subject).clone(),
            outcome: seen.outcome,
            bytes: seen.bytes,
            misses: seen.misses,
            age_us: micros(now.since(seen.at)),
        };
        self.large.iter().map(told).collect()
    }

    /// How many paths it tells of, its VMs' too.
    pub fn len(&self) -> usize {
        self.paths.len() + self.vms.iter().map(FoldedVm::len).sum::<usize>()
    }

    /// Whether it tells of no path.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many outcomes it holds.
    pub fn outcomes(&self) -> u64 {
        let runs = self.paths.iter().flat_map(|path| &path.runs);
        let own: u64 = runs.map(|run| u64::from(run.count)).sum();
        own + self.vms.iter().map(FoldedVm::outcomes).sum::<u64>()
    }

    /// In parts that fit into one report each; at least one, also of nothing.
    pub fn split(mut self) -> Vec<Self> {
        let at = self.at;
        let mut parts = Vec::new();
        while self.paths.len().max(self.ready.len()).max(self.large.len()) > PATHS_PER_REPORT {
            let keep = |len: usize| len.saturating_sub(PATHS_PER_REPORT);
            let (paths, ready) = (keep(self.paths.len()), keep(self.ready.len()));
            let large = keep(self.large.len());
            parts.push(Self {
                at,
                paths: self.paths.split_off(paths),
                ready: self.ready.split_off(ready),
                large: self.large.split_off(large),
                vms: Vec::new(),
            });
        }
        parts.push(self);
        parts
    }

    /// Without successes: what is dropped first when there is no room at all.
    #[must_use]
    pub fn without_successes(&self) -> Self {
        let mut rest = self.clone();
        for path in &mut rest.paths {
            path.runs.retain(|run| run.outcome != Outcome::Reached);
        }
        rest.paths.retain(|path| !path.runs.is_empty());
        for vm in &mut rest.vms {
            vm.shed_successes();
        }
        rest
    }

    /// Successes as counts per path alone, everything else whole: what is kept for long.
    #[must_use]
    pub fn folded(&self) -> Self {
        let mut rest = self.clone();
        for run in rest.paths.iter_mut().flat_map(|path| &mut path.runs) {
            if run.outcome == Outcome::Reached {
                run.rtt_us = Vec::new();
                run.kernel_rtt_us = Vec::new();
            }
        }
        for vm in &mut rest.vms {
            vm.shed_samples();
        }
        rest
    }

    /// Takes the unit that follows in; `false` = it has no room, and nothing changed.
    pub fn join(&mut self, next: &Self) -> bool {
        let mut places = BTreeMap::new();
        for (place, path) in self.paths.iter().enumerate() {
            places.insert((Arc::clone(&path.subject), path.layer), place);
        }
        let place = |path: &FoldedPath| places.get(&(Arc::clone(&path.subject), path.layer));
        let fits = next.paths.iter().all(|path| {
            let there = place(path).and_then(|place| self.paths.get(*place));
            there.is_none_or(|there| there.runs.len() + path.runs.len() <= MAX_RUNS)
        });
        let room = |one: usize, other: usize| one + other <= PATHS_PER_REPORT;
        let fits = fits
            && room(self.weight(), next.weight())
            && room(self.ready.len(), next.ready.len())
            && room(self.large.len(), next.large.len());
        if !fits {
            return false;
        }
        let Some(vms) = joined(&self.vms, &next.vms) else {
            return false;
        };
        self.vms = vms;
        for path in &next.paths {
            match place(path).and_then(|place| self.paths.get_mut(*place)) {
                Some(there) => {
                    for run in &path.runs {
                        there.extend(run);
                    }
                    there.mac = path.mac.or(there.mac);
                }
                None => self.paths.push(path.clone()),
            }
        }
        let told: BTreeSet<_> = next.ready.iter().map(|seen| &seen.subject).collect();
        self.ready.retain(|old| !told.contains(&old.subject));
        self.ready.extend(next.ready.iter().cloned());
        let told: BTreeSet<_> = next.large.iter().map(|seen| &seen.subject).collect();
        self.large.retain(|old| !told.contains(&old.subject));
        self.large.extend(next.large.iter().cloned());
        self.at = next.at;
        true
    }

    /// How much of a report it fills, in paths of one run.
    pub(crate) fn weight(&self) -> usize {
        let runs = self.paths.iter().flat_map(|path| &path.runs);
        let own: usize = runs
            .map(|run| 1 + (run.rtt_us.len() + run.kernel_rtt_us.len()) / 32)
            .sum();
        own + self.vms.iter().map(FoldedVm::weight).sum::<usize>()
    }
}

/// What VMs told before and after, in one; `None` = there is no room, or a slot has another VM.
fn joined(before: &[FoldedVm], after: &[FoldedVm]) -> Option<Vec<FoldedVm>> {
    let mut all = before.to_vec();
    for vm in after {
        match all.iter_mut().find(|there| there.is_in_slot_of(vm)) {
            Some(there) => there.join(vm).then_some(())?,
            None => all.push(vm.clone()),
        }
    }
    (all.len() <= MAX_VMS).then_some(all)
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
