//! The pure heart of pnwatch: what is known, what it means, and what to say of it.
//!
//! Nothing here reads a clock, the environment, a file or a socket: time comes in as
//! [`time::Tick`] and [`time::Timestamp`], evidence as [`wire::Report`]. Reading never mutates.
//! A machine bans the impure by name (`core/clippy.toml`) and by dependency (an allow-list
//! over the crate's dependency tree in the root package's tests).

pub mod assign;
pub mod bandwidth;
pub mod board;
pub mod burn;
pub mod burst;
pub mod correlate;
pub mod diagnosis;
pub mod digest;
pub mod engine;
pub mod failure;
pub mod fault;
pub mod filter;
pub mod finding;
pub mod findings;
pub mod gate;
pub mod inventory;
pub mod kube;
pub mod link;
pub mod metric;
pub mod name;
pub mod outcome;
pub mod path;
pub mod plan;
pub mod reply;
pub mod rules;
pub mod schedule;
pub mod slo;
pub mod subject;
pub mod targets;
pub mod time;
pub mod traffic;
pub mod view;
pub mod wire;
pub mod witness;
