//! Alertmanager 0.25 as far as it decides how often a person is told: `provider/mem` (merging of
//! posts), `dispatch` (one group, `group_wait: 0s`, `group_interval: 5s`) and
//! `notify.DedupStage`, written from its sources. The lab runs the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pnwatch_core::time::Timestamp;

use super::wire::{Alert, Labels};

const GROUP_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
struct Held {
    starts_at: Timestamp,
    ends_at: Timestamp,
}

#[derive(Debug, Default, Clone)]
struct Logged {
    firing: BTreeSet<Labels>,
    resolved: BTreeSet<Labels>,
}

/// What one notification told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Firing,
    Resolved,
}

/// One group of one Alertmanager.
#[derive(Debug, Default)]
pub(super) struct Alertmanager {
    alerts: BTreeMap<Labels, Held>,
    group: BTreeMap<Labels, Held>,
    flush_at: Option<Timestamp>,
    log: Option<Logged>,
    /// Every notification so far.
    pub(super) told: Vec<(Timestamp, Told)>,
}

impl Alertmanager {
    /// `POST /api/v2/alerts` at `now`.
    pub(super) fn post(&mut self, alerts: &[Alert], now: Timestamp) {
        self.run(now);
        for alert in alerts {
            assert!(alert.ends_at >= alert.starts_at, "refused with 400");
            let mut new = Held {
                starts_at: alert.starts_at,
                ends_at: alert.ends_at,
            };
            if let Some(old) = self.alerts.get(&alert.labels) {
                let overlap = (new.ends_at > old.starts_at && new.ends_at < old.ends_at)
                    || (new.starts_at > old.starts_at && new.starts_at < old.ends_at);
                if overlap {
                    new.starts_at = new.starts_at.min(old.starts_at);
                    let resolved = new.ends_at <= now;
                    if !resolved || old.ends_at <= now {
                        new.ends_at = new.ends_at.max(old.ends_at);
                    }
                }
            }
            self.alerts.insert(alert.labels.clone(), new.clone());
            self.group.insert(alert.labels.clone(), new);
            if self.flush_at.is_none() {
                self.flush(now);
                self.flush_at = Some(now.after(GROUP_INTERVAL));
            }
        }
    }

    /// Lets time pass until `now`.
    pub(super) fn run(&mut self, now: Timestamp) {
        while let Some(at) = self.flush_at.filter(|at| *at <= now) {
            self.flush(at);
            self.flush_at = Some(at.after(GROUP_INTERVAL));
        }
    }

    fn flush(&mut self, now: Timestamp) {
        let (firing, resolved): (BTreeSet<Labels>, BTreeSet<Labels>) = self
            .group
            .keys()
            .cloned()
            .partition(|labels| self.group[labels].ends_at > now);
        if firing.is_empty() && resolved.is_empty() {
            return;
        }
        let notify = match &self.log {
            None => !firing.is_empty(),
            Some(log) if !firing.is_subset(&log.firing) => true,
            Some(log) if firing.is_empty() => !log.firing.is_empty(),
            Some(log) => !resolved.is_subset(&log.resolved),
        };
        if notify {
            let told = if firing.is_empty() {
                Told::Resolved
            } else {
                Told::Firing
            };
            self.told.push((now, told));
            self.log = Some(Logged {
                firing,
                resolved: resolved.clone(),
            });
        }
        for labels in resolved {
            self.group.remove(&labels);
        }
    }

    /// How often it told of a fault, and of an end.
    pub(super) fn counts(&self) -> (usize, usize) {
        let firing = self
            .told
            .iter()
            .filter(|(_, told)| *told == Told::Firing)
            .count();
        (firing, self.told.len() - firing)
    }
}
