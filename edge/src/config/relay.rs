//! `probe.relay` and `vm`: the two ends of the way from a runner VM to its host.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use pnwatch_core::link::Cidr;

use super::section::{FromSection, Section};

/// Where macOS keeps the leases of its VMs (bootpd(8)).
const LEASES: &str = "/var/db/dhcpd_leases";
/// Longest name of a packet filter's table.
const MAX_TABLE: usize = 64;

/// The host's end: a tiny endpoint for its VMs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// The gateway address of the VMs' network, and the port: nothing else is listened on.
    pub gateway: SocketAddr,
    /// Where VMs have their addresses; others are not answered.
    pub vms: Cidr,
    /// The leases of the VMs, which tell slots apart where the neighbour table does not.
    pub leases: PathBuf,
    /// The nft table (`FAMILY NAME`) that translates the VMs, on Linux; `None` = not read.
    pub filter_table: Option<String>,
}

impl FromSection for Relay {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let gateway: Option<SocketAddr> = section.required("gateway", "192.168.64.1:9764");
        let vms: Option<Cidr> = section.required("vms", "192.168.64.0/22");
        let leases = section.or("leases", PathBuf::from(LEASES));
        let filter_table: Option<String> = section.optional("filter_table");
        if let (Some(gateway), Some(vms)) = (gateway, vms)
            && !matches!(gateway.ip(), IpAddr::V4(ip) if vms.contains(ip))
        {
            section.refuse(
                "gateway",
                format!(
                    "{gateway} lies outside of the VMs' network {vms}; name the host's address on the VMs' bridge"
                ),
            );
        }
        if filter_table.as_deref().is_some_and(|t| !is_table(t)) {
            section.refuse(
                "filter_table",
                "write the family and the name of one nft table, like `ip vmnat`",
            );
        }
        Some(Self {
            gateway: gateway?,
            vms: vms?,
            leases,
            filter_table,
        })
    }
}

/// Family and name, as nft(8) takes them.
fn is_table(text: &str) -> bool {
    let word = |w: &str| {
        let head = w.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        head && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    text.len() <= MAX_TABLE
        && matches!(text.split_once(' '), Some((family, name))
            if matches!(family, "ip" | "ip6" | "inet") && word(name))
}

/// The VM's end: who it tells what it sees. It knows no more of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// The host's relay.
    pub relay: SocketAddr,
}

impl FromSection for Vm {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let relay: Option<SocketAddr> = section.required("relay", "192.168.64.1:9764");
        if relay.is_some_and(|relay| relay.ip().is_unspecified() || relay.port() == 0) {
            section.refuse(
                "relay",
                "name the gateway of the VM's network and the port of the host's `probe.relay.gateway`",
            );
        }
        Some(Self { relay: relay? })
    }
}
