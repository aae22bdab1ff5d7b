//! The functions of the templates' subset.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::template::Fault;

/// The functions of the subset.
pub(crate) fn call(name: &str, arguments: &[Value]) -> Result<Value, Fault> {
    let text = |value: &Value| shown(value);
    Ok(match (name, arguments) {
        ("true", []) => Value::from(true),
        ("false", []) => Value::from(false),
        ("eq", [a, b]) => Value::from(a == b),
        ("not", [a]) => Value::from(!truth(a)),
        ("and", [a, b]) => if truth(a) { b } else { a }.clone(),
        ("int", [Value::Number(number)]) => Value::Number(number.clone()),
        ("until", [Value::Number(end)]) => (0..end.as_i64().ok_or("until")?).collect(),
        ("quote", [a]) => Value::from(Value::from(text(a)?).to_string()),
        ("toYaml", [a]) => Value::from(yaml(a, 0).trim_matches('\n').to_owned()),
        ("nindent", [Value::Number(by), a]) => {
            let pad = " "
                .repeat(usize::try_from(by.as_u64().ok_or("nindent")?).map_err(|e| e.to_string())?);
            Value::from(format!(
                "\n{pad}{}",
                text(a)?.replace('\n', &format!("\n{pad}"))
            ))
        }
        ("sha256sum", [a]) => {
            let digest = Sha256::digest(text(a)?);
            Value::from(digest.iter().fold(String::new(), |mut all, byte| {
                let _ = write!(all, "{byte:02x}");
                all
            }))
        }
        ("replace", [from, to, a]) => Value::from(text(a)?.replace(&text(from)?, &text(to)?)),
        ("base", [a]) => Value::from(text(a)?.rsplit('/').next().unwrap_or_default()),
        ("trimSuffix", [end, a]) => {
            let all = text(a)?;
            Value::from(all.strip_suffix(&text(end)?).unwrap_or(&all))
        }
        _ => {
            return Err(format!(
                "{name} with {} arguments is outside the subset",
                arguments.len()
            ));
        }
    })
}

pub(crate) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

pub(crate) fn items(value: &Value) -> Result<Vec<(Value, Value)>, Fault> {
    match value {
        Value::Array(all) => Ok(all
            .iter()
            .enumerate()
            .map(|(n, v)| (n.into(), v.clone()))
            .collect()),
        Value::Object(all) => Ok(all
            .iter()
            .map(|(k, v)| (k.as_str().into(), v.clone()))
            .collect()),
        other => Err(format!("range over {other}")),
    }
}

pub(crate) fn shown(value: &Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(format!("{other} is printed without toYaml")),
    }
}

/// Block YAML, keys in order; texts in JSON's quotes, which are YAML's too.
fn yaml(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(entries) if !entries.is_empty() => entries
            .iter()
            .map(|(key, value)| match value {
                Value::Object(inner) if !inner.is_empty() => {
                    format!("{pad}{key}:\n{}", yaml(value, depth + 1))
                }
                Value::Array(inner) if !inner.is_empty() => {
                    format!("{pad}{key}:\n{}", yaml(value, depth))
                }
                plain => format!("{pad}{key}: {plain}\n"),
            })
            .collect(),
        Value::Array(entries) if !entries.is_empty() => {
            entries.iter().fold(String::new(), |all, value| {
                all + &pad + "- " + yaml(value, depth + 1).trim_start()
            })
        }
        plain => format!("{pad}{plain}\n"),
    }
}
