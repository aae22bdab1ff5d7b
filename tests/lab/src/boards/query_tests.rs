//! What a board asks.

use serde_json::json;

use super::*;

fn board() -> Value {
    json!({
        "uid": "u",
        "templating": { "list": [
            { "name": "datasource", "type": "datasource", "query": "prometheus" },
            { "name": "cluster", "type": "query", "allValue": ".*",
              "query": { "query": "label_values(pnwatch_build_info, cluster)" } },
            { "name": "node", "type": "query",
              "query": "label_values(pnwatch_node_state{cluster=~\"$cluster\"}, node)" },
        ] },
        "panels": [
            { "id": 1, "title": "One", "targets": [
                { "refId": "A", "expr": "up", "legendFormat": "{{node}}" } ] },
            { "id": 2, "type": "row", "title": "Folded", "panels": [
                { "id": 3, "title": "Inner", "targets": [ { "refId": "B", "expr": "down" } ] } ] },
        ],
        "annotations": { "list": [ { "builtIn": 1, "name": "Grafana's own" },
            { "name": "Pages", "expr": "x == 1" } ] },
    })
}

#[test]
fn everything_that_a_board_asks_is_read() {
    let read = Board::read(&board()).unwrap();
    let asked: Vec<(&str, &str, &str)> = read
        .queries
        .iter()
        .map(|q| (q.panel.as_str(), q.place.as_str(), q.expr.as_str()))
        .collect();
    assert_eq!(
        asked,
        [
            ("One", "1", "up"),
            ("Inner", "3", "down"),
            ("annotation Pages", "Pages", "x == 1")
        ]
    );
    let variables: Vec<(&str, &str, Option<&str>)> = read
        .variables
        .iter()
        .map(|v| (v.selector.as_str(), v.label.as_str(), v.all.as_deref()))
        .collect();
    assert_eq!(
        variables,
        [
            ("pnwatch_build_info", "cluster", Some(".*")),
            ("pnwatch_node_state{cluster=~\"$cluster\"}", "node", None)
        ]
    );
}

#[test]
fn what_cannot_be_asked_is_named() {
    let mut strange = board();
    strange["templating"]["list"][1]["query"] = json!("query_result(up)");
    let error = Board::read(&strange).unwrap_err().to_string();
    assert!(error.starts_with("variable cluster: "), "{error}");
    strange = board();
    strange["panels"][0]["targets"][0]["expr"] = json!("");
    assert_eq!(
        Board::read(&strange),
        Err(BoardError::Lacks("expression in one of its targets"))
    );
    assert_eq!(Board::read(&json!([])), Err(BoardError::Lacks("uid")));
}

#[test]
fn variables_are_filled_in_as_grafana_does() {
    let values: Values = [("node", "a|b"), ("n", "short"), ("__rate_interval", "20s")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    for (text, filled) in [
        ("x{node=~\"$node\"}", "x{node=~\"a|b\"}"),
        (
            "rate(x{n=~\"${n}\"}[$__rate_interval])",
            "rate(x{n=~\"short\"}[20s])",
        ),
        ("${node:regex}$n.", "a|bshort."),
        ("x{a=~\"b$\"}", "x{a=~\"b$\"}"),
        ("", ""),
    ] {
        assert_eq!(fill(text, &values).unwrap(), filled);
    }
    let error = fill("x{a=\"$missing\"}", &values).unwrap_err().to_string();
    assert!(
        error.starts_with("$missing is not a variable of this board"),
        "{error}"
    );
}

#[test]
fn times_are_those_of_grafana() {
    let short = of_time(Duration::from_mins(5), 1_000, Duration::from_secs(5));
    assert_eq!(short["__rate_interval"], "20s");
    assert_eq!(short["__interval"], "5s");
    assert_eq!(short["__range"], "300s");
    let day = of_time(Duration::from_hours(24), 1_000, Duration::from_secs(15));
    assert_eq!(day["__interval"], "86s");
    assert_eq!(day["__rate_interval"], "101s");
    assert_eq!(day["__range_ms"], "86400000");
}

#[test]
fn chosen_values_are_literal() {
    assert_eq!(several(["host/mini-0"]), "host/mini-0");
    assert_eq!(several(["a.b", "c"]), "(a\\\\.b|c)");
}

#[test]
fn one_replica_is_one_more_matcher_everywhere() {
    for (expr, restricted) in [
        ("up{a=\"b\"}", Some("up{instance=\"i\",a=\"b\"}")),
        (
            "sum by (a) (pnwatch_x{a=~\"{2}\"} / pnwatch_y{})",
            Some("sum by (a) (pnwatch_x{instance=\"i\",a=~\"{2}\"} / pnwatch_y{instance=\"i\",})"),
        ),
        ("x{a=\"\\\"{\"}", Some("x{instance=\"i\",a=\"\\\"{\"}")),
        ("rate(pnwatch_x[5m])", None),
        ("pnwatch_x", None),
    ] {
        assert_eq!(of_replica(expr, "i").as_deref(), restricted, "{expr}");
    }
}
