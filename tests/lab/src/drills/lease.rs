//! Leases that are not renewed: from the first warning to the lost address without a gap.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::Stage;
use super::away::node_page;
use super::story::Key;
use crate::daemons::label;
use crate::dhcp::{self, Manners};
use crate::faults::node;
use crate::findings::Seen;
use crate::http;
use crate::judge::seconds_between;
use crate::kernel::Change;
use crate::monitoring::METRICS_PORT;
use crate::topology::{EXPORTERS, NODE, NODE_ADDRESS, NODE_DEVICE, NODE_PORT, node_vantage};
use crate::wait;

/// The share of a lease that must be left when the warning is told.
const LEFT_AT_WARNING: f64 = 0.25;
/// How far the exporter's knowledge of a lease may be off: whole seconds on both sides.
const LEASE_WITHIN_S: f64 = 2.5;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// What of a lease is left when it is overdue, in percent (docs/faults.md, F2a).
const OVERDUE_PERCENT: u32 = 45;
/// Seconds for which a lease is surely told once it is overdue: the exporter waits two for others,
/// and reports and leases are told by whole seconds.
const SURELY_TOLD_S: u32 = 5;
/// Lost answers after which the client was late at least once: half of them are.
const LATE_BY_THEN: u32 = 8;

fn lease_alert(severity: &'static str) -> Key {
    ("PNLeaseNotRenewed", NODE.to_owned(), severity)
}

/// One renewal is answered late, which informs; the next ones are not; then the server falls silent for good. The
/// node's prober is restarted in the middle of the last lease.
pub(super) fn runs_out(stage: &mut Stage<'_>) -> Result<()> {
    let granted = u32::try_from(stage.away.as_secs()).unwrap_or(u32::MAX);
    node::shorten_lease_of(stage.lab, granted, Manners::Shipped)?;
    // The new client has its lease: from now on the server answers renewals alone.
    wait_for_renewal(stage)?;
    lose_answers_until_informed(stage, granted)?;
    wait_for_renewal(stage)?;
    let began = Timestamp::now();
    stage.story.must_tell(lease_alert("warning"), None);
    stage.story.must_tell(lease_alert("critical"), None);
    // Whoever grew worse is told of by its successor.
    stage.story.gives_way("PNLeaseNotRenewed", "warning");
    stage.story.gives_way("PNLeaseNotRenewed", "critical");
    stage.lab.processes.kill(dhcp::SERVER)?;
    let warned = told(stage, &lease_alert("warning"))?;
    restart_prober(stage)?;
    right_at_once(stage)?;
    let paged = told(stage, &lease_alert("critical"))?;
    let gone = Change::AddressGone(NODE_DEVICE.to_owned(), NODE_ADDRESS.to_string());
    let patience = stage.away * 2;
    let gone = stage
        .lab
        .node_events
        .wait_for(&mut stage.lab.processes, &gone, began, patience)?;
    stage.story.must_tell(node_page(), Some(gone));
    let lost = told(stage, &node_page())?;
    let left = |at: Option<Timestamp>| at.map(|at| seconds_between(at, gone));
    for (what, left, least) in [
        (
            "left_at_warning_s",
            left(warned),
            f64::from(granted) * LEFT_AT_WARNING,
        ),
        ("left_at_critical_s", left(paged), 0.0),
    ] {
        let Some(left) = left else { continue };
        stage.story.measured(what, left);
        if left < least {
            stage
                .story
                .wrong(format!("{what}: {left:.1} s, not at least {least:.1} s"));
        }
    }
    let monitoring = &stage.lab.monitoring;
    let ended = stage
        .story
        .heard(monitoring, &lease_alert("critical"), "resolved");
    if let (Some(lost), Some(ended)) = (lost, ended)
        && ended < lost
    {
        let gap = seconds_between(ended, lost);
        stage
            .story
            .wrong(format!("nothing was firing for {gap:.1} s"));
    }
    stage.story.ends("PNNodeUnreachable");
    node::restore_lease(stage.lab)?;
    stage
        .story
        .wait_for(
            &stage.lab.monitoring,
            (&node_page(), "resolved"),
            Duration::from_mins(1),
        )
        .map(drop)
}

/// When `key` was told as firing; within twice the lease, or not at all.
fn told(stage: &Stage<'_>, key: &Key) -> Result<Option<Timestamp>> {
    let monitoring = &stage.lab.monitoring;
    stage
        .story
        .wait_for(monitoring, (key, "firing"), stage.away * 2)
}

/// The server's first answer to the node from now on is lost, and no other.
fn lose_one_answer(stage: &Stage<'_>) -> Result<()> {
    stage.lab.network.switch.nft(&format!(
        "table bridge lab_dhcp {{\n  chain c {{\n    type filter hook forward priority 0;\n\
         \x20   oifname \"{NODE_PORT}\" udp sport 67 numgen inc mod 1000000 == 0 drop\n  }}\n}}\n"
    ))
}

/// One answer is lost, again and again, until the client asked so late that it was overdue.
///
/// dhclient renews after three quarters to all of half of the lease, by chance (dhclient(8)), and
/// asks again ten seconds later (dhclient.conf(5), `initial-interval`): of a minute as early as with
/// 27 s left, when nothing is overdue yet.
fn lose_answers_until_informed(stage: &mut Stage<'_>, granted: u32) -> Result<()> {
    let overdue = granted * OVERDUE_PERCENT / 100;
    for _ in 0..LATE_BY_THEN {
        let quiet = Timestamp::now();
        lose_one_answer(stage)?;
        let left = wait_for_renewal(stage)?;
        answer_again(stage)?;
        if informed(stage, quiet, overdue.saturating_sub(left))? {
            return Ok(());
        }
        wait_for_renewal(stage)?;
    }
    stage.story.wrong(format!(
        "the client asked again early {LATE_BY_THEN} times: no lost answer could be seen"
    ));
    Ok(())
}

/// One lost answer is seen by the exporter, as what is to be known and woken for by nobody; true
/// if so. The lease had been overdue for `overdue_s` seconds, by whole seconds, when it was renewed.
fn informed(stage: &mut Stage<'_>, since: Timestamp, overdue_s: u32) -> Result<bool> {
    let seen = stage.lab.findings()?.seen_since(since);
    let of_lease = |seen: &&Seen| seen.finding.fault == "lease_not_renewed";
    let told: Vec<&Seen> = seen.iter().filter(of_lease).collect();
    let informed = match told.as_slice() {
        [one] if one.finding.severity == "info" && one.finding.subject == NODE => {
            let after = seconds_between(since, one.first_at);
            stage
                .story
                .measured("informed_of_one_lost_answer_after_s", after);
            true
        }
        [] if overdue_s < SURELY_TOLD_S => false,
        other => {
            stage.story.wrong(format!(
                "one lost answer must inform, once, of the node's lease, overdue for {overdue_s} s; \
                 seen: {other:?}"
            ));
            true
        }
    };
    for severity in ["info", "warning", "critical"] {
        let key = lease_alert(severity);
        let heard = stage.story.heard(&stage.lab.monitoring, &key, "firing");
        if heard.is_some() {
            let said = format!("one lost answer was notified, as {severity}");
            stage.story.wrong(said);
        }
    }
    Ok(informed)
}

fn answer_again(stage: &Stage<'_>) -> Result<()> {
    let script = "table bridge lab_dhcp\ndelete table bridge lab_dhcp\n";
    stage.lab.network.switch.nft(script)
}

/// Until the node's address has more of its lease left than before; gives what was left before.
fn wait_for_renewal(stage: &Stage<'_>) -> Result<u32> {
    let mut last = u32::MAX;
    wait::until("a renewal of the node's lease", stage.away * 2, || {
        let left = node::seconds_left(stage.lab)?.unwrap_or_default();
        let before = core::mem::replace(&mut last, left);
        Ok((left > before.saturating_add(1)).then_some(before))
    })
}

fn restart_prober(stage: &mut Stage<'_>) -> Result<()> {
    let daemons = stage.lab.daemons.as_ref().context("no pnwatch")?;
    let prober = daemons.node_prober()?;
    stage.lab.processes.kill(&prober.process())?;
    daemons.start_prober(&mut stage.lab.processes, &prober)?;
    daemons.wait_prober(&mut stage.lab.processes, &prober)
}

/// What the exporter knows of the lease after the restart is what the kernel knows.
fn right_at_once(stage: &mut Stage<'_>) -> Result<()> {
    wait::pass(Duration::from_secs(2))?;
    let text = metrics(stage)?;
    let vantage = node_vantage();
    let value = |name: &str| sample(&text, name, &vantage);
    let left = node::seconds_left(stage.lab)?.map(f64::from);
    for (what, said, truth) in [
        (
            "pnwatch_link_lease_duration_seconds",
            value("pnwatch_link_lease_duration_seconds"),
            Some(stage.away.as_secs_f64()),
        ),
        (
            "pnwatch_link_lease_remaining_seconds",
            value("pnwatch_link_lease_remaining_seconds"),
            left,
        ),
    ] {
        let right = said
            .zip(truth)
            .is_some_and(|(said, truth)| (said - truth).abs() <= LEASE_WITHIN_S);
        if !right {
            stage.story.wrong(format!(
                "after the prober's restart {what} is {said:?}, not {truth:?}"
            ));
        }
    }
    Ok(())
}

fn metrics(stage: &Stage<'_>) -> Result<String> {
    let address = format!("{}:{METRICS_PORT}", EXPORTERS[0]);
    let exporter = &stage.lab.network.exporter;
    let answer = http::request(exporter, "GET", &address, "/metrics", "", REQUEST_TIMEOUT)?;
    Ok(answer.text())
}

/// The value of the metric `name` of `vantage`.
fn sample(text: &str, name: &str, vantage: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let (labels, value) = line
            .strip_prefix(name)?
            .strip_prefix('{')?
            .rsplit_once('}')?;
        (label(labels, "vantage") == Some(vantage)).then(|| value.trim().parse().ok())?
    })
}

/// The server falls silent for everybody, and all leases were granted within seconds: one finding,
/// not four. (Leases half a minute apart would be overdue one by one, and be told so.)
pub(super) fn server_silent(stage: &mut Stage<'_>) -> Result<()> {
    let granted = u32::try_from(stage.away.as_secs()).unwrap_or(u32::MAX);
    node::shorten_lease(stage.lab, granted)?;
    for index in 0..stage.lab.network.hosts.len() {
        renew_host(stage, index)?;
    }
    let network: Key = ("PNLeaseNotRenewed", "PN".to_owned(), "warning");
    stage.story.must_tell(network.clone(), None);
    stage.story.may_tell("PNLeaseNotRenewed", "PN");
    stage.lab.processes.kill(dhcp::SERVER)?;
    told(stage, &network)?;
    stage.story.ends("PNLeaseNotRenewed");
    let seconds = stage.lab.network.lease_seconds();
    stage
        .lab
        .network
        .restart_dhcp_server(&mut stage.lab.processes, seconds)?;
    stage
        .story
        .wait_for(
            &stage.lab.monitoring,
            (&network, "resolved"),
            stage.away * 2,
        )
        .map(drop)
}

/// A fresh client on a host, with a lease as short as the node's.
fn renew_host(stage: &mut Stage<'_>, index: usize) -> Result<()> {
    let host = stage.lab.network.hosts.get(index).context("no such host")?;
    stage.lab.processes.kill(&dhcp::client_name(&host.name()))?;
    let device = crate::topology::HOST_DEVICE;
    host.namespace.ip(&format!("-4 addr flush dev {device}"))?;
    host.start_client(&mut stage.lab.processes, stage.lab.network.dir())?;
    host.wait_for_lease(&mut stage.lab.processes)
}
