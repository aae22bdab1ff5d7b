//! The lab for a long time: faults by a seeded schedule, one after the other, in a network that is
//! never started afresh, and what it costs the exporters and probers to live through it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::expect::{Row, row};
use crate::held::{Fare, Scale, Weighed};
use crate::judge::Outcome;
use crate::lab::Lab;
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
/// By when what a run left open must be closed.
const CLOSED_WITHIN: Duration = Duration::from_mins(2);
/// A connection or two may be under way; a leak is more.
const SLACK_DESCRIPTORS: u64 = 8;
/// A pool may have grown by a worker or two.
const SLACK_THREADS: u64 = 4;
/// More state than this, of a lab's two accounts, is a leak on disk.
const DISK_KIB: u64 = 32 * 1024;
/// Memory that grows by this in an hour is a leak.
const SLOPE_KIB: f64 = 1_024.0;
/// What is younger than this is not judged by its slope.
const JUDGED_FROM_S: f64 = 3_000.0;

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
    /// What was not as it must be, in words.
    pub wrong: Vec<String>,
}

impl Report {
    /// Everything was named, nothing else was, and nothing was left behind.
    fn judge(mut self) -> Self {
        let mut wrong = Vec::new();
        if self.runs == 0 || self.as_expected != self.runs {
            wrong.push(format!(
                "{} of {} runs were as expected",
                self.as_expected, self.runs
            ));
        }
        if self.false_pages != 0 {
            wrong.push(format!("{} pages that nobody should get", self.false_pages));
        }
        if self.left_open != 0 {
            wrong.push(format!("{} findings are still open", self.left_open));
        }
        if self.processes.is_empty() {
            wrong.push("no exporter and no prober was weighed".to_owned());
        }
        wrong.extend(self.processes.iter().flat_map(leaks));
        self.wrong = wrong;
        self
    }
}

/// What of a process grew that must not.
fn leaks(fare: &Fare) -> Vec<String> {
    let (first, last) = (fare.first, fare.last);
    let counts = [
        (
            "descriptors",
            first.descriptors,
            last.descriptors,
            SLACK_DESCRIPTORS,
        ),
        ("threads", first.threads, last.threads, SLACK_THREADS),
    ];
    let mut wrong: Vec<String> = counts
        .iter()
        .filter(|(_, first, last, slack)| *last > first + slack)
        .map(|(what, first, last, _)| format!("{}: {what} from {first} to {last}", fare.process))
        .collect();
    if last.disk_kib > DISK_KIB {
        wrong.push(format!("{}: {} KiB of state", fare.process, last.disk_kib));
    }
    // A young process still grows into its buffers.
    if fare.window_s >= JUDGED_FROM_S
        && let Some(slope) = fare.memory_kib_per_hour.filter(|slope| *slope >= SLOPE_KIB)
    {
        wrong.push(format!("{}: memory grows {slope:.0} KiB/h", fare.process));
    }
    wrong
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
    let scale = Scale::start().context("cannot start a thread that weighs")?;
    let mut report = Report {
        seed,
        lasted_s: 0.0,
        runs: 0,
        as_expected: 0,
        false_pages: 0,
        left_open: 0,
        processes: Vec::new(),
        wrong: Vec::new(),
    };
    let options = RunOptions {
        quiet_for: DISTURB,
        fresh: false,
        cluster: false,
    };
    while began.elapsed() < length {
        scale.put(weighed(lab)?);
        let outcome = run(lab, next(&mut dice)?, options)?;
        told(&outcome);
        report.runs += 1;
        report.as_expected += usize::from(outcome.as_expected);
        report.false_pages += outcome.false_pages;
        wait::pass(Duration::from_secs(dice.roll(LONGEST_PAUSE)))?;
    }
    wait::polled(CLOSED_WITHIN, || {
        Ok(lab.findings()?.open()?.is_empty().then_some(()))
    })?;
    report.left_open = lab.findings()?.open()?.len();
    report.lasted_s = began.elapsed().as_secs_f64();
    report.processes = scale.fares();
    Ok(report.judge())
}

/// Every exporter and prober that runs now.
fn weighed(lab: &Lab) -> Result<Vec<Weighed>> {
    let daemons = lab
        .daemons
        .as_ref()
        .context("the lab runs without pnwatch")?;
    let ids = lab.processes.ids().into_iter();
    ids.filter(|(name, _)| name.starts_with("serve-") || name.starts_with("probe-"))
        .map(|(process, id)| {
            let state = daemons.state_dir(&process)?;
            Ok(Weighed { process, id, state })
        })
        .collect()
}

fn next(dice: &mut Dice) -> Result<&'static Row> {
    let name = SCHEDULE[dice.roll(SCHEDULE.len() as u64) as usize];
    row(name).with_context(|| format!("the schedule names {name:?}, which is no row"))
}

#[cfg(test)]
mod tests {
    use super::{Dice, Report, SCHEDULE, leaks};
    use crate::expect::row;
    use crate::held::{Fare, Held};

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

    const HELD: Held = Held {
        at_s: 0.0,
        descriptors: 20,
        threads: 4,
        memory_kib: 5_000,
        disk_kib: 900,
    };

    fn fare(window_s: f64, slope: f64, last: Held) -> Fare {
        Fare {
            process: "serve-0".to_owned(),
            first: HELD,
            last,
            window_s,
            memory_kib_per_hour: Some(slope),
            disk_kib_per_hour: None,
        }
    }

    #[test]
    fn each_kind_of_leak_is_told() {
        let cases = [
            (fare(3_600.0, 1_023.0, HELD), ""),
            (fare(3_600.0, 1_024.0, HELD), "memory grows 1024 KiB/h"),
            (fare(200.0, 90_000.0, HELD), ""),
            (
                fare(
                    0.0,
                    0.0,
                    Held {
                        descriptors: 29,
                        ..HELD
                    },
                ),
                "descriptors from 20 to 29",
            ),
            (
                fare(0.0, 0.0, Held { threads: 9, ..HELD }),
                "threads from 4 to 9",
            ),
            (
                fare(
                    0.0,
                    0.0,
                    Held {
                        disk_kib: 32_769,
                        ..HELD
                    },
                ),
                "32769 KiB of state",
            ),
        ];
        for (fare, told) in cases {
            let wrong = leaks(&fare);
            assert_eq!(wrong.is_empty(), told.is_empty(), "{fare:?}: {wrong:?}");
            assert!(wrong.iter().all(|line| line.contains(told)), "{wrong:?}");
        }
    }

    #[test]
    fn a_report_without_runs_or_processes_is_not_fine() {
        let empty = Report {
            seed: 1,
            lasted_s: 0.0,
            runs: 0,
            as_expected: 0,
            false_pages: 1,
            left_open: 1,
            processes: Vec::new(),
            wrong: Vec::new(),
        };
        assert_eq!(empty.judge().wrong.len(), 4);
    }
}
