//! Paths and links reduced to small closed signs, which the table can be exhaustive over.

use core::time::Duration;

use super::scope::Case;
use super::table::{FilterSign, Room};
use super::trace::Hold;
use crate::board::Tally;
use crate::filter::{FilterFacts, FilterFlaw};
use crate::link::{LinkFacts, LinkState};
use crate::name::Vantage;
use crate::outcome::labels;
use crate::subject::TargetKind;
use crate::time::Tick;

labels!(
    /// What a machine says of its own PN leg, as far as it can be believed now.
    LinkSign {
        /// Device up, right address.
        Fine => "fine",
        /// Device absent or administratively down.
        InterfaceMissing => "interface_missing",
        /// No carrier.
        NoCarrier => "no_carrier",
        /// No address inside the PN.
        AddressLost => "address_lost",
        /// Another address than the label says.
        AddressWrong => "address_wrong",
        /// PN traffic leaves by another device.
        RouteWrong => "route_wrong",
        /// Nothing newer than the onset, or nothing at all.
        Silent => "silent",
    }
);

labels!(
    /// How far a thing is reached by those who can be believed.
    Reach {
        /// Nobody reaches it, at least one is sure.
        Nobody => "nobody",
        /// Some do, some do not.
        Some => "some",
        /// Everybody with evidence does.
        All => "all",
        /// No evidence.
        Unknown => "unknown",
    }
);

labels!(
    /// How many witnesses there are.
    Witnesses {
        /// None.
        Zero => "zero",
        /// Exactly one: its own fault cannot be told from the target's.
        One => "one",
        /// Two or more.
        Many => "many",
    }
);

impl Reach {
    /// Of one thing.
    pub fn of(tally: &Tally) -> Self {
        Self::over([tally])
    }

    /// Of one thing, where only a success that was told counts if `told`.
    pub fn judged(tally: &Tally, told: bool) -> Self {
        if told {
            Self::told([tally])
        } else {
            Self::of(tally)
        }
    }

    /// Of several things: `Nobody` only if nobody reaches any of them.
    pub fn over<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Self {
        Self::judge(tallies, |t| !t.reached.is_empty() || !t.quiet.is_empty())
    }

    /// As [`Reach::over`], where only a success that was told counts.
    pub fn told<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Self {
        Self::judge(tallies, |t| !t.reached.is_empty())
    }

    fn judge<'a>(
        tallies: impl IntoIterator<Item = &'a Tally>,
        reaches: impl Fn(&Tally) -> bool,
    ) -> Self {
        let (mut reached, mut dead) = (false, false);
        for tally in tallies {
            reached |= reaches(tally);
            dead |= tally.down > 0;
        }
        match (reached, dead) {
            (false, true) => Self::Nobody,
            (true, true) => Self::Some,
            (true, false) => Self::All,
            (false, false) => Self::Unknown,
        }
    }
}

impl Witnesses {
    /// From a count.
    pub fn count(n: usize) -> Self {
        match n {
            0 => Self::Zero,
            1 => Self::One,
            _ => Self::Many,
        }
    }
}

/// Room for new connections, as far as the machine's packet filter tells.
pub(super) fn room(facts: Option<&LinkFacts>) -> Room {
    let filter = facts.and_then(|f| f.filter.as_ref());
    if filter.is_some_and(FilterFacts::states_near_limit) {
        Room::Full
    } else {
        Room::Enough
    }
}

/// What is wrong with a host's packet filter, given where its VMs' targets listen.
pub(super) fn filter_flaws(case: &Case<'_>, facts: Option<&LinkFacts>) -> Vec<FilterFlaw> {
    let Some(filter) = facts.and_then(|f| f.filter.as_ref()) else {
        return Vec::new();
    };
    let targets = case.inventory.targets.values();
    let nodeports = targets.filter(|t| t.kind == TargetKind::Nodeport);
    filter.flaws(nodeports.map(|t| t.port))
}

/// What a host's packet filter looks like.
pub(super) fn filter_sign(case: &Case<'_>, facts: Option<&LinkFacts>) -> FilterSign {
    let flaws = filter_flaws(case, facts);
    let nat = |f: &FilterFlaw| {
        matches!(
            f,
            FilterFlaw::Disabled | FilterFlaw::NatMissing | FilterFlaw::NatElsewhere
        )
    };
    if flaws.iter().any(nat) {
        FilterSign::NatMissing
    } else if flaws.iter().any(|f| *f != FilterFlaw::StatesExhausted) {
        FilterSign::Stale
    } else {
        FilterSign::Fine
    }
}

/// How long others may go on missing a link that has come back.
pub const SETTLE: Duration = Duration::from_secs(4);

/// A machine's word on its own link, and since when it has held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkWord {
    /// What it says.
    pub sign: LinkSign,
    /// Since when.
    pub since: Tick,
}

/// What `own` says of its own PN leg.
///
/// A bad link counts once it has held for the patience's time, confirmed by a report that says
/// so (or by twice the time without a contrary one): DHCP clients flush and re-add. A fine link
/// counts only if it was told after `onset`; before that it proves nothing.
pub(super) fn link_word(
    case: &Case<'_>,
    own: &Vantage,
    expected: Option<core::net::Ipv4Addr>,
    onset: Option<Tick>,
) -> LinkWord {
    let now = case.now.tick;
    let sight = case.board.vantages().get(own);
    let silent = LinkWord {
        sign: LinkSign::Silent,
        since: sight.map_or(now, |s| s.last_report),
    };
    let Some(sight) = sight else { return silent };
    let Some((facts, since)) = &sight.link else {
        return silent;
    };
    let sign = match facts.assess(case.inventory.pn_cidr, expected) {
        LinkState::Fine => LinkSign::Fine,
        LinkState::InterfaceMissing | LinkState::AdminDown => LinkSign::InterfaceMissing,
        LinkState::NoCarrier => LinkSign::NoCarrier,
        LinkState::AddressLost => LinkSign::AddressLost,
        LinkState::AddressWrong { .. } => LinkSign::AddressWrong,
        LinkState::RouteWrong => LinkSign::RouteWrong,
    };
    let word = LinkWord {
        sign,
        since: *since,
    };
    // What a vantage said that does not report any more says nothing of now.
    let stale = !case.board.is_reporting(own, now);
    if sign == LinkSign::Fine {
        let before_onset = onset.is_some_and(|onset| sight.link_told <= onset);
        // Misses that began before the link was right are its own: it has just come back.
        let back = onset.is_some_and(|onset| onset < *since) && now.since(*since) < SETTLE;
        let recovering = case.holds(Hold::LinkRecovers, own, back);
        let fine = !(stale || before_onset || recovering);
        return if fine { word } else { silent };
    }
    if stale {
        return silent;
    }
    let hold = case.patience.link_hold;
    let told = sight.link_told.since(*since) >= hold;
    let held = now.since(*since) >= hold * 2;
    if case.holds(Hold::LinkFlush, own, !told && !held) {
        LinkWord {
            sign: LinkSign::Fine,
            since: *since,
        }
    } else {
        word
    }
}
