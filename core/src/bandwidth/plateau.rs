//! Is a device held down by something in the way? (F25)
//!
//! A token bucket gives a burst, then a hard level: about 5 Gbit/s for ten seconds, then
//! 1.52 Gbit/s flat on a small cloud instance. [`Detector`] looks at one-second throughputs and
//! finds a level that is flat and that was reached by a step down from a burst: its [`Plateau`].
//! What the demand itself makes flat is no clamp: a tenant at its egress cap never bursts above
//! it, a client with a gigabit card neither; where several of them begin and end together, their
//! level is a sum of what is known to be flat ([`Known::explains`]). Pure.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::time::Tick;

/// Rates that are remembered, one a second.
const REMEMBERED: usize = 60;
/// Seconds that a level must have been flat.
pub const FLAT_FOR: usize = 6;
/// How far a rate may be from the level, as a share: what a shaper's bucket and a second that
/// does not begin on its tick make of a hard level.
const FLATNESS: f64 = 0.06;
/// How much higher the burst must have been.
const STEP: f64 = 1.3;
/// Seconds of burst directly before the step.
const BURST_FOR: usize = 2;
/// Seconds in which the step may happen.
const FALL: usize = 2;
/// Slower than this nobody is held down: 10 Mbit/s.
const LEAST: u64 = 1_250_000;
/// Seconds outside the level that end a plateau.
const GONE_AFTER: u32 = 3;
/// How near a sum of known levels must be to explain a plateau, as a share.
const NEAR: f64 = 0.012;
/// Known levels that are added up at most.
const MOST: usize = 40;

/// A level that was reached by a step down from a burst, and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plateau {
    /// The level, bytes per second.
    pub level: u64,
    /// What went before, bytes per second.
    pub burst: u64,
    /// For how long it has been flat, milliseconds.
    pub held_ms: u64,
}

/// Finds a plateau in the throughput of one direction of one device.
#[derive(Debug, Default)]
pub struct Detector {
    /// (end of the second, bytes per second), oldest first.
    rates: VecDeque<(Tick, u64)>,
    found: Option<Found>,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    level: u64,
    burst: u64,
    since: Tick,
    outside: u32,
}

impl Detector {
    /// Takes the throughput of the second that ended at `at`.
    pub fn observe(&mut self, at: Tick, rate: u64) {
        if self.rates.len() >= REMEMBERED {
            self.rates.pop_front();
        }
        self.rates.push_back((at, rate));
        if let Some(found) = &mut self.found {
            if near(rate, found.level, FLATNESS * 1.5) {
                found.outside = 0;
            } else {
                found.outside += 1;
                if found.outside >= GONE_AFTER {
                    self.found = None;
                }
            }
        }
        if self.found.is_none() {
            self.found = self.look();
        }
    }

    /// Forgets everything: the device was made anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The plateau that holds at `now`.
    pub fn plateau(&self, now: Tick) -> Option<Plateau> {
        let found = self.found.filter(|found| found.outside == 0)?;
        // The longer it holds, the better its level is known.
        let mut flat: Vec<u64> = self
            .rates
            .iter()
            .filter(|(at, rate)| *at >= found.since && near(*rate, found.level, FLATNESS))
            .map(|(_, rate)| *rate)
            .collect();
        flat.sort_unstable();
        Some(Plateau {
            level: flat.get(flat.len() / 2).copied().unwrap_or(found.level),
            burst: found.burst,
            held_ms: u64::try_from(now.since(found.since).as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// The flat end of the record, if it follows a burst.
    fn look(&self) -> Option<Found> {
        let newest = self.rates.len();
        let last = &self.rates.range(newest.checked_sub(FLAT_FOR)?..);
        let mut sorted: Vec<u64> = last.clone().map(|(_, rate)| *rate).collect();
        sorted.sort_unstable();
        let level = *sorted.get(FLAT_FOR / 2)?;
        if level < LEAST || !sorted.iter().all(|rate| near(*rate, level, FLATNESS)) {
            return None;
        }
        // Back to where the level began.
        let flat = self
            .rates
            .iter()
            .rev()
            .take_while(|(_, rate)| near(*rate, level, FLATNESS))
            .count();
        let begin = newest - flat;
        let since = self.rates.get(begin)?.0;
        // The step itself takes a second or two, which are neither.
        (0..=FALL).find_map(|fall| {
            let end = begin.checked_sub(fall)?;
            let start = end.checked_sub(BURST_FOR)?;
            let burst = self.rates.range(start..end).map(|(_, rate)| *rate).min()?;
            (burst as f64 >= level as f64 * STEP).then_some(Found {
                level,
                burst,
                since,
                outside: 0,
            })
        })
    }
}

fn near(rate: u64, level: u64, share: f64) -> bool {
    rate.abs_diff(level) as f64 <= level as f64 * share
}

/// Levels that demand itself makes flat, bytes per second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Egress caps of the accounts that are active on the node.
    pub caps: Vec<u64>,
    /// Speeds of client network cards, as they carry payload.
    pub cards: Vec<u64>,
}

impl Known {
    /// What explains `level`, as words; `None` = nothing known does.
    pub fn explains(&self, level: u64) -> Option<String> {
        for card in &self.cards {
            if near(level, *card, NEAR * 2.0) {
                return Some("the speed of a client's network card".to_owned());
            }
        }
        let mut sums = vec![0u64];
        for cap in self.caps.iter().take(MOST) {
            let mut more: Vec<u64> = sums.iter().map(|sum| sum.saturating_add(*cap)).collect();
            sums.append(&mut more);
            sums.sort_unstable();
            // Sums that differ by less than what counts as near are one.
            sums.dedup_by(|a, b| near(*a, *b, NEAR / 8.0));
            sums.retain(|sum| *sum <= level.saturating_mul(2));
        }
        sums.iter()
            .any(|sum| *sum > 0 && near(level, *sum, NEAR))
            .then(|| "the egress caps of the accounts that are active".to_owned())
    }
}

#[cfg(test)]
#[path = "plateau_tests.rs"]
mod tests;
