//! The same checks by a prober that gets 5 % of a CPU (cgroup v1, or v2 where that is mounted).
//!
//! Only the prober's thread is starved; network, peers and the lab are not. Beside it a thread of
//! the same group burns what it gets, so that the prober really waits for its share.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pnwatch_core::outcome::Outcome;
use serde::Serialize;

use super::prober::{self, Prober};
use super::rows::{ROWS, Row};
use super::wire::{NODE, Wire};
use crate::net::Namespaces;
use pnwatch_prober::engine::Ask;

/// The share: of 100 ms, 5.
const QUOTA_US: u32 = 5_000;
const PERIOD_US: u32 = 100_000;
/// How long the healthy row is checked, again and again.
const HEALTHY_FOR: Duration = Duration::from_secs(15);
/// Rows that are checked besides: those that a slow prober could mistake.
const OTHERS: [&str; 6] = ["2", "3", "4", "13", "15", "16"];

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Starved {
    /// Checks that were made.
    pub checks: u32,
    /// Outcomes of the healthy row, counted.
    pub healthy: BTreeMap<String, u32>,
    /// How long the longest healthy check took by the program's own clock, milliseconds.
    pub slowest_ms: u128,
    /// What was seen of the other rows.
    pub others: BTreeMap<&'static str, String>,
    /// Rows that became a fault that was not there: must be empty.
    pub false_outages: Vec<String>,
}

/// Runs the rows.
pub(super) fn run() -> Result<Starved> {
    let mut namespaces = Namespaces::new(&format!("ps{}", std::process::id()));
    let mut starved = Starved::default();
    let wire = Wire::create(&mut namespaces, "st")?;
    healthy(&wire, &mut starved)?;
    for row in ROWS.iter().filter(|row| OTHERS.contains(&row.name)) {
        let wire = Wire::create(&mut namespaces, &format!("s{}", row.name))?;
        other(&wire, row, &mut starved)?;
    }
    Ok(starved)
}

fn healthy(wire: &Wire, starved: &mut Starved) -> Result<()> {
    let leg = wire.own_leg.borrow().clone().context("no leg")?;
    let (outcomes, slowest) = starving(wire, &leg, |mut prober| async move {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut slowest = Duration::ZERO;
        let end = Instant::now() + HEALTHY_FOR;
        while Instant::now() < end {
            let began = Instant::now();
            outcomes.push(prober.check(prober::up(31001)).await?);
            slowest = slowest.max(began.elapsed());
            outcomes.push(prober.check(Ask::Arp(NODE)).await?);
        }
        anyhow::Ok((outcomes, slowest))
    })?;
    starved.slowest_ms = slowest.as_millis();
    for outcome in outcomes {
        starved.checks += 1;
        *starved.healthy.entry(outcome.to_string()).or_default() += 1;
        if let Outcome::Unreached(cause) = outcome {
            starved.false_outages.push(format!("row 1: {cause}"));
        }
    }
    Ok(())
}

fn other(wire: &Wire, row: &Row, starved: &mut Starved) -> Result<()> {
    (row.inject)(wire)?;
    let leg = wire.own_leg.borrow().clone().context("no leg")?;
    let port = row.port;
    let outcome = starving(wire, &leg, |mut prober| async move {
        prober.check(prober::up(port)).await
    })?;
    starved.checks += 1;
    starved.others.insert(row.name, outcome.to_string());
    // Late or not measured, but never another fault than the one that is there.
    let (expected, ..) = row.expected[0];
    if let Outcome::Unreached(cause) = outcome
        && cause.as_label() != expected
    {
        starved
            .false_outages
            .push(format!("row {}: {cause}, not {expected}", row.name));
    }
    Ok(())
}

/// As [`prober::inside`], with 5 % of a CPU for the prober and its rival.
fn starving<T: Send, F>(
    wire: &Wire,
    leg: &pnwatch_prober::link::Leg,
    work: impl FnOnce(Prober) -> F + Send,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let group = Group::create()?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let rival = scope.spawn(|| -> Result<()> {
            group.take_thread()?;
            while !over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
            Ok(())
        });
        let result = prober::inside(wire, false, leg, |prober| {
            let joined = group.take_thread();
            async move {
                joined?;
                work(prober).await
            }
        });
        over.store(true, Ordering::Relaxed);
        rival
            .join()
            .unwrap_or_else(|_| anyhow::bail!("the rival panicked"))?;
        result
    })
}

/// A CPU group of ours with its quota; removed on drop.
#[derive(Debug)]
struct Group {
    path: PathBuf,
    threads: &'static str,
}

impl Group {
    fn create() -> Result<Self> {
        let name = format!("pnwatch-lab-{}", std::process::id());
        let v1 = PathBuf::from("/sys/fs/cgroup/cpu");
        let group = if v1.join("cpu.cfs_quota_us").exists() || v1.join("tasks").exists() {
            Self {
                path: v1.join(name),
                threads: "tasks",
            }
        } else {
            Self {
                path: PathBuf::from("/sys/fs/cgroup").join(name),
                threads: "cgroup.threads",
            }
        };
        fs::create_dir_all(&group.path).with_context(|| {
            format!(
                "cannot make the CPU group {}; the lab needs root and the cpu controller",
                group.path.display()
            )
        })?;
        if group.threads == "tasks" {
            group.write("cpu.cfs_period_us", &PERIOD_US.to_string())?;
            group.write("cpu.cfs_quota_us", &QUOTA_US.to_string())?;
        } else {
            group.write("cgroup.type", "threaded")?;
            group.write("cpu.max", &format!("{QUOTA_US} {PERIOD_US}"))?;
        }
        Ok(group)
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.path.join(file);
        fs::write(&path, value).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The calling thread gets its share from here on.
    fn take_thread(&self) -> Result<()> {
        let id = rustix::thread::gettid();
        self.write(self.threads, &id.as_raw_nonzero().to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Empty by now: its threads have ended. The kernel may take a moment to see it.
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!(
            "pnwatch-lab: the CPU group {} stays; remove it by rmdir",
            self.path.display()
        );
    }
}
