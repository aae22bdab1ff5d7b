use pnwatch_core::name::Node;
use pnwatch_core::outcome::{Blind, Cause};
use proptest::prelude::*;

use super::*;

const MISS: Outcome = Outcome::Unreached(Cause::SynUnanswered);

fn entry(outcome: Outcome, at: u64) -> Entry {
    Entry {
        rtt: (outcome == Outcome::Reached).then_some(Duration::from_micros(300)),
        ..Entry::plain(outcome, Tick::from_millis(at))
    }
}

fn gathered(entries: &[Entry]) -> Unit {
    let subject = Arc::new("node:n1".parse().unwrap());
    let mut gathering = Gathering::default();
    for entry in entries {
        gathering.add((CheckId(1), Layer::Arp), &subject, *entry, None);
    }
    gathering.fold(Tick::from_millis(10_000))
}

#[test]
fn results_are_told_by_start_whenever_they_came() {
    // The miss that started first became known last.
    let unit = gathered(&[
        entry(Outcome::Reached, 1000),
        entry(Outcome::Reached, 2000),
        entry(Outcome::Reached, 4000),
        entry(MISS, 3000),
    ]);
    let told = unit.paths(Tick::from_millis(5000));
    let seen: Vec<_> = told[0]
        .runs
        .iter()
        .map(|r| {
            (
                r.outcome,
                r.count,
                r.first_age_us,
                r.last_age_us,
                r.rtt_us.len(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Outcome::Reached, 2, 4_000_000, 3_000_000, 2),
            (MISS, 1, 2_000_000, 2_000_000, 0),
            (Outcome::Reached, 1, 1_000_000, 1_000_000, 1),
        ]
    );
    let rest = unit.folded().paths(Tick::from_millis(5000));
    assert!(rest[0].runs.iter().all(|run| run.rtt_us.is_empty()));
    assert_eq!(unit.folded().outcomes(), 4);
}

#[test]
fn units_join_into_one_and_equal_runs_go_on() {
    let mut first = gathered(&[entry(Outcome::Reached, 1000), entry(Outcome::Reached, 2000)]);
    let second = gathered(&[entry(Outcome::Reached, 3000), entry(MISS, 4000)]);
    assert!(first.join(&second));
    let told = first.paths(Tick::from_millis(5000));
    let seen: Vec<_> = told[0]
        .runs
        .iter()
        .map(|r| (r.count, r.first_age_us))
        .collect();
    assert_eq!(
        (told.len(), seen),
        (1, vec![(3, 4_000_000), (1, 1_000_000)])
    );
    // A unit that would burst the wire's bound stays for itself, and nothing changed.
    let many: Vec<Entry> = (0..MAX_RUNS as u64)
        .map(|n| entry(if n % 2 == 0 { MISS } else { Outcome::Reached }, 5000 + n))
        .collect();
    assert!(!first.join(&gathered(&many)));
    assert_eq!(first.outcomes(), 4);
}

#[test]
fn a_run_of_skipped_slots_is_one_entry() {
    let skipped = Entry {
        count: 28_799,
        last: Tick::from_millis(9000),
        ..Entry::plain(Outcome::Unmeasured(Blind::Suspended), Tick::from_millis(1))
    };
    let unit = gathered(&[skipped]);
    assert_eq!(unit.outcomes(), 28_799);
}

proptest! {
    /// What is told can be read back, and no outcome is lost.
    #[test]
    fn every_report_is_acceptable(
        seen in prop::collection::vec((0u8..3, 0u64..20_000), 1..400), now in 0u64..30_000
    ) {
        let outcomes = [MISS, Outcome::Reached, Outcome::Unmeasured(Blind::Overrun)];
        let entries: Vec<_> = seen.iter().map(|(o, at)| entry(outcomes[usize::from(*o)], *at)).collect();
        let unit = gathered(&entries);
        let paths = unit.paths(Tick::from_millis(now));
        prop_assert!(paths[0].runs.len() <= MAX_RUNS);
        for run in &paths[0].runs {
            prop_assert!(run.count > 0 && run.last_age_us <= run.first_age_us);
            prop_assert!(run.rtt_us.len() <= MAX_SAMPLES);
        }
        if paths[0].runs.len() < MAX_RUNS {
            prop_assert_eq!(unit.outcomes(), entries.len() as u64);
        }
    }
}

#[test]
fn what_is_too_much_for_one_report_goes_in_several() {
    let mut gathering = Gathering::default();
    let checks = u32::try_from(2 * PATHS_PER_REPORT + 7).unwrap();
    for id in 0..checks {
        let subject = Arc::new(Subject::Node(Node::new(format!("n{id}")).unwrap()));
        let entry = Entry::plain(Outcome::Reached, Tick::from_millis(9_000));
        gathering.add((CheckId(id), Layer::Arp), &subject, entry, None);
    }
    let parts = gathering.fold(Tick::from_millis(10_000)).split();
    assert_eq!(parts.len(), 3);
    assert!(parts.iter().all(|part| part.len() <= PATHS_PER_REPORT));
    let outcomes: u64 = parts.iter().map(Unit::outcomes).sum();
    assert_eq!(outcomes, u64::from(checks));
    // Nothing new: one part, so that the prober is still heard.
    let parts = gathering.fold(Tick::from_millis(11_000)).split();
    assert_eq!((parts.len(), parts[0].len()), (1, 0));
}

#[test]
fn in_turn_every_path_is_told_once_in_as_many_parts() {
    let mut gathering = Gathering::default();
    let checks = u32::try_from(2 * PART + 7).unwrap();
    let see = |gathering: &mut Gathering, count: u32| {
        for id in 0..count {
            let subject = Arc::new(Subject::Node(Node::new(format!("n{id}")).unwrap()));
            let entry = Entry::plain(Outcome::Reached, Tick::from_millis(9_000));
            gathering.add((CheckId(id), Layer::Arp), &subject, entry, None);
        }
    };
    see(&mut gathering, checks);
    assert_eq!(gathering.parts(), 3);
    let now = Tick::from_millis(10_000);
    let lengths = |gathering: &mut Gathering, times: usize| -> Vec<usize> {
        let each = core::iter::repeat_with(|| gathering.fold_part(now).len());
        each.take(times).collect()
    };
    assert_eq!(lengths(&mut gathering, 3), [PART, PART, 7]);
    // Told in the middle of a round: all of it, and the round begins anew.
    see(&mut gathering, checks);
    gathering.fold_part(now);
    see(&mut gathering, 1);
    assert_eq!(gathering.fold(now).len(), PART + 8);
    see(&mut gathering, checks);
    assert_eq!(lengths(&mut gathering, 3), [PART, PART, 7]);
    // A few paths: all of them, each time.
    let mut few = Gathering::default();
    see(&mut few, 3);
    assert_eq!((few.parts(), lengths(&mut few, 2)), (1, vec![3, 0]));
}
