//! From an HTTP request to an answer: address, faults, caller, rights, verb; everything is logged.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use axum::body::Body;
use http::{HeaderMap, Response, StatusCode, header};
use serde_json::Value;

use crate::{
    auth::{self, Identity},
    call::{Call, list_request, watch_request},
    convert::to_served,
    discovery,
    faults::Action,
    kinds::Kind,
    list,
    patch::apply::Writer,
    respond::{json_response, plain, refusal_by_fault, refused},
    server::Shared,
    status::Refusal,
    store::Key,
    watch::{self, partial},
    write::{PatchKind, Write},
};

/// The largest body that is read, as on a real server.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// A client must have sent its body by then.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("a fault drops this connection")]
pub(crate) struct Dropped;

/// Answers one request. `Err` closes the connection.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    request: http::Request<Body>,
) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let mut call = Call::read(&shared, parts);
    if matches!(
        call.request.path.as_str(),
        "/healthz" | "/readyz" | "/livez"
    ) {
        return Ok(plain(StatusCode::OK, "text/plain", "ok".into()));
    }
    if call.request.path == "/version" {
        let document = discovery::document(&shared.kinds(), "/version").unwrap_or_default();
        return Ok(json_response(StatusCode::OK, &document));
    }
    let header = call.parts.headers.get(header::AUTHORIZATION);
    let caller = header
        .map(|value| value.to_str().map_err(|_| Refusal::unauthorized()))
        .transpose()
        .and_then(|header| shared.auth().caller(header));
    if let Ok(identity) = &caller {
        call.request.user.clone_from(&identity.user);
    }
    let verdict = shared
        .switches
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .meet(&call.request);
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    let answered = match verdict.instead {
        Some(Action::Drop) => Err(Dropped),
        Some(Action::Garbage(bytes)) => Ok(Ok(plain(StatusCode::OK, "application/json", bytes))),
        Some(Action::Refuse(code)) => Ok(Err(refusal_by_fault(code, &call.request))),
        Some(Action::Delay(_)) | None => Ok(match caller {
            Ok(identity) => serve(&shared, &call, &identity, body).await,
            Err(refusal) => Err(refusal),
        }),
    };
    let response = answered.map(|outcome| outcome.unwrap_or_else(|refusal| refused(&refusal)));
    call.request.code = response.as_ref().map_or(0, |r| r.status().as_u16());
    tracing::debug!(request = ?call.request, "answered");
    shared
        .log
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(call.request);
    response
}

async fn serve(
    shared: &Arc<Shared>,
    call: &Call,
    identity: &Identity,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    if call.request.resource.is_empty() {
        let found = discovery::document(&shared.kinds(), &call.request.path);
        return found
            .map(|d| json_response(StatusCode::OK, &d))
            .ok_or_else(Refusal::no_such_resource);
    }
    auth::authorize(identity, &call.request)?;
    let kind = call.kind.clone().ok_or_else(Refusal::no_such_resource)?;
    let sub_known = match call.request.subresource.as_str() {
        "" => true,
        "status" => kind.status,
        _ => false,
    };
    if !sub_known {
        return Err(Refusal::no_such_resource());
    }
    let partial_wanted = call.partial();
    let show = |object: &Arc<Value>, code: StatusCode| {
        let object = to_served(&kind, object);
        let object = if partial_wanted {
            partial(&object)
        } else {
            (*object).clone()
        };
        json_response(code, &object)
    };
    match call.request.verb.as_str() {
        "list" if !kind.virtual_only => list::list(shared, &list_request(call, &kind)?)
            .map(|l| json_response(StatusCode::OK, &l)),
        "watch" if !kind.virtual_only => {
            let lines = watch::open(shared, watch_request(call, &kind)?)?;
            let mut response = Response::new(Body::from_stream(lines));
            let json = header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            Ok(response)
        }
        "get" if !kind.virtual_only => {
            let key = Key {
                resource: kind.storage(),
                namespace: if kind.namespaced {
                    call.request.namespace.clone()
                } else {
                    String::new()
                },
                name: call.request.name.clone(),
            };
            let found = shared.store().get(&key);
            found
                .map(|o| show(&o, StatusCode::OK))
                .ok_or_else(|| Refusal::not_found(&kind, &call.request.name))
        }
        "create" if kind.virtual_only => {
            let review = decode(&read_body(body).await?, &call.parts.headers)?;
            shared
                .auth()
                .review(review)
                .map(|r| json_response(StatusCode::CREATED, &r))
        }
        "create" | "update" | "patch" | "delete" if !kind.virtual_only => {
            let body = read_body(body).await?;
            let (code, object) = write(shared, call, &kind, &body)?;
            match object {
                Written::Object(object) => Ok(show(&object, code)),
                Written::Gone(status) => Ok(json_response(code, &status)),
            }
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

enum Written {
    Object(Arc<Value>),
    Gone(Value),
}

fn write(
    shared: &Shared,
    call: &Call,
    kind: &Kind,
    body: &[u8],
) -> Result<(StatusCode, Written), Refusal> {
    let time = shared.time();
    let api_version = kind.api_version();
    let manager = match call.ask("fieldManager") {
        "" => call.request.agent.as_str(),
        named => named,
    };
    let namespace = if kind.namespaced {
        call.request.namespace.as_str()
    } else {
        ""
    };
    let write = Write {
        kind,
        namespace,
        name: &call.request.name,
        writer: Writer {
            manager: if manager.is_empty() {
                "unknown"
            } else {
                manager
            },
            subresource: &call.request.subresource,
            api_version: &api_version,
            time: &time,
            force: call.flag("force") == Some(true),
        },
        dry_run: !call.ask("dryRun").is_empty(),
    };
    let headers = &call.parts.headers;
    let named = !call.request.name.is_empty();
    let mut store = shared.store();
    let outcome = match call.request.verb.as_str() {
        "create" if !named && (namespace.is_empty() != kind.namespaced) => (
            StatusCode::CREATED,
            write.create(&mut store, decode(body, headers)?)?,
        ),
        "update" if named => (
            StatusCode::OK,
            write.update(&mut store, decode(body, headers)?)?,
        ),
        "patch" if named => {
            let language = language(&call.request.content_type, kind)?;
            if language == PatchKind::Apply && call.ask("fieldManager").is_empty() {
                let why = "fieldManager: Required value: is required for apply patch";
                return Err(Refusal::new(
                    422,
                    "Invalid",
                    format!("PatchOptions.meta.k8s.io \"\" is invalid: {why}"),
                ));
            }
            let before = store.version();
            let existed = store.get(&Key {
                resource: kind.storage(),
                namespace: namespace.into(),
                name: call.request.name.clone(),
            });
            let object = write.patch(&mut store, &decode(body, headers)?, language)?;
            let created = existed.is_none() && store.version() > before;
            (
                if created {
                    StatusCode::CREATED
                } else {
                    StatusCode::OK
                },
                object,
            )
        }
        "delete" if named && call.request.subresource.is_empty() => {
            let options = if body.is_empty() {
                Value::Null
            } else {
                decode(body, headers)?
            };
            let object = write.delete(&mut store, &options)?;
            drop(store);
            shared.announce();
            let marked = !crate::rules::text(&object, "deletionTimestamp").is_empty()
                && object["metadata"]["finalizers"]
                    .as_array()
                    .is_some_and(|f| !f.is_empty());
            let written = if marked {
                Written::Object(object)
            } else {
                Written::Gone(deleted(kind, &object))
            };
            return Ok((StatusCode::OK, written));
        }
        _ => return Err(Refusal::method_not_allowed()),
    };
    drop(store);
    shared.announce();
    Ok((outcome.0, Written::Object(outcome.1)))
}

fn deleted(kind: &Kind, object: &Value) -> Value {
    let mut details = serde_json::json!({
        "name": object["metadata"]["name"], "kind": kind.plural, "uid": object["metadata"]["uid"]
    });
    if !kind.group.is_empty() {
        details["group"] = kind.group.as_str().into();
    }
    serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn language(content_type: &str, kind: &Kind) -> Result<PatchKind, Refusal> {
    match content_type {
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" if !kind.custom => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply),
        _ if kind.custom => Err(Refusal::unsupported_media(&[
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ])),
        _ => Err(Refusal::unsupported_media(&[
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ])),
    }
}

async fn read_body(body: Body) -> Result<Vec<u8>, Refusal> {
    let read =
        tokio::time::timeout(BODY_DEADLINE, axum::body::to_bytes(body, MAX_BODY_BYTES)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(_)) => Err(Refusal::too_large(MAX_BODY_BYTES)),
        Err(_) => Err(Refusal::new(
            408,
            "Timeout",
            "the body did not arrive in time",
        )),
    }
}

/// JSON, or YAML where the content type says so.
fn decode(body: &[u8], headers: &HeaderMap) -> Result<Value, Refusal> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    match serde_json::from_slice(body) {
        Ok(value) => Ok(value),
        Err(_) if content_type.contains("yaml") => serde_saphyr::from_slice(body)
            .map_err(|e| Refusal::bad_request(format!("error decoding YAML: {e}"))),
        Err(e) => Err(Refusal::bad_request(format!(
            "the object provided is unrecognized: {e}"
        ))),
    }
}
