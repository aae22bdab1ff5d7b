//! The subset of JSON Schema (draft 7) that the chart's schema keeps to; an unknown word is an
//! error of the schema. Real Helm checks the same files in the public workflow.

use regex::Regex;
use serde_json::Value;

/// Every way in which `value` breaks `schema`, as `path: what`.
pub(crate) fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "", &mut found);
    found
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_of(value: &Value, types: &Value) -> bool {
    let own = kind(value);
    match types {
        Value::String(one) => one == own,
        Value::Array(several) => several.iter().any(|one| one == own),
        other => unreachable!("type: {other}"),
    }
}

fn check(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let words = schema.as_object().unwrap();
    // A value of another type makes every other complaint noise.
    if let Some(types) = words.get("type")
        && !is_of(value, types)
    {
        found.push(format!("{path}: expected {types}, found {}", kind(value)));
        return;
    }
    for (word, rule) in words {
        let mut say = |what: String| {
            let why = schema
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or_default();
            found.push(format!("{path}: {what} {why}").trim_end().to_owned());
        };
        match (word.as_str(), value) {
            ("const", _) if value != rule => say(format!("must be {rule}")),
            ("enum", _) if !rule.as_array().unwrap().contains(value) => {
                say(format!("{value} is none of {rule}"));
            }
            ("minimum", Value::Number(n)) if n.as_f64() < rule.as_f64() => {
                say(format!("{n} is less than {rule}"));
            }
            ("maximum", Value::Number(n)) if n.as_f64() > rule.as_f64() => {
                say(format!("{n} is more than {rule}"));
            }
            ("minLength", Value::String(s))
                if (s.chars().count() as u64) < rule.as_u64().unwrap() =>
            {
                say("is empty".to_owned());
            }
            ("minItems", Value::Array(a)) if (a.len() as u64) < rule.as_u64().unwrap() => {
                say(format!("needs at least {rule}"));
            }
            ("pattern", Value::String(s))
                if !Regex::new(rule.as_str().unwrap()).unwrap().is_match(s) =>
            {
                say(format!("{value} does not match {rule}."));
            }
            ("required", Value::Object(entries)) => {
                for key in rule.as_array().unwrap() {
                    if !entries.contains_key(key.as_str().unwrap()) {
                        say(format!("{key} is missing."));
                    }
                }
            }
            ("additionalProperties", Value::Object(entries)) => {
                let named = schema.get("properties").and_then(Value::as_object);
                for (key, inner) in entries {
                    if named.is_some_and(|named| named.contains_key(key)) {
                        continue;
                    }
                    match rule {
                        Value::Bool(true) => {}
                        Value::Bool(false) => found.push(format!("{path}: unknown key {key:?}")),
                        rule => check(rule, inner, &format!("{path}/{key}"), found),
                    }
                }
            }
            ("properties", Value::Object(entries)) => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(inner) = entries.get(key) {
                        check(rule, inner, &format!("{path}/{key}"), found);
                    }
                }
            }
            ("items", Value::Array(all)) => {
                for (n, inner) in all.iter().enumerate() {
                    check(rule, inner, &format!("{path}/{n}"), found);
                }
            }
            ("allOf", _) => {
                for rule in rule.as_array().unwrap() {
                    check(rule, value, path, found);
                }
            }
            ("if", _) if faults(rule, value).is_empty() => {
                check(&schema["then"], value, path, found);
            }
            (
                "const"
                | "enum"
                | "minimum"
                | "maximum"
                | "minLength"
                | "minItems"
                | "pattern"
                | "required"
                | "additionalProperties"
                | "properties"
                | "items"
                | "if"
                | "then"
                | "type"
                | "title"
                | "description"
                | "$schema",
                _,
            ) => {}
            (other, _) => unreachable!("{other} is outside the subset of JSON Schema"),
        }
    }
}
