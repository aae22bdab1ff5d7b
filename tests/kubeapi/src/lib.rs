//! A small fake Kubernetes API server that speaks the real wire format, for tests with real clients.
//!
//! ```no_run
//! use pnwatch_kubeapi::{ADMIN_TOKEN, FakeApi, objects};
//!
//! let api = FakeApi::start();
//! api.apply(objects::linux_node("prod-kura-fleet-1", "172.16.0.2")).unwrap();
//! let kubeconfig = api.kubeconfig(ADMIN_TOKEN);
//! // … run a client …
//! api.faults().expire_watches();
//! assert!(api.requests().iter().any(|r| r.verb == "watch" && r.resource == "nodes"));
//! ```
//!
//! **What is real:** one global resource version; list (selectors, pages of one version), watch (initial events,
//! bookmarks, 410, time limit), get, create, update, delete; JSON merge, strategic merge and server-side apply with
//! field owners; the wall between spec and status; generation; finalizers; bearer tokens, RBAC and `TokenReview`; both
//! Event APIs over one store; refusals as real `Status` objects; pruning by a stored CRD.
//!
//! **What is not:** no validation against schemas (a wrong type in a known field is stored), no defaulting, no controllers, no kubelet (a deleted Pod goes at once), no TLS, no protobuf, no JSON Patch, no
//! `deletecollection`.

mod auth;
mod call;
mod convert;
mod discovery;
mod faults;
mod handle;
mod kinds;
mod list;
mod load;
pub mod objects;
mod patch;
mod prune;
mod requests;
mod respond;
mod routes;
mod rules;
mod select;
mod server;
mod status;
mod store;
mod watch;
mod write;

pub use auth::{API_AUDIENCE, Comparison, Identity, Rule, compare};
pub use faults::{Action, Fault, FaultId, Faults};
pub use handle::FakeApi;
pub use kinds::Kind;
pub use load::{LoadError, documents};
pub use requests::Request;
pub use server::Options;
pub use status::Refusal;

/// The token that may do everything, known to every server from its start.
pub const ADMIN_TOKEN: &str = "admin";
