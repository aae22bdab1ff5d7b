//! Rules of objects that every write obeys: names, what counts as a change, how an apply is refused.

use serde_json::{Value, json};

use crate::{
    patch::apply::{ApplyError, Conflict},
    status::Refusal,
    store::{map_of, metadata_mut},
};

/// A string of the metadata, empty if it is none.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub(crate) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| !list.is_empty())
}

pub(crate) fn set_or_remove(object: &mut Value, field: &str, value: Option<&Value>) {
    let map = map_of(object);
    match value {
        Some(value) => map.insert(field.into(), value.clone()),
        None => map.remove(field),
    };
}

/// Everything but metadata and status: what generation counts.
pub(crate) fn body(object: &Value) -> Vec<(&String, &Value)> {
    let parts = object.as_object().into_iter().flatten();
    parts
        .filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"))
        .collect()
}

pub(crate) fn without_version(mut object: Value) -> Value {
    metadata_mut(&mut object).remove("resourceVersion");
    object
}

/// Whether two states differ in nothing but the times in `managedFields`.
pub(crate) fn same_but_times(before: &Value, after: &Value) -> bool {
    let plain = |object: &Value| {
        let mut object = object.clone();
        if let Some(Value::Array(entries)) = metadata_mut(&mut object).get_mut("managedFields") {
            for entry in entries {
                map_of(entry).remove("time");
            }
        }
        object
    };
    plain(before) == plain(after)
}

/// A DNS subdomain of RFC 1123, with the colon that RBAC objects may have.
pub(crate) fn valid_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 253
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:".contains(c))
}

/// A refused apply in the words of a real server.
pub(crate) fn apply_refusal(error: ApplyError) -> Refusal {
    let conflicts = match error {
        ApplyError::Malformed(why) => return Refusal::bad_request(why),
        ApplyError::Conflicts(conflicts) => conflicts,
    };
    let cause = |c: &Conflict| format!("conflict with \"{}\" using {}", c.manager, c.api_version);
    let plural = if conflicts.len() == 1 { "" } else { "s" };
    let listed: Vec<String> = conflicts
        .iter()
        .map(|c| format!("{}: {}", cause(c), c.field))
        .collect();
    let message = format!(
        "Apply failed with {} conflict{plural}: {}",
        conflicts.len(),
        listed.join(", ")
    );
    let causes = conflicts
        .iter()
        .map(|c| json!({"reason": "FieldManagerConflict", "message": cause(c), "field": c.field}))
        .collect();
    Refusal::new(409, "Conflict", message).with_causes(causes)
}
