//! One round after another: what is due goes to the engine, what came becomes evidence.
//!
//! The prober's heart without its tasks: everything takes `now`, so that tests drive it with an
//! engine and a clock of their own. Owns the denominator by way of the schedule: every slot ends
//! as one recorded outcome.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use pnwatch_core::burst::{Bursts, Change, Mode, Settings as BurstSettings, while_down};
use pnwatch_core::name::Vantage;
use pnwatch_core::outcome::{Blind, Layer, Outcome};
use pnwatch_core::path::{Limits as PathLimits, Observation, PathState, Verdict};
use pnwatch_core::plan::Plan;
use pnwatch_core::schedule::{Batch, CheckId, Planned, Probe, Schedule, Skipped};
use pnwatch_core::subject::Subject;
use pnwatch_core::time::Tick;

use crate::checklist::{Check, Checklist};
use crate::engine::{Ask, Due, Engine, Limits, Seen, What};
use crate::evidence::{Entry, Gathering, LargeSeen, ReadySeen, Unit};
use crate::link::Leg;

/// A handshake that is unanswered for this long is missed: it covers one SYN retransmit
/// (1 s, RFC 6298).
pub const PATIENCE: Duration = Duration::from_millis(1300);
/// From sweep to sweep of the elected vantage.
pub const SWEEP: Duration = Duration::from_secs(30);
/// What a check of a path that is down leaves of its slot, so that the next finds it done.
const SPARE: Duration = Duration::from_millis(50);

/// Bounds of lateness that checks are counted by, ascending. A check is handed out at the next
/// [`TICK`](crate::agent::TICK), so the first bound is above it.
pub const LATE: [Duration; 4] = [
    Duration::from_millis(12),
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// How the rounds have gone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Checks handed to the engine.
    pub checks: u64,
    /// Slots that passed without a check.
    pub missed_slots: u64,
    /// Checks that were later than each bound of [`LATE`].
    pub later_than: [u64; LATE.len()],
}

/// See the [module](self).
pub struct Rounds<E> {
    engine: E,
    limits: Limits,
    schedule: Schedule,
    bursts: Bursts,
    checklist: Checklist,
    agent: String,
    control: Vec<SocketAddr>,
    control_at: usize,
    own: Vantage,
    sweep_at: Tick,
    large_misses: BTreeMap<CheckId, u32>,
    /// Boxed: a tree has room for half as many again as it holds.
    states: BTreeMap<(CheckId, Layer), Box<PathState>>,
    gathering: Gathering,
    urgent: bool,
    late: Duration,
    tally: Tally,
    // Kept from round to round for their memory.
    batch: Batch,
    due: Vec<Due>,
    seen: Vec<Seen>,
    changes: Vec<Change>,
}

impl<E: Engine> Rounds<E> {
    /// Nothing to check yet. `agent` names us in requests.
    pub fn new(
        engine: E,
        vantage: &Vantage,
        limits: Limits,
        control: Vec<SocketAddr>,
        agent: String,
    ) -> Self {
        Self {
            engine,
            limits,
            schedule: Schedule::new(vantage),
            bursts: Bursts::new(BurstSettings::default()),
            checklist: Checklist::default(),
            agent,
            control,
            control_at: 0,
            own: vantage.clone(),
            sweep_at: Tick::default(),
            large_misses: BTreeMap::new(),
            states: BTreeMap::new(),
            gathering: Gathering::default(),
            urgent: false,
            late: Duration::ZERO,
            tally: Tally::default(),
            batch: Batch::default(),
            due: Vec::new(),
            seen: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Follows these plans from now on; the first wins where they differ.
    pub fn set_plans(&mut self, plans: &[&Plan], now: Tick) {
        self.checklist.rebuild(plans, &self.control, &self.agent);
        let overlap = |check: &Check| overlap(check.probe, check.every, &self.limits);
        let planned = self.checklist.iter().map(|(id, check)| Planned {
            id,
            subject: (*check.subject).clone(),
            probe: check.probe,
            every: check.every,
            overlap: overlap(check),
        });
        self.schedule.set(planned, now);
        // `/ready` and reads of many segments have no part in a burst.
        let members = self.checklist.iter();
        let members = members.filter(|(_, c)| !matches!(c.probe, Probe::Ready | Probe::Large));
        self.bursts
            .set(members.map(|(id, check)| (id, check.group.clone(), check.probe)));
        self.states
            .retain(|(id, _), _| self.checklist.get(*id).is_some());
        self.large_misses
            .retain(|id, _| self.checklist.get(*id).is_some());
        let checklist = &self.checklist;
        self.gathering.retain(|id| checklist.get(id).is_some());
    }

    /// An exporter asks for a burst of what it wants to know now. What is not checked here is
    /// nothing to us.
    pub fn ask(&mut self, subjects: &[Subject], now: Tick) {
        let asked = subjects.iter().filter_map(|subject| {
            let of = |probe| self.checklist.find(subject, probe);
            of(Probe::Connect).or_else(|| of(Probe::Arp))
        });
        let once = self.bursts.ask(asked, now, &mut self.changes);
        for id in once {
            self.schedule.once(id, now);
        }
        self.apply_changes(now);
    }

    /// The PN leg is now this.
    pub fn set_leg(&mut self, leg: &Leg) {
        self.engine.set_leg(leg);
    }

    /// Collects, judges, sends. Slots that passed are recorded as `passed`.
    pub fn step(&mut self, now: Tick, passed: Blind) {
        let mut seen = core::mem::take(&mut self.seen);
        self.engine.drain(now, &mut seen);
        for result in seen.drain(..) {
            self.take(&result, now);
        }
        self.seen = seen;
        self.bursts.expire(now, &mut self.changes);
        self.apply_changes(now);
        if now >= self.sweep_at {
            self.sweep(now);
        }
        let mut batch = core::mem::take(&mut self.batch);
        self.schedule.due(now, &mut batch);
        self.late = self.late.max(batch.late);
        for skipped in &batch.skipped {
            let starved = skipped.late && passed == Blind::Overrun;
            self.skip(skipped, if starved { Blind::Starved } else { passed });
        }
        for due in &batch.due {
            let late = now.since(due.slot);
            for (count, bound) in self.tally.later_than.iter_mut().zip(LATE) {
                *count += u64::from(late > bound);
            }
            self.prepare(due.id, due.slot, now);
        }
        self.batch = batch;
        self.tally.checks += self.due.len() as u64;
        self.engine.submit(&self.due);
        self.due.clear();
    }

    /// One vantage for all asks everybody for the nodes' addresses.
    fn sweep(&mut self, now: Tick) {
        self.sweep_at = now.after(SWEEP);
        if !self.is_elected(now) {
            return;
        }
        for (_, check) in self.checklist.iter() {
            if let (Subject::Node(_), Ask::Arp(address)) = (&*check.subject, &check.ask) {
                self.engine.sweep(*address);
            }
        }
    }

    /// Whether this is the first host, by name, of the neighbours that answer: the ring of
    /// neighbours is sorted, so that only its beginning finds nobody before itself.
    fn is_elected(&self, now: Tick) -> bool {
        let limits = PathLimits::default();
        let earlier = |id: CheckId, check: &Check| match &*check.subject {
            Subject::Neighbour(other) => {
                let state = self.states.get(&(id, Layer::Arp));
                let down = state.is_some_and(|s| s.verdict_at(now, &limits) == Verdict::Down);
                *other < self.own && !down
            }
            _ => false,
        };
        matches!(self.own, Vantage::Host(_))
            && !self.checklist.iter().any(|(id, check)| earlier(id, check))
    }

    fn prepare(&mut self, id: CheckId, slot: Tick, now: Tick) {
        let Some(check) = self.checklist.get(id) else {
            return;
        };
        let whole = PATIENCE.saturating_add(self.limits.http);
        // One connection in flight for a path that is down, whether it had a burst or waits for
        // one: a node's burst has room for two of its targets.
        let down = match self.bursts.mode(id) {
            Mode::Down => true,
            Mode::Burst | Mode::Asked => false,
            Mode::Normal => check.probe == Probe::Connect && self.is_down(id, now),
        };
        let (patience, within) = if down {
            // However late it begins.
            let left = slot.after(check.every).since(now).saturating_sub(SPARE);
            let left = left.max(SPARE);
            (PATIENCE.min(left), whole.min(left))
        } else {
            (PATIENCE, whole)
        };
        let ask = match &check.ask {
            Ask::Control(first) => {
                let addresses = self.control.len().max(1);
                let chosen = self.control.get(self.control_at % addresses);
                Ask::Control(*chosen.unwrap_or(first))
            }
            ask => ask.clone(),
        };
        self.due.push(Due {
            id,
            ask,
            patience,
            within,
        });
    }

    fn is_down(&self, id: CheckId, now: Tick) -> bool {
        let limits = PathLimits::default();
        let tcp = self.states.get(&(id, Layer::Tcp));
        tcp.is_some_and(|state| state.verdict_at(now, &limits) == Verdict::Down)
    }

    fn skip(&mut self, skipped: &Skipped, blind: Blind) {
        self.tally.missed_slots += skipped.count;
        let Some(check) = self.checklist.get(skipped.id) else {
            return;
        };
        if matches!(check.probe, Probe::Ready | Probe::Large) {
            return;
        }
        let entry = Entry {
            count: u32::try_from(skipped.count).unwrap_or(u32::MAX),
            last: skipped.last,
            ..Entry::plain(Outcome::Unmeasured(blind), skipped.first)
        };
        let key = (skipped.id, check.probe.layer());
        self.gathering.add(key, &check.subject, entry, None);
    }

    fn take(&mut self, seen: &Seen, now: Tick) {
        if seen.done {
            self.schedule.finished(seen.id);
        }
        let Some(check) = self.checklist.get(seen.id) else {
            return;
        };
        let subject = check.subject.clone();
        match seen.what {
            What::Nothing => {}
            What::Ready { ready, draining } => {
                let ready = ReadySeen {
                    subject,
                    ready,
                    draining,
                    at: seen.start,
                };
                self.gathering.ready(seen.id, ready);
            }
            What::Large { outcome, bytes } => self.take_large(seen, &subject, outcome, bytes, now),
            What::Outcome {
                layer,
                outcome,
                rtt,
                kernel_rtt,
                mac,
            } => {
                let entry = Entry {
                    rtt,
                    kernel_rtt,
                    ..Entry::plain(outcome, seen.start)
                };
                self.gathering.add((seen.id, layer), &subject, entry, mac);
                self.observe(seen, layer, outcome, now);
                if layer == Layer::Control && outcome.cause().is_some() {
                    // Several addresses: another one gets its chance.
                    self.control_at = self.control_at.wrapping_add(1);
                }
            }
        }
    }

    /// A read that fails is repeated at once, and often until one succeeds.
    fn take_large(
        &mut self,
        seen: &Seen,
        subject: &Arc<Subject>,
        outcome: Outcome,
        bytes: u64,
        now: Tick,
    ) {
        let misses = self.large_misses.entry(seen.id).or_default();
        *misses = match outcome {
            Outcome::Reached => 0,
            Outcome::Unreached(_) => misses.saturating_add(1),
            Outcome::Unmeasured(_) | Outcome::NotApplicable => *misses,
        };
        let read = LargeSeen {
            subject: subject.clone(),
            outcome,
            bytes,
            misses: *misses,
            at: seen.start,
        };
        let (misses, id) = (*misses, seen.id);
        self.gathering.large(id, read);
        if misses == 0 {
            self.schedule.relax(id, now);
        } else if let Some(check) = self.checklist.get(id) {
            self.schedule.hasten(id, check.burst, 1, now);
        }
    }

    /// A changed verdict is worth a report at once; the end of a check may open a burst.
    fn observe(&mut self, seen: &Seen, layer: Layer, outcome: Outcome, now: Tick) {
        let limits = PathLimits::default();
        let state = self.states.entry((seen.id, layer)).or_default();
        let before = state.verdict_at(now, &limits);
        let start = seen.start;
        state.observe(Observation { start, outcome }, &limits);
        let after = state.verdict_at(now, &limits);
        self.urgent |= before != after && (before, after) != (Verdict::Unknown, Verdict::Up);
        if seen.done {
            self.bursts
                .observe(seen.id, outcome, start, now, &mut self.changes);
            self.apply_changes(now);
        }
    }

    fn apply_changes(&mut self, now: Tick) {
        let mut changes = core::mem::take(&mut self.changes);
        for Change { id, mode } in changes.drain(..) {
            let Some(check) = self.checklist.get(id) else {
                continue;
            };
            match mode {
                Mode::Burst | Mode::Asked => {
                    let overlap = overlap(check.probe, check.burst, &self.limits);
                    self.schedule.hasten(id, check.burst, overlap, now);
                    if check.probe == Probe::Connect
                        && let Some(ready) = self.checklist.find(&check.subject, Probe::Ready)
                    {
                        self.schedule.once(ready, now);
                    }
                }
                Mode::Normal => {
                    let overlap = overlap(check.probe, check.every, &self.limits);
                    self.schedule.set_overlap(id, overlap);
                    self.schedule.relax(id, now);
                }
                Mode::Down => {
                    self.schedule.set_overlap(id, 1);
                    match while_down(check.probe, &check.subject, check.every) {
                        Some(every) => {
                            let overlap = overlap(check.probe, every, &self.limits);
                            self.schedule.hasten(id, every, overlap, now);
                        }
                        None => self.schedule.relax(id, now),
                    }
                }
            }
        }
        self.changes = changes;
    }

    /// Everything under way is worthless: the machine slept, or its clock was set.
    pub fn abandon(&mut self, blind: Blind, now: Tick) {
        let mut seen = core::mem::take(&mut self.seen);
        self.engine.abandon(blind, &mut seen);
        for result in seen.drain(..) {
            self.take(&result, now);
        }
        self.seen = seen;
    }

    /// When [`Rounds::step`] has something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        let deadlines = [
            self.schedule.next_deadline(),
            self.bursts.next_deadline(),
            self.engine.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// What was gathered since the last call.
    pub fn fold(&mut self, now: Tick) -> Unit {
        self.urgent = false;
        self.gathering.fold(now)
    }

    /// What is told now: all of it where something is urgent, else the part whose turn it is.
    pub fn fold_part(&mut self, now: Tick) -> Unit {
        if self.urgent {
            return self.fold(now);
        }
        self.gathering.fold_part(now)
    }

    /// In how many parts everything is told.
    pub fn parts(&self) -> u32 {
        self.gathering.parts()
    }

    /// Whether something was seen that should be told at once.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// How late the latest slot was since the last call.
    pub fn take_lateness(&mut self) -> Duration {
        core::mem::take(&mut self.late)
    }

    /// How the rounds have gone.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Checks that are scheduled.
    pub fn scheduled(&self) -> usize {
        self.checklist.len()
    }

    /// The engine, to wait for it.
    pub fn engine(&self) -> &E {
        &self.engine
    }
}

/// As many at once as it takes for a miss not to hold up the next slot.
fn overlap(probe: Probe, every: Duration, limits: &Limits) -> u32 {
    let longest = match probe {
        Probe::Arp => limits.arp,
        Probe::Connect | Probe::Ready | Probe::Large => PATIENCE.saturating_add(limits.http),
        Probe::Control => PATIENCE,
    };
    let slots = longest.as_nanos() / every.as_nanos().max(1);
    u32::try_from(slots)
        .unwrap_or(u32::MAX)
        .saturating_add(1)
        .min(16)
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
