//! TCP handshakes and HTTP exchanges, many at once, one socket each.
//!
//! A handshake has two deadlines from its start: its patience (missed), and, for the first miss
//! of a check (and again every 10 s of an outage), [`Limits::abandon`](super::Limits): one connection is kept so long to learn
//! the errno, which then refines the causes of the slots that follow. Sockets close with RST
//! (`SO_LINGER` 0, socket(7)): no `TIME_WAIT`, whatever the rate.

use core::cmp::Reverse;
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::time::Duration;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::os::fd::AsFd;

use pnwatch_core::outcome::{Blind, Cause, Layer, Outcome};
use pnwatch_core::schedule::CheckId;
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;
use socket2::{Domain, SockAddr, Socket};

use super::cause::{self, Failure};
use super::denial::{self, Denial};
use super::exchange::{Connection, PIECE, Purpose, Stage, answered, ended, exchange, request};
use super::poller::Poller;
use super::response::{Progress, Response};
use super::{Ask, Due, Limits, Seen, What};
use crate::link::Leg;
use crate::os;

/// A deadline judged later than this was judged by a starved program.
const STARVED: Duration = Duration::from_millis(200);
/// Most connections that are kept only to learn an errno: what they learn is told of others too.
const LEARNING: usize = 512;
/// Buffers that are kept for the next connections.
const SPARE: usize = 4096;
/// Most addresses whose ARP answers are remembered.
const HEARD: usize = 4096;
/// How long what one connection learned is believed.
const LEARNED_FOR: Duration = Duration::from_secs(10);

/// See the [module](self).
pub struct Connections {
    clock: SharedClock,
    limits: Limits,
    bound: bool,
    leg: Leg,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    deadlines: BinaryHeap<Reverse<(Tick, u64)>>,
    generation: u32,
    in_flight: usize,
    /// What was learned of checks that are missing, and when.
    learning: BTreeMap<CheckId, (Cause, Tick)>,
    /// Of those in flight, how many only learn.
    learners: usize,
    /// Who answered ARP last when (where the system can deny the local network).
    heard: BTreeMap<Ipv4Addr, Tick>,
    /// Buffers of finished connections.
    spare: Vec<Response>,
    /// What is read goes through here.
    piece: Box<[u8]>,
}

impl Connections {
    /// No connections yet. `bound`: to the PN device and its address.
    pub fn new(clock: SharedClock, limits: Limits, bound: bool) -> Self {
        Self {
            clock,
            limits,
            bound,
            leg: Leg::default(),
            slots: Vec::new(),
            free: Vec::new(),
            deadlines: BinaryHeap::new(),
            generation: 0,
            in_flight: 0,
            learning: BTreeMap::new(),
            learners: 0,
            heard: BTreeMap::new(),
            spare: Vec::new(),
            piece: vec![0; PIECE].into(),
        }
    }

    /// Follows the device and its address.
    pub fn set_leg(&mut self, leg: &Leg) {
        self.leg = leg.clone();
    }

    /// Starts one check; what is known at once goes to `seen`.
    pub fn start(&mut self, due: &Due, poller: &Poller, seen: &mut Vec<Seen>) {
        let start = self.clock.now().tick;
        let (to, purpose, request, bound) = match &due.ask {
            Ask::Up {
                to,
                request,
                tenant,
            } => (
                SocketAddr::V4(*to),
                Purpose::Up(tenant.clone()),
                Some(request.clone()),
                self.bound,
            ),
            Ask::Ready { to, agent } => (
                SocketAddr::V4(*to),
                Purpose::Ready,
                Some(request("/ready", *to, agent)),
                self.bound,
            ),
            Ask::Large { to, agent } => (
                SocketAddr::V4(*to),
                Purpose::Large,
                Some(request("/metrics", *to, agent)),
                self.bound,
            ),
            Ask::Control(to) => (*to, Purpose::Control, None, false),
            Ask::Arp(_) => return,
        };
        let opened = if self.in_flight >= self.limits.in_flight {
            Err(Outcome::Unmeasured(Blind::Capped))
        } else {
            self.open(to, bound)
        };
        let mut connection = match opened {
            Ok(socket) => Connection {
                socket,
                to,
                id: due.id,
                start,
                deadline: start.after(due.patience),
                end: start.after(due.within),
                purpose,
                request,
                stage: Stage::Handshake,
                response: Response::default(),
                generation: 0,
            },
            Err(outcome) => {
                seen.push(ended(due.id, start, &purpose, outcome));
                return;
            }
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.generation = self.generation.wrapping_add(1);
        connection.generation = self.generation;
        let token = token(slot, self.generation);
        if poller.add(connection.socket.as_fd(), token).is_err() {
            self.free.push(slot);
            let outcome = Outcome::Unmeasured(Blind::Exhausted);
            seen.push(ended(due.id, start, &connection.purpose, outcome));
            return;
        }
        connection.response = self.spare.pop().unwrap_or_default();
        self.deadlines.push(Reverse((connection.deadline, token)));
        self.slots[slot] = Some(connection);
        self.in_flight += 1;
    }

    fn open(&self, to: SocketAddr, bound: bool) -> Result<Socket, Outcome> {
        let local = |error: io::Error| cause::local(error.raw_os_error().unwrap_or(0));
        if bound && let Some(blind) = self.leg.blind() {
            return Err(Outcome::Unmeasured(blind));
        }
        let socket = os::stream_socket(Domain::for_address(to)).map_err(local)?;
        socket.set_linger(Some(Duration::ZERO)).map_err(local)?;
        socket.set_tcp_nodelay(true).map_err(local)?;
        if to.is_ipv4() {
            os::set_ip_options(&socket).map_err(local)?;
        }
        if bound {
            let source = self
                .leg
                .source
                .ok_or(Outcome::Unmeasured(Blind::NoSource))?;
            os::bind_device(&socket, &self.leg).map_err(local)?;
            socket
                .bind(&SockAddr::from(SocketAddrV4::new(source, 0)))
                .map_err(local)?;
        }
        match socket.connect(&SockAddr::from(to)) {
            Ok(()) => Ok(socket),
            Err(error) => match error.raw_os_error().unwrap_or(0) {
                libc::EINPROGRESS => Ok(socket),
                errno => Err(self.refused_at_once(errno, to)),
            },
        }
    }

    /// The socket behind `token` has news.
    pub fn event(&mut self, token: u64, seen: &mut Vec<Seen>) {
        let Some(slot) = self.at(token) else {
            return;
        };
        let Some(mut connection) = self.slots[slot].take() else {
            return;
        };
        let before = connection.deadline;
        let goes_on = match connection.stage {
            Stage::Handshake | Stage::Learning => self.handshake(&mut connection, seen),
            Stage::Exchange { .. } => true,
        } && match connection.stage {
            Stage::Exchange { .. } => exchange(&mut connection, &self.clock, &mut self.piece, seen),
            _ => true,
        };
        self.put_back(slot, connection, before, goes_on);
    }

    /// `before` is the deadline that the heap already knows.
    fn put_back(&mut self, slot: usize, connection: Connection, before: Tick, goes_on: bool) {
        if goes_on {
            if connection.deadline != before {
                let at = token(slot, connection.generation);
                self.deadlines.push(Reverse((connection.deadline, at)));
            }
            self.slots[slot] = Some(connection);
            return;
        }
        self.free.push(slot);
        self.in_flight -= 1;
        self.learners -= usize::from(matches!(connection.stage, Stage::Learning));
        let mut response = connection.response;
        response.clear();
        if self.spare.len() < SPARE {
            self.spare.push(response);
        }
    }

    /// Whether the connection goes on.
    fn handshake(&mut self, connection: &mut Connection, seen: &mut Vec<Seen>) -> bool {
        let error = connection.socket.take_error().ok().flatten();
        if let Some(error) = error {
            let outcome = self.refusal(connection, &error);
            if !matches!(connection.stage, Stage::Learning) {
                seen.push(ended(
                    connection.id,
                    connection.start,
                    &connection.purpose,
                    outcome,
                ));
            }
            return false;
        }
        if connection.socket.peer_addr().is_err() {
            // An event before the handshake ended.
            return true;
        }
        self.learning.remove(&connection.id);
        if matches!(connection.stage, Stage::Learning) {
            return false;
        }
        self.connected(connection, seen)
    }

    fn connected(&mut self, connection: &mut Connection, seen: &mut Vec<Seen>) -> bool {
        let now = self.clock.now().tick;
        let facts = os::tcp_facts(&connection.socket);
        let late = now.since(connection.deadline) > STARVED;
        let again = facts.and_then(|facts| facts.retransmits);
        let again = again.is_none_or(|count| count > 0);
        let outcome = if late && again {
            // Answered, but whether in time nobody can tell: we did not look.
            Outcome::Unmeasured(Blind::Starved)
        } else {
            Outcome::Reached
        };
        let layer = match connection.purpose {
            Purpose::Up(_) => Some(Layer::Tcp),
            Purpose::Control => Some(Layer::Control),
            Purpose::Ready | Purpose::Large => None,
        };
        let goes_on = connection.request.is_some();
        if let Some(layer) = layer {
            seen.push(Seen {
                id: connection.id,
                start: connection.start,
                what: What::Outcome {
                    layer,
                    outcome,
                    rtt: Some(now.since(connection.start)),
                    kernel_rtt: facts.map(|facts| facts.rtt),
                    mac: None,
                },
                done: !goes_on,
            });
        }
        connection.stage = Stage::Exchange {
            since: now,
            sent: 0,
        };
        connection.deadline = now.after(self.limits.http).min(connection.end);
        goes_on
    }

    fn refusal(&mut self, connection: &Connection, error: &io::Error) -> Outcome {
        let now = self.clock.now().tick;
        let failure = Failure {
            errno: error.raw_os_error().unwrap_or(0),
            after: now.since(connection.start),
            retransmits: retransmits(&connection.socket),
            queued: os::error_queue(&connection.socket),
            source: self.leg.source,
        };
        if self.is_denied(failure.errno, failure.after, connection.to) {
            return Outcome::Unmeasured(Blind::LocalNetworkDenied);
        }
        let cause = cause::handshake(&failure);
        self.learning.insert(connection.id, (cause, now));
        Outcome::Unreached(cause)
    }

    fn refused_at_once(&self, errno: i32, to: SocketAddr) -> Outcome {
        if self.is_denied(errno, Duration::ZERO, to) {
            return Outcome::Unmeasured(Blind::LocalNetworkDenied);
        }
        cause::instant(errno)
    }

    fn is_denied(&self, errno: i32, after: Duration, to: SocketAddr) -> bool {
        let now = self.clock.now().tick;
        let SocketAddr::V4(to) = to else {
            return false;
        };
        denial::is_denied(&Denial {
            possible: os::CAN_DENY_LOCAL_NETWORK,
            unreachable: errno == libc::EHOSTUNREACH,
            after,
            route: self.leg.route_is_right(),
            heard: self.heard.get(to.ip()).map(|at| now.since(*at)),
        })
    }

    /// `address` answered ARP at `at`: what fails at once now fails on this machine.
    pub fn heard(&mut self, address: Ipv4Addr, at: Tick) {
        if os::CAN_DENY_LOCAL_NETWORK && self.heard.len() < HEARD {
            self.heard.insert(address, at);
        }
    }

    /// Judges everything whose deadline has passed as of `now`.
    pub fn expire(&mut self, now: Tick, seen: &mut Vec<Seen>) {
        while let Some(Reverse((at, token))) = self.deadlines.peek().copied() {
            if at > now {
                return;
            }
            self.deadlines.pop();
            let Some(slot) = self.at(token) else {
                continue;
            };
            let Some(mut connection) = self.slots[slot].take() else {
                continue;
            };
            // A stale entry of the heap is not the connection's deadline.
            let before = connection.deadline;
            let goes_on = before > now || self.missed(&mut connection, now, seen);
            self.put_back(slot, connection, before, goes_on);
        }
    }

    /// Whether the connection is kept.
    fn missed(&mut self, connection: &mut Connection, now: Tick, seen: &mut Vec<Seen>) -> bool {
        match connection.stage {
            Stage::Learning => return false,
            Stage::Exchange { .. } => {
                let cause = match connection.response.progress() {
                    Progress::Nothing => Cause::NoFirstByte,
                    _ => Cause::TransferStalled,
                };
                seen.push(answered(connection, Outcome::Unreached(cause), None));
                return false;
            }
            Stage::Handshake => {}
        }
        let learned = self.learning.get(&connection.id).copied();
        let fresh = learned.is_some_and(|(_, at)| now.since(at) < LEARNED_FOR);
        let retransmits = retransmits(&connection.socket);
        let watched = now.since(connection.start);
        let known = learned.map(|(cause, _)| cause);
        let known = known.filter(|cause| fresh || !cause::is_icmp(*cause));
        let cause = cause::unanswered(retransmits, watched, known);
        seen.push(ended(
            connection.id,
            connection.start,
            &connection.purpose,
            Outcome::Unreached(cause),
        ));
        let room = self.learners < LEARNING;
        if fresh || !room || !matches!(connection.purpose, Purpose::Up(_)) {
            return false;
        }
        self.learning.insert(connection.id, (cause, now));
        connection.stage = Stage::Learning;
        self.learners += 1;
        connection.deadline = connection.start.after(self.limits.abandon);
        connection.deadline > now
    }

    /// Ends everything as not measured.
    pub fn abandon(&mut self, blind: Blind, seen: &mut Vec<Seen>) {
        for slot in 0..self.slots.len() {
            let Some(connection) = self.slots[slot].take() else {
                continue;
            };
            match connection.stage {
                Stage::Learning => {}
                Stage::Handshake => seen.push(ended(
                    connection.id,
                    connection.start,
                    &connection.purpose,
                    Outcome::Unmeasured(blind),
                )),
                Stage::Exchange { .. } => {
                    seen.push(answered(&connection, Outcome::Unmeasured(blind), None));
                }
            }
            self.put_back(slot, connection, Tick::default(), false);
        }
        self.learning.clear();
        self.deadlines.clear();
    }

    /// When [`Connections::expire`] has something to do (or a stale entry to forget).
    pub fn next_deadline(&self) -> Option<Tick> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// Open sockets.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn at(&self, token: u64) -> Option<usize> {
        let slot = usize::try_from(token & 0xffff_ffff).ok()?;
        let connection = self.slots.get(slot)?.as_ref()?;
        (u64::from(connection.generation) == token >> 32).then_some(slot)
    }
}

fn retransmits(socket: &Socket) -> Option<u32> {
    // A kernel that says nothing of the socket has sent nothing twice.
    os::tcp_facts(socket).map_or(os::SENT_NOTHING, |facts| facts.retransmits)
}

/// Slot and generation: a late event of a closed socket finds nobody.
fn token(slot: usize, generation: u32) -> u64 {
    (u64::from(generation) << 32) | slot as u64
}
