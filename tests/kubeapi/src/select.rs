//! Label and field selectors, in the syntax of list and watch requests.

use serde_json::Value;

use crate::{kinds::Kind, status::Refusal};

/// The longest selector that is read; a real server's URL limits are of the same order.
const MAX_SELECTOR_BYTES: usize = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// Which objects a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, String, bool)>,
}

impl Selector {
    /// Parses both selectors; a field that the kind does not index is a 400, as on a real server.
    pub(crate) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        if labels.len() > MAX_SELECTOR_BYTES || fields.len() > MAX_SELECTOR_BYTES {
            return Err(Refusal::bad_request("the selector is too long"));
        }
        Ok(Self {
            labels: parse_labels(labels)?,
            fields: parse_fields(kind, fields)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The one object name that the field selector allows, if it names one (RBAC's `resourceNames` see it).
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _, equal)| field == "metadata.name" && *equal)
            .map(|(_, value, _)| value.as_str())
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let label = |key: &str| labels.get(key).and_then(Value::as_str);
        let labels_match = self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                label(key).is_some_and(|v| values.iter().any(|x| x == v))
            }
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|v| values.iter().all(|x| x != v))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
        });
        labels_match
            && self
                .fields
                .iter()
                .all(|(field, value, equal)| (field_of(object, field) == *value) == *equal)
    }
}

fn field_of(object: &Value, field: &str) -> String {
    let found = field.split('.').try_fold(object, |at, step| at.get(step));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ if field == "spec.unschedulable" => "false".into(),
        _ => String::new(),
    }
}

fn supported_fields(kind: &Kind) -> &'static [&'static str] {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "reportingController",
            "type",
        ],
        _ => &[],
    }
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<(String, String, bool)>, Refusal> {
    let mut out = Vec::new();
    for term in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
        let (field, value, equal) = if let Some((f, v)) = term.split_once("!=") {
            (f, v, false)
        } else if let Some((f, v)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (f, v, true)
        } else {
            let why = format!("invalid field selector '{term}': can't understand it");
            return Err(Refusal::bad_request(why));
        };
        let common = field == "metadata.name" || (field == "metadata.namespace" && kind.namespaced);
        if !common && !supported_fields(kind).contains(&field) {
            let why = format!("field label not supported: {field}");
            return Err(Refusal::bad_request(why));
        }
        out.push((field.to_owned(), value.to_owned(), equal));
    }
    Ok(out)
}

/// Splits at commas outside parentheses.
fn terms(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut start = 0;
    let mut out = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                out.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, Refusal> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    terms(text)
        .into_iter()
        .map(|term| requirement(term.trim()))
        .collect()
}

fn requirement(term: &str) -> Result<Requirement, Refusal> {
    let refuse = || {
        Refusal::bad_request(format!(
            "unable to parse requirement: '{term}' is no label requirement"
        ))
    };
    let key = |text: &str| {
        let text = text.trim();
        let ok = !text.is_empty()
            && text.len() <= 317
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if ok {
            Ok(text.to_owned())
        } else {
            Err(refuse())
        }
    };
    let value = |text: &str| {
        let text = text.trim();
        let ok = text.len() <= 63
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if ok {
            Ok(text.to_owned())
        } else {
            Err(refuse())
        }
    };
    if let Some(open) = term.find('(') {
        let inside = term[open + 1..].strip_suffix(')').ok_or_else(refuse)?;
        let values = inside
            .split(',')
            .map(value)
            .collect::<Result<Vec<_>, _>>()?;
        let mut words = term[..open].split_whitespace();
        let name = key(words.next().unwrap_or_default())?;
        return match (words.next(), words.next()) {
            (Some("in"), None) => Ok(Requirement::In(name, values)),
            (Some("notin"), None) => Ok(Requirement::NotIn(name, values)),
            _ => Err(refuse()),
        };
    }
    if let Some((k, v)) = term.split_once("!=") {
        return Ok(Requirement::NotIn(key(k)?, vec![value(v)?]));
    }
    if let Some((k, v)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Ok(Requirement::In(key(k)?, vec![value(v)?]));
    }
    match term.strip_prefix('!') {
        Some(k) => Ok(Requirement::Absent(key(k)?)),
        None => Ok(Requirement::Exists(key(term)?)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Selector;
    use crate::kinds::Kind;

    fn matches(selector: &str) -> bool {
        let object = json!({"metadata": {"name": "a", "labels": {"app": "kura", "pn": "x"}}});
        Selector::parse(&Kind::builtin("", "v1", "pods", "Pod"), selector, "")
            .unwrap()
            .matches(&object)
    }

    #[test]
    fn label_requirements() {
        for yes in [
            "",
            "app=kura",
            "app==kura,pn",
            "app in (kura, other)",
            "app notin (z)",
            "!nope",
            "nope!=1",
            "nope notin (1)",
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in [
            "app!=kura",
            "app in (z)",
            "!app",
            "nope",
            "app=kura,nope=1",
            "app=",
        ] {
            assert!(!matches(no), "{no}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let pods = Kind::builtin("", "v1", "pods", "Pod");
        for bad in [
            ",", "a=b=c", "a in b", "in (a)", "a in (b", "a b", "é", "((((", "a=(b)",
        ] {
            assert_eq!(
                Selector::parse(&pods, bad, "").unwrap_err().code,
                400,
                "{bad}"
            );
        }
        assert_eq!(
            Selector::parse(&pods, "", "spec.secret=1")
                .unwrap_err()
                .code,
            400
        );
    }

    #[test]
    fn field_requirements() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}});
        let pods = Kind::builtin("", "v1", "pods", "Pod");
        let ok = |f: &str| Selector::parse(&pods, "", f).unwrap().matches(&object);
        assert!(
            ok("spec.nodeName=n1,metadata.name!=b")
                && ok("status.phase=")
                && !ok("metadata.name=b")
        );
    }

    proptest::proptest! {
        /// No text makes the parser panic, and what it takes it also answers.
        #[test]
        fn selectors_are_total(labels in "[a!=(), notin/é-]{0,24}", fields in "\\PC{0,24}") {
            let pods = Kind::builtin("", "v1", "pods", "Pod");
            for (l, f) in [(labels.as_str(), ""), ("", fields.as_str())] {
                if let Ok(selector) = Selector::parse(&pods, l, f) {
                    selector.matches(&json!({"metadata": 7}));
                }
            }
        }
    }
}
