//! The clock, the queue, the reports on their way, and the engines that judge.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use pnwatch_core::board::Applied;
use pnwatch_core::diagnosis::Diagnosis;
use pnwatch_core::diagnosis::explain::{About, Explanation};
use pnwatch_core::diagnosis::rule::InForce;
use pnwatch_core::engine::{Engine, Settings};
use pnwatch_core::finding::{Finding, Transition};
use pnwatch_core::gate::{Answer, Grounds, Query, Selector};
use pnwatch_core::name::Vantage;
use pnwatch_core::outcome::Outcome;
use pnwatch_core::plan::{Pace, Plan};
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::wire::Report;

use crate::fault::{Break, Target};
use crate::fed::{self, Fed};
use crate::prober::{Flight, Later, Prober};
use crate::rng::Rng;
use crate::world::{Size, World};

/// How the sim is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// How many of everything.
    pub size: Size,
    /// Engines that judge, each for itself.
    pub exporters: usize,
    /// Shortest and longest time that a report takes, milliseconds.
    pub delay_ms: (u64, u64),
    /// Everything that is left to chance follows from this.
    pub seed: u64,
    /// The rules that count: all, but where one is taken away to see that it is missed.
    pub force: InForce,
}

/// Wall-clock time at tick zero: 2026-09-14T08:00:00Z.
const EPOCH_S: u64 = 1_789_372_800;
/// When the sim begins: old enough that ages never reach before zero.
const BEGIN: Tick = Tick::from_millis(100_000_000);
/// Between two reports that nothing hastens.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A link change is told again after this.
const LINK_AGAIN: Duration = Duration::from_millis(500);
/// Evidence that has waited for longer is history, and what waits behind a report is newer by
/// more than this where it says so: as in a prober's queue.
const HISTORY: Duration = Duration::from_mins(10);
const BEHIND: Duration = Duration::from_secs(2);
/// A prober that starts by itself again is back after this.
const RESTART: Duration = Duration::from_millis(700);

/// What is done to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Since the begin.
    pub at: Duration,
    /// Broken (with a value) or repaired.
    pub value: Option<u64>,
    /// What.
    pub what: Break,
    /// Whose.
    pub target: Target,
}

#[derive(Debug)]
enum Event {
    Wake(usize, u64),
    Look(usize, u64, Flight),
    Report(usize, u64),
    Again(usize, u64),
    Deliver(usize, Box<Report>),
    Replay(usize, usize),
    Judge(usize),
    Step(usize),
    Due(Target),
    Start(usize),
    Feed,
}

/// What one engine said, and when.
#[derive(Debug, Clone)]
pub struct Said {
    /// Since the begin.
    pub at: Duration,
    /// What.
    pub transition: Transition,
}

struct Judge {
    engine: Engine,
    fed: Option<Fed>,
    said: Vec<Said>,
    next: Tick,
    /// What was open when it went away; it judges nothing until it is back.
    away: Option<Vec<Finding>>,
    /// Every report that it took, and when, if somebody listens.
    told: Option<Vec<(Now, Report)>>,
    /// What the wall clock is off by, seconds.
    wall_off: i64,
}

/// A running simulation.
pub struct Sim {
    /// What is true.
    pub world: World,
    /// Prints every report that tells of a miss, and every transition.
    pub trace: bool,
    rng: Rng,
    delay_ms: (u64, u64),
    now: Tick,
    number: u64,
    queue: BinaryHeap<Reverse<(Tick, u64)>>,
    events: BTreeMap<u64, Event>,
    probers: Vec<Option<Prober>>,
    /// Counts up whenever a prober's events become void.
    epochs: Vec<u64>,
    offsets: Vec<u64>,
    /// Reports of one vantage to one engine keep their order.
    last_delivery: BTreeMap<(usize, usize), Tick>,
    /// What one vantage could not tell one engine yet, oldest first, each as of its time.
    kept: BTreeMap<(usize, usize), VecDeque<(Tick, Report)>>,
    judges: Vec<Judge>,
    steps: Vec<Step>,
    force: InForce,
}

impl Sim {
    /// Everything healthy, every prober starting within the first second.
    pub fn new(setup: Setup, steps: Vec<Step>) -> Self {
        let world = World::new(setup.size);
        let mut rng = Rng::new(setup.seed);
        let count = world.vantages.len();
        let gateways = setup.size.gateways;
        let feeds = steps.iter().any(|s| fed::is_fed(s.what, gateways));
        let judge = || {
            let settings = Settings {
                force: setup.force,
                ..Settings::default()
            };
            let now = Now {
                tick: BEGIN,
                wall: wall(BEGIN, 0),
            };
            Judge {
                engine: Engine::new(world.inventory.clone(), settings, now),
                fed: feeds.then(|| Fed::new(&world, now)),
                said: Vec::new(),
                next: BEGIN,
                away: None,
                told: None,
                wall_off: 0,
            }
        };
        let mut sim = Self {
            judges: (0..setup.exporters.max(1)).map(|_| judge()).collect(),
            rng: rng.clone(),
            delay_ms: setup.delay_ms,
            now: BEGIN,
            number: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            probers: (0..count).map(|_| None).collect(),
            epochs: vec![0; count],
            offsets: (0..count)
                .map(|_| rng.between(0, 3_600_000_000_000))
                .collect(),
            last_delivery: BTreeMap::new(),
            kept: BTreeMap::new(),
            world,
            trace: false,
            steps,
            force: setup.force,
        };
        for index in 0..count {
            let after = Duration::from_millis(sim.rng.between(0, 1000));
            sim.push(BEGIN.after(after), Event::Start(index));
        }
        for index in 0..sim.steps.len() {
            sim.push(BEGIN.after(sim.steps[index].at), Event::Step(index));
        }
        for index in 0..sim.judges.len() {
            sim.push(BEGIN, Event::Judge(index));
        }
        if feeds {
            sim.push(BEGIN, Event::Feed);
        }
        sim
    }

    /// Since the begin.
    pub fn elapsed(&self) -> Duration {
        self.now.since(BEGIN)
    }

    /// Runs until `until` since the begin.
    pub fn run_until(&mut self, until: Duration) {
        let until = BEGIN.after(until);
        while let Some(Reverse((at, number))) = self.queue.peek().copied() {
            if at > until {
                break;
            }
            self.queue.pop();
            self.now = self.now.max(at);
            if let Some(event) = self.events.remove(&number) {
                self.take(event);
            }
        }
        self.now = until;
    }

    /// Open findings of one engine, as they stand now.
    pub fn open(&self, judge: usize) -> Vec<Finding> {
        self.judges[judge].engine.view(self.judge_now(judge)).open
    }

    /// What the gate of one engine says of all accounts now.
    pub fn gate(&self, judge: usize) -> Answer {
        let view = self.judges[judge].engine.view(self.judge_now(judge));
        let query = Query {
            selector: Selector {
                all: true,
                ..Selector::default()
            },
            ..Query::default()
        };
        pnwatch_core::gate::judge(&query, &Grounds::of(&view))
    }

    /// Why one engine judges `about` as it does now.
    pub fn explain(&self, judge: usize, about: &About) -> Option<Explanation> {
        self.judges[judge]
            .engine
            .explain(about, self.judge_now(judge))
    }

    /// What one engine said.
    pub fn said(&self, judge: usize) -> &[Said] {
        &self.judges[judge].said
    }

    /// How many engines judge.
    pub fn judges(&self) -> usize {
        self.judges.len()
    }

    /// From now on every report that one engine takes is kept for [`Sim::take_told`].
    pub fn listen(&mut self, judge: usize) {
        self.judges[judge].told.get_or_insert_default();
    }

    /// The reports that one engine took since the last call, each with when.
    pub fn take_told(&mut self, judge: usize) -> Vec<(Now, Report)> {
        let told = self.judges[judge].told.as_mut();
        told.map(core::mem::take).unwrap_or_default()
    }

    /// Tells one engine what another judge (`source`) has found.
    pub fn set_external(&mut self, judge: usize, source: &'static str, found: Vec<Diagnosis>) {
        self.judges[judge].engine.set_external(source, found);
    }

    /// Both clocks of one exporter.
    pub fn now(&self, judge: usize) -> Now {
        self.judge_now(judge)
    }

    fn judge_now(&self, judge: usize) -> Now {
        Now {
            tick: self.now,
            wall: wall(self.now, self.judges[judge].wall_off),
        }
    }

    fn push(&mut self, at: Tick, event: Event) {
        self.number += 1;
        self.queue.push(Reverse((at, self.number)));
        self.events.insert(self.number, event);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Start(index) => self.start(index),
            Event::Feed => self.feed(),
            Event::Wake(index, epoch) if self.epochs[index] == epoch => self.wake(index),
            Event::Look(index, epoch, flight) if self.epochs[index] == epoch => {
                self.look(index, flight);
            }
            Event::Report(index, epoch) if self.epochs[index] == epoch => {
                self.push(self.now.after(REPORT_EVERY), Event::Report(index, epoch));
                self.report(index, false);
            }
            Event::Again(index, epoch) if self.epochs[index] == epoch => self.report(index, false),
            Event::Deliver(judge, report) => self.deliver(judge, &report),
            Event::Replay(index, judge) => self.replay(index, judge),
            Event::Judge(judge) => {
                if self.judges[judge].next <= self.now && self.judges[judge].away.is_none() {
                    self.judge(judge);
                }
            }
            Event::Step(index) => self.step(index),
            Event::Due(target) => self.links_changed(&target),
            Event::Wake(..) | Event::Look(..) | Event::Report(..) | Event::Again(..) => {}
        }
    }

    fn plan(&self, vantage: &Vantage) -> Plan {
        let engine = &self.judges[0].engine;
        Plan::for_vantage(
            engine.inventory(),
            vantage,
            &engine.addresses(),
            Pace::default(),
        )
    }

    fn start(&mut self, index: usize) {
        let vantage = self.world.vantages[index].clone();
        if !self.world.prober_runs(&vantage) || self.probers[index].is_some() {
            return;
        }
        let plan = self.plan(&vantage);
        self.epochs[index] += 1;
        let epoch = self.epochs[index];
        let prober = Prober::start(&plan, &self.world, self.offsets[index], epoch, self.now);
        self.probers[index] = Some(prober);
        let after = Duration::from_millis(self.rng.between(0, 1000));
        self.push(self.now.after(after), Event::Report(index, epoch));
        self.report(index, false);
        self.arm(index);
    }

    fn arm(&mut self, index: usize) {
        let epoch = self.epochs[index];
        let next = self.probers[index].as_ref().and_then(Prober::next_deadline);
        if let Some(next) = next {
            self.push(next.max(self.now), Event::Wake(index, epoch));
        }
    }

    fn stalls(&self, index: usize) -> bool {
        self.world.prober_stalls(&self.world.vantages[index])
    }

    fn wake(&mut self, index: usize) {
        if self.stalls(index) {
            return;
        }
        let mut later = Vec::new();
        let now = self.now;
        let Some(prober) = self.probers[index].as_mut() else {
            return;
        };
        if prober.next_deadline().is_none_or(|next| next > now) {
            // An older alarm: a newer one is set.
            return;
        }
        prober.wake(&self.world, &mut self.rng, now, &mut later);
        self.after_work(index, later);
        self.arm(index);
    }

    fn look(&mut self, index: usize, flight: Flight) {
        let stalls = self.stalls(index);
        let mut later = Vec::new();
        let now = self.now;
        let Some(prober) = self.probers[index].as_mut() else {
            return;
        };
        if stalls {
            prober.starve(flight);
            return;
        }
        let before = prober.next_deadline();
        prober.look(flight, &self.world, &mut self.rng, now, &mut later);
        let changed = prober.next_deadline() != before;
        self.after_work(index, later);
        if changed {
            self.arm(index);
        }
    }

    fn after_work(&mut self, index: usize, later: Vec<Later>) {
        let epoch = self.epochs[index];
        for (at, flight) in later {
            self.push(at, Event::Look(index, epoch, flight));
        }
        if self.probers[index].as_ref().is_some_and(|p| p.urgent) {
            self.report(index, false);
        }
    }

    fn report(&mut self, index: usize, stopping: bool) {
        if self.stalls(index) {
            return;
        }
        let now = self.now;
        let Some(prober) = self.probers[index].as_mut() else {
            return;
        };
        let report = prober.report(&self.world, stopping, now);
        if !self.world.reports_pass(&self.world.vantages[index]) {
            return;
        }
        for judge in 0..self.judges.len() {
            let waits = self
                .kept
                .get(&(index, judge))
                .is_some_and(|k| !k.is_empty());
            if self.judges[judge].away.is_some() || waits {
                let kept = self.kept.entry((index, judge)).or_default();
                kept.push_back((now, report.clone()));
                continue;
            }
            let (low, high) = self.delay_ms;
            let delay = Duration::from_millis(self.rng.between(low, high + 1));
            let last = self.last_delivery.entry((index, judge)).or_insert(now);
            *last = now.after(delay).max(*last);
            let at = *last;
            self.push(at, Event::Deliver(judge, Box::new(report.clone())));
        }
    }

    /// The oldest report that an engine has missed, its ages brought up to now; one after the
    /// other, each once the one before was judged.
    fn replay(&mut self, index: usize, judge: usize) {
        let Some(kept) = self.kept.get_mut(&(index, judge)) else {
            return;
        };
        let newest = kept.back().map(|(at, _)| *at);
        let Some((at, mut report)) = kept.pop_front() else {
            return;
        };
        let waited = self.now.since(at);
        let passed = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        for run in report.paths.iter_mut().flat_map(|path| &mut path.runs) {
            run.first_age_us = run.first_age_us.saturating_add(passed);
            run.last_age_us = run.last_age_us.saturating_add(passed);
        }
        for ready in &mut report.ready {
            ready.age_us = ready.age_us.saturating_add(passed);
        }
        for read in &mut report.large {
            read.age_us = read.age_us.saturating_add(passed);
        }
        // The state of things now goes with the newest alone.
        if newest != Some(at) {
            (report.link, report.witness) = (None, None);
            report.devices.clear();
        }
        report.history = waited > HISTORY;
        report.behind = newest.is_some_and(|newest| newest.since(at) > BEHIND);
        let after = Duration::from_millis(self.rng.between(2, 20));
        self.push(self.now.after(after), Event::Replay(index, judge));
        self.deliver(judge, &report);
    }

    fn deliver(&mut self, judge: usize, report: &Report) {
        if self.judges[judge].away.is_some() {
            // It was on its way when the exporter went.
            return;
        }
        // What is sent is what can be read: the wire is part of the test.
        let read = Report::from_json(&report.to_json());
        let Ok(read) = read else {
            panic!("a prober sent what no exporter reads: {read:?}")
        };
        if self.trace {
            let at = self.elapsed().as_secs_f64();
            for path in &read.paths {
                for run in path.runs.iter().filter(|r| r.outcome != Outcome::Reached) {
                    println!(
                        "{at:8.3} {} {} {}: {} x{} {:.3}..{:.3}",
                        read.vantage,
                        path.subject,
                        path.layer,
                        run.outcome,
                        run.count,
                        at - run.first_age_us as f64 / 1e6,
                        at - run.last_age_us as f64 / 1e6
                    );
                }
            }
        }
        let now = self.judge_now(judge);
        let applied = self.judges[judge].engine.apply(&read, now);
        assert_ne!(applied, Applied::WrongCluster);
        if matches!(applied, Applied::Fresh | Applied::History) {
            let of = &mut self.judges[judge];
            if let Some(fed) = &mut of.fed {
                fed.report(&read, &self.world, now);
            }
            if let Some(told) = &mut of.told {
                told.push((now, read));
            }
        }
        self.judge(judge);
    }

    /// The other judges look again.
    fn feed(&mut self) {
        for judge in 0..self.judges.len() {
            let now = self.judge_now(judge);
            let of = &mut self.judges[judge];
            let Some(fed) = &mut of.fed else { continue };
            let view = of.engine.view(now);
            of.engine
                .set_external("kubernetes", fed.objects(&self.world, now));
            of.engine
                .set_external("bandwidth", Fed::bandwidth(&view, now));
            of.engine
                .set_external("traffic", fed.traffic(&self.world, &view, now));
            of.engine
                .set_external("gateways", fed.gateways(&self.world, now));
            of.engine
                .set_external("budgets", fed.budgets(&view.open, &self.world, now));
            self.judge(judge);
        }
        self.push(self.now.after(fed::EVERY), Event::Feed);
    }

    fn judge(&mut self, judge: usize) {
        if self.judges[judge].away.is_some() {
            return;
        }
        let now = self.judge_now(judge);
        let at = self.elapsed();
        let of = &mut self.judges[judge];
        let transitions = of.engine.evaluate(now);
        if self.trace {
            for t in &transitions {
                println!(
                    "{:8.3} {:?} {}",
                    at.as_secs_f64(),
                    t.change,
                    t.finding.summary
                );
            }
        }
        of.said.extend(
            transitions
                .into_iter()
                .map(|transition| Said { at, transition }),
        );
        let next = of.engine.next_deadline(now.tick);
        of.next = next;
        self.push(next, Event::Judge(judge));
    }

    fn step(&mut self, index: usize) {
        let step = self.steps[index].clone();
        let now = self.now;
        match step.value {
            Some(value) => {
                if let Some(due) = self.world.break_it(&step.target, step.what, value, now) {
                    self.push(due, Event::Due(step.target.clone()));
                }
            }
            None => self.world.repair(&step.target, step.what, now),
        }
        if step.target == Target::Exporter {
            self.exporters(step.what, step.value);
        }
        if step.what == Break::ProberStopped && step.value.is_some() {
            self.each(&step.target, |sim, index| sim.report(index, true));
        }
        self.lives_changed(&step.target);
        self.links_changed(&step.target);
    }

    fn exporters(&mut self, what: Break, value: Option<u64>) {
        for judge in 0..self.judges.len() {
            match what {
                Break::ClockStep => {
                    self.judges[judge].wall_off = value.map_or(0, u64::cast_signed);
                }
                Break::Restart if value.is_some() => {
                    let open = self.open(judge);
                    self.start_engine(judge, open);
                }
                Break::Away if value.is_some() => {
                    self.judges[judge].away = Some(self.open(judge));
                }
                Break::Away => {
                    let open = self.judges[judge].away.take().unwrap_or_default();
                    self.start_engine(judge, open);
                    for index in 0..self.probers.len() {
                        let after = Duration::from_millis(self.rng.between(0, 1000));
                        self.push(self.now.after(after), Event::Replay(index, judge));
                    }
                    self.judge(judge);
                }
                _ => {}
            }
        }
    }

    /// A new engine that knows what was open, and nothing else.
    fn start_engine(&mut self, judge: usize, open: Vec<Finding>) {
        let now = self.judge_now(judge);
        let inventory = self.world.inventory.clone();
        let settings = Settings {
            force: self.force,
            ..Settings::default()
        };
        let mut engine = Engine::new(inventory, settings, now);
        engine.restore(open);
        self.judges[judge].engine = engine;
    }

    /// Every prober on the machine of `target`.
    fn each(&mut self, target: &Target, mut what: impl FnMut(&mut Self, usize)) {
        let Target::Machine(machine) = target else {
            return;
        };
        for index in 0..self.probers.len() {
            let vantage = &self.world.vantages[index];
            let on_host = matches!(machine, Vantage::Host(h) if vantage.host() == Some(h));
            if vantage == machine || on_host {
                what(self, index);
            }
        }
    }

    /// Probers that no longer run go, those that may run again come back.
    fn lives_changed(&mut self, target: &Target) {
        self.each(target, |sim, index| {
            let runs = sim.world.prober_runs(&sim.world.vantages[index]);
            if !runs && sim.probers[index].take().is_some() {
                sim.epochs[index] += 1;
            } else if runs && sim.probers[index].is_none() {
                sim.push(sim.now.after(RESTART), Event::Start(index));
            } else if runs && !sim.stalls(index) {
                sim.wake(index);
            }
        });
    }

    /// A changed link is told at once, and again when it has held.
    fn links_changed(&mut self, target: &Target) {
        self.each(target, |sim, index| {
            let (now, stalls) = (sim.now, sim.stalls(index));
            let Some(prober) = sim.probers[index].as_mut() else {
                return;
            };
            if !stalls && prober.look_at_link(&sim.world, now) {
                let epoch = sim.epochs[index];
                sim.push(now.after(LINK_AGAIN), Event::Again(index, epoch));
                sim.report(index, false);
            }
        });
    }
}

/// The exporters' wall clock at `elapsed` since the begin, where nothing has set it.
pub fn wall_at(elapsed: Duration) -> Timestamp {
    wall(BEGIN.after(elapsed), 0)
}

fn wall(tick: Tick, off_s: i64) -> Timestamp {
    let seconds = EPOCH_S.saturating_add_signed(off_s);
    Timestamp::from_unix_seconds(seconds).after(tick.since(BEGIN))
}
