//! From an HTTP request to an answer: address, faults, caller, rights, verb; everything is logged.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use axum::{body::Body, extract::Query};
use http::{HeaderMap, Method, Response, StatusCode, header, request::Parts};
use serde_json::Value;

use crate::{
    auth,
    convert::to_served,
    discovery,
    faults::Action,
    kinds::Kind,
    list::{self, ListRequest},
    patch::apply::Writer,
    requests::Request,
    select::Selector,
    server::Shared,
    status::Refusal,
    store::Key,
    watch::{self, WatchRequest, partial},
    write::{PatchKind, Write},
};

/// The largest body that is read, as on a real server.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// A client must have sent its body by then.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// How long a watch lasts that names no time limit.
const DEFAULT_WATCH: Duration = Duration::from_mins(30);
/// The longest time limit that is honoured.
const MAX_WATCH: Duration = Duration::from_hours(24);

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("a fault drops this connection")]
pub(crate) struct Dropped;

/// A request with its address taken apart.
struct Call {
    request: Request,
    query: Vec<(String, String)>,
    parts: Parts,
    kind: Option<Arc<Kind>>,
}

impl Call {
    fn read(shared: &Shared, parts: Parts) -> Self {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map(|q| q.0)
            .unwrap_or_default();
        let mut call = Self {
            request: Request::default(),
            query,
            kind: None,
            parts,
        };
        let text = |name| {
            call.parts
                .headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
        };
        let agent = text(header::USER_AGENT)
            .split(['/', ' '])
            .next()
            .unwrap_or_default()
            .to_owned();
        let content_type = text(header::CONTENT_TYPE)
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        call.request = Request {
            path: call.parts.uri.path().to_owned(),
            agent,
            content_type,
            ..Request::default()
        };
        call.address(shared);
        call
    }

    /// Fills in what the path says; leaves the resource empty for a path outside the resource API.
    fn address(&mut self, shared: &Shared) {
        let path = self.request.path.clone();
        let steps: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        let (group, version, rest) = match steps.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..]
                if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) =>
            {
                (*namespace, rest)
            }
            // RBAC sees a single namespace as an object in itself.
            ["namespaces", name, ..] => (*name, rest),
            rest => ("", rest),
        };
        let [plural, rest @ ..] = rest else { return };
        let (name, subresource) = match rest {
            [] => ("", ""),
            [name] => (*name, ""),
            [name, subresource] => (*name, *subresource),
            _ => return,
        };
        self.kind = shared.kinds().at(group, version, plural);
        let scoped = self.kind.as_ref().is_none_or(|k| k.namespaced) || *plural == "namespaces";
        if !namespace.is_empty() && !scoped {
            self.kind = None;
        }
        let own = str::to_owned;
        self.request.group = own(group);
        self.request.version = own(version);
        self.request.resource = own(plural);
        self.request.subresource = own(subresource);
        self.request.namespace = own(namespace);
        self.request.name = own(name);
        self.request.verb = own(self.verb());
        if self.request.name.is_empty()
            && matches!(
                self.request.verb.as_str(),
                "list" | "watch" | "deletecollection"
            )
        {
            let selected = self
                .kind
                .as_ref()
                .and_then(|kind| Selector::parse(kind, "", self.ask("fieldSelector")).ok());
            self.request.name = selected.and_then(|s| s.name().map(own)).unwrap_or_default();
        }
    }

    fn verb(&self) -> &'static str {
        let collection = self.request.name.is_empty();
        match (&self.parts.method, collection) {
            (&Method::GET | &Method::HEAD, true) if self.flag("watch") == Some(true) => "watch",
            (&Method::GET | &Method::HEAD, true) => "list",
            (&Method::GET | &Method::HEAD, false) => "get",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, true) => "deletecollection",
            (&Method::DELETE, false) => "delete",
            _ => "",
        }
    }

    fn ask(&self, name: &str) -> &str {
        self.query
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
            .unwrap_or_default()
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.ask(name) {
            "" if self.query.iter().all(|(n, _)| n != name) => None,
            value => Some(!matches!(
                value,
                "false" | "0" | "f" | "F" | "FALSE" | "False"
            )),
        }
    }

    fn partial(&self) -> bool {
        let accept = self
            .parts
            .headers
            .get(header::ACCEPT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        accept.contains("as=PartialObjectMetadata")
    }
}

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
        Some(Action::Delay(_)) | None => Ok(serve(&shared, &mut call, body).await),
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
    call: &mut Call,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    let header = call.parts.headers.get(header::AUTHORIZATION);
    let header = header
        .map(|value| value.to_str().map_err(|_| Refusal::unauthorized()))
        .transpose()?;
    let identity = shared.auth().caller(header)?;
    call.request.user.clone_from(&identity.user);
    if call.request.resource.is_empty() {
        let found = discovery::document(&shared.kinds(), &call.request.path);
        return found
            .map(|d| json_response(StatusCode::OK, &d))
            .ok_or_else(Refusal::no_such_resource);
    }
    auth::authorize(&identity, &call.request)?;
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
            let marked = !crate::write::text(&object, "deletionTimestamp").is_empty()
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

fn list_request(call: &Call, kind: &Arc<Kind>) -> Result<ListRequest, Refusal> {
    let limit = match call.ask("limit") {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| Refusal::bad_request(format!("invalid limit {text:?}")))?,
    };
    Ok(ListRequest {
        kind: Arc::clone(kind),
        namespace: (!call.request.namespace.is_empty()).then(|| call.request.namespace.clone()),
        selector: Selector::parse(kind, call.ask("labelSelector"), call.ask("fieldSelector"))?,
        limit,
        continue_token: call.ask("continue").to_owned(),
        resource_version: call.ask("resourceVersion").to_owned(),
        version_match: call.ask("resourceVersionMatch").to_owned(),
        partial: call.partial(),
    })
}

fn watch_request(call: &Call, kind: &Arc<Kind>) -> Result<WatchRequest, Refusal> {
    let timeout = match call.ask("timeoutSeconds") {
        "" | "0" => DEFAULT_WATCH,
        text => {
            let seconds = text
                .parse()
                .map_err(|_| Refusal::bad_request(format!("invalid timeoutSeconds {text:?}")))?;
            Duration::from_secs(seconds).min(MAX_WATCH)
        }
    };
    let initial_events = call.flag("sendInitialEvents");
    let version_match = call.ask("resourceVersionMatch");
    if initial_events.is_some() && version_match != "NotOlderThan" {
        let why =
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(Refusal::invalid(kind, "", "resourceVersionMatch", why));
    }
    if initial_events.is_none() && !version_match.is_empty() {
        let why = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        return Err(Refusal::invalid(kind, "", "resourceVersionMatch", why));
    }
    Ok(WatchRequest {
        kind: Arc::clone(kind),
        namespace: (!call.request.namespace.is_empty()).then(|| call.request.namespace.clone()),
        selector: Selector::parse(kind, call.ask("labelSelector"), call.ask("fieldSelector"))?,
        resource_version: call.ask("resourceVersion").to_owned(),
        bookmarks: call.flag("allowWatchBookmarks") == Some(true),
        initial_events,
        timeout,
        partial: call.partial(),
    })
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

fn refusal_by_fault(code: u16, request: &Request) -> Refusal {
    match code {
        401 => Refusal::unauthorized(),
        403 => auth::forbidden(
            if request.user.is_empty() {
                "fault"
            } else {
                &request.user
            },
            request,
        ),
        404 => Refusal::no_such_resource(),
        410 => Refusal::expired(0, 0),
        429 => Refusal::new(
            429,
            "TooManyRequests",
            "too many requests, please try again later",
        ),
        503 => Refusal::new(503, "ServiceUnavailable", "apiserver not ready"),
        504 => Refusal::new(504, "Timeout", "the request did not complete in time"),
        code if (400..600).contains(&code) => Refusal::new(
            code,
            "InternalError",
            "an error on the server was switched on",
        ),
        _ => Refusal::new(
            500,
            "InternalError",
            "an error on the server was switched on",
        ),
    }
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let code = StatusCode::from_u16(refusal.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(code, &refusal.to_status());
    if refusal.code == 429 {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

fn json_response(code: StatusCode, value: &Value) -> Response<Body> {
    plain(code, "application/json", value.to_string().into_bytes())
}

fn plain(code: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    response
}
