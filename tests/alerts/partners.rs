//! Nothing stands alone: alertnames, rules, faults, runbooks, cases, metrics and boards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pnwatch_core::fault::Alert;
use pnwatch_core::metric;
use pnwatch_core::rules::{BURN_RATE, CACHE_FAMILIES, findings, words};
use serde_json::Value;

use crate::files::{list, names, text, word, yaml};

/// Headings of the second level: a runbook's anchors.
fn sections(runbook: &str) -> BTreeMap<String, String> {
    let text = text(Path::new("runbooks").join(runbook));
    let mut sections = BTreeMap::new();
    for part in text.split("\n## ").skip(1) {
        let (title, body) = part.split_once('\n').unwrap_or((part, ""));
        assert!(
            sections.insert(title.to_owned(), body.to_owned()).is_none(),
            "{runbook}: {title} twice"
        );
    }
    sections
}

fn rules() -> Vec<Value> {
    list(&yaml("rules.yaml")["groups"])
        .iter()
        .flat_map(|g| list(&g["rules"]).to_vec())
        .collect()
}

/// Runbook file and anchor of a rule's `runbook_url`.
fn runbook_of(rule: &Value) -> (String, Option<String>) {
    let url = word(&rule["annotations"], "runbook_url");
    let page = url.rsplit('/').next().unwrap();
    match page.split_once('#') {
        Some((page, anchor)) => (page.to_owned(), Some(anchor.to_owned())),
        None => (page.to_owned(), None),
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_fault_a_section_in_it() {
    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for alert in Alert::ALL {
        let titles = expected.entry(format!("{alert}.md")).or_default();
        titles.insert("Silence".to_owned());
        titles.insert(format!("{alert}{}", findings::SUFFIX));
        for (_, faults) in findings::faults_of(*alert) {
            titles.extend(faults.iter().map(ToString::to_string));
        }
    }
    for rule in rules().iter().filter(|r| r.get("alert").is_some()) {
        let (page, anchor) = runbook_of(rule);
        let name = word(rule, "alert");
        let titles = expected
            .get_mut(&page)
            .unwrap_or_else(|| panic!("{name}: no runbook {page}"));
        titles.insert(name.to_owned());
        if let Some(anchor) = anchor {
            let found = sections(&page)
                .into_keys()
                .any(|t| t.to_ascii_lowercase() == anchor);
            assert!(found, "{name}: {page} has no section #{anchor}");
        }
    }
    let pages: BTreeSet<String> = names("runbooks", "md").into_iter().collect();
    let mut named: BTreeSet<String> = expected.keys().cloned().collect();
    named.insert("README.md".to_owned());
    assert_eq!(pages, named, "runbooks and alerts differ");
    for (page, titles) in expected {
        let found: BTreeSet<String> = sections(&page).into_keys().collect();
        assert_eq!(found, titles, "{page}: sections and faults differ");
    }
}

#[test]
fn a_runbook_section_of_a_fault_says_what_to_type_and_how_to_repair() {
    for alert in Alert::ALL {
        let page = format!("{alert}.md");
        let sections = sections(&page);
        for (_, faults) in findings::faults_of(*alert) {
            for fault in faults {
                let body = &sections[fault.as_label()];
                for part in ["Diagnose:\n```sh\n", "Repair: "] {
                    assert!(body.contains(part), "{page}#{fault}: no {part:?}");
                }
                for id in fault.ids() {
                    assert!(body.contains(id), "{page}#{fault}: does not name {id}");
                }
            }
        }
        let silence = &sections["Silence"];
        assert!(silence.contains(&format!("alertname={alert} ")), "{page}");
        let whole = text(Path::new("runbooks").join(&page));
        for part in [
            "**Who suffers:** ",
            "**First minute:**\n```sh\n",
            words::of(*alert).summary,
        ] {
            assert!(whole.contains(part), "{page}: no {part:?}");
        }
        assert_eq!(
            whole.matches("```").count() % 2,
            0,
            "{page}: a code block stays open"
        );
    }
}

#[test]
fn the_index_lists_every_runbook_and_every_rule() {
    let index = text("runbooks/README.md");
    for alert in Alert::ALL {
        let line = format!("| [{alert}]({alert}.md) | {}. |", words::of(*alert).summary);
        assert!(index.contains(&line), "{line}");
    }
    for rule in rules() {
        let name = word(&rule, "alert");
        if !name.is_empty() && !name.ends_with(findings::SUFFIX) {
            let (page, _) = runbook_of(&rule);
            let line = format!(
                "| {name} | [{}]({page}#{}) |",
                &page[..page.len() - 3],
                name.to_ascii_lowercase()
            );
            assert!(index.contains(&line), "{line}");
        }
    }
}

/// Values of the label `name` in matchers such as `ALERTS{alertname="X",…}`.
fn labelled(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("{name}=\""))?;
    Some(rest.split('"').next()?.to_owned())
}

#[test]
fn every_rule_has_a_firing_and_a_silent_case() {
    let mut firing = BTreeSet::new();
    let mut silent = BTreeSet::new();
    for name in names("tests", "yaml") {
        for test in list(&yaml(Path::new("tests").join(name))["tests"]) {
            for case in list(&test["alert_rule_test"]) {
                let alert = word(case, "alertname").to_owned();
                let expected = list(&case["exp_alerts"]);
                if expected.is_empty() {
                    silent.insert(alert.clone());
                }
                for one in expected {
                    firing.insert((
                        alert.clone(),
                        word(&one["exp_labels"], "severity").to_owned(),
                    ));
                }
            }
            for case in list(&test["promql_expr_test"]) {
                let expected = list(&case["exp_samples"]);
                if expected.is_empty() {
                    silent.insert(word(case, "expr").to_owned());
                }
                for sample in expected {
                    let labels = word(sample, "labels");
                    match labelled(labels, "alertname") {
                        Some(alert) if labels.contains("firing") => {
                            firing.insert((alert, labelled(labels, "severity").unwrap()));
                        }
                        _ => {
                            let series = labels.split('{').next().unwrap_or_default();
                            firing.insert((series.to_owned(), String::new()));
                        }
                    }
                }
            }
        }
    }
    for rule in rules() {
        let name = [word(&rule, "alert"), word(&rule, "record")].concat();
        let severity = word(&rule["labels"], "severity");
        let fires = firing
            .iter()
            .any(|(n, s)| *n == name && (severity.is_empty() || s == severity));
        assert!(fires, "no case in which {name} {severity} fires");
        // The heartbeat must never be silent.
        assert!(
            silent.contains(&name) || name == "PNWatchdog",
            "no case in which {name} is silent"
        );
    }
}

#[test]
fn every_metric_that_rules_read_is_published() {
    let published: BTreeSet<&str> = metric::ALL.iter().map(|m| m.name).collect();
    let rules = text("rules.yaml");
    let mut read = BTreeSet::new();
    let names = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    for name in names {
        if name.starts_with("kura_") {
            assert!(
                CACHE_FAMILIES.contains(&name),
                "{name} is no family of the cache"
            );
        }
        if name.starts_with("pnwatch_") {
            read.insert(name);
        }
    }
    for name in &read {
        assert!(
            published.contains(name) || *name == BURN_RATE,
            "{name} is in no descriptor of core::metric"
        );
    }
    assert!(read.contains(BURN_RATE) && read.len() > 8);
}

#[test]
fn pages_link_to_the_boards_that_core_names() {
    use pnwatch_core::rules::board;
    let known = [
        board::FLEET,
        board::ACCOUNT,
        board::BANDWIDTH,
        board::MONITOR,
    ];
    let mut linked = BTreeSet::new();
    for rule in rules().iter().filter(|r| r.get("alert").is_some()) {
        let url = word(&rule["annotations"], "dashboard_url").to_owned();
        let uid = url.split_once("/d/").unwrap().1.split('?').next().unwrap();
        linked.insert(uid.to_owned());
    }
    assert_eq!(linked, known.map(str::to_owned).into());
}
