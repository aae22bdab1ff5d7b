//! What the README says, against what is so. Its commands are run by `tests/readme/run`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use pnwatch_core::fault::Alert;
use pnwatch_core::metric;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Fenced blocks as (language, text).
fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside: Vec<&str> = lines.by_ref().take_while(|l| *l != "```").collect();
            blocks.push((language, inside.join("\n") + "\n"));
        }
    }
    blocks
}

/// The rows of the tables below a heading, as cells.
fn rows<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    text.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

#[test]
fn its_metrics_exist_and_are_what_it_says() {
    let readme = file("README.md");
    let rows = rows(&readme, "## Metrics");
    assert!(rows.len() >= 10, "{rows:?}");
    for row in rows {
        let [name, kind, labels, _meaning] = row.as_slice() else {
            unreachable!("four cells: {row:?}");
        };
        let name = name.trim_matches('`');
        let metric = metric::ALL
            .iter()
            .find(|metric| metric.name == name)
            .unwrap_or_else(|| unreachable!("there is no metric {name}"));
        assert_eq!(metric.kind.as_word(), *kind, "{name}");
        let told: Vec<&str> = labels
            .split(", ")
            .map(|label| label.trim_matches('`'))
            .filter(|label| !label.is_empty() && *label != "–")
            .collect();
        assert_eq!(told, metric.labels, "{name}");
    }
}

#[test]
fn its_alerts_are_all_there_are() {
    let readme = file("README.md");
    let told: BTreeSet<&str> = rows(&readme, "## Alerts")
        .into_iter()
        .flat_map(|row| row[0].split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    let all: BTreeSet<&str> = Alert::ALL.iter().map(|alert| alert.as_label()).collect();
    assert_eq!(told, all);
}

#[test]
fn its_configuration_is_the_example() {
    let readme = file("README.md");
    let yaml: Vec<String> = blocks(&readme)
        .into_iter()
        .filter(|(language, _)| *language == "yaml")
        .map(|(_, text)| text)
        .collect();
    for example in [
        "docs/examples/all-in-one.yaml",
        "docs/examples/inventory.yaml",
    ] {
        assert!(yaml.contains(&file(example)), "{example} reads differently");
    }
    assert_eq!(file("docs/examples/all-in-one.yaml").lines().count(), 10);
}

#[test]
fn its_blocks_say_what_they_are() {
    let readme = file("README.md");
    let blocks = blocks(&readme);
    for (language, text) in &blocks {
        assert!(
            ["sh", "text", "yaml"].contains(language),
            "{language}: {text}"
        );
        if *language == "sh" {
            // These cannot be run by a test: they belong into `text`, with the reason beside.
            for word in ["sudo ", "systemctl", "kubectl", "helm ", "git clone"] {
                assert!(!text.contains(word), "{text}");
            }
        }
    }
    assert!(
        blocks
            .iter()
            .any(|(_, text)| text == "cargo run --release -- demo --for 40s\n")
    );
    assert!(blocks.iter().any(|(_, text)| text == "sudo tests/run\n"));
}

#[test]
fn its_commands_exist() {
    let help = Command::new(env!("CARGO_BIN_EXE_pnwatch"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let readme = file("README.md");
    for (language, text) in blocks(&readme) {
        let words = text.split("cargo run --release -- ").skip(1);
        for name in words.filter_map(|rest| rest.split_whitespace().next()) {
            assert!(help.contains(&format!("\n  {name} ")), "{language}: {name}");
        }
    }
    for row in rows(&readme, "## Commands") {
        let name = row[0].trim_matches('`').split(' ').nth(1).unwrap();
        assert!(help.contains(&format!("\n  {name} ")), "{name}");
    }
}
