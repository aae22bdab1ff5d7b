//! The rest of the cluster, for the rows that need one: a second cache node with an account of
//! its own, and pods of the same accounts in another region.
//!
//! One namespace is both machines. Its pods are addresses on its loopback device: what counts of
//! them is what they count, and where they answer.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::http;
use crate::net::{Cable, Namespace, Namespaces};
use crate::process::Processes;
use crate::topology::{
    INTERNET, MGMT_BRIDGE, MGMT_DEVICE, NODE_DEVICE, NODE_PORTS, PN_BRIDGE, PN_PREFIX, POD_PORT,
    Pod, mac,
};
use crate::wait;

/// The second cache node among the lab's processes.
pub const MACHINE: &str = "node2";
/// Its name in the cluster.
pub const NODE: &str = "prod-kura-fleet-2";
/// Its PN address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 3);
/// Its management address, by which its pods are reached over the overlay.
pub const MGMT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);
/// The node of another region; it has no PN.
pub const FAR_NODE: &str = "prod-kura-region-1";

/// The pod on the second cache node.
pub const OTHER: Pod = Pod {
    account: "globex",
    instance: "kura-globex-scw-fr-par",
    node_port: 30817,
    address: Ipv4Addr::new(10, 42, 1, 10),
};

/// Pods of the first node's accounts in another region; they have no `NodePort`.
pub const FAR: [Pod; 2] = [
    Pod {
        account: "tuist",
        instance: "kura-tuist-eu-central-1",
        node_port: 0,
        address: Ipv4Addr::new(10, 42, 1, 20),
    },
    Pod {
        account: "acme",
        instance: "kura-acme-eu-central-1",
        node_port: 0,
        address: Ipv4Addr::new(10, 42, 1, 21),
    },
];

const STANDIN_DEADLINE: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Builds it and waits until every pod answers.
pub fn create(
    namespaces: &mut Namespaces,
    processes: &mut Processes,
    switch: &Namespace,
    program: &Path,
) -> Result<Namespace> {
    let namespace = namespaces.create("node2")?;
    for (device, address, bridge, port) in [
        (NODE_DEVICE, ADDRESS, PN_BRIDGE, "node2-pn"),
        (MGMT_DEVICE, MGMT, MGMT_BRIDGE, "node2-mg"),
    ] {
        Cable {
            machine: &namespace,
            device,
            mac: &mac(address),
            switch,
            bridge,
            port,
        }
        .plug()?;
    }
    // A static hold: its lease is nobody's subject here.
    namespace.ip(&format!("addr add {ADDRESS}/{PN_PREFIX} dev {NODE_DEVICE}"))?;
    namespace.ip(&format!("addr add {MGMT}/24 dev {MGMT_DEVICE}"))?;
    namespace.ip(&format!("route add default via {INTERNET}"))?;
    for pod in pods() {
        namespace.ip(&format!("addr add {}/32 dev lo", pod.address))?;
    }
    namespace.nft(&rules())?;
    for pod in pods() {
        let name = process(&pod);
        let listen = format!("{}:{POD_PORT}", pod.address);
        let arguments = [
            "standin",
            "--listen",
            &listen,
            "--tenant",
            pod.account,
            "--metrics-bytes",
            "40000",
        ]
        .map(str::to_owned);
        processes.start(&name, &namespace, program, &arguments)?;
        wait::until(&format!("an answer of {name}"), STANDIN_DEADLINE, || {
            processes.check(&name)?;
            let answer = http::request(&namespace, "GET", &listen, "/up", "", REQUEST_TIMEOUT);
            Ok(answer
                .is_ok_and(|answer| answer.status == 200)
                .then_some(()))
        })?;
    }
    Ok(namespace)
}

/// All of its pods.
pub fn pods() -> impl Iterator<Item = Pod> {
    std::iter::once(OTHER).chain(FAR)
}

/// The name of a pod among the lab's processes.
pub fn process(pod: &Pod) -> String {
    format!("pod-{}", pod.instance)
}

/// As on the first node: its own `NodePort` goes to its pod, every other one is dropped.
fn rules() -> String {
    let (port, address) = (OTHER.node_port, OTHER.address);
    format!(
        "table ip nodeport {{\n\
         \x20 chain prerouting {{\n    type nat hook prerouting priority dstnat;\n    ip daddr {ADDRESS} tcp dport {port} dnat to {address}:{POD_PORT}\n  }}\n\
         \x20 chain output {{\n    type nat hook output priority -100;\n    ip daddr {ADDRESS} tcp dport {port} dnat to {address}:{POD_PORT}\n  }}\n\
         \x20 chain input {{\n    type filter hook input priority filter;\n    tcp dport {NODE_PORTS} drop\n  }}\n\
         }}\n"
    )
}
