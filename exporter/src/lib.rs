//! The pnwatch brain: takes reports, judges by `pnwatch_core`, and tells everybody who asked.
//!
//! ```text
//! inventory file ─► owner task (Engine) ─► Basis ─► plans ─► ingest listener ─► probers
//!        probers ─► ingest ─► owner ─► Snapshot ─► metrics listener, page listener
//!                                 └─► Transitions ─► server-sent events, Alertmanager
//! ```
//! One task owns the engine ([`owner`]); everything else sends it commands and reads what it
//! publishes. [`run`] starts all tasks and ends with them.

pub mod alert;
pub mod answer;
pub mod bandwidth;
pub mod checks;
pub mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod gate;
pub mod health;
pub mod ingest;
pub mod inventory;
pub mod kube;
pub mod ledger;
pub mod metrics;
pub mod owner;
pub mod page;
pub mod reload;
pub mod serve;
pub mod tally;
pub mod traffic;
pub mod wishes;

pub use error::ServeError;
pub use reload::Reread;
pub use serve::{Exporter, run};
