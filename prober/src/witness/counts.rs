//! The witness's counts: bounded, over a sliding window of whole seconds. Pure.
//!
//! Memory and time per packet are bounded whatever arrives: flows beyond [`MOST_FLOWS`] are only
//! counted, and a SYN that is sent again is recognised in a table of fixed size.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};

use pnwatch_core::link::Mac;
use pnwatch_core::time::Tick;
use pnwatch_core::witness::{Claim, DhcpCount, FlowCount, MAX_CLAIMS, MAX_FLOWS, WitnessReport};

use super::packet::{Handshake, Said};
use crate::link::micros;

/// Seconds that the counts cover.
pub const WINDOW: usize = 10;
/// Most flows that are told apart.
pub const MOST_FLOWS: usize = 16_384;
/// Healthy flows are told only up to this many in all: they explain nothing.
const TOLD_HEALTHY: usize = 64;
/// Slots of the table that recognises repeated SYNs; a power of two.
const REMEMBERED: usize = 8192;
/// A SYN older than this that was not answered counts as unanswered.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long a claim of another machine is told: three of the probes that follow one.
const CLAIM_FOR: Duration = Duration::from_secs(7);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    client: Ipv4Addr,
    server: Ipv4Addr,
    port: u16,
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    syns: u32,
    repeats: u32,
    syn_acks: u32,
}

#[derive(Debug, Clone)]
struct Flow {
    seconds: [Second; WINDOW],
    syn: Option<Tick>,
    syn_ack: Option<Tick>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Counts {
    opened: Tick,
    /// The second that is being counted, since the tick's zero.
    second: u64,
    flows: HashMap<Key, Flow>,
    unlisted: [u64; WINDOW],
    dropped: [u64; WINDOW],
    hasher: RandomState,
    remembered: Vec<(u32, u32)>,
    packets: u64,
    own_mac: Option<Mac>,
    own_address: Option<Ipv4Addr>,
    dhcp_unanswered: u32,
    dhcp_waiting: Option<Tick>,
    dhcp_answer: Option<Tick>,
    claims: BTreeMap<Mac, (Ipv4Addr, Tick)>,
}

impl Counts {
    /// Nothing seen yet, watching since `now`.
    pub fn new(now: Tick) -> Self {
        Self {
            opened: now,
            second: second(now),
            flows: HashMap::new(),
            unlisted: [0; WINDOW],
            dropped: [0; WINDOW],
            hasher: RandomState::new(),
            remembered: vec![(0, 0); REMEMBERED],
            packets: 0,
            own_mac: None,
            own_address: None,
            dhcp_unanswered: 0,
            dhcp_waiting: None,
            dhcp_answer: None,
            claims: BTreeMap::new(),
        }
    }

    /// Whose DHCP counts, and whose address may not be claimed by others.
    pub fn set_own(&mut self, mac: Option<Mac>, address: Option<Ipv4Addr>) {
        if address != self.own_address {
            self.claims.clear();
        }
        (self.own_mac, self.own_address) = (mac, address);
    }

    /// Packets seen since the start.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Whether another machine claims our address.
    pub fn is_claimed(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Takes one packet in, which came at `at`.
    pub fn take(&mut self, said: Said, at: Tick) {
        self.packets += 1;
        self.turn(at);
        match said {
            Said::Tcp(handshake) => self.handshake(handshake, at),
            Said::DhcpRequest(mac) if Some(mac) == self.own_mac => {
                self.dhcp_unanswered = self.dhcp_unanswered.saturating_add(1);
                self.dhcp_waiting.get_or_insert(at);
            }
            Said::DhcpAnswer(mac) if Some(mac) == self.own_mac => {
                self.dhcp_unanswered = 0;
                self.dhcp_waiting = None;
                self.dhcp_answer = Some(at);
            }
            Said::Arp(mac, address)
                if Some(address) == self.own_address
                    && self.own_mac.is_some_and(|own| own != mac)
                    && (self.claims.len() < MAX_CLAIMS || self.claims.contains_key(&mac)) =>
            {
                self.claims.insert(mac, (address, at));
            }
            Said::Arp(..) | Said::DhcpRequest(_) | Said::DhcpAnswer(_) => {}
        }
    }

    /// The kernel dropped so many packets before they were read.
    pub fn lost(&mut self, count: u64, now: Tick) {
        self.turn(now);
        let slot = slot(self.second);
        self.dropped[slot] = self.dropped[slot].saturating_add(count);
    }

    fn handshake(&mut self, seen: Handshake, at: Tick) {
        let slot = slot(self.second);
        let again = !seen.answer && self.is_repeated(&seen);
        let key = Key {
            client: seen.client,
            server: seen.server,
            port: seen.port,
        };
        let full = self.flows.len() >= MOST_FLOWS;
        let flow = match self.flows.entry(key) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            // An answer alone makes no flow: its SYN came before we watched.
            std::collections::hash_map::Entry::Vacant(_) if seen.answer => return,
            std::collections::hash_map::Entry::Vacant(_) if full => {
                self.unlisted[slot] = self.unlisted[slot].saturating_add(1);
                return;
            }
            std::collections::hash_map::Entry::Vacant(place) => place.insert(Flow {
                seconds: [Second::default(); WINDOW],
                syn: None,
                syn_ack: None,
            }),
        };
        let counts = &mut flow.seconds[slot];
        if seen.answer {
            counts.syn_acks = counts.syn_acks.saturating_add(1);
            flow.syn_ack = Some(at);
        } else {
            counts.syns = counts.syns.saturating_add(1);
            counts.repeats = counts.repeats.saturating_add(u32::from(again));
            flow.syn = Some(at);
        }
    }

    /// Whether the same SYN was seen within the window. Two different ones that meet in one
    /// place make a repeat be missed, never invented (but for one in 2^32).
    fn is_repeated(&mut self, seen: &Handshake) -> bool {
        let hash = self.hasher.hash_one((
            seen.client,
            seen.client_port,
            seen.server,
            seen.port,
            seen.sequence,
        ));
        let place = (hash as usize) & (REMEMBERED - 1);
        let tag = (hash >> 32) as u32;
        let now = self.second as u32;
        let (known, when) = self.remembered[place];
        self.remembered[place] = (tag, now);
        known == tag && now.wrapping_sub(when) < WINDOW as u32
    }

    /// Moves the window on to `now`.
    fn turn(&mut self, now: Tick) {
        let current = second(now);
        if current <= self.second {
            return;
        }
        let passed = (current - self.second).min(WINDOW as u64);
        for back in 0..passed {
            let old = slot(current - back);
            self.unlisted[old] = 0;
            self.dropped[old] = 0;
            for flow in self.flows.values_mut() {
                flow.seconds[old] = Second::default();
            }
        }
        self.second = current;
        let window = Duration::from_secs(WINDOW as u64);
        self.flows
            .retain(|_, flow| flow.syn.is_some_and(|syn| now.since(syn) < window));
        self.claims.retain(|_, (_, at)| now.since(*at) < CLAIM_FOR);
    }

    /// What is told at `now`; what the kernel's tables say is added by the owner.
    pub fn report(&mut self, now: Tick) -> WitnessReport {
        self.turn(now);
        let mut flows: Vec<(bool, FlowCount)> = self
            .flows
            .iter()
            .filter_map(|(key, flow)| flow.told(*key, now))
            .collect();
        flows.sort_by_key(|(troubled, flow)| {
            (
                !troubled,
                u32::MAX - flow.syns,
                flow.client,
                flow.server,
                flow.port,
            )
        });
        let troubled = flows.iter().filter(|(troubled, _)| *troubled).count();
        let keep = troubled.clamp(TOLD_HEALTHY, MAX_FLOWS);
        let beyond = flows.iter().skip(keep).filter(|(troubled, _)| *troubled);
        let beyond: u64 = beyond.map(|(_, flow)| u64::from(flow.syns)).sum();
        flows.truncate(keep);
        let window = now
            .since(self.opened)
            .min(Duration::from_secs(WINDOW as u64));
        WitnessReport {
            window_us: micros(window),
            flows: flows.into_iter().map(|(_, flow)| flow).collect(),
            unlisted_syns: self.unlisted.iter().sum::<u64>().saturating_add(beyond),
            dropped: self.dropped.iter().sum(),
            dhcp: DhcpCount {
                unanswered: self.dhcp_unanswered,
                waiting_us: self.dhcp_waiting.map(|at| micros(now.since(at))),
                answer_age_us: self.dhcp_answer.map(|at| micros(now.since(at))),
            },
            claims: self
                .claims
                .iter()
                .map(|(mac, (address, at))| Claim {
                    address: *address,
                    mac: *mac,
                    age_us: micros(now.since(*at)),
                })
                .collect(),
            ..WitnessReport::default()
        }
    }
}

impl Flow {
    /// The flow as it is told, and whether something is the matter with it.
    fn told(&self, key: Key, now: Tick) -> Option<(bool, FlowCount)> {
        let syn = self.syn?;
        let sum = |of: fn(&Second) -> u32| self.seconds.iter().map(of).sum::<u32>();
        let (syns, repeats, syn_acks) = (sum(|s| s.syns), sum(|s| s.repeats), sum(|s| s.syn_acks));
        let answered = self.syn_ack.is_some_and(|answer| answer >= syn);
        let waits = !answered && now.since(syn) >= PATIENCE;
        let count = FlowCount {
            client: key.client,
            server: key.server,
            port: key.port,
            syns,
            repeats,
            syn_acks,
            syn_age_us: micros(now.since(syn)),
            syn_ack_age_us: self
                .syn_ack
                .filter(|_| syn_acks > 0)
                .map(|at| micros(now.since(at))),
        };
        (syns > 0).then_some((waits || repeats > 0 || syn_acks == 0, count))
    }
}

fn second(at: Tick) -> u64 {
    at.as_nanos() / 1_000_000_000
}

fn slot(second: u64) -> usize {
    (second % WINDOW as u64) as usize
}

#[cfg(test)]
#[path = "counts_tests.rs"]
mod tests;
