use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use pnwatch_core::outcome::Cause;
use pnwatch_core::plan::Pace;
use pnwatch_core::wire::Report;
use proptest::prelude::*;

use super::*;

const MISS: Outcome = Outcome::Unreached(Cause::SynUnanswered);

/// What the network does to a check submitted now: the outcome and after how long it is known.
type Network = Box<dyn FnMut(&Due, Tick) -> (Outcome, u64)>;

struct Pretended {
    now: Rc<RefCell<Tick>>,
    network: Network,
    under_way: Vec<(Tick, Seen)>,
    submitted: Rc<RefCell<Vec<(CheckId, Tick)>>>,
}

impl Engine for Pretended {
    fn set_leg(&mut self, _leg: &Leg) {}

    fn submit(&mut self, due: &[Due]) {
        let now = *self.now.borrow();
        for check in due {
            self.submitted.borrow_mut().push((check.id, now));
            let (outcome, after) = (self.network)(check, now);
            let after = Duration::from_millis(after).min(check.within);
            let layer = match check.ask {
                Ask::Arp(_) => Layer::Arp,
                Ask::Control(_) => Layer::Control,
                _ => Layer::Tcp,
            };
            let mut seen = Seen::plain(check.id, now, layer, outcome);
            if matches!(check.ask, Ask::Ready { .. }) {
                seen.what = What::Nothing;
            }
            self.under_way.push((now.after(after), seen));
        }
    }

    fn drain(&mut self, now: Tick, seen: &mut Vec<Seen>) {
        self.under_way.sort_by_key(|(at, _)| *at);
        let known = self.under_way.partition_point(|(at, _)| *at <= now);
        seen.extend(self.under_way.drain(..known).map(|(_, seen)| seen));
    }

    fn abandon(&mut self, blind: Blind, seen: &mut Vec<Seen>) {
        seen.extend(self.under_way.drain(..).map(|(_, mut s)| {
            if let What::Outcome { outcome, .. } = &mut s.what {
                *outcome = Outcome::Unmeasured(blind);
            }
            s
        }));
    }

    fn next_deadline(&self) -> Option<Tick> {
        self.under_way.iter().map(|(at, _)| *at).min()
    }

    fn readiness(&self) -> BorrowedFd<'_> {
        unreachable!("the rounds never wait")
    }

    fn in_flight(&self) -> usize {
        self.under_way.len()
    }

    fn arp_available(&self) -> Option<bool> {
        Some(true)
    }
}

struct World {
    now: Rc<RefCell<Tick>>,
    rounds: Rounds<Pretended>,
    submitted: Rc<RefCell<Vec<(CheckId, Tick)>>>,
}

impl World {
    fn new(ports: &[u16], network: Network) -> Self {
        let vantage: Vantage = "host/a".parse().unwrap();
        let inventory = crate::samples::inventory(ports);
        let plan = Plan::for_vantage(&inventory, &vantage, &BTreeMap::new(), Pace::default());
        let now = Rc::new(RefCell::new(Tick::default()));
        let submitted = Rc::default();
        let engine = Pretended {
            now: Rc::clone(&now),
            network,
            under_way: Vec::new(),
            submitted: Rc::clone(&submitted),
        };
        let control = vec!["198.51.100.1:80".parse().unwrap()];
        let mut rounds = Rounds::new(engine, &vantage, Limits::default(), control, "x".into());
        rounds.set_plans(&[&plan], Tick::default());
        Self {
            now,
            rounds,
            submitted,
        }
    }

    /// Turns as the loop does until `end`; the time of the first urgent moment.
    fn run(&mut self, end: u64) -> Option<Tick> {
        let mut urgent = None;
        loop {
            let now = *self.now.borrow();
            self.rounds.step(now, Blind::Overrun);
            if self.rounds.is_urgent() {
                urgent = urgent.or(Some(now));
            }
            let next = self.rounds.next_deadline().unwrap();
            // A loop that stands still would never end.
            let next = next.max(now.after(Duration::from_millis(1)));
            if next > Tick::from_millis(end) {
                *self.now.borrow_mut() = Tick::from_millis(end);
                return urgent;
            }
            *self.now.borrow_mut() = next;
        }
    }

    fn told(&mut self) -> Vec<pnwatch_core::wire::PathReport> {
        let now = *self.now.borrow();
        self.rounds.fold(now).paths(now)
    }
}

fn healthy() -> Network {
    Box::new(|_, _| (Outcome::Reached, 1))
}

#[test]
fn a_healthy_network_is_checked_once_a_second() {
    let mut world = World::new(&[30001, 30002], healthy());
    assert_eq!(world.run(10_000), None);
    let told = world.told();
    // One node, one neighbour, two targets (TCP), control.
    assert_eq!(told.len(), 5);
    for path in &told {
        assert_eq!(path.runs.len(), 1, "{path:?}");
        let expected = if path.layer == Layer::Control { 5 } else { 10 };
        assert_eq!(path.runs[0].count, expected, "{path:?}");
    }
    assert_eq!(world.rounds.tally().missed_slots, 0);
}

#[test]
fn what_an_exporter_asks_for_is_checked_at_once_within_the_bound() {
    let mut world = World::new(&[30001, 30002, 30003], healthy());
    world.run(10_000);
    world.told();
    let subject = |port: u16| format!("account:a{port}/i/nodeport").parse().unwrap();
    let now = *world.now.borrow();
    let asked = [
        subject(30001),
        subject(30002),
        subject(30003),
        subject(4),
        Subject::Control,
    ];
    world.rounds.ask(&asked, now);
    world.run(12_500);
    let told = world.told();
    let count = |layer, port: u16| -> u32 {
        let path = |p: &&pnwatch_core::wire::PathReport| {
            p.layer == layer && (port == 0 || p.subject == subject(port))
        };
        let path = told.iter().find(path).unwrap();
        path.runs.iter().map(|run| run.count).sum()
    };
    // Two seconds at 250 ms, then the plan's pace again; the third is checked once besides.
    for port in [30001, 30002] {
        assert!((8..=11).contains(&count(Layer::Tcp, port)), "{told:?}");
    }
    assert!((3..=4).contains(&count(Layer::Tcp, 30003)), "{told:?}");
    let arp = told
        .iter()
        .find(|p| p.layer == Layer::Arp && matches!(p.subject, Subject::Node(_)));
    let arp: u32 = arp.unwrap().runs.iter().map(|run| run.count).sum();
    assert!((19..=23).contains(&arp), "{told:?}");
    // Asked without end it costs no more than once in five seconds.
    world.submitted.borrow_mut().clear();
    for second in 0..20 {
        let now = *world.now.borrow();
        world.rounds.ask(&asked, now);
        world.run(13_500 + second * 1_000);
    }
    let sent = world.submitted.borrow().len();
    assert!(sent < 20 * 7 + 5 * (2 * 8 + 20 + 4), "{sent}");
}

#[test]
fn a_dead_node_is_down_within_three_seconds_of_the_fault() {
    for fault in (0..1000).step_by(37) {
        let fault = 5_000 + fault;
        let dead: Network = Box::new(move |due, now| match due.ask {
            Ask::Control(_) => (Outcome::Reached, 1),
            _ if now < Tick::from_millis(fault) => (Outcome::Reached, 1),
            Ask::Arp(_) => (Outcome::Unreached(Cause::ArpUnanswered), 300),
            _ => (MISS, 1300),
        });
        let mut world = World::new(&[30001, 30002, 30003], dead);
        let urgent = world.run(fault + 2_700).expect("something urgent");
        assert!(urgent <= Tick::from_millis(fault + 1_400), "{urgent:?}");
        let now = Tick::from_millis(fault + 2_700);
        let limits = PathLimits::default();
        let down = |layer| {
            let states = world.rounds.states.iter();
            states
                .filter(|((_, l), s)| *l == layer && s.verdict_at(now, &limits) == Verdict::Down)
                .count()
        };
        assert_eq!(down(Layer::Arp), 2);
    }
}

#[test]
fn a_path_that_is_down_has_one_connection_and_every_slot_answered() {
    let dead: Network = Box::new(|due, _| match due.ask {
        Ask::Up { .. } => (MISS, due.patience.as_millis() as u64),
        _ => (Outcome::Reached, 1),
    });
    let mut world = World::new(&[30001], dead);
    world.run(20_000);
    world.told();
    let before = world.rounds.tally().missed_slots;
    world.submitted.borrow_mut().clear();
    world.run(30_000);
    let told = world.told();
    let tcp = told.iter().find(|path| path.layer == Layer::Tcp).unwrap();
    let misses: u32 = tcp.runs.iter().map(|run| run.count).sum();
    assert!((9..=10).contains(&misses), "{tcp:?}");
    assert!(tcp.runs.iter().all(|run| run.outcome == MISS));
    assert_eq!(world.rounds.tally().missed_slots, before);
}

#[test]
fn a_late_check_of_a_path_that_is_down_holds_up_no_other_slot() {
    let dead: Network = Box::new(|due, _| match due.ask {
        Ask::Up { .. } => (MISS, due.patience.as_millis() as u64),
        _ => (Outcome::Reached, 1),
    });
    let mut world = World::new(&[30001], dead);
    world.run(20_000);
    world.told();
    let before = world.rounds.tally().missed_slots;
    // A loop that comes once in 400 ms begins each check as late as that.
    for turn in 1..=25 {
        let now = Tick::from_millis(20_000 + 400 * turn);
        *world.now.borrow_mut() = now;
        world.rounds.step(now, Blind::Overrun);
    }
    assert_eq!(world.rounds.tally().missed_slots, before);
}

#[test]
fn what_passes_while_nobody_runs_is_starved() {
    let mut world = World::new(&[30001], healthy());
    world.run(10_000);
    world.told();
    let later = Tick::from_millis(15_000);
    *world.now.borrow_mut() = later;
    world.rounds.step(later, Blind::Overrun);
    let told = world.told();
    let tcp = told.iter().find(|path| path.layer == Layer::Tcp).unwrap();
    let of = |path: &pnwatch_core::wire::PathReport, outcome| -> u32 {
        let runs = path.runs.iter().filter(|run| run.outcome == outcome);
        runs.map(|run| run.count).sum()
    };
    let starved = Outcome::Unmeasured(Blind::Starved);
    let overrun = Outcome::Unmeasured(Blind::Overrun);
    assert_eq!((of(tcp, starved), of(tcp, overrun)), (4, 0), "{tcp:?}");
}

#[test]
fn sleep_is_told_as_sleep() {
    let slow: Network = Box::new(|_, _| (Outcome::Reached, 200));
    let mut world = World::new(&[30001], slow);
    world.run(5_000);
    world.told();
    let later = Tick::from_millis(3_605_000);
    *world.now.borrow_mut() = later;
    world.rounds.abandon(Blind::Suspended, later);
    world.rounds.step(later, Blind::Suspended);
    world.rounds.step(later, Blind::Overrun);
    for path in world.told() {
        for run in &path.runs {
            assert_eq!(
                run.outcome,
                Outcome::Unmeasured(Blind::Suspended),
                "{path:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever the network does: no panic, reports that exporters accept, and as many outcomes
    /// as there were slots.
    #[test]
    fn every_slot_is_told(fates in prop::collection::vec((0u8..3, 0u64..2600), 1..60)) {
        let mut fates = fates.into_iter().cycle();
        let network: Network = Box::new(move |_, _| {
            let (what, after) = fates.next().unwrap();
            ([MISS, Outcome::Reached, Outcome::Unmeasured(Blind::Exhausted)][usize::from(what)], after)
        });
        let mut world = World::new(&[30001, 30002], network);
        let mut told = 0;
        for second in 1..30 {
            world.run(second * 1000);
            let paths = world.told();
            told += paths.iter().flat_map(|p| &p.runs).map(|r| u64::from(r.count)).sum::<u64>();
            let report = serde_json::json!({"version": 1, "cluster": "c", "vantage": "host/a",
                "boot_id": "b", "seq": second, "sent_at": "2026-06-22T09:14:30.123Z", "paths": paths});
            prop_assert!(Report::from_json(report.to_string().as_bytes()).is_ok());
        }
        let ready = world.rounds.checklist.iter().filter(|(_, c)| c.probe == Probe::Ready);
        let ready: Vec<CheckId> = ready.map(|(id, _)| id).collect();
        let submitted = world.submitted.borrow();
        let handed = submitted.iter().filter(|(id, _)| !ready.contains(id)).count() as u64;
        let pending = world.rounds.engine.under_way.iter().filter(|(_, s)| !ready.contains(&s.id)).count() as u64;
        // Skipped slots of /ready are counted but not told.
        let tally = world.rounds.tally();
        prop_assert!(told >= handed - pending);
        prop_assert!(told <= handed - pending + tally.missed_slots);
    }
}
