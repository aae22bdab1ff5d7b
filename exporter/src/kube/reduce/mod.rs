//! Any JSON value to the plain objects of `pnwatch_core::kube`, totally: a field of another type
//! is left out and named, an object without a name is skipped and named.

mod caches;
mod cluster;
mod fields;
#[cfg(test)]
mod tests;

use pnwatch_core::kube::object::{Entry, Key, Kind, Object};
use serde_json::Value;

use self::fields::Fields;

/// Annotations that are kept besides those of `prometheus.io/`.
const ANNOTATIONS: &str = "prometheus.io/";

/// Reduces one object of `kind`. `kept` is one more annotation that matters.
pub(crate) fn entry(kind: Kind, value: &Value, kept: &str) -> Entry {
    let fields = Fields::new(value);
    let named = fields.meta(|name| name.starts_with(ANNOTATIONS) || name == kept);
    let Some(meta) = named else {
        return Entry {
            key: Key {
                namespace: String::new(),
                name: "(without a name)".into(),
            },
            object: None,
            problems: fields.problems(),
        };
    };
    let key = meta.key.clone();
    let object = match kind {
        Kind::Instance => Object::Instance(caches::instance(&fields, meta)),
        Kind::Service => Object::Service(caches::service(&fields, meta)),
        Kind::Slice => Object::Slice(caches::slice(&fields, meta)),
        Kind::Pod | Kind::Runner => Object::Pod(caches::pod(&fields, meta)),
        Kind::Policy => Object::Policy(caches::policy(&fields, meta)),
        Kind::Node => Object::Node(cluster::node(&fields, meta)),
        Kind::Machine => Object::Machine(cluster::machine(&fields, meta)),
        Kind::Definition => Object::Definition(cluster::definition(&fields, meta)),
    };
    Entry {
        key,
        object: Some(object),
        problems: fields.problems(),
    }
}

/// The key of an object that went.
pub(crate) fn key(value: &Value) -> Key {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str);
    Key {
        namespace: text("/metadata/namespace").unwrap_or_default().to_owned(),
        name: text("/metadata/name")
            .unwrap_or("(without a name)")
            .to_owned(),
    }
}
