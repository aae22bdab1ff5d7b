//! What a host makes of its VMs' words: targets get numbers, numbers become targets again. Pure.
//!
//! A VM can name nothing here: numbers that were not handed out, old briefs, old messages and
//! outcomes older than they may be are dropped and counted.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use pnwatch_core::digest::salted;
use pnwatch_core::inventory::AccountTarget;
use pnwatch_core::link::Mac;
use pnwatch_core::outcome::{Blind, Cause, Layer, Outcome};
use pnwatch_core::subject::{Subject, TargetKind};
use pnwatch_core::time::Tick;

use super::evidence::{Heard, Item};
use super::pace::Bucket;
use super::slots::{Occupant, Slots};
use super::talk::{Brief, Handed, MAX_AGE_US, MAX_TARGETS, Numbered, Told, VERSION};

/// After this time another of many targets gets its turn.
pub const TURN: Duration = Duration::from_secs(30);
/// Outcomes of one slot: two checks a second, of two layers each, and as much again.
const PER_OUTCOME: Duration = Duration::from_millis(125);
const BURST: u32 = 64;
/// Jobs of one host that tell what they were handed.
const PER_HANDED: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
struct Target {
    subject: Arc<Subject>,
    at: SocketAddrV4,
    tenant: Option<String>,
}

/// What was handed out under one brief's number.
#[derive(Debug)]
struct Issued {
    number: u64,
    salt: String,
    targets: BTreeMap<u32, Target>,
}

/// What a slot said last.
#[derive(Debug)]
struct Voice {
    boot_id: String,
    run: u64,
    seq: u64,
    bucket: Bucket,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Desk {
    slots: Slots,
    salt: fn() -> String,
    targets: Vec<Target>,
    control: Vec<SocketAddr>,
    hold: bool,
    first: usize,
    turned: Tick,
    issued: [Option<Issued>; 2],
    next_id: u32,
    ids: BTreeMap<SocketAddrV4, u32>,
    voices: BTreeMap<String, Voice>,
    handed: Bucket,
    /// Outcomes and messages that were dropped.
    pub dropped: u64,
}

impl Desk {
    /// Nothing to check yet. `salt` makes a fresh secret at each call.
    pub fn new(boot_id: &str, control: Vec<SocketAddr>, salt: fn() -> String, now: Tick) -> Self {
        Self {
            slots: Slots::new(boot_id),
            salt,
            targets: Vec::new(),
            control,
            hold: false,
            first: 0,
            turned: now,
            issued: [None, None],
            next_id: 0,
            ids: BTreeMap::new(),
            voices: BTreeMap::new(),
            handed: Bucket::new(PER_HANDED, 10, now),
            dropped: 0,
        }
    }

    /// The plan's targets are these now; whether that is news.
    pub fn set_targets(&mut self, targets: &[AccountTarget]) -> bool {
        let wanted: Vec<Target> = targets
            .iter()
            .filter(|target| target.kind == TargetKind::Nodeport)
            .map(|target| Target {
                subject: Arc::new(target.subject()),
                at: SocketAddrV4::new(target.address, target.port),
                tenant: target.tenant.as_ref().map(ToString::to_string),
            })
            .collect();
        let key = |t: &Target| (t.subject.clone(), t.at, t.tenant.clone());
        if self.targets.iter().map(key).eq(wanted.iter().map(key)) {
            return false;
        }
        self.ids
            .retain(|at, _| wanted.iter().any(|target| target.at == *at));
        self.targets = wanted;
        self.first = 0;
        true
    }

    /// Whether VMs are to check nothing; whether that is news.
    pub fn set_hold(&mut self, hold: bool) -> bool {
        core::mem::replace(&mut self.hold, hold) != hold
    }

    /// Whether other targets get their turn now.
    pub fn turn(&mut self, now: Tick) -> bool {
        if self.targets.len() <= MAX_TARGETS || now.since(self.turned) < TURN {
            return false;
        }
        self.turned = now;
        self.first = (self.first + 1) % self.targets.len();
        true
    }

    /// A new brief: the next targets in turn, under a new number and a new salt.
    pub fn brief(&mut self) -> Brief {
        let salt = (self.salt)();
        let around = self.targets.iter().cycle().skip(self.first);
        let chosen: Vec<Target> = around
            .take(self.targets.len().min(MAX_TARGETS))
            .cloned()
            .collect();
        let mut targets = BTreeMap::new();
        for target in chosen {
            let id = *self.ids.entry(target.at).or_insert_with(|| {
                self.next_id = self.next_id.wrapping_add(1);
                self.next_id
            });
            targets.insert(id, target);
        }
        let number = self.issued[0].as_ref().map_or(1, |last| last.number + 1);
        let brief = Brief {
            version: VERSION,
            number,
            salt: salt.clone(),
            targets: targets
                .iter()
                .map(|(id, target)| Numbered {
                    id: *id,
                    at: target.at,
                })
                .collect(),
            control: self.control.iter().take(MAX_TARGETS).copied().collect(),
            hold: self.hold,
        };
        self.issued[1] = self.issued[0].take();
        self.issued[0] = Some(Issued {
            number,
            salt,
            targets,
        });
        brief
    }

    /// What a VM said becomes evidence of its slot; `None` = nothing of it counts.
    pub fn hear(
        &mut self,
        peer: Ipv4Addr,
        mac: Option<Mac>,
        told: &Told,
        now: Tick,
    ) -> Option<Heard> {
        let Some(occupant) = self.slots.stamp(peer, mac, told.run, now) else {
            self.dropped += 1;
            return None;
        };
        if !self.is_news(&occupant, told, now) {
            self.dropped += 1;
            return None;
        }
        let items: Vec<Item> = told
            .seen
            .iter()
            .filter_map(|seen| {
                let item = self.item(&occupant, told.brief, seen, now);
                self.dropped += u64::from(item.is_none());
                item
            })
            .collect();
        if told.stopping {
            self.slots.release(&occupant);
        }
        Some(Heard {
            slot: occupant.slot,
            boot_id: occupant.boot_id,
            stopping: told.stopping,
            items,
        })
    }

    /// Whether the message is newer than the last of its agent. VMs that share a slot count
    /// each for itself.
    fn is_news(&mut self, occupant: &Occupant, told: &Told, now: Tick) -> bool {
        if self.voices.len() > super::slots::MAX_SLOTS {
            self.voices.clear();
        }
        let voice = self
            .voices
            .entry(occupant.slot.to_string())
            .or_insert_with(|| Voice {
                boot_id: occupant.boot_id.clone(),
                run: told.run,
                seq: 0,
                bucket: Bucket::new(PER_OUTCOME, BURST, now),
            });
        if voice.boot_id != occupant.boot_id || (occupant.shared && voice.run != told.run) {
            // The pace is the slot's, whoever is in it.
            voice.boot_id.clone_from(&occupant.boot_id);
            (voice.run, voice.seq) = (told.run, 0);
        }
        let news = told.seq > voice.seq;
        voice.seq = voice.seq.max(told.seq);
        news
    }

    fn item(
        &mut self,
        occupant: &Occupant,
        brief: u64,
        seen: &super::talk::VmSeen,
        now: Tick,
    ) -> Option<Item> {
        if seen.age_us > MAX_AGE_US {
            return None;
        }
        let voice = self.voices.get_mut(occupant.slot.as_str())?;
        voice.bucket.take(now).ok()?;
        let issued = self.issued.iter().flatten().find(|i| i.number == brief)?;
        let (key, subject, expected) = match (seen.id, seen.layer) {
            (None, Layer::Control) => (0, Arc::new(Subject::Control), None),
            (Some(id), Layer::Tcp | Layer::Http) => {
                let target = issued.targets.get(&id)?;
                (id, target.subject.clone(), target.tenant.as_deref())
            }
            _ => return None,
        };
        let outcome = match seen.outcome {
            // The host compares; a VM says of no tenant that it is the wrong one.
            Outcome::Unreached(Cause::WrongTenant) => Outcome::Unmeasured(Blind::Unrecognised),
            Outcome::Reached if is_other(expected, seen.tenant.as_deref(), &issued.salt) => {
                Outcome::Unreached(Cause::WrongTenant)
            }
            Outcome::Unreached(_) if occupant.shared => Outcome::Unmeasured(Blind::NoSource),
            outcome => outcome,
        };
        Some(Item {
            key,
            subject,
            layer: seen.layer,
            outcome,
            start: now.before(Duration::from_micros(seen.age_us)),
            rtt: seen.rtt_us.map(|us| Duration::from_micros(us.into())),
        })
    }

    /// A job told what it was handed: what came of it, and whether this host's plan knows the
    /// endpoint. `None` = too many at once.
    pub fn handed(&mut self, handed: &Handed, now: Tick) -> Option<(Outcome, bool)> {
        if self.handed.take(now).is_err() {
            self.dropped += 1;
            return None;
        }
        let known = handed
            .at
            .is_some_and(|at| self.targets.iter().any(|target| target.at == at));
        Some((handed.outcome, known))
    }

    /// How many VMs are heard, and whether some of them cannot be told apart.
    pub fn count(&mut self, now: Tick) -> (usize, bool) {
        self.slots.count(now)
    }
}

/// Only another name is proof: an answer without one may be an older cache.
fn is_other(expected: Option<&str>, told: Option<&str>, salt: &str) -> bool {
    match (expected, told) {
        (Some(expected), Some(told)) => salted(salt, expected) != told,
        _ => false,
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
