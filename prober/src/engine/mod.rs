//! The engine seam: checks go in, outcomes come out, sockets stay behind it.
//!
//! Nothing here waits: [`Engine::submit`] sends, [`Engine::drain`] collects, and the owner waits
//! for [`Engine::readiness`] or [`Engine::next_deadline`]. No task per check, one poll set.
//! `drain` first takes what the kernel holds, then judges deadlines by the time read *before*
//! that: a late loop finds the answers that came in time, so starvation is no outage.

pub mod arp;
pub mod cause;
pub mod connection;
pub mod denial;
mod exchange;
pub mod frame;
pub mod poller;
#[cfg(target_os = "linux")]
pub(crate) mod privilege;
pub mod response;
mod skim;
#[cfg(target_os = "linux")]
pub mod socket;
mod sockets;

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::time::Duration;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use pnwatch_core::link::Mac;
use pnwatch_core::outcome::{Blind, Layer, Outcome};
use pnwatch_core::schedule::CheckId;
use pnwatch_core::time::Tick;

use crate::link::Leg;
pub use exchange::request;
pub use sockets::Sockets;

/// What is asked of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Who has this address?
    Arp(Ipv4Addr),
    /// Handshake and `GET /up`.
    Up {
        /// Where.
        to: SocketAddrV4,
        /// The request as sent.
        request: Arc<[u8]>,
        /// The tenant that the answer must not contradict.
        tenant: Option<Arc<str>>,
    },
    /// `GET /ready`. So seldom that the request is made each time instead of kept.
    Ready {
        /// Where.
        to: SocketAddrV4,
        /// Who asks.
        agent: Arc<str>,
    },
    /// `GET /metrics`, of which as much is read as takes many segments.
    Large {
        /// Where.
        to: SocketAddrV4,
        /// Who asks.
        agent: Arc<str>,
    },
    /// A handshake off the PN, never bound to the PN device.
    Control(SocketAddr),
}

/// One check to be made now.
#[derive(Debug, Clone)]
pub struct Due {
    /// Which check.
    pub id: CheckId,
    /// What to ask.
    pub ask: Ask,
    /// How long a handshake may go unanswered before it counts as missed.
    pub patience: Duration,
    /// How long everything may take, HTTP included.
    pub within: Duration,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A layer has its outcome.
    Outcome {
        /// Which layer.
        layer: Layer,
        /// What it saw.
        outcome: Outcome,
        /// Round trip by the program's clock: ARP request to reply, connect to connected,
        /// HTTP request to whole answer.
        rtt: Option<Duration>,
        /// Round trip by the kernel's clock.
        kernel_rtt: Option<Duration>,
        /// The MAC that answered (ARP).
        mac: Option<Mac>,
    },
    /// `/ready` was answered.
    Ready {
        /// It said ready.
        ready: bool,
        /// It said draining.
        draining: bool,
    },
    /// A read of many segments ended.
    Large {
        /// What it saw.
        outcome: Outcome,
        /// Bytes of the body that arrived.
        bytes: u64,
    },
    /// `/ready` was not answered, or a large read not begun: the other checks say why.
    Nothing,
}

/// One result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Of which check.
    pub id: CheckId,
    /// When the check started.
    pub start: Tick,
    /// What came of it.
    pub what: What,
    /// Nothing more will come of this check.
    pub done: bool,
}

impl Seen {
    /// A final outcome without a round trip.
    pub fn plain(id: CheckId, start: Tick, layer: Layer, outcome: Outcome) -> Self {
        Self {
            id,
            start,
            what: What::Outcome {
                layer,
                outcome,
                rtt: None,
                kernel_rtt: None,
                mac: None,
            },
            done: true,
        }
    }
}

/// Limits of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A request without an ARP reply for this long is missed.
    pub arp: Duration,
    /// An HTTP answer that is not whole after this is missed.
    pub http: Duration,
    /// A missed handshake that is kept to learn its errno is given up after this: the kernel
    /// gives a neighbour up after 3.05 s.
    pub abandon: Duration,
    /// Most connections at once.
    pub in_flight: usize,
    /// Most packets a second that checks may cost on the wire; what is beyond is not measured.
    pub packets: u32,
}

impl Limits {
    /// As [`Limits::default`], within what this process may open (`RLIMIT_NOFILE`, getrlimit(2)),
    /// whose soft limit is raised to the hard one first.
    pub fn of_process() -> Self {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut open = getrlimit(Resource::Nofile);
        open.current = open.maximum;
        // Refused, the old one holds.
        let _ = setrlimit(Resource::Nofile, open);
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let limits = Self::default();
        Self {
            in_flight: limits
                .in_flight
                .min(most.saturating_sub(OTHER_FILES).max(64)),
            ..limits
        }
    }
}

/// Descriptors that are left to everything but checks: logs, listeners, exporters.
const OTHER_FILES: usize = 256;

impl Default for Limits {
    fn default() -> Self {
        Self {
            arp: Duration::from_millis(300),
            http: Duration::from_millis(1300),
            abandon: Duration::from_millis(3200),
            in_flight: 32_768,
            packets: 150_000,
        }
    }
}

/// What makes checks.
pub trait Engine {
    /// The vantage's PN leg is now this.
    fn set_leg(&mut self, leg: &Leg);
    /// The next ARP request for `address` goes to everybody, so that a second owner hears it.
    fn sweep(&mut self, _address: Ipv4Addr) {}
    /// Starts checks. Each gives exactly one [`Seen`] with `done`.
    fn submit(&mut self, due: &[Due]);
    /// Collects what came, and what did not by its deadline, as of `now`.
    fn drain(&mut self, now: Tick, seen: &mut Vec<Seen>);
    /// Ends every check under way as not measured.
    fn abandon(&mut self, blind: Blind, seen: &mut Vec<Seen>);
    /// When [`Engine::drain`] has something to judge.
    fn next_deadline(&self) -> Option<Tick>;
    /// A descriptor that is readable when [`Engine::drain`] has something to collect.
    fn readiness(&self) -> BorrowedFd<'_>;
    /// Checks under way.
    fn in_flight(&self) -> usize;
    /// Whether ARP can be sent at all; `None` until it was tried.
    fn arp_available(&self) -> Option<bool>;
}
