//! The gate and the check before a build as pipelines and jobs meet them: the real command
//! against a real exporter and real stand-ins, on loopback.

#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, clippy::panic)] // a test: a fault ends it

mod command;
mod examples;
mod exporter;
mod once;
mod run;
#[path = "../serving/mod.rs"]
mod serving;
mod status;
