//! Kubernetes at the exporter's edge: watches in, a reading out; who a token is; a condition.
//!
//! One task per kind lists and watches; one task owns the index ([`watch()`]) and publishes. All
//! end with the future that started them; dropping it loses nothing but freshness. Objects are
//! read totally: one that is malformed is skipped and named, never fatal to its neighbours.
//! The judging is in `pnwatch_core::kube` and knows no server.

mod condition;
mod connect;
mod gateways;
pub(crate) mod identity;
mod lease;
mod live;
mod loose;
pub(crate) mod reduce;
mod watch;

use std::sync::Arc;

use pnwatch_core::kube::Reading;

pub use self::condition::Writer;
pub use self::connect::{ConnectError, connect};
pub use self::identity::{IdentityError, Reviewer};
pub use self::live::{FIRST, Live, pod_targets};
pub use self::watch::{follow, watch};

/// What the objects add up to, at one instant.
pub type InventorySnapshot = Arc<Reading>;
