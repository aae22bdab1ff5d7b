//! Mac hosts as their VMs feel them, and their packet filter before any VM does.

use core::time::Duration;
use std::collections::BTreeSet;

use super::host::{about, facts, finish, is_lossy, loses_arp, new, sure_after, troubled};
use super::scope::{Blamed, Case, Extent};
use super::symptom::{Reach, filter_flaws, filter_sign, room};
use super::table::{self, FilterSign, VmSigns};
use super::trace::Hold;
use super::{Diagnosis, text};
use crate::board::{Path, Tally};
use crate::fault::Severity;
use crate::finding::Evidence;
use crate::name::{Host, Vantage};
use crate::outcome::Layer;
use crate::subject::Subject;
use crate::time::Tick;

/// Within this the VMs that run have told whether they suffer from a filter that has changed.
const VMS_TELL: Duration = Duration::from_secs(8);

/// F3, F4, F7, F9: a host's VMs fail where the host itself succeeds, or would.
pub(super) fn diagnose(case: &Case<'_>, blamed: &mut Blamed, found: &mut Vec<Diagnosis>) {
    let mut hosts: BTreeSet<Host> = troubled(case, |v| matches!(v, Vantage::Vm(..)))
        .into_iter()
        .collect();
    let with_filter = case.board.vantages().keys().filter(|v| {
        let bad = filter_sign(case, facts(case, v)) != FilterSign::Fine;
        matches!(v, Vantage::Host(_)) && (bad || case.is_traced())
    });
    hosts.extend(with_filter.filter_map(|v| v.host().cloned()));
    for host in hosts {
        if blamed.network == Some(Extent::All)
            || found.iter().any(|d| d.host.as_ref() == Some(&host))
        {
            continue;
        }
        if let Some(diagnosis) = judge(case, blamed, &host) {
            finish(case, diagnosis, &host, blamed, found);
        }
    }
}

fn judge(case: &Case<'_>, blamed: &Blamed, host: &Host) -> Option<Diagnosis> {
    let now = case.now.tick;
    let own = Vantage::Host(host.clone());
    let subjects: Vec<&Subject> = case.inventory.targets.keys().collect();
    let tally = |s: &Subject, layer, since| {
        let counts = |v: &Vantage, p: &Path| counts(case, blamed, host, (s, v, p));
        case.board.tally(s, layer, since, now, counts)
    };
    let ports: Vec<Tally> = subjects
        .iter()
        .map(|s| tally(s, Layer::Tcp, None))
        .collect();
    let down = ports.iter().filter(|t| t.down > 0);
    let onset = down.filter_map(|t| t.onset).min();
    let filter = if case.board.is_reporting(&own, now) {
        filter_sign(case, facts(case, &own))
    } else {
        FilterSign::Fine
    };
    if onset.is_none() && filter == FilterSign::Fine && !case.is_traced() {
        return None;
    }
    // VMs check one target after the other: what they reached before it began says nothing.
    let ports: Vec<Tally> = if onset.is_some() {
        let since = |s: &&Subject| tally(s, Layer::Tcp, onset);
        subjects.iter().map(since).collect()
    } else {
        ports
    };
    let loses = filter == FilterSign::Fine && loses_arp(case, &own);
    if case.holds(Hold::LossyHost, host, loses) {
        return None;
    }
    let lossy = is_lossy(case, &own);
    let sure = onset.map(|onset| sure_after(case, onset, lossy));
    let of_host: Vec<Tally> = subjects
        .iter()
        .map(|s| case.board.tally_of(&own, s, Layer::Tcp, sure, now))
        .collect();
    let down_seen = ports.iter().filter_map(|t| t.down_seen).min();
    let early = down_seen.is_some_and(|seen| now.since(seen) < case.patience.naming_wait);
    let waits = early && ports.iter().chain(&of_host).any(|t| !t.quiet.is_empty());
    if case.holds(Hold::NamingWait, host, waits) {
        return None;
    }
    let control = tally(&Subject::Control, Layer::Control, onset);
    let signs = VmSigns {
        ports: Reach::over(&ports),
        control: if control.missing.is_empty() {
            Reach::of(&control)
        } else {
            Reach::Nobody
        },
        host: if lossy {
            Reach::told(&of_host)
        } else {
            Reach::over(&of_host)
        },
        filter,
        states: room(facts(case, &own)),
    };
    let named = case.ask(table::VMS, &signs, about(host))?;
    let since = onset.unwrap_or_else(|| filter_since(case, &own));
    // A warning that a page follows at once is one notification too many.
    let vms = case.board.vantages().keys();
    let mut vms = vms.filter(|v| matches!(v, Vantage::Vm(h, _) if h == host));
    let early = now.since(filter_since(case, &own)) < VMS_TELL;
    let untold = named.severity < Severity::Critical
        && early
        && vms.any(|v| case.board.is_reporting(v, now));
    if case.holds(Hold::VmsUntold, host, untold) {
        return None;
    }
    let mut diagnosis = new(host, named, since);
    let missed = subjects.iter().zip(&ports);
    for (subject, tally) in missed.filter(|(_, t)| t.down > 0).take(text::MAX_LINES) {
        let name = text::subject(subject);
        diagnosis
            .evidence
            .extend(text::tally_line(case, Layer::Tcp, &name, tally));
    }
    diagnosis.evidence.extend(filter_line(case, &own));
    diagnosis.vantages = ports.into_iter().flat_map(|t| t.missing).collect();
    Some(diagnosis)
}

/// Whether what a VM of `host` says of a subject counts against the host.
fn counts(
    case: &Case<'_>,
    blamed: &Blamed,
    host: &Host,
    (subject, vantage, path): (&Subject, &Vantage, &Path),
) -> bool {
    let explained = |onset| {
        let by_host = blamed.hosts.get(host).is_some_and(|e| e.explains(onset));
        case.is_innocent(blamed, subject, onset) || case.holds(Hold::HostDown, host, by_host)
    };
    matches!(vantage, Vantage::Vm(h, _) if h == host)
        && case.board.is_reporting(vantage, case.now.tick)
        && !path.state.missing_since().is_some_and(explained)
}

fn filter_since(case: &Case<'_>, own: &Vantage) -> Tick {
    let sight = case.board.vantages().get(own);
    sight.and_then(|s| s.filter_since).unwrap_or(case.now.tick)
}

/// What is wrong with the packet filter, in words.
pub(super) fn filter_line(case: &Case<'_>, own: &Vantage) -> Option<Evidence> {
    let facts = facts(case, own)?;
    let filter = facts.filter.as_ref()?;
    let flaws = filter_flaws(case, Some(facts));
    let mut said: Vec<String> = flaws.iter().map(|f| f.title().to_owned()).collect();
    if let (Some(states), Some(limit)) = (filter.states, filter.states_limit) {
        said.push(format!("{states} of {limit} states in use"));
    }
    let told = case.board.vantages().get(own)?.link_told;
    (!said.is_empty()).then(|| Evidence {
        layer: Some(Layer::Link),
        vantage: Some(own.clone()),
        text: format!("packet filter: {}", said.join("; ")),
        seen_at: case.now.wall_at(told),
    })
}
