//! ARP over one packet socket: who has this address, and which MAC says so.
//!
//! Unicast to the MAC that answered last, broadcast when none is known, the last request went
//! unanswered, or a sweep is asked for: a broadcast reaches every host of the network, so one
//! vantage sweeps for all, and only its request is heard by a second owner of the address. Two
//! MACs that answer one broadcast are a conflict; while there is one, every request is a
//! broadcast and waits for the second answer. Whatever else is heard is listened to: a known
//! address that speaks from another MAC is swept at once. A reply counts by the kernel's
//! stamp of its arrival, so that a starved loop loses nothing. The socket follows the device:
//! a new index is a new socket.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use pnwatch_core::link::Mac;
use pnwatch_core::outcome::{Blind, Cause, Layer, Outcome};
use pnwatch_core::schedule::CheckId;
use pnwatch_core::time::{Now, Tick, Timestamp};

use super::frame::{self, FRAME, Reply};
use super::{Seen, What, cause};
use crate::link::Leg;
use crate::os::Packets;

/// Frames taken per wake-up; the rest waits for the next one.
const ROUND: usize = 1024;
/// Addresses that are remembered: a plan has at most 50,000 nodes and as many neighbours.
const MOST_ASKED: usize = 120_000;
/// Bytes of a frame that are looked at: ARP over Ethernet has 42, and a tag at most 4 more.
const HEARD: usize = 64;
/// How long a refusal to open the socket is believed.
const RETRY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
struct Request {
    id: CheckId,
    number: u64,
    target: Ipv4Addr,
    sent: Now,
    source: Ipv4Addr,
    /// It went to everybody.
    broadcast: bool,
    /// The first answer, while a second one is waited for.
    first: Option<Answer>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    mac: Mac,
    wall: Duration,
    kernel: Option<Duration>,
}

/// Broadcasts without a second answer after which a conflict has ended.
const CLEAN: u8 = 5;
/// Most broadcasts whose second answer is listened for.
const ECHOES: usize = 256;

/// See the [module](self).
pub struct ArpSocket {
    deadline: Duration,
    leg: Leg,
    socket: Option<(u32, Packets)>,
    refused: Option<(Tick, Blind)>,
    available: Option<bool>,
    /// Unanswered requests, oldest first: all have the same deadline.
    pending: VecDeque<Request>,
    /// Numbers of unanswered requests per address; kept from request to request for their memory.
    waiting: BTreeMap<Ipv4Addr, Vec<u64>>,
    /// Who answered last; forgotten on a miss.
    known: BTreeMap<Ipv4Addr, Mac>,
    /// Addresses whose next request goes to everybody.
    swept: BTreeSet<Ipv4Addr>,
    /// Broadcasts that were answered once, and by whom.
    echoes: VecDeque<(Request, Mac)>,
    /// Addresses that two machines answer for, and how many clean broadcasts are still owed.
    conflicts: BTreeMap<Ipv4Addr, u8>,
    next_number: u64,
    /// Kept for its memory.
    frames: Vec<([u8; HEARD], usize, Option<Timestamp>)>,
}

impl ArpSocket {
    /// No socket yet: it opens with the first request.
    pub fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            leg: Leg::default(),
            socket: None,
            refused: None,
            available: None,
            pending: VecDeque::new(),
            waiting: BTreeMap::new(),
            known: BTreeMap::new(),
            swept: BTreeSet::new(),
            echoes: VecDeque::new(),
            conflicts: BTreeMap::new(),
            next_number: 0,
            frames: Vec::new(),
        }
    }

    /// Follows the device: its index, MAC and address.
    pub fn set_leg(&mut self, leg: &Leg) {
        if self.socket.as_ref().map(|(index, _)| *index) != leg.index {
            self.socket = None;
            self.refused = None;
            self.known.clear();
            self.swept.clear();
            self.echoes.clear();
            self.conflicts.clear();
        }
        self.leg = leg.clone();
    }

    /// The next request for `address` goes to everybody.
    pub fn sweep(&mut self, address: Ipv4Addr) {
        self.swept.insert(address);
    }

    /// Sends one request; `Some` if the outcome is known at once. `watch` registers a new socket.
    pub fn ask(
        &mut self,
        id: CheckId,
        target: Ipv4Addr,
        now: Now,
        watch: impl Fn(&Packets) -> io::Result<()>,
    ) -> Option<Seen> {
        let end = |outcome| Some(Seen::plain(id, now.tick, Layer::Arp, outcome));
        if self.leg.index.is_some() && !self.leg.arp {
            return end(Outcome::NotApplicable);
        }
        if let Some(blind) = self.leg.blind() {
            return end(Outcome::Unmeasured(blind));
        }
        let (Some(own), Some(source)) = (self.leg.facts.mac, self.leg.source) else {
            return end(Outcome::Unmeasured(Blind::NoSource));
        };
        if let Err(blind) = self.open(now.tick, watch) {
            return end(Outcome::Unmeasured(blind));
        }
        let Some((_, socket)) = &self.socket else {
            return end(Outcome::Unmeasured(Blind::NoDevice));
        };
        let mut bytes = [0; FRAME];
        let to_all = self.swept.contains(&target) || self.conflicts.contains_key(&target);
        let known = self.known.get(&target).copied().filter(|_| !to_all);
        frame::request(&mut bytes, own, source, target, known);
        if let Err(error) = socket.send(&bytes) {
            let outcome = cause::local(error.raw_os_error().unwrap_or(0));
            if outcome == Outcome::Unmeasured(Blind::NoDevice) {
                self.socket = None;
            }
            return end(outcome);
        }
        self.swept.remove(&target);
        let number = self.next_number;
        self.next_number += 1;
        if self.waiting.len() >= MOST_ASKED {
            // Plans have come and gone.
            self.waiting.retain(|_, numbers| !numbers.is_empty());
        }
        self.waiting.entry(target).or_default().push(number);
        self.pending.push_back(Request {
            id,
            number,
            target,
            sent: now,
            source,
            broadcast: known.is_none(),
            first: None,
        });
        None
    }

    fn open(&mut self, now: Tick, watch: impl Fn(&Packets) -> io::Result<()>) -> Result<(), Blind> {
        if self.socket.is_some() {
            return Ok(());
        }
        if let Some((at, blind)) = self.refused
            && now.since(at) < RETRY
        {
            return Err(blind);
        }
        let index = self.leg.index.ok_or(Blind::NoDevice)?;
        let opened = Packets::open(&self.leg, index).and_then(|packets| {
            watch(&packets)?;
            Ok(packets)
        });
        match opened {
            Ok(socket) => {
                self.socket = Some((index, socket));
                self.refused = None;
                self.available = Some(true);
                Ok(())
            }
            Err(error) => {
                let outcome = cause::local(error.raw_os_error().unwrap_or(0));
                let blind = match outcome {
                    Outcome::Unmeasured(blind) => blind,
                    _ => Blind::Exhausted,
                };
                if self.refused.is_none() {
                    say_refused(&self.leg.facts.device, &error, blind);
                }
                self.refused = Some((now, blind));
                self.available = Some(false);
                Err(blind)
            }
        }
    }

    /// Takes every reply that the kernel holds.
    pub fn collect(
        &mut self,
        now: Now,
        seen: &mut Vec<Seen>,
        mut heard: impl FnMut(Ipv4Addr, Tick),
    ) {
        let mut frames = core::mem::take(&mut self.frames);
        for _ in 0..ROUND {
            let Some((_, packets)) = &mut self.socket else {
                break;
            };
            let each = &mut |bytes: &[u8], stamp| {
                let mut frame = [0; HEARD];
                let length = bytes.len().min(HEARD);
                frame[..length].copy_from_slice(&bytes[..length]);
                frames.push((frame, length, stamp));
            };
            match packets.receive(each) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // ENETDOWN once per change of the device (packet(7)); the rest is as harmless.
                _ => {}
            }
        }
        for (frame, length, stamp) in frames.drain(..) {
            let bytes = frame.get(..length).unwrap_or_default();
            self.overhear(bytes);
            if let Some(reply) = frame::reply(bytes) {
                heard(reply.address, now.tick);
                self.echoed(reply, stamp, now);
                self.answered(reply, stamp, now, seen);
            }
        }
        self.frames = frames;
    }

    /// A known address that speaks from another MAC may have a second owner.
    fn overhear(&mut self, frame: &[u8]) {
        if let Some((mac, address)) = frame::sender(frame)
            && self.known.get(&address).is_some_and(|known| *known != mac)
        {
            self.swept.insert(address);
        }
    }

    /// A second answer to a broadcast that was answered already.
    fn echoed(&mut self, reply: Reply, stamp: Option<Timestamp>, now: Now) {
        let late = |request: &Request| {
            let wall = now.tick.since(request.sent.tick);
            let kernel = stamp.map(|stamp| stamp.since(request.sent.wall));
            kernel.unwrap_or(wall) > self.deadline
        };
        while self.echoes.front().is_some_and(|(request, _)| {
            now.tick.since(request.sent.tick) > self.deadline.saturating_mul(8)
        }) {
            self.echoes.pop_front();
        }
        let second = self.echoes.iter().any(|(request, mac)| {
            request.target == reply.address
                && request.source == reply.asker
                && *mac != reply.mac
                && !late(request)
        });
        if second {
            self.conflicts.insert(reply.address, CLEAN);
        }
    }

    fn answered(&mut self, reply: Reply, stamp: Option<Timestamp>, now: Now, seen: &mut Vec<Seen>) {
        let Some(numbers) = self.waiting.get(&reply.address) else {
            return;
        };
        // The newest request that was sent before the reply came is the one it answers.
        let arrived = stamp.filter(|stamp| *stamp <= now.wall);
        let request = numbers.iter().rev().find_map(|number| {
            let at = self
                .pending
                .binary_search_by_key(number, |p| p.number)
                .ok()?;
            let request = self.pending.get(at)?;
            let before = arrived.is_none_or(|stamp| request.sent.wall <= stamp);
            (before && request.source == reply.asker).then_some((at, *request))
        });
        let Some((at, request)) = request else {
            return;
        };
        let wall = now.tick.since(request.sent.tick);
        let kernel = arrived.map(|stamp| stamp.since(request.sent.wall));
        if kernel.unwrap_or(wall) > self.deadline {
            // It came too late by the kernel's own clock; the deadline will say so.
            return;
        }
        let answer = Answer {
            mac: reply.mac,
            wall,
            kernel,
        };
        match request.first {
            // The same machine again.
            Some(first) if first.mac == reply.mac => return,
            None if request.broadcast && self.conflicts.contains_key(&request.target) => {
                if let Some(waiting) = self.pending.get_mut(at) {
                    waiting.first = Some(answer);
                }
                return;
            }
            _ => {}
        }
        self.pending.remove(at);
        self.forget(&request);
        self.known.insert(request.target, reply.mac);
        if request.first.is_some() {
            self.conflicts.insert(request.target, CLEAN);
            let conflict = Outcome::Unreached(Cause::AddressConflict);
            seen.push(told(&request, conflict, Some(answer)));
            return;
        }
        if request.broadcast {
            if self.echoes.len() >= ECHOES {
                self.echoes.pop_front();
            }
            self.echoes.push_back((request, reply.mac));
        }
        seen.push(told(&request, Outcome::Reached, Some(answer)));
    }

    fn forget(&mut self, request: &Request) {
        if let Some(numbers) = self.waiting.get_mut(&request.target) {
            // The list stays for the next request.
            numbers.retain(|number| *number != request.number);
        }
    }

    /// Ends requests whose deadline has passed.
    pub fn expire(&mut self, now: Tick, seen: &mut Vec<Seen>) {
        while let Some(request) = self.pending.front().copied() {
            if now < request.sent.tick.after(self.deadline) {
                return;
            }
            self.pending.pop_front();
            self.forget(&request);
            if let Some(answer) = request.first {
                // One answer alone: the conflict may be over.
                self.settle(request.target);
                seen.push(told(&request, Outcome::Reached, Some(answer)));
                continue;
            }
            // The MAC may have moved: the next request goes to everybody.
            self.known.remove(&request.target);
            let outcome = Outcome::Unreached(Cause::ArpUnanswered);
            seen.push(Seen::plain(
                request.id,
                request.sent.tick,
                Layer::Arp,
                outcome,
            ));
        }
    }

    fn settle(&mut self, target: Ipv4Addr) {
        if let Some(owed) = self.conflicts.get_mut(&target) {
            *owed = owed.saturating_sub(1);
            if *owed == 0 {
                self.conflicts.remove(&target);
            }
        }
    }

    /// Ends everything as not measured.
    pub fn abandon(&mut self, blind: Blind, seen: &mut Vec<Seen>) {
        self.waiting.clear();
        seen.extend(self.pending.drain(..).map(|request| {
            let outcome = Outcome::Unmeasured(blind);
            Seen::plain(request.id, request.sent.tick, Layer::Arp, outcome)
        }));
    }

    /// When [`ArpSocket::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        let first = self.pending.front()?;
        Some(first.sent.tick.after(self.deadline))
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Whether the socket could be opened; `None` until it was tried.
    pub fn available(&self) -> Option<bool> {
        self.available
    }
}

fn told(request: &Request, outcome: Outcome, answer: Option<Answer>) -> Seen {
    Seen {
        id: request.id,
        start: request.sent.tick,
        what: What::Outcome {
            layer: Layer::Arp,
            outcome,
            rtt: answer.map(|answer| answer.wall),
            kernel_rtt: answer.and_then(|answer| answer.kernel),
            mac: answer.map(|answer| answer.mac),
        },
        done: true,
    }
}

fn say_refused(device: &str, error: &io::Error, blind: Blind) {
    if blind == Blind::NoPrivilege {
        tracing::error!(
            device,
            "cannot open a packet socket: {error}. No ARP checks are made, so layer 2 faults are \
             found later and named less well. On macOS run as root; on Linux grant the \
             capability NET_RAW: `setcap cap_net_raw+p` on the binary, or `capabilities: {{add: \
             [NET_RAW]}}` for the container, or run as root"
        );
    } else {
        tracing::warn!(
            device,
            "cannot open a packet socket: {error}; trying again in 30 s"
        );
    }
}
