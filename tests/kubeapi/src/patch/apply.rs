//! Server-side apply, and the bookkeeping of field owners that every other write owes it.
//!
//! A subset of structured-merge-diff: leaves, associative lists, sets and atomic lists are owned; unions and
//! atomic maps are not known; a `null` in an applied configuration counts as absent.

use serde_json::{Map, Value, json};

use super::{
    fields::{self, FieldSet, Step, leaves},
    schema::{List, Schema, child},
};

/// Who writes, and by which door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    /// `fieldManager`, or the program's name from the User-Agent.
    pub(crate) manager: &'a str,
    /// `status`, or empty.
    pub(crate) subresource: &'a str,
    pub(crate) api_version: &'a str,
    /// RFC 3339 time of the write.
    pub(crate) time: &'a str,
    /// Take fields from other managers instead of failing.
    pub(crate) force: bool,
}

/// A field that another manager owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) manager: String,
    pub(crate) api_version: String,
    pub(crate) field: String,
}

/// Why an apply did not go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApplyError {
    Conflicts(Vec<Conflict>),
    Malformed(String),
}

/// One entry of `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: String,
    set: FieldSet,
}

impl Entry {
    fn is(&self, writer: &Writer<'_>, operation: &str) -> bool {
        self.manager == writer.manager
            && self.subresource == writer.subresource
            && self.operation == operation
    }

    fn new(writer: &Writer<'_>, operation: &str, set: FieldSet) -> Self {
        Self {
            manager: writer.manager.into(),
            operation: operation.into(),
            api_version: writer.api_version.into(),
            subresource: writer.subresource.into(),
            time: writer.time.into(),
            set,
        }
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    object["metadata"]["managedFields"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|entry| Entry {
            manager: text(entry, "manager"),
            operation: text(entry, "operation"),
            api_version: text(entry, "apiVersion"),
            subresource: text(entry, "subresource"),
            time: text(entry, "time"),
            set: fields::decode(&entry["fieldsV1"]),
        })
        .filter(|entry| !entry.manager.is_empty())
        .collect()
}

fn store_entries(object: &mut Value, entries: &[Entry]) {
    let list: Vec<Value> = entries
        .iter()
        .filter(|entry| !entry.set.is_empty())
        .map(|entry| {
            let mut out = json!({
                "manager": entry.manager,
                "operation": entry.operation,
                "apiVersion": entry.api_version,
                "time": entry.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields::encode(&entry.set),
            });
            if !entry.subresource.is_empty() {
                out["subresource"] = entry.subresource.as_str().into();
            }
            out
        })
        .collect();
    let metadata = crate::store::metadata_mut(object);
    if list.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), Value::Array(list));
    }
}

/// Applies a configuration to the live object (or to nothing) and returns the result with its owners.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    schema: Schema,
    writer: &Writer<'_>,
) -> Result<Value, ApplyError> {
    let mut config = config.clone();
    strip_nulls(&mut config);
    let mut owners = entries(live);
    let wanted = leaves(&config, schema);
    let new: FieldSet = wanted.keys().cloned().collect();
    check_keys(&config, schema, "")?;

    let before = leaves(live, schema);
    let differs = |path: &Vec<Step>| {
        wanted
            .get(path)
            .is_some_and(|want| before.get(path) != Some(want))
    };
    let mut conflicts = Vec::new();
    for owner in owners.iter().filter(|o| !(o.is(writer, "Apply"))) {
        for path in owner.set.intersection(&new).filter(|p| differs(p)) {
            conflicts.push(Conflict {
                manager: owner.manager.clone(),
                api_version: owner.api_version.clone(),
                field: fields::display(path),
            });
        }
    }
    if !conflicts.is_empty() && !writer.force {
        return Err(ApplyError::Conflicts(conflicts));
    }

    let mut after = live.clone();
    merge(&mut after, &config, schema, "");
    let old = owners
        .iter()
        .find(|o| o.is(writer, "Apply"))
        .map(|o| o.set.clone())
        .unwrap_or_default();
    for owner in owners.iter_mut().filter(|o| !o.is(writer, "Apply")) {
        owner
            .set
            .retain(|path| !(new.contains(path) && differs(path)));
    }
    owners.retain(|o| !o.is(writer, "Apply"));
    prune(&mut after, &old, &new, (&owners, schema));

    // A write that changes nothing keeps its old time, so that it stays a write of nothing.
    let unchanged = entries(live)
        .into_iter()
        .find(|o| o.is(writer, "Apply") && o.set == new);
    owners.push(unchanged.unwrap_or_else(|| Entry::new(writer, "Apply", new)));
    store_entries(&mut after, &owners);
    Ok(after)
}

/// Removes what the manager applied before, applies no more, and nobody else owns.
fn prune(after: &mut Value, old: &FieldSet, new: &FieldSet, at: (&[Entry], Schema)) {
    let (others, schema) = at;
    let owned =
        |path: &Vec<Step>| new.contains(path) || others.iter().any(|o| o.set.contains(path));
    let owned_below = |path: &Vec<Step>| {
        let under = |set: &FieldSet| {
            set.range(path.clone()..)
                .next()
                .is_some_and(|p| p.starts_with(path))
        };
        under(new) || others.iter().any(|o| under(&o.set))
    };
    // An item stands before its fields: it goes whole unless somebody else owns any of it, and then keeps its keys.
    for path in old.iter().filter(|path| !owned(path)) {
        let item = matches!(path.last(), Some(Step::Key(_)));
        let stays = if item {
            owned_below(path)
        } else {
            is_key_field(path)
        };
        if !stays {
            fields::remove(after, path, schema);
        }
    }
}

/// Whether the leaf is one of the fields that its list item is found by.
fn is_key_field(path: &[Step]) -> bool {
    let [.., Step::Key(json), Step::Field(name)] = path else {
        return false;
    };
    let keys: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    keys.contains_key(name)
}

/// Keeps the books after a write that is no apply: who changes a field owns it, alone.
pub(crate) fn track_update(before: &Value, after: &mut Value, schema: Schema, writer: &Writer<'_>) {
    // A client that sends `managedFields: []` (or `[{}]`) resets the books; leaving it out changes nothing.
    let reset = match &after["metadata"]["managedFields"] {
        Value::Array(list) => list.iter().all(|e| e.as_object().is_none_or(Map::is_empty)),
        _ => false,
    };
    let mut owners = if reset { Vec::new() } else { entries(before) };
    let was = leaves(before, schema);
    let is = leaves(after, schema);
    let changed: FieldSet = is
        .iter()
        .filter(|(path, value)| was.get(*path) != Some(value))
        .map(|(path, _)| path.clone())
        .collect();
    for owner in &mut owners {
        let mine = owner.is(writer, "Update");
        owner
            .set
            .retain(|path| is.contains_key(path) && (mine || !changed.contains(path)));
    }
    if !changed.is_empty() {
        if let Some(mine) = owners.iter_mut().find(|o| o.is(writer, "Update")) {
            mine.set.extend(changed);
            mine.time = writer.time.into();
        } else {
            owners.push(Entry::new(writer, "Update", changed));
        }
    }
    store_entries(after, &owners);
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !inner.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Every item of an associative list needs its keys, and no two may share them.
fn check_keys(value: &Value, schema: Schema, at: &str) -> Result<(), ApplyError> {
    match value {
        Value::Object(map) => map
            .iter()
            .try_for_each(|(name, inner)| check_keys(inner, schema, &child(at, name))),
        Value::Array(items) => {
            if let List::Map(keys) = schema.list(at) {
                let mut seen = std::collections::BTreeSet::new();
                for (index, item) in items.iter().enumerate() {
                    let Some(key) = fields::key_of(item, keys) else {
                        return Err(ApplyError::Malformed(format!(
                            "failed to create typed patch object: .{at}: element {index}: associative list with keys \
                             has an element that omits key field \"{}\"",
                            keys.join("\", \"")
                        )));
                    };
                    if !seen.insert(key.clone()) {
                        let why = format!(
                            "failed to create typed patch object: .{at}: duplicate entries for key {key}"
                        );
                        return Err(ApplyError::Malformed(why));
                    }
                }
            }
            let inner = format!("{at}[]");
            items
                .iter()
                .try_for_each(|item| check_keys(item, schema, &inner))
        }
        _ => Ok(()),
    }
}

fn merge(live: &mut Value, config: &Value, schema: Schema, at: &str) {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) => {
            for (name, value) in config {
                merge(
                    live.entry(name.clone()).or_insert(Value::Null),
                    value,
                    schema,
                    &child(at, name),
                );
            }
        }
        (Value::Array(live), Value::Array(items)) => match schema.list(at) {
            List::Map(keys) => {
                let inner = format!("{at}[]");
                for item in items {
                    let key = fields::key_of(item, keys);
                    match live.iter_mut().find(|l| fields::key_of(l, keys) == key) {
                        Some(found) => merge(found, item, schema, &inner),
                        None => live.push(item.clone()),
                    }
                }
            }
            List::Set => {
                for item in items {
                    if !live.contains(item) {
                        live.push(item.clone());
                    }
                }
            }
            List::Atomic => live.clone_from(items),
        },
        (live, config) => *live = config.clone(),
    }
}
