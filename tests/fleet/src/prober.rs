//! One vantage's prober: the real schedule and bursts, with the network of [`crate::world`]
//! in the place of sockets. It lives on its own machine's clock, `offset` away from the sim's.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use pnwatch_core::burst::{Bursts, Change, Mode, Settings, while_down};
use pnwatch_core::inventory::AccountTarget;
use pnwatch_core::link::LinkFacts;
use pnwatch_core::name::Vantage;
use pnwatch_core::outcome::{Blind, Cause, Layer, Outcome};
use pnwatch_core::path::{Limits, Observation, PathState, Verdict};
use pnwatch_core::plan::{Pace, Plan, PlanId};
use pnwatch_core::schedule::{Batch, CheckId, Planned, Probe, Schedule};
use pnwatch_core::subject::Subject;
use pnwatch_core::time::{Tick, Timestamp};
use pnwatch_core::wire::{LinkReport, PathReport, REPORT_VERSION, ReadyReport, Report, Run};

use crate::rng::Rng;
use crate::world::{Cannot, Syn, Up, World};

/// An ARP request without a reply is missed after this.
const ARP_DEADLINE: Duration = Duration::from_millis(300);
/// The kernel repeats an unanswered SYN after this (RFC 6298 §2.1).
const RETRANSMIT: Duration = Duration::from_secs(1);
/// A connection is missed after this: it covers one repeated SYN.
const TCP_DEADLINE: Duration = Duration::from_millis(1300);

/// Where a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    ArpDeadline,
    Repeat,
    TcpDeadline,
    HttpDeadline,
}

/// A check under way.
#[derive(Debug, Clone, Copy)]
pub struct Flight {
    id: CheckId,
    /// Its slot, on the prober's clock.
    slot: Tick,
    /// When it left, on the sim's clock.
    left: Tick,
    stage: Stage,
}

/// A check to be looked at again at a time of the sim's clock.
pub type Later = (Tick, Flight);

#[derive(Debug, Clone)]
struct Check {
    subject: Subject,
    probe: Probe,
    target: Option<AccountTarget>,
    every: Duration,
}

#[derive(Debug, Clone, Default)]
struct Track {
    state: PathState,
    verdict: Option<Verdict>,
    seen: Vec<(Tick, Outcome)>,
}

/// One prober.
#[derive(Debug)]
pub struct Prober {
    /// Whose.
    pub vantage: Vantage,
    /// Something happened that must be told at once.
    pub urgent: bool,
    offset: u64,
    boot: u64,
    seq: u64,
    plan_id: PlanId,
    pace: Pace,
    schedule: Schedule,
    bursts: Bursts,
    checks: BTreeMap<CheckId, Rc<Check>>,
    numbers: BTreeMap<(Subject, Probe), CheckId>,
    paths: BTreeMap<(CheckId, Layer), Track>,
    ready: Vec<(Subject, bool, Tick)>,
    drains: BTreeMap<Subject, bool>,
    link: Option<(LinkFacts, Tick)>,
    /// Checks that came back while the prober got no time.
    starved: Vec<Flight>,
    limits: Limits,
}

impl Prober {
    /// A prober that starts now, its clock `offset` ahead of the sim's.
    pub fn start(plan: &Plan, world: &World, offset: u64, boot: u64, now: Tick) -> Self {
        let mut prober = Self {
            vantage: plan.vantage.clone(),
            urgent: true,
            offset,
            boot,
            seq: 0,
            plan_id: plan.id.clone(),
            pace: plan.pace,
            schedule: Schedule::new(&plan.vantage),
            bursts: Bursts::new(Settings::default()),
            checks: BTreeMap::new(),
            numbers: BTreeMap::new(),
            paths: BTreeMap::new(),
            ready: Vec::new(),
            drains: BTreeMap::new(),
            link: None,
            starved: Vec::new(),
            limits: Limits::default(),
        };
        prober.set_plan(plan, now);
        prober.look_at_link(world, now);
        prober
    }

    fn local(&self, now: Tick) -> Tick {
        now.after(Duration::from_nanos(self.offset))
    }

    /// Follows a plan from now on.
    pub fn set_plan(&mut self, plan: &Plan, now: Tick) {
        let now = self.local(now);
        self.plan_id = plan.id.clone();
        self.checks.clear();
        let ms = Duration::from_millis;
        let mut wanted = Vec::new();
        for node in &plan.nodes {
            let subject = Subject::Node(node.node.clone());
            wanted.push((
                subject,
                Probe::Arp,
                None,
                ms(plan.pace.arp_ms),
                node.node.to_string(),
            ));
        }
        for target in &plan.targets {
            let (subject, group) = (target.subject(), target.node.to_string());
            let every = ms(plan.pace.tcp_ms);
            wanted.push((
                subject.clone(),
                Probe::Connect,
                Some(target.clone()),
                every,
                group.clone(),
            ));
            let every = ms(plan.pace.ready_ms);
            wanted.push((subject, Probe::Ready, Some(target.clone()), every, group));
        }
        for neighbour in &plan.neighbours {
            let subject = Subject::Neighbour(neighbour.vantage.clone());
            let group = neighbour.vantage.to_string();
            wanted.push((subject, Probe::Arp, None, ms(plan.pace.neighbour_ms), group));
        }
        if self.vantage.is_client() {
            let every = ms(plan.pace.control_ms);
            wanted.push((
                Subject::Control,
                Probe::Control,
                None,
                every,
                "control".into(),
            ));
        }
        let mut planned = Vec::new();
        let mut members = Vec::new();
        for (subject, probe, target, every, group) in wanted {
            let next = CheckId(u32::try_from(self.numbers.len()).unwrap_or(u32::MAX));
            let id = *self.numbers.entry((subject.clone(), probe)).or_insert(next);
            planned.push(Planned {
                id,
                subject: subject.clone(),
                probe,
                every,
                overlap: normal_overlap(probe),
            });
            members.push((id, group.into(), probe));
            self.checks.insert(
                id,
                Rc::new(Check {
                    subject,
                    probe,
                    target,
                    every,
                }),
            );
        }
        let checks = &self.checks;
        self.paths.retain(|(id, _), _| checks.contains_key(id));
        self.schedule.set(planned, now);
        self.bursts.set(members);
    }

    /// When it has something to do of itself, on the sim's clock.
    pub fn next_deadline(&self) -> Option<Tick> {
        let next = [self.schedule.next_deadline(), self.bursts.next_deadline()];
        let next = next.into_iter().flatten().min()?;
        Some(next.before(Duration::from_nanos(self.offset)))
    }

    /// Sends what is due. Pushes what is to be looked at later.
    pub fn wake(&mut self, world: &World, rng: &mut Rng, now: Tick, later: &mut Vec<Later>) {
        for flight in core::mem::take(&mut self.starved) {
            self.land(flight, &[], Outcome::Unmeasured(Blind::Starved), now);
        }
        let local = self.local(now);
        let mut changes = Vec::new();
        self.bursts.expire(local, &mut changes);
        self.repace(&changes, local);
        let mut batch = Batch::default();
        self.schedule.due(local, &mut batch);
        for skipped in &batch.skipped {
            let Some(check) = self.checks.get(&skipped.id) else {
                continue;
            };
            let layer = check.probe.layer();
            for at in [skipped.first, skipped.last] {
                self.note(skipped.id, layer, at, Outcome::Unmeasured(Blind::Overrun));
            }
        }
        for due in batch.due {
            self.send(due.id, due.slot, world, rng, now, later);
        }
    }

    fn send(
        &mut self,
        id: CheckId,
        slot: Tick,
        world: &World,
        rng: &mut Rng,
        now: Tick,
        later: &mut Vec<Later>,
    ) {
        let Some(check) = self.checks.get(&id).cloned() else {
            self.schedule.finished(id);
            return;
        };
        let flight = |stage| Flight {
            id,
            slot,
            left: now,
            stage,
        };
        let cannot = world.cannot_send(&self.vantage, now);
        if let Some(cannot) = cannot
            && check.probe != Probe::Control
            && (cannot != Cannot::Denied || check.probe != Probe::Arp)
        {
            let blind = match cannot {
                Cannot::NoDevice => Blind::NoDevice,
                Cannot::NoSource => Blind::NoSource,
                Cannot::Denied => Blind::LocalNetworkDenied,
            };
            self.land(
                flight(Stage::TcpDeadline),
                &[],
                Outcome::Unmeasured(blind),
                now,
            );
            return;
        }
        match check.probe {
            Probe::Arp => {
                let answered = world.arp(&self.vantage, &check.subject, now, rng);
                if let Some(cause) = world.arp_cause(&check.subject).filter(|_| answered) {
                    let other = Outcome::Unreached(cause);
                    self.land(flight(Stage::ArpDeadline), &[], other, now);
                } else if answered {
                    self.land(flight(Stage::ArpDeadline), &[], Outcome::Reached, now);
                } else {
                    later.push((now.after(ARP_DEADLINE), flight(Stage::ArpDeadline)));
                }
            }
            Probe::Control => {
                if world.control(&self.vantage) {
                    self.land(flight(Stage::TcpDeadline), &[], Outcome::Reached, now);
                } else {
                    later.push((now.after(TCP_DEADLINE), flight(Stage::TcpDeadline)));
                }
            }
            Probe::Ready => {
                if let Some(target) = &check.target
                    && world.syn(&self.vantage, target, now, rng) == Syn::Accepted
                {
                    let drains = world.drains(&target.account);
                    self.ready.push((check.subject.clone(), drains, slot));
                    let before = self.drains.insert(check.subject.clone(), drains);
                    self.urgent |= before.unwrap_or(false) != drains;
                }
                self.schedule.finished(id);
            }
            Probe::Connect => self.connect(flight(Stage::Repeat), world, rng, now, later),
            // The world knows no sizes of packets; no check of this kind is planned.
            Probe::Large => self.schedule.finished(id),
        }
    }

    fn connect(
        &mut self,
        flight: Flight,
        world: &World,
        rng: &mut Rng,
        now: Tick,
        later: &mut Vec<Later>,
    ) {
        let check = self.checks.get(&flight.id).cloned();
        let Some(target) = check.as_ref().and_then(|c| c.target.as_ref()) else {
            self.schedule.finished(flight.id);
            return;
        };
        let at = |stage, after| (flight.left.after(after), Flight { stage, ..flight });
        match world.syn(&self.vantage, target, now, rng) {
            Syn::Refused => self.land(flight, &[], Outcome::Unreached(Cause::Refused), now),
            Syn::Silent if now == flight.left => later.push(at(Stage::Repeat, RETRANSMIT)),
            Syn::Silent => later.push(at(Stage::TcpDeadline, TCP_DEADLINE)),
            Syn::Accepted => match world.up(target, rng) {
                Up::Right => {
                    let reached = Outcome::Reached;
                    self.land(flight, &[(Layer::Tcp, reached)], reached, now);
                }
                Up::Error => {
                    let error = Outcome::Unreached(Cause::Http5xx);
                    self.land(flight, &[(Layer::Tcp, Outcome::Reached)], error, now);
                }
                Up::WrongTenant => {
                    let wrong = Outcome::Unreached(Cause::WrongTenant);
                    self.land(flight, &[(Layer::Tcp, Outcome::Reached)], wrong, now);
                }
                Up::Tls => {
                    let failed = Outcome::Unreached(Cause::TlsFailed);
                    self.land(flight, &[(Layer::Tcp, Outcome::Reached)], failed, now);
                }
                Up::Name => {
                    let failed = Outcome::Unreached(Cause::DnsFailed);
                    self.land(flight, &[(Layer::Tcp, Outcome::Reached)], failed, now);
                }
                Up::Silent => {
                    self.note(flight.id, Layer::Tcp, flight.slot, Outcome::Reached);
                    later.push(at(Stage::HttpDeadline, TCP_DEADLINE));
                }
            },
        }
    }

    /// A check's next look.
    pub fn look(
        &mut self,
        flight: Flight,
        world: &World,
        rng: &mut Rng,
        now: Tick,
        later: &mut Vec<Later>,
    ) {
        let miss = |cause| Outcome::Unreached(cause);
        match flight.stage {
            Stage::ArpDeadline => self.land(flight, &[], miss(Cause::ArpUnanswered), now),
            Stage::Repeat => self.connect(flight, world, rng, now, later),
            Stage::TcpDeadline => self.land(flight, &[], miss(Cause::SynUnanswered), now),
            Stage::HttpDeadline => {
                let reached = [(Layer::Tcp, Outcome::NotApplicable)];
                self.land(flight, &reached, miss(Cause::NoFirstByte), now);
            }
        }
    }

    /// Keeps a check's look for when the prober gets time again.
    pub fn starve(&mut self, flight: Flight) {
        self.starved.push(flight);
    }

    /// One check is over. With layers under it, `outcome` is that of `http`.
    fn land(&mut self, flight: Flight, under: &[(Layer, Outcome)], outcome: Outcome, now: Tick) {
        let local = self.local(now);
        self.schedule.finished(flight.id);
        let Some(check) = self.checks.get(&flight.id).cloned() else {
            return;
        };
        for (layer, outcome) in under {
            if *outcome != Outcome::NotApplicable {
                self.note(flight.id, *layer, flight.slot, *outcome);
            }
        }
        if under.is_empty() {
            self.note(flight.id, check.probe.layer(), flight.slot, outcome);
            if check.probe == Probe::Connect {
                let none = Outcome::NotApplicable;
                self.note(flight.id, Layer::Http, flight.slot, none);
            }
        } else {
            self.note(flight.id, Layer::Http, flight.slot, outcome);
        }
        let mut changes = Vec::new();
        self.bursts
            .observe(flight.id, outcome, flight.slot, local, &mut changes);
        self.repace(&changes, local);
    }

    fn note(&mut self, id: CheckId, layer: Layer, start: Tick, outcome: Outcome) {
        let track = self.paths.entry((id, layer)).or_default();
        track.seen.push((start, outcome));
        track
            .state
            .observe(Observation { start, outcome }, &self.limits);
        let verdict = track.state.verdict_at(start, &self.limits);
        let known = track.verdict.replace(verdict);
        let coarse = |v: Verdict| {
            if v == Verdict::Degraded {
                Verdict::Up
            } else {
                v
            }
        };
        self.urgent |= known.is_some_and(|known| coarse(known) != coarse(verdict));
    }

    fn repace(&mut self, changes: &[Change], now: Tick) {
        for change in changes {
            let Some(check) = self.checks.get(&change.id) else {
                continue;
            };
            match change.mode {
                Mode::Burst | Mode::Asked => {
                    let (every, overlap) = match check.probe {
                        Probe::Arp => (self.pace.burst_arp_ms, 4),
                        _ => (self.pace.burst_tcp_ms, 6),
                    };
                    let every = Duration::from_millis(every).min(check.every);
                    self.schedule.hasten(change.id, every, overlap, now);
                }
                Mode::Normal => {
                    self.schedule.relax(change.id, now);
                    self.schedule
                        .set_overlap(change.id, normal_overlap(check.probe));
                }
                Mode::Down => {
                    self.schedule.set_overlap(change.id, 1);
                    match while_down(check.probe, &check.subject, check.every) {
                        Some(every) => self.schedule.hasten(change.id, every, 2, now),
                        None => self.schedule.relax(change.id, now),
                    }
                }
            }
        }
    }

    /// Reads the own link, as the kernel's notice would make it. True if it changed.
    pub fn look_at_link(&mut self, world: &World, now: Tick) -> bool {
        let Some(facts) = world.link(&self.vantage, now) else {
            return false;
        };
        let shape = |f: &LinkFacts| {
            let addresses: Vec<_> = f.addresses.iter().map(|a| a.address).collect();
            (f.state, addresses, f.route.clone(), f.filter.clone())
        };
        let changed = self
            .link
            .as_ref()
            .is_none_or(|(known, _)| shape(known) != shape(&facts));
        let since = match &self.link {
            Some((_, since)) if !changed => *since,
            _ => now,
        };
        self.link = Some((facts, since));
        changed
    }

    /// What it tells now.
    pub fn report(&mut self, world: &World, stopping: bool, now: Tick) -> Report {
        self.look_at_link(world, now);
        self.urgent = false;
        self.seq += 1;
        let local = self.local(now);
        let age = |at: Tick| local.since(at).as_micros() as u64;
        let mut paths = Vec::new();
        for ((id, layer), track) in &mut self.paths {
            let Some(check) = self.checks.get(id).filter(|_| !track.seen.is_empty()) else {
                continue;
            };
            track.seen.sort_by_key(|(start, _)| *start);
            let mut runs: Vec<Run> = Vec::new();
            for (start, outcome) in track.seen.drain(..) {
                match runs.last_mut().filter(|run| run.outcome == outcome) {
                    Some(run) => {
                        run.count += 1;
                        run.last_age_us = age(start);
                    }
                    None => runs.push(Run {
                        outcome,
                        count: 1,
                        first_age_us: age(start),
                        last_age_us: age(start),
                        rtt_us: Vec::new(),
                        kernel_rtt_us: Vec::new(),
                    }),
                }
            }
            paths.push(PathReport {
                subject: check.subject.clone(),
                layer: *layer,
                runs,
                mac: None,
            });
        }
        let ready = self
            .ready
            .drain(..)
            .map(|(subject, draining, at)| ReadyReport {
                subject,
                ready: !draining,
                draining,
                age_us: age(at),
            });
        Report {
            vms: Vec::new(),
            version: REPORT_VERSION,
            cluster: world.inventory.cluster.clone(),
            vantage: self.vantage.clone(),
            boot_id: format!("boot-{}", self.boot),
            seq: self.seq,
            plan_id: Some(self.plan_id.clone()),
            sent_at: Timestamp::default(),
            stopping,
            history: false,
            behind: false,
            paths,
            link: self.link.as_ref().map(|(facts, since)| LinkReport {
                facts: facts.clone(),
                held_us: now.since(*since).as_micros() as u64,
            }),
            ready: ready.collect(),
            counters: Vec::new(),
            devices: world.devices(&self.vantage),
            witness: world.witness(&self.vantage),
            large: world.large(&self.vantage, now),
        }
    }
}

fn normal_overlap(probe: Probe) -> u32 {
    match probe {
        Probe::Connect => 2,
        Probe::Arp | Probe::Ready | Probe::Control | Probe::Large => 1,
    }
}
