//! The engine on plain sockets: one packet socket, many connections, one epoll set.

use core::net::Ipv4Addr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use pnwatch_core::name::Vantage;
use pnwatch_core::outcome::Blind;
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;
use socket2::Socket;

use super::arp::ArpSocket;
use super::connection::Connections;
use super::poller::Poller;
use super::{Ask, Due, Engine, Limits, Seen};
use crate::link::Leg;

/// The token of the packet socket; connections use the numbers below.
const ARP: u64 = u64::MAX;

/// See the [module](self).
pub struct Sockets {
    clock: SharedClock,
    poller: Poller,
    arp: ArpSocket,
    connections: Connections,
    /// Outcomes that were known at submission.
    ready: Vec<Seen>,
    tokens: Vec<u64>,
}

impl Sockets {
    /// An engine for `vantage`: hosts and nodes bind to the PN device, VMs have none.
    pub fn new(vantage: &Vantage, clock: SharedClock, limits: Limits) -> io::Result<Self> {
        let bound = !matches!(vantage, Vantage::Vm(..));
        Ok(Self {
            poller: Poller::new()?,
            arp: ArpSocket::new(limits.arp),
            connections: Connections::new(clock.clone(), limits, bound),
            clock,
            ready: Vec::new(),
            tokens: Vec::new(),
        })
    }
}

impl Engine for Sockets {
    fn set_leg(&mut self, leg: &Leg) {
        self.arp.set_leg(leg);
        self.connections.set_leg(leg);
    }

    fn sweep(&mut self, address: Ipv4Addr) {
        self.arp.sweep(address);
    }

    fn submit(&mut self, due: &[Due]) {
        for check in due {
            match &check.ask {
                Ask::Arp(target) => {
                    let now = self.clock.now();
                    let watch = |socket: &Socket| self.poller.add(socket.as_fd(), ARP);
                    if let Some(seen) = self.arp.ask(check.id, *target, now, watch) {
                        self.ready.push(seen);
                    }
                }
                _ => self.connections.start(check, &self.poller, &mut self.ready),
            }
        }
    }

    fn drain(&mut self, now: Tick, seen: &mut Vec<Seen>) {
        seen.append(&mut self.ready);
        loop {
            self.tokens.clear();
            let more = match self.poller.poll(&mut self.tokens) {
                Ok(more) => more,
                Err(error) => {
                    // Deadlines still judge; a broken set shows as misses nowhere else explained.
                    tracing::warn!(%error, "epoll_wait failed");
                    false
                }
            };
            for token in &self.tokens {
                if *token == ARP {
                    self.arp.collect(self.clock.now(), seen);
                } else {
                    self.connections.event(*token, seen);
                }
            }
            if !more {
                break;
            }
        }
        self.arp.expire(now, seen);
        self.connections.expire(now, seen);
    }

    fn abandon(&mut self, blind: Blind, seen: &mut Vec<Seen>) {
        seen.append(&mut self.ready);
        self.arp.abandon(blind, seen);
        self.connections.abandon(blind, seen);
    }

    fn next_deadline(&self) -> Option<Tick> {
        if !self.ready.is_empty() {
            return Some(Tick::default());
        }
        [self.arp.next_deadline(), self.connections.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn readiness(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }

    fn in_flight(&self) -> usize {
        self.arp.in_flight() + self.connections.in_flight()
    }

    fn arp_available(&self) -> Option<bool> {
        self.arp.available()
    }
}
