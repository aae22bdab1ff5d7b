//! The sources themselves: self-contained, `unsafe` only where it is named, and no test that
//! is switched off.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The only files with `unsafe`: sockets and what polls them, and an allocator that counts.
const UNSAFE_FILES: &[&str] = &[
    "prober/src/engine/poller.rs",
    "prober/src/engine/socket.rs",
    "prober/src/mac/live/packets.rs",
    "prober/src/mac/live/socket.rs",
    "prober/src/witness/ring.rs",
    "prober/tests/allocations.rs",
];

/// What names another file in Rust; put together so that this file does not.
const INCLUDES: &[&str] = &[
    concat!("include", "_str!("),
    concat!("include", "_bytes!("),
    concat!("include", "!("),
    concat!("#[pa", "th ="),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file that git tracks or would track, with its text where it has one.
fn files() -> Vec<(String, PathBuf)> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "these tests need the git work tree"
    );
    let names = String::from_utf8(output.stdout).unwrap();
    let mut files: Vec<(String, PathBuf)> = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(|name| (name.to_owned(), root().join(name)))
        // Deleted in the work tree, not yet in the index.
        .filter(|(_, path)| path.symlink_metadata().is_ok())
        .collect();
    files.sort();
    files.dedup();
    assert!(files.len() > 50, "{files:?}");
    files
}

fn text_of(path: &Path) -> Option<String> {
    String::from_utf8(std::fs::read(path).ok()?).ok()
}

fn is_rust(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == "rs")
}

/// Quoted arguments that follow `key` on a line: `include_str!("…")`, `path = "…"`.
fn quoted_after<'a>(line: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    line.match_indices(key)
        .filter_map(|(at, key)| line[at + key.len()..].split('"').nth(1))
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn nothing_refers_outside_the_work_tree() {
    let here = root().to_str().unwrap();
    for (name, path) in files() {
        let resolved = path.canonicalize().unwrap_or_else(|error| {
            unreachable!("{name} is a link to nothing: {error}");
        });
        assert!(
            resolved.starts_with(root()),
            "{name} leads to {}",
            resolved.display()
        );
        let Some(text) = text_of(&path) else { continue };
        assert!(
            !text.contains(here),
            "{name} names the place of this work tree, {here}"
        );
        let keys: &[&str] = if is_rust(&name) {
            INCLUDES
        } else if name.ends_with("Cargo.toml") {
            &["path ="]
        } else {
            &[]
        };
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for target in keys.iter().flat_map(|key| quoted_after(line, key)) {
                let whole = path.parent().unwrap().join(target);
                let inside = whole
                    .canonicalize()
                    .is_ok_and(|whole| whole.starts_with(root()));
                // A file that a build script makes is named by concat!(env!("OUT_DIR"), …).
                let built = line.contains("OUT_DIR") || line.contains("CARGO_MANIFEST_DIR");
                assert!(inside || built, "{name} refers to {target}");
            }
        }
    }
}

#[test]
fn unsafe_stands_only_in_the_named_files() {
    let mut found: Vec<String> = Vec::new();
    for (name, path) in files().into_iter().filter(|(name, _)| is_rust(name)) {
        let text = text_of(&path).unwrap();
        // Words in comments and strings are not code; the lint itself is denied everywhere,
        // so a file with unsafe code has to switch it off by name, on one line or on several.
        let bare: String = text.split_whitespace().collect();
        let lint = concat!("unsafe", "_code");
        if bare.contains(&format!("allow({lint}")) || bare.contains(&format!("expect({lint}")) {
            assert!(
                bare.contains(&format!("{lint},reason=")),
                "{name} gives no reason for unsafe code"
            );
            found.push(name);
        }
    }
    assert_eq!(
        found, UNSAFE_FILES,
        "name new files with unsafe code here, with care"
    );
    let manifest = text_of(&root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""));
    for (name, path) in files() {
        // libFuzzer's crate is a workspace of its own, and its macro is `unsafe` by nature.
        if name.ends_with("Cargo.toml") && name != "tests/fuzz/driver/Cargo.toml" {
            let text = text_of(&path).unwrap();
            assert!(
                text.contains("[lints]\nworkspace = true"),
                "{name} leaves the lints out"
            );
        }
    }
}

#[test]
fn no_test_is_switched_off_and_nothing_is_left_to_do() {
    let banned = [
        concat!("#[ig", "nore"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
    ];
    for (name, path) in files().into_iter().filter(|(name, _)| is_rust(name)) {
        let text = text_of(&path).unwrap();
        for word in banned {
            assert!(!text.contains(word), "{name} holds {word}");
        }
    }
}
