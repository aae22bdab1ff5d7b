//! Names, addresses and ports of the lab: one place, so that configuration, rules and checks agree.
//!
//! ```text
//!            PN bridge 172.16.0.0/22 (sw)                    management bridge 198.18.0.0/24 (sw)
//!   dhcp ──────┤  .3.254                                         │
//!   node pn0 ──┤  .0.2   ── cni0 10.42.0.1 ── pod0, pod1         ├── node .2
//!   host0..2 ──┤  .0.11… ── bridge100 192.168.64.1 ── vm0..2     ├── host0..2 .11…
//!     vlan0    │            (every VM is 192.168.64.2)           ├── exp .10, .14
//!              │                                                 └── inet .1 (no way further)
//! ```

use std::net::Ipv4Addr;

/// The cluster that findings name.
pub const CLUSTER: &str = "lab";
/// The PN.
pub const PN_CIDR: &str = "172.16.0.0/22";
/// Prefix length of the PN.
pub const PN_PREFIX: u8 = 22;
/// The PN bridge in the switch's namespace.
pub const PN_BRIDGE: &str = "pn";
/// The management bridge in the switch's namespace.
pub const MGMT_BRIDGE: &str = "mgmt";

/// The DHCP server's address on the PN.
pub const DHCP_SERVER: Ipv4Addr = Ipv4Addr::new(172, 16, 3, 254);

/// The bridge port of the DHCP server.
pub const DHCP_PORT: &str = "dhcp-pn";

/// The cache node's name.
pub const NODE: &str = "prod-kura-fleet-1";
/// The cache node's PN device.
pub const NODE_DEVICE: &str = "pn0";
/// The cache node's PN address.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
/// The bridge port of the cache node's PN device.
pub const NODE_PORT: &str = "node-pn";
/// The bridge port of the cache node's management leg.
pub const NODE_MGMT_PORT: &str = "node-mg";
/// The cache node's management address.
pub const NODE_MGMT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The port that a pod listens on.
pub const POD_PORT: u16 = 4000;
/// The pod's control port, on its own loopback.
pub const POD_CONTROL: &str = "127.0.0.1:4001";
/// The range of `NodePorts`.
pub const NODE_PORTS: &str = "30000-32767";

/// A Mac host's PN device.
pub const HOST_DEVICE: &str = "vlan0";
/// The device of the management leg, everywhere.
pub const MGMT_DEVICE: &str = "mgmt0";
/// The vmnet bridge of a host.
pub const VM_BRIDGE: &str = "bridge100";
/// The sources that a host translates.
pub const VM_CIDR: &str = "192.168.64.0/22";
/// Where a host's relay listens for its VMs; the same on every host.
pub const RELAY: &str = "192.168.64.1:9764";
/// The nft table by which a host forwards its VMs, in the words of nft(8).
pub const VM_TABLE: &str = "ip vmnat";
/// How many hosts there are.
pub const HOSTS: usize = 3;

/// "The internet": default gateway of the management net and control target.
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// What must answer when the PN does not.
pub const CONTROL: &str = "198.18.0.1:80";
/// The exporters' addresses, one per replica.
pub const EXPORTERS: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 18, 0, 10), Ipv4Addr::new(198, 18, 0, 14)];

/// One account's cache pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pod {
    /// The account, and its tenant.
    pub account: &'static str,
    /// The cache instance.
    pub instance: &'static str,
    /// Its `NodePort` on the cache node.
    pub node_port: u16,
    /// The pod's own address behind the cache node.
    pub address: Ipv4Addr,
}

/// The pods on the cache node.
pub const PODS: [Pod; 2] = [
    Pod {
        account: "tuist",
        instance: "kura-tuist-scw-fr-par",
        node_port: 30815,
        address: Ipv4Addr::new(10, 42, 0, 10),
    },
    Pod {
        account: "acme",
        instance: "kura-acme-scw-fr-par",
        node_port: 30816,
        address: Ipv4Addr::new(10, 42, 0, 11),
    },
];

/// The name of host `index`.
pub fn host_name(index: usize) -> String {
    format!("mini-{index}")
}

/// The PN address of host `index`.
pub fn host_address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(172, 16, 0, 11 + index as u8)
}

/// The management address of host `index`.
pub fn host_mgmt(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, 11 + index as u8)
}

/// The bridge port of host `index` on the PN.
pub fn host_port(index: usize) -> String {
    format!("mini{index}-pn")
}

/// The bridge port of host `index` on the management net.
pub fn host_mgmt_port(index: usize) -> String {
    format!("mini{index}-mg")
}

/// A hardware address made from an IPv4 address: locally administered, and readable in a capture.
pub fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The vantage of the cache node.
pub fn node_vantage() -> String {
    format!("node/{NODE}")
}

/// The vantage of host `index`.
pub fn host_vantage(index: usize) -> String {
    format!("host/{}", host_name(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_local_and_distinct() {
        assert_eq!(mac(NODE_ADDRESS), "02:00:ac:10:00:02");
        assert_ne!(mac(host_address(0)), mac(host_address(1)));
        assert_ne!(mac(host_address(0)), mac(host_mgmt(0)));
    }

    #[test]
    fn device_names_fit_the_kernel() {
        // IFNAMSIZ is 16 with the terminating zero.
        for name in [
            host_port(2),
            host_mgmt_port(2),
            NODE_PORT.to_owned(),
            VM_BRIDGE.to_owned(),
        ] {
            assert!(name.len() < 16, "{name}");
        }
    }
}
