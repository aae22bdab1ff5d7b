//! Two kinds of time, never mixed: [`Tick`] orders evidence, [`Timestamp`] is told to people.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The machine's own time in nanoseconds, counting through suspend
/// (`CLOCK_BOOTTIME`, `clock_gettime(2)`). Comparable only within one boot of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(u64);

impl Tick {
    /// From nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds, saturating.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self + by`, saturating.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    /// `self - by`, saturating at zero.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }
}

/// Wall-clock time in nanoseconds since the Unix epoch (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From seconds since the Unix epoch, saturating.
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_unix_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the Unix epoch, for metrics.
    pub fn as_unix_seconds_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self + by`, saturating.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    /// `self - by`, saturating at the epoch.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }
}

/// Both clocks, read together by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The machine's own time.
    pub tick: Tick,
    /// Wall-clock time.
    pub wall: Timestamp,
}

impl Now {
    /// The wall-clock time of `tick`, as this pair of readings relates the two.
    pub fn wall_at(&self, tick: Tick) -> Timestamp {
        if tick <= self.tick {
            self.wall.before(self.tick.since(tick))
        } else {
            self.wall.after(tick.since(self.tick))
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0 / 1_000_000).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(stamp) => write!(f, "{stamp:.3}"),
            Err(_) => f.write_str("9999-12-31T23:59:59.999Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let stamp: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        let nanos = u64::try_from(stamp.as_nanosecond()).map_err(serde::de::Error::custom)?;
        Ok(Self(nanos))
    }
}

/// A duration as a person says it: `0.8 s`, `14 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`.
pub fn spoken(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        0..10 => {
            let tenths = (duration.as_millis() + 50) / 100;
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
        10..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_written_as_rfc_3339() {
        let stamp = Timestamp::from_unix_nanos(1_782_119_670_123_456_789);
        assert_eq!(stamp.to_string(), "2026-06-22T09:14:30.123Z");
        let json = serde_json::to_string(&stamp).unwrap();
        let back: Timestamp = serde_json::from_str(&json).unwrap();
        assert_eq!(
            back.since(Timestamp(1_782_119_670_123_000_000)),
            Duration::ZERO
        );
        assert!(!Timestamp::from_unix_nanos(u64::MAX).to_string().is_empty());
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(
            Tick::from_nanos(5).before(Duration::MAX),
            Tick::from_nanos(0)
        );
        assert_eq!(
            Tick::from_nanos(5).after(Duration::MAX),
            Tick::from_nanos(u64::MAX)
        );
        assert_eq!(
            Tick::from_nanos(5).since(Tick::from_nanos(9)),
            Duration::ZERO
        );
    }

    #[test]
    fn durations_are_spoken() {
        for (ms, text) in [
            (0, "0.0 s"),
            (840, "0.8 s"),
            (14_000, "14 s"),
            (192_000, "3 min 12 s"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(spoken(Duration::from_millis(ms)), text);
        }
    }
}
