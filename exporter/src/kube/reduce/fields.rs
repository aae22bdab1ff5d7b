//! Reads fields by path and collects what is not of the expected type.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use pnwatch_core::bandwidth::BitRate;
use pnwatch_core::kube::object::{Key, Meta};
use pnwatch_core::name::Node;
use pnwatch_core::time::Timestamp;
use serde_json::Value;

/// Longest text that is taken over, in bytes.
const MAX_TEXT: usize = 4096;
/// Most entries of one list or map.
const MAX_ENTRIES: usize = 1000;
/// Most problems named per object.
const MAX_PROBLEMS: usize = 8;

/// One JSON value with the path to it; all parts of an object share its problems.
pub(super) struct Fields<'v> {
    value: &'v Value,
    path: String,
    problems: Rc<RefCell<Vec<String>>>,
}

impl<'v> Fields<'v> {
    pub(super) fn new(value: &'v Value) -> Self {
        Self {
            value,
            path: String::new(),
            problems: Rc::default(),
        }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        self.problems.borrow().clone()
    }

    fn problem(&self, text: String) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MAX_PROBLEMS && !problems.contains(&text) {
            problems.push(text);
        }
    }

    fn below(&self, name: &str, value: &'v Value) -> Self {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        Self {
            value,
            path,
            problems: Rc::clone(&self.problems),
        }
    }

    fn wrong(&self, expected: &str) {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "fields",
        };
        let path = if self.path.is_empty() {
            "the object"
        } else {
            &self.path
        };
        self.problem(format!("{path} is {found}, expected {expected}"));
    }

    /// The field at a dotted path; absent and null are the same.
    pub(super) fn at(&self, path: &str) -> Option<Self> {
        let mut here = self.below_nothing();
        for name in path.split('.') {
            let Value::Object(map) = here.value else {
                here.wrong("fields");
                return None;
            };
            let value = map.get(name).filter(|v| !v.is_null())?;
            here = here.below(name, value);
        }
        Some(here)
    }

    fn below_nothing(&self) -> Self {
        Self {
            value: self.value,
            path: self.path.clone(),
            problems: Rc::clone(&self.problems),
        }
    }

    fn read<T>(
        &self,
        path: &str,
        expected: &str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Option<T> {
        let field = self.at(path)?;
        let read = read(field.value);
        if read.is_none() {
            field.wrong(expected);
        }
        read
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.read(path, "a text of at most 4096 bytes", |v| {
            v.as_str()
                .filter(|t| t.len() <= MAX_TEXT)
                .map(str::to_owned)
        })
    }

    pub(super) fn flag(&self, path: &str) -> Option<bool> {
        self.read(path, "true or false", Value::as_bool)
    }

    pub(super) fn count(&self, path: &str) -> Option<u64> {
        self.read(path, "a count", Value::as_u64)
    }

    pub(super) fn port(&self, path: &str) -> Option<u16> {
        self.read(path, "a port", |v| u16::try_from(v.as_u64()?).ok())
    }

    pub(super) fn time(&self, path: &str) -> Option<Timestamp> {
        self.read(path, "a time of RFC 3339", |v| {
            let stamp: jiff::Timestamp = v.as_str()?.parse().ok()?;
            Some(Timestamp::from_unix_nanos(
                u64::try_from(stamp.as_nanosecond()).ok()?,
            ))
        })
    }

    /// A text or a number, as text (a port of a `NetworkPolicy` is either).
    pub(super) fn text_or_number(&self, path: &str) -> Option<String> {
        self.read(path, "a name or a number", |v| match v {
            Value::String(text) if text.len() <= MAX_TEXT => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    /// The entry `name` (which may hold dots) of the map at a path, as a rate.
    pub(super) fn rate(&self, path: &str, name: &str) -> Option<BitRate> {
        let map = self.at(path)?;
        let Value::Object(entries) = map.value else {
            map.wrong("names with texts");
            return None;
        };
        let value = entries.get(name).filter(|v| !v.is_null())?;
        let rate = value.as_str().and_then(BitRate::parse);
        if rate.is_none() {
            let entry = map.below(name, value);
            entry.wrong("a rate in bits per second like 750M");
        }
        rate
    }

    /// The entries of a list; `None` = there is none.
    pub(super) fn list(&self, path: &str) -> Option<Vec<Self>> {
        let field = self.at(path)?;
        let Value::Array(items) = field.value else {
            field.wrong("a list");
            return None;
        };
        if items.len() > MAX_ENTRIES {
            self.problem(format!(
                "{} has more than {MAX_ENTRIES} entries",
                field.path
            ));
        }
        let entry = |(n, item)| field.below(&format!("{n}"), item);
        Some(
            items
                .iter()
                .take(MAX_ENTRIES)
                .enumerate()
                .map(entry)
                .collect(),
        )
    }

    pub(super) fn texts(&self, path: &str) -> Option<Vec<String>> {
        let field = self.at(path)?;
        let Value::Array(items) = field.value else {
            field.wrong("a list of texts");
            return None;
        };
        let texts = items.iter().take(MAX_ENTRIES).filter_map(|item| {
            let text = item.as_str().filter(|t| t.len() <= MAX_TEXT);
            if text.is_none() {
                field.wrong("a list of texts");
            }
            text.map(str::to_owned)
        });
        Some(texts.collect())
    }

    /// The names below a path; `None` = there is nothing.
    pub(super) fn names(&self, path: &str) -> Option<Vec<String>> {
        let field = self.at(path)?;
        let Value::Object(map) = field.value else {
            field.wrong("fields");
            return None;
        };
        Some(map.keys().take(MAX_ENTRIES).cloned().collect())
    }

    pub(super) fn map(&self, path: &str, kept: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let Some(field) = self.at(path) else {
            return BTreeMap::new();
        };
        let Value::Object(map) = field.value else {
            field.wrong("names with texts");
            return BTreeMap::new();
        };
        let kept = map.iter().filter(|(name, _)| kept(name)).take(MAX_ENTRIES);
        kept.filter_map(|(name, value)| {
            let text = value.as_str().filter(|t| t.len() <= MAX_TEXT);
            if text.is_none() {
                field.below(name, value).wrong("a text");
            }
            Some((name.clone(), text?.to_owned()))
        })
        .collect()
    }

    /// The metadata; `None` = there is no usable name.
    pub(super) fn meta(&self, annotation: impl Fn(&str) -> bool) -> Option<Meta> {
        // An absent `metadata` is as unusable as a wrong one.
        let name = self.text("metadata.name");
        let usable = name.filter(|name| Node::new(name.as_str()).is_ok());
        let Some(name) = usable else {
            self.problem("metadata.name is no usable name".into());
            return None;
        };
        let namespace = self.text("metadata.namespace").unwrap_or_default();
        Some(Meta {
            key: Key { namespace, name },
            uid: self.text("metadata.uid"),
            labels: self.map("metadata.labels", |_| true),
            annotations: self.map("metadata.annotations", annotation),
            created: self.time("metadata.creationTimestamp"),
            deleted: self.time("metadata.deletionTimestamp"),
        })
    }

    /// The entry of `status.conditions` of this type: status, since when, message.
    pub(super) fn condition(&self, kind: &str) -> Option<Condition> {
        let conditions = self.list("status.conditions")?;
        let found = conditions
            .iter()
            .find(|c| c.value.get("type").and_then(Value::as_str) == Some(kind))?;
        Some(Condition {
            holds: match found.text("status").as_deref() {
                Some("True") => Some(true),
                Some("False") => Some(false),
                _ => None,
            },
            since: found.time("lastTransitionTime"),
            message: found.text("message"),
        })
    }
}

/// A condition of an object.
pub(super) struct Condition {
    pub(super) holds: Option<bool>,
    pub(super) since: Option<Timestamp>,
    pub(super) message: Option<String>,
}
