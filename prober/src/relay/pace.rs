//! A bucket of tokens that fills with time. Pure.

use core::time::Duration;

use pnwatch_core::time::Tick;

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    every: Duration,
    room: Duration,
    /// Filled with time up to here.
    full_at: Tick,
}

impl Bucket {
    /// One token per `every`, at most `burst` of them, full at first.
    pub fn new(every: Duration, burst: u32, now: Tick) -> Self {
        Self {
            every,
            room: every.saturating_mul(burst.saturating_sub(1)),
            full_at: now,
        }
    }

    /// Takes a token, or says for how long there is none.
    pub fn take(&mut self, now: Tick) -> Result<(), Duration> {
        let wait = self.full_at.since(now.after(self.room));
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.full_at = self.full_at.max(now).after(self.every);
        Ok(())
    }

    /// Whether nothing has been taken for so long that a new one would be the same.
    pub fn is_full(&self, now: Tick) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_pace() {
        let at = Tick::from_millis;
        let mut bucket = Bucket::new(Duration::from_millis(100), 3, at(1000));
        for _ in 0..3 {
            assert_eq!(bucket.take(at(1000)), Ok(()));
        }
        assert_eq!(bucket.take(at(1000)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(at(1060)), Err(Duration::from_millis(40)));
        assert_eq!(bucket.take(at(1100)), Ok(()));
        assert!(bucket.take(at(1100)).is_err());
        assert!(!bucket.is_full(at(1300)));
        assert!(bucket.is_full(at(1400)));
        // However long it was left alone, no more than the burst.
        let taken = (0..10).filter(|_| bucket.take(at(60_000)).is_ok()).count();
        assert_eq!(taken, 3);
    }
}
