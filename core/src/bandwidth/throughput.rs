//! Seconds by what went over a device in them: a burst of ten seconds stays countable for as
//! long as Prometheus keeps samples, where a peak is gone after a minute. Pure.

use serde::{Deserialize, Serialize};

/// Upper bounds in bytes per second: 10, 100, 250, 500, 750 Mbit/s, and 1, 1.5, 2.5, 5, 7.5, 10,
/// 25 Gbit/s. The usual cap, cards and clamps each lie just below one of them.
pub const BOUNDS: [u64; 12] = [
    1_250_000,
    12_500_000,
    31_250_000,
    62_500_000,
    93_750_000,
    125_000_000,
    187_500_000,
    312_500_000,
    625_000_000,
    937_500_000,
    1_250_000_000,
    3_125_000_000,
];

/// Most seconds that one reading stands for: a machine that slept was not busy in its sleep.
const MOST: u64 = 60;

/// Seconds by their throughput, since whoever counts them began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throughput {
    /// Seconds above the bound before and at most at this bound of [`BOUNDS`]; one more at the
    /// end, above them all.
    pub seconds: Vec<u64>,
    /// Bytes in all of them.
    pub bytes: u64,
}

impl Throughput {
    /// Takes in that `bytes` went in `seconds` (rounded; at least one, at most a minute).
    pub fn observe(&mut self, bytes: u64, seconds: f64) {
        let seconds = (seconds.round() as u64).clamp(1, MOST);
        let rate = bytes / seconds;
        let bucket = BOUNDS.partition_point(|bound| *bound < rate);
        self.seconds.resize(BOUNDS.len() + 1, 0);
        if let Some(count) = self.seconds.get_mut(bucket) {
            *count = count.saturating_add(seconds);
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether it was counted by the same [`BOUNDS`]: a prober of another version may use others.
    pub fn is_readable(&self) -> bool {
        self.seconds.len() == BOUNDS.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, Throughput};

    #[test]
    fn seconds_fall_where_their_rate_lies() {
        for (bytes, seconds, bucket, counted) in [
            (0, 1.0, 0, 1),
            (1_250_000, 1.0, 0, 1),
            (1_250_001, 1.0, 1, 1),
            (93_750_000, 0.98, 4, 1),
            (117_000_000, 1.02, 5, 1),
            (234_000_000, 2.0, 5, 2),
            (u64::MAX, 1.0, 12, 1),
            (600, 600.0, 0, 60),
            (5, f64::NAN, 0, 1),
        ] {
            let mut seen = Throughput::default();
            assert!(!seen.is_readable());
            seen.observe(bytes, seconds);
            assert!(seen.is_readable());
            assert_eq!(seen.bytes, bytes);
            let expected: Vec<u64> = (0..=BOUNDS.len())
                .map(|n| if n == bucket { counted } else { 0 })
                .collect();
            assert_eq!(seen.seconds, expected, "{bytes} in {seconds} s");
        }
        assert!(BOUNDS.is_sorted());
    }
}
