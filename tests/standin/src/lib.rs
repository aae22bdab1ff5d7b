//! A stand-in for the cache pod, with faults that can be switched while it runs.
//!
//! [`Standin::start`] opens an HTTP/1.1 listener that answers as the cache's public port does:
//! `/up` (JSON that names the tenant), `/ready` (200 or 503), `/metrics` (Prometheus text in the
//! cache's own shape) and the cache routes under `/api/cache/`. Every route is counted.
//! A [`Fault`] changes how it behaves from the next accepted connection on, either through
//! [`Standin::set_fault`] or through the control listener (`POST /fault`, see [`control`]).
//!
//! What runs concurrently: one task accepts and serves the public port, one more serves the
//! control port if there is one. Both end when the [`Standin`] is dropped. `set_fault` is
//! cancel-safe: the fault is ordered before the first await and only the confirmation is awaited.

pub mod command_line;
pub mod control;
mod fault;
mod listener;
mod metrics;
mod routes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::task::JoinHandle;

pub use fault::{Fault, UnknownFault};
pub use metrics::RouteCount;

use fault::FaultSwitch;
use listener::FaultyListener;
use metrics::Counters;

/// What a stand-in is and where it listens.
#[derive(Debug, Clone)]
pub struct StandinConfig {
    /// The tenant that `/up` and `kura_node_info` name.
    pub tenant: String,
    /// The region that `/up` and `kura_node_info` name, e.g. `scw-fr-par-runners`.
    pub region: String,
    /// The public address. Port 0 takes any free port; see [`Standin::address`].
    pub listen: SocketAddr,
    /// The control address, if faults are to be switched by HTTP.
    pub control: Option<SocketAddr>,
    /// The least size in bytes of the `/metrics` body; filled up with a padding family. With 0
    /// the body is as large as its counters make it. 30,000 makes a read of many segments.
    pub metrics_bytes: usize,
}

impl StandinConfig {
    /// A stand-in of `tenant` on any free loopback port, without a control listener.
    pub fn loopback(tenant: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            region: "scw-fr-par-runners".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            control: None,
            metrics_bytes: 0,
        }
    }
}

/// Why a stand-in did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The public or the control address could not be bound.
    #[error("the stand-in cannot listen on {address}; choose a free address of this machine")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

/// State that the listeners, the routes and the handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: StandinConfig,
    pub(crate) faults: FaultSwitch,
    pub(crate) counters: Counters,
    /// How large what a cache read answers with is.
    pub(crate) artifact_bytes: AtomicUsize,
}

/// A running stand-in. Dropping it closes its listeners and every connection.
#[derive(Debug)]
pub struct Standin {
    shared: Arc<Shared>,
    address: SocketAddr,
    control: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl Standin {
    /// Binds the listeners and begins to serve. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError::Listen`] if an address cannot be bound.
    pub async fn start(config: StandinConfig) -> Result<Self, StartError> {
        let listen = config.listen;
        let control = config.control;
        let shared = Arc::new(Shared {
            counters: Counters::new(),
            faults: FaultSwitch::new(),
            artifact_bytes: AtomicUsize::new(routes::ARTIFACT.len()),
            config,
        });
        let listener = FaultyListener::bind(listen, Arc::clone(&shared)).map_err(|source| {
            StartError::Listen {
                address: listen,
                source,
            }
        })?;
        let address = listener.address();
        let mut standin = Self {
            address,
            control: None,
            tasks: Vec::new(),
            shared: Arc::clone(&shared),
        };
        if let Some(wanted) = control {
            let (bound, task) =
                control::serve(wanted, Arc::clone(&shared))
                    .await
                    .map_err(|source| StartError::Listen {
                        address: wanted,
                        source,
                    })?;
            standin.control = Some(bound);
            standin.tasks.push(task);
        }
        let router = routes::router(shared);
        standin.tasks.push(tokio::spawn(async move {
            // axum's serve never returns without a graceful shutdown; the task is aborted instead.
            let _ = axum::serve(listener, router).await;
        }));
        Ok(standin)
    }

    /// The public address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The control address, if it has one.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// Switches the fault, and returns when the public listener behaves so.
    pub async fn set_fault(&self, fault: Fault) {
        self.shared.faults.switch_and_confirm(fault).await;
    }

    /// The fault that was ordered last.
    pub fn fault(&self) -> Fault {
        self.shared.faults.current()
    }

    /// How often each route was answered with each status, since the start.
    pub fn requests(&self) -> BTreeMap<RouteCount, u64> {
        self.shared.counters.requests()
    }

    /// Counts `count` requests that nobody sent: peers replicate over a port that the stand-in
    /// does not have, and traffic patterns are easier to state than to send.
    pub fn record(&self, route: &str, status: u16, count: u64) {
        self.shared.counters.record(route, status, count, None);
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
