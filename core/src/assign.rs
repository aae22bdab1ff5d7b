//! Who checks which targets, where everybody checking everything would be too much.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998): of each kind of vantage the ones with the
//! highest hash of (vantage, target) check that target. Replicas that never talk agree, the load
//! is spread evenly, and a vantage that comes or goes moves only its own targets.

use crate::inventory::Inventory;
use crate::name::Vantage;
use crate::subject::Subject;

/// When not every vantage checks every target any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sparse {
    /// Paths (expected vantages times account targets) above which targets are shared out.
    pub above: usize,
    /// Vantages of each kind that check one target then. A finding needs two witnesses, and one
    /// may be away: never under three.
    pub vantages: usize,
}

impl Default for Sparse {
    /// 200 vantages times 100 accounts are still everybody's.
    fn default() -> Self {
        Self {
            above: 20_000,
            vantages: 5,
        }
    }
}

/// Fewest vantages of each kind per target.
pub const LEAST: usize = 3;

/// The share of one vantage.
#[derive(Debug, Clone)]
pub struct Share {
    own: u64,
    /// The hashes of the others of the same kind.
    others: Vec<u64>,
    vantages: usize,
    everything: bool,
}

impl Share {
    /// The share of `vantage`. One that the inventory does not expect gets everything: nobody
    /// counts on it.
    pub fn of(inventory: &Inventory, vantage: &Vantage, sparse: Sparse) -> Self {
        let paths = inventory
            .vantages
            .len()
            .saturating_mul(inventory.targets.len());
        let others = inventory
            .vantages
            .keys()
            .filter(|other| other.kind() == vantage.kind() && *other != vantage)
            .map(|other| hash(&other.to_string()))
            .collect();
        Self {
            own: hash(&vantage.to_string()),
            others,
            vantages: sparse.vantages.max(LEAST),
            everything: paths <= sparse.above || !inventory.vantages.contains_key(vantage),
        }
    }

    /// Whether it holds `target`.
    pub fn holds(&self, target: &Subject) -> bool {
        if self.everything || self.others.len() < self.vantages {
            return true;
        }
        let target = hash(&target.to_string());
        let own = (mix(self.own, target), self.own);
        let ahead = self
            .others
            .iter()
            .filter(|other| (mix(**other, target), **other) > own);
        ahead.take(self.vantages).count() < self.vantages
    }
}

/// FNV-1a over the bytes: the same on every machine and in every version.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finalizer of `SplitMix64`: every bit of both counts.
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use core::fmt::Write as _;
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::inventory::InventoryFile;
    use crate::name::Cluster;

    fn inventory(hosts: usize, accounts: usize) -> Inventory {
        let mut text = String::from(
            r#"{"pn_cidr":"172.16.0.0/22","nodes":[{"name":"n1","address":"172.16.0.2"}],"vantages":[{"vantage":"node/n1"}"#,
        );
        for n in 0..hosts {
            let _ = write!(
                text,
                r#",{{"vantage":"host/m{n}"}},{{"vantage":"vm/m{n}/0"}}"#
            );
        }
        text += r#"],"targets":["#;
        let targets: Vec<String> = (0..accounts)
            .map(|n| {
                format!(
                    r#"{{"account":"a{n}","instance":"i{n}","node":"n1","address":"172.16.0.2","port":{}}}"#,
                    30_000 + n
                )
            })
            .collect();
        text += &targets.join(",");
        text += "]}";
        let file: InventoryFile = serde_json::from_str(&text).unwrap();
        file.into_inventory(Cluster::new("production").unwrap())
            .unwrap()
    }

    const TIGHT: Sparse = Sparse {
        above: 0,
        vantages: 5,
    };

    /// Which targets each vantage holds.
    fn shares(inventory: &Inventory, sparse: Sparse) -> BTreeMap<Vantage, BTreeSet<Subject>> {
        let share = |vantage: &Vantage| {
            let share = Share::of(inventory, vantage, sparse);
            let held = inventory.targets.keys().filter(|t| share.holds(t));
            (vantage.clone(), held.cloned().collect())
        };
        inventory.vantages.keys().map(share).collect()
    }

    #[test]
    fn below_the_size_everybody_checks_everything() {
        let inventory = inventory(40, 100);
        let all = shares(&inventory, Sparse::default());
        assert!(all.values().all(|held| held.len() == 100));
    }

    #[test]
    fn above_it_each_target_has_exactly_its_vantages_of_each_kind_and_loads_are_even() {
        let inventory = inventory(60, 400);
        let all = shares(&inventory, TIGHT);
        for target in inventory.targets.keys() {
            for prefix in ["host/", "vm/"] {
                let count = all
                    .iter()
                    .filter(|(v, held)| v.to_string().starts_with(prefix) && held.contains(target))
                    .count();
                assert_eq!(count, 5, "{target} {prefix}");
            }
        }
        // 400 × 5 / 60 = 33 each; the only node holds all.
        for (vantage, held) in &all {
            let right = if vantage.to_string() == "node/n1" {
                held.len() == 400
            } else {
                (12..=66).contains(&held.len())
            };
            assert!(right, "{vantage} holds {}", held.len());
        }
    }

    #[test]
    fn one_that_goes_moves_only_its_own_targets() {
        let mut inventory = inventory(60, 400);
        let before = shares(&inventory, TIGHT);
        let gone: Vantage = "host/m7".parse().unwrap();
        inventory.vantages.remove(&gone);
        let after = shares(&inventory, TIGHT);
        let freed = &before[&gone];
        let mut moved = 0;
        for (vantage, held) in &after {
            assert!(before[vantage].is_subset(held), "{vantage} lost a target");
            let new: BTreeSet<_> = held.difference(&before[vantage]).cloned().collect();
            assert!(new.is_subset(freed), "{vantage} got what was not free");
            moved += new.len();
        }
        assert_eq!(moved, freed.len());
    }

    #[test]
    fn too_few_vantages_and_unexpected_ones_check_everything() {
        let small = inventory(4, 50);
        let all = shares(&small, TIGHT);
        assert!(all.values().all(|held| held.len() == 50));
        let stranger = "host/stranger".parse().unwrap();
        let big = inventory(60, 50);
        let share = Share::of(&big, &stranger, TIGHT);
        assert!(big.targets.keys().all(|t| share.holds(t)));
    }
}
