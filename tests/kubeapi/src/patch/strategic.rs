//! Strategic merge patch: a merge patch that knows which lists merge by key.
//!
//! Spoken directives: `$patch: replace|delete|merge` on objects and list items, `$deleteFromPrimitiveList/<field>`,
//! `$setElementOrder/<field>` (honoured as order of the named items), `$retainKeys`.

use serde_json::{Map, Value};

use super::schema::{List, Schema, child};

const DIRECTIVE: &str = "$patch";
const DELETE_PRIMITIVE: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";
const RETAIN: &str = "$retainKeys";

/// Applies `patch` to `target`. The error is a sentence for the client (a real server answers 400 or 422).
pub(crate) fn merge(target: &mut Value, patch: &Value, schema: Schema) -> Result<(), String> {
    let Value::Object(patch) = patch else {
        return Err("cannot unmarshal a patch that is no object".into());
    };
    let emptied = object(target, patch, schema, "")?;
    if emptied {
        *target = Value::Object(Map::new());
    }
    Ok(())
}

/// Merges one object; true when `$patch: delete` asks for its removal.
fn object(
    target: &mut Value,
    patch: &Map<String, Value>,
    schema: Schema,
    path: &str,
) -> Result<bool, String> {
    match patch.get(DIRECTIVE).map(Value::as_str) {
        None | Some(Some("merge")) => {}
        Some(Some("delete")) => return Ok(true),
        Some(Some("replace")) => {
            *target = Value::Object(without_directives(patch));
            return Ok(false);
        }
        Some(_) => return Err(format!("unknown $patch directive at {path:?}")),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return Ok(false);
    };
    if let Some(Value::Array(kept)) = patch.get(RETAIN) {
        target.retain(|name, _| kept.iter().any(|k| k.as_str() == Some(name)));
    }
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix(DELETE_PRIMITIVE)
            && let (Some(Value::Array(live)), Value::Array(gone)) = (target.get_mut(field), value)
        {
            live.retain(|item| !gone.contains(item));
        }
        if name.starts_with('$') {
            continue;
        }
        field(target, name, value, schema, &child(path, name))?;
    }
    for (name, value) in patch {
        let Some(field) = name.strip_prefix(ORDER) else {
            continue;
        };
        if let (Some(Value::Array(live)), Value::Array(order)) = (target.get_mut(field), value) {
            set_order(live, order, schema.list(&child(path, field)));
        }
    }
    Ok(false)
}

fn field(
    target: &mut Map<String, Value>,
    name: &str,
    value: &Value,
    schema: Schema,
    path: &str,
) -> Result<(), String> {
    match value {
        Value::Null => {
            target.remove(name);
        }
        Value::Object(inner) => {
            let slot = target.entry(name.to_owned()).or_insert(Value::Null);
            if object(slot, inner, schema, path)? {
                target.remove(name);
            }
        }
        Value::Array(items) => {
            let slot = target
                .entry(name.to_owned())
                .or_insert_with(|| Value::Array(Vec::new()));
            list(slot, items, schema, path)?;
        }
        scalar => {
            target.insert(name.to_owned(), scalar.clone());
        }
    }
    Ok(())
}

fn list(slot: &mut Value, items: &[Value], schema: Schema, path: &str) -> Result<(), String> {
    let replace = items.iter().any(|item| {
        item.as_object().is_some_and(|o| {
            o.len() == 1 && o.get(DIRECTIVE).and_then(Value::as_str) == Some("replace")
        })
    });
    let rule = schema.list(path);
    let live = match (slot, rule) {
        (Value::Array(live), List::Map(_) | List::Set) if !replace => live,
        (slot, _) => {
            let kept = items
                .iter()
                .filter(|i| i.get(DIRECTIVE).is_none())
                .cloned()
                .collect();
            *slot = Value::Array(kept);
            return Ok(());
        }
    };
    if let List::Map(keys) = rule {
        by_key(
            live,
            items,
            keys.first().copied().unwrap_or_default(),
            (schema, path),
        )
    } else {
        for item in items {
            if !live.contains(item) {
                live.push(item.clone());
            }
        }
        Ok(())
    }
}

fn by_key(
    live: &mut Vec<Value>,
    items: &[Value],
    key: &str,
    at: (Schema, &str),
) -> Result<(), String> {
    let (schema, path) = at;
    let inner = format!("{path}[]");
    for item in items {
        let Value::Object(item) = item else {
            return Err(format!("an item of {path} is no object"));
        };
        let Some(id) = item.get(key) else {
            return Err(format!(
                "map: {path} does not contain declared merge key: {key}"
            ));
        };
        if let Some(at) = live.iter().position(|l| l.get(key) == Some(id)) {
            let Some(found) = live.get_mut(at) else {
                continue;
            };
            if object(found, item, schema, &inner)? {
                live.remove(at);
            }
        } else if item.get(DIRECTIVE).and_then(Value::as_str) != Some("delete") {
            let mut new = Value::Object(Map::new());
            object(&mut new, item, schema, &inner)?;
            live.push(new);
        }
    }
    Ok(())
}

/// Items that the order names come in that order; the others stay behind them as they were.
fn set_order(live: &mut [Value], order: &[Value], rule: List) {
    let key = match rule {
        List::Map(keys) => keys.first().copied(),
        List::Set => None,
        List::Atomic => return,
    };
    live.sort_by_key(|item| {
        order
            .iter()
            .position(|o| match key {
                Some(key) => o.get(key).is_some() && o.get(key) == item.get(key),
                None => o == item,
            })
            .unwrap_or(usize::MAX)
    });
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(name, value)| !name.starts_with('$') && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
