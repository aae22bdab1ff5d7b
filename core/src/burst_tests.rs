use proptest::prelude::*;

use super::*;
use crate::outcome::{Blind, Cause};

const MISS: Outcome = Outcome::Unreached(Cause::SynUnanswered);

/// Node `n` with ARP 0 and targets 1 to 4; neighbour with ARP 5; control 6; ready 7 of `n`.
fn bursts() -> Bursts {
    let mut bursts = Bursts::new(Settings::default());
    let connect = (1..5).map(|i| (CheckId(i), "node:n".into(), Probe::Connect));
    bursts.set(
        [(CheckId(0), "node:n".into(), Probe::Arp)]
            .into_iter()
            .chain(connect)
            .chain([
                (CheckId(5), "neighbour".into(), Probe::Arp),
                (CheckId(6), "control".into(), Probe::Control),
                (CheckId(7), "node:n".into(), Probe::Ready),
            ]),
    );
    bursts
}

fn observe(bursts: &mut Bursts, id: u32, outcome: Outcome, at: u64) -> Vec<(u32, Mode)> {
    let (mut changes, at) = (Vec::new(), Tick::from_millis(at));
    bursts.observe(CheckId(id), outcome, at, at, &mut changes);
    changes.iter().map(|c| (c.id.0, c.mode)).collect()
}

#[test]
fn the_first_miss_asks_the_node_and_two_targets() {
    use Mode::Burst;
    for (missed, expected) in [
        (0, vec![(0, Burst), (1, Burst), (2, Burst)]),
        (4, vec![(4, Burst), (0, Burst), (1, Burst)]),
        (5, vec![(5, Burst)]),
        (6, vec![(6, Burst)]),
        (7, vec![(0, Burst), (1, Burst), (2, Burst)]),
    ] {
        assert_eq!(observe(&mut bursts(), missed, MISS, 10), expected);
    }
}

#[test]
fn a_second_miss_finds_the_bound_taken() {
    let mut bursts = bursts();
    observe(&mut bursts, 0, MISS, 10);
    assert_eq!(observe(&mut bursts, 3, MISS, 20), []);
    assert_eq!(observe(&mut bursts, 1, MISS, 20), []);
    // One answers: the next miss takes its place.
    assert_eq!(
        observe(&mut bursts, 1, Outcome::Reached, 30),
        [(1, Mode::Normal)]
    );
    assert_eq!(observe(&mut bursts, 3, MISS, 40), [(3, Mode::Burst)]);
}

#[test]
fn what_is_not_measured_opens_nothing() {
    for outcome in [
        Outcome::Unmeasured(Blind::Overrun),
        Outcome::NotApplicable,
        Outcome::Reached,
    ] {
        assert_eq!(observe(&mut bursts(), 0, outcome, 10), []);
    }
}

#[test]
fn only_a_success_that_started_after_the_miss_ends_it() {
    let mut bursts = bursts();
    observe(&mut bursts, 0, MISS, 100);
    assert_eq!(observe(&mut bursts, 0, Outcome::Reached, 99), []);
    assert_eq!(
        observe(&mut bursts, 0, Outcome::Reached, 101),
        [(0, Mode::Normal)]
    );
}

#[test]
fn a_burst_runs_out_into_down_and_success_ends_down() {
    let mut bursts = bursts();
    observe(&mut bursts, 5, MISS, 0);
    assert_eq!(bursts.next_deadline(), Some(Tick::from_millis(5000)));
    let mut changes = Vec::new();
    bursts.expire(Tick::from_millis(4999), &mut changes);
    assert_eq!(changes, []);
    bursts.expire(Tick::from_millis(5000), &mut changes);
    assert_eq!(changes.len(), 1);
    assert_eq!(bursts.mode(CheckId(5)), Mode::Down);
    assert_eq!(bursts.next_deadline(), None);
    assert_eq!(observe(&mut bursts, 5, MISS, 6000), []);
    assert_eq!(
        observe(&mut bursts, 5, Outcome::Reached, 7000),
        [(5, Mode::Normal)]
    );
}

#[test]
fn a_node_that_is_down_is_asked_by_arp_four_times_a_second_and_nothing_else_is() {
    let second = Duration::from_secs(1);
    let node: Subject = "node:n".parse().unwrap();
    let peer: Subject = "neighbour:host/mini-1".parse().unwrap();
    for (probe, subject, every, expected) in [
        (Probe::Arp, &node, second, Some(DOWN_ARP)),
        (Probe::Arp, &node, Duration::from_millis(100), None),
        (Probe::Arp, &peer, second, None),
        (Probe::Connect, &node, second, None),
        (Probe::Control, &Subject::Control, second, None),
    ] {
        assert_eq!(
            while_down(probe, subject, every),
            expected,
            "{probe:?} {subject}"
        );
    }
}

proptest! {
    #[test]
    fn never_more_than_two_connections_of_a_node_burst(
        steps in prop::collection::vec((0u32..9, 0u8..3, 0u64..9000), 0..200)
    ) {
        let mut bursts = bursts();
        let mut modes: BTreeMap<CheckId, Mode> = BTreeMap::new();
        let (mut changes, mut now) = (Vec::new(), Tick::default());
        for (id, what, wait) in steps {
            now = now.after(Duration::from_millis(wait));
            let outcome = [MISS, Outcome::Reached, Outcome::Unmeasured(Blind::Starved)][usize::from(what)];
            bursts.expire(now, &mut changes);
            bursts.observe(CheckId(id), outcome, now, now, &mut changes);
            for change in changes.drain(..) {
                // A change is a change.
                prop_assert_ne!(modes.insert(change.id, change.mode), Some(change.mode));
            }
            for (id, mode) in &modes {
                prop_assert_eq!(bursts.mode(*id), *mode);
            }
            let burst = (1..5).filter(|i| bursts.mode(CheckId(*i)) == Mode::Burst).count();
            prop_assert!(burst <= 2);
        }
    }
}

fn ask(bursts: &mut Bursts, ids: &[u32], at: u64) -> (Vec<(u32, Mode)>, Vec<u32>) {
    let mut changes = Vec::new();
    let ids = ids.iter().map(|id| CheckId(*id));
    let once = bursts.ask(ids, Tick::from_millis(at), &mut changes);
    (
        changes.iter().map(|c| (c.id.0, c.mode)).collect(),
        once.iter().map(|id| id.0).collect(),
    )
}

#[test]
fn an_exporter_may_ask_within_the_bound_of_the_node() {
    use Mode::{Asked, Burst, Normal};
    let mut bursts = bursts();
    // Two places for connections, ARP besides; the others are checked once.
    let (changes, once) = ask(&mut bursts, &[1, 2, 3, 4, 99], 1_000);
    assert_eq!(changes, [(1, Asked), (0, Asked), (2, Asked)]);
    assert_eq!(once, [3, 4]);
    // A success does not end it, its time does.
    assert_eq!(observe(&mut bursts, 1, Outcome::Reached, 1_100), []);
    let mut changes = Vec::new();
    bursts.expire(Tick::from_millis(3_000), &mut changes);
    let ended: Vec<_> = changes.iter().map(|c| (c.id.0, c.mode)).collect();
    assert_eq!(ended, [(0, Normal), (1, Normal), (2, Normal)]);
    assert_eq!(bursts.next_deadline(), None);
    // Asked again too soon, nothing happens; later it does.
    assert_eq!(ask(&mut bursts, &[1, 3], 5_999), (vec![], vec![]));
    let (changes, once) = ask(&mut bursts, &[3], 6_000);
    assert_eq!((changes, once), (vec![(3, Asked), (0, Asked)], vec![]));
    // Neither readiness nor control is anybody's wish.
    assert_eq!(ask(&mut bursts, &[6, 7], 20_000).1, [0; 0]);
    // A miss turns it into a suspicion that only a success or the whole burst ends.
    let changes = observe(&mut bursts, 3, MISS, 6_500);
    assert_eq!(changes, [(3, Burst), (0, Burst), (1, Burst)]);
    assert_eq!(ask(&mut bursts, &[3], 30_000).0, []);
    let mut changes = Vec::new();
    bursts.expire(Tick::from_millis(11_500), &mut changes);
    assert!(changes.iter().all(|c| c.mode == Mode::Down), "{changes:?}");
    assert_eq!(changes.len(), 3);
}
