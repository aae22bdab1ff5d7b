//! What a request asks for: its address taken apart, its query read.

use std::{sync::Arc, time::Duration};

use axum::extract::Query;
use http::{Method, header, request::Parts};

use crate::{
    kinds::Kind, list::ListRequest, requests::Request, select::Selector, server::Shared,
    status::Refusal, watch::WatchRequest,
};

/// The longest time limit that is honoured.
const MAX_WATCH: Duration = Duration::from_hours(24);
/// How long a watch lasts that names no time limit.
const DEFAULT_WATCH: Duration = Duration::from_mins(30);

/// A request with its address taken apart.
pub(crate) struct Call {
    pub(crate) request: Request,
    query: Vec<(String, String)>,
    pub(crate) parts: Parts,
    pub(crate) kind: Option<Arc<Kind>>,
}

impl Call {
    pub(crate) fn read(shared: &Shared, parts: Parts) -> Self {
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
    pub(crate) fn address(&mut self, shared: &Shared) {
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

    pub(crate) fn verb(&self) -> &'static str {
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

    pub(crate) fn ask(&self, name: &str) -> &str {
        self.query
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
            .unwrap_or_default()
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.ask(name) {
            "" if self.query.iter().all(|(n, _)| n != name) => None,
            value => Some(!matches!(
                value,
                "false" | "0" | "f" | "F" | "FALSE" | "False"
            )),
        }
    }

    pub(crate) fn partial(&self) -> bool {
        let accept = self
            .parts
            .headers
            .get(header::ACCEPT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        accept.contains("as=PartialObjectMetadata")
    }
}

pub(crate) fn list_request(call: &Call, kind: &Arc<Kind>) -> Result<ListRequest, Refusal> {
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

pub(crate) fn watch_request(call: &Call, kind: &Arc<Kind>) -> Result<WatchRequest, Refusal> {
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
