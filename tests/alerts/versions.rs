//! Prometheus 2.42 tries the rules here; Prometheus 3 is nowhere packaged. So that they mean the
//! same there, they use nothing whose meaning changed (its migration guide, "Prometheus 3.0
//! migration guide", `PromQL`): each point of it is a check, tried on an expression that breaks it.
//! The parser that reads them is one for the grammar of Prometheus 3.

use promql_parser::label::{MatchOp, Matchers};
use promql_parser::parser::{Expr, parse};

use crate::files::{list, word, yaml};

/// Renamed, or behind a feature flag in one of the two.
const CHANGED_FUNCTIONS: [&str; 4] = [
    "holt_winters",
    "double_exponential_smoothing",
    "sort_by_label",
    "mad_over_time",
];
/// Written as floating point by 3, as scraped by 2.
const CHANGED_LABELS: [&str; 2] = ["le", "quantile"];

fn complaints(expr: &Expr) -> Vec<String> {
    let mut found = Vec::new();
    look(expr, &mut found);
    found
}

fn matchers(matchers: &Matchers, found: &mut Vec<String>) {
    for matcher in &matchers.matchers {
        if CHANGED_LABELS.contains(&matcher.name.as_str()) {
            found.push(format!("matches {}, which 3 writes anew", matcher.name));
        }
        let regex = matches!(matcher.op, MatchOp::Re(_) | MatchOp::NotRe(_));
        // In 3 a dot matches a newline too. No label of pnwatch holds one, whoever made the other.
        if regex && matcher.value.contains("\\n") {
            found.push(format!("matches a newline in {}", matcher.name));
        }
    }
}

fn look(expr: &Expr, found: &mut Vec<String>) {
    match expr {
        Expr::VectorSelector(v) => matchers(&v.matchers, found),
        Expr::MatrixSelector(m) => matchers(&m.vs.matchers, found),
        // Left-open in 3: one evaluation less where the range is a multiple of the step.
        Expr::Subquery(_) => found.push("a subquery".into()),
        Expr::Call(c) => {
            if CHANGED_FUNCTIONS.contains(&c.func.name) {
                found.push(format!("{} is not the same function", c.func.name));
            }
            c.args.args.iter().for_each(|arg| look(arg, found));
        }
        Expr::Aggregate(a) => {
            if matches!(a.op.to_string().as_str(), "limitk" | "limit_ratio") {
                found.push(format!("{} is not in 2", a.op));
            }
            look(&a.expr, found);
        }
        Expr::Unary(u) => look(&u.expr, found),
        Expr::Binary(b) => {
            look(&b.lhs, found);
            look(&b.rhs, found);
        }
        Expr::Paren(p) => look(&p.expr, found),
        _ => {}
    }
}

#[test]
fn nothing_is_used_whose_meaning_changed_from_2_to_3() {
    let file = yaml("rules.yaml");
    for group in list(&file["groups"]) {
        // `labels`, `query_offset` and `limit` of groups are newer than 2.42.
        let keys: Vec<&String> = group.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name", "rules"]);
        for rule in list(&group["rules"]) {
            let name = [word(rule, "alert"), word(rule, "record")].concat();
            let found = complaints(&parse(word(rule, "expr")).unwrap());
            assert!(found.is_empty(), "{name}: {found:?}");
            for key in rule.as_object().unwrap().keys() {
                let known = ["alert", "record", "expr", "for", "labels", "annotations"];
                assert!(known.contains(&key.as_str()), "{name}: {key}");
            }
        }
    }
}

#[test]
fn each_check_bites() {
    for bad in [
        "sum(rate(x_bucket{le=\"1\"}[5m]))",
        "y{quantile=~\"0.9|1\"}",
        "max_over_time(rate(x_total[5m])[10m:1m])",
        "sort_by_label(x, \"a\")",
        "z{account=~\"a\\\\n.*\"}",
        "x and on (cluster) (y > bool max_over_time(z[3m:1m]))",
    ] {
        // What the grammar of 3 does not know is refused before.
        let bites = parse(bad).map_or(1, |expr| complaints(&expr).len());
        assert_eq!(bites, 1, "{bad}");
    }
    assert!(complaints(&parse("max without (pod) (rate(x_total[5m])) > 0").unwrap()).is_empty());
}
