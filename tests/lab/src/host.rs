//! A stand-in for a Mac host: `vlan0` by DHCP, and one VM behind the NAT of its vmnet bridge.

use std::path::Path;

use anyhow::Result;

use crate::dhcp::{self, Manners};
use crate::net::{Cable, Namespace, Namespaces};
use crate::process::Processes;
use crate::topology::{
    HOST_DEVICE, INTERNET, MGMT_BRIDGE, MGMT_DEVICE, NODE_PORTS, PN_BRIDGE, PN_CIDR, VM_BRIDGE,
    VM_CIDR, VM_TABLE, host_address, host_mgmt, host_mgmt_port, host_name, host_port, mac,
};

/// The host's address on its vmnet bridge; the same on every host.
const VM_GATEWAY: &str = "192.168.64.1";
/// Every VM's address: it identifies none of them.
const VM_ADDRESS: &str = "192.168.64.2";

/// One host and its VM.
#[derive(Debug)]
pub struct Host {
    /// Which of the hosts, from 0.
    pub index: usize,
    /// The host's own namespace.
    pub namespace: Namespace,
    /// The VM's namespace.
    pub vm: Namespace,
}

impl Host {
    /// Creates host `index` with its VM; the PN address comes with [`Host::start_client`].
    pub fn create(namespaces: &mut Namespaces, switch: &Namespace, index: usize) -> Result<Self> {
        let namespace = namespaces.create(&format!("host{index}"))?;
        plug_pn(&namespace, switch, index)?;
        Cable {
            machine: &namespace,
            device: MGMT_DEVICE,
            mac: &mac(host_mgmt(index)),
            switch,
            bridge: MGMT_BRIDGE,
            port: &host_mgmt_port(index),
        }
        .plug()?;
        namespace.add_bridge(VM_BRIDGE)?;
        namespace.ip(&format!("addr add {VM_GATEWAY}/22 dev {VM_BRIDGE}"))?;
        namespace.set_sysctl("ipv4/ip_forward", "1")?;
        namespace.nft(&rules())?;
        let vm = namespaces.create(&format!("vm{index}"))?;
        Cable {
            machine: &vm,
            device: "eth0",
            mac: &format!("02:00:c0:a8:40:{index:02x}"),
            switch: &namespace,
            bridge: VM_BRIDGE,
            port: "vmenet0",
        }
        .plug()?;
        vm.ip(&format!("addr add {VM_ADDRESS}/22 dev eth0"))?;
        vm.ip(&format!("route add default via {VM_GATEWAY}"))?;
        let host = Self {
            index,
            namespace,
            vm,
        };
        host.set_management()?;
        Ok(host)
    }

    /// The host's name, which is also its name among the lab's processes (its DHCP client).
    pub fn name(&self) -> String {
        host_name(self.index)
    }

    /// Sets the management address and the default route. The route goes when the leg goes down
    /// and has to be set again.
    pub fn set_management(&self) -> Result<()> {
        let address = host_mgmt(self.index);
        self.namespace
            .ip(&format!("addr replace {address}/24 dev {MGMT_DEVICE}"))?;
        self.namespace.ip(&format!(
            "route replace default via {INTERNET} dev {MGMT_DEVICE}"
        ))?;
        Ok(())
    }

    /// Plugs `vlan0` in anew, after it was deleted; without an address.
    pub fn plug_pn(&self, switch: &Namespace) -> Result<()> {
        plug_pn(&self.namespace, switch, self.index)
    }

    /// Starts the DHCP client that holds the address of `vlan0`.
    pub fn start_client(&self, processes: &mut Processes, dir: &Path) -> Result<()> {
        let name = self.name();
        let client = (name.as_str(), Manners::Eager);
        dhcp::start_client(processes, client, &self.namespace, HOST_DEVICE, dir)
    }

    /// Waits until `vlan0` has its address.
    pub fn wait_for_lease(&self, processes: &mut Processes) -> Result<()> {
        let address = host_address(self.index);
        dhcp::wait_for_lease(
            processes,
            &self.name(),
            &self.namespace,
            HOST_DEVICE,
            address,
        )
    }
}

fn plug_pn(machine: &Namespace, switch: &Namespace, index: usize) -> Result<()> {
    let cable = Cable {
        machine,
        device: HOST_DEVICE,
        mac: &mac(host_address(index)),
        switch,
        bridge: PN_BRIDGE,
        port: &host_port(index),
    };
    cable.plug()
}

impl Host {
    /// Loads the rules of the VMs anew; all of them take effect at one instant.
    pub fn load_rules(&self, rules: &str) -> Result<()> {
        let replaced = format!("table {VM_TABLE}\ndelete table {VM_TABLE}\n{rules}");
        self.namespace.nft(&replaced)
    }
}

/// What pf does on a host: VMs reach the PN on `NodePorts` only, translated to the host's PN
/// address; everything else leaves by the management leg.
pub fn rules() -> String {
    format!(
        "table {VM_TABLE} {{\n\
         \x20 chain forward {{\n    type filter hook forward priority filter;\n\
         \x20   ip saddr {VM_CIDR} ip daddr {PN_CIDR} tcp dport {NODE_PORTS} accept\n\
         \x20   ip saddr {VM_CIDR} ip daddr {PN_CIDR} drop\n  }}\n\
         \x20 chain postrouting {{\n    type nat hook postrouting priority srcnat;\n\
         \x20   ip saddr {VM_CIDR} oifname {HOST_DEVICE} masquerade\n\
         \x20   ip saddr {VM_CIDR} oifname {MGMT_DEVICE} masquerade\n  }}\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_node_ports_reach_the_pn() {
        let rules = rules();
        let accept =
            "ip saddr 192.168.64.0/22 ip daddr 172.16.0.0/22 tcp dport 30000-32767 accept\n";
        let drop = "ip saddr 192.168.64.0/22 ip daddr 172.16.0.0/22 drop\n";
        let (accept, drop) = (rules.find(accept).unwrap(), rules.find(drop).unwrap());
        assert!(accept < drop, "{rules}");
    }
}
