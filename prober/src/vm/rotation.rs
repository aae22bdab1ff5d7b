//! What is checked next. Pure.
//!
//! One after the other: targets, then the control. While something is missed every second
//! check is that one again, and the others go on in between: so an outage is confirmed within
//! seconds, and the control says whether it is the network at all.

use std::net::{SocketAddr, SocketAddrV4};

use pnwatch_core::outcome::Outcome;

use super::check::Seen;
use crate::relay::talk::Brief;

/// One thing to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A target by its number.
    Target(u32, SocketAddrV4),
    /// What lies off the PN.
    Control(SocketAddr),
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Rotation {
    at: usize,
    control_at: usize,
    missed: Option<What>,
    again: bool,
}

impl Rotation {
    /// What to check now; `None` = there is nothing.
    pub(super) fn next(&mut self, brief: &Brief) -> Option<What> {
        self.again = !self.again;
        if let Some(missed) = self.missed.filter(|_| self.again) {
            return Some(missed);
        }
        let all = brief.targets.len() + usize::from(!brief.control.is_empty());
        if all == 0 {
            return None;
        }
        self.at = (self.at + 1) % all;
        Some(match brief.targets.get(self.at) {
            Some(target) => What::Target(target.id, target.at),
            None => What::Control(*brief.control.get(self.control_at % brief.control.len())?),
        })
    }

    /// What came of a check.
    pub(super) fn saw(&mut self, seen: &Seen) {
        let missed = seen
            .outcomes
            .iter()
            .any(|one| matches!(one.outcome, Outcome::Unreached(_)));
        match (missed, seen.what) {
            (true, What::Control(_)) => self.control_at = self.control_at.wrapping_add(1),
            (true, what) => {
                self.missed.get_or_insert(what);
            }
            (false, what) if self.missed == Some(what) => self.missed = None,
            (false, _) => {}
        }
    }

    /// The brief is this now.
    pub(super) fn keep(&mut self, brief: &Brief) {
        let is_there = |what: &What| {
            matches!(what, What::Target(id, at)
                if brief.targets.iter().any(|t| t.id == *id && t.at == *at))
        };
        self.missed = self.missed.filter(is_there);
    }
}

#[cfg(test)]
mod tests {
    use pnwatch_core::outcome::{Cause, Layer};
    use pnwatch_core::time::Tick;

    use super::*;
    use crate::relay::talk::{Numbered, VERSION, VmSeen};

    fn brief(targets: u32, control: usize) -> Brief {
        let at = SocketAddrV4::new([192, 0, 2, 1].into(), 30_001);
        Brief {
            version: VERSION,
            number: 1,
            salt: String::new(),
            targets: (0..targets).map(|id| Numbered { id, at }).collect(),
            control: vec![SocketAddr::V4(at); control],
            hold: false,
        }
    }

    fn seen(what: What, outcome: Outcome) -> Seen {
        Seen {
            what,
            brief: 1,
            start: Tick::default(),
            outcomes: vec![VmSeen {
                id: None,
                layer: Layer::Tcp,
                outcome,
                age_us: 0,
                rtt_us: None,
                tenant: None,
            }],
        }
    }

    #[test]
    fn everything_gets_its_turn() {
        let (mut rotation, brief) = (Rotation::default(), brief(2, 1));
        let turn: Vec<What> = (0..6).filter_map(|_| rotation.next(&brief)).collect();
        assert_eq!(turn[..3], turn[3..]);
        let controls = turn.iter().filter(|w| matches!(w, What::Control(_)));
        assert_eq!(controls.count(), 2);
        assert_eq!(Rotation::default().next(&super::tests::brief(0, 0)), None);
    }

    #[test]
    fn what_is_missed_is_every_second_check_until_it_is_back() {
        let (mut rotation, brief) = (Rotation::default(), brief(3, 1));
        let first = rotation.next(&brief).unwrap();
        rotation.saw(&seen(first, Outcome::Unreached(Cause::SynUnanswered)));
        let next: Vec<What> = (0..8).filter_map(|_| rotation.next(&brief)).collect();
        let again = next.iter().filter(|what| **what == first).count();
        assert!((4..=6).contains(&again), "{next:?}");
        assert!(next.iter().any(|what| matches!(what, What::Control(_))));
        rotation.saw(&seen(first, Outcome::Reached));
        let next: Vec<What> = (0..8).filter_map(|_| rotation.next(&brief)).collect();
        assert_eq!(next.iter().filter(|what| **what == first).count(), 2);
    }

    #[test]
    fn a_target_that_is_gone_is_not_asked_again() {
        let (mut rotation, old) = (Rotation::default(), brief(3, 0));
        let first = rotation.next(&old).unwrap();
        rotation.saw(&seen(first, Outcome::Unreached(Cause::Refused)));
        let fewer = brief(1, 0);
        rotation.keep(&fewer);
        assert!((0..4).all(|_| rotation.next(&fewer) == Some(What::Target(0, old.targets[0].at))));
    }
}
