//! The last failures of a path, kept apart from the successes that have followed them: at
//! 3 a.m. the question is often what it was an hour ago.
//!
//! Misses of one cause that no success divides are one failure with a count. Nothing is
//! allocated before the first miss, and at most [`KEPT`] failures are kept.

use serde::Serialize;

use crate::outcome::Cause;
use crate::time::{Now, Tick, Timestamp};

/// Failures that are kept per path.
pub const KEPT: usize = 5;

/// Misses of one cause without a success between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: Tick,
    last: Tick,
    cause: Cause,
    misses: u32,
}

/// The last failures of one path.
#[derive(Debug, Clone, Default)]
pub struct Failures {
    /// Oldest first.
    runs: Vec<Run>,
    /// A success came after the newest run.
    divided: bool,
}

/// One failure, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Start of its first missed check.
    pub from: Timestamp,
    /// Start of its last missed check.
    pub until: Timestamp,
    /// What the checks saw.
    pub cause: Cause,
    /// How many were missed.
    pub misses: u32,
}

impl Failures {
    /// Takes in a check that was answered.
    pub fn success(&mut self) {
        self.divided = true;
    }

    /// Takes in a check that was not.
    pub fn miss(&mut self, start: Tick, cause: Cause) {
        if let Some(newest) = self.runs.last_mut()
            && !self.divided
            && newest.cause == cause
        {
            newest.first = newest.first.min(start);
            newest.last = newest.last.max(start);
            newest.misses = newest.misses.saturating_add(1);
            return;
        }
        if self.runs.len() >= KEPT {
            self.runs.remove(0);
        }
        self.divided = false;
        self.runs.push(Run {
            first: start,
            last: start,
            cause,
            misses: 1,
        });
    }

    /// The failures, newest first.
    pub fn told(&self, now: Now) -> Vec<Failure> {
        let told = |run: &Run| Failure {
            from: now.wall_at(run.first),
            until: now.wall_at(run.last),
            cause: run.cause,
            misses: run.misses,
        };
        self.runs.iter().rev().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Failures, KEPT};
    use crate::outcome::Cause;
    use crate::time::{Now, Tick, Timestamp};

    fn at(second: u64) -> Now {
        Now {
            wall: Timestamp::from_unix_seconds(1_000 + second),
            tick: Tick::from_millis(second * 1_000),
        }
    }

    #[test]
    fn successes_divide_and_causes_too() {
        let mut failures = Failures::default();
        assert!(failures.told(at(0)).is_empty());
        failures.success();
        for second in 1..=3 {
            failures.miss(at(second).tick, Cause::SynUnanswered);
        }
        failures.miss(at(4).tick, Cause::Refused);
        failures.success();
        failures.miss(at(9).tick, Cause::Refused);
        let told = failures.told(at(60));
        let seen: Vec<_> = told.iter().map(|f| (f.cause, f.misses)).collect();
        assert_eq!(
            seen,
            [
                (Cause::Refused, 1),
                (Cause::Refused, 1),
                (Cause::SynUnanswered, 3)
            ]
        );
        assert_eq!((told[2].from, told[2].until), (at(1).wall, at(3).wall));
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut failures = Failures::default();
        for second in 0..20 {
            failures.miss(at(second).tick, Cause::Refused);
            failures.success();
        }
        let told = failures.told(at(60));
        assert_eq!(told.len(), KEPT);
        assert_eq!(told[0].from, at(19).wall);
    }
}
