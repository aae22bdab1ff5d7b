//! What we stand on: licences, sources, versions that are there twice, and why each is here; asked
//! of cargo, without the network. `deny.toml` says the same to cargo-deny, which knows advisories.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences that allow shipping the binary under MIT with a notice.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What it is shipped for.
const SHIPPED_FOR: &[&str] = &[
    "x86_64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "aarch64-apple-darwin",
];

/// What the shipped program carries in more than one version. Each is another project's; it goes
/// when that project moves. One that is gone must go from here too.
const TWICE: &[&str] = &["base64", "getrandom", "syn"];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn packages() -> Vec<Value> {
    let text = cargo(&["metadata", "--format-version", "1", "--locked"]);
    let mut metadata: Value = serde_json::from_str(&text).unwrap();
    match metadata["packages"].take() {
        Value::Array(packages) => packages,
        other => unreachable!("cargo metadata lists packages, not {other}"),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn dependencies_are_licensed_to_be_shipped_and_come_from_one_registry() {
    let mut sources = BTreeSet::new();
    for package in packages() {
        let name = text(&package, "name");
        let expression = text(&package, "license");
        assert!(licensed(expression), "{name} is licensed {expression:?}");
        if let Some(source) = package["source"].as_str() {
            assert!(
                source.starts_with("registry+"),
                "{name} comes from {source}"
            );
            sources.insert(source.to_owned());
        }
    }
    assert_eq!(sources.len(), 1, "{sources:?}");
}

/// Whether an SPDX expression is met by [`LICENCES`]: OR needs one side, AND both.
fn licensed(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = either(&mut rest);
    met && rest.is_empty()
}

fn either(words: &mut &[&str]) -> bool {
    let mut met = both(words);
    while let [first, rest @ ..] = *words
        && *first == "OR"
    {
        *words = rest;
        met |= both(words);
    }
    met
}

fn both(words: &mut &[&str]) -> bool {
    let mut met = one(words);
    while let [first, rest @ ..] = *words
        && *first == "AND"
    {
        *words = rest;
        met &= one(words);
    }
    met
}

fn one(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = either(words);
            let [")", rest @ ..] = *words else {
                return false;
            };
            *words = rest;
            met
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            LICENCES.contains(&format!("{licence} WITH {exception}").as_str())
        }
        [licence, rest @ ..] => {
            *words = rest;
            LICENCES.contains(licence)
        }
        [] => false,
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    for (expression, met) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only AND MIT", false),
        ("(MIT OR GPL-2.0-only) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-2.0-only", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true),
        ("", false),
        ("MIT OR", true),
        ("(MIT", false),
    ] {
        assert_eq!(licensed(expression), met, "{expression:?}");
    }
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dependencies.md");
    let page = std::fs::read_to_string(page).unwrap();
    let written: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .filter(|cell| *cell != "crate")
        .flat_map(|cell| cell.split(", ").map(str::to_owned))
        .collect();
    let own: Vec<Value> = packages()
        .into_iter()
        .filter(|package| package["source"].is_null())
        .collect();
    let mut direct = BTreeSet::new();
    for package in &own {
        for dependency in package["dependencies"].as_array().unwrap() {
            if !dependency["source"].is_null() {
                direct.insert(text(dependency, "name").to_owned());
            }
        }
    }
    assert_eq!(
        written, direct,
        "docs/dependencies.md and the manifests differ"
    );
}

/// `deny.toml`, whose strings are all that is asked of it here.
fn deny() -> toml::Table {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    std::fs::read_to_string(file).unwrap().parse().unwrap()
}

fn strings(value: &toml::Value) -> BTreeSet<String> {
    let all = value.as_array().unwrap().iter();
    all.map(|one| match one.get("crate") {
        Some(name) => name.as_str().unwrap().to_owned(),
        None => one.as_str().unwrap().to_owned(),
    })
    .collect()
}

#[test]
fn what_is_there_twice_is_known() {
    let mut words = vec!["tree", "--locked", "--package", "pnwatch", "--all-features"];
    words.extend(["--edges", "normal,build", "--prefix", "none"]);
    for target in SHIPPED_FOR {
        words.extend(["--target", target]);
    }
    let text = cargo(&words);
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name).or_default().insert(version);
        }
    }
    let twice: BTreeSet<&str> = versions
        .iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(twice, TWICE.iter().copied().collect(), "see TWICE");
}

#[test]
fn cargo_deny_is_told_the_same() {
    let deny = deny();
    let expected = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    assert_eq!(strings(&deny["licenses"]["allow"]), expected(LICENCES));
    assert_eq!(strings(&deny["bans"]["skip"]), expected(TWICE));
    assert_eq!(strings(&deny["graph"]["targets"]), expected(SHIPPED_FOR));
    assert_eq!(deny["bans"]["multiple-versions"].as_str(), Some("deny"));
    assert_eq!(deny["sources"]["unknown-registry"].as_str(), Some("deny"));
    assert_eq!(deny["sources"]["unknown-git"].as_str(), Some("deny"));
}
