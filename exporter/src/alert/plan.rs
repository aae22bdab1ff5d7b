//! Which alerts one Alertmanager must be told now: pure, a function of the view and of what that
//! Alertmanager accepted before.
//!
//! Nothing is queued: after an absence the Alertmanager is told what is true then. The rules:
//!
//! - A finding fires at once when it opens or sharpens, then each `resend`, with an end four
//!   `resend` ahead, so that it outlives an exporter's restart and still ends without one.
//! - `node`, `host` and `account` labels are fixed with the first post: the labels are the
//!   alert's identity. A new severity or alertname ends the old alert in the same post.
//! - Resolved is told for 15 minutes, and only of findings that this replica closed itself, on
//!   fresh success. A finding that vanishes otherwise is left to end by itself.
//! - When a finding begins to clear it is told once more, with an end beyond the longest
//!   hold-down, and then no more: the other replica may close it first (replicas do not know of
//!   one another's relapses), and its `resolved` must stand.
//! - A replica to which no vantage reports says nothing, except of the monitor itself, and not
//!   even that while another replica's heartbeat says that it hears some, or may be about to. What ended
//!   by itself meanwhile fires again only on fresh evidence, or after [`GRACE`] without any.
//! - For [`SETTLE`] after a silence or a start nothing new is told: the vantages come back one by
//!   one, and the first to report makes the others look lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pnwatch_core::fault::Blame;
use pnwatch_core::finding::Finding;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::view::View;

use super::wire::{Alert, Labels, annotations};

/// For how long a `resolved` is repeated, so that an Alertmanager that restarts learns of it.
pub const RESOLVED_FOR: Duration = Duration::from_mins(15);
/// For how long after a silence or a start nothing new is told: three reports of a prober.
pub const SETTLE: Duration = Duration::from_secs(3);
/// For how long after a silence blind findings wait for the vantages to report again.
pub const GRACE: Duration = Duration::from_secs(30);
/// How long a clearing finding may stay open: the longest hold-down and a minute.
pub(super) const CLEARING_FOR: Duration = Duration::from_mins(6);
/// `endsAt` of a firing alert, in multiples of `resend`.
const LIFE: u32 = 4;

/// How alerts are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often a firing alert is repeated.
    pub resend: Duration,
    /// Base URL of the runbooks.
    pub runbooks: Option<String>,
    /// Base URL of Grafana.
    pub grafana: Option<String>,
}

/// What one Alertmanager accepted so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    firing: BTreeMap<String, Firing>,
    ended: BTreeMap<Labels, Ended>,
    /// Since when this replica has reporters.
    heard_since: Option<Tick>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Firing {
    labels: Labels,
    starts_at: Timestamp,
    sharpened_at: Timestamp,
    clearing_since: Option<Timestamp>,
    at: Tick,
    ends: Tick,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Ended {
    alert: Alert,
    at: Option<Tick>,
}

/// What to post, and what was sent once it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The alerts of this post, the ended ones first.
    pub alerts: Vec<Alert>,
    /// To be kept if the post is accepted.
    pub sent: Sent,
    /// No vantage reports to this replica.
    pub silent: bool,
    /// Within [`SETTLE`] of a silence or a start, or in it: plan again soon.
    pub unsettled: bool,
    /// Findings that were told firing and are gone without a recovery.
    pub lapsed: Vec<String>,
}

/// Which alerts to post now, given the `view` and what was `sent`.
/// `outvoiced` = this replica is blind, and another one hears hosts or VMs.
pub fn plan(
    view: &View,
    sent: &Sent,
    now: Now,
    (settings, outvoiced): (&Settings, bool),
) -> Planned {
    let silent = is_silent(view);
    let heard_since = if silent {
        None
    } else {
        sent.heard_since.or(Some(now.tick))
    };
    let mut round = Round {
        sent,
        now,
        settings,
        silent,
        outvoiced,
        heard_since,
        firing: BTreeMap::new(),
        ended: sent.ended.clone(),
        alerts: Vec::new(),
    };
    for finding in &view.closed {
        round.closed(finding);
    }
    let mut fire = Vec::new();
    for finding in &view.open {
        fire.extend(round.open(finding));
    }
    round.tell_ended();
    round.alerts.append(&mut fire);
    let known = view.open.iter().chain(&view.closed);
    let known: BTreeSet<&String> = known.map(|finding| &finding.id).collect();
    let gone = sent.firing.keys().filter(|id| !known.contains(id));
    let lapsed = gone.cloned().collect();
    Planned {
        alerts: round.alerts,
        sent: Sent {
            firing: round.firing,
            ended: round.ended,
            heard_since,
        },
        silent,
        unsettled: heard_since.is_none_or(|since| now.tick.since(since) < SETTLE),
        lapsed,
    }
}

/// Whether vantages are expected, and none reports to this replica.
pub(super) fn is_silent(view: &View) -> bool {
    !view.vantages.is_empty() && !view.vantages.iter().any(|v| v.reporting)
}

/// Whether hosts or VMs are expected, and none reports to this replica: what builds see, it does
/// not.
pub(super) fn is_blind(view: &View) -> bool {
    let mut clients = view.vantages.iter().filter(|v| v.vantage.is_client());
    let expected = clients.clone().next().is_some();
    expected && !clients.any(|v| v.reporting)
}

struct Round<'a> {
    sent: &'a Sent,
    now: Now,
    settings: &'a Settings,
    silent: bool,
    outvoiced: bool,
    heard_since: Option<Tick>,
    firing: BTreeMap<String, Firing>,
    ended: BTreeMap<Labels, Ended>,
    alerts: Vec<Alert>,
}

impl Round<'_> {
    /// A finding that this replica saw recover.
    fn closed(&mut self, finding: &Finding) {
        let Some(closed_at) = finding.closed_at else {
            return;
        };
        if self.now.wall.since(closed_at) > RESOLVED_FOR {
            return;
        }
        let told = self.sent.firing.get(&finding.id);
        let Some(labels) = told
            .map(|f| f.labels.clone())
            .or_else(|| Labels::of(finding))
        else {
            return;
        };
        self.end(finding, labels, finding.started_at, closed_at);
    }

    fn end(&mut self, finding: &Finding, labels: Labels, starts_at: Timestamp, at: Timestamp) {
        // Alertmanager refuses an end before the start; a stepped clock could make one.
        let ends_at = at.max(starts_at);
        let known = self.ended.get(&labels);
        if known.is_some_and(|e| e.alert.ends_at >= ends_at) {
            return;
        }
        let alert = Alert {
            labels: labels.clone(),
            annotations: annotations(finding, self.settings),
            starts_at,
            ends_at,
        };
        self.ended.insert(labels, Ended { alert, at: None });
    }

    /// The alert of an open finding, if it is to be told now.
    fn open(&mut self, finding: &Finding) -> Option<Alert> {
        let told = self.sent.firing.get(&finding.id).cloned();
        let Some(wanted) = Labels::of(finding) else {
            // It became something that never alerts, like a drain.
            if let Some(told) = told {
                self.end(finding, told.labels, told.starts_at, self.now.wall);
            }
            return None;
        };
        let same = told.as_ref().is_some_and(|t| {
            ["alertname", "severity"]
                .iter()
                .all(|name| t.labels.get(name) == wanted.get(name))
        });
        let due = self.is_due(finding, told.as_ref(), same);
        if !due {
            // The end of an earlier finding of this identity must not follow this one's start,
            // which another replica may have told.
            self.ended
                .remove(told.as_ref().map_or(&wanted, |t| &t.labels));
            if let Some(told) = told {
                self.firing.insert(finding.id.clone(), told);
            }
            return None;
        }
        let labels = match told {
            Some(told) if same => told.labels,
            Some(told) => {
                self.end(finding, told.labels, told.starts_at, self.now.wall);
                wanted
            }
            None => wanted,
        };
        self.ended.remove(&labels);
        let mut life = self.settings.resend * LIFE;
        if finding.clearing_since.is_some() {
            life = life.max(CLEARING_FOR);
        }
        self.firing.insert(
            finding.id.clone(),
            Firing {
                labels: labels.clone(),
                starts_at: finding.started_at,
                sharpened_at: finding.sharpened_at,
                clearing_since: finding.clearing_since,
                at: self.now.tick,
                ends: self.now.tick.after(life),
            },
        );
        Some(Alert {
            labels,
            annotations: annotations(finding, self.settings),
            starts_at: finding.started_at,
            ends_at: self.now.wall.after(life),
        })
    }

    fn is_due(&self, finding: &Finding, told: Option<&Firing>, same: bool) -> bool {
        let held = if finding.identity.blame == Blame::Monitor {
            self.outvoiced
        } else {
            self.silent
        };
        if held {
            return false;
        }
        let resend = self.settings.resend;
        // Whether the Alertmanager still counts it as firing.
        let alive = told.filter(|t| self.now.tick < t.ends);
        if finding.clearing_since.is_some() {
            return same && alive.is_some_and(|t| t.clearing_since != finding.clearing_since);
        }
        if alive.is_none() && finding.identity.blame != Blame::Monitor {
            let wait = if finding.blind_since.is_some() {
                GRACE
            } else {
                SETTLE
            };
            let heard = self.heard_since.map(|since| self.now.tick.since(since));
            if heard.is_none_or(|heard| heard < wait) {
                return false;
            }
        }
        alive.is_none_or(|t| {
            !same || self.now.tick.since(t.at) >= resend || finding.sharpened_at > t.sharpened_at
        })
    }

    /// Repeats what ended, forgets what ended long ago.
    fn tell_ended(&mut self) {
        let now = self.now;
        self.ended
            .retain(|_, e| now.wall.since(e.alert.ends_at) <= RESOLVED_FOR);
        if self.silent {
            return;
        }
        for ended in self.ended.values_mut() {
            let due = ended
                .at
                .is_none_or(|at| now.tick.since(at) >= self.settings.resend);
            if due {
                ended.at = Some(now.tick);
                self.alerts.push(ended.alert.clone());
            }
        }
    }
}
