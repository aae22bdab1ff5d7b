//! Every link in every document leads somewhere, and the API is described as it is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.md",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "this test needs the git work tree");
    String::from_utf8(output.stdout)
        .unwrap()
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(|name| root().join(name))
        .filter(|path| path.exists())
        .collect()
}

/// The lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return false;
        }
        !fenced
    })
}

/// Targets of `[text](target)`, `[name]: target` and `<img src="target">`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let line = without_code(line);
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split([')', ' ']).next().unwrap_or_default();
            found.push(target.trim_matches(['<', '>']).to_owned());
        }
        if let Some((name, target)) = line.split_once("]: ")
            && name.starts_with('[')
        {
            found.push(target.split(' ').next().unwrap_or_default().to_owned());
        }
        for (at, key) in line.match_indices("src=\"") {
            found.push(
                line[at + key.len()..]
                    .split('"')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
    }
    found
}

/// A line without its `code spans`.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The anchors that GitHub makes of headings, and explicit `<a id="…">`.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(text) {
        if line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let anchor: String = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            let mut unique = anchor.clone();
            let mut n = 0;
            while !found.insert(unique.clone()) {
                n += 1;
                unique = format!("{anchor}-{n}");
            }
        }
        for key in ["id=\"", "name=\""] {
            for (at, key) in line.match_indices(key) {
                found.insert(
                    line[at + key.len()..]
                        .split('"')
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    assert!(!documents.is_empty(), "there is not even a README");
    let mut broken = Vec::new();
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(file)
            };
            let here = document.strip_prefix(root()).unwrap().display();
            match target.canonicalize() {
                Ok(target) if target.starts_with(root()) => {
                    let is_document = target.extension().is_some_and(|e| e == "md");
                    if !anchor.is_empty() && is_document {
                        let text = std::fs::read_to_string(&target).unwrap();
                        if !anchors(&text).contains(anchor) {
                            broken.push(format!("{here}: {link}: no such heading"));
                        }
                    }
                }
                _ => broken.push(format!("{here}: {link}: no such file")),
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn links_and_anchors_are_read_as_github_reads_them() {
    let text = "# A b: `c`!\n# A b: `c`!\n[x](y.md#z) `[no](no)` ![p](q.svg)\n```\n[no](no)\n```\n[r]: s.md\n";
    assert_eq!(links(text), ["y.md#z", "q.svg", "s.md"]);
    assert_eq!(
        anchors(text),
        BTreeSet::from(["a-b-c".to_owned(), "a-b-c-1".to_owned()])
    );
}

/// What stands between quotes after each `.route(` of the sources under `folder`.
fn routes(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            routes(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split(".route(").skip(1) {
                let place = call.trim_start().strip_prefix('"');
                if let Some((place, _)) = place.and_then(|rest| rest.split_once('"')) {
                    into.insert(place.to_owned());
                }
            }
        }
    }
}

#[test]
fn the_described_api_is_the_one_that_is_served() {
    let mut served = BTreeSet::new();
    routes(&root().join("exporter/src"), &mut served);
    served.retain(|place| place.starts_with("/v1/") || place.ends_with('z'));
    let text = std::fs::read_to_string(root().join("docs/openapi.yaml")).unwrap();
    let described: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("  /")?.strip_suffix(':'))
        .map(|place| format!("/{place}"))
        .collect();
    assert_eq!(described, served, "docs/openapi.yaml and the routes differ");
    let prose = std::fs::read_to_string(root().join("docs/api.md")).unwrap();
    for place in &served {
        assert!(
            prose.contains(place.as_str()),
            "docs/api.md does not name {place}"
        );
    }
}

/// Every Rust source, as one text.
fn sources() -> String {
    fn gather(folder: &Path, into: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    gather(&path, into);
                }
            } else if path.extension().is_some_and(|end| end == "rs") {
                into.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut all = String::new();
    gather(root(), &mut all);
    all
}

#[test]
fn every_threat_has_a_test_that_exists() {
    let text = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let threats = text.split("## Threats").nth(1).unwrap();
    let threats = threats.split("## ").next().unwrap();
    let sources = sources();
    let mut rows = 0;
    for row in threats.lines().filter(|line| line.starts_with("| ")) {
        let Some(tests) = row.rsplit('|').nth(1).filter(|cell| cell.trim() != "test") else {
            continue;
        };
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test stands in: {row}");
        for test in named {
            let scenario = root().join(format!("tests/scenarios/{test}.toml"));
            assert!(
                sources.contains(&format!("fn {test}(")) || scenario.exists(),
                "docs/security.md names {test}, which does not exist"
            );
        }
        rows += 1;
    }
    assert!(rows > 15, "the table of threats has {rows} rows");
}
