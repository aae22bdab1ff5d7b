//! Faults of the cache node: its device, its address, its lease, the whole machine.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::{node_report, switch_report};
use crate::daemons::process_name;
use crate::dhcp::{self, Manners};
use crate::kernel::Change;
use crate::lab::Lab;
use crate::node::{MACHINE, plug_pn, set_management};
use crate::topology::{NODE_ADDRESS, NODE_DEVICE, NODE_MGMT_PORT, NODE_PORT, PN_PREFIX};
use crate::wait;

/// A lease that runs out while one watches; the server gives none under ten seconds.
const SHORT_LEASE_SECONDS: u32 = 12;
/// By when a short lease has run out.
const EXPIRY_DEADLINE: Duration = Duration::from_secs(40);
/// How long the exporter may take to miss a prober that is dead.
const SILENCE_DEADLINE: Duration = Duration::from_secs(20);

/// The device goes, and with it the client that held its address.
pub(crate) fn delete_device(lab: &mut Lab) -> Result<Timestamp> {
    lab.processes.kill(&dhcp::client_name(MACHINE))?;
    let since = Timestamp::now();
    lab.network
        .node
        .namespace
        .ip(&format!("link del {NODE_DEVICE}"))?;
    node_report(lab, &Change::LinkGone(NODE_DEVICE.to_owned()), since)
}

/// The device comes back with the same hardware address, and gets its lease.
pub(crate) fn recreate_device(lab: &mut Lab) -> Result<()> {
    let node = &lab.network.node.namespace;
    if node.ip(&format!("link show {NODE_DEVICE}")).is_err() {
        plug_pn(node, &lab.network.switch)?;
    }
    recover_address(lab)
}

/// The address goes; the client is dead, so nobody brings it back.
pub(crate) fn delete_address(lab: &mut Lab) -> Result<Timestamp> {
    lab.processes.kill(&dhcp::client_name(MACHINE))?;
    let since = Timestamp::now();
    lab.network.node.namespace.ip(&format!(
        "addr del {NODE_ADDRESS}/{PN_PREFIX} dev {NODE_DEVICE}"
    ))?;
    address_gone(lab, since)
}

fn address_gone(lab: &mut Lab, since: Timestamp) -> Result<Timestamp> {
    let gone = Change::AddressGone(NODE_DEVICE.to_owned(), NODE_ADDRESS.to_string());
    node_report(lab, &gone, since)
}

/// A fresh client gets the address again, on an empty device as after a boot: dhclient would not
/// refresh the lifetime of an address that it finds there.
pub(crate) fn recover_address(lab: &mut Lab) -> Result<()> {
    lab.processes.kill(&dhcp::client_name(MACHINE))?;
    let node = &lab.network.node;
    node.namespace
        .ip(&format!("-4 addr flush dev {NODE_DEVICE}"))?;
    node.start_client(&mut lab.processes, lab.network.dir())?;
    node.wait_for_lease(&mut lab.processes)
}

/// As [`recreate_device`], and the prober is there again even if it never was asked back.
pub(crate) fn recreate_device_and_prober(lab: &mut Lab) -> Result<()> {
    recreate_device(lab)?;
    start_prober(lab)
}

/// As [`recover_address`], and the prober is there again even if it never was asked back.
pub(crate) fn recover_address_and_prober(lab: &mut Lab) -> Result<()> {
    recover_address(lab)?;
    start_prober(lab)
}

/// The node's prober dies without a word, and the exporter has noticed when this returns.
pub(crate) fn kill_prober(lab: &mut Lab) -> Result<()> {
    let prober = lab.daemons.as_ref().context("no pnwatch")?.node_prober()?;
    lab.processes.kill(&prober.process())?;
    wait::until(
        "a finding about the node's silent prober",
        SILENCE_DEADLINE,
        || {
            let open = lab.findings()?.open()?;
            Ok(open
                .iter()
                .any(|finding| finding.subject == prober.vantage)
                .then_some(()))
        },
    )
}

/// The node's prober comes back, and with it the node's own evidence.
pub(crate) fn start_prober(lab: &mut Lab) -> Result<()> {
    lab.daemons.as_ref().map_or(Ok(()), |daemons| {
        let prober = daemons.node_prober()?;
        if !lab.processes.has(&prober.process()) {
            daemons.start_prober(&mut lab.processes, &prober)?;
        }
        daemons.wait_prober(&mut lab.processes, &prober)
    })
}

/// A short lease for the node, so that one can wait for its end.
pub(crate) fn shorten_lease(lab: &mut Lab, seconds: u32) -> Result<()> {
    shorten_lease_of(lab, seconds, Manners::Eager)
}

/// As [`shorten_lease`], with a client of other manners.
pub(crate) fn shorten_lease_of(lab: &mut Lab, seconds: u32, manners: Manners) -> Result<()> {
    lab.network
        .restart_dhcp_server(&mut lab.processes, seconds)?;
    lab.processes.kill(&dhcp::client_name(MACHINE))?;
    let node = &lab.network.node;
    // Kept, with a lifetime of its own, until the client takes it over: nothing must break yet.
    node.namespace.ip(&format!(
        "addr change {NODE_ADDRESS}/{PN_PREFIX} dev {NODE_DEVICE} valid_lft {seconds} preferred_lft {seconds}"
    ))?;
    let dir = lab.network.dir();
    node.start_client_with(manners, &mut lab.processes, dir)?;
    wait::until("a short lease", EXPIRY_DEADLINE, || {
        let listed = node
            .namespace
            .ip(&format!("-4 -o addr show dev {NODE_DEVICE}"))?;
        let left = valid_seconds(&listed);
        Ok(left.is_some_and(|left| left <= seconds).then_some(()))
    })
}

/// As [`shorten_lease`], by so much that one can wait for its end.
pub(super) fn hardly_any_lease(lab: &mut Lab) -> Result<()> {
    shorten_lease(lab, SHORT_LEASE_SECONDS)
}

/// What is left of the node's lease, in seconds, by the kernel.
pub(crate) fn seconds_left(lab: &Lab) -> Result<Option<u32>> {
    let node = &lab.network.node.namespace;
    let listed = node.ip(&format!("-4 -o addr show dev {NODE_DEVICE}"))?;
    Ok(valid_seconds(&listed))
}

/// The server dies; client and kernel do the rest. Returns when the kernel drops the address.
pub(crate) fn let_lease_run_out(lab: &mut Lab) -> Result<Timestamp> {
    let since = Timestamp::now();
    lab.processes.kill(dhcp::SERVER)?;
    let gone = Change::AddressGone(NODE_DEVICE.to_owned(), NODE_ADDRESS.to_string());
    lab.node_events
        .wait_for(&mut lab.processes, &gone, since, EXPIRY_DEADLINE)
}

/// The server comes back with its usual lease time.
pub(crate) fn restore_lease(lab: &mut Lab) -> Result<()> {
    let seconds = lab.network.lease_seconds();
    lab.network
        .restart_dhcp_server(&mut lab.processes, seconds)?;
    recover_address(lab)
}

/// Both cables go dead first: a machine without power does not say goodbye, nor that its cable went.
pub(crate) fn power_off(lab: &mut Lab) -> Result<Timestamp> {
    let since = Timestamp::now();
    lab.network
        .switch
        .ip(&format!("link set {NODE_MGMT_PORT} down"))?;
    lab.network
        .switch
        .ip(&format!("link set {NODE_PORT} down"))?;
    lab.processes.kill(&process_name(MACHINE))?;
    switch_report(lab, &Change::LinkDown(NODE_PORT.to_owned()), since)
}

/// Cables and prober are back.
pub(crate) fn power_on(lab: &mut Lab) -> Result<()> {
    lab.network.switch.ip(&format!("link set {NODE_PORT} up"))?;
    lab.network
        .switch
        .ip(&format!("link set {NODE_MGMT_PORT} up"))?;
    set_management(&lab.network.node.namespace)?;
    recover_address(lab)?;
    start_prober(lab)
}

/// `valid_lft` of the first address in the output of `ip -4 -o addr show`, in seconds.
fn valid_seconds(listed: &str) -> Option<u32> {
    let (_, rest) = listed.split_once("valid_lft ")?;
    rest.split_once("sec")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::valid_seconds;

    #[test]
    fn the_remaining_lease_is_read() {
        let line = "3: pn0    inet 172.16.0.2/22 scope global dynamic pn0\\       valid_lft 11sec preferred_lft 11sec";
        assert_eq!(valid_seconds(line), Some(11));
        assert_eq!(
            valid_seconds("… valid_lft forever preferred_lft forever"),
            None
        );
        assert_eq!(valid_seconds(""), None);
    }
}
