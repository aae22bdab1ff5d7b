//! VMs' evidence on its way into the host's report. Pure.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use pnwatch_core::name::Slot;
use pnwatch_core::outcome::{Layer, Outcome};
use pnwatch_core::schedule::CheckId;
use pnwatch_core::subject::Subject;
use pnwatch_core::time::Tick;
use pnwatch_core::wire::{MAX_VM_PATHS, MAX_VMS, VmReport};

use crate::evidence::{Entry, Gathering, Unit};

/// A VM that told something within this time is in the host's report.
pub const HEARD_WITHIN: Duration = Duration::from_secs(3);

/// One outcome of a VM, checked and stamped.
#[derive(Debug, Clone)]
pub struct Item {
    /// The target's number; 0 = the control.
    pub key: u32,
    /// What it is about.
    pub subject: Arc<Subject>,
    /// The layer.
    pub layer: Layer,
    /// What was seen.
    pub outcome: Outcome,
    /// When the check started.
    pub start: Tick,
    /// Round trip.
    pub rtt: Option<Duration>,
}

/// One message of one VM.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Its slot.
    pub slot: Slot,
    /// Changes with every VM in the slot.
    pub boot_id: String,
    /// It ends.
    pub stopping: bool,
    /// What it saw.
    pub items: Vec<Item>,
}

/// What the relay tells the prober's loop.
#[derive(Debug)]
pub enum VmNews {
    /// A VM said something.
    Heard(Heard),
    /// A job told what came of the endpoint that it was handed, and whether the plan knows it.
    Handed(Outcome, bool),
}

#[derive(Debug)]
struct Voice {
    boot_id: String,
    stopping: bool,
    heard: Tick,
    /// The newest outcome per path, so that a change is told at once.
    last: BTreeMap<(u32, Layer), Outcome>,
    gathering: Gathering,
}

/// All VMs of one host, between two reports.
#[derive(Debug, Default)]
pub struct Vms {
    voices: BTreeMap<Slot, Voice>,
}

/// One VM's evidence, folded.
#[derive(Debug, Clone)]
pub struct FoldedVm {
    slot: Slot,
    boot_id: String,
    stopping: bool,
    unit: Unit,
}

impl Vms {
    /// Takes one message in; whether it should be told at once.
    pub fn take(&mut self, heard: Heard, now: Tick) -> bool {
        if !self.voices.contains_key(&heard.slot) && self.voices.len() >= MAX_VMS {
            return false;
        }
        let fresh = |boot_id: &str| Voice {
            boot_id: boot_id.to_owned(),
            stopping: false,
            heard: now,
            last: BTreeMap::new(),
            gathering: Gathering::default(),
        };
        let voice = self
            .voices
            .entry(heard.slot)
            .or_insert_with(|| fresh(&heard.boot_id));
        if voice.boot_id != heard.boot_id {
            *voice = fresh(&heard.boot_id);
        }
        voice.heard = now;
        voice.stopping = heard.stopping;
        let mut urgent = false;
        for item in heard.items {
            let before = voice.last.insert((item.key, item.layer), item.outcome);
            let missing = |o: Outcome| o.cause().is_some();
            // A miss confirms or opens; a success after misses ends.
            urgent |= missing(item.outcome) || before.is_some_and(missing);
            let entry = Entry {
                rtt: item.rtt,
                ..Entry::plain(item.outcome, item.start)
            };
            let key = (CheckId(item.key), item.layer);
            voice.gathering.add(key, &item.subject, entry, None);
        }
        urgent
    }

    /// What was gathered since the last call, of every VM that is there.
    pub fn fold(&mut self, now: Tick) -> Vec<FoldedVm> {
        let folded = self
            .voices
            .iter_mut()
            .map(|(slot, voice)| FoldedVm {
                slot: slot.clone(),
                boot_id: voice.boot_id.clone(),
                stopping: voice.stopping,
                unit: voice.gathering.fold(now),
            })
            .collect();
        self.voices
            .retain(|_, voice| !voice.stopping && now.since(voice.heard) <= HEARD_WITHIN);
        folded
    }
}

impl FoldedVm {
    /// How many outcomes it holds.
    pub fn outcomes(&self) -> u64 {
        self.unit.outcomes()
    }

    /// Without successes: what is dropped first when there is no room.
    pub fn shed_successes(&mut self) {
        self.unit = self.unit.without_successes();
    }

    /// How many paths it tells of.
    pub fn len(&self) -> usize {
        self.unit.len()
    }

    /// Whether it tells of no path.
    pub fn is_empty(&self) -> bool {
        self.unit.is_empty()
    }

    /// How much of a report it fills, as its unit does.
    pub(crate) fn weight(&self) -> usize {
        self.unit.weight()
    }

    /// Successes as counts alone.
    pub fn shed_samples(&mut self) {
        self.unit = self.unit.folded();
    }

    /// Whether both were said from one slot.
    pub fn is_in_slot_of(&self, other: &Self) -> bool {
        self.slot == other.slot
    }

    /// Takes in what the same VM said next; `false` = it is another VM, or there is no room.
    pub fn join(&mut self, next: &Self) -> bool {
        self.stopping = next.stopping;
        self.boot_id == next.boot_id
            && self.unit.join(&next.unit)
            && self.unit.len() <= MAX_VM_PATHS
    }

    /// As it is told at `now`.
    pub fn told(&self, now: Tick) -> VmReport {
        VmReport {
            slot: self.slot.clone(),
            boot_id: self.boot_id.clone(),
            stopping: self.stopping,
            paths: self.unit.paths(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use pnwatch_core::outcome::Cause;

    use super::*;

    fn heard(boot: &str, outcome: Outcome, ms: u64) -> Heard {
        Heard {
            slot: Slot::new("0").unwrap(),
            boot_id: boot.to_owned(),
            stopping: false,
            items: vec![Item {
                key: 0,
                subject: Arc::new(Subject::Control),
                layer: Layer::Control,
                outcome,
                start: Tick::from_millis(ms),
                rtt: None,
            }],
        }
    }

    /// What waits is joined without losing a VM's word, and two VMs of one slot stay apart.
    #[test]
    fn what_vms_said_is_joined_per_vm() {
        let at = Tick::from_millis;
        let unit = |boot: &str, ms: u64| {
            let mut vms = Vms::default();
            vms.take(heard(boot, Outcome::Reached, ms), at(ms));
            let mut unit = crate::evidence::Gathering::default().fold(at(ms));
            unit.vms = vms.fold(at(ms));
            unit
        };
        let mut first = unit("b-1", 1000);
        assert!(first.join(&unit("b-1", 2000)));
        assert!(!first.join(&unit("b-2", 3000)), "another VM");
        assert_eq!((first.outcomes(), first.len(), first.vms.len()), (2, 1, 1));
        let told = first.folded().vms[0].told(at(3000));
        assert_eq!(told.boot_id, "b-1");
        assert_eq!((told.paths[0].runs[0].count, told.paths.len()), (2, 1));
    }

    #[test]
    fn a_change_is_told_at_once_and_silence_ends_a_vm() {
        let mut vms = Vms::default();
        let at = Tick::from_millis;
        let missed = Outcome::Unreached(Cause::SynUnanswered);
        assert!(!vms.take(heard("b-1", Outcome::Reached, 900), at(1000)));
        assert!(vms.take(heard("b-1", missed, 1900), at(2000)));
        assert!(vms.take(heard("b-1", Outcome::Reached, 2900), at(3000)));
        assert!(!vms.take(heard("b-1", Outcome::Reached, 3000), at(3100)));
        let told = vms.fold(at(3200))[0].told(at(3200));
        assert_eq!(
            (told.boot_id.as_str(), told.paths[0].runs.len()),
            ("b-1", 3)
        );
        assert_eq!(told.paths[0].runs[0].first_age_us, 2_300_000);
        // Another VM: nothing of the first one is told as its own.
        vms.take(heard("b-2", Outcome::Reached, 3900), at(4000));
        assert_eq!(vms.fold(at(4000))[0].told(at(4000)).paths[0].runs.len(), 1);
        assert_eq!(vms.fold(at(7000)).len(), 1);
        assert!(vms.fold(at(7001)).len() <= 1);
        assert!(vms.fold(at(9000)).is_empty());
    }
}
