//! What create, update, patch and delete mean: identity, preconditions, the wall between spec and status,
//! generation, finalizers, field owners. Objects are not validated against schemas; names and addresses are.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    convert::{to_served, to_storage},
    kinds::Kind,
    patch::{
        apply::{self, Writer, track_update},
        merge,
        schema::Schema,
        strategic,
    },
    prune,
    rules::{
        apply_refusal, body, has_finalizers, same_but_times, set_or_remove, text, valid_name,
        without_version,
    },
    status::Refusal,
    store::{Key, Store, map_of, metadata_mut},
};

/// A patch in one of the languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Merge,
    Strategic,
    Apply,
}

/// One write request: where it goes and by whom.
#[derive(Debug, Clone)]
pub(crate) struct Write<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) writer: Writer<'a>,
    /// Do everything but store it.
    pub(crate) dry_run: bool,
}

type Outcome = Result<Arc<Value>, Refusal>;

impl Write<'_> {
    fn key(&self, name: &str) -> Key {
        Key {
            resource: self.kind.storage(),
            namespace: self.namespace.into(),
            name: name.into(),
        }
    }

    /// POST: a new object, named by itself or by `generateName`.
    pub(crate) fn create(&self, store: &mut Store, body: Value) -> Outcome {
        let mut object = self.checked(store, body, "")?;
        let uid = store.next_uid();
        let name = match (text(&object, "name"), text(&object, "generateName")) {
            ("", "") => {
                let why = "Required value: name or generateName is required";
                return Err(Refusal::invalid(self.kind, "", "metadata.name", why));
            }
            ("", prefix) => format!("{prefix}{}", &uid[uid.len().saturating_sub(5)..]),
            (name, _) => name.to_owned(),
        };
        if !valid_name(&name) {
            let why = format!(
                "Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
            );
            return Err(Refusal::invalid(self.kind, &name, "metadata.name", &why));
        }
        if self.kind.namespaced {
            self.namespace_exists(store)?;
        }
        let key = self.key(&name);
        if store.get(&key).is_some() {
            return Err(Refusal::already_exists(self.kind, &name));
        }
        if self.kind.status && !self.kind.status_on_create {
            map_of(&mut object).remove("status");
        }
        self.identify(&mut object, (&name, uid));
        track_update(
            &Value::Null,
            &mut object,
            Schema::of(self.kind),
            &self.writer,
        );
        Ok(self.store(store, key, object))
    }

    /// PUT: the whole object, or its status.
    pub(crate) fn update(&self, store: &mut Store, body: Value) -> Outcome {
        let object = self.checked(store, body, self.name)?;
        let Some(stored) = store.get(&self.key(self.name)) else {
            if self.kind.create_on_update && self.writer.subresource.is_empty() {
                return self.create(store, object);
            }
            return Err(Refusal::not_found(self.kind, self.name));
        };
        if text(&object, "resourceVersion").is_empty() && !self.kind.unconditional_update {
            let why = "Invalid value: 0x0: must be specified for an update";
            return Err(Refusal::invalid(
                self.kind,
                self.name,
                "metadata.resourceVersion",
                why,
            ));
        }
        let before = to_served(self.kind, &stored);
        let mut after = self.walled(&before, object)?;
        track_update(&before, &mut after, Schema::of(self.kind), &self.writer);
        Ok(self.finish(store, (&stored, &before), after))
    }

    /// PATCH. Only an apply may create what is not there.
    pub(crate) fn patch(&self, store: &mut Store, patch: &Value, language: PatchKind) -> Outcome {
        let schema = Schema::of(self.kind);
        let stored = store.get(&self.key(self.name));
        if language == PatchKind::Apply {
            return self.apply(store, stored, patch);
        }
        let Some(stored) = stored else {
            return Err(Refusal::not_found(self.kind, self.name));
        };
        let before = to_served(self.kind, &stored);
        let mut object = (*before).clone();
        if language == PatchKind::Merge {
            merge::merge(&mut object, patch);
        } else {
            strategic::merge(&mut object, patch, schema).map_err(Refusal::bad_request)?;
        }
        // A patch carries a precondition only if it names a version itself; the merged object always has one.
        let object = self.checked(store, object, self.name)?;
        let mut after = self.walled(&before, object)?;
        track_update(&before, &mut after, schema, &self.writer);
        Ok(self.finish(store, (&stored, &before), after))
    }

    fn apply(&self, store: &mut Store, stored: Option<Arc<Value>>, config: &Value) -> Outcome {
        let schema = Schema::of(self.kind);
        let config = self.checked(store, config.clone(), self.name)?;
        if config["metadata"].get("managedFields").is_some() {
            let why = "metadata.managedFields must be nil";
            return Err(Refusal::bad_request(why));
        }
        let Some(stored) = stored else {
            if !self.writer.subresource.is_empty() {
                return Err(Refusal::not_found(self.kind, self.name));
            }
            self.namespace_exists(store)?;
            let mut config = config;
            if self.kind.status && !self.kind.status_on_create {
                map_of(&mut config).remove("status");
            }
            let live = json!({});
            let mut object =
                apply::apply(&live, &config, schema, &self.writer).map_err(apply_refusal)?;
            let uid = store.next_uid();
            self.identify(&mut object, (self.name, uid));
            return Ok(self.store(store, self.key(self.name), object));
        };
        let before = to_served(self.kind, &stored);
        self.precondition(&before, &config)?;
        // Only what this door lets through is applied, so that only that is owned.
        let mut config = config;
        if self.kind.status {
            if self.writer.subresource.is_empty() {
                map_of(&mut config).remove("status");
            } else {
                map_of(&mut config).retain(|name, _| {
                    matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status")
                });
                metadata_mut(&mut config)
                    .retain(|name, _| matches!(name.as_str(), "name" | "namespace"));
            }
        }
        let applied =
            apply::apply(&before, &config, schema, &self.writer).map_err(apply_refusal)?;
        let fields = applied["metadata"]["managedFields"].clone();
        let mut after = self.walled(&before, without_version(applied))?;
        metadata_mut(&mut after).insert("managedFields".into(), fields);
        Ok(self.finish(store, (&stored, &before), after))
    }

    /// DELETE. An object with finalizers is only marked, and goes with the last of them. There is no kubelet here:
    /// Pods go at once, as with a grace period of zero.
    pub(crate) fn delete(&self, store: &mut Store, options: &Value) -> Outcome {
        let key = self.key(self.name);
        let Some(stored) = store.get(&key) else {
            return Err(Refusal::not_found(self.kind, self.name));
        };
        for field in ["uid", "resourceVersion"] {
            if let Some(wanted) = options["preconditions"][field].as_str() {
                let is = text(&stored, field);
                if is != wanted {
                    let why = format!(
                        "Precondition failed: {field} in precondition: {wanted}, {field} in object meta: {is}"
                    );
                    return Err(Refusal::conflict(self.kind, self.name, &why));
                }
            }
        }
        if self.dry_run {
            return Ok(stored);
        }
        if has_finalizers(&stored) {
            if text(&stored, "deletionTimestamp").is_empty() {
                let mut marked = (*stored).clone();
                let metadata = metadata_mut(&mut marked);
                metadata.insert("deletionTimestamp".into(), self.writer.time.into());
                metadata.insert("deletionGracePeriodSeconds".into(), 0.into());
                return Ok(store.put(key, marked));
            }
            return Ok(stored);
        }
        store
            .remove(&key)
            .ok_or_else(|| Refusal::not_found(self.kind, self.name))
    }

    /// The body, pruned by its CRD, if it may stand at this address.
    fn checked(&self, store: &Store, mut body: Value, name: &str) -> Result<Value, Refusal> {
        if !body.is_object() {
            return Err(Refusal::bad_request(
                "the object provided is unrecognized (must be of type Object)",
            ));
        }
        for (field, expected) in [
            ("apiVersion", self.kind.api_version()),
            ("kind", self.kind.kind.clone()),
        ] {
            match body[field].as_str() {
                None | Some("") => body[field] = expected.into(),
                Some(given) if given == expected => {}
                Some(given) => {
                    let why = format!(
                        "the {field} in the data ({given}) does not match the expected {field} ({expected})"
                    );
                    return Err(Refusal::bad_request(why));
                }
            }
        }
        if body
            .get("metadata")
            .is_some_and(|m| !m.is_object() && !m.is_null())
        {
            return Err(Refusal::bad_request("metadata is no object"));
        }
        let given = text(&body, "name");
        if !name.is_empty() && !given.is_empty() && given != name {
            let why = format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            );
            return Err(Refusal::bad_request(why));
        }
        let given = text(&body, "namespace");
        if !given.is_empty() && given != self.namespace {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Refusal::bad_request(why));
        }
        let metadata = metadata_mut(&mut body);
        if !name.is_empty() {
            metadata.insert("name".into(), name.into());
        }
        if self.kind.namespaced {
            metadata.insert("namespace".into(), self.namespace.into());
        }
        prune::prune(store, self.kind, &mut body);
        Ok(body)
    }

    fn namespace_exists(&self, store: &Store) -> Result<(), Refusal> {
        let key = Key {
            resource: "namespaces".into(),
            namespace: String::new(),
            name: self.namespace.into(),
        };
        if !self.kind.namespaced || store.get(&key).is_some() {
            return Ok(());
        }
        let namespaces = Kind::builtin("", "v1", "namespaces", "Namespace");
        Err(Refusal::not_found(&namespaces, self.namespace))
    }

    /// What the server gives a new object.
    fn identify(&self, object: &mut Value, who: (&str, String)) {
        let metadata = metadata_mut(object);
        metadata.insert("name".into(), who.0.into());
        metadata.insert("uid".into(), who.1.into());
        metadata.insert("creationTimestamp".into(), self.writer.time.into());
        metadata.remove("deletionTimestamp");
        metadata.remove("resourceVersion");
        if self.kind.generation {
            metadata.insert("generation".into(), 1.into());
        } else {
            metadata.remove("generation");
        }
    }

    fn precondition(&self, before: &Value, object: &Value) -> Result<(), Refusal> {
        let asked = text(object, "resourceVersion");
        if !asked.is_empty() && asked != text(before, "resourceVersion") {
            return Err(Refusal::modified(self.kind, self.name));
        }
        let uid = text(object, "uid");
        if !uid.is_empty() && uid != text(before, "uid") {
            let is = text(before, "uid");
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {is}"
            );
            return Err(Refusal::conflict(self.kind, self.name, &why));
        }
        Ok(())
    }

    /// The object with what this door may not change taken from before: status writes touch the status alone,
    /// the others everything but the status, and nobody touches the server's own metadata.
    fn walled(&self, before: &Value, object: Value) -> Result<Value, Refusal> {
        self.precondition(before, &object)?;
        let mut after = if self.writer.subresource == "status" {
            let mut after = before.clone();
            set_or_remove(&mut after, "status", object.get("status"));
            after
        } else {
            let mut after = object;
            if self.kind.status {
                set_or_remove(&mut after, "status", before.get("status"));
            }
            after
        };
        let metadata = metadata_mut(&mut after);
        let own = [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
        ];
        for field in own {
            match before["metadata"].get(field) {
                Some(value) => metadata.insert(field.into(), value.clone()),
                None => metadata.remove(field),
            };
        }
        let changed = self.kind.generation && body(before) != body(&after);
        if changed {
            let generation = before["metadata"]["generation"]
                .as_i64()
                .unwrap_or(0)
                .saturating_add(1);
            metadata_mut(&mut after).insert("generation".into(), generation.into());
        }
        Ok(after)
    }

    /// Stores what changed; a write of nothing keeps the version, and the last finalizer takes the object with it.
    fn finish(
        &self,
        store: &mut Store,
        was: (&Arc<Value>, &Arc<Value>),
        after: Value,
    ) -> Arc<Value> {
        let (stored, before) = was;
        if *stored == *before && **before == after || same_but_times(before, &after) {
            return Arc::clone(stored);
        }
        let key = self.key(self.name);
        if !text(&after, "deletionTimestamp").is_empty() && !has_finalizers(&after) && !self.dry_run
        {
            store.put(key.clone(), to_storage(self.kind, after));
            return store.remove(&key).unwrap_or_else(|| Arc::clone(stored));
        }
        self.store(store, key, after)
    }

    fn store(&self, store: &mut Store, key: Key, object: Value) -> Arc<Value> {
        let object = to_storage(self.kind, object);
        if self.dry_run {
            Arc::new(object)
        } else {
            store.put(key, object)
        }
    }
}
