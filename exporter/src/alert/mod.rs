//! Findings as alerts: what to tell ([`plan`]), how it reads on the wire, who delivers it.

pub(crate) mod heartbeat;
#[cfg(test)]
mod model;
mod plan;
#[cfg(test)]
mod plan_tests;
mod push;
#[cfg(test)]
mod replica_tests;
#[cfg(test)]
mod spoken_tests;
mod wire;

pub use self::heartbeat::{ALERTNAME as HEARTBEAT, Heartbeat, Peer};
pub use self::plan::{GRACE, Planned, RESOLVED_FOR, SETTLE, Sent, Settings, plan};
pub use self::push::{HashJitter, Jitter, Push, Standing};
pub use self::wire::{Alert, Labels};
