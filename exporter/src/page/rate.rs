//! How much one address may ask: a bucket per source, so that one browser gone wild or one
//! scanner does not take the page from everybody else. State is bounded: of many sources the
//! one that was quiet the longest is forgotten, and has a full bucket again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pnwatch_core::time::Tick;

/// Requests a second that one source may go on with.
pub(super) const PER_SECOND: f64 = 500.0;
/// Requests that it may make at once: a thousand waits at the gate come together.
pub(super) const BURST: f64 = 4_000.0;
/// Sources that are remembered.
const MAX_SOURCES: usize = 4_096;

/// Buckets by source.
#[derive(Debug, Default)]
pub(super) struct Rate {
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Tick,
}

impl Rate {
    /// Takes one request of `source` at `now`; `Err` says how long to wait.
    pub(super) fn take(&self, source: IpAddr, now: Tick) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_SOURCES && !buckets.contains_key(&source) {
            let quietest = buckets.iter().min_by_key(|(_, bucket)| bucket.at);
            if let Some(quietest) = quietest.map(|(source, _)| *source) {
                buckets.remove(&quietest);
            }
        }
        let bucket = buckets.entry(source).or_insert(Bucket {
            left: BURST,
            at: now,
        });
        let since = now.since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + since * PER_SECOND).min(BURST);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / PER_SECOND));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use pnwatch_core::time::Tick;

    use super::{BURST, MAX_SOURCES, PER_SECOND, Rate};

    #[test]
    fn one_source_is_slowed_and_no_other() {
        let (rate, now) = (Rate::default(), Tick::from_millis(60_000));
        let wild = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
        let calm = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
        let taken = (0..10_000).filter(|_| rate.take(wild, now).is_ok()).count();
        assert_eq!(taken, BURST as usize);
        assert!(rate.take(wild, now).unwrap_err() <= Duration::from_secs(1));
        assert!(rate.take(calm, now).is_ok());
        let later = now.after(Duration::from_secs(1));
        let taken = (0..10_000)
            .filter(|_| rate.take(wild, later).is_ok())
            .count();
        assert_eq!(taken, PER_SECOND as usize);
    }

    #[test]
    fn many_sources_are_bounded() {
        let (rate, now) = (Rate::default(), Tick::from_millis(60_000));
        for n in 0..20_000u32 {
            let source = IpAddr::V4(Ipv4Addr::from(n));
            assert!(
                rate.take(source, now.after(Duration::from_millis(n.into())))
                    .is_ok()
            );
        }
        assert!(rate.buckets.lock().unwrap().len() <= MAX_SOURCES);
    }
}
