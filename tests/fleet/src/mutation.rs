//! Every rule is taken away in turn: a test must notice.
//!
//! A rule is a row of a decision table, something that is held back, or a fault that another
//! judge feeds. It is missed if a scenario file then ends otherwise than written, if the
//! random timelines of the tests do, or, of a row for signs that these never meet, if the
//! table's committed text changes (`table.golden.txt` in core).

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use pnwatch_core::diagnosis::rule::InForce;
use pnwatch_core::diagnosis::table;
use pnwatch_core::diagnosis::trace::Hold;
use pnwatch_core::fault::{Proof, ROWS};

use crate::scenario::Scenario;
use crate::timeline;

/// Phases of each scenario that are tried: as many as the tests run.
pub const PHASES: u64 = 5;
/// Timelines of the tests, from seed 1.
pub const TIMELINES: u64 = 500;

/// Every rule by its name.
pub fn rules() -> Vec<&'static str> {
    let rows = table::tables().into_iter().flat_map(|(_, lines)| lines);
    let holds = Hold::ALL.iter().map(|hold| hold.as_label());
    let fed = ROWS.iter().filter(|row| row.proof == Proof::Fed);
    rows.map(|line| line.id)
        .chain(holds)
        .chain(fed.map(|row| row.fault.as_label()))
        .collect()
}

/// Says per rule which test misses it. True if every one is missed.
pub fn run(folder: &Path, only: Option<&str>) -> Result<bool> {
    let mut scenarios = Vec::new();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    for path in paths
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
    {
        let text = std::fs::read_to_string(path)?;
        let scenario = Scenario::parse(&text).with_context(|| path.display().to_string())?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        scenarios.push((name, scenario));
    }
    // The short ones first: most rules fail one of them.
    scenarios.sort_by_key(|(_, s)| s.lasts);
    let rules: Vec<&str> = rules()
        .into_iter()
        .filter(|r| only.is_none_or(|o| o == *r))
        .collect();
    let next = AtomicUsize::new(0);
    let unmissed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(rule) = rules.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let by = missed_by(&scenarios, rule);
                    let said = by
                        .as_ref()
                        .map_or("NOT MISSED".to_owned(), |by| format!("missed by {by}"));
                    println!("{rule}: {said}");
                    if by.is_none() {
                        let mut unmissed = unmissed
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner);
                        unmissed.push(*rule);
                    }
                }
            });
        }
    });
    let unmissed = unmissed
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    println!(
        "{} rules taken away, {} missed by a test, {} not: {}",
        rules.len(),
        rules.len() - unmissed.len(),
        unmissed.len(),
        unmissed.join(", ")
    );
    Ok(unmissed.is_empty() && !rules.is_empty())
}

fn missed_by(scenarios: &[(String, Scenario)], rule: &'static str) -> Option<String> {
    let force = InForce::without(rule);
    // One phase of each finds most; luck decides the rest.
    for phases in [1, PHASES] {
        for (name, scenario) in scenarios {
            let outcome = scenario.run_under(phases, force);
            if let Some(miss) = outcome.misses.first() {
                let short: String = miss.chars().take(100).collect();
                return Some(format!("{name}.toml ({short})"));
            }
        }
    }
    let tally = timeline::run_under(1, TIMELINES, force);
    match tally.lines.first() {
        Some(first) if tally.lines.len() > timeline::KNOWN_MISSES => {
            Some(format!("the timelines ({first})"))
        }
        _ => table::missed_under(rule).map(|signs| format!("the table's text ({signs})")),
    }
}
