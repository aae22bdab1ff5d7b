//! Random timelines: who is blamed, and that nobody else is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test: a fault ends it

use pnwatch_fleet::timeline::run_many;

#[test]
fn five_hundred_timelines_meet_the_goals() {
    let tally = run_many(1, 500);
    assert!(tally.faults() > 300, "{}", tally.faults());
    assert!(
        tally.meets_the_goals(),
        "blame {:.4}, class {:.4}:\n{}",
        tally.blame_share(),
        tally.class_share(),
        tally.lines.join("\n")
    );
}
