//! Which VM is which: a slot per hardware address, given by the host. Pure.
//!
//! An address identifies no VM (all of them may be 192.168.64.2), and what a VM says of itself
//! counts for nothing. A slot outlives its VMs: its number is given again as soon as it is free,
//! so that a thousand VMs in a row are one series.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::BTreeMap;

use pnwatch_core::link::Mac;
use pnwatch_core::name::Slot;
use pnwatch_core::time::Tick;

/// Slots of one host.
pub const MAX_SLOTS: usize = 4;
/// A VM that is not heard for this long has left its slot.
pub const GONE: Duration = Duration::from_secs(5);
/// Within this time a second machine behind one address makes the two indistinguishable.
const MIXED_WITHIN: Duration = Duration::from_secs(10);
/// The one slot of VMs that cannot be told apart.
pub const SHARED: &str = "shared";

/// Who is in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// The slot.
    pub slot: Slot,
    /// Changes with every VM in it.
    pub boot_id: String,
    /// Several VMs, or one that cannot be told from another: what it misses proves nothing.
    pub shared: bool,
}

#[derive(Debug)]
struct Held {
    mac: Mac,
    run: u64,
    number: u64,
    heard: Tick,
}

/// What was heard behind one address.
#[derive(Debug)]
struct Behind {
    /// Machine and agent, and when they were last heard.
    last: (Option<Mac>, u64),
    heard: Tick,
    /// Whoever was there before, and when it was last heard.
    before: Option<((Option<Mac>, u64), Tick)>,
    mixed_at: Option<Tick>,
}

/// The slots of one host.
#[derive(Debug)]
pub struct Slots {
    boot_id: String,
    held: BTreeMap<usize, Held>,
    behind: BTreeMap<Ipv4Addr, Behind>,
    number: u64,
    shared_at: Option<Tick>,
}

impl Slots {
    /// All free. `boot_id` is the prober's.
    pub fn new(boot_id: &str) -> Self {
        Self {
            boot_id: boot_id.to_owned(),
            held: BTreeMap::new(),
            behind: BTreeMap::new(),
            number: 0,
            shared_at: None,
        }
    }

    /// Who speaks: `run` of an agent at `peer`, whose hardware address is `mac` if it is known.
    /// `None` = every slot is taken.
    pub fn stamp(
        &mut self,
        peer: Ipv4Addr,
        mac: Option<Mac>,
        run: u64,
        now: Tick,
    ) -> Option<Occupant> {
        self.expire(now);
        let mixed = self.is_mixed(peer, (mac, run), now)?;
        let Some(mac) = mac.filter(|_| !mixed) else {
            self.shared_at = Some(now);
            return Some(Occupant {
                slot: Slot::new(SHARED).ok()?,
                boot_id: format!("{}-shared", self.boot_id),
                shared: true,
            });
        };
        let index = self.index_of(mac)?;
        let number = &mut self.number;
        let held = self.held.entry(index).or_insert_with(|| {
            *number += 1;
            Held {
                mac,
                run,
                number: *number,
                heard: now,
            }
        });
        if held.run != run {
            // The same machine with another agent has booted anew.
            *number += 1;
            (held.run, held.number) = (run, *number);
        }
        held.heard = now;
        Some(Occupant {
            slot: Slot::new(index.to_string()).ok()?,
            boot_id: format!("{}-{}", self.boot_id, held.number),
            shared: false,
        })
    }

    /// Takes note of who is behind an address; whether it has been two at once. `None` = too many
    /// addresses.
    fn is_mixed(&mut self, peer: Ipv4Addr, who: (Option<Mac>, u64), now: Tick) -> Option<bool> {
        if !self.behind.contains_key(&peer) && self.behind.len() >= 4 * MAX_SLOTS {
            return None;
        }
        let behind = self.behind.entry(peer).or_insert(Behind {
            last: who,
            heard: now,
            before: None,
            mixed_at: None,
        });
        if behind.last != who {
            // One VM that follows another is heard once and for all; two take turns.
            let back = behind
                .before
                .is_some_and(|(earlier, heard)| earlier == who && now.since(heard) <= MIXED_WITHIN);
            if back {
                behind.mixed_at = Some(now);
            }
            behind.before = Some((behind.last, behind.heard));
            behind.last = who;
        }
        behind.heard = now;
        Some(
            behind
                .mixed_at
                .is_some_and(|at| now.since(at) <= MIXED_WITHIN),
        )
    }

    fn index_of(&self, mac: Mac) -> Option<usize> {
        let own = self.held.iter().find(|(_, held)| held.mac == mac);
        own.map(|(index, _)| *index)
            .or_else(|| (0..MAX_SLOTS).find(|index| !self.held.contains_key(index)))
    }

    /// The VM in `slot` said goodbye.
    pub fn release(&mut self, occupant: &Occupant) {
        self.held
            .retain(|index, _| index.to_string() != occupant.slot.as_str());
    }

    fn expire(&mut self, now: Tick) {
        self.held.retain(|_, held| now.since(held.heard) <= GONE);
        self.behind
            .retain(|_, behind| now.since(behind.heard) <= MIXED_WITHIN);
    }

    /// How many VMs are heard, and whether some of them cannot be told apart.
    pub fn count(&mut self, now: Tick) -> (usize, bool) {
        self.expire(now);
        let shared = self.shared_at.is_some_and(|at| now.since(at) <= GONE);
        (self.held.len() + usize::from(shared), shared)
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
