//! Rules, routes, runbooks and boards: everything that must have a partner has one, and real promtool,
//! amtool and Alertmanager agree. A tool that is missing is a failure, never a skip.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test: a fault ends it

mod alertmanager;
mod boards;
mod files;
mod grafana;
mod labels;
mod lint;
mod partners;
mod promtool;
mod routes;
mod versions;
