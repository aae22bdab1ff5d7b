//! What one path's checks mean: a verdict that decays by being read late.
//!
//! `Down` = no success for at least [`Limits::confirm`] from first to last miss. Half-second
//! blips and single losses never get there. Results count by the time their check *started*.

mod recent;

use core::time::Duration;

use self::recent::Recent;
use crate::failure::Failures;
use crate::outcome::{Cause, Outcome, labels};
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
    /// The newest measured results, sorted by start.
    recent: Recent,
    /// What came before them, folded.
    before: Silence,
    /// All of it, folded: what verdicts are read from.
    silence: Silence,
    last: Option<Observation>,
    last_miss: Option<(Tick, Cause)>,
    failures: Failures,
    /// One bit per measured check, newest lowest; 1 = miss.
    window: u64,
    measured: u32,
}

/// What a sequence of results in the order of their starts amounts to.
#[derive(Debug, Clone, Copy, Default)]
struct Silence {
    last_success: Option<Tick>,
    newest: Option<Tick>,
    /// Start of the first miss that no recovery has followed.
    since: Option<Tick>,
    /// Consecutive successes since the last miss.
    successes: u32,
    /// Start of the first of them.
    successes_since: Option<Tick>,
    /// Start of the success that ended the last silence of more than a blip.
    recovered: Option<Tick>,
    down: bool,
    /// Start of the first miss of the outage that was confirmed and that nothing has ended, also
    /// over times in which nothing was measured.
    began: Option<Tick>,
}

impl Silence {
    fn step(&mut self, start: Tick, reached: bool, limits: &Limits) {
        if self
            .newest
            .is_some_and(|newest| start.since(newest) > limits.stale)
        {
            // Nothing was known in between: what was missing then is no news of now, and must be
            // confirmed anew. If it is, and nothing was reached, it is still the same outage.
            *self = Self {
                last_success: self.last_success,
                newest: self.newest,
                began: self.began,
                ..Self::default()
            };
        }
        self.newest = self.newest.max(Some(start));
        if reached {
            self.last_success = self.last_success.max(Some(start));
            self.successes = self.successes.saturating_add(1);
            let first = *self.successes_since.get_or_insert(start);
            // Down ends on consecutive successes, a mere suspicion on one.
            if !self.down || self.successes >= limits.recover {
                let lasted = self.since.map(|since| first.since(since));
                if self.down || lasted.is_some_and(|l| l >= limits.confirm / 2) {
                    self.recovered = Some(first);
                }
                self.since = None;
                self.began = None;
                self.down = false;
            }
        } else {
            self.successes = 0;
            self.successes_since = None;
            let since = *self.since.get_or_insert(start);
            self.down |= start.since(since) >= limits.confirm;
            if self.down {
                self.began.get_or_insert(since);
            }
        }
    }
}

impl PathState {
    /// Takes one result in. Results may come late: order is that of their starts.
    pub fn observe(&mut self, seen: Observation, limits: &Limits) {
        let was_down = self.silence.down;
        self.take(seen, limits);
        if was_down && !self.silence.down {
            // An outage that has ended is not loss.
            self.window = 0;
            self.measured = 0;
        }
    }

    fn take(&mut self, seen: Observation, limits: &Limits) {
        if self.last.is_none_or(|last| last.start <= seen.start) {
            self.last = Some(seen);
        }
        let reached = match seen.outcome {
            Outcome::Reached => {
                self.failures.success();
                true
            }
            Outcome::Unreached(cause) => {
                self.failures.miss(seen.start, cause);
                self.last_miss = self.last_miss.max(Some((seen.start, cause)));
                false
            }
            Outcome::Unmeasured(_) | Outcome::NotApplicable => return,
        };
        self.window = (self.window << 1) | u64::from(!reached);
        self.measured = self.measured.saturating_add(1);
        if self.before.newest.is_some_and(|folded| seen.start < folded) {
            // Too late to change what later results have said.
            return;
        }
        let place = self.recent.place(seen.start);
        let in_order = place == self.recent.len();
        if let Some((start, reached)) = self.recent.insert(place, seen.start, reached) {
            self.before.step(start, reached, limits);
        }
        if in_order {
            // One step more: what was folded before is folded all the same.
            self.silence.step(seen.start, reached, limits);
            return;
        }
        self.silence = self.before;
        for (start, reached) in self.recent.iter() {
            self.silence.step(start, reached, limits);
        }
    }

    /// The verdict as of `now`.
    pub fn verdict_at(&self, now: Tick, limits: &Limits) -> Verdict {
        let Some(newest) = self.silence.newest else {
            return Verdict::Unknown;
        };
        if now.since(newest) > limits.stale {
            return Verdict::Unknown;
        }
        match (self.silence.since, self.silence.down) {
            (_, true) => Verdict::Down,
            (Some(_), false) => Verdict::Suspect,
            (None, false) => {
                let lossy = self.window.count_ones() >= limits.degraded;
                if self.measured >= WINDOW / 2 && lossy {
                    Verdict::Degraded
                } else {
                    Verdict::Up
                }
            }
        }
    }

    /// Start of the first miss since the last success.
    pub fn missing_since(&self) -> Option<Tick> {
        self.silence.since
    }

    /// Start of the first miss of an outage that was once confirmed and has not ended.
    ///
    /// Where nothing was measured for a while in the middle of it (the pod of a node that lost its
    /// address is asked nothing), this is from before, [`PathState::missing_since`] from after.
    pub fn outage_began(&self) -> Option<Tick> {
        self.silence.began
    }

    /// Start of the newest successful check.
    pub fn last_success(&self) -> Option<Tick> {
        self.silence.last_success
    }

    /// The newest result, measured or not.
    pub fn last(&self) -> Option<Observation> {
        self.last
    }

    /// The last failures, whatever has followed them.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Start and cause of the newest miss.
    pub fn last_miss(&self) -> Option<(Tick, Cause)> {
        self.last_miss
    }

    /// Start of the success that ended the last silence of more than a blip.
    pub fn recovered_at(&self) -> Option<Tick> {
        self.silence.recovered
    }

    /// Start of the newest check that measured something.
    pub fn newest(&self) -> Option<Tick> {
        self.silence.newest
    }

    /// How many silences, of however many misses, the results that are kept one by one show.
    ///
    /// Loss hits here and there; an outage is one silence, though a burst asks it ten times.
    pub fn silences(&self) -> usize {
        let mut before = true;
        let begins = self.recent.iter().filter(|(_, reached)| {
            let begins = before && !reached;
            before = *reached;
            begins
        });
        begins.count()
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

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
