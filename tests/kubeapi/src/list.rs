//! Lists: selectors, pages that agree with one another, and the resource version that a watch goes on from.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use crate::{
    convert::to_served,
    kinds::Kind,
    select::Selector,
    server::Shared,
    status::Refusal,
    store::{Key, OutOfReach},
    watch::partial,
};

/// What a client asked to list.
#[derive(Debug, Clone)]
pub(crate) struct ListRequest {
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: Option<String>,
    pub(crate) selector: Selector,
    /// 0: everything.
    pub(crate) limit: usize,
    /// Token of the page before, or empty.
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    /// `Exact`, `NotOlderThan` or empty.
    pub(crate) version_match: String,
    pub(crate) partial: bool,
}

/// The page, as a `List` object.
pub(crate) fn list(shared: &Shared, request: &ListRequest) -> Result<Value, Refusal> {
    let (version, after) = place(shared, request)?;
    let storage = request.kind.storage();
    let namespace = request.namespace.as_deref();
    let found: Vec<(Key, Arc<Value>)> = {
        let store = shared.store();
        let out_of_reach = |error| match error {
            OutOfReach::TooOld { .. } if after.is_some() => Refusal::continue_expired(),
            OutOfReach::TooOld { asked, oldest } => Refusal::expired(asked, oldest),
            OutOfReach::Future { asked, current } => Refusal::from_the_future(asked, current),
        };
        if version == store.version() {
            store
                .all(&storage, namespace)
                .map(|(k, v)| (k.clone(), Arc::clone(v)))
                .collect()
        } else {
            store
                .all_at(&storage, namespace, version)
                .map_err(out_of_reach)?
                .into_iter()
                .collect()
        }
    };
    let mut matching = found
        .into_iter()
        .filter(|(key, _)| {
            after
                .as_ref()
                .is_none_or(|(ns, name)| (&key.namespace, &key.name) > (ns, name))
        })
        .map(|(key, object)| (key, to_served(&request.kind, &object)))
        .filter(|(_, object)| request.selector.matches(object));
    let limit = if request.limit == 0 {
        usize::MAX
    } else {
        request.limit
    };
    let page: Vec<(Key, Arc<Value>)> = matching.by_ref().take(limit).collect();
    let rest = matching.count();

    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let (Some((last, _)), true) = (page.last(), rest > 0) {
        metadata["continue"] = json!([version, last.namespace, last.name])
            .to_string()
            .into();
        if request.selector.is_empty() {
            metadata["remainingItemCount"] = rest.into();
        }
    }
    let mut items: Vec<Value> = page
        .into_iter()
        .map(|(_, object)| shown(request, &object))
        .collect();
    if after.is_none() {
        let switches = shared
            .switches
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        items.extend(switches.malformed(&storage).iter().cloned());
    }
    let (kind, api_version) = if request.partial {
        (
            "PartialObjectMetadata".to_owned(),
            "meta.k8s.io/v1".to_owned(),
        )
    } else {
        (request.kind.kind.clone(), request.kind.api_version())
    };
    Ok(
        json!({"kind": format!("{kind}List"), "apiVersion": api_version, "metadata": metadata, "items": items}),
    )
}

/// The version that the list shows, and the address after which a later page begins.
fn place(
    shared: &Shared,
    request: &ListRequest,
) -> Result<(u64, Option<(String, String)>), Refusal> {
    if !request.continue_token.is_empty() {
        let (version, namespace, name): (u64, String, String) =
            serde_json::from_str(&request.continue_token)
                .map_err(|_| Refusal::bad_request("continue key is not valid"))?;
        return Ok((version, Some((namespace, name))));
    }
    let current = shared.store().version();
    let asked: u64 = match request.resource_version.as_str() {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| Refusal::bad_request(format!("Invalid resource version: {text:?}")))?,
    };
    match request.version_match.as_str() {
        "Exact" if asked > 0 => Ok((asked, None)),
        "" | "NotOlderThan" if asked > current => Err(Refusal::from_the_future(asked, current)),
        "" | "NotOlderThan" => Ok((current, None)),
        _ => {
            let why = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
            Err(Refusal::invalid(
                &request.kind,
                "",
                "resourceVersionMatch",
                why,
            ))
        }
    }
}

/// One item: real lists of built-in kinds leave `kind` and `apiVersion` of the items out, those of a CRD do not.
fn shown(request: &ListRequest, object: &Value) -> Value {
    if request.partial {
        return partial(object);
    }
    let mut object = object.clone();
    if !request.kind.custom {
        let map = crate::store::map_of(&mut object);
        map.remove("kind");
        map.remove("apiVersion");
    }
    object
}
