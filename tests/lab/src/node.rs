//! The cache node: `pn0` by DHCP, a public path by the management net, pods behind `NodePorts`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::dhcp::{self, Manners};
use crate::net::{Cable, Namespace, Namespaces};
use crate::process::Processes;
use crate::topology::{
    INTERNET, MGMT_BRIDGE, MGMT_DEVICE, NODE_ADDRESS, NODE_DEVICE, NODE_MGMT, NODE_MGMT_PORT,
    NODE_PORT, NODE_PORTS, PN_BRIDGE, POD_CONTROL, POD_PORT, PODS, mac,
};

/// The node's name among the lab's processes (its DHCP client).
pub const MACHINE: &str = "node";
/// The pod bridge and its address.
const POD_BRIDGE: &str = "cni0";
const POD_GATEWAY: &str = "10.42.0.1";

/// The cache node and its pods.
#[derive(Debug)]
pub struct Node {
    /// The node's own namespace.
    pub namespace: Namespace,
    /// One namespace per pod, in the order of [`PODS`].
    pub pods: Vec<Namespace>,
}

impl Node {
    /// Creates node and pods; the address comes with [`Node::start_client`].
    pub fn create(namespaces: &mut Namespaces, switch: &Namespace) -> Result<Self> {
        let namespace = namespaces.create("node")?;
        plug_pn(&namespace, switch)?;
        Cable {
            machine: &namespace,
            device: MGMT_DEVICE,
            mac: &mac(NODE_MGMT),
            switch,
            bridge: MGMT_BRIDGE,
            port: NODE_MGMT_PORT,
        }
        .plug()?;
        set_management(&namespace)?;
        namespace.add_bridge(POD_BRIDGE)?;
        namespace.ip(&format!("addr add {POD_GATEWAY}/24 dev {POD_BRIDGE}"))?;
        namespace.set_sysctl("ipv4/ip_forward", "1")?;
        let mut pods = Vec::new();
        for (index, pod) in PODS.iter().enumerate() {
            let pod_namespace = namespaces.create(&format!("pod{index}"))?;
            Cable {
                machine: &pod_namespace,
                device: "eth0",
                mac: &mac(pod.address),
                switch: &namespace,
                bridge: POD_BRIDGE,
                port: &format!("lxc{index}"),
            }
            .plug()?;
            pod_namespace.ip(&format!("addr add {}/24 dev eth0", pod.address))?;
            pod_namespace.ip(&format!("route add default via {POD_GATEWAY}"))?;
            pods.push(pod_namespace);
        }
        namespace.nft(&rules())?;
        Ok(Self { namespace, pods })
    }

    /// Starts the DHCP client that holds the address of `pn0`.
    pub fn start_client(&self, processes: &mut Processes, dir: &Path) -> Result<()> {
        self.start_client_with(Manners::Eager, processes, dir)
    }

    /// As [`Node::start_client`], with a client of other manners.
    pub fn start_client_with(
        &self,
        manners: Manners,
        processes: &mut Processes,
        dir: &Path,
    ) -> Result<()> {
        let client = (MACHINE, manners);
        dhcp::start_client(processes, client, &self.namespace, NODE_DEVICE, dir)
    }

    /// Waits until `pn0` has its address.
    pub fn wait_for_lease(&self, processes: &mut Processes) -> Result<()> {
        dhcp::wait_for_lease(
            processes,
            MACHINE,
            &self.namespace,
            NODE_DEVICE,
            NODE_ADDRESS,
        )
    }

    /// Starts the stand-in of pod `index` (`program` is the lab's own executable).
    pub fn start_pod(&self, processes: &mut Processes, program: &Path, index: usize) -> Result<()> {
        let (Some(pod), Some(namespace)) = (PODS.get(index), self.pods.get(index)) else {
            anyhow::bail!("there is no pod {index}");
        };
        let arguments = [
            "standin",
            "--listen",
            &format!("0.0.0.0:{POD_PORT}"),
            "--control",
            POD_CONTROL,
            "--tenant",
            pod.account,
            "--metrics-bytes",
            "40000",
        ]
        .map(str::to_owned);
        processes.start(&format!("pod{index}"), namespace, program, &arguments)?;
        Ok(())
    }
}

/// Gives the node its PN device (again), with the same hardware address.
pub fn plug_pn(namespace: &Namespace, switch: &Namespace) -> Result<()> {
    Cable {
        machine: namespace,
        device: NODE_DEVICE,
        mac: &mac(NODE_ADDRESS),
        switch,
        bridge: PN_BRIDGE,
        port: NODE_PORT,
    }
    .plug()
}

/// Sets the management address and the default route, the node's public path. The route goes
/// when the leg goes down and has to be set again.
pub fn set_management(namespace: &Namespace) -> Result<()> {
    namespace.ip(&format!("addr replace {NODE_MGMT}/24 dev {MGMT_DEVICE}"))?;
    namespace.ip(&format!(
        "route replace default via {INTERNET} dev {MGMT_DEVICE}"
    ))?;
    Ok(())
}

/// What kube-proxy does for Services with `externalTrafficPolicy: Local`: a `NodePort` whose pod is
/// here goes to the pod with the client's own source address, every other `NodePort` is dropped.
fn rules() -> String {
    let mut forward = String::new();
    for pod in PODS {
        let (port, address) = (pod.node_port, pod.address);
        // Writing to a String cannot fail.
        let _ = writeln!(
            forward,
            "    fib daddr type local tcp dport {port} dnat to {address}:{POD_PORT}"
        );
    }
    format!(
        "table ip nodeport {{\n\
         \x20 chain prerouting {{\n    type nat hook prerouting priority dstnat;\n{forward}  }}\n\
         \x20 chain output {{\n    type nat hook output priority -100;\n{forward}  }}\n\
         \x20 chain input {{\n    type filter hook input priority filter;\n    tcp dport {NODE_PORTS} drop\n  }}\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_has_its_rule_and_the_rest_is_dropped() {
        let rules = rules();
        for rule in [
            "tcp dport 30815 dnat to 10.42.0.10:4000\n",
            "tcp dport 30816 dnat to 10.42.0.11:4000\n",
            "tcp dport 30000-32767 drop\n",
        ] {
            assert!(rules.contains(rule), "{rule} missing in\n{rules}");
        }
    }
}
