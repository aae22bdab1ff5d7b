//! A page read aloud by somebody who knows nothing of pnwatch tells what broke, who suffers, and
//! what to type: for every fault that alerts, whoever is blamed, also where nothing else is known.

use pnwatch_core::fault::{Blame, Confidence, Fault, Severity};
use pnwatch_core::finding::{Finding, Identity};
use pnwatch_core::name::{Account, Cluster, Host, Node};
use pnwatch_core::rules::{Form, Settings as Rules, groups, words};
use pnwatch_core::time::Timestamp;

use super::Settings;
use super::wire::annotations;

/// Programs that a machine in question has, or that pnwatch brings.
const PROGRAMS: [&str; 11] = [
    "ip ",
    "ethtool ",
    "ifconfig ",
    "kubectl ",
    "pnwatch ",
    "sudo ",
    "tail ",
    "arping ",
    "curl ",
    "cat ",
    "echo ",
];
/// Words that nobody outside of the project knows.
const JARGON: [&str; 9] = [
    "Suspect",
    "Unmeasured",
    "tick",
    "diagnosis",
    "scope",
    "blame",
    "{",
    "NaN",
    "Some(",
];

fn bare(fault: Fault, blame: Blame) -> Finding {
    let at = Timestamp::from_unix_seconds(1_782_119_670);
    let named = |wanted: Blame| blame == wanted;
    Finding {
        id: "f".into(),
        identity: Identity {
            cluster: Cluster::new("production").unwrap(),
            blame,
            subject: "the-subject".into(),
        },
        fault,
        severity: Severity::Critical,
        alertname: fault.alert(blame),
        confidence: Confidence::Low,
        started_at: at,
        opened_at: at,
        sharpened_at: at,
        clearing_since: None,
        closed_at: None,
        blind_since: None,
        summary: format!("{blame} the-subject: {}", fault.title()),
        evidence: Vec::new(),
        missing: Vec::new(),
        node: named(Blame::Node).then(|| Node::new("the-subject").unwrap()),
        host: named(Blame::Host).then(|| Host::new("the-subject").unwrap()),
        account: named(Blame::Account).then(|| Account::new("the-subject").unwrap()),
        address: None,
        accounts: Vec::new(),
        vantages: Vec::new(),
        repair: None,
    }
}

fn suffers(text: &str) -> bool {
    ["Build", "build", "Nobody", "nobody"]
        .iter()
        .any(|word| text.contains(word))
}

fn types(text: &str) -> bool {
    let Some((_, command)) = text.split_once("Type") else {
        return false;
    };
    PROGRAMS.iter().any(|program| command.contains(program))
}

#[test]
fn every_pushed_page_says_what_broke_who_suffers_and_what_to_type() {
    let settings = Settings {
        resend: std::time::Duration::from_mins(1),
        runbooks: Some("https://pnwatch.example/runbooks".into()),
        grafana: Some("https://grafana.example/".into()),
    };
    let mut spoken = 0;
    for fault in Fault::ALL {
        for blame in Blame::ALL {
            let Some(alert) = fault.alert(*blame) else {
                continue;
            };
            let finding = bare(*fault, *blame);
            let said = annotations(&finding, &settings);
            let text = format!("{}\n{}", said["summary"], said["description"]);
            assert!(text.contains("the-subject"), "{fault}: {text}");
            assert!(text.contains(fault.title()), "{fault}: {text}");
            assert!(suffers(&text), "{fault} {blame}: who suffers? {text}");
            assert!(types(&text), "{fault} {blame}: what to type? {text}");
            assert!(text.contains(words::of(alert).impact), "{fault}: {text}");
            for word in JARGON {
                assert!(!text.contains(word), "{fault} {blame}: {word}? {text}");
            }
            assert_eq!(
                said["runbook_url"],
                format!("https://pnwatch.example/runbooks/{alert}.md#{fault}")
            );
            let board = &said["dashboard_url"];
            let account = *blame == Blame::Account;
            assert_eq!(
                board.contains("var-account=the-subject"),
                account,
                "{board}"
            );
            assert!(
                board.starts_with("https://grafana.example/d/pnwatch-"),
                "{board}"
            );
            spoken += 1;
        }
    }
    assert!(spoken > 60, "{spoken}");
}

/// What a rule says once its templates are filled in.
fn filled(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, template)) = rest.split_once("{{") {
        out.push_str(before);
        out.push_str("the-value");
        rest = template.split_once("}}").expect("a template ends").1;
    }
    out + rest
}

#[test]
fn every_rule_says_it_too() {
    for group in groups(&Rules::default(), Form::Recorded) {
        for alert in group.alerts() {
            let name = &alert.name;
            // The dead man's switch wakes nobody.
            if name == "PNWatchdog" {
                continue;
            }
            let summary = &alert.annotations["summary"];
            assert!(!summary.contains("{{"), "{name}: a summary is constant");
            let text = format!("{summary}\n{}", filled(&alert.annotations["description"]));
            assert!(suffers(&text), "{name}: who suffers? {text}");
            assert!(types(&text), "{name}: what to type? {text}");
            for word in JARGON.iter().filter(|word| **word != "blame") {
                assert!(!text.contains(word), "{name}: {word}? {text}");
            }
            for name in ["runbook_url", "dashboard_url"] {
                assert!(alert.annotations[name].starts_with("https://"), "{name}");
            }
        }
    }
}
