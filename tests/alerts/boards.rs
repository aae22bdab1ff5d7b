//! Grafana boards: every query and variable reads series that somebody publishes, gives the
//! answer of one replica, and every panel says what it shows and in which unit.

use std::collections::BTreeSet;
use std::path::Path;

use pnwatch_core::rules::board;
use promql_parser::parser::{Expr, LabelModifier, parse};
use serde_json::Value;

use crate::files::list;
use crate::grafana::UNITS;
use crate::labels::Known;

/// What Grafana puts in before it asks.
const VARIABLES: [(&str, &str); 9] = [
    ("$__rate_interval", "5m"),
    ("$__range", "3h"),
    ("$cluster", ".*"),
    ("$job", ".*"),
    ("$instance", ".*"),
    ("$account", ".*"),
    ("$node", ".*"),
    ("$plane", ".*"),
    ("$vantage", ".*"),
];

/// Below this width a panel's words are cut off at 1280 pixels.
const NARROWEST: [(&str, u64); 5] = [
    ("stat", 4),
    ("timeseries", 8),
    ("heatmap", 12),
    ("state-timeline", 24),
    ("table", 8),
];

/// What every board marks in time.
const MARKS: [&str; 3] = ["Critical findings", "pnwatch started", "Deploys"];

pub(crate) fn boards() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let mut all: Vec<(String, Value)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            (name, serde_json::from_str(&text).unwrap())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(all.len() >= 5, "five boards are promised");
    all
}

#[test]
fn the_boards_are_clean() {
    let known = Known::new();
    let mut complaints = Vec::new();
    for (name, board) in boards() {
        complaints.extend(
            check(&known, &board)
                .into_iter()
                .map(|c| format!("{name}: {c}")),
        );
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_board_that_an_alert_links_to_exists() {
    let uids: BTreeSet<String> = boards().iter().map(|(_, b)| text(&b["uid"])).collect();
    assert_eq!(uids.len(), boards().len(), "two boards share a uid");
    for uid in [board::FLEET, board::ACCOUNT, board::MONITOR] {
        assert!(uids.contains(uid), "{uid}");
    }
}

/// The same boards as Kubernetes objects of Grafana's own API, for whoever provisions by it.
#[test]
fn the_objects_of_grafanas_api_are_the_boards() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/v1");
    let mut names = BTreeSet::new();
    for (name, board) in boards() {
        let object = serde_json::json!({
            "apiVersion": "dashboard.grafana.app/v1",
            "kind": "Dashboard",
            "metadata": { "name": board["uid"] },
            "spec": board,
        });
        let expected = serde_json::to_string_pretty(&object).unwrap() + "\n";
        let file = folder.join(&name);
        if std::env::var_os("PNWATCH_BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &expected).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(found == expected, "{name}: PNWATCH_BLESS=1 writes it anew");
        names.insert(name);
    }
    let found = std::fs::read_dir(&folder).unwrap();
    let found = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<String>>(), names);
}

/// What is broken, what the complaint says, and how.
type Break = (&'static str, &'static str, fn(&mut Value));

/// Each way to break a board is found.
#[test]
fn a_broken_board_is_found() {
    let known = Known::new();
    let breaks: [Break; 14] = [
        ("a metric that nobody publishes", "nobody publishes", |b| {
            replace(b, "(pnwatch_", "(pnwatsch_");
        }),
        ("a query that does not parse", "syntax", |b| {
            first_target(b)["expr"] = "max without (".into();
        }),
        ("two replicas counted twice", "replica", |b| {
            first_target(b)["expr"] = "sum(pnwatch_target_state)".into();
            first_target(b)["legendFormat"] = "all".into();
        }),
        ("a legend of a label that is not there", "legend", |b| {
            first_target(b)["legendFormat"] = "{{nobody}}".into();
        }),
        ("an unknown unit", "unit", |b| {
            b["panels"][0]["fieldConfig"]["defaults"]["unit"] = "furlongs".into();
        }),
        ("no description", "description", |b| {
            b["panels"][0]["description"] = "".into();
        }),
        ("panels on top of one another", "overlap", |b| {
            b["panels"][1]["gridPos"] = b["panels"][0]["gridPos"].clone();
        }),
        ("a fixed data source", "data source", |b| {
            b["panels"][0]["datasource"]["uid"] = "prometheus".into();
        }),
        ("a variable of a label that is not there", "variable", |b| {
            b["templating"]["list"][1]["definition"] = "label_values(pnwatch_paths, nobody)".into();
        }),
        ("a click that leads to no board", "no such board", |b| {
            replace(b, "/d/pnwatch-", "/d/pnwatsch-");
        }),
        (
            "a click that fills in what is not there",
            "no such variable",
            |b| {
                replace(b, "var-cluster=", "var-klaster=");
                replace(b, "${cluster:queryparam}", "${klaster:queryparam}");
            },
        ),
        ("a click that leads nowhere", "leads nowhere", |b| {
            b["panels"][0]["fieldConfig"]["defaults"]["links"] = Vec::<Value>::new().into();
            b["panels"][0]["fieldConfig"]["overrides"] = Vec::<Value>::new().into();
        }),
        ("a panel without a limit", "thresholds", |b| {
            b["panels"][0]["fieldConfig"]["defaults"]["thresholds"]["steps"] =
                Vec::<Value>::new().into();
            first_target(b)["legendFormat"] = "".into();
        }),
        ("a board that marks no deploy", "Deploys", |b| {
            replace(b, "\"Deploys\"", "\"Depolys\"");
        }),
    ];
    for (name, whole) in boards() {
        for (what, says, break_it) in breaks {
            let mut board = whole.clone();
            break_it(&mut board);
            let found = check(&known, &board).join("\n");
            assert!(found.contains(says), "{name}: {what}: {found:?}");
        }
    }
}

fn replace(board: &mut Value, from: &str, to: &str) {
    *board = serde_json::from_str(&board.to_string().replace(from, to)).unwrap();
}

pub(crate) fn first_target(board: &mut Value) -> &mut Value {
    &mut board["panels"][0]["targets"][0]
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn check(known: &Known, board: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    let schema = board["schemaVersion"].as_u64().unwrap_or(0);
    if !(39..=42).contains(&schema) {
        complaints.push(format!("schemaVersion {schema} is not 39 to 42"));
    }
    for key in ["uid", "title", "description"] {
        if text(&board[key]).is_empty() {
            complaints.push(format!("the board has no {key}"));
        }
    }
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in list(&board["panels"]) {
        let title = text(&panel["title"]);
        if !ids.insert(panel["id"].as_u64()) {
            complaints.push(format!("{title}: its id is used twice"));
        }
        complaints.extend(
            check_panel(known, panel)
                .into_iter()
                .chain(check_links(known, panel))
                .chain(check_looks(panel))
                .map(|c| format!("{title}: {c}")),
        );
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or(99);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                if x >= 24 || !cells.insert((x, y)) {
                    complaints.push(format!("{title}: panels overlap or leave the grid"));
                }
            }
        }
    }
    for variable in list(&board["templating"]["list"]) {
        if text(&variable["type"]) == "query" {
            complaints.extend(check_variable(known, variable));
        }
    }
    let marks = list(&board["annotations"]["list"]);
    for mark in MARKS {
        if !marks
            .iter()
            .any(|m| text(&m["name"]) == mark && m["enable"] == true)
        {
            complaints.push(format!("{mark} is not marked"));
        }
    }
    for annotation in marks {
        if let Some(expr) = annotation["expr"].as_str() {
            complaints.extend(check_query(known, expr, "").err());
        }
    }
    complaints
}

fn check_panel(known: &Known, panel: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    if text(&panel["description"]).len() < 15 {
        complaints.push("no description says what it shows".into());
    }
    let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
    if !UNITS.contains(&unit.as_str()) {
        complaints.push(format!("unit {unit:?} is not one of {UNITS:?}"));
    }
    let targets = list(&panel["targets"]);
    if targets.is_empty() {
        complaints.push("asks nothing".into());
    }
    for source in targets.iter().chain([panel]) {
        if text(&source["datasource"]["uid"]) != "${datasource}" {
            complaints.push("its data source is not the variable".into());
        }
    }
    for target in targets {
        let (expr, legend) = (text(&target["expr"]), text(&target["legendFormat"]));
        complaints.extend(check_query(known, &expr, &legend).err());
    }
    complaints
}

/// Where a click leads: to a board that exists, with variables that it has, filled from labels that
/// the panel's series carry.
fn check_links(known: &Known, panel: &Value) -> Vec<String> {
    let overrides = || {
        let own = list(&panel["fieldConfig"]["overrides"]).iter();
        own.flat_map(|o| list(&o["properties"]))
            .filter(|p| text(&p["id"]) == "links")
            .flat_map(|p| list(&p["value"]))
    };
    let links = list(&panel["fieldConfig"]["defaults"]["links"]).iter();
    let links: Vec<&Value> = links.chain(overrides()).collect();
    if links.is_empty() {
        return vec!["link: a click leads nowhere".into()];
    }
    let mut complaints = Vec::new();
    for link in links {
        complaints.extend(check_link(known, panel, &text(&link["url"])).err());
    }
    complaints
}

fn check_link(known: &Known, panel: &Value, url: &str) -> Result<(), String> {
    let complain = |why: &str| Err(format!("link: {why}: {url}"));
    let Some((uid, query)) = url
        .strip_prefix("/d/")
        .and_then(|rest| rest.split_once('?'))
    else {
        return complain("it leads to no board");
    };
    let all = boards();
    let Some((_, board)) = all.iter().find(|(_, board)| text(&board["uid"]) == uid) else {
        return complain("there is no such board");
    };
    let has = |name: &str| {
        list(&board["templating"]["list"])
            .iter()
            .any(|v| v["name"] == name)
    };
    for part in query.split('&') {
        let name = part
            .strip_prefix("var-")
            .and_then(|rest| rest.split_once('='));
        let name = name.map(|(name, _)| name);
        let whole = part
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix(":queryparam}"));
        if name.or(whole).is_some_and(|name| !has(name)) {
            return complain("that board has no such variable");
        }
    }
    // A series that only draws a limit has no link, and needs no label.
    let first = &list(&panel["targets"])[0];
    let labels = parse(&filled_in(&text(&first["expr"]))).map(|expr| known.of(&expr));
    let Ok(Ok(labels)) = labels else {
        return Ok(());
    };
    for start in ["${__field.labels.", "${__data.fields."] {
        for rest in url.split(start).skip(1) {
            let label = rest.split('}').next().unwrap_or_default();
            if !labels.contains(label) {
                return complain(&format!("its series have no label {label}"));
            }
        }
    }
    Ok(())
}

/// Whether it can be read at a glance, and at 1280 pixels.
fn check_looks(panel: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    let kind = text(&panel["type"]);
    match NARROWEST.iter().find(|(name, _)| *name == kind) {
        Some((_, least)) if panel["gridPos"]["w"].as_u64().unwrap_or(0) >= *least => {}
        Some((_, least)) => complaints.push(format!("width: a {kind} needs {least} columns")),
        None => complaints.push(format!("width: nobody said how wide a {kind} must be")),
    }
    // Where the limit is drawn as a series, no fixed number says when it is too much.
    let mut legends = list(&panel["targets"])
        .iter()
        .map(|t| text(&t["legendFormat"]));
    let drawn = legends.any(|legend| legend.contains("cap"));
    let steps = list(&panel["fieldConfig"]["defaults"]["thresholds"]["steps"]).len();
    if steps < 2 && !drawn {
        complaints.push("thresholds: nothing says when it is too much".into());
    }
    complaints
}

fn filled_in(query: &str) -> String {
    VARIABLES
        .iter()
        .fold(query.to_owned(), |query, (name, value)| {
            query.replace(name, value)
        })
}

fn check_query(known: &Known, query: &str, legend: &str) -> Result<(), String> {
    let expr = parse(&filled_in(query)).map_err(|e| format!("syntax: {e} in {query}"))?;
    let labels = known.of(&expr).map_err(|e| format!("{e}: {query}"))?;
    for word in legend.split("{{").skip(1) {
        let label = word.split("}}").next().unwrap_or_default().trim();
        if !labels.contains(label) {
            return Err(format!("legend: {query} has no label {label}"));
        }
    }
    one_replica(&expr).map_err(|e| format!("{e}: {query}"))
}

/// Every selector is first reduced to the answer of one replica.
fn one_replica(expr: &Expr) -> Result<(), String> {
    let reduced = |e: &Expr| match e {
        Expr::Aggregate(a) => match &a.modifier {
            Some(LabelModifier::Exclude(l)) => {
                ["pod", "instance"]
                    .iter()
                    .all(|n| l.labels.iter().any(|m| m == n))
                    && matches!(a.op.to_string().as_str(), "max" | "min")
            }
            // Versions are counted per replica on purpose.
            Some(LabelModifier::Include(_)) => a.expr.to_string().starts_with("pnwatch_build_info"),
            None => false,
        },
        _ => false,
    };
    if reduced(expr) {
        return Ok(());
    }
    match expr {
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) => {
            Err("two replicas would answer twice; take max without (pod, instance) first".into())
        }
        Expr::Aggregate(a) => one_replica(&a.expr),
        Expr::Binary(b) => one_replica(&b.lhs).and_then(|()| one_replica(&b.rhs)),
        Expr::Paren(p) => one_replica(&p.expr),
        Expr::Unary(u) => one_replica(&u.expr),
        Expr::Call(c) => c.args.args.iter().try_for_each(|arg| one_replica(arg)),
        Expr::Subquery(s) => one_replica(&s.expr),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => Ok(()),
    }
}

fn check_variable(known: &Known, variable: &Value) -> Option<String> {
    let definition = text(&variable["definition"]);
    let complain = |why: &str| {
        Some(format!(
            "variable {}: {why}: {definition}",
            variable["name"]
        ))
    };
    let Some((selector, label)) = definition
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|inner| inner.rsplit_once(", "))
    else {
        return complain("not label_values(SERIES, LABEL)");
    };
    match parse(&filled_in(selector)).map(|expr| known.of(&expr)) {
        Ok(Ok(labels)) if labels.contains(label) => None,
        Ok(Ok(_)) => complain("its series has no such label"),
        Ok(Err(why)) | Err(why) => complain(&why),
    }
}
