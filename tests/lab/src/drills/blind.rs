//! Machines that get no time, vantages that are all gone, and a world that is slow.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::process::Signal;

use super::Stage;
use super::away::node_page;
use super::story::Key;
use crate::daemons::Setup;
use crate::http;
use crate::monitoring::{ALERTMANAGER_ADDRESS, METRICS_PORT};
use crate::topology::{CLUSTER, EXPORTERS, HOSTS, host_vantage, node_vantage};
use crate::wait;

/// Blindness that pages, for the drill; the product's default is ten minutes.
const BLIND_CRITICAL_AFTER: Duration = Duration::from_secs(30);
/// How slow each way is.
const SLOW: Duration = Duration::from_secs(1);
/// By when a page must have come through slow wires: three times the usual goal, and both ways.
const SLOW_DEADLINE: Duration = Duration::from_mins(1);
/// Where the slow wires begin.
const SLOW_INGEST: u16 = 9860;
const SLOW_ALERTMANAGER: &str = "127.0.0.1:9193";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long who slept is watched afterwards, at most: several times what a page takes.
const AWAKE: Duration = Duration::from_mins(1);

pub(super) fn blind_setup(setup: &mut Setup) {
    let seconds = BLIND_CRITICAL_AFTER.as_secs();
    setup.serve = format!("  blind_critical_after: {seconds}s\n");
}

/// All hosts' probers die: a warning at once, a page after the configured time.
pub(super) fn all_silent(stage: &mut Stage<'_>) -> Result<()> {
    let blind = |severity| -> Key { ("PNMonitorBlind", CLUSTER.to_owned(), severity) };
    let began = Timestamp::now();
    stage.story.must_tell(blind("warning"), None);
    stage.story.must_tell(blind("critical"), None);
    stage.story.gives_way("PNMonitorBlind", "warning");
    let probers = hosts(stage)?;
    for prober in &probers {
        stage.lab.processes.kill(&prober.process())?;
    }
    for (severity, after) in [
        ("warning", Duration::from_secs(15)),
        ("critical", BLIND_CRITICAL_AFTER),
    ] {
        let told = stage.story.wait_for(
            &stage.lab.monitoring,
            (&blind(severity), "firing"),
            BLIND_CRITICAL_AFTER * 3,
        )?;
        let Some(told) = told else { continue };
        let late = told.duration_since(began).unsigned_abs().as_secs_f64() - after.as_secs_f64();
        let name = if severity == "warning" {
            "warned_after_the_silence_s"
        } else {
            "paged_after_the_configured_time_s"
        };
        stage.story.measured(name, late);
        if !(-1.0..=8.0).contains(&late) {
            stage
                .story
                .wrong(format!("{severity} is late by {late:.1} s"));
        }
    }
    stage.story.ends("PNMonitorBlind");
    let daemons = stage.lab.daemons.as_ref().context("no pnwatch")?;
    for prober in &probers {
        daemons.start_prober(&mut stage.lab.processes, prober)?;
    }
    stage
        .story
        .wait_for(
            &stage.lab.monitoring,
            (&blind("critical"), "resolved"),
            Duration::from_mins(1),
        )
        .map(drop)
}

fn hosts(stage: &Stage<'_>) -> Result<Vec<crate::daemons::Prober>> {
    let daemons = stage.lab.daemons.as_ref().context("no pnwatch")?;
    (0..HOSTS).map(|index| daemons.host_prober(index)).collect()
}

/// A host's and the node's prober get no time at all (SIGSTOP), as in a suspend, and go on.
/// That they were silent may be told; nobody is woken, and no budget shrinks.
pub(super) fn asleep(stage: &mut Stage<'_>) -> Result<()> {
    stage.story.may_tell("PNVantageSilent", host_vantage(0));
    stage.story.may_tell("PNVantageSilent", node_vantage());
    let before = losses(stage)?;
    let daemons = stage.lab.daemons.as_ref().context("no pnwatch")?;
    let probers = [daemons.host_prober(0)?, daemons.node_prober()?];
    let ids = stage.lab.processes.ids();
    for (signal, lasts) in [
        (Signal::STOP, stage.away),
        (Signal::CONT, stage.away.min(AWAKE)),
    ] {
        for prober in &probers {
            let id = ids.get(&prober.process()).context("no such prober")?;
            id.signal(signal)?;
        }
        wait::pass(lasts)?;
    }
    let after = losses(stage)?;
    for (what, value) in &after {
        let lost = value - before.get(what).copied().unwrap_or_default();
        stage.story.measured(what, lost);
        if lost.abs() > f64::EPSILON {
            stage.story.wrong(format!("{what} changed by {lost}"));
        }
    }
    Ok(())
}

/// Everything of accounts that a sleep must leave as it is.
fn losses(stage: &Stage<'_>) -> Result<std::collections::BTreeMap<&'static str, f64>> {
    let address = format!("{}:{METRICS_PORT}", EXPORTERS[0]);
    let exporter = &stage.lab.network.exporter;
    let answer = http::request(exporter, "GET", &address, "/metrics", "", REQUEST_TIMEOUT)?;
    let text = answer.text();
    let sum = |name: &str, holds: &str| -> f64 {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let lines = lines.filter(|rest| rest.starts_with('{') && rest.contains(holds));
        let values = lines.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.sum()
    };
    Ok([
        (
            "host_failures",
            sum("pnwatch_check_failures_total", "vantage_kind=\"host\""),
        ),
        (
            "budget_left",
            sum("pnwatch_slo_error_budget_remaining_ratio", "reachability"),
        ),
    ]
    .into())
}

pub(super) fn slow_setup(setup: &mut Setup) {
    setup.ingest_port = Some(SLOW_INGEST);
    setup.alertmanager = Some(SLOW_ALERTMANAGER.to_owned());
    for address in EXPORTERS {
        setup.wires.push((
            format!("{address}:{SLOW_INGEST}"),
            format!("{address}:9760"),
        ));
    }
    setup.wires.push((
        SLOW_ALERTMANAGER.to_owned(),
        ALERTMANAGER_ADDRESS.to_owned(),
    ));
}

/// Reports, plans and pushes take a second each way; a fault comes and goes meanwhile.
pub(super) fn all_slow(stage: &mut Stage<'_>) -> Result<()> {
    stage.slowness.set(SLOW);
    wait::pass(stage.away / 2)?;
    stage.lose_address()?;
    let key = node_page();
    let told = |stage: &Stage<'_>, status| {
        stage
            .story
            .wait_for(&stage.lab.monitoring, (&key, status), SLOW_DEADLINE)
    };
    told(stage, "firing")?;
    wait::pass(stage.away / 2)?;
    stage.recover_address()?;
    told(stage, "resolved")?;
    stage.slowness.set(Duration::ZERO);
    wait::pass(stage.away / 4)
}
