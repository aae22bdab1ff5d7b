//! The answer as text, JSON (`version` 1: fields are added, never renamed) and `JUnit` XML.

use std::fmt::Write as _;
use std::time::Duration;

use pnwatch_core::gate::Rule;
use pnwatch_core::time::spoken;
use serde_json::json;

use super::ask::{End, Reason, Said, Verdict};
use crate::client::monitor::clean;

/// Everything that is told.
pub(super) struct Told {
    pub(super) selection: String,
    pub(super) end: End,
    pub(super) waited: Duration,
    pub(super) overridden: Option<String>,
}

impl Told {
    pub(super) fn exit_code(&self) -> u8 {
        if self.overridden.is_some() {
            0
        } else {
            self.end.exit_code()
        }
    }

    pub(super) fn verdict(&self) -> &'static str {
        match &self.end {
            End::Said(said) => said.verdict.word(),
            End::Not { .. } => Verdict::Unknown.word(),
        }
    }

    /// The reasons; an end without an answer is one.
    pub(super) fn reasons(&self) -> Vec<Reason> {
        match &self.end {
            End::Said(said) => said.reasons.clone(),
            End::Not { why, .. } => vec![Reason {
                rule: Rule::Monitor.as_label().to_owned(),
                about: String::new(),
                text: why.clone(),
            }],
        }
    }
}

pub(super) fn text(told: &Told) -> String {
    let mut out = String::new();
    if let Some(reason) = &told.overridden {
        let _ = writeln!(out, "GATE OVERRIDDEN: {}", clean(reason));
    }
    let after = if told.waited < Duration::from_secs(1) {
        String::new()
    } else {
        format!(" after {}", spoken(told.waited))
    };
    match &told.end {
        End::Said(said) => {
            let (cluster, selection) = (clean(&said.cluster), &told.selection);
            let _ = writeln!(
                out,
                "gate {}: {selection} in {cluster}, {} of {} targets measured{after}",
                said.verdict.word(),
                said.measured,
                said.targets
            );
        }
        End::Not { why, .. } => {
            let _ = writeln!(out, "gate: no answer{after}: {}", clean(why));
        }
    }
    if let End::Said(Said { reasons, .. }) = &told.end {
        for reason in reasons {
            let _ = writeln!(
                out,
                "  - [{}] {}",
                clean(&reason.rule),
                clean(&reason.sentence())
            );
        }
    }
    out
}

pub(super) fn json(told: &Told) -> String {
    let (cluster, targets, measured) = match &told.end {
        End::Said(said) => (Some(&said.cluster), said.targets, said.measured),
        End::Not { .. } => (None, 0, 0),
    };
    let reasons: Vec<_> = told
        .reasons()
        .into_iter()
        .map(|r| json!({ "rule": r.rule, "about": r.about, "text": r.text }))
        .collect();
    let object = json!({
        "version": 1,
        "ok": told.exit_code() == 0,
        "verdict": told.verdict(),
        "exit_code": told.exit_code(),
        "answered": matches!(told.end, End::Said(_)),
        "overridden": told.overridden,
        "cluster": cluster,
        "selection": told.selection,
        "targets": targets,
        "measured": measured,
        "waited_s": told.waited.as_secs_f64(),
        "reasons": reasons,
    });
    format!("{object:#}\n")
}

/// One test case per condition: closed fails it, no verdict is its error.
pub(super) fn junit(told: &Told) -> String {
    let reasons = told.reasons();
    let closed = told.verdict() == Verdict::Closed.word();
    let mut cases = String::new();
    let (mut failures, mut errors) = (0, 0);
    let mut rules: Vec<&str> = Rule::ALL.iter().map(|rule| rule.as_label()).collect();
    for reason in &reasons {
        if !rules.contains(&reason.rule.as_str()) {
            rules.push(&reason.rule);
        }
    }
    for rule in &rules {
        let said: Vec<String> = reasons
            .iter()
            .filter(|reason| reason.rule == **rule)
            .map(Reason::sentence)
            .collect();
        let name = xml(rule);
        let _ = write!(
            cases,
            "    <testcase classname=\"pnwatch.gate\" name=\"{name}\""
        );
        if said.is_empty() || told.exit_code() == 0 {
            cases.push_str("/>\n");
            continue;
        }
        let kind = if closed {
            failures += 1;
            "failure"
        } else {
            errors += 1;
            "error"
        };
        let (first, all) = (xml(&said[0]), xml(&said.join("\n")));
        let _ = writeln!(
            cases,
            ">\n      <{kind} message=\"{first}\">{all}</{kind}>\n    </testcase>"
        );
    }
    let headline = xml(&text(told));
    let seconds = told.waited.as_secs_f64();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"pnwatch gate\" \
         tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds:.3}\">\n{cases}    \
         <system-out>{headline}</system-out>\n  </testsuite>\n</testsuites>\n",
        rules.len()
    )
}

/// Text in XML 1.0: what cannot stand there becomes a blank.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            '\u{FFFE}' | '\u{FFFF}' => out.push(' '),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
