//! The engine on plain sockets: one packet socket, many connections, one poll set.

use core::net::Ipv4Addr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use pnwatch_core::name::Vantage;
use pnwatch_core::outcome::{Blind, Layer, Outcome};
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;

use super::arp::ArpSocket;
use super::connection::Connections;
use super::poller::Poller;
use super::{Ask, Due, Engine, Limits, Seen, What};
use crate::link::Leg;
use crate::os::Packets;

/// The token of the packet socket; connections use the numbers below.
const ARP: u64 = u64::MAX;

/// See the [module](self).
pub struct Sockets {
    clock: SharedClock,
    poller: Poller,
    arp: ArpSocket,
    connections: Connections,
    budget: Budget,
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
            budget: Budget::new(limits.packets),
            clock,
            ready: Vec::new(),
            tokens: Vec::new(),
        })
    }
}

/// What a check costs on the wire at most, as long as nothing is sent again: SYN, SYN-ACK, ACK,
/// request, its ACK, answer, its ACK, RST.
fn packets(ask: &Ask) -> u32 {
    match ask {
        Ask::Arp(_) => 2,
        Ask::Up { .. } | Ask::Ready { .. } => 8,
        // A read of many segments: 64 KiB, each second one acknowledged.
        Ask::Large { .. } => 80,
        Ask::Control(_) => 4,
    }
}

/// The end of a check that was never begun.
fn refused(due: &Due, now: Tick, blind: Blind) -> Seen {
    let outcome = Outcome::Unmeasured(blind);
    match &due.ask {
        Ask::Arp(_) => Seen::plain(due.id, now, Layer::Arp, outcome),
        Ask::Up { .. } => Seen::plain(due.id, now, Layer::Tcp, outcome),
        Ask::Control(_) => Seen::plain(due.id, now, Layer::Control, outcome),
        Ask::Ready { .. } | Ask::Large { .. } => Seen {
            id: due.id,
            start: now,
            what: What::Nothing,
            done: true,
        },
    }
}

/// Packets that may be sent: as many a second as the limit says, a quarter of a second's at once.
#[derive(Debug)]
struct Budget {
    per_second: u32,
    left: u64,
    /// Until when packets were earned.
    earned: Tick,
}

impl Budget {
    fn new(per_second: u32) -> Self {
        Self {
            per_second,
            left: u64::from(per_second / 4),
            earned: Tick::default(),
        }
    }

    fn earn(&mut self, now: Tick) {
        let passed = now.since(self.earned).as_micros().min(1_000_000) as u64;
        let earned = passed * u64::from(self.per_second) / 1_000_000;
        if earned > 0 {
            self.left = (self.left + earned).min(u64::from(self.per_second / 4));
            self.earned = now;
        }
    }

    fn spend(&mut self, packets: u32) -> bool {
        let rest = self.left.checked_sub(u64::from(packets));
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }
}

impl Sockets {
    fn collect_arp(&mut self, seen: &mut Vec<Seen>) {
        let connections = &mut self.connections;
        self.arp.collect(self.clock.now(), seen, |address, at| {
            connections.heard(address, at);
        });
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
        self.budget.earn(self.clock.now().tick);
        for check in due {
            if !self.budget.spend(packets(&check.ask)) {
                let now = self.clock.now().tick;
                self.ready.push(refused(check, now, Blind::Capped));
                continue;
            }
            match &check.ask {
                Ask::Arp(target) => {
                    let now = self.clock.now();
                    let watch = |packets: &Packets| self.poller.add_reader(packets.as_fd(), ARP);
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
            let mut tokens = core::mem::take(&mut self.tokens);
            tokens.clear();
            let more = match self.poller.poll(&mut tokens) {
                Ok(more) => more,
                Err(error) => {
                    // Deadlines still judge; a broken set shows as misses nowhere else explained.
                    tracing::warn!(%error, "polling the sockets failed");
                    false
                }
            };
            for token in tokens.iter().copied() {
                if token == ARP {
                    self.collect_arp(seen);
                } else {
                    self.connections.event(token, seen);
                }
            }
            self.tokens = tokens;
            if !more {
                break;
            }
        }
        if self.arp.next_deadline().is_some_and(|at| at <= now) {
            // A last look before a request counts as missed.
            self.collect_arp(seen);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_packets_than_the_limit_and_a_quarter() {
        let mut budget = Budget::new(1000);
        let mut sent = 0;
        for ms in 0..3000 {
            budget.earn(Tick::from_millis(10_000 + ms));
            while budget.spend(2) {
                sent += 2;
            }
        }
        assert!((2990..=3250).contains(&sent), "{sent}");
        // Idle time is no credit beyond a quarter of a second.
        budget.earn(Tick::from_millis(60_000));
        let burst = core::iter::from_fn(|| budget.spend(2).then_some(2)).sum::<u32>();
        assert_eq!(burst, 250);
    }
}
