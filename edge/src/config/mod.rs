//! The configuration: one YAML file for every daemon.
//!
//! Tolerant at run time ([`load`]: an unknown key is a warning, so that a file may be ahead of
//! the binary), strict in `pnwatch check` ([`check`]: every problem, one line each, with key
//! path, line and what to write instead). Nothing here runs concurrently or keeps state.
//!
//! # Adding a section
//! 1. Write its struct in a file of its own beside `probe.rs`, with `FromSection`: one line per
//!    key, `required`, `optional` or `or` (default). A key that is asked for is a known key.
//! 2. Ask for it in its parent (`section.optional("gate")`).
//! 3. Add every key, with its comment and default, to `default.yaml`. A test fails until all
//!    known keys are in it.
//! 4. Add a bad example per rule to `edge/tests/config/bad/NAME.yaml` with the expected lines
//!    in `NAME.expected`.
//!
//! A file that a key names is checked for being readable in `files.rs`.

mod bandwidth;
mod environment;
mod files;
pub(crate) mod inventory;
mod kubernetes;
mod load;
mod probe;
mod problem;
mod relay;
mod section;
mod serve;
mod slo;
mod suggest;
mod top;
mod traffic;
mod tree;
mod value;

pub use self::bandwidth::Bandwidth;
pub use self::inventory::read_inventory;
pub use self::kubernetes::{GatewayLook, Kubernetes};
pub use self::load::{ConfigError, Loaded, Warning, check, load, parse};
pub use self::probe::{ExporterEndpoint, Probe};
pub use self::problem::{Problem, Severity};
pub use self::relay::{Relay, Vm};
pub use self::serve::{
    Alertmanager, Gate, InventorySource, Listen, ListenTls, Listener, Reader, Serve, TokenBinding,
};
pub use self::slo::Slo;
pub use self::top::{Config, Log, LogFormat, LogLevel};
pub use self::traffic::{DemandQuery, PrometheusSource, Traffic, TrafficSource};
pub use self::value::BaseUrl;

/// A complete commented configuration. A `#` in the first column directly before a key or its
/// indentation switches a setting off; words for people begin with `# `.
pub const DEFAULT: &str = include_str!("default.yaml");

#[cfg(test)]
mod tests;
