//! Says a thing once per period and counts the rest, at the source.

use std::collections::BTreeMap;
use std::time::Duration;

use pnwatch_core::time::Tick;

/// Keys remembered at once; past that the oldest is forgotten (and may speak again).
const MAX_KEYS: usize = 1024;

/// Lets each key speak once per period. Pure: the time is an argument.
#[derive(Debug)]
pub struct Throttle<K> {
    period: Duration,
    spoken: BTreeMap<K, (Tick, u64)>,
}

impl<K: Ord + Clone> Throttle<K> {
    /// Each key may speak once per `period`.
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            spoken: BTreeMap::new(),
        }
    }

    /// `Some(n)` if `key` may speak now, `n` = how often it was held back since it last did.
    /// Log it as `suppressed = n`.
    pub fn admit(&mut self, key: &K, now: Tick) -> Option<u64> {
        if let Some((at, held)) = self.spoken.get_mut(key) {
            if now.since(*at) < self.period {
                *held = held.saturating_add(1);
                return None;
            }
            *at = now;
            return Some(std::mem::take(held));
        }
        if self.spoken.len() >= MAX_KEYS {
            let oldest = self.spoken.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.spoken.remove(&oldest);
            }
        }
        self.spoken.insert(key.clone(), (now, 0));
        Some(0)
    }

    /// Forgets `key`: what comes next is news (for example after a recovery).
    pub fn forget(&mut self, key: &K) {
        self.spoken.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_speaks_once_per_period_and_counts_the_rest() {
        let mut throttle = Throttle::new(Duration::from_mins(1));
        let at = Tick::from_millis;
        assert_eq!(throttle.admit(&"a", at(0)), Some(0));
        assert_eq!(throttle.admit(&"a", at(1_000)), None);
        assert_eq!(throttle.admit(&"b", at(1_000)), Some(0));
        assert_eq!(throttle.admit(&"a", at(59_999)), None);
        assert_eq!(throttle.admit(&"a", at(60_000)), Some(2));
        throttle.forget(&"a");
        assert_eq!(throttle.admit(&"a", at(60_001)), Some(0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::new(Duration::from_mins(1));
        for key in 0..10_000u64 {
            assert_eq!(throttle.admit(&key, Tick::from_millis(key)), Some(0));
        }
        assert_eq!(throttle.spoken.len(), MAX_KEYS);
    }
}
