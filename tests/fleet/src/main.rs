//! `pnwatch-fleet`: random timelines, or scenario files, on one virtual clock.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use pnwatch_fleet::scenario::Scenario;

/// Network faults on a virtual clock, and what pnwatch says of them.
#[derive(Debug, Parser)]
struct Command {
    /// Scenario files to run instead of random timelines.
    scenarios: Vec<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let command = Command::parse();
    let mut clean = true;
    for path in &command.scenarios {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let scenario = Scenario::parse(&text).with_context(|| path.display().to_string())?;
        let mut outcome = scenario.run();
        outcome.opened_after.sort();
        let times = &outcome.opened_after;
        let at = |share: usize| times.get(times.len() * share / 100).copied();
        println!(
            "{}: {} misses; opened after {:?} (median), {:?} (worst)",
            path.file_stem().unwrap_or_default().to_string_lossy(),
            outcome.misses.len(),
            at(50).unwrap_or_default(),
            times.last().copied().unwrap_or_default(),
        );
        for miss in outcome.misses.iter().take(12) {
            println!("  {miss}");
        }
        clean &= outcome.misses.is_empty();
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
