//! `pnwatch-fleet`: random timelines, or scenario files, on one virtual clock.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use pnwatch_core::diagnosis::rule::InForce;
use pnwatch_fleet::scenario::Scenario;
use pnwatch_fleet::timeline::{Tally, Timeline, run_many};

/// Network faults on a virtual clock, and what pnwatch says of them.
#[derive(Debug, Parser)]
struct Command {
    /// Scenario files to run instead of random timelines.
    scenarios: Vec<PathBuf>,
    /// Run this phase of the scenarios alone, and print what is told and said.
    #[arg(long)]
    phase: Option<u64>,
    /// How many random timelines.
    #[arg(long, default_value_t = 500)]
    timelines: u64,
    /// The first seed; each timeline takes the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run the timeline of `--seed` alone, and print what is told and said.
    #[arg(long)]
    trace: bool,
    /// Write what `pnwatch explain` says of every row into that folder, and do nothing else.
    #[arg(long)]
    explain: Option<PathBuf>,
    /// Take every rule away in turn and say which test misses it.
    #[arg(long)]
    mutate: bool,
    /// Run the scenario files without this rule, or `--mutate` only this one.
    #[arg(long)]
    without: Option<String>,
    /// Write docs/faults.md there, and do nothing else.
    #[arg(long)]
    page: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let command = Command::parse();
    if let Some(path) = &command.page {
        let page = pnwatch_fleet::page::page(Path::new("tests/scenarios"))?;
        std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &command.explain {
        pnwatch_fleet::explanations::write(Path::new("tests/scenarios"), folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    if command.mutate {
        let only = command.without.as_deref();
        let missed = pnwatch_fleet::mutation::run(Path::new("tests/scenarios"), only)?;
        return Ok(if missed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let clean = if command.trace {
        let timeline = Timeline::draw(command.seed);
        println!("{timeline}");
        let score = timeline.run(true);
        println!("{score:?}");
        score.missed.is_empty() && score.beyond.is_empty()
    } else if command.scenarios.is_empty() {
        let tally = run_many(command.seed, command.timelines);
        print_tally(&tally);
        tally.meets_the_goals()
    } else {
        let mut clean = true;
        for path in &command.scenarios {
            let force = force(command.without.as_deref())?;
            clean &= run_scenario(path, command.phase, force)?;
        }
        clean
    };
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn median_and_worst(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |index: usize| times.get(index).map_or(0.0, Duration::as_secs_f64);
    (at(times.len() / 2), at(times.len().saturating_sub(1)))
}

/// All rules, but that one.
fn force(without: Option<&str>) -> Result<InForce> {
    let Some(name) = without else {
        return Ok(InForce::default());
    };
    let rules = pnwatch_fleet::mutation::rules();
    let rule = rules.into_iter().find(|rule| *rule == name);
    let rule = rule.with_context(|| format!("--without {name}: there is no rule of that name"))?;
    Ok(InForce::without(rule))
}

fn run_scenario(path: &Path, phase: Option<u64>, force: InForce) -> Result<bool> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let scenario = Scenario::parse(&text).with_context(|| path.display().to_string())?;
    let mut outcome = match phase {
        Some(seed) => scenario.trace(seed, force),
        None => scenario.run_under(u64::MAX, force),
    };
    let (median, worst) = median_and_worst(&mut outcome.opened_after);
    println!(
        "{:32} {} misses; opened after {median:.2} s (median), {worst:.2} s (worst)",
        path.file_stem().unwrap_or_default().to_string_lossy(),
        outcome.misses.len(),
    );
    for miss in outcome.misses.iter().take(12) {
        println!("  {miss}");
    }
    Ok(outcome.misses.is_empty())
}

fn print_tally(tally: &Tally) {
    println!(
        "{} timelines, {} faults to be found: blame and subject right in {:.2} %, class in {:.2} %; \
         {} missed, {} findings beyond",
        tally.timelines,
        tally.faults(),
        tally.blame_share() * 100.0,
        tally.class_share() * 100.0,
        tally.missed(),
        tally.beyond,
    );
    let rows: &BTreeMap<_, _> = &tally.rows;
    println!(
        "{:18} {:>6} {:>7} {:>7} {:>8} {:>8}",
        "row", "found", "missed", "class", "median", "worst"
    );
    for (row, of) in rows {
        let (median, worst) = median_and_worst(&mut of.after.clone());
        println!(
            "{row:18} {:>6} {:>7} {:>7} {median:>7.2}s {worst:>7.2}s",
            of.after.len(),
            of.missed,
            of.right,
        );
    }
    for line in tally.lines.iter().take(60) {
        println!("{line}");
    }
}
