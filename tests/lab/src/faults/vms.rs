//! Faults of the way from a host's VMs to the PN, and what VMs may do without harm.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::net::sockopt::set_socket_linger;

use super::{Fault, NONE, churn, hostile, jobs};
use crate::expect::{Expected, Row, silent};
use crate::host;
use crate::lab::Lab;
use crate::topology::{
    HOST_DEVICE, MGMT_DEVICE, NODE_ADDRESS, NODE_PORTS, PN_CIDR, PODS, VM_CIDR, VM_TABLE,
};
use crate::{vms, wait};

/// The host whose VMs suffer.
const HOST: usize = 0;
/// Between two bursts of F9: shorter than the hold-down of a finding.
const BREAK: Duration = Duration::from_secs(3);
/// How long a burst of F9 lasts.
const BURST: Duration = Duration::from_secs(5);
/// Connections that a host has room for in F37.
const STATES: usize = 300;
/// How long a connection of F37 may take.
const SHORT: Duration = Duration::from_millis(500);

const fn host_path(severity: &'static str, fault: &'static [&'static str]) -> Expected {
    Expected {
        blame: "host",
        subject: "mini-0",
        severity,
        alertname: "PNHostPathBroken",
        fault,
    }
}

const fn critical(name: &'static str, about: &'static str, fault: &'static [&'static str]) -> Row {
    Row {
        name,
        about,
        expected: Some(host_path("critical", fault)),
        allowed: &[],
        bar_s: Some(6.0),
    }
}

/// The rows about VMs.
pub const ROWS: [Row; 12] = [
    critical(
        "F3",
        "one host no longer translates its VMs' way to the PN",
        &["vm_nat_missing"],
    ),
    critical(
        "F7",
        "one host translates nothing for its VMs: neither PN nor internet",
        &["vm_network_dead"],
    ),
    critical(
        "F12",
        "a filter on one host blocks one account's port, for the host and its VMs",
        &["port_filtered"],
    ),
    critical(
        "F4",
        "one host's filter no longer admits its VMs to the PN",
        &["filter_stale"],
    ),
    Row {
        name: "F4-idle",
        about: "one host's rules for its VMs are gone while no VM runs",
        expected: Some(host_path("warning", &["filter_stale"])),
        allowed: &[],
        bar_s: None,
    },
    critical(
        "F9",
        "as F3, but the translation comes and goes",
        &["vm_nat_missing"],
    ),
    critical(
        "F37",
        "a VM fills its host's table of connections",
        &["state_exhausted"],
    ),
    silent("vms", "VMs run on every host, and all is well"),
    silent(
        "jobs",
        "jobs in a VM ask for the endpoint that they were handed, and tell their host's relay",
    ),
    silent(
        "vm_churn",
        "VMs end in the middle of a check and others follow, a hundred in two minutes",
    ),
    silent("vm_twins", "two VMs of one host have the same address"),
    silent(
        "vm_hostile",
        "one VM does all it can to its host's relay; another runs beside it",
    ),
];

/// The fault behind one of [`ROWS`].
pub(super) fn fault(name: &str) -> Option<Fault> {
    Some(match name {
        "F3" => Fault {
            prepare: vms::start_all,
            inject: lose_pn_nat,
            heal,
            ..NONE
        },
        "F7" => Fault {
            prepare: vms::start_all,
            inject: lose_all_nat,
            heal,
            ..NONE
        },
        "F12" => Fault {
            prepare: vms::start_all,
            inject: block_port,
            heal: unblock_port,
            ..NONE
        },
        "F4" => Fault {
            prepare: vms::start_all,
            inject: admit_nobody,
            heal,
            ..NONE
        },
        "F4-idle" => Fault {
            prepare: vms::stop_all,
            inject: unload_rules,
            heal,
            ..NONE
        },
        "F9" => Fault {
            prepare: vms::start_all,
            inject: lose_pn_nat,
            sharpen: Some(come_and_go),
            heal,
            ..NONE
        },
        "F37" => Fault {
            prepare: limit_states,
            inject: fill_states,
            heal: free_states,
            ..NONE
        },
        "vm_churn" => Fault {
            prepare: vms::start_all,
            disturb: Some(churn::churn),
            heal: churn::leave_nothing,
            ..NONE
        },
        "vm_twins" => Fault {
            prepare: vms::start_all,
            disturb: Some(churn::twins),
            heal: churn::leave_nothing,
            ..NONE
        },
        "vm_hostile" => Fault {
            prepare: hostile::prepare,
            disturb: Some(hostile::attack),
            heal: churn::leave_nothing,
            ..NONE
        },
        "jobs" => Fault {
            prepare: vms::start_all,
            also: Some(jobs::ask),
            heal: vms::stop_all,
            ..NONE
        },
        "vms" => Fault {
            prepare: vms::start_all,
            heal: vms::stop_all,
            ..NONE
        },
        _ => return None,
    })
}

/// Loads the host's rules changed by `change`; the time is the order's.
fn reload(lab: &Lab, change: impl Fn(&str) -> String) -> Result<Timestamp> {
    let host = lab.network.hosts.get(HOST).context("no such host")?;
    let rules = host::rules();
    let changed = change(&rules);
    anyhow::ensure!(changed != rules, "the rules are not what they were");
    let ordered = Timestamp::now();
    host.load_rules(&changed)?;
    Ok(ordered)
}

fn nat(device: &str) -> String {
    format!("ip saddr {VM_CIDR} oifname {device} masquerade\n")
}

fn lose_pn_nat(lab: &mut Lab) -> Result<Timestamp> {
    reload(lab, |rules| rules.replace(&nat(HOST_DEVICE), "\n"))
}

fn lose_all_nat(lab: &mut Lab) -> Result<Timestamp> {
    reload(lab, |rules| {
        let rest = rules.replace(&nat(HOST_DEVICE), "\n");
        rest.replace(&nat(MGMT_DEVICE), "\n")
    })
}

fn heal(lab: &mut Lab) -> Result<()> {
    let host = lab.network.hosts.get(HOST).context("no such host")?;
    host.load_rules(&host::rules())
}

fn admit_nobody(lab: &mut Lab) -> Result<Timestamp> {
    let admitted = format!("ip saddr {VM_CIDR} ip daddr {PN_CIDR} tcp dport {NODE_PORTS} accept\n");
    reload(lab, |rules| rules.replace(&admitted, "\n"))
}

fn unload_rules(lab: &mut Lab) -> Result<Timestamp> {
    let host = lab.network.hosts.get(HOST).context("no such host")?;
    let ordered = Timestamp::now();
    host.namespace.nft(&format!("delete table {VM_TABLE}\n"))?;
    Ok(ordered)
}

/// Two more bursts of the fault with short breaks: one finding, one page.
fn come_and_go(lab: &mut Lab) -> Result<()> {
    for _ in 0..2 {
        heal(lab)?;
        wait::pass(BREAK)?;
        lose_pn_nat(lab)?;
        wait::pass(BURST)?;
    }
    Ok(())
}

/// The whole host has room for so many connections, VMs' and its own; pf is no different.
fn limit_states(lab: &mut Lab) -> Result<()> {
    vms::start_all(lab)?;
    reload(lab, |rules| {
        let chain = format!(
            "  chain states {{\n    type filter hook postrouting priority 90;\n\
             \x20   ct state new tcp dport {NODE_PORTS} ct count over {STATES} drop\n  }}\n}}\n"
        );
        rules
            .strip_suffix("}\n")
            .map_or_else(String::new, |open| format!("{open}{chain}"))
    })?;
    // As long as the connections from before are still counted, nothing is short.
    wait::pass(BREAK)
}

/// The VM opens connections and keeps them, until no more come about.
fn fill_states(lab: &mut Lab) -> Result<Timestamp> {
    let host = lab.network.hosts.get(HOST).context("no such host")?;
    let to = SocketAddr::from((NODE_ADDRESS, PODS[1].node_port));
    let held = host.vm.inside(|| {
        let mut held = Vec::new();
        while held.len() <= STATES {
            match TcpStream::connect_timeout(&to, SHORT) {
                Ok(stream) => held.push(stream),
                Err(_) => break,
            }
        }
        held
    })?;
    anyhow::ensure!(
        held.len() > STATES / 2,
        "only {} connections came about",
        held.len()
    );
    lab.held = held;
    Ok(Timestamp::now())
}

fn free_states(lab: &mut Lab) -> Result<()> {
    for stream in lab.held.drain(..) {
        // With RST: the table forgets it at once.
        let _ = set_socket_linger(&stream, Some(Duration::ZERO));
    }
    heal(lab)
}

/// On its way out of the host, whoever sends: the host itself or a VM.
fn block_port(lab: &mut Lab) -> Result<Timestamp> {
    let host = lab.network.hosts.get(HOST).context("no such host")?;
    let port = PODS[0].node_port;
    let ordered = Timestamp::now();
    host.namespace.nft(&format!(
        "table ip lab_block {{\n\
         \x20 chain o {{\n    type filter hook output priority 0;\n    tcp dport {port} drop\n  }}\n\
         \x20 chain f {{\n    type filter hook forward priority 10;\n    tcp dport {port} drop\n  }}\n\
         }}\n"
    ))?;
    Ok(ordered)
}

fn unblock_port(lab: &mut Lab) -> Result<()> {
    let host = lab.network.hosts.get(HOST).context("no such host")?;
    host.namespace
        .nft("table ip lab_block\ndelete table ip lab_block\n")
}
