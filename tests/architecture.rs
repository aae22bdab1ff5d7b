//! The arrows between crates, the purity of core and what the small build carries: asked of cargo,
//! never of a person.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which members a member may use in its normal dependencies.
const ARROWS: &[(&str, &[&str])] = &[
    ("pnwatch-core", &[]),
    ("pnwatch-edge", &["pnwatch-core"]),
    ("pnwatch-prober", &["pnwatch-core", "pnwatch-edge"]),
    ("pnwatch-exporter", &["pnwatch-core", "pnwatch-edge"]),
    (
        "pnwatch",
        &[
            "pnwatch-core",
            "pnwatch-edge",
            "pnwatch-prober",
            "pnwatch-exporter",
            // Only behind the feature `demo`; see `the_small_build_is_small`.
            "pnwatch-standin",
        ],
    ),
];

/// Members that exist for tests alone: they may use everything but the command.
const FOR_TESTS: &[&str] = &[
    "pnwatch-lab",
    "pnwatch-standin",
    "pnwatch-kubeapi",
    "pnwatch-fleet",
    "pnwatch-bench",
    "pnwatch-fuzz-targets",
];

/// What core may stand on, transitively: serialization, hashing, error derives, and RFC 3339
/// without a clock (jiff without `std`).
const CORE_STANDS_ON: &[&str] = &[
    "block-buffer",
    "cfg-if",
    "cpufeatures",
    "crypto-common",
    "digest",
    "generic-array",
    "itoa",
    "jiff",
    "jiff-core",
    "memchr",
    "pnwatch-core",
    "proc-macro2",
    "quote",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "sha2",
    "syn",
    "thiserror",
    "thiserror-impl",
    "typenum",
    "unicode-ident",
    "version_check",
    "zmij",
];

/// Never in the build for Macs and VMs (`--no-default-features --features prober`).
const NOT_IN_THE_SMALL_BUILD: &[&str] = &[
    "kube",
    "kube-client",
    "k8s-openapi",
    "redb",
    "prometheus",
    "pnwatch-exporter",
    "pnwatch-standin",
];

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

/// Names of all packages in a tree.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let mut all = vec!["tree", "--locked", "--prefix", "none", "--edges", "normal"];
    all.extend(arguments);
    cargo(&all)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn the_arrows_point_one_way() {
    let packages = packages();
    let members: BTreeMap<&str, &Value> = packages
        .iter()
        .filter(|package| package["source"].is_null())
        .map(|package| (text(package, "name"), package))
        .collect();
    let known: BTreeSet<&str> = ARROWS
        .iter()
        .map(|(name, _)| *name)
        .chain(FOR_TESTS.iter().copied())
        .collect();
    assert_eq!(
        known,
        members.keys().copied().collect(),
        "name new members here"
    );
    for (from, package) in &members {
        let arrows = ARROWS.iter().find(|(name, _)| name == from);
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = text(dependency, "name");
            if !members.contains_key(to) || dependency["kind"] == "dev" {
                continue;
            }
            let allowed = match arrows {
                Some((_, allowed)) => allowed.contains(&to),
                None => to != "pnwatch",
            };
            assert!(allowed, "{from} must not depend on {to}");
            if to == "pnwatch-standin" && *from == "pnwatch" {
                assert_eq!(
                    dependency["optional"], true,
                    "the stand-in is for `demo` only"
                );
            }
        }
    }
}

#[test]
fn core_stands_on_nothing_impure() {
    let allowed: BTreeSet<String> = CORE_STANDS_ON.iter().map(|&n| n.to_owned()).collect();
    let found = tree(&["-p", "pnwatch-core"]);
    assert!(found.len() > 5, "{found:?}");
    let strangers: Vec<_> = found.difference(&allowed).collect();
    assert!(strangers.is_empty(), "core must not stand on {strangers:?}");
    let features = cargo(&[
        "tree",
        "--locked",
        "-p",
        "pnwatch-core",
        "--edges",
        "features,normal",
        "--prefix",
        "none",
    ]);
    let clock = features
        .lines()
        .find(|line| line.starts_with("jiff feature \"std\""));
    assert_eq!(clock, None, "jiff with `std` has a clock");
}

#[test]
fn the_small_build_is_small() {
    let small = tree(&[
        "-p",
        "pnwatch",
        "--no-default-features",
        "--features",
        "prober",
    ]);
    let full = tree(&["-p", "pnwatch"]);
    for name in NOT_IN_THE_SMALL_BUILD {
        assert!(
            !small.contains(*name),
            "{name} is in the build for Macs and VMs"
        );
    }
    // The names above are still the names of what the full build carries.
    for name in ["kube", "redb", "pnwatch-exporter"] {
        assert!(
            full.contains(name),
            "{name} is in no build: is the list above stale?"
        );
    }
    let image = [
        "-p",
        "pnwatch",
        "--no-default-features",
        "--features",
        "prober,exporter",
    ];
    assert!(
        !tree(&image).contains("pnwatch-standin"),
        "images leave the stand-ins out"
    );
}

/// Façades over private parsers, by a feature that only `tests/fuzz/targets` asks for.
#[test]
fn what_only_the_fuzzer_calls_is_in_no_build_that_ships() {
    let features = |package| {
        let edges = ["--edges", "features,normal", "--prefix", "none"];
        let mut arguments = vec!["tree", "--locked", "-p", package];
        arguments.extend(edges);
        cargo(&arguments)
    };
    let fuzzing = |tree: &str| tree.lines().filter(|l| l.contains("\"fuzzing\"")).count();
    assert_eq!(fuzzing(&features("pnwatch")), 0);
    assert!(fuzzing(&features("pnwatch-fuzz-targets")) >= 3);
}
