//! Faults of a host's own leg, with their rows.

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::{Fault, NONE};
use crate::dhcp;
use crate::expect::{Expected, Row};
use crate::lab::Lab;
use crate::topology::{HOST_DEVICE, PN_PREFIX, host_address, host_name};

/// The host that is broken.
const HOST: usize = 1;

const fn row(name: &'static str, about: &'static str, fault: &'static [&'static str]) -> Row {
    Row {
        name,
        about,
        expected: Some(Expected {
            blame: "host",
            subject: "mini-1",
            severity: "critical",
            alertname: "PNHostPathBroken",
            fault,
        }),
        allowed: &[],
        bar_s: Some(2.0),
    }
}

/// The rows of these faults.
pub const ROWS: [Row; 2] = [
    row(
        "F10",
        "one host's PN device is deleted",
        &["interface_missing"],
    ),
    row("F11", "one host loses its PN address", &["address_lost"]),
];

/// What each of [`ROWS`] does.
pub(super) fn fault(name: &str) -> Option<Fault> {
    Some(match name {
        "F10" => Fault {
            inject: delete_device,
            heal: recover,
            ..NONE
        },
        "F11" => Fault {
            inject: delete_address,
            heal: recover,
            ..NONE
        },
        _ => return None,
    })
}

/// As the node's: the client goes first, or it would bring the address back.
fn delete_device(lab: &mut Lab) -> Result<Timestamp> {
    break_leg(lab, &format!("link del {HOST_DEVICE}"))
}

fn delete_address(lab: &mut Lab) -> Result<Timestamp> {
    let address = host_address(HOST);
    break_leg(
        lab,
        &format!("addr del {address}/{PN_PREFIX} dev {HOST_DEVICE}"),
    )
}

fn break_leg(lab: &mut Lab, how: &str) -> Result<Timestamp> {
    lab.processes.kill(&dhcp::client_name(&host_name(HOST)))?;
    let host = lab.network.hosts.get(HOST).context("no such host")?;
    let ordered = Timestamp::now();
    host.namespace.ip(how)?;
    Ok(ordered)
}

fn recover(lab: &mut Lab) -> Result<()> {
    lab.processes.kill(&dhcp::client_name(&host_name(HOST)))?;
    let host = lab.network.hosts.get(HOST).context("no such host")?;
    let device = format!("link show {HOST_DEVICE}");
    if host.namespace.ip(&device).is_err() {
        host.plug_pn(&lab.network.switch)?;
    }
    host.namespace
        .ip(&format!("-4 addr flush dev {HOST_DEVICE}"))?;
    host.start_client(&mut lab.processes, lab.network.dir())?;
    host.wait_for_lease(&mut lab.processes)
}
