//! Pruning: what a CRD's schema does not name is dropped without a word, as a real server does. That is how an old
//! CRD loses the fields of a newer controller. Without a stored CRD nothing is pruned.

use serde_json::{Map, Value};

use crate::{
    kinds::Kind,
    store::{Key, Store, map_of},
};

/// Drops from a client's object what the stored CRD of its kind does not name.
pub(crate) fn prune(store: &Store, kind: &Kind, object: &mut Value) {
    if !kind.custom {
        return;
    }
    let key = Key {
        resource: "customresourcedefinitions.apiextensions.k8s.io".into(),
        namespace: String::new(),
        name: kind.resource(),
    };
    let Some(crd) = store.get(&key) else { return };
    let versions = crd["spec"]["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let Some(version) = versions.iter().find(|v| v["name"] == kind.version.as_str()) else {
        return;
    };
    let schema = &version["schema"]["openAPIV3Schema"];
    if let Some(properties) = schema
        .get("properties")
        .and_then(Value::as_object)
        .filter(|_| !open(schema))
    {
        let map = map_of(object);
        map.retain(|name, _| {
            properties.contains_key(name)
                || matches!(name.as_str(), "apiVersion" | "kind" | "metadata")
        });
        for (name, value) in map.iter_mut().filter(|(name, _)| *name != "metadata") {
            by_schema(value, properties.get(name).unwrap_or(&Value::Null));
        }
    }
}

fn open(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

fn by_schema(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            let none = Map::new();
            let properties = schema
                .get("properties")
                .and_then(Value::as_object)
                .unwrap_or(&none);
            let others = schema
                .get("additionalProperties")
                .filter(|a| a.as_bool() != Some(false));
            // A schema that says nothing of an object's fields leaves no field, unless it says that it does not care.
            if schema.get("type").is_none_or(|t| t == "object") && !open(schema) && others.is_none()
            {
                map.retain(|name, _| properties.contains_key(name));
            }
            for (name, inner) in map.iter_mut() {
                if let Some(schema) = properties.get(name).or(others.filter(|o| o.is_object())) {
                    by_schema(inner, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    by_schema(item, schema);
                }
            }
        }
        _ => {}
    }
}
