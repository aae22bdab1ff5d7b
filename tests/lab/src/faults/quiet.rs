//! Disturbances that must not page.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::lab::Lab;
use crate::topology::{
    DHCP_PORT, HOSTS, NODE_ADDRESS, NODE_DEVICE, NODE_PORT, PN_PREFIX, host_port,
};
use crate::wait;

/// How long all of the PN is dead in a blip.
const BLIP: Duration = Duration::from_millis(500);
/// From blip to blip.
const BLIP_PERIOD: Duration = Duration::from_secs(15);
/// How long the address is away when it is flushed.
const FLUSHED: Duration = Duration::from_millis(80);
/// From flush to flush.
const FLUSH_PERIOD: Duration = Duration::from_secs(10);
/// Between two restarts of probers.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// The host whose packets are lost.
const LOSSY_HOST: usize = 1;

/// A set whose elements expire: the kernel itself ends each blip, to the millisecond.
pub(super) fn prepare_blips(lab: &mut Lab) -> Result<()> {
    lab.network.switch.nft(
        "table bridge lab_blip {\n\
         \x20 set dead {\n    type ifname\n    flags timeout\n  }\n\
         \x20 chain c {\n    type filter hook forward priority 0;\n    iifname @dead drop\n  }\n}\n",
    )
}

pub(super) fn blips(lab: &mut Lab, duration: Duration) -> Result<()> {
    let millis = BLIP.as_millis();
    let mut ports = vec![NODE_PORT.to_owned(), DHCP_PORT.to_owned()];
    ports.extend((0..HOSTS).map(host_port));
    let elements: Vec<String> = ports
        .iter()
        .map(|port| format!("\"{port}\" timeout {millis}ms"))
        .collect();
    let elements = elements.join(", ");
    repeated(lab, duration, BLIP_PERIOD, |lab| {
        lab.network.switch.nft(&format!(
            "add element bridge lab_blip dead {{ {elements} }}\n"
        ))
    })
}

pub(super) fn end_blips(lab: &mut Lab) -> Result<()> {
    lab.network
        .switch
        .nft("table bridge lab_blip\ndelete table bridge lab_blip\n")
}

pub(super) fn lose_packets(lab: &mut Lab) -> Result<Timestamp> {
    let port = host_port(LOSSY_HOST);
    let since = Timestamp::now();
    lab.network.switch.nft(&format!(
        "table bridge lab_loss {{\n  chain c {{\n    type filter hook forward priority 0;\n\
         \x20   iifname \"{port}\" numgen random mod 100 < 5 counter drop\n\
         \x20   oifname \"{port}\" numgen random mod 100 < 5 counter drop\n  }}\n}}\n"
    ))?;
    Ok(since)
}

pub(super) fn end_loss(lab: &mut Lab) -> Result<()> {
    lab.network
        .switch
        .nft("table bridge lab_loss\ndelete table bridge lab_loss\n")
}

/// What a DHCP client does on some renewals: flush, then add again. The client itself goes on.
pub(super) fn flush_and_readd(lab: &mut Lab, duration: Duration) -> Result<()> {
    let seconds = lab.network.lease_seconds();
    repeated(lab, duration, FLUSH_PERIOD, |lab| {
        let node = &lab.network.node.namespace;
        node.ip(&format!("-4 addr flush dev {NODE_DEVICE}"))?;
        wait::pass(FLUSHED)?;
        // Replace: the client may have renewed just now.
        node.ip(&format!(
            "addr replace {NODE_ADDRESS}/{PN_PREFIX} dev {NODE_DEVICE} valid_lft {seconds} preferred_lft {seconds}"
        ))?;
        Ok(())
    })
}

/// One prober after the other ends on SIGTERM and comes back.
pub(super) fn rolling_restart(lab: &mut Lab, duration: Duration) -> Result<()> {
    let probers = lab
        .daemons
        .as_ref()
        .context("no pnwatch")?
        .probers()
        .to_vec();
    let mut next = probers.iter().cycle();
    repeated(lab, duration, RESTART_PAUSE, |lab| {
        let (Some(prober), Some(daemons)) = (next.next(), &lab.daemons) else {
            return Ok(());
        };
        lab.processes.terminate(&prober.process())?;
        daemons.start_prober(&mut lab.processes, prober)?;
        daemons.wait_prober(&mut lab.processes, prober)
    })
}

/// Does `what` once each `period` for `duration`, at least once.
fn repeated(
    lab: &mut Lab,
    duration: Duration,
    period: Duration,
    mut what: impl FnMut(&mut Lab) -> Result<()>,
) -> Result<()> {
    let end = Instant::now() + duration;
    loop {
        let next = Instant::now() + period;
        what(lab)?;
        lab.processes.check_all()?;
        if next >= end {
            return wait::pass(end.saturating_duration_since(Instant::now()));
        }
        wait::pass(next.saturating_duration_since(Instant::now()))?;
    }
}
