//! Paths and links reduced to small closed signs, which the table can be exhaustive over.

use core::time::Duration;

use crate::board::{Board, Sight, Tally};
use crate::link::{Cidr, LinkState};
use crate::outcome::labels;
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

/// What `sight` says of its own PN leg.
///
/// A bad link counts once it has held for `hold`, confirmed by a report that says so (or by
/// twice the time without a contrary one): DHCP clients flush and re-add. A fine link counts
/// only if it was told after `onset`; before that it proves nothing.
pub fn link_word(
    sight: Option<&Sight>,
    board: &Board,
    (pn, expected): (Cidr, Option<core::net::Ipv4Addr>),
    (onset, hold): (Option<Tick>, Duration),
    now: Tick,
) -> LinkWord {
    let silent = LinkWord {
        sign: LinkSign::Silent,
        since: sight.map_or(now, |s| s.last_report),
    };
    let Some(sight) = sight else { return silent };
    let Some((facts, since)) = &sight.link else {
        return silent;
    };
    let sign = match facts.assess(pn, expected) {
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
    if sign == LinkSign::Fine {
        let stale = now.since(sight.last_report) > board.limits().stale || sight.stopping;
        let before_onset = onset.is_some_and(|onset| sight.link_told <= onset);
        // Misses that began before the link was right are its own: it has just come back.
        let recovering = onset.is_some_and(|onset| onset < *since) && now.since(*since) < SETTLE;
        let fine = !(stale || before_onset || recovering);
        return if fine { word } else { silent };
    }
    // What a vantage said that does not report any more says nothing of now.
    if now.since(sight.last_report) > board.limits().stale || sight.stopping {
        return silent;
    }
    let told = sight.link_told.since(*since) >= hold;
    let held = now.since(*since) >= hold * 2;
    if told || held {
        word
    } else {
        LinkWord {
            sign: LinkSign::Fine,
            since: *since,
        }
    }
}
