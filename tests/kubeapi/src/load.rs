//! Objects from files.

use serde_json::Value;

/// Why a text holds no objects.
#[derive(Debug, thiserror::Error)]
#[error("cannot be read as objects: {0}")]
pub struct LoadError(String);

/// The objects of a JSON or (multi-document) YAML text; empty documents are left out.
pub fn documents(text: &str) -> Result<Vec<Value>, LoadError> {
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return Ok(match value {
            Value::Array(items) => items,
            value => vec![value],
        });
    }
    let all: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|e| LoadError(e.to_string()))?;
    Ok(all.into_iter().filter(|value| !value.is_null()).collect())
}
