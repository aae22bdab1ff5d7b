//! Field paths, sets of them and their wire form (`FieldsV1`), as server-side apply keeps them in `managedFields`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::schema::{List, Schema, child};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// A field of an object (`f:name`).
    Field(String),
    /// An item of an associative list, by the JSON of its keys (`k:{"type":"Ready"}`).
    Key(String),
    /// An item of a set, by its JSON (`v:"x"`).
    Item(String),
}

/// From the root of the object to a leaf, or to an item of a list (then it means the item's existence).
pub(crate) type Path = Vec<Step>;

/// Fields that somebody owns.
pub(crate) type FieldSet = BTreeSet<Path>;

/// Every owned-or-ownable path of an object with its value; `None` stands for the existence of a list item.
pub(crate) type Leaves<'a> = BTreeMap<Path, Option<&'a Value>>;

/// Metadata that the server itself keeps and nobody owns.
const UNOWNED_METADATA: [&str; 10] = [
    "name",
    "namespace",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
];

/// The leaves of an object, without what identifies it.
pub(crate) fn leaves(object: &Value, schema: Schema) -> Leaves<'_> {
    let mut out = Leaves::new();
    let Value::Object(map) = object else {
        return out;
    };
    for (name, value) in map {
        match (name.as_str(), value) {
            ("apiVersion" | "kind", _) => {}
            ("metadata", Value::Object(metadata)) => {
                for (field, value) in metadata {
                    if !UNOWNED_METADATA.contains(&field.as_str()) {
                        let mut path =
                            vec![Step::Field("metadata".into()), Step::Field(field.clone())];
                        walk(
                            value,
                            schema,
                            &child("metadata", field),
                            &mut path,
                            &mut out,
                        );
                    }
                }
            }
            _ => walk(
                value,
                schema,
                name,
                &mut vec![Step::Field(name.clone())],
                &mut out,
            ),
        }
    }
    out
}

fn walk<'a>(value: &'a Value, schema: Schema, at: &str, path: &mut Path, out: &mut Leaves<'a>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, inner) in map {
                path.push(Step::Field(name.clone()));
                walk(inner, schema, &child(at, name), path, out);
                path.pop();
            }
        }
        Value::Array(items) if !items.is_empty() => match schema.list(at) {
            List::Map(keys) => {
                let Some(keyed) = keyed(items, keys) else {
                    out.insert(path.clone(), Some(value));
                    return;
                };
                let inner_at = format!("{at}[]");
                for (key, item) in keyed {
                    path.push(Step::Key(key));
                    out.insert(path.clone(), None);
                    if item.as_object().is_some_and(|o| !o.is_empty()) {
                        walk(item, schema, &inner_at, path, out);
                    }
                    path.pop();
                }
            }
            List::Set => {
                for item in items {
                    path.push(Step::Item(item.to_string()));
                    out.insert(path.clone(), None);
                    path.pop();
                }
            }
            List::Atomic => {
                out.insert(path.clone(), Some(value));
            }
        },
        _ => {
            out.insert(path.clone(), Some(value));
        }
    }
}

/// The items with their keys, or `None` if one lacks its key or two share it: such a list is owned whole.
fn keyed<'a>(items: &'a [Value], keys: &[&str]) -> Option<Vec<(String, &'a Value)>> {
    let mut seen = BTreeSet::new();
    items
        .iter()
        .map(|item| {
            let key = key_of(item, keys)?;
            seen.insert(key.clone()).then_some((key, item))
        })
        .collect()
}

/// The item's key as JSON with sorted names; a missing `protocol` counts as TCP, its default.
pub(crate) fn key_of(item: &Value, keys: &[&str]) -> Option<String> {
    let mut out = BTreeMap::new();
    for key in keys {
        let value = match item.get(key) {
            Some(value) if !value.is_object() && !value.is_array() => value.clone(),
            None if *key == "protocol" => Value::String("TCP".into()),
            _ => return None,
        };
        out.insert((*key).to_owned(), value);
    }
    serde_json::to_string(&out).ok()
}

/// Removes what the path names, if it is there. Emptied parents stay, as they do on a real server.
pub(crate) fn remove(object: &mut Value, path: &[Step], schema: Schema) {
    remove_at(object, path, schema, "");
}

fn remove_at(value: &mut Value, path: &[Step], schema: Schema, at: &str) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    match (step, value) {
        (Step::Field(name), Value::Object(map)) => {
            if rest.is_empty() {
                map.remove(name);
            } else if let Some(inner) = map.get_mut(name) {
                remove_at(inner, rest, schema, &child(at, name));
            }
        }
        (Step::Key(key), Value::Array(items)) => {
            let List::Map(keys) = schema.list(at) else {
                return;
            };
            let Some(found) = items
                .iter()
                .position(|item| key_of(item, keys).as_ref() == Some(key))
            else {
                return;
            };
            if rest.is_empty() {
                items.remove(found);
            } else if let Some(item) = items.get_mut(found) {
                remove_at(item, rest, schema, &format!("{at}[]"));
            }
        }
        (Step::Item(json), Value::Array(items)) if rest.is_empty() => {
            if let Ok(gone) = serde_json::from_str::<Value>(json) {
                items.retain(|item| *item != gone);
            }
        }
        _ => {}
    }
}

/// `.status.conditions[type="Ready"].status`: how conflicts name a field.
pub(crate) fn display(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Field(name) => {
                out.push('.');
                out.push_str(name);
            }
            Step::Key(json) => {
                let keys: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
                let inside: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                out.extend(["[", &inside.join(","), "]"]);
            }
            Step::Item(json) => out.extend(["[=", json, "]"]),
        }
    }
    out
}

/// The wire form: nested objects with `f:`, `k:`, `v:` names; `.` where an inner node is owned itself.
pub(crate) fn encode(set: &FieldSet) -> Value {
    let mut root = Map::new();
    for path in set {
        let mut at = &mut root;
        for step in path {
            let name = match step {
                Step::Field(name) => format!("f:{name}"),
                Step::Key(json) => format!("k:{json}"),
                Step::Item(json) => format!("v:{json}"),
            };
            at = crate::store::map_of(at.entry(name).or_insert_with(|| Value::Object(Map::new())));
        }
        if matches!(path.last(), Some(Step::Key(_))) {
            at.insert(".".into(), Value::Object(Map::new()));
        }
    }
    Value::Object(root)
}

/// Reads the wire form; what it does not know (`i:` and worse) is left out.
pub(crate) fn decode(fields: &Value) -> FieldSet {
    let mut out = FieldSet::new();
    decode_at(fields, &mut Vec::new(), &mut out);
    out
}

fn decode_at(fields: &Value, path: &mut Path, out: &mut FieldSet) {
    let Value::Object(map) = fields else { return };
    if map.is_empty() && !path.is_empty() {
        out.insert(path.clone());
    }
    for (name, inner) in map {
        let step = match (name.as_str(), name.split_once(':')) {
            (".", _) => {
                out.insert(path.clone());
                continue;
            }
            (_, Some(("f", field))) => Step::Field(field.to_owned()),
            (_, Some(("k", json))) => Step::Key(json.to_owned()),
            (_, Some(("v", json))) => Step::Item(json.to_owned()),
            _ => continue,
        };
        path.push(step);
        decode_at(inner, path, out);
        path.pop();
    }
}
