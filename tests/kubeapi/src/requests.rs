//! The log of every request, so that a test can hold used against granted rights.

use std::collections::VecDeque;

/// The longest log that is kept; the oldest requests go first.
const MAX_REQUESTS: usize = 100_000;

/// One request as RBAC sees it, with what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group, empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural, empty for paths outside the resource API.
    pub resource: String,
    /// `status`, or empty.
    pub subresource: String,
    /// Namespace of the request, empty at cluster scope.
    pub namespace: String,
    /// Object, or the name that a field selector allows; else empty.
    pub name: String,
    /// Path as sent, without the query.
    pub path: String,
    /// User of the token; empty if the token was refused.
    pub user: String,
    /// First part of the User-Agent.
    pub agent: String,
    /// Content type of the body (tells the patch languages apart).
    pub content_type: String,
    /// Status code answered, 0 if the connection was dropped instead.
    pub code: u16,
}

impl Request {
    /// `nodes` or `nodes/status`.
    pub fn qualified(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct RequestLog(VecDeque<Request>);

impl RequestLog {
    pub(crate) fn push(&mut self, request: Request) {
        if self.0.len() >= MAX_REQUESTS {
            self.0.pop_front();
        }
        self.0.push_back(request);
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        self.0.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
