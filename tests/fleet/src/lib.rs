//! A fleet on one virtual clock: what is injected are faults of the *network*, never verdicts.
//!
//! Probers are the real schedule and the real bursts of `pnwatch-core` at the pace of the real
//! plan; what they see goes through the real wire into one or two real engines. Everything is
//! a function of the seed.
//!
//! - [`world`]: what is true, and what a packet finds there.
//! - [`fed`]: Kubernetes objects and the pods' counters, before the judges that read them.
//! - [`prober`]: one vantage's prober.
//! - [`sim`]: the clock, the queue, the reports on their way, the engines.
//! - [`scenario`]: timelines as data, with expectations at instants.
//! - [`timeline`], [`oracle`]: random timelines and what must come of them.
//! - [`rows`]: every row of the fault table with its scenario; [`explanations`]: why each is named.
//! - [`mutation`]: every rule taken away in turn.
//! - [`page`] writes docs/faults.md.

// The whole crate is a test: what cannot be must end it, loudly.
#![allow(clippy::panic)]

pub mod explanations;
pub mod fault;
pub mod fed;
pub mod mutation;
pub mod oracle;
pub mod page;
pub mod prober;
pub mod rng;
pub mod rows;
pub mod scenario;
pub mod sim;
pub mod timeline;
pub mod world;
