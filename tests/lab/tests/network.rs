//! The network alone: what must pass passes, what must not does not, and nothing is left behind.

#![allow(clippy::unwrap_used)] // a test fails by panicking, in its helpers too

mod common;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use common::{ARPING, PATIENCE, SILENCE, arp, connects};
use pnwatch_lab::command::{IP, NETWORK, require_all};
use pnwatch_lab::http;
use pnwatch_lab::net::{Namespace, Namespaces};
use pnwatch_lab::network::{Network, NetworkOptions};
use pnwatch_lab::process::{ProcessId, Processes};
use pnwatch_lab::topology::{CONTROL, NODE_ADDRESS, PODS, host_address};

fn node_port(port: u16) -> String {
    format!("{NODE_ADDRESS}:{port}")
}

fn tenant(from: &Namespace, address: &str) -> String {
    let answer = http::request(from, "GET", address, "/up", "", PATIENCE).unwrap();
    assert_eq!(answer.status, 200);
    let up: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    up["tenant_id"].as_str().unwrap().to_owned()
}

#[test]
fn the_private_network_carries_what_it_should_and_nothing_else() {
    require_all(&NETWORK).unwrap();
    require_all(&[ARPING]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let prefix = format!("pl{}t", std::process::id());
    let mut namespaces = Namespaces::new(&prefix);
    let mut processes = Processes::new(dir.path().join("logs")).unwrap();
    let started = Instant::now();
    let options = NetworkOptions {
        dir: dir.path().to_owned(),
        program: env!("CARGO_BIN_EXE_pnwatch-lab").into(),
        lease_seconds: 60,
    };
    let network = Network::create(&mut namespaces, &mut processes, options).unwrap();
    println!("network up in {:?}", started.elapsed());

    carries(&network);
    drops(&network);
    processes.check_all().unwrap();

    let (names, ids) = (namespaces.names().to_vec(), processes.ids());
    assert_eq!(names.len(), 13);
    assert_eq!(ids.len(), 8);
    drop(processes);
    drop(namespaces);
    for name in names {
        assert!(
            !Path::new("/run/netns").join(&name).exists(),
            "{name} is left"
        );
    }
    assert!(!ids.values().any(|id: &ProcessId| id.is_alive()), "{ids:?}");
    // A bridge or cable that had leaked into the machine's own namespace would be listed here.
    let links = IP.run(["-o", "link", "show"], "").unwrap();
    assert!(
        !links.contains("node-pn") && !links.contains("mini0-pn"),
        "{links}"
    );
}

fn carries(network: &Network) {
    let (host, other) = (&network.hosts[0], &network.hosts[1]);
    assert!(arp(&host.namespace, "vlan0", NODE_ADDRESS), "host to node");
    assert!(
        arp(&host.namespace, "vlan0", host_address(1)),
        "host to host"
    );
    for pod in PODS {
        let address = node_port(pod.node_port);
        assert_eq!(tenant(&host.namespace, &address), pod.account);
        assert_eq!(tenant(&host.vm, &address), pod.account, "VM through NAT");
        assert_eq!(
            tenant(&other.vm, &address),
            pod.account,
            "same address on another host"
        );
        assert_eq!(
            tenant(&network.node.namespace, &address),
            pod.account,
            "the node's own dial"
        );
    }
    assert_eq!(tenant(&host.vm, CONTROL), "internet");
    assert_eq!(tenant(&network.exporter, CONTROL), "internet");
}

fn drops(network: &Network) {
    let host = &network.hosts[0];
    let pod = PODS[0];
    assert!(
        !connects(&host.namespace, NODE_ADDRESS, 30999, SILENCE),
        "NodePort without a pod"
    );
    assert!(
        !connects(&host.vm, host_address(1), 22, SILENCE),
        "VM to a port that is none of its own"
    );
    // No way out: not by the management net, not by the PN.
    assert!(!connects(
        &host.namespace,
        Ipv4Addr::new(192, 0, 2, 1),
        80,
        SILENCE
    ));
    assert!(connects(
        &host.namespace,
        NODE_ADDRESS,
        pod.node_port,
        PATIENCE
    ));
    let node = &network.node.namespace;
    node.nft(&format!(
        "table ip t {{ chain c {{ type filter hook prerouting priority raw; tcp dport {} drop; }}; }}\n",
        pod.node_port
    ))
    .unwrap();
    assert!(
        !connects(&host.namespace, NODE_ADDRESS, pod.node_port, SILENCE),
        "a dropped port"
    );
    assert!(
        connects(&host.namespace, NODE_ADDRESS, PODS[1].node_port, PATIENCE),
        "the other port"
    );
    node.nft("delete table ip t\n").unwrap();
    network
        .set_pod_fault(0, r#"{"kind":"stop_listening"}"#)
        .unwrap();
    assert!(
        !connects(&host.namespace, NODE_ADDRESS, pod.node_port, PATIENCE),
        "refused"
    );
    network.set_pod_fault(0, r#"{"kind":"none"}"#).unwrap();
    assert!(connects(
        &host.namespace,
        NODE_ADDRESS,
        pod.node_port,
        PATIENCE
    ));
    node.ip("addr flush dev pn0").unwrap();
    assert!(
        !arp(&host.namespace, "vlan0", NODE_ADDRESS),
        "an address that is gone"
    );
    let route = node.ip(&format!("route get {NODE_ADDRESS}")).unwrap();
    assert!(route.contains("via 198.18.0.1 dev mgmt0"), "{route}");
}
