//! The lab for a long time: faults by a seeded schedule, one after the other, in a network that is
//! never started afresh, and what it costs the exporters and probers to live through it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::expect::{Row, row};
use crate::judge::Outcome;
use crate::lab::Lab;
use crate::process::ProcessId;
use crate::run::{RunOptions, run};
use crate::wait;

/// What happens, each about as often as the others.
const SCHEDULE: [&str; 10] = [
    "F1",
    "F2",
    "F29",
    "F31",
    "F17",
    "F24",
    "F25",
    "blips",
    "flush_readd",
    "healthy",
];
/// How long a silent scenario disturbs.
const DISTURB: Duration = Duration::from_secs(20);
/// The longest pause between two faults.
const LONGEST_PAUSE: u64 = 15;

/// What one process held at one moment.
#[derive(Debug, Clone, Copy, Serialize)]
struct Held {
    /// Seconds into the soak.
    at_s: f64,
    /// Open descriptors.
    descriptors: usize,
    /// Threads.
    threads: u64,
    /// Anonymous memory in KiB (`RssAnon`, `proc_pid_status(5)`): what was allocated and lives.
    memory_kib: u64,
}

/// How one process fared. A restart begins a new one.
#[derive(Debug, Clone, Serialize)]
pub struct Fare {
    process: String,
    first: Held,
    last: Held,
    /// Growth of memory over the second half, KiB per hour, by least squares.
    memory_kib_per_hour: Option<f64>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed of the schedule.
    pub seed: u64,
    /// For how long.
    pub lasted_s: f64,
    /// Faults and silences.
    pub runs: usize,
    /// Of these, as expected.
    pub as_expected: usize,
    /// Pages that nobody should have got.
    pub false_pages: usize,
    /// Findings that were open at the end.
    pub left_open: usize,
    /// Exporters and probers.
    pub processes: Vec<Fare>,
}

impl Report {
    /// Whether everything was named, nothing else was, and nothing was left behind.
    pub fn is_fine(&self) -> bool {
        self.runs > 0
            && self.as_expected == self.runs
            && self.false_pages == 0
            && self.left_open == 0
            && self.processes.iter().all(|fare| {
                // A connection or two may be under way; a leak is more.
                fare.last.descriptors <= fare.first.descriptors + 16
                    && fare.last.threads <= fare.first.threads + 4
            })
    }
}

/// A schedule that a seed determines (`SplitMix64`, Steele et al. 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }
}

/// Soaks for at least `length`; `told` hears of each run.
pub fn soak(
    lab: &mut Lab,
    length: Duration,
    seed: u64,
    mut told: impl FnMut(&Outcome),
) -> Result<Report> {
    lab.start_daemons()
        .context("pnwatch did not come up healthy")?;
    let (began, mut dice) = (Instant::now(), Dice(seed));
    let mut held: BTreeMap<(String, i32), Vec<Held>> = BTreeMap::new();
    let mut report = Report {
        seed,
        lasted_s: 0.0,
        runs: 0,
        as_expected: 0,
        false_pages: 0,
        left_open: 0,
        processes: Vec::new(),
    };
    let options = RunOptions {
        quiet_for: DISTURB,
        fresh: false,
        cluster: false,
    };
    wait::pass(Duration::from_secs(5))?;
    weigh(lab, began, &mut held);
    while began.elapsed() < length {
        let outcome = run(lab, next(&mut dice)?, options)?;
        told(&outcome);
        report.runs += 1;
        report.as_expected += usize::from(outcome.as_expected);
        report.false_pages += outcome.false_pages;
        wait::pass(Duration::from_secs(dice.roll(LONGEST_PAUSE)))?;
        weigh(lab, began, &mut held);
    }
    report.left_open = lab.findings()?.open()?.len();
    report.lasted_s = began.elapsed().as_secs_f64();
    report.processes = held.into_iter().filter_map(fare).collect();
    Ok(report)
}

fn next(dice: &mut Dice) -> Result<&'static Row> {
    let name = SCHEDULE[dice.roll(SCHEDULE.len() as u64) as usize];
    row(name).with_context(|| format!("the schedule names {name:?}, which is no row"))
}

/// What every exporter and prober holds now.
fn weigh(lab: &Lab, began: Instant, into: &mut BTreeMap<(String, i32), Vec<Held>>) {
    for (name, id) in lab.processes.ids() {
        if !(name.starts_with("serve-") || name.starts_with("probe-")) {
            continue;
        }
        if let Some(now) = holds(id, began) {
            into.entry((name, id.pid)).or_default().push(now);
        }
    }
}

fn holds(id: ProcessId, began: Instant) -> Option<Held> {
    // Children are started through setpriv, which becomes them: the id is theirs.
    let status = std::fs::read_to_string(format!("/proc/{}/status", id.pid)).ok()?;
    let number = |key: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some(Held {
        at_s: began.elapsed().as_secs_f64(),
        descriptors: std::fs::read_dir(format!("/proc/{}/fd", id.pid))
            .ok()?
            .count(),
        threads: number("Threads:")?,
        memory_kib: number("RssAnon:")?,
    })
}

fn fare(((process, _), held): ((String, i32), Vec<Held>)) -> Option<Fare> {
    let (first, last) = (*held.first()?, *held.last()?);
    let half = first.at_s + (last.at_s - first.at_s) / 2.0;
    let late: Vec<Held> = held.into_iter().filter(|h| h.at_s >= half).collect();
    Some(Fare {
        process,
        first,
        last,
        memory_kib_per_hour: slope(&late).map(|per_second| per_second * 3_600.0),
    })
}

/// KiB per second; nothing from fewer than three points.
fn slope(held: &[Held]) -> Option<f64> {
    if held.len() < 3 {
        return None;
    }
    let n = held.len() as f64;
    let mean_x = held.iter().map(|h| h.at_s).sum::<f64>() / n;
    let mean_y = held.iter().map(|h| h.memory_kib as f64).sum::<f64>() / n;
    let (mut above, mut below) = (0.0, 0.0);
    for h in held {
        above += (h.at_s - mean_x) * (h.memory_kib as f64 - mean_y);
        below += (h.at_s - mean_x).powi(2);
    }
    (below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::{Dice, Held, SCHEDULE, slope};
    use crate::expect::row;

    #[test]
    fn the_schedule_names_rows_and_a_seed_repeats_it() {
        assert!(SCHEDULE.iter().all(|name| row(name).is_some()));
        let roll = |seed| {
            let mut dice = Dice(seed);
            (0..20).map(|_| dice.roll(10)).collect::<Vec<_>>()
        };
        assert_eq!(roll(7), roll(7));
        assert_ne!(roll(7), roll(8));
    }

    #[test]
    fn growth_is_a_slope() {
        let held: Vec<Held> = (0..10)
            .map(|n| Held {
                at_s: f64::from(n) * 10.0,
                descriptors: 10,
                threads: 2,
                memory_kib: 1_000 + u64::from(n as u32) * 5,
            })
            .collect();
        assert!((slope(&held).unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(slope(&held[..2]), None);
    }
}
