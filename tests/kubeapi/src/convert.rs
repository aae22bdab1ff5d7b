//! One Event, two APIs: `v1` and `events.k8s.io/v1` show the same stored objects under different field names.
//! Stored is the core form, as on a real server.

use std::sync::Arc;

use serde_json::Value;

use crate::{kinds::Kind, store::map_of};

/// (core name, events.k8s.io name).
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn is_new_event(kind: &Kind) -> bool {
    kind.group == "events.k8s.io" && kind.plural == "events"
}

fn rename(object: &mut Value, pairs: impl Iterator<Item = (&'static str, &'static str)>) {
    let map = map_of(object);
    for (from, to) in pairs {
        if let Some(value) = map.remove(from) {
            map.insert(to.into(), value);
        }
    }
}

/// From what the client sent at this kind's address to what is stored.
pub(crate) fn to_storage(kind: &Kind, mut object: Value) -> Value {
    if is_new_event(kind) {
        rename(&mut object, NAMES.iter().map(|(core, new)| (*new, *core)));
        map_of(&mut object).insert("apiVersion".into(), "v1".into());
    }
    object
}

/// From what is stored to what this kind's address shows.
pub(crate) fn to_served(kind: &Kind, object: &Arc<Value>) -> Arc<Value> {
    if !is_new_event(kind) {
        return Arc::clone(object);
    }
    let mut object = (**object).clone();
    rename(&mut object, NAMES.iter().copied());
    map_of(&mut object).insert("apiVersion".into(), kind.api_version().into());
    Arc::new(object)
}
