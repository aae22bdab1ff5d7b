//! Faults of the network, of one account, of one host, and of policy.

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::switch_report;
use crate::daemons::process_name;
use crate::kernel::Change;
use crate::lab::Lab;
use crate::topology::{NODE_PORTS, PN_BRIDGE, host_mgmt_port, host_name, host_port};

/// The host that is lost.
const LOST_HOST: usize = 1;

/// The PN's bridge forwards nothing any more; every cable still has carrier.
pub(crate) fn network_down(lab: &mut Lab) -> Result<Timestamp> {
    let since = Timestamp::now();
    lab.network
        .switch
        .ip(&format!("link set {PN_BRIDGE} down"))?;
    switch_report(lab, &Change::LinkDown(PN_BRIDGE.to_owned()), since)
}

pub(crate) fn network_up(lab: &mut Lab) -> Result<()> {
    lab.network
        .switch
        .ip(&format!("link set {PN_BRIDGE} up"))
        .map(drop)
}

/// The first account's pod hangs. The time is the order's: its answer comes after the fact.
pub(crate) fn hang_pod(lab: &mut Lab) -> Result<Timestamp> {
    let ordered = Timestamp::now();
    lab.network.set_pod_fault(0, r#"{"kind":"hang"}"#)?;
    Ok(ordered)
}

pub(crate) fn heal_pod(lab: &mut Lab) -> Result<()> {
    lab.network.set_pod_fault(0, r#"{"kind":"none"}"#)
}

/// What the node itself dials on its own `NodePorts` is dropped; what comes in is not.
pub(crate) fn drop_own_dials(lab: &mut Lab) -> Result<Timestamp> {
    let ordered = Timestamp::now();
    // Before translation: afterwards the port is the pod's.
    lab.network.node.namespace.nft(&format!(
        "table ip lab_policy {{\n  chain c {{\n    type filter hook output priority -150;\n    fib daddr type local tcp dport {NODE_PORTS} drop\n  }}\n}}\n"
    ))?;
    Ok(ordered)
}

pub(crate) fn allow_own_dials(lab: &mut Lab) -> Result<()> {
    let script = "table ip lab_policy\ndelete table ip lab_policy\n";
    lab.network.node.namespace.nft(script)
}

/// Both cables of the host go dead first, then its prober: it does not say goodbye.
pub(crate) fn lose_host(lab: &mut Lab) -> Result<Timestamp> {
    let (pn, mgmt) = (host_port(LOST_HOST), host_mgmt_port(LOST_HOST));
    let since = Timestamp::now();
    // What is dead tells nobody that its cable went: its way to the exporter goes first.
    lab.network.switch.ip(&format!("link set {mgmt} down"))?;
    lab.network.switch.ip(&format!("link set {pn} down"))?;
    lab.processes.kill(&process_name(&host_name(LOST_HOST)))?;
    switch_report(lab, &Change::LinkDown(pn), since)
}

pub(crate) fn recover_host(lab: &mut Lab) -> Result<()> {
    for port in [host_port(LOST_HOST), host_mgmt_port(LOST_HOST)] {
        lab.network.switch.ip(&format!("link set {port} up"))?;
    }
    let host = lab.network.hosts.get(LOST_HOST).context("no such host")?;
    host.set_management()?;
    host.wait_for_lease(&mut lab.processes)?;
    start_host_prober(lab)
}

pub(crate) fn kill_host_prober(lab: &mut Lab) -> Result<Timestamp> {
    let ordered = Timestamp::now();
    lab.processes.kill(&process_name(&host_name(LOST_HOST)))?;
    Ok(ordered)
}

pub(crate) fn start_host_prober(lab: &mut Lab) -> Result<()> {
    lab.daemons.as_ref().map_or(Ok(()), |daemons| {
        let prober = daemons.host_prober(LOST_HOST)?;
        if !lab.processes.has(&prober.process()) {
            daemons.start_prober(&mut lab.processes, &prober)?;
        }
        daemons.wait_prober(&mut lab.processes, &prober)
    })
}
