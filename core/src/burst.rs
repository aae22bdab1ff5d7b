//! Suspicion: the first miss opens a burst, so that a blip is told from an outage in a second.
//!
//! A burst belongs to a node. Its first miss, on whatever layer, asks the node by ARP and at
//! most [`Settings::targets_per_node`] of its account targets by connection, at burst pace.
//! Each check leaves the burst on a success of its own that started after the miss; what has
//! not answered by [`Settings::length`] is [`Mode::Down`]: normal pace, one connection at a time;
//! only a node is asked by ARP every [`DOWN_ARP`], so that its recovery is seen at once.
//!
//! An exporter may ask for a burst too ([`Bursts::ask`]): then a healthy check goes at burst pace
//! for [`Settings::asked_length`], which a success does not end and a miss turns into a suspicion.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::outcome::Outcome;
use crate::schedule::{CheckId, Probe};
use crate::subject::Subject;
use crate::time::Tick;

/// See [`Settings::asked_gap`].
pub const ASKED_GAP: Duration = Duration::from_secs(5);

/// Between two ARP requests to a node that is down. One machine costs its network four small
/// packets a second for it, less than half of a burst, and what resolves is seen within this.
pub const DOWN_ARP: Duration = Duration::from_millis(250);

/// The pace of a check in [`Mode::Down`] where it is not that of the plan, `every`.
pub fn while_down(probe: Probe, subject: &Subject, every: Duration) -> Option<Duration> {
    let node = probe == Probe::Arp && matches!(subject, Subject::Node(_));
    (node && every > DOWN_ARP).then_some(DOWN_ARP)
}

/// How a burst behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Account targets of one node that are in a burst at once.
    pub targets_per_node: usize,
    /// How long a burst lasts at most.
    pub length: Duration,
    /// How long a burst lasts that an exporter asked for.
    pub asked_length: Duration,
    /// Between two bursts of one check that an exporter asked for: what is asked sooner is not
    /// done. The exporter has the same bound; this one holds whatever an exporter says.
    pub asked_gap: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            targets_per_node: 2,
            length: Duration::from_secs(5),
            asked_length: Duration::from_secs(2),
            asked_gap: ASKED_GAP,
        }
    }
}

/// How a check is to be paced now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The pace of the plan.
    Normal,
    /// The pace of a burst.
    Burst,
    /// The pace of a burst because an exporter asked, not because anything was missed.
    Asked,
    /// The pace of the plan or of [`while_down`], one connection at a time: the check has been
    /// missing for a whole burst.
    Down,
}

/// A check that changes its pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Which check.
    pub id: CheckId,
    /// Its pace from now on.
    pub mode: Mode,
}

#[derive(Debug)]
struct Member {
    group: Arc<str>,
    probe: Probe,
    mode: Mode,
    /// Start of the miss that the mode comes from: only a later success ends it.
    since: Tick,
    until: Tick,
    /// When an exporter's wish for a burst was last granted.
    asked: Option<Tick>,
}

/// The bursts of one vantage.
#[derive(Debug)]
pub struct Bursts {
    settings: Settings,
    members: BTreeMap<CheckId, Member>,
    /// Checks by group: a node, or a neighbour on its own.
    groups: BTreeMap<Arc<str>, Vec<CheckId>>,
    /// Who is in a burst, by its end.
    open: BTreeSet<(Tick, CheckId)>,
}

impl Bursts {
    /// No checks yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            members: BTreeMap::new(),
            groups: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    /// Replaces the checks: number, group, probe. What stays keeps its mode.
    pub fn set(&mut self, checks: impl IntoIterator<Item = (CheckId, Arc<str>, Probe)>) {
        let mut old = core::mem::take(&mut self.members);
        self.groups.clear();
        self.open.clear();
        // Built at once, the tree has no half-empty nodes.
        let members = checks.into_iter().map(|(id, group, probe)| {
            self.groups.entry(group.clone()).or_default().push(id);
            let kept = old.remove(&id).filter(|m| m.probe == probe);
            let asked = kept.as_ref().and_then(|m| m.asked);
            let (mode, since, until) = kept
                .map_or((Mode::Normal, Tick::default(), Tick::default()), |m| {
                    (m.mode, m.since, m.until)
                });
            if matches!(mode, Mode::Burst | Mode::Asked) {
                self.open.insert((until, id));
            }
            let member = Member {
                group,
                probe,
                mode,
                since,
                until,
                asked,
            };
            (id, member)
        });
        self.members = members.collect();
    }

    /// Takes one outcome in; `start` is when its check started. Pushes what changes pace.
    pub fn observe(
        &mut self,
        id: CheckId,
        outcome: Outcome,
        start: Tick,
        now: Tick,
        changes: &mut Vec<Change>,
    ) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        match (outcome, member.mode) {
            (Outcome::Reached, Mode::Burst | Mode::Down) if start >= member.since => {
                member.mode = Mode::Normal;
                self.open.remove(&(member.until, id));
                changes.push(Change {
                    id,
                    mode: Mode::Normal,
                });
            }
            (Outcome::Unreached(_), Mode::Normal | Mode::Asked) => {
                self.open(id, start, now, changes);
            }
            _ => {}
        }
    }

    /// `missed` joins first, then ARP of the group, then its targets up to the bound.
    fn open(&mut self, missed: CheckId, start: Tick, now: Tick, changes: &mut Vec<Change>) {
        let Some(group) = self.members.get(&missed).map(|m| m.group.clone()) else {
            return;
        };
        let ids = self.groups.get(&group).map_or(&[][..], Vec::as_slice);
        let mut room = self.room(ids, |mode| mode == Mode::Burst);
        let until = now.after(self.settings.length);
        for id in core::iter::once(&missed).chain(ids) {
            let Some(member) = self.members.get_mut(id) else {
                continue;
            };
            if !matches!(member.mode, Mode::Normal | Mode::Asked) {
                continue;
            }
            let joins = match member.probe {
                Probe::Arp => true,
                Probe::Connect => room > 0,
                Probe::Control => *id == missed,
                Probe::Ready | Probe::Large => false,
            };
            if !joins {
                // The miss needs the places more than a wish.
                if member.mode == Mode::Asked && member.probe == Probe::Connect {
                    member.mode = Mode::Normal;
                    self.open.remove(&(member.until, *id));
                    let mode = Mode::Normal;
                    changes.push(Change { id: *id, mode });
                }
                continue;
            }
            if member.probe == Probe::Connect {
                room -= 1;
            }
            self.open.remove(&(member.until, *id));
            member.mode = Mode::Burst;
            // A companion has not missed yet: its next success ends its part.
            member.since = if *id == missed { start } else { now };
            member.until = until;
            self.open.insert((until, *id));
            changes.push(Change {
                id: *id,
                mode: Mode::Burst,
            });
        }
    }

    /// Places for connections that are left in a group where those in `taken` modes have one.
    fn room(&self, ids: &[CheckId], taken: impl Fn(Mode) -> bool) -> usize {
        let connections = ids.iter().filter(|id| {
            let member = self.members.get(id);
            member.is_some_and(|m| m.probe == Probe::Connect && taken(m.mode))
        });
        let bound = self.settings.targets_per_node;
        bound.saturating_sub(connections.count())
    }

    /// An exporter asks for a burst of these checks; ARP of their groups goes with them. The
    /// bound per node holds: what finds no place is returned, to be checked once, now. A check
    /// that is in a burst or down already, or was asked for less than [`Settings::asked_gap`]
    /// ago, is left as it is.
    #[must_use]
    pub fn ask(
        &mut self,
        asked: impl IntoIterator<Item = CheckId>,
        now: Tick,
        changes: &mut Vec<Change>,
    ) -> Vec<CheckId> {
        let mut once = Vec::new();
        let paced = |mode| matches!(mode, Mode::Burst | Mode::Asked);
        for id in asked {
            let Some(group) = self.members.get(&id).map(|m| m.group.clone()) else {
                continue;
            };
            let ids = self.groups.get(&group).map_or(&[][..], Vec::as_slice);
            let mut room = self.room(ids, paced);
            let arp: Vec<CheckId> = ids
                .iter()
                .copied()
                .filter(|other| *other != id)
                .filter(|other| {
                    let member = self.members.get(other);
                    member.is_some_and(|m| m.probe == Probe::Arp)
                })
                .collect();
            for id in core::iter::once(id).chain(arp) {
                if !self.grant(id, now, &mut room, changes) {
                    continue;
                }
                if self.mode(id) == Mode::Normal {
                    once.push(id);
                }
            }
        }
        once
    }

    /// Whether the wish for `id` is granted: by a burst, or without one where there is no room.
    fn grant(
        &mut self,
        id: CheckId,
        now: Tick,
        room: &mut usize,
        changes: &mut Vec<Change>,
    ) -> bool {
        let settings = self.settings;
        let Some(member) = self.members.get_mut(&id) else {
            return false;
        };
        let lately = |at: Tick| now.since(at) < settings.asked_gap;
        if member.mode != Mode::Normal
            || !matches!(member.probe, Probe::Arp | Probe::Connect)
            || member.asked.is_some_and(lately)
        {
            return false;
        }
        member.asked = Some(now);
        if member.probe == Probe::Connect {
            if *room == 0 {
                return true;
            }
            *room -= 1;
        }
        member.mode = Mode::Asked;
        member.until = now.after(settings.asked_length);
        self.open.insert((member.until, id));
        changes.push(Change {
            id,
            mode: Mode::Asked,
        });
        true
    }

    /// Ends bursts whose time is up.
    pub fn expire(&mut self, now: Tick, changes: &mut Vec<Change>) {
        while let Some((until, id)) = self.open.first().copied() {
            if until > now {
                return;
            }
            self.open.pop_first();
            if let Some(member) = self.members.get_mut(&id) {
                member.mode = match member.mode {
                    Mode::Asked => Mode::Normal,
                    _ => Mode::Down,
                };
                let mode = member.mode;
                changes.push(Change { id, mode });
            }
        }
    }

    /// When [`Bursts::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.open.first().map(|(until, _)| *until)
    }

    /// How `id` is paced.
    pub fn mode(&self, id: CheckId) -> Mode {
        self.members.get(&id).map_or(Mode::Normal, |m| m.mode)
    }
}

#[cfg(test)]
#[path = "burst_tests.rs"]
mod tests;
