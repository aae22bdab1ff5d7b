//! The loop of the prober: one task that owns all state, and small tasks that only wait for it.
//!
//! Concurrent besides the loop: the link subscription, a plan long-poll and a sender per
//! exporter, device counters, the page. They talk to the loop by channels alone and hold
//! nothing that matters: all of them may be dropped at any await.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::io;
use std::path::Path;
use std::sync::Arc;

use pnwatch_core::inventory::AccountTarget;
use pnwatch_core::link::{FilterFacts, LinkFacts};
use pnwatch_core::name::{Cluster, Vantage};
use pnwatch_core::outcome::Blind;
use pnwatch_core::plan::Plan;
use pnwatch_core::time::{Now, Tick};
use pnwatch_core::wire::{DeviceReport, LinkReport, REPORT_VERSION, Report};
use pnwatch_edge::clock::{SharedClock, Step, StepWatch};
use pnwatch_edge::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};

use crate::counters::{Counters, Usage};
use crate::engine::Engine;
use crate::engine::poller::Readiness;
use crate::evidence::Unit;
use crate::exporters::{Exporter, News, Replay};
use crate::link::{Leg, route_target};
use crate::listener::Status;
use crate::outbox::HISTORY;
use crate::plans;
use crate::relay::RelayState;
use crate::relay::evidence::{VmNews, Vms};
use crate::rounds::Rounds;
use crate::settings::Settings;
use crate::spool::{Ask, Keeper};
use crate::transport::Transport;
use crate::witness::Snapshot;

/// A report goes out at least this often.
pub const REPORT_EVERY: Duration = Duration::from_secs(1);
/// What is due is handed out on this grid, so that checks share wake-ups: they cost more than
/// the checks. The most that it makes a check late.
pub const TICK: Duration = Duration::from_millis(10);
/// What is urgent waits this long for company.
pub const COALESCE: Duration = Duration::from_millis(20);
/// How long the goodbye may take.
pub const GOODBYE: Duration = Duration::from_millis(450);

/// See the [module](self).
pub struct Agent<E> {
    cluster: Cluster,
    vantage: Vantage,
    settings: Arc<Settings>,
    clock: SharedClock,
    boot_id: String,
    rounds: Rounds<E>,
    exporters: Vec<Exporter>,
    /// From the disk or from a file: used where no exporter has answered.
    fallback: Option<Plan>,
    leg: Option<Leg>,
    devices: Vec<DeviceReport>,
    witness: Option<Snapshot>,
    steps: StepWatch,
    counters: Counters,
    flush_at: Tick,
    spool: Option<Keeper>,
    status: Status,
    route_target: watch::Sender<Option<Ipv4Addr>>,
    /// The targets of the plan, for the relay.
    targets: watch::Sender<Arc<Vec<AccountTarget>>>,
    vms: Vms,
    filter: Option<FilterFacts>,
    news: mpsc::Receiver<News>,
}

/// See [`Agent::plans`].
fn followed<'a>(exporters: &'a [Exporter], fallback: Option<&'a Plan>) -> Vec<&'a Plan> {
    let live: Vec<&Plan> = exporters.iter().filter_map(|e| e.plan.as_ref()).collect();
    if live.is_empty() {
        fallback.into_iter().collect()
    } else {
        live
    }
}

/// The first instant of the grid at or after `at`.
fn on_grid(at: Tick) -> Tick {
    let tick = TICK.as_nanos() as u64;
    Tick::from_nanos(at.as_nanos().div_ceil(tick).saturating_mul(tick))
}

/// What the loop hears.
pub struct Ears {
    /// The PN leg, once it is known.
    pub leg: watch::Receiver<Option<Leg>>,
    /// Device counters.
    pub devices: watch::Receiver<Vec<DeviceReport>>,
    /// What the machine's own packet socket says.
    pub witness: watch::Receiver<Option<Snapshot>>,
    /// What VMs told the relay.
    pub vms: mpsc::Receiver<VmNews>,
    /// How the relay is, where there is one.
    pub relay: watch::Receiver<Option<RelayState>>,
    /// The packet filter, where it is read.
    pub filter: watch::Receiver<Option<FilterFacts>>,
}

impl<E: Engine> Agent<E> {
    /// Puts the loop together; spawns a plan and a sender task per exporter.
    pub fn new(
        settings: Arc<Settings>,
        clock: SharedClock,
        rounds: Rounds<E>,
        transports: Vec<Arc<dyn Transport>>,
        status: Status,
    ) -> (Self, watch::Receiver<Option<Ipv4Addr>>) {
        let (tell, news) = mpsc::channel(64);
        let (cluster, vantage) = (settings.cluster.clone(), settings.vantage.clone());
        let names: Vec<String> = transports.iter().map(|t| t.name().to_owned()).collect();
        let spool = open_spool(settings.state_dir.as_deref(), &names, &tell);
        let exporters = transports.into_iter().enumerate();
        let exporters = exporters
            .map(|(number, transport)| Exporter::open(number, transport, &cluster, &vantage, &tell))
            .collect();
        let (route_target, heard) = watch::channel(route_target(settings.pn_cidr, None, &[]));
        let agent = Self {
            cluster,
            vantage,
            boot_id: settings.boot_id.clone(),
            settings,
            rounds,
            exporters,
            fallback: None,
            leg: None,
            devices: Vec::new(),
            witness: None,
            steps: StepWatch::new(),
            counters: Counters::default(),
            flush_at: clock.now().tick,
            spool,
            clock,
            status,
            route_target,
            targets: watch::Sender::new(Arc::default()),
            vms: Vms::default(),
            filter: None,
            news,
        };
        (agent, heard)
    }

    /// A plan to follow until an exporter has one.
    pub fn set_fallback(&mut self, plan: Option<Plan>) {
        self.fallback = plan;
        self.replan();
    }

    /// Runs until the shutdown, then says goodbye.
    pub async fn run(mut self, mut ears: Ears, shutdown: Shutdown) -> io::Result<()> {
        let readiness = Readiness::of(self.rounds.engine().readiness())?;
        self.replan();
        loop {
            let wait = self.wait();
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                news = readiness.news() => news?,
                Some(news) = self.news.recv() => self.hear(news),
                Ok(()) = ears.leg.changed() => {
                    let leg = ears.leg.borrow_and_update().clone();
                    self.follow_leg(leg);
                }
                Ok(()) = ears.devices.changed() => {
                    self.devices.clone_from(&ears.devices.borrow_and_update());
                }
                Ok(()) = ears.witness.changed() => {
                    self.witness.clone_from(&ears.witness.borrow_and_update());
                }
                Some(news) = ears.vms.recv() => self.hear_vm(news),
                Ok(()) = ears.relay.changed() => {
                    self.counters.relay = *ears.relay.borrow_and_update();
                }
                Ok(()) = ears.filter.changed() => {
                    self.filter.clone_from(&ears.filter.borrow_and_update());
                }
                () = tokio::time::sleep(wait) => {}
            }
            self.turn();
        }
        self.goodbye().await;
        Ok(())
    }

    fn hear_vm(&mut self, news: VmNews) {
        let now = self.clock.now().tick;
        match news {
            VmNews::Heard(heard) => {
                if self.vms.take(heard, now) {
                    self.flush_at = self.flush_at.min(now.after(COALESCE));
                }
            }
            VmNews::Handed(outcome, known) => self.counters.handed(outcome, known),
        }
    }

    /// The targets of the plan, as they change.
    pub fn watch_targets(&self) -> watch::Receiver<Arc<Vec<AccountTarget>>> {
        let watched = self.targets.subscribe();
        // Kept for whoever watches alone.
        let targets = self
            .plans()
            .first()
            .map_or_else(Vec::new, |p| p.targets.clone());
        self.targets.send_replace(Arc::new(targets));
        watched
    }

    fn wait(&self) -> Duration {
        let now = self.clock.now().tick;
        let next = self.rounds.next_deadline();
        let next = next.map_or(self.flush_at, |next| next.min(self.flush_at));
        if next <= now {
            return Duration::ZERO;
        }
        on_grid(next).since(now)
    }

    /// One turn of the loop.
    fn turn(&mut self) {
        let now = self.clock.now();
        let passed = self.watch_clocks(now);
        self.rounds.step(now.tick, passed);
        if self.rounds.is_urgent() {
            self.flush_at = self.flush_at.min(now.tick.after(COALESCE));
        }
        if now.tick >= self.flush_at {
            self.flush(now);
        }
        self.dispatch(now);
        self.spool(now, false);
    }

    /// Why slots passed, if slots passed.
    fn watch_clocks(&mut self, now: Now) -> Blind {
        let Some(step) = self.steps.observe(now, self.clock.awake()) else {
            return Blind::Overrun;
        };
        let blind = if matches!(step, Step::Suspended { .. }) {
            self.counters.suspends += 1;
            Blind::Suspended
        } else {
            self.counters.clock_steps += 1;
            Blind::ClockStep
        };
        tracing::info!(?step, "the clocks stepped; checks under way are not judged");
        self.rounds.abandon(blind, now.tick);
        blind
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Plan { from, plan } => {
                if let Some(exporter) = self.exporters.get_mut(from) {
                    exporter.planned(*plan, self.fallback.as_ref());
                }
                self.replan();
                self.keep_plan();
            }
            News::Spooled { to, report } => self.replay(to, report),
            News::Sent {
                to,
                keep,
                error,
                asked,
            } => {
                let now = self.clock.now().tick;
                if !asked.is_empty() {
                    self.rounds.ask(&asked, now);
                }
                let retry_at = now.after(REPORT_EVERY);
                let Some(exporter) = self.exporters.get_mut(to) else {
                    return;
                };
                if exporter.replay == Replay::UnderWay {
                    // Refused for good is gone as well; away, it is asked for again later.
                    exporter.replay = Replay::Due;
                    if keep {
                        exporter.hold(error);
                    } else if let Some(spool) = &self.spool {
                        spool.ask(Ask::Done(to));
                    }
                    return;
                }
                if exporter.sent(keep, error, retry_at) {
                    self.counters.reports += 1;
                } else {
                    self.counters.report_failures += 1;
                }
            }
        }
    }

    /// A report of the spool, to be sent if the line is still free.
    fn replay(&mut self, to: usize, report: Option<Box<Report>>) {
        let Some(exporter) = self.exporters.get_mut(to) else {
            return;
        };
        exporter.replay = match report {
            None => Replay::Nothing,
            Some(report) if exporter.outbox.is_empty() => {
                if exporter.line.try_send(*report).is_ok() {
                    Replay::UnderWay
                } else {
                    Replay::Due
                }
            }
            Some(_) => Replay::Due,
        };
    }

    /// What exporters miss goes to the disk; what is there, to those that miss nothing else.
    fn spool(&mut self, now: Now, leaving: bool) {
        let Some(spool) = &self.spool else { return };
        let boot_id = spooled_boot_id(&self.boot_id);
        for number in 0..self.exporters.len() {
            while let Some(line) = self.exporters[number].outbox.to_spool(now.tick, leaving) {
                let mut report = self.report(number, line.seq, &line.unit, now, false);
                report.boot_id.clone_from(&boot_id);
                report.history = true;
                spool.ask(Ask::Keep(number, Box::new(report), now));
                let replay = &mut self.exporters[number].replay;
                if *replay == Replay::Nothing {
                    *replay = Replay::Due;
                }
            }
            let exporter = &mut self.exporters[number];
            if !leaving && exporter.may_replay() {
                exporter.replay = Replay::Asked;
                let last = exporter.outbox.disk_only();
                spool.ask(Ask::Next(number, now, boot_id.clone(), last));
            }
        }
    }

    /// The plans to follow: those of the exporters, or the fallback while none has one.
    fn plans(&self) -> Vec<&Plan> {
        followed(&self.exporters, self.fallback.as_ref())
    }

    fn replan(&mut self) {
        let plans = followed(&self.exporters, self.fallback.as_ref());
        self.rounds.set_plans(&plans, self.clock.now().tick);
        if self.targets.receiver_count() > 0 {
            let targets = plans.first().map_or_else(Vec::new, |p| p.targets.clone());
            self.targets.send_replace(Arc::new(targets));
        }
        self.retarget(plans.first().copied());
    }

    fn retarget(&self, plan: Option<&Plan>) {
        let own = self.leg.as_ref().map(|leg| leg.facts.addresses.as_slice());
        let target = route_target(self.settings.pn_cidr, plan, own.unwrap_or_default());
        self.route_target.send_if_modified(|held| {
            let differs = *held != target;
            *held = target;
            differs
        });
    }

    fn keep_plan(&self) {
        let (Some(dir), Some(plan)) = (&self.settings.state_dir, self.plans().first().copied())
        else {
            return;
        };
        let (dir, plan) = (dir.clone(), plan.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = plans::save(&dir, &plan) {
                tracing::warn!(dir = %dir.display(), "the plan is not kept for the next start: {error}; make `probe.state_dir` writable");
            }
        });
    }

    fn follow_leg(&mut self, leg: Option<Leg>) {
        let Some(leg) = leg else {
            // Not known any more: it is not told as it was. Checks go on by what was known last.
            self.leg = None;
            return;
        };
        let changed = self.leg.as_ref().is_none_or(|old| old.since != leg.since);
        if changed {
            leg.say(self.leg.is_none());
            let now = self.clock.now().tick;
            self.flush_at = self.flush_at.min(now.after(COALESCE));
        }
        self.rounds.set_leg(&leg);
        self.leg = Some(leg);
        self.retarget(self.plans().first().copied());
    }

    fn flush(&mut self, now: Now) {
        // Each path is told once in this time; thousands at once would make checks late.
        self.flush_at = now.tick.after(REPORT_EVERY / self.rounds.parts());
        let mut unit = self.rounds.fold_part(now.tick);
        unit.vms = self.vms.fold(now.tick);
        for unit in unit.split() {
            let unit = Arc::new(unit);
            for exporter in &mut self.exporters {
                exporter.outbox.push(unit.clone());
            }
        }
        let tally = self.rounds.tally();
        self.counters.checks = tally.checks;
        self.counters.missed_slots = tally.missed_slots;
        self.counters.later_than = tally.later_than;
        // A maximum that is told once a second; the exporter keeps its own window.
        self.counters.late = self.rounds.take_lateness();
        self.counters.in_flight = self.rounds.engine().in_flight();
        self.counters.scheduled = self.rounds.scheduled();
        self.counters.arp_available = self.rounds.engine().arp_available();
        self.counters.outcomes_dropped = self.exporters.iter().map(|e| e.outbox.dropped()).sum();
        self.counters.usage = Usage::read();
        self.status.turned(now.tick, self.counters.clone());
    }

    fn dispatch(&mut self, now: Now) {
        for number in 0..self.exporters.len() {
            if self.exporters[number].replay == Replay::UnderWay {
                continue;
            }
            let Some((numbered, newest)) = self.exporters[number].outbox.take(now.tick) else {
                continue;
            };
            let report = self.report(number, numbered.seq, &numbered.unit, now, newest);
            let exporter = &mut self.exporters[number];
            if exporter.line.try_send(report).is_err() {
                exporter.outbox.done(true, now.tick.after(REPORT_EVERY));
            }
        }
    }

    /// `current` = with the state of things now, not only with the unit's evidence.
    fn report(&self, number: usize, seq: u64, unit: &Unit, now: Now, current: bool) -> Report {
        let own = self.exporters.get(number).and_then(|e| e.plan.as_ref());
        let plan = own.or(self.fallback.as_ref());
        Report {
            version: REPORT_VERSION,
            cluster: self.cluster.clone(),
            vantage: self.vantage.clone(),
            boot_id: self.boot_id.clone(),
            seq,
            plan_id: plan.map(|plan| plan.id.clone()),
            sent_at: now.wall,
            stopping: false,
            history: now.tick.since(unit.at) > HISTORY,
            behind: self
                .exporters
                .get(number)
                .is_some_and(|e| e.outbox.is_behind()),
            paths: unit.paths(now.tick),
            link: self.told_leg(current, now.tick).map(|leg| {
                let mut link = self.with_filter(leg.report(now.tick));
                self.add_states(&mut link.facts);
                link
            }),
            ready: unit.ready(now.tick),
            counters: if current {
                self.counters.wire()
            } else {
                Vec::new()
            },
            devices: if current {
                self.devices.clone()
            } else {
                Vec::new()
            },
            witness: self
                .witness
                .as_ref()
                .filter(|_| current)
                .map(|snapshot| snapshot.told(now.tick)),
            large: unit.large(now.tick),
            vms: unit.vms.iter().map(|vm| vm.told(now.tick)).collect(),
        }
    }

    fn told_leg(&self, current: bool, now: Tick) -> Option<&Leg> {
        let leg = self.leg.as_ref();
        leg.filter(|leg| current && leg.is_current(now))
    }

    /// How full the kernel's table of connections is belongs to the machine's packet filter.
    fn add_states(&self, facts: &mut LinkFacts) {
        let witness = self.witness.as_ref();
        if let Some(usage) = witness.and_then(|snapshot| snapshot.report.conntrack) {
            let filter = facts.filter.get_or_insert_default();
            filter.states.get_or_insert(usage.used);
            filter.states_limit.get_or_insert(usage.limit);
        }
    }

    fn with_filter(&self, mut link: LinkReport) -> LinkReport {
        if self.filter.is_some() {
            link.facts.filter.clone_from(&self.filter);
        }
        link
    }

    /// The last report to everybody: silence from now on is no fault.
    async fn goodbye(&mut self) {
        let now = self.clock.now();
        self.rounds.step(now.tick, Blind::Overrun);
        self.flush(now);
        self.spool(now, true);
        let mut calls = Vec::new();
        for number in 0..self.exporters.len() {
            let Some(newest) = self.exporters[number].outbox.newest() else {
                continue;
            };
            let mut report = self.report(number, newest.seq, &newest.unit, now, true);
            report.stopping = true;
            report.behind = false;
            let transport = self.exporters[number].transport.clone();
            calls.push(async move {
                if let Err(error) = transport.report(&report).await {
                    tracing::warn!(
                        exporter = transport.name(),
                        "the goodbye did not arrive: {error}"
                    );
                }
            });
        }
        let all = futures_util::future::join_all(calls);
        if tokio::time::timeout(GOODBYE, all).await.is_err() {
            tracing::warn!(
                "the goodbye did not arrive everywhere in time; the vantage will be missed"
            );
        }
        if let Some(spool) = &self.spool
            && !spool.flush(GOODBYE)
        {
            tracing::warn!("what exporters have missed is not all on disk");
        }
    }
}

/// The numbers of what was spooled count by themselves: it arrives after what is newer.
fn spooled_boot_id(boot_id: &str) -> String {
    format!("{boot_id}-spool")
}

fn open_spool(dir: Option<&Path>, names: &[String], tell: &mpsc::Sender<News>) -> Option<Keeper> {
    Keeper::start(dir?, names, tell.clone())
        .inspect_err(|error| {
            tracing::warn!("what exporters miss is not kept on disk: no thread for it ({error})");
        })
        .ok()
}
