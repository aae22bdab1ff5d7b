//! What pint checks, offline: comparison, template, for, rate window, aggregation, fragile
//! matching, duplicates; each check is tried on a rule that breaks it.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::{Expr, LabelModifier, parse};
use serde_json::{Value, json};

use crate::files::{list, word, yaml};
use crate::labels::Known;

/// Shortest range that holds two samples of a 60 s scrape after one was missed, in seconds.
const MIN_RANGE: u64 = 180;

/// Four scrapes of 60 s: what `rate` needs to survive one that is missed.
const MIN_RATE: u64 = 240;

/// Alerts that are not about one cluster: nothing is scraped, or everything is well.
const WITHOUT_CLUSTER: [&str; 2] = ["PNMonitorAbsent", "PNWatchdog"];

#[test]
fn the_rules_are_clean() {
    let known = Known::new();
    let file = yaml("rules.yaml");
    let complaints = lint(&known, &file);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn lint(known: &Known, file: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut exprs: BTreeMap<String, String> = BTreeMap::new();
    for rule in list(&file["groups"]).iter().flat_map(|g| list(&g["rules"])) {
        let name = [word(rule, "alert"), word(rule, "record")].concat();
        let mut say = |text: String| complaints.push(format!("{name}: {text}"));
        let expr = match parse(word(rule, "expr")) {
            Ok(expr) => expr,
            Err(e) => {
                say(format!("syntax: {e}"));
                continue;
            }
        };
        // A rule that differs in severity alone must differ in what it asks or for how long.
        let key = format!("{expr} for {}", word(rule, "for"));
        if let Some(other) = exprs.insert(key, name.clone()) {
            say(format!("duplicate: the same as {other}"));
        }
        walk(&expr, &mut |e| node(known, e, &mut say));
        match known.of(&expr) {
            Err(e) => say(format!("series: {e}")),
            Ok(labels) if rule.get("alert").is_some() => alert(rule, &expr, &labels, &mut say),
            Ok(labels) => record(&name, &labels, &mut say),
        }
    }
    complaints
}

fn record(name: &str, labels: &BTreeSet<String>, say: &mut impl FnMut(String)) {
    if name.split(':').count() != 3 || name.split(':').any(str::is_empty) {
        say("name: a recorded series is called level:metric:operation".into());
    }
    replicas(labels, say);
}

fn replicas(labels: &BTreeSet<String>, say: &mut impl FnMut(String)) {
    for label in ["pod", "instance"] {
        if labels.contains(label) {
            say(format!(
                "aggregation: {label} makes two replicas two answers"
            ));
        }
    }
}

fn alert(rule: &Value, expr: &Expr, labels: &BTreeSet<String>, say: &mut impl FnMut(String)) {
    let name = word(rule, "alert");
    replicas(labels, say);
    if !labels.contains("cluster") && !WITHOUT_CLUSTER.contains(&name) {
        say("aggregation: the label cluster is lost".into());
    }
    if !conditional(expr) && name != "PNWatchdog" {
        say("comparison: it fires for every series".into());
    }
    let own: BTreeSet<&str> = rule["labels"]
        .as_object()
        .map(|l| l.keys().map(String::as_str).collect())
        .unwrap_or_default();
    if !own.contains("severity") && !labels.contains("severity") {
        say("label: no severity".into());
    }
    if rule["labels"].to_string().contains("{{") {
        say("template: a label that changes makes a new alert".into());
    }
    if let Some(held) = rule.get("for")
        && !held
            .as_str()
            .is_some_and(|t| t.len() > 1 && !t.starts_with('0'))
    {
        say(format!("for: {held} is no duration above zero"));
    }
    for key in ["summary", "description", "runbook_url", "dashboard_url"] {
        let text = word(&rule["annotations"], key);
        if text.is_empty() {
            say(format!("annotation: no {key}"));
        }
        for used in text
            .match_indices("$labels.")
            .map(|(at, m)| &text[at + m.len()..])
        {
            let end = used
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(used.len());
            let used = &used[..end];
            if !labels.contains(used) && !own.contains(used) {
                say(format!(
                    "template: {key} uses {used}, which the expression does not have"
                ));
            }
        }
    }
}

/// Whether the result is filtered by anything.
fn conditional(expr: &Expr) -> bool {
    match expr {
        Expr::Binary(b) => {
            let or = b.op.to_string() == "or";
            (b.op.is_comparison_operator() || b.op.is_set_operator()) && !or
                || conditional(&b.lhs) && (!or || conditional(&b.rhs))
        }
        Expr::Paren(p) => conditional(&p.expr),
        Expr::Aggregate(a) => conditional(&a.expr),
        Expr::Call(c) => c.func.name == "absent" || c.args.args.iter().any(|arg| conditional(arg)),
        _ => false,
    }
}

fn node(known: &Known, expr: &Expr, say: &mut impl FnMut(String)) {
    match expr {
        Expr::Call(c) => {
            let Some(Expr::MatrixSelector(m)) = c.args.args.first().map(AsRef::as_ref) else {
                return;
            };
            let range = m.range.as_secs();
            let name = m.vs.name.as_deref().unwrap_or_default();
            let counts = matches!(c.func.name, "rate" | "increase");
            if counts && range < MIN_RATE || range < MIN_RANGE {
                say(format!(
                    "rate window: [{range}s] of {name} is too short for a 60 s scrape"
                ));
            }
            if counts && !name.contains("_total") {
                say(format!("rate: {name} is no counter"));
            }
        }
        Expr::Binary(b) => {
            let vector = |e: &Expr| known.of(e).is_ok_and(|labels| !labels.is_empty());
            let matched = b.modifier.as_ref().is_some_and(|m| m.matching.is_some());
            if b.op.to_string() == "or" || matched || !vector(&b.lhs) || !vector(&b.rhs) {
                return;
            }
            if known.of(&b.lhs) != known.of(&b.rhs) {
                say(format!(
                    "fragile: {} without on() joins different labels",
                    b.op
                ));
            }
        }
        Expr::Aggregate(a) => {
            if let Some(LabelModifier::Include(by)) = &a.modifier
                && let Ok(inner) = known.of(&a.expr)
            {
                for label in by.labels.iter().filter(|l| !inner.contains(*l)) {
                    say(format!("aggregation: by ({label}), which is not there"));
                }
            }
        }
        _ => {}
    }
}

fn walk(expr: &Expr, visit: &mut impl FnMut(&Expr)) {
    visit(expr);
    match expr {
        Expr::Aggregate(a) => walk(&a.expr, visit),
        Expr::Unary(u) => walk(&u.expr, visit),
        Expr::Binary(b) => {
            walk(&b.lhs, visit);
            walk(&b.rhs, visit);
        }
        Expr::Paren(p) => walk(&p.expr, visit),
        Expr::Subquery(s) => walk(&s.expr, visit),
        Expr::Call(c) => c.args.args.iter().for_each(|arg| walk(arg, visit)),
        _ => {}
    }
}

/// How a case spoils a good rule.
type Change = fn(&mut Value);

#[test]
fn every_check_catches_a_rule_that_breaks_it() {
    let known = Known::new();
    let one = |expr: &str, change: Change| {
        let mut rule = json!({
            "alert": "PNTest", "expr": expr, "labels": { "severity": "warning" },
            "annotations": { "summary": "s", "description": "d {{ $labels.cluster }}",
                             "runbook_url": "r", "dashboard_url": "u" }
        });
        change(&mut rule);
        lint(&known, &json!({ "groups": [{ "rules": [rule] }] }))
    };
    let good = "max by (cluster) (pnwatch_findings_open) > 0";
    let keep: Change = |_| ();
    assert_eq!(one(good, keep), Vec::<String>::new());
    let cases: [(&str, Change, &str); 15] = [
        ("max by (cluster) (pnwatch_findings_open", keep, "syntax"),
        (
            "max by (cluster) (pnwatch_findings_open)",
            keep,
            "comparison",
        ),
        ("pnwatch_findings_open > 0", keep, "two replicas"),
        ("max(pnwatch_findings_open) > 0", keep, "cluster is lost"),
        (
            "max by (cluster) (pnwatch_no_such) > 0",
            keep,
            "nobody publishes",
        ),
        (
            "max by (cluster, account) (pnwatch_findings_open) > 0",
            keep,
            "not there",
        ),
        (
            "max by (cluster) (rate(pnwatch_checks_total[2m])) > 0",
            keep,
            "rate window",
        ),
        (
            "max by (cluster) (rate(pnwatch_findings_open[5m])) > 0",
            keep,
            "no counter",
        ),
        (
            "max by (cluster) (pnwatch_findings_open) > max by (cluster, severity) (pnwatch_findings_open)",
            keep,
            "fragile",
        ),
        (
            good,
            |r| r["annotations"]["summary"] = json!("{{ $labels.node }}"),
            "does not have",
        ),
        (
            good,
            |r| r["annotations"]["runbook_url"] = json!(""),
            "no runbook_url",
        ),
        (good, |r| r["labels"] = json!({}), "no severity"),
        (
            good,
            |r| r["labels"]["x"] = json!("{{ $value }}"),
            "new alert",
        ),
        (good, |r| r["for"] = json!("0s"), "for:"),
        ("{job=\"x\"} > 0", keep, "without a name"),
    ];
    for (expr, change, expected) in cases {
        let told = one(expr, change).join("; ");
        assert!(
            told.contains(expected),
            "{expr}: {expected:?} not in {told:?}"
        );
    }
    let rule = json!({ "record": "x", "expr": "max by (cluster) (pnwatch_findings_open)" });
    let told = lint(&known, &json!({ "groups": [{ "rules": [rule, rule] }] })).join("; ");
    assert!(
        told.contains("duplicate") && told.contains("level:metric"),
        "{told}"
    );
}
