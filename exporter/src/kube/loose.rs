//! An object of any kind that can always be read: what is wrong with it is data.
//!
//! Typed lists fail whole on one malformed item, and so does a `DynamicObject` with odd
//! metadata; this takes any JSON value.

use std::borrow::Cow;

use ::kube::Resource;
use ::kube::core::{ApiResource, DynamicResourceScope, ObjectMeta};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Any JSON value as an object.
#[derive(Debug, Clone)]
pub(super) struct Loose {
    meta: ObjectMeta,
    pub(super) value: Value,
}

impl From<Value> for Loose {
    fn from(value: Value) -> Self {
        let text = |name: &str| Some(value.get("metadata")?.get(name)?.as_str()?.to_owned());
        // What the watch itself needs; the rest is read by `reduce`.
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Self { meta, value }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

impl Resource for Loose {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(dt: &ApiResource) -> Cow<'_, str> {
        dt.kind.as_str().into()
    }
    fn group(dt: &ApiResource) -> Cow<'_, str> {
        dt.group.as_str().into()
    }
    fn version(dt: &ApiResource) -> Cow<'_, str> {
        dt.version.as_str().into()
    }
    fn api_version(dt: &ApiResource) -> Cow<'_, str> {
        dt.api_version.as_str().into()
    }
    fn plural(dt: &ApiResource) -> Cow<'_, str> {
        dt.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
