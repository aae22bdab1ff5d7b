//! The committed corpora, replayed: what once broke a parser, and what the world really sends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use pnwatch_fuzz_targets::TARGETS;

/// Most files of one corpus: it is read by people too.
const MOST_FILES: usize = 40;
/// Most bytes of one file.
const MOST_BYTES: usize = 64 << 10;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of every corpus, by its name.
fn corpora() -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let folders = fs::read_dir(fuzz_folder().join("corpus")).unwrap();
    folders
        .map(|folder| {
            let folder = folder.unwrap().path();
            let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
                .unwrap()
                .map(|file| file.unwrap().path())
                .map(|path| (name(&path), fs::read(&path).unwrap()))
                .collect();
            files.sort();
            (name(&folder), files)
        })
        .collect()
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert!(targets.is_sorted_by(|a, b| a < b), "{targets:?}");
    let corpora = corpora();
    let named: Vec<&str> = corpora.keys().map(String::as_str).collect();
    assert_eq!(targets, named);
    for (name, files) in &corpora {
        assert!(
            (1..=MOST_FILES).contains(&files.len()),
            "{name}: {}",
            files.len()
        );
        for (file, bytes) in files {
            assert!(bytes.len() <= MOST_BYTES, "{name}/{file}");
        }
        let contents: BTreeSet<&Vec<u8>> = files.iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(contents.len(), files.len(), "{name} holds a file twice");
    }
}

/// A corpus of nothing but rubbish proves nothing: each holds what its parser is there for.
#[test]
fn every_input_is_replayed_and_real_ones_are_understood() {
    let corpora = corpora();
    let mut wrong = Vec::new();
    for (name, run) in TARGETS {
        let mut understood = 0;
        for (file, bytes) in &corpora[*name] {
            match catch_unwind(|| run(bytes)) {
                Ok(read) => understood += usize::from(read),
                Err(_) => wrong.push(format!("{name}/{file} breaks it")),
            }
        }
        if understood == 0 {
            wrong.push(format!("{name}: no file of its corpus is understood"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Cut off after each of its bytes, and with each byte turned over: what a bad wire does.
#[test]
fn damage_to_a_real_input_breaks_nothing() {
    let corpora = corpora();
    for (name, run) in TARGETS {
        for (_, bytes) in &corpora[*name] {
            // The longest would take minutes; their first part shows the same.
            let bytes = &bytes[..bytes.len().min(2048)];
            let step = bytes.len() / 64 + 1;
            for at in (0..bytes.len()).step_by(step) {
                run(&bytes[..at]);
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 0xff;
                run(&flipped);
            }
        }
    }
}

/// Fuzzed is what ships: libFuzzer's crate has a lock file of its own.
#[test]
fn the_fuzzer_is_built_from_the_same_versions() {
    let packages = |file: PathBuf| -> BTreeSet<(String, String)> {
        let text = fs::read_to_string(file).unwrap();
        let quoted = |line: &str, key: &str| {
            let value = line.strip_prefix(key)?.strip_prefix(" = \"")?;
            Some(value.strip_suffix('"')?.to_owned())
        };
        text.split("[[package]]")
            .skip(1)
            .map(|package| {
                let value = |key| package.lines().find_map(|line| quoted(line, key)).unwrap();
                (value("name"), value("version"))
            })
            .collect()
    };
    let ours = packages(fuzz_folder().join("../../Cargo.lock"));
    let fuzzed = packages(fuzz_folder().join("driver/Cargo.lock"));
    // What only the fuzzer's crate stands on.
    let own: BTreeSet<&str> = fuzzed
        .difference(&ours)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        own,
        BTreeSet::from(["arbitrary", "jobserver", "libfuzzer-sys", "pnwatch-fuzz"]),
        "run: cp Cargo.lock tests/fuzz/driver/ && tests/fuzz/run --list"
    );
    assert!(fuzzed.len() > 100, "{}", fuzzed.len());
}
