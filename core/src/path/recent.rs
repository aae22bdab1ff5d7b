//! The newest results of one path, in the order of their starts, in nine bytes each: an exporter
//! keeps them for tens of thousands of paths, a prober for each of its checks.

use std::collections::VecDeque;

use crate::time::Tick;

/// Results that are kept one by one, so that a late one still takes its place: at the fastest
/// pace of a burst (10 a second) more than three times the longest deadline.
pub(super) const REMEMBERED: usize = 48;

// One more for a moment, and a bit for each.
const _: () = assert!(REMEMBERED < u64::BITS as usize);

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    /// Oldest first.
    starts: VecDeque<Tick>,
    /// One bit per start, the newest lowest; 1 = miss.
    misses: u64,
}

impl Recent {
    /// How many results with a start no later than `start` there are: the place of a new one.
    pub(super) fn place(&self, start: Tick) -> usize {
        match self.starts.back() {
            // As nearly always.
            Some(newest) if *newest <= start => self.starts.len(),
            _ => self.starts.partition_point(|there| *there <= start),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Takes one in at its place; gives the oldest back where there are more than [`REMEMBERED`].
    pub(super) fn insert(
        &mut self,
        place: usize,
        start: Tick,
        reached: bool,
    ) -> Option<(Tick, bool)> {
        let held = self.starts.len();
        if held == self.starts.capacity() {
            // Twice as many, but no room that is never used.
            let most = (REMEMBERED + 1).saturating_sub(held).max(1);
            self.starts.reserve_exact(held.max(4).min(most));
        }
        let newer = held.saturating_sub(place).min(REMEMBERED);
        self.starts.insert(held - newer, start);
        let low = self.misses & ((1 << newer) - 1);
        let high = self.misses >> newer;
        self.misses = (high << 1 | u64::from(!reached)) << newer | low;
        if self.starts.len() <= REMEMBERED {
            return None;
        }
        let oldest = self.starts.pop_front()?;
        let bit = 1 << self.starts.len();
        let missed = self.misses & bit != 0;
        self.misses &= !bit;
        Some((oldest, !missed))
    }

    /// Oldest first: start, and whether it was reached.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Tick, bool)> + '_ {
        let newest = self.starts.len().saturating_sub(1);
        let each = self.starts.iter().enumerate();
        each.map(move |(at, start)| (*start, self.misses >> (newest - at) & 1 == 0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_a_list_would(results in proptest::collection::vec((0u64..80, any::<bool>()), 0..300)) {
            let (mut recent, mut list) = (Recent::default(), Vec::new());
            for (start, reached) in results {
                let start = Tick::from_nanos(start);
                let place = list.partition_point(|(there, _)| *there <= start);
                prop_assert_eq!(recent.place(start), place);
                list.insert(place, (start, reached));
                let oldest = (list.len() > REMEMBERED).then(|| list.remove(0));
                prop_assert_eq!(recent.insert(place, start, reached), oldest);
                prop_assert_eq!(recent.iter().collect::<Vec<_>>(), list.clone());
                prop_assert_eq!(recent.len(), list.len());
                prop_assert!(recent.starts.capacity() <= REMEMBERED + 1);
            }
        }
    }
}
