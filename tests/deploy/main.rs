//! What operators take from deploy/: the chart and what it renders, the image's build file, the
//! Mac's installer. Helm is not needed: the chart keeps to a subset of its language that is
//! rendered here (`template.rs`); the public workflow compares with real Helm.
//!
//! `PNWATCH_WRITE=1 cargo test --test deploy` writes deploy/manifests anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test: a fault ends it

mod chart;
mod command;
mod functions;
mod image;
mod mac;
mod manifests;
mod pods;
mod schema;
mod subset;
mod template;
mod values;
mod workflows;
