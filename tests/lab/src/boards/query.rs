//! What the boards ask, as Grafana would ask it: every target of every panel, every variable,
//! every annotation, with variables filled in. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// One board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Its uid.
    pub uid: String,
    /// Its variables, in the order in which they are filled.
    pub variables: Vec<Variable>,
    /// All that its panels and annotations ask.
    pub queries: Vec<Query>,
}

/// A variable whose values Prometheus is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name, without the `$`.
    pub name: String,
    /// The series that have the label.
    pub selector: String,
    /// The label.
    pub label: String,
    /// What stands for "All" instead of every value in turn.
    pub all: Option<String>,
}

/// One query of a panel, or of an annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The panel's title, or `annotation NAME`.
    pub panel: String,
    /// The panel's id, or the annotation's name.
    pub place: String,
    /// Which of the panel's queries (`refId`).
    pub name: String,
    /// The expression, variables not yet filled in.
    pub expr: String,
    /// How Grafana names a series; empty or `__auto` = by all its labels.
    pub legend: String,
}

/// Why a board cannot be asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BoardError {
    /// A field that every board has.
    #[error("the board has no {0}")]
    Lacks(&'static str),
    /// A variable that is not of the kinds that are known here.
    #[error(
        "variable {name}: neither a data source nor label_values(SERIES, LABEL): teach pnwatch-lab boards to fill it"
    )]
    Variable {
        /// Its name.
        name: String,
    },
    /// A variable that nobody declares.
    #[error("${name} is not a variable of this board: {text}")]
    Unknown {
        /// Its name.
        name: String,
        /// Where it stands.
        text: String,
    },
}

impl Board {
    /// Reads one board.
    ///
    /// # Errors
    /// See [`BoardError`].
    pub fn read(json: &Value) -> Result<Self, BoardError> {
        let uid = word(json, "uid");
        if uid.is_empty() {
            return Err(BoardError::Lacks("uid"));
        }
        let variables = json["templating"]["list"].as_array();
        let variables = variables.into_iter().flatten().filter_map(read_variable);
        let mut queries = Vec::new();
        collect(json, &mut queries)?;
        for annotation in json["annotations"]["list"].as_array().into_iter().flatten() {
            let expr = word(annotation, "expr");
            if !expr.is_empty() {
                let name = word(annotation, "name");
                queries.push(Query {
                    panel: format!("annotation {name}"),
                    place: name,
                    name: "annotation".to_owned(),
                    expr,
                    legend: String::new(),
                });
            }
        }
        Ok(Self {
            uid,
            variables: variables.collect::<Result<_, _>>()?,
            queries,
        })
    }
}

/// The queries of all panels below `parent`; a folded row holds its panels itself.
fn collect(parent: &Value, queries: &mut Vec<Query>) -> Result<(), BoardError> {
    for panel in parent["panels"].as_array().into_iter().flatten() {
        collect(panel, queries)?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = word(target, "expr");
            if expr.is_empty() {
                return Err(BoardError::Lacks("expression in one of its targets"));
            }
            queries.push(Query {
                panel: word(panel, "title"),
                place: panel["id"].to_string(),
                name: word(target, "refId"),
                expr,
                legend: word(target, "legendFormat"),
            });
        }
    }
    Ok(())
}

/// `None` for the data source, which is the one that is asked.
fn read_variable(json: &Value) -> Option<Result<Variable, BoardError>> {
    let (name, kind) = (word(json, "name"), word(json, "type"));
    if kind == "datasource" {
        return None;
    }
    let query = json["query"]["query"]
        .as_str()
        .or_else(|| json["query"].as_str());
    let parts = query.and_then(|query| {
        let inner = query.trim().strip_prefix("label_values(")?;
        inner.strip_suffix(')')?.rsplit_once(',')
    });
    let (Some((selector, label)), "query") = (parts, kind.as_str()) else {
        return Some(Err(BoardError::Variable { name }));
    };
    let all = word(json, "allValue");
    Some(Ok(Variable {
        name,
        selector: selector.trim().to_owned(),
        label: label.trim().to_owned(),
        all: (!all.is_empty()).then_some(all),
    }))
}

fn word(json: &Value, key: &str) -> String {
    json[key].as_str().unwrap_or_default().to_owned()
}

/// What variables stand for; formatted already.
pub type Values = BTreeMap<String, String>;

/// The values that Grafana itself provides, for a look at `range` whose panels have `points`
/// points, of series that are scraped every `scrape` ("Global variables" and
/// `$__rate_interval` in Grafana's documentation of Prometheus).
pub fn of_time(range: Duration, points: u32, scrape: Duration) -> Values {
    let interval = (range / points.max(1)).max(scrape).as_secs().max(1);
    let rate = (interval + scrape.as_secs()).max(4 * scrape.as_secs());
    let seconds = range.as_secs().max(1);
    [
        ("__interval", format!("{interval}s")),
        ("__interval_ms", (interval * 1_000).to_string()),
        ("__rate_interval", format!("{rate}s")),
        ("__range", format!("{seconds}s")),
        ("__range_s", seconds.to_string()),
        ("__range_ms", (seconds * 1_000).to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// `text` with every `$name`, `${name}` and `${name:format}` filled in.
///
/// # Errors
/// [`BoardError::Unknown`] for one without a value.
pub fn fill(text: &str, values: &Values) -> Result<String, BoardError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        let braced = after.strip_prefix('{').and_then(|a| a.split_once('}'));
        let (name, tail) = if let Some((inner, tail)) = braced {
            (inner.split(':').next().unwrap_or_default(), tail)
        } else {
            let end = after
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(after.len());
            after.split_at(end)
        };
        if name.is_empty() {
            // The end of a regular expression.
            filled.push('$');
        } else if let Some(value) = values.get(name) {
            filled.push_str(value);
        } else {
            return Err(BoardError::Unknown {
                name: name.to_owned(),
                text: text.to_owned(),
            });
        }
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// `chosen` values as they stand in a matcher of a variable that takes several.
pub fn several<'a>(chosen: impl IntoIterator<Item = &'a str>) -> String {
    let escaped: Vec<String> = chosen.into_iter().map(escape).collect();
    match escaped.as_slice() {
        [one] => one.clone(),
        many => format!("({})", many.join("|")),
    }
}

/// A value literally, inside a regular expression inside a quoted string.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if "\\^$*+?.()|{}[]".contains(c) {
            escaped.push_str("\\\\");
        }
        escaped.push(c);
    }
    escaped
}

/// `expr` as it asks one replica alone: one more matcher in every selector. `None` where a
/// selector has no braces to put it into.
pub fn of_replica(expr: &str, instance: &str) -> Option<String> {
    let mut restricted = String::with_capacity(expr.len());
    let (mut quoted, mut escaped) = (false, false);
    let mut word = String::new();
    for c in expr.chars() {
        if !quoted && !c.is_ascii_alphanumeric() && c != '_' && c != ':' {
            if word.starts_with("pnwatch_") && c != '{' {
                return None;
            }
            word.clear();
        } else if !quoted {
            word.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        restricted.push(c);
        if c == '{' && !quoted {
            restricted.push_str("instance=\"");
            restricted.push_str(instance);
            restricted.push_str("\",");
        }
    }
    (!word.starts_with("pnwatch_")).then_some(restricted)
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
