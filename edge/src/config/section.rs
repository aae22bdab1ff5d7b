//! Reads one section of the file key by key and collects every problem on the way.
//!
//! A section is a struct with [`FromSection`]: one line per key, and nothing else to keep in
//! step. A key that was asked for is a known key; what is left over is unknown and gets a
//! suggestion. See `config/mod.rs` for how to add a section.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::Environment;
use super::problem::Problem;
use super::suggest;
use super::tree::{Node, Value};

/// Everything that was found while reading, in the file's order per section.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    /// What `${NAME}` stands for, where a key takes it.
    pub(super) environment: Environment,
    /// Every key path that was asked for, list indices left out; the completeness test of the
    /// printed default configuration reads it.
    pub(super) known: BTreeSet<String>,
    /// The line of every value that was read, by its full key path.
    pub(super) lines: BTreeMap<String, u64>,
}

/// Where a value stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) line: u64,
}

impl Place {
    pub(super) fn error(&self, message: impl Into<String>) -> Problem {
        Problem::error(&self.path, self.line, message)
    }
}

/// A value that a key can hold. `None` = refused, and the problem was added.
pub(super) trait FromNode: Sized {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self>;
}

/// A section: a struct that is read key by key.
pub(super) trait FromSection: Sized {
    /// Reads the keys; `None` if a required one is missing or refused.
    fn from_section(section: &mut Section<'_>) -> Option<Self>;
}

/// A value was there and was refused; the problem was added.
struct Refused;

/// A section while it is read.
pub(super) struct Section<'a> {
    place: Place,
    entries: Vec<(&'a str, u64, &'a Node)>,
    asked: Vec<&'static str>,
    findings: &'a mut Findings,
}

impl<T: FromSection> FromNode for T {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            // `serve:` with nothing below it is an empty section.
            Value::Null => &[],
            other => {
                findings.problems.push(place.error(format!(
                    "expected a section (keys below it, indented), found {}",
                    other.spoken()
                )));
                return None;
            }
        };
        let mut section = Section {
            place: place.clone(),
            entries: entries
                .iter()
                .map(|(key, line, node)| (key.as_str(), *line, node))
                .collect(),
            asked: Vec::new(),
            findings,
        };
        let read = T::from_section(&mut section);
        section.report_unknown();
        read
    }
}

impl Section<'_> {
    fn at(&self, key: &str, line: u64) -> Place {
        Place {
            path: if self.place.path.is_empty() {
                key.to_owned()
            } else {
                format!("{}.{key}", self.place.path)
            },
            line,
        }
    }

    /// The key's value if the file has the key: `Err` if it was refused.
    fn take<T: FromNode>(&mut self, key: &'static str) -> Option<Result<T, Refused>> {
        self.asked.push(key);
        let path = self.at(key, 0).path;
        self.findings.known.insert(without_indices(&path));
        let (_, line, node) = *self.entries.iter().find(|(name, ..)| *name == key)?;
        let place = self.at(key, if node.line > 0 { node.line } else { line });
        self.findings.lines.insert(place.path.clone(), place.line);
        Some(T::from_node(node, &place, self.findings).ok_or(Refused))
    }

    /// A key that must be there.
    pub(super) fn required<T: FromNode>(&mut self, key: &'static str, write: &str) -> Option<T> {
        if let Some(value) = self.take(key) {
            return value.ok();
        }
        let place = self.at(key, self.place.line);
        let problem = place.error(format!("required, but missing; write `{key}: {write}`"));
        self.findings.problems.push(problem);
        None
    }

    /// A key that may be left out.
    pub(super) fn optional<T: FromNode>(&mut self, key: &'static str) -> Option<T> {
        self.take(key)?.ok()
    }

    /// A key with a default. A refused value is a problem, and the default stands in for it so
    /// that the rest of the section is still read.
    pub(super) fn or<T: FromNode>(&mut self, key: &'static str, default: T) -> T {
        self.take(key).and_then(Result::ok).unwrap_or(default)
    }

    /// Whether the key is in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, ..)| *name == key)
    }

    /// Adds a problem with the value of `key` that only its neighbours show.
    pub(super) fn refuse(&mut self, key: &str, message: impl Into<String>) {
        let line = self
            .entries
            .iter()
            .find(|(name, ..)| *name == key)
            .map_or(self.place.line, |(_, line, _)| *line);
        let problem = self.at(key, line).error(message);
        self.findings.problems.push(problem);
    }

    fn report_unknown(&mut self) {
        for (key, line, _) in &self.entries {
            if self.asked.contains(key) {
                continue;
            }
            let advice = match suggest::nearest(key, &self.asked) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            let key = super::tree::shortened(key);
            let path = if self.place.path.is_empty() {
                key
            } else {
                format!("{}.{key}", self.place.path)
            };
            let message = format!("unknown key; {advice}");
            let problem = Problem::warning(&path, *line, message);
            self.findings.problems.push(problem);
        }
    }
}

fn without_indices(path: &str) -> String {
    let mut bare = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => bare.push(c),
            _ => {}
        }
    }
    bare
}
