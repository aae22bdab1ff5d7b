//! Every scenario file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test: a fault ends it

use std::path::{Path, PathBuf};

use std::collections::BTreeSet;

use pnwatch_core::gate::Verdict;
use pnwatch_fleet::scenario::Scenario;

/// Phases of each scenario that the tests run. All that a scenario asks for are run by
/// `cargo run --release -p pnwatch-fleet -- tests/scenarios/*.toml`.
const PHASES: u64 = 5;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 50, "scenario files are missing");
    files
}

fn read(path: &Path) -> Scenario {
    let text = std::fs::read_to_string(path).unwrap();
    Scenario::parse(&text).unwrap_or_else(|e| panic!("{}: {e:#}", path.display()))
}

#[test]
fn every_scenario_ends_as_written() {
    let files = files();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let misses = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(path) =
                    files.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                    let outcome = read(path).run(PHASES);
                    let lines = outcome.misses.iter().map(|miss| format!("{name}: {miss}"));
                    misses.lock().unwrap().extend(lines);
                }
            });
        }
    });
    let misses = misses.into_inner().unwrap();
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

/// The gate opens before and after each of these, and says no in between wherever somebody is cut
/// off or nobody can tell.
#[test]
fn many_rows_have_the_gates_answers_before_during_and_after() {
    let (mut asked, mut shut) = (BTreeSet::new(), BTreeSet::new());
    for path in files() {
        let scenario = read(&path);
        let gate = scenario.gate();
        if let [Verdict::Open, during @ .., Verdict::Open] = gate.as_slice() {
            asked.extend(scenario.rows.clone());
            if during.iter().any(|said| *said != Verdict::Open) {
                shut.extend(scenario.rows);
            }
        }
    }
    assert!(asked.len() >= 15, "{asked:?}");
    assert!(shut.len() >= 10, "{shut:?}");
}

#[test]
fn what_is_misspelt_fails() {
    let good = "about = \"x\"\nlasts = \"10s\"\nopened = 0\n";
    assert!(Scenario::parse(good).is_ok());
    let step = "[[step]]\nat = \"1s\"\nbreak = \"down\"\ntarget = \"network\"\n";
    assert!(Scenario::parse(&format!("{good}{step}")).is_ok());
    for bad in [
        "about = \"x\"\nlasts = \"10s\"\n".to_owned(),
        "about = \"\"\nlasts = \"10s\"\nopened = 0\n".to_owned(),
        format!("{good}lastz = \"10s\"\n"),
        good.replace("10s", "ten"),
        format!("{good}[world]\nhost = 3\n"),
        format!("{good}{}", step.replace("down", "sad")),
        format!("{good}{}", step.replace("network", "moon/x")),
        format!("{good}{step}repair = \"down\"\n"),
        format!("{good}{step}lasts = \"1s\"\n"),
        format!("{good}{step}every = \"1s\"\n"),
        format!("{good}[[expect]]\nat = \"11s\"\nopen = []\n"),
        format!("{good}[[expect]]\nat = \"1s\"\nopen = [{{ blame = \"me\", subject = \"x\" }}]\n"),
        format!("{good}[[expect]]\nat = \"1s\"\nnone = true\n"),
        format!("{good}[[expect]]\nat = \"1s\"\nopen = []\ngate = \"ajar\"\n"),
    ] {
        assert!(Scenario::parse(&bad).is_err(), "{bad}");
    }
}
