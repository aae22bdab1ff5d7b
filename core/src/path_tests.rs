use proptest::prelude::*;

use super::recent::REMEMBERED;
use super::*;
use crate::outcome::{Blind, Cause};

const MISS: Outcome = Outcome::Unreached(Cause::ArpUnanswered);

fn ms(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

fn seen(at: u64, outcome: Outcome) -> Observation {
    Observation {
        start: ms(at),
        outcome,
    }
}

/// The state after `results`, each at its time in milliseconds.
fn after(results: &[(u64, bool)]) -> PathState {
    let mut state = PathState::default();
    for (at, reached) in results {
        let outcome = if *reached { Outcome::Reached } else { MISS };
        state.observe(seen(*at, outcome), &Limits::default());
    }
    state
}

fn verdict(results: &[(u64, bool)], at: u64) -> Verdict {
    after(results).verdict_at(ms(at), &Limits::default())
}

#[test]
fn the_verdict_follows_the_table() {
    use Verdict::{Down, Suspect, Unknown, Up};
    let (ok, no) = (true, false);
    for (results, at, expected) in [
        (&[][..], 0, Unknown),
        (&[(0, ok)], 1000, Up),
        (&[(0, ok)], 6000, Up),
        // Old evidence becomes Unknown by being read late, whatever it said.
        (&[(0, ok)], 6001, Unknown),
        (&[(0, no), (1000, no)], 7001, Unknown),
        (&[(0, ok), (1000, no)], 1300, Suspect),
        (&[(0, ok), (1000, no), (1999, no)], 2300, Suspect),
        (&[(0, ok), (1000, no), (2000, no)], 2300, Down),
        // A success in between starts the silence anew.
        (&[(1000, no), (1500, ok), (2000, no)], 2300, Suspect),
        // The same, when the success is told last.
        (&[(1000, no), (2000, no), (1500, ok)], 2300, Suspect),
        // One success is not recovery, two are.
        (&[(0, no), (1000, no), (1100, ok)], 1200, Down),
        (
            &[(0, no), (1000, no), (1100, ok), (1200, no), (1300, ok)],
            1400,
            Down,
        ),
        (&[(0, no), (1000, no), (1100, ok), (1200, ok)], 1300, Up),
        // After recovery it takes a whole second again.
        (
            &[(0, no), (1000, no), (1100, ok), (1200, ok), (1300, no)],
            1400,
            Suspect,
        ),
    ] {
        assert_eq!(verdict(results, at), expected, "{results:?} at {at}");
    }
}

#[test]
fn what_was_not_measured_says_nothing() {
    let limits = Limits::default();
    let mut state = after(&[(0, true), (1000, false)]);
    for at in (1100..2500).step_by(100) {
        state.observe(seen(at, Outcome::Unmeasured(Blind::Starved)), &limits);
    }
    assert_eq!(state.verdict_at(ms(2500), &limits), Verdict::Suspect);
    assert_eq!(state.newest(), Some(ms(1000)));
    assert!(matches!(
        state.last().unwrap().outcome,
        Outcome::Unmeasured(Blind::Starved)
    ));
}

#[test]
fn a_quarter_lost_is_degraded() {
    let results: Vec<(u64, bool)> = (0..64).map(|n| (n * 1000, n % 4 != 0)).collect();
    assert_eq!(verdict(&results, 63_500), Verdict::Degraded);
    let better: Vec<(u64, bool)> = (0..64).map(|n| (n * 1000, n % 8 != 0)).collect();
    assert_eq!(verdict(&better, 63_500), Verdict::Up);
    assert!((after(&better).loss() - 0.125).abs() < 1e-9);
}

#[test]
fn an_outage_is_one_silence_however_often_a_burst_asks() {
    let lossy: Vec<(u64, bool)> = (0..40).map(|n| (n * 1000, n % 4 != 0)).collect();
    assert_eq!(after(&lossy).silences(), 10);
    let flapping: Vec<(u64, bool)> = (0..40).map(|n| (n * 100, n % 20 >= 8)).collect();
    assert_eq!(after(&flapping).silences(), 2);
    assert_eq!(after(&[]).silences(), 0);
}

#[test]
fn the_start_of_a_long_outage_is_kept() {
    let results: Vec<(u64, bool)> = (0..5000).map(|n| (n * 100, n < 3)).collect();
    let state = after(&results);
    assert_eq!(state.missing_since(), Some(ms(300)));
    assert_eq!(state.last_success(), Some(ms(200)));
}

#[test]
fn an_outage_reaches_back_over_a_time_in_which_nothing_was_measured() {
    let (ok, no) = (true, false);
    for (results, at, verdict, since, began) in [
        (
            &[(0, ok), (1000, no)][..],
            1000,
            Verdict::Suspect,
            Some(1000),
            None,
        ),
        (
            &[(1000, no), (2000, no)],
            2000,
            Verdict::Down,
            Some(1000),
            Some(1000),
        ),
        // One miss after the gap confirms nothing; two do, and it is the outage from before.
        (
            &[(1000, no), (2000, no), (20_000, no)],
            20_000,
            Verdict::Suspect,
            Some(20_000),
            Some(1000),
        ),
        (
            &[(1000, no), (2000, no), (20_000, no), (21_000, no)],
            21_000,
            Verdict::Down,
            Some(20_000),
            Some(1000),
        ),
        // Twice.
        (
            &[
                (1000, no),
                (2000, no),
                (20_000, no),
                (40_000, no),
                (41_000, no),
            ],
            41_000,
            Verdict::Down,
            Some(40_000),
            Some(1000),
        ),
        // What was never confirmed is not an outage to go on with.
        (
            &[(1000, no), (20_000, no), (21_000, no)],
            21_000,
            Verdict::Down,
            Some(20_000),
            Some(20_000),
        ),
        // One success after the gap ends it.
        (
            &[
                (1000, no),
                (2000, no),
                (20_000, ok),
                (21_000, no),
                (22_000, no),
            ],
            22_000,
            Verdict::Down,
            Some(21_000),
            Some(21_000),
        ),
        // Told late, it ends it all the same.
        (
            &[
                (1000, no),
                (2000, no),
                (21_000, no),
                (22_000, no),
                (20_000, ok),
            ],
            22_000,
            Verdict::Down,
            Some(21_000),
            Some(21_000),
        ),
    ] {
        let state = after(results);
        assert_eq!(
            state.verdict_at(ms(at), &Limits::default()),
            verdict,
            "{results:?}"
        );
        assert_eq!(state.missing_since(), since.map(ms), "{results:?}");
        assert_eq!(state.outage_began(), began.map(ms), "{results:?}");
    }
}

/// A prober at 1 Hz that bursts at 10 Hz from the first known miss to the next success, as the
/// checks of one path: `alive(start)` says whether a check that starts then is answered.
fn probe(phase: u64, deadline: u64, until: u64, alive: impl Fn(u64) -> bool) -> Vec<Verdict> {
    let limits = Limits::default();
    let mut state = PathState::default();
    let mut verdicts = Vec::new();
    let mut burst_from: Option<u64> = None;
    let mut pending: Vec<u64> = Vec::new();
    for now in 0..until {
        pending.retain(|start| {
            let known = if alive(*start) {
                *start
            } else {
                start + deadline
            };
            if known > now {
                return true;
            }
            let outcome = if alive(*start) {
                Outcome::Reached
            } else {
                MISS
            };
            state.observe(seen(*start, outcome), &limits);
            match outcome {
                Outcome::Reached if burst_from.is_some_and(|b| b <= *start) => burst_from = None,
                Outcome::Reached => {}
                _ => burst_from = burst_from.or(Some(now)),
            }
            false
        });
        let due = burst_from.map_or(now % 1000 == phase, |b| (now - b) % 100 == 0);
        if due {
            pending.push(now);
        }
        verdicts.push(state.verdict_at(ms(now), &limits));
    }
    verdicts
}

fn results() -> impl Strategy<Value = Vec<(u64, u8)>> {
    prop::collection::vec((0u64..20_000, 0u8..4), 0..200)
}

fn outcome(code: u8) -> Outcome {
    match code {
        0 => Outcome::Reached,
        1 => MISS,
        2 => Outcome::Unmeasured(Blind::Overrun),
        _ => Outcome::NotApplicable,
    }
}

proptest! {
    #[test]
    fn any_order_is_taken_and_down_needs_a_second(results in results(), at in 0u64..30_000) {
        let limits = Limits::default();
        let mut state = PathState::default();
        for (start, code) in &results {
            state.observe(seen(*start, outcome(*code)), &limits);
            let verdict = state.verdict_at(ms(at), &limits);
            if verdict == Verdict::Down {
                let first = state.missing_since().unwrap();
                prop_assert!(state.newest().unwrap().since(first) >= limits.confirm);
            }
        }
        prop_assert!((0.0..=1.0).contains(&state.loss()));
    }

    /// As long as nothing is later than what is remembered, order does not matter.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        results in prop::collection::vec((0u64..5_000, any::<bool>()), 0..REMEMBERED),
        at in 0u64..9_000,
    ) {
        let mut sorted = results.clone();
        sorted.sort_unstable();
        sorted.dedup_by_key(|r| r.0);
        let mut shuffled = sorted.clone();
        shuffled.sort_by_key(|(start, _)| start.wrapping_mul(2_654_435_761) % 1_000_003);
        // Loss is counted by arrival: Up and Degraded may differ.
        let coarse = |v: Verdict| if v.is_reached() { Verdict::Up } else { v };
        prop_assert_eq!(coarse(verdict(&sorted, at)), coarse(verdict(&shuffled, at)));
        prop_assert_eq!(after(&sorted).missing_since(), after(&shuffled).missing_since());
    }

    #[test]
    fn single_losses_never_reach_down(phase in 0u64..1000, lost in 0u64..10_000) {
        let verdicts = probe(phase, 300, 12_000, |start| start / 97 % 100 != lost % 100);
        prop_assert!(!verdicts.contains(&Verdict::Down));
    }

    #[test]
    fn half_second_blips_never_reach_down(
        phase in 0u64..1000, from in 1000u64..2000, length in 1u64..=500, again in 1500u64..15_000,
    ) {
        let dead = |start: u64| start >= from && (start - from) % again < length;
        for deadline in [300, 1300] {
            let verdicts = probe(phase, deadline, 12_000, |start| !dead(start));
            prop_assert!(!verdicts.contains(&Verdict::Down));
        }
    }

    /// The detection time that the page promises: a check a second, a burst, a second of silence.
    #[test]
    fn an_outage_is_down_in_time_and_recovers(phase in 0u64..1000, from in 2000u64..3000) {
        let to = from + 8000;
        let verdicts = probe(phase, 300, to + 3000, |start| start < from || start >= to);
        let down = verdicts.iter().position(|v| *v == Verdict::Down).unwrap() as u64;
        prop_assert!(down >= from + 1000, "down after {} ms", down - from);
        prop_assert!(down <= from + 2300, "down after {} ms", down - from);
        prop_assert!(verdicts.last() == Some(&Verdict::Up));
    }
}
