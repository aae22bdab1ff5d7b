//! The exporter's Kubernetes edge against the fake API server, with a real client.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod common;
mod condition;
mod exporter;
mod identity;
mod rights;
mod scenario;
mod watching;
