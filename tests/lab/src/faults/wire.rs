//! Faults that only the wire shows: filters, layer 2, a second owner of the address, loss, large
//! packets, routes. With their rows, so that each stands in one place.

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::{Fault, NONE};
use crate::expect::{Expected, Row};
use crate::lab::Lab;
use crate::net::Namespace;
use crate::topology::{
    HOST_DEVICE, INTERNET, MGMT_DEVICE, NODE, NODE_ADDRESS, NODE_DEVICE, NODE_PORT, NODE_PORTS,
    PN_CIDR, PODS, host_port,
};

/// The host that is broken.
const HOST: usize = 1;
/// Share of packets that are lost each way, of 100.
const LOST: u32 = 30;
/// The device of the second machine that claims the node's address.
const SECOND_DEVICE: &str = "pn";

const fn node(alertname: &'static str, fault: &'static [&'static str]) -> Expected {
    Expected {
        blame: "node",
        subject: NODE,
        severity: "critical",
        alertname,
        fault,
    }
}

const fn host(
    severity: &'static str,
    alertname: &'static str,
    fault: &'static [&'static str],
) -> Expected {
    Expected {
        blame: "host",
        subject: "mini-1",
        severity,
        alertname,
        fault,
    }
}

const fn row(name: &'static str, about: &'static str, expected: Expected) -> Row {
    Row {
        name,
        about,
        expected: Some(expected),
        allowed: &[],
        bar_s: None,
    }
}

/// The rows of these faults.
pub const ROWS: [Row; 9] = [
    row(
        "F12-host",
        "a filter on one host drops what it sends to one NodePort",
        host("critical", "PNHostPathBroken", &["port_filtered"]),
    ),
    row(
        "F22",
        "a second machine of the PN holds the node's address",
        node("PNAddressConflict", &["address_conflict"]),
    ),
    row(
        "F30",
        "the node answers ARP, and drops what comes in for every NodePort",
        node("PNNodeUnreachable", &["nodeport_not_served"]),
    ),
    row(
        "F32",
        "the switch forwards nothing from and to the node; every cable has carrier",
        node("PNNodeUnreachable", &["l2_isolated"]),
    ),
    row(
        "F32-host",
        "the switch forwards nothing from and to one host",
        host("critical", "PNHostPathBroken", &["l2_isolated"]),
    ),
    row(
        "F34",
        "another machine answers ARP for the node's address, the node does not",
        node("PNAddressConflict", &["answered_by_other"]),
    ),
    row(
        "F35",
        "one host loses 30 % of its packets each way",
        host("warning", "PNDegraded", &["lossy"]),
    ),
    row(
        "F36",
        "the switch loses the node's packets of more than 1000 bytes",
        node("PNDegraded", &["large_packets_lost"]),
    ),
    row(
        "F38",
        "a routing rule of the node sends the PN's traffic out by the management leg",
        node("PNNodeUnreachable", &["route_wrong"]),
    ),
];

/// What each of [`ROWS`] does.
pub(super) fn fault(name: &str) -> Option<Fault> {
    Some(match name {
        "F12-host" => Fault {
            inject: filter_one_port,
            heal: |lab| unload(&broken_host(lab)?, "inet lab_filter"),
            ..NONE
        },
        "F22" => Fault {
            inject: claim_address,
            heal: release_address,
            ..NONE
        },
        "F30" => Fault {
            inject: drop_node_ports,
            heal: |lab| unload(&lab.network.node.namespace.clone(), "inet lab_filter"),
            ..NONE
        },
        "F32" => Fault {
            inject: |lab| isolate(lab, NODE_PORT),
            heal: join,
            ..NONE
        },
        "F32-host" => Fault {
            inject: |lab| isolate(lab, &host_port(HOST)),
            heal: join,
            ..NONE
        },
        "F34" => Fault {
            inject: answer_for_node,
            heal: |lab| {
                set_silent(lab, "0")?;
                release_address(lab)
            },
            ..NONE
        },
        "F35" => Fault {
            inject: lose_packets,
            heal: join,
            ..NONE
        },
        "F36" => Fault {
            inject: lose_large,
            heal: join,
            ..NONE
        },
        "F38" => Fault {
            inject: misroute,
            heal: route_right,
            ..NONE
        },
        _ => return None,
    })
}

fn broken_host(lab: &Lab) -> Result<Namespace> {
    let host = lab.network.hosts.get(HOST).context("no such host")?;
    Ok(host.namespace.clone())
}

/// Loads a table; it takes effect at one instant, which is between order and return.
fn load(namespace: &Namespace, script: &str) -> Result<Timestamp> {
    let since = Timestamp::now();
    namespace.nft(script)?;
    Ok(since)
}

fn unload(namespace: &Namespace, table: &str) -> Result<()> {
    namespace.nft(&format!("table {table}\ndelete table {table}\n"))
}

fn filter_one_port(lab: &mut Lab) -> Result<Timestamp> {
    let port = PODS[0].node_port;
    load(
        &broken_host(lab)?,
        &format!(
            "table inet lab_filter {{\n  chain c {{\n    type filter hook output priority 0;\n\
             \x20   oifname {HOST_DEVICE} tcp dport {port} drop\n  }}\n}}\n"
        ),
    )
}

/// As a datapath that is not attached to a device made anew: before any translation.
fn drop_node_ports(lab: &mut Lab) -> Result<Timestamp> {
    load(
        &lab.network.node.namespace,
        &format!(
            "table inet lab_filter {{\n  chain c {{\n    type filter hook prerouting priority -300;\n\
             \x20   iifname {NODE_DEVICE} tcp dport {NODE_PORTS} drop\n  }}\n}}\n"
        ),
    )
}

fn isolate(lab: &Lab, port: &str) -> Result<Timestamp> {
    on_switch(
        lab,
        &format!("iifname \"{port}\" drop\n    oifname \"{port}\" drop"),
    )
}

fn lose_packets(lab: &mut Lab) -> Result<Timestamp> {
    let port = host_port(HOST);
    on_switch(
        lab,
        &format!(
            "iifname \"{port}\" numgen random mod 100 < {LOST} drop\n\
             \x20   oifname \"{port}\" numgen random mod 100 < {LOST} drop"
        ),
    )
}

/// Segments that a device joins are larger than any frame: they are lost as their parts would be.
fn lose_large(lab: &mut Lab) -> Result<Timestamp> {
    on_switch(
        lab,
        &format!("iifname \"{NODE_PORT}\" meta length > 1000 drop"),
    )
}

fn on_switch(lab: &Lab, rules: &str) -> Result<Timestamp> {
    load(
        &lab.network.switch,
        &format!(
            "table bridge lab_wire {{\n  chain c {{\n    type filter hook forward priority 0;\n\
             \x20   {rules}\n  }}\n}}\n"
        ),
    )
}

fn join(lab: &mut Lab) -> Result<()> {
    unload(&lab.network.switch, "bridge lab_wire")
}

/// The DHCP server's machine takes the node's address besides its own.
fn claim_address(lab: &mut Lab) -> Result<Timestamp> {
    let since = Timestamp::now();
    lab.network
        .dhcp
        .ip(&format!("addr add {NODE_ADDRESS}/32 dev {SECOND_DEVICE}"))?;
    Ok(since)
}

fn release_address(lab: &mut Lab) -> Result<()> {
    lab.network
        .dhcp
        .ip(&format!("addr del {NODE_ADDRESS}/32 dev {SECOND_DEVICE}"))
        .map(drop)
}

fn answer_for_node(lab: &mut Lab) -> Result<Timestamp> {
    set_silent(lab, "8")?;
    claim_address(lab)
}

/// 8 = answers ARP for none of its addresses (`arp_ignore`, ip-sysctl).
fn set_silent(lab: &Lab, value: &str) -> Result<()> {
    let key = format!("ipv4/conf/{NODE_DEVICE}/arp_ignore");
    lab.network.node.namespace.set_sysctl(&key, value)
}

fn misroute(lab: &mut Lab) -> Result<Timestamp> {
    let node = &lab.network.node.namespace;
    node.ip(&format!(
        "route replace default via {INTERNET} dev {MGMT_DEVICE} table 199"
    ))?;
    let since = Timestamp::now();
    node.ip(&format!("rule add to {PN_CIDR} lookup 199 priority 100"))?;
    Ok(since)
}

fn route_right(lab: &mut Lab) -> Result<()> {
    let node = &lab.network.node.namespace;
    node.ip("rule del priority 100")?;
    node.ip("route flush table 199").map(drop)
}
