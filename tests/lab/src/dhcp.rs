//! A real DHCP server on the PN, and a real client as the holder of each address.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::command::{DHCLIENT, DHCPD};
use crate::net::Namespace;
use crate::process::Processes;
use crate::topology::{DHCP_SERVER, HOSTS, NODE_ADDRESS, PN_PREFIX, host_address, host_name, mac};
use crate::wait;

/// The server's name among the lab's processes.
pub const SERVER: &str = "dhcpd";
/// dhclient takes about two seconds for a lease; three times as much, and a margin for a busy machine.
const LEASE_DEADLINE: Duration = Duration::from_secs(15);

/// Keeps the host's resolv.conf and clock untouched (nothing about DNS or NTP is asked for),
/// and asks again after seconds instead of minutes when the server was away.
const CLIENT_CONFIG: &str = "\
request subnet-mask, dhcp-lease-time;
timeout 5;
retry 1;
initial-interval 1;
backoff-cutoff 2;
";
const SHIPPED_CONFIG: &str = "request subnet-mask, dhcp-lease-time;\n";

/// How a client asks again when nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Every second or two, so that a server that is back is found at once.
    Eager,
    /// As dhclient does by itself: ten seconds after the first request (dhclient.conf(5),
    /// `initial-interval`), then ever more slowly.
    Shipped,
}

impl Manners {
    fn config(self) -> &'static str {
        match self {
            Self::Eager => CLIENT_CONFIG,
            Self::Shipped => SHIPPED_CONFIG,
        }
    }
}

/// The server's configuration: a fixed address per machine, leases of `lease_seconds`.
fn server_config(lease_seconds: u32) -> String {
    let mut text = format!(
        "authoritative;\nping-check false;\nddns-update-style none;\n\
         default-lease-time {lease_seconds};\nmax-lease-time {lease_seconds};\nmin-lease-time {lease_seconds};\n\
         subnet 172.16.0.0 netmask 255.255.252.0 {{\n}}\n"
    );
    let hosts = (0..HOSTS).map(|index| (host_name(index), host_address(index)));
    for (name, address) in hosts.chain([("node".to_owned(), NODE_ADDRESS)]) {
        let mac = mac(address);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "host {name} {{ hardware ethernet {mac}; fixed-address {address}; }}"
        );
    }
    text
}

/// Starts the server in `namespace`, whose PN device `device` has [`DHCP_SERVER`].
pub fn start_server(
    processes: &mut Processes,
    namespace: &Namespace,
    device: &str,
    dir: &Path,
    lease_seconds: u32,
) -> Result<()> {
    let (config, leases) = (dir.join("dhcpd.conf"), dir.join("dhcpd.leases"));
    std::fs::write(&config, server_config(lease_seconds))
        .with_context(|| format!("cannot write {}", config.display()))?;
    std::fs::write(&leases, "").with_context(|| format!("cannot write {}", leases.display()))?;
    let arguments = [
        "-f",
        "-4",
        "--no-pid",
        "-cf",
        &text(&config),
        "-lf",
        &text(&leases),
        device,
    ]
    .map(str::to_owned);
    processes.start(SERVER, namespace, &DHCPD.require()?, &arguments)?;
    Ok(())
}

/// The client's name among the lab's processes, for the machine `machine`.
pub fn client_name(machine: &str) -> String {
    format!("dhclient-{machine}")
}

/// Starts a client for `device`. It forgets earlier leases, as a client does after a reboot.
pub fn start_client(
    processes: &mut Processes,
    (machine, manners): (&str, Manners),
    namespace: &Namespace,
    device: &str,
    dir: &Path,
) -> Result<()> {
    let file = |suffix: &str| dir.join(format!("dhclient-{machine}.{suffix}"));
    let (config, leases, pid) = (file("conf"), file("leases"), file("pid"));
    std::fs::write(&config, manners.config())
        .with_context(|| format!("cannot write {}", config.display()))?;
    for old in [&leases, &pid] {
        if old.exists() {
            std::fs::remove_file(old)
                .with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    let arguments = [
        "-4",
        "-d",
        "-cf",
        &text(&config),
        "-lf",
        &text(&leases),
        "-pf",
        &text(&pid),
        device,
    ]
    .map(str::to_owned);
    let name = client_name(machine);
    processes.start(&name, namespace, &DHCLIENT.require()?, &arguments)?;
    Ok(())
}

/// Waits until `device` has `address`.
pub fn wait_for_lease(
    processes: &mut Processes,
    machine: &str,
    namespace: &Namespace,
    device: &str,
    address: Ipv4Addr,
) -> Result<()> {
    let what = format!("a lease of {address} for {device} of {machine}");
    wait::until(&what, LEASE_DEADLINE, || {
        processes.check(SERVER)?;
        processes.check(&client_name(machine))?;
        Ok(has_address(namespace, device, address)?.then_some(()))
    })
}

/// Whether `device` exists in `namespace` and has `address` with the PN's prefix.
pub fn has_address(namespace: &Namespace, device: &str, address: Ipv4Addr) -> Result<bool> {
    let listed = namespace.ip("-4 -o addr show")?;
    Ok(lists_address(&listed, device, address))
}

/// Reads the output of `ip -4 -o addr show`.
fn lists_address(listed: &str, device: &str, address: Ipv4Addr) -> bool {
    let wanted = format!("{address}/{PN_PREFIX}");
    listed.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.nth(1) == Some(device) && words.nth(1) == Some(&wanted)
    })
}

/// The server's address in the form that `ip addr add` takes.
pub fn server_cidr() -> String {
    format!("{DHCP_SERVER}/{PN_PREFIX}")
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_its_fixed_address() {
        let text = server_config(12);
        assert!(text.contains("default-lease-time 12;"));
        assert!(text.contains(
            "host node { hardware ethernet 02:00:ac:10:00:02; fixed-address 172.16.0.2; }"
        ));
        assert!(text.contains(
            "host mini-2 { hardware ethernet 02:00:ac:10:00:0d; fixed-address 172.16.0.13; }"
        ));
    }

    #[test]
    fn an_address_is_found_on_its_device_only() {
        let listed = "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n\
            3: pn0    inet 172.16.0.2/22 brd 172.16.3.255 scope global dynamic pn0\\       valid_lft 58sec preferred_lft 58sec\n";
        assert!(lists_address(listed, "pn0", NODE_ADDRESS));
        assert!(!lists_address(listed, "lo", NODE_ADDRESS));
        assert!(!lists_address(listed, "pn0", host_address(0)));
        assert!(!lists_address("", "pn0", NODE_ADDRESS));
    }
}
