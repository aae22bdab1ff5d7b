//! A host's packet filter as plain facts, and what is wrong with it.
//!
//! The same facts from two collectors: pf on Macs (`pfctl(8)`), nft on Linux (`nft(8)`). A fact
//! that was not read is `None` (or an empty list) and never a fault.

use serde::{Deserialize, Serialize};

use crate::outcome::labels;

/// Most port ranges kept; a rule set of more is not one that admits VMs.
pub const MAX_PORT_SPANS: usize = 16;
/// Share of the limit at which states count as exhausted, in hundredths. pf shortens its
/// time-outs from 60 % on (`adaptive.start`, pf.conf(5)): at 90 % that no longer helps.
pub const STATES_NEAR: u64 = 90;

/// Which packet filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterKind {
    /// macOS, `pfctl(8)`.
    Pf,
    /// Linux, `nft(8)`.
    Nft,
    /// Another one, or a peer that does not say.
    #[default]
    #[serde(other)]
    Unrecognised,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl FilterKind {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature serde asks for"
    )]
    fn is_unrecognised(&self) -> bool {
        *self == Self::Unrecognised
    }
}

/// Destination ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortSpan {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortSpan {
    /// Whether `port` lies inside.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// What a host's packet filter does for its VMs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FilterFacts {
    /// Which filter.
    #[serde(default, skip_serializing_if = "FilterKind::is_unrecognised")]
    pub kind: FilterKind,
    /// It filters at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The rules that admit VM sources to the PN are loaded, in the anchor or table of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admits_vms: Option<bool>,
    /// Entries of the set of VM sources that those rules name: 0 = loaded, and admits nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<u32>,
    /// Destination ports that are admitted; empty = not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortSpan>,
    /// A NAT rule of the PN leg is there, on the PN device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_rule: Option<bool>,
    /// The device that the PN leg's NAT rule names instead, where it names another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_device: Option<String>,
    /// Rules of the VMs are loaded twice.
    #[serde(default)]
    pub duplicate: bool,
    /// The last load failed (`Resource busy`).
    #[serde(default)]
    pub load_failed: bool,
    /// States in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<u64>,
    /// Limit of states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states_limit: Option<u64>,
    /// Seconds since it was read: it is asked far less often than the link.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub age_s: u64,
}

labels!(
    /// What is wrong with a packet filter, worst first.
    FilterFlaw {
        /// It is switched off: VMs have no NAT.
        Disabled => "disabled",
        /// No NAT rule for the PN leg.
        NatMissing => "nat_missing",
        /// The NAT rule names another device than the PN's.
        NatElsewhere => "nat_elsewhere",
        /// The rules that admit VMs are not loaded.
        RulesMissing => "rules_missing",
        /// The rules admit nobody: their set of sources is empty.
        SourcesEmpty => "sources_empty",
        /// The last load failed; an old rule set may be in force.
        LoadFailed => "load_failed",
        /// Loaded twice: which copy wins is chance.
        Duplicate => "duplicate",
        /// A target's port lies outside what is admitted.
        PortsUncovered => "ports_uncovered",
        /// States are at their limit: new connections die, old ones live.
        StatesExhausted => "states_exhausted",
    }
);

impl FilterFlaw {
    /// What a person reads.
    pub fn title(self) -> &'static str {
        match self {
            Self::Disabled => "the packet filter is switched off",
            Self::NatMissing => "no NAT rule for the PN is loaded",
            Self::NatElsewhere => "the NAT rule for the PN is on another device",
            Self::RulesMissing => "the rules that admit VMs are not loaded",
            Self::SourcesEmpty => "the rules admit no VM: their set of sources is empty",
            Self::LoadFailed => "the last load of the rules failed; old ones may be in force",
            Self::Duplicate => "the VMs' rules are loaded twice",
            Self::PortsUncovered => "a target's port is outside the admitted range",
            Self::StatesExhausted => "connection states are at their limit",
        }
    }

    /// Whether VMs lose the PN by it, rather than may.
    pub fn cuts_vms_off(self) -> bool {
        matches!(
            self,
            Self::Disabled
                | Self::NatMissing
                | Self::NatElsewhere
                | Self::RulesMissing
                | Self::SourcesEmpty
        )
    }
}

impl FilterFacts {
    /// Its rules alone, without what changes from look to look.
    #[must_use]
    pub fn rules(&self) -> Self {
        Self {
            states: None,
            states_limit: None,
            age_s: 0,
            ..self.clone()
        }
    }

    /// What is wrong, worst first; `ports` = where the targets listen.
    pub fn flaws(&self, ports: impl IntoIterator<Item = u16>) -> Vec<FilterFlaw> {
        use FilterFlaw as F;
        let uncovered = |port| !self.ports.iter().any(|span| span.contains(port));
        let held = |flaw: F| match flaw {
            F::Disabled => self.enabled == Some(false),
            F::NatMissing => self.nat_rule == Some(false) && self.nat_device.is_none(),
            F::NatElsewhere => self.nat_rule == Some(false) && self.nat_device.is_some(),
            F::RulesMissing => self.admits_vms == Some(false),
            F::SourcesEmpty => self.sources == Some(0),
            F::LoadFailed => self.load_failed,
            F::Duplicate => self.duplicate,
            F::PortsUncovered => false,
            F::StatesExhausted => self.states_near_limit(),
        };
        let mut flaws: Vec<F> = F::ALL.iter().copied().filter(|f| held(*f)).collect();
        if !self.ports.is_empty() && ports.into_iter().any(uncovered) {
            flaws.push(F::PortsUncovered);
            flaws.sort_unstable();
        }
        flaws
    }

    /// States in use, in hundredths of their limit.
    pub fn states_used(&self) -> Option<u64> {
        let (states, limit) = (self.states?, self.states_limit?);
        (limit > 0).then(|| states.saturating_mul(100) / limit)
    }

    /// Whether states are at [`STATES_NEAR`] of their limit.
    pub fn states_near_limit(&self) -> bool {
        self.states_used().is_some_and(|used| used >= STATES_NEAR)
    }

    /// The facts without what changes by itself: counts and ages.
    #[must_use]
    pub fn settled(&self) -> Self {
        let near = self.states_near_limit();
        Self {
            states: self.states.map(|_| u64::from(near)),
            age_s: 0,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> FilterFacts {
        FilterFacts {
            kind: FilterKind::Pf,
            enabled: Some(true),
            admits_vms: Some(true),
            sources: Some(1),
            ports: vec![PortSpan {
                first: 30000,
                last: 32767,
            }],
            nat_rule: Some(true),
            states: Some(120),
            states_limit: Some(10_000),
            ..FilterFacts::default()
        }
    }

    #[test]
    fn each_flaw_is_seen_alone() {
        use FilterFlaw as F;
        let with = |change: fn(&mut FilterFacts)| {
            let mut facts = healthy();
            change(&mut facts);
            facts.flaws([30_080])
        };
        assert_eq!(with(|_| {}), []);
        for (change, flaw) in [
            (
                (|f| f.enabled = Some(false)) as fn(&mut FilterFacts),
                F::Disabled,
            ),
            (|f| f.nat_rule = Some(false), F::NatMissing),
            (
                |f| {
                    f.nat_rule = Some(false);
                    f.nat_device = Some("vlan1".into());
                },
                F::NatElsewhere,
            ),
            (|f| f.admits_vms = Some(false), F::RulesMissing),
            (|f| f.sources = Some(0), F::SourcesEmpty),
            (|f| f.load_failed = true, F::LoadFailed),
            (|f| f.duplicate = true, F::Duplicate),
            (|f| f.ports[0].last = 30_079, F::PortsUncovered),
            (|f| f.states = Some(9_000), F::StatesExhausted),
        ] {
            assert_eq!(with(change), [flaw]);
        }
        assert_eq!(F::ALL.len(), 9);
    }

    #[test]
    fn what_was_not_read_is_no_flaw() {
        assert_eq!(FilterFacts::default().flaws([1, 65_535]), []);
        let limitless = FilterFacts {
            states: Some(5),
            states_limit: Some(0),
            ..FilterFacts::default()
        };
        assert_eq!(limitless.flaws([]), []);
    }

    #[test]
    fn the_worst_is_named_first() {
        let mut facts = healthy();
        facts.duplicate = true;
        facts.nat_rule = Some(false);
        facts.ports[0].first = 31_000;
        assert_eq!(
            facts.flaws([30_080]),
            [
                FilterFlaw::NatMissing,
                FilterFlaw::Duplicate,
                FilterFlaw::PortsUncovered
            ]
        );
    }

    #[test]
    fn counts_and_ages_are_no_change() {
        let (mut a, mut b) = (healthy(), healthy());
        (a.states, a.age_s, b.age_s) = (Some(8_999), 3, 11);
        assert_eq!(a.settled(), b.settled());
        b.states = Some(9_000);
        assert_ne!(a.settled(), b.settled());
    }

    #[test]
    fn an_older_peer_and_a_newer_one_are_read() {
        let older: FilterFacts =
            serde_json::from_str(r#"{"admits_vms":true,"nat_rule":false}"#).unwrap();
        assert_eq!(older.kind, FilterKind::Unrecognised);
        assert_eq!(older.flaws([]), [FilterFlaw::NatMissing]);
        let newer: FilterFacts = serde_json::from_str(r#"{"kind":"ebpf","more":[1]}"#).unwrap();
        assert_eq!(newer, FilterFacts::default());
    }
}
