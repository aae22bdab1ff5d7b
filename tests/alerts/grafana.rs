//! The rules of Grafana's dashboard-linter, by its names, over every board and every type of panel
//! without exclusion; and for each rule a board that breaks it and no other.
//!
//! There is no Loki here. Its two rules hold all the same, so that a board that asks it one day is
//! not waved through: such a query must at least have a selector, and follow the panel's width.

use std::time::Duration;

use promql_parser::label::Matchers;
use promql_parser::parser::{Expr, VectorSelector, parse};
use serde_json::Value;

use crate::boards::{boards, first_target, text};
use crate::files::list;

type Rule = (&'static str, fn(&Value) -> Vec<String>);

const RULES: [Rule; 17] = [
    ("template-datasource-rule", template_datasource),
    ("template-job-rule", |board| template(board, "job", "Job")),
    ("template-instance-rule", |board| {
        template(board, "instance", "Instance")
    }),
    ("template-label-promql-rule", template_label_promql),
    ("template-on-time-change-reload-rule", template_reload),
    ("panel-datasource-rule", panel_datasource),
    ("panel-title-description-rule", panel_title_description),
    ("panel-units-rule", panel_units),
    ("panel-no-targets-rule", panel_no_targets),
    ("target-logql-rule", target_logql),
    ("target-logql-auto-rule", target_logql_auto),
    ("target-promql-rule", target_promql),
    ("target-rate-interval-rule", target_rate_interval),
    ("target-job-rule", |board| target_matcher(board, "job")),
    ("target-instance-rule", |board| {
        target_matcher(board, "instance")
    }),
    ("target-counter-agg-rule", target_counter_agg),
    ("uneditable-dashboard-rule", uneditable),
];

/// Grafana's ids of units that a board of ours may use, by what they measure.
pub(crate) const UNITS: [&str; 6] = ["short", "s", "ops", "percentunit", "Bps", "pps"];

/// What `$__rate_interval` becomes here: no range that anybody would write.
const RATE_INTERVAL: Duration = Duration::from_secs(277);

fn panels(board: &Value) -> &[Value] {
    list(&board["panels"])
}

/// Every target with its panel's title, of this type of data source.
fn targets<'a>(board: &'a Value, kind: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    panels(board).iter().flat_map(move |panel| {
        let own = list(&panel["targets"]).iter();
        let own = own.filter(move |target| text(&target["datasource"]["type"]) == kind);
        own.map(|target| (text(&panel["title"]), text(&target["expr"])))
    })
}

fn variables<'a>(board: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = list(&board["templating"]["list"]).iter();
    all.filter(move |variable| text(&variable["type"]) == kind)
}

fn parsed(query: &str) -> Result<Expr, String> {
    let range = format!("{}s", RATE_INTERVAL.as_secs());
    parse(
        &query
            .replace("$__rate_interval", &range)
            .replace("$__range", "3h"),
    )
}

fn template_datasource(board: &Value) -> Vec<String> {
    let all: Vec<&Value> = variables(board, "datasource").collect();
    let right = matches!(all.as_slice(), [one] if text(&one["name"]) == "datasource"
        && text(&one["label"]) == "Data source"
        && text(&one["query"]) == "prometheus");
    let why = "the board needs one variable `datasource`, labelled Data source, of prometheus";
    (!right).then(|| why.to_owned()).into_iter().collect()
}

fn template(board: &Value, name: &str, label: &str) -> Vec<String> {
    let Some(variable) = variables(board, "query").find(|v| text(&v["name"]) == name) else {
        return vec![format!("there is no variable {name}")];
    };
    let mut wrong = Vec::new();
    for (key, right) in [("label", label), ("allValue", ".+")] {
        if text(&variable[key]) != right {
            wrong.push(format!("variable {name}: {key} must be {right:?}"));
        }
    }
    if text(&variable["datasource"]["uid"]) != "${datasource}" {
        wrong.push(format!("variable {name}: its data source is no variable"));
    }
    if variable["multi"] != true {
        wrong.push(format!("variable {name}: one value alone can be chosen"));
    }
    wrong
}

fn template_label_promql(board: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for variable in variables(board, "query") {
        let definition = text(&variable["definition"]);
        let inner = definition
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'));
        let selector = inner.and_then(|inner| inner.rsplit_once(", "));
        if selector.is_none_or(|(selector, _)| parsed(selector).is_err()) {
            wrong.push(format!("variable {}: {definition}", variable["name"]));
        }
    }
    wrong
}

fn template_reload(board: &Value) -> Vec<String> {
    let stale = variables(board, "query").filter(|variable| variable["refresh"] != 2);
    stale
        .map(|variable| format!("variable {} must be asked anew", variable["name"]))
        .collect()
}

fn panel_datasource(board: &Value) -> Vec<String> {
    let fixed = panels(board)
        .iter()
        .filter(|panel| text(&panel["datasource"]["uid"]) != "${datasource}");
    fixed
        .map(|panel| format!("{}: its data source is no variable", panel["title"]))
        .collect()
}

fn panel_title_description(board: &Value) -> Vec<String> {
    let bare = panels(board)
        .iter()
        .filter(|panel| text(&panel["title"]).is_empty() || text(&panel["description"]).is_empty());
    bare.map(|panel| format!("panel {}: no title or no description", panel["id"]))
        .collect()
}

fn panel_units(board: &Value) -> Vec<String> {
    let unit = |panel: &Value| text(&panel["fieldConfig"]["defaults"]["unit"]);
    let strange = panels(board)
        .iter()
        .filter(|panel| !UNITS.contains(&unit(panel).as_str()));
    strange
        .map(|panel| format!("{}: unit {:?}", panel["title"], unit(panel)))
        .collect()
}

fn panel_no_targets(board: &Value) -> Vec<String> {
    let idle = panels(board)
        .iter()
        .filter(|panel| list(&panel["targets"]).is_empty());
    idle.map(|panel| format!("{}: asks nothing", panel["title"]))
        .collect()
}

fn target_logql(board: &Value) -> Vec<String> {
    let wrong = targets(board, "loki").filter(|(_, expr)| {
        let count = |letter| expr.matches(letter).count();
        count('{') == 0 || count('{') != count('}') || count('(') != count(')')
    });
    wrong
        .map(|(title, expr)| format!("{title}: no selector, or it does not end: {expr}"))
        .collect()
}

fn target_logql_auto(board: &Value) -> Vec<String> {
    let wrong = targets(board, "loki").filter(|(_, expr)| {
        let ranges = expr.split('[').skip(1);
        ranges
            .into_iter()
            .any(|range| !range.starts_with("$__auto]"))
    });
    wrong
        .map(|(title, expr)| format!("{title}: its range must be $__auto: {expr}"))
        .collect()
}

fn target_promql(board: &Value) -> Vec<String> {
    targets(board, "prometheus")
        .filter_map(|(title, expr)| {
            let error = parsed(&expr).err()?;
            Some(format!("{title}: {error}: {expr}"))
        })
        .collect()
}

/// What is told of every selector of every query that parses: its matchers, its metric, its range,
/// and the function that is applied to that range.
struct Selected<'a> {
    vector: &'a VectorSelector,
    range: Option<Duration>,
    by: Option<&'a str>,
}

fn selected<'a>(expr: &'a Expr, by: Option<&'a str>, tell: &mut impl FnMut(Selected<'a>)) {
    match expr {
        Expr::VectorSelector(vector) => tell(Selected {
            vector,
            range: None,
            by,
        }),
        Expr::MatrixSelector(matrix) => tell(Selected {
            vector: &matrix.vs,
            range: Some(matrix.range),
            by,
        }),
        Expr::Aggregate(a) => selected(&a.expr, None, tell),
        Expr::Unary(u) => selected(&u.expr, None, tell),
        Expr::Binary(b) => {
            selected(&b.lhs, None, tell);
            selected(&b.rhs, None, tell);
        }
        Expr::Paren(p) => selected(&p.expr, by, tell),
        Expr::Subquery(s) => selected(&s.expr, None, tell),
        Expr::Call(c) => {
            for arg in &c.args.args {
                selected(arg, Some(c.func.name), tell);
            }
        }
        _ => {}
    }
}

fn of_selectors(board: &Value, wrong: impl Fn(&Selected<'_>) -> Option<String>) -> Vec<String> {
    let mut told = Vec::new();
    for (title, query) in targets(board, "prometheus") {
        if let Ok(expr) = parsed(&query) {
            selected(&expr, None, &mut |one| {
                told.extend(wrong(&one).map(|why| format!("{title}: {why}: {query}")));
            });
        }
    }
    told
}

fn target_rate_interval(board: &Value) -> Vec<String> {
    of_selectors(board, |one| {
        let rate = matches!(one.by, Some("rate" | "irate"));
        let fixed = one.range.is_some_and(|range| range != RATE_INTERVAL);
        (rate && fixed).then(|| "its range must be $__rate_interval".to_owned())
    })
}

fn target_matcher(board: &Value, name: &str) -> Vec<String> {
    let has = |matchers: &Matchers| {
        matchers.matchers.iter().any(|matcher| {
            let given = format!("{}{}", matcher.op, matcher.value);
            matcher.name == name && given == format!("=~${name}")
        })
    };
    of_selectors(board, |one| {
        (!has(&one.vector.matchers)).then(|| format!("no {name}=~\"${name}\""))
    })
}

fn target_counter_agg(board: &Value) -> Vec<String> {
    of_selectors(board, |one| {
        let counter = one.vector.name.as_deref()?.ends_with("_total");
        let risen = one.range.is_some() && matches!(one.by, Some("rate" | "irate" | "increase"));
        (counter && !risen).then(|| "a counter needs rate, irate or increase".to_owned())
    })
}

fn uneditable(board: &Value) -> Vec<String> {
    let free = board["editable"] != false;
    free.then(|| "the board can be edited where it is shown".to_owned())
        .into_iter()
        .collect()
}

/// `rule: complaint`, for each.
fn lint(board: &Value) -> Vec<String> {
    let each = RULES.iter();
    each.flat_map(|(name, rule)| {
        rule(board)
            .into_iter()
            .map(move |why| format!("{name}: {why}"))
    })
    .collect()
}

#[test]
fn no_rule_complains_of_any_board() {
    let mut told = Vec::new();
    for (name, board) in boards() {
        told.extend(lint(&board).into_iter().map(|why| format!("{name}: {why}")));
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

fn variable<'a>(board: &'a mut Value, name: &str) -> &'a mut Value {
    let all = board["templating"]["list"].as_array_mut().unwrap();
    all.iter_mut().find(|v| v["name"] == name).unwrap()
}

fn ask(board: &mut Value, from: &str, to: &str) {
    let target = first_target(board);
    let query = text(&target["expr"]);
    assert!(query.contains(from), "{query}");
    target["expr"] = query.replacen(from, to, 1).into();
}

fn ask_loki(board: &mut Value, query: &str) {
    let target = first_target(board);
    target["datasource"]["type"] = "loki".into();
    target["expr"] = query.into();
}

/// A way to break each rule, in the order of [`RULES`].
const BREAKS: [fn(&mut Value); 17] = [
    |b| variable(b, "datasource")["label"] = "Source".into(),
    |b| variable(b, "job")["multi"] = false.into(),
    |b| variable(b, "instance")["allValue"] = ".*".into(),
    |b| variable(b, "cluster")["definition"] = "label_values(pnwatch_paths{, cluster)".into(),
    |b| variable(b, "cluster")["refresh"] = 1.into(),
    |b| b["panels"][0]["datasource"]["uid"] = "prometheus".into(),
    |b| b["panels"][0]["description"] = "".into(),
    |b| b["panels"][0]["fieldConfig"]["defaults"]["unit"] = "furlongs".into(),
    |b| b["panels"][0]["targets"] = Vec::<Value>::new().into(),
    |b| ask_loki(b, "sum(rate({app=\"pnwatch\"}[$__auto])"),
    |b| ask_loki(b, "sum(rate({app=\"pnwatch\"}[5m]))"),
    |b| first_target(b)["expr"] = "max without (pod".into(),
    |b| {
        let all = "{job=~\"$job\",instance=~\"$instance\"}";
        first_target(b)["expr"] = format!("rate(pnwatch_checks_total{all}[7m])").into();
    },
    |b| ask(b, "job=~\"$job\",", ""),
    |b| ask(b, "instance=~\"$instance\",", "instance=\"$instance\","),
    |b| {
        let all = "{job=~\"$job\",instance=~\"$instance\"}";
        first_target(b)["expr"] = format!("max(pnwatch_checks_total{all})").into();
    },
    |b| b["editable"] = true.into(),
];

#[test]
fn each_rule_alone_complains_of_a_board_that_breaks_it() {
    for (name, board) in boards() {
        for ((rule, _), break_it) in RULES.iter().zip(BREAKS) {
            let mut broken = board.clone();
            break_it(&mut broken);
            let told = lint(&broken);
            assert!(!told.is_empty(), "{name}: {rule} says nothing");
            let prefix = format!("{rule}: ");
            assert!(
                told.iter().all(|line| line.starts_with(&prefix)),
                "{name}: not {rule} alone: {told:?}"
            );
        }
    }
}
