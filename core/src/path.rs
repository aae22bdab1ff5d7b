//! What one path's checks mean: a verdict that decays by being read late.
//!
//! `Down` = no success for at least [`Limits::confirm`] from first to last miss. Half-second
//! blips and single losses never get there. Results count by the time their check *started*.

use core::time::Duration;
use std::collections::VecDeque;

use crate::outcome::{Outcome, labels};
use crate::time::Tick;

labels!(
    /// What is to be thought of a path now.
    Verdict {
        /// No fresh evidence.
        Unknown => "unknown",
        /// Reached.
        Up => "up",
        /// Reached, but too often not.
        Degraded => "degraded",
        /// Missed, not yet for long enough.
        Suspect => "suspect",
        /// Not reached for at least the confirmation time.
        Down => "down",
    }
);

impl serde::Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_label())
    }
}

impl Verdict {
    /// The value of `pnwatch_path_state`: 0 unknown, 1 up, 2 degraded, 3 suspect, 4 down.
    pub fn as_metric(self) -> f64 {
        match self {
            Self::Unknown => 0.0,
            Self::Up => 1.0,
            Self::Degraded => 2.0,
            Self::Suspect => 3.0,
            Self::Down => 4.0,
        }
    }

    /// Whether the path carries traffic.
    pub fn is_reached(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }

    /// Whether checks are being missed.
    pub fn is_missing(self) -> bool {
        matches!(self, Self::Suspect | Self::Down)
    }
}

/// The thresholds of a path's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Silence from first to last miss that makes `Down`.
    pub confirm: Duration,
    /// Age at which evidence is no evidence any more.
    pub stale: Duration,
    /// Consecutive successes that end `Down`.
    pub recover: u32,
    /// Misses among the last [`WINDOW`] measured checks that make `Degraded`.
    pub degraded: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            confirm: Duration::from_secs(1),
            stale: Duration::from_secs(6),
            recover: 2,
            degraded: 16,
        }
    }
}

/// Measured checks over which loss is counted.
pub const WINDOW: u32 = 64;
/// Misses remembered one by one; beyond, the first and the newest are kept.
const REMEMBERED: usize = 64;

/// One check's result: when it started, and what it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// When the check started.
    pub start: Tick,
    /// What it saw.
    pub outcome: Outcome,
}

/// The state of one path.
#[derive(Debug, Clone, Default)]
pub struct PathState {
    last_success: Option<Tick>,
    /// Starts of misses after the last success, sorted.
    misses: VecDeque<Tick>,
    /// Consecutive successes since the last miss.
    successes: u32,
    was_down: bool,
    last: Option<Observation>,
    newest: Option<Tick>,
    /// One bit per measured check, newest lowest; 1 = miss.
    window: u64,
    measured: u32,
}

impl PathState {
    /// Takes one result in. Results may come late: order is that of their starts.
    pub fn observe(&mut self, seen: Observation, limits: &Limits) {
        if self.last.is_none_or(|last| last.start <= seen.start) {
            self.last = Some(seen);
        }
        match seen.outcome {
            Outcome::Reached => self.reached(seen.start, limits),
            Outcome::Unreached(_) => self.missed(seen.start, limits),
            Outcome::Unmeasured(_) | Outcome::NotApplicable => return,
        }
        self.newest = self.newest.max(Some(seen.start));
        self.window = (self.window << 1) | u64::from(seen.outcome != Outcome::Reached);
        self.measured = self.measured.saturating_add(1);
    }

    fn reached(&mut self, start: Tick, limits: &Limits) {
        self.last_success = self.last_success.max(Some(start));
        if self.misses.back().is_none_or(|last| *last < start) {
            self.successes = self.successes.saturating_add(1);
        }
        if self.was_down && self.successes < limits.recover {
            // Down ends on consecutive successes; until then the misses stay on record.
            return;
        }
        self.misses.retain(|miss| *miss > start);
        self.was_down &= !self.misses.is_empty();
    }

    fn missed(&mut self, start: Tick, limits: &Limits) {
        if self.last_success.is_some_and(|success| success > start) {
            return;
        }
        self.successes = 0;
        let at = self.misses.partition_point(|miss| *miss <= start);
        self.misses.insert(at, start);
        if self.misses.len() > REMEMBERED {
            self.misses.remove(REMEMBERED / 2);
        }
        self.was_down |= self.silence() >= limits.confirm;
    }

    /// From first to last miss since the last success.
    fn silence(&self) -> Duration {
        match (self.misses.front(), self.misses.back()) {
            (Some(first), Some(last)) => last.since(*first),
            _ => Duration::ZERO,
        }
    }

    /// The verdict as of `now`.
    pub fn verdict_at(&self, now: Tick, limits: &Limits) -> Verdict {
        let Some(newest) = self.newest else {
            return Verdict::Unknown;
        };
        if now.since(newest) > limits.stale {
            return Verdict::Unknown;
        }
        if self.misses.is_empty() {
            return if self.measured >= WINDOW / 2 && self.window.count_ones() >= limits.degraded {
                Verdict::Degraded
            } else {
                Verdict::Up
            };
        }
        if self.was_down {
            Verdict::Down
        } else {
            Verdict::Suspect
        }
    }

    /// Start of the first miss since the last success.
    pub fn missing_since(&self) -> Option<Tick> {
        self.misses.front().copied()
    }

    /// Start of the newest successful check.
    pub fn last_success(&self) -> Option<Tick> {
        self.last_success
    }

    /// The newest result, measured or not.
    pub fn last(&self) -> Option<Observation> {
        self.last
    }

    /// Start of the newest check that measured something.
    pub fn newest(&self) -> Option<Tick> {
        self.newest
    }

    /// Share of misses among the last measured checks, 0 to 1.
    pub fn loss(&self) -> f64 {
        let seen = self.measured.min(WINDOW);
        if seen == 0 {
            return 0.0;
        }
        f64::from(self.window.count_ones()) / f64::from(seen)
    }
}
