use proptest::prelude::*;

use super::{Detector, FLAT_FOR, Known};
use crate::time::Tick;

const MBIT: u64 = 125_000;

/// Feeds one rate a second (Mbit/s); the second in which a plateau was first seen, and its level.
fn run(rates: &[u64]) -> (Option<usize>, Option<u64>) {
    let mut detector = Detector::default();
    let (mut first, mut level) = (None, None);
    for (second, rate) in rates.iter().enumerate() {
        let at = Tick::from_millis((second as u64 + 1) * 1_000);
        detector.observe(at, rate * MBIT);
        let plateau = detector.plateau(at);
        if plateau.is_some() && first.is_none() {
            first = Some(second);
        }
        level = plateau.map(|p| p.level / MBIT);
    }
    (first, level)
}

fn after(burst: &[u64], level: u64, seconds: usize) -> Vec<u64> {
    let mut rates = burst.to_vec();
    rates.extend(std::iter::repeat_n(level, seconds));
    rates
}

#[test]
fn a_token_bucket_is_a_clamp() {
    let (first, level) = run(&after(&[5_000; 10], 1_520, 30));
    assert_eq!((first, level), (Some(10 + FLAT_FOR - 1), Some(1_520)));
    // The second of the step is neither.
    let (first, _) = run(&after(&[0, 0, 800, 800, 800, 430], 200, 12));
    assert_eq!(first, Some(6 + FLAT_FOR - 1));
    // A shaper is not flat to the byte.
    let mut rates = vec![800, 810, 790];
    rates.extend([204, 197, 200, 202, 199, 201, 205, 198, 196, 203]);
    let (first, level) = run(&rates);
    assert!(first.is_some());
    assert!(level.is_some_and(|l| (196..=204).contains(&l)), "{level:?}");
}

#[test]
fn steady_demand_is_none() {
    for rates in [
        vec![750; 60],                             // one tenant at its cap, from the start
        after(&[0; 5], 750, 40),                   // the same, begun
        after(&[0; 5], 936, 40),                   // a client with a gigabit card
        after(&[200; 20], 750, 40),                // a step up
        after(&[900; 10], 850, 40),                // less than a step
        (0..60).map(|n| 1_000 - n * 10).collect(), // demand that fades
        (0..60)
            .map(|n| if n % 2 == 0 { 900 } else { 100 })
            .collect(),
        after(&[5_000; 3], 3, 40), // idle after a burst
    ] {
        assert_eq!(run(&rates).0, None, "{rates:?}");
    }
}

#[test]
fn it_ends_with_the_demand() {
    let mut rates = after(&[800; 4], 200, 20);
    rates.extend([0; 5]);
    assert_eq!(run(&rates), (Some(4 + FLAT_FOR - 1), None));
    let mut rates = after(&[800; 4], 200, 20);
    rates.extend([500; 5]);
    assert_eq!(run(&rates).1, None);
    // One odd second does not end it.
    let mut rates = after(&[800; 4], 200, 20);
    rates.extend([90, 200, 200]);
    assert_eq!(run(&rates).1, Some(200));
}

#[test]
fn sums_of_caps_and_cards_explain() {
    let known = Known {
        caps: vec![750 * MBIT; 40],
        cards: vec![117_000_000],
    };
    for (level, explained) in [
        (750 * MBIT, true),
        (1_500 * MBIT, true),
        (2_250 * MBIT, true),
        (117_000_000, true),
        (1_525 * MBIT, false),
        (200 * MBIT, false),
        (900 * MBIT, false),
    ] {
        assert_eq!(known.explains(level).is_some(), explained, "{level}");
    }
    assert_eq!(Known::default().explains(750 * MBIT), None);
}

proptest! {
    #[test]
    fn nothing_panics(rates in prop::collection::vec(any::<u64>(), 0..100), caps in prop::collection::vec(any::<u64>(), 0..60), level in any::<u64>()) {
        let mut detector = Detector::default();
        for (second, rate) in rates.iter().enumerate() {
            let at = Tick::from_millis(second as u64 * 1_000);
            detector.observe(at, *rate);
            let _ = detector.plateau(at);
        }
        let known = Known { caps: caps.clone(), cards: caps };
        let _ = known.explains(level);
    }
}
