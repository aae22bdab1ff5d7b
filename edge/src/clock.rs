//! The two clocks of [`Now`], read together, and the watch over their steps.
//!
//! Owns nothing that runs; every call is cancel-safe and cheap (two vDSO reads).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pnwatch_core::time::{Now, Tick, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Where time comes from; injected everywhere.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks, read together.
    fn now(&self) -> Now;

    /// Time that the machine has been awake, from any fixed start: stands still in a suspend.
    /// [`StepWatch`] compares it with [`Now::tick`], which does not.
    fn awake(&self) -> Duration {
        self.now().tick.since(Tick::default())
    }
}

/// A clock that many tasks share.
pub type SharedClock = Arc<dyn Clock>;

/// The clock that counts through suspend: `CLOCK_BOOTTIME` (`clock_gettime(2)`).
#[cfg(any(target_os = "linux", target_os = "android"))]
const THROUGH_SUSPEND: ClockId = ClockId::Boottime;
/// macOS has no `CLOCK_BOOTTIME`; its `CLOCK_MONOTONIC` "will continue to increment while the
/// system is asleep" (clock_gettime(3) of macOS), unlike `CLOCK_UPTIME_RAW` behind [`Instant`].
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const THROUGH_SUSPEND: ClockId = ClockId::Monotonic;

/// The machine's clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Reads the machine's clocks from now on.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// As [`SharedClock`].
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let boot = clock_gettime(THROUGH_SUSPEND);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(boot.tv_nsec).unwrap_or(0);
        // Before 1970 only on a machine whose clock was never set.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Now {
            tick: Tick::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos)),
            wall: Timestamp::default().after(wall),
        }
    }

    fn awake(&self) -> Duration {
        // std's Instant stands still in a suspend on Linux (CLOCK_MONOTONIC) and macOS
        // (CLOCK_UPTIME_RAW).
        self.started.elapsed()
    }
}

/// A clock that follows tokio's: real time in a program, virtual time under `tokio::time::pause`.
#[derive(Debug, Clone)]
pub struct RuntimeClock {
    origin: Now,
    started: tokio::time::Instant,
}

impl RuntimeClock {
    /// A clock that reads `origin` now.
    pub fn starting_at(origin: Now) -> Self {
        Self {
            origin,
            started: tokio::time::Instant::now(),
        }
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Now {
        let elapsed = self.started.elapsed();
        Now {
            tick: self.origin.tick.after(elapsed),
            wall: self.origin.wall.after(elapsed),
        }
    }
}

/// A clock that moves only when it is told to. Clones share the time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    state: Arc<Mutex<(Now, Duration)>>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Now) -> Self {
        Self {
            state: Arc::new(Mutex::new((now, Duration::ZERO))),
        }
    }

    /// All clocks go on by `by`.
    pub fn advance(&self, by: Duration) {
        self.change(|(now, awake)| {
            now.tick = now.tick.after(by);
            now.wall = now.wall.after(by);
            *awake = awake.saturating_add(by);
        });
    }

    /// The machine sleeps for `for_`.
    pub fn suspend(&self, for_: Duration) {
        self.change(|(now, _)| {
            now.tick = now.tick.after(for_);
            now.wall = now.wall.after(for_);
        });
    }

    /// Somebody sets the wall clock.
    pub fn set_wall(&self, wall: Timestamp) {
        self.change(|(now, _)| now.wall = wall);
    }

    fn change(&self, with: impl FnOnce(&mut (Now, Duration))) {
        with(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn awake(&self) -> Duration {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// What happened to the clocks between two observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The machine slept: measurements that span it are worthless.
    Suspended {
        /// How long.
        for_: Duration,
    },
    /// The wall clock was set forward.
    WallForward {
        /// By how much.
        by: Duration,
    },
    /// The wall clock was set back.
    WallBack {
        /// By how much.
        by: Duration,
    },
}

/// Below this a difference is the two reads' own distance or NTP's slewing (at most 500 ppm,
/// adjtime(3)), no step.
const STEP: Duration = Duration::from_millis(500);

/// Compares the clocks with one another from one observation to the next.
#[derive(Debug, Default)]
pub struct StepWatch {
    last: Option<(Now, Duration)>,
}

impl StepWatch {
    /// Nothing observed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a reading of [`Clock::now`] and [`Clock::awake`]; `Some` if the machine slept or the
    /// wall clock was set since the last one. A suspend hides a step of the wall clock.
    pub fn observe(&mut self, now: Now, awake: Duration) -> Option<Step> {
        let (last, last_awake) = self.last.replace((now, awake))?;
        let passed = now.tick.since(last.tick);
        let slept = passed.saturating_sub(awake.saturating_sub(last_awake));
        if slept >= STEP {
            return Some(Step::Suspended { for_: slept });
        }
        let expected = last.wall.after(passed);
        let forward = now.wall.since(expected);
        let back = expected.since(now.wall);
        if forward >= STEP {
            Some(Step::WallForward { by: forward })
        } else if back >= STEP {
            Some(Step::WallBack { by: back })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clocks_advance_together() {
        let clock = SystemClock::new();
        let first = clock.now();
        let second = clock.now();
        assert!(second.tick >= first.tick);
        assert!(first.wall > Timestamp::from_unix_seconds(1_600_000_000));
        let mut watch = StepWatch::new();
        assert_eq!(watch.observe(first, clock.awake()), None);
        assert_eq!(watch.observe(clock.now(), clock.awake()), None);
    }

    #[test]
    fn suspends_and_wall_steps_are_seen_and_slewing_is_not() {
        let start = Now {
            tick: Tick::from_millis(5_000),
            wall: Timestamp::from_unix_seconds(1_000_000),
        };
        let clock = ManualClock::new(start);
        let mut watch = StepWatch::new();
        let mut observe = || watch.observe(clock.now(), clock.awake());
        assert_eq!(observe(), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(observe(), None);
        clock.suspend(Duration::from_secs(90));
        clock.advance(Duration::from_secs(1));
        let for_ = Duration::from_secs(90);
        assert_eq!(observe(), Some(Step::Suspended { for_ }));
        let by = Duration::from_hours(1);
        clock.set_wall(clock.now().wall.after(by));
        assert_eq!(observe(), Some(Step::WallForward { by }));
        clock.set_wall(clock.now().wall.before(by));
        assert_eq!(observe(), Some(Step::WallBack { by }));
        clock.set_wall(clock.now().wall.after(Duration::from_millis(100)));
        assert_eq!(observe(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_runtime_clock_follows_virtual_time() {
        let clock = RuntimeClock::starting_at(Now::default());
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.now().tick, Tick::from_millis(7_000));
    }
}
