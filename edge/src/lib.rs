//! What both daemons have at their edges: configuration, logging, clocks, listeners, TLS, the
//! HTTP client, secrets and the request to stop.
//!
//! Nothing here decides anything about the network that pnwatch watches; that is core's. Each
//! module says what it owns and what of it runs concurrently.

pub mod clock;
pub mod config;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod http;
pub mod listen;
pub mod log;
pub mod secret;
pub mod shutdown;
pub mod tls;
