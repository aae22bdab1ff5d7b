//! The configuration as a person meets it: a bad file per rule with the lines that it earns,
//! and the printed default, which must be good.
//!
//! `tests/config/bad/NAME.yaml` is read strictly from the crate's folder; its problems must be
//! the lines of `NAME.expected`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pnwatch_edge::config::{self, ConfigError, Severity};

fn bad_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir("tests/config/bad")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    files
}

fn lines_of(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    let shown = path.to_str().unwrap();
    let lines: Vec<String> = config::check(path)
        .unwrap()
        .iter()
        .map(|problem| problem.to_string().replacen(shown, name, 1))
        .collect();
    lines.join("\n") + "\n"
}

#[test]
fn every_bad_file_earns_its_lines() {
    let files = bad_files();
    assert!(files.len() >= 50, "only {} bad files found", files.len());
    let mut wrong = String::new();
    for path in files {
        let seen = lines_of(&path);
        let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        if seen != expected {
            write!(
                wrong,
                "--- {}\nexpected:\n{expected}seen:\n{seen}",
                path.display()
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn problems_are_one_line_and_leak_no_credentials() {
    for path in bad_files() {
        for problem in config::check(&path).unwrap() {
            let line = problem.to_string();
            assert!(!line.contains('\n'), "{line:?}");
            assert!(!line.contains("hunter2"), "{line:?}");
        }
    }
}

#[test]
fn an_unknown_key_only_warns_at_run_time() {
    let loaded = config::load(Path::new("tests/config/bad/unknown-top-level-key.yaml")).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].severity, Severity::Warning);
    assert_eq!(loaded.warnings[0].path, "prboe");
    assert!(loaded.config.probe.is_some());
}

#[test]
fn other_faults_are_errors_at_run_time_too_and_all_are_named() {
    let error = config::load(Path::new("tests/config/bad/several-at-once.yaml")).unwrap_err();
    let ConfigError::Invalid { problems } = error else {
        unreachable!("the file can be read");
    };
    assert!(problems.len() >= 5, "{problems:?}");
}

#[test]
fn hostile_files_end_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let deep = format!("cluster: {}", "[".repeat(100_000));
    let bomb = {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            let inner = format!("*a{},", i - 1).repeat(10);
            writeln!(text, "a{i}: &a{i} [{}]", inner.trim_end_matches(',')).unwrap();
        }
        text
    };
    for (name, bytes) in [
        ("deep", deep.into_bytes()),
        ("bomb", bomb.into_bytes()),
        ("huge", vec![b'a'; (1 << 20) + 1]),
        ("binary", vec![0xff, 0xfe, 0, 1, 2]),
        ("nul", b"cluster: \"a\\0b\"\n".to_vec()),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let began = std::time::Instant::now();
        let error = config::load(&path).unwrap_err().to_string();
        assert!(began.elapsed() < Duration::from_secs(5), "{name}");
        assert_eq!(error.lines().count(), 1, "{name}: {error}");
        assert!(error.len() < 500, "{name}: {error}");
    }
    let missing = config::load(&dir.path().join("none")).unwrap_err();
    assert!(missing.to_string().ends_with("name an existing file"));
}

#[test]
fn the_printed_default_passes_its_own_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("default.yaml");
    std::fs::write(&path, config::DEFAULT).unwrap();
    assert_eq!(config::check(&path).unwrap(), []);
}

#[test]
fn an_inventory_of_fifty_thousand_targets_is_read() {
    let mut text = String::from(
        "pn_cidr: 172.16.0.0/22\nnodes: [{ name: n, address: 172.16.0.2 }]\ntargets:\n",
    );
    for i in 0..50_000 {
        let port = 30_000 + i % 2_768;
        writeln!(text, "- {{ account: a{i}, tenant: a{i}, instance: i{i}, node: n, address: 172.16.0.2, port: {port} }}").unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.yaml");
    std::fs::write(&path, text).unwrap();
    let cluster = pnwatch_core::name::Cluster::new("staging").unwrap();
    let inventory = config::read_inventory(&path, cluster).unwrap();
    assert_eq!(inventory.targets.len(), 50_000);
}
