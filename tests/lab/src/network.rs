//! The private network as a whole: switch, DHCP, cache node with pods, hosts with VMs, internet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::dhcp;
use crate::host::Host;
use crate::http;
use crate::net::{Cable, Namespace, Namespaces};
use crate::node::Node;
use crate::process::Processes;
use crate::topology::{
    CONTROL, DHCP_PORT, DHCP_SERVER, EXPORTERS, HOSTS, INTERNET, MGMT_BRIDGE, MGMT_DEVICE,
    PN_BRIDGE, POD_CONTROL, PODS, mac,
};
use crate::wait;

/// How long a stand-in may take to answer for the first time.
const STANDIN_DEADLINE: Duration = Duration::from_secs(10);
/// How long one request inside a namespace may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// How the network is built.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Where configurations and leases are kept.
    pub dir: PathBuf,
    /// The lab's own executable, which is the stand-in too.
    pub program: PathBuf,
    /// Seconds that a lease is valid for.
    pub lease_seconds: u32,
}

/// The network, up and healthy once [`Network::create`] returns.
#[derive(Debug)]
pub struct Network {
    /// Holds both bridges.
    pub switch: Namespace,
    /// Holds the DHCP server.
    pub dhcp: Namespace,
    /// The cache node.
    pub node: Node,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Holds exporters and monitoring.
    pub exporter: Namespace,
    /// "The internet".
    pub internet: Namespace,
    options: NetworkOptions,
}

impl Network {
    /// Builds everything and waits until every lease is there and every stand-in answers.
    pub fn create(
        namespaces: &mut Namespaces,
        processes: &mut Processes,
        options: NetworkOptions,
    ) -> Result<Self> {
        let switch = namespaces.create("sw")?;
        switch.add_bridge(PN_BRIDGE)?;
        switch.add_bridge(MGMT_BRIDGE)?;
        let dhcp = create_dhcp(namespaces, &switch)?;
        dhcp::start_server(processes, &dhcp, "pn", &options.dir, options.lease_seconds)?;
        let internet = create_internet(namespaces, &switch)?;
        let exporter = create_exporter(namespaces, &switch)?;
        let node = Node::create(namespaces, &switch)?;
        let hosts = (0..HOSTS)
            .map(|index| Host::create(namespaces, &switch, index))
            .collect::<Result<Vec<_>>>()?;
        let network = Self {
            switch,
            dhcp,
            node,
            hosts,
            exporter,
            internet,
            options,
        };
        network.start(processes)?;
        Ok(network)
    }

    /// Starts clients and stand-ins, then waits for all of them.
    fn start(&self, processes: &mut Processes) -> Result<()> {
        let Self {
            node,
            hosts,
            internet,
            options,
            ..
        } = self;
        node.start_client(processes, &options.dir)?;
        for host in hosts {
            host.start_client(processes, &options.dir)?;
        }
        for index in 0..PODS.len() {
            node.start_pod(processes, &options.program, index)?;
        }
        let control = ["standin", "--listen", CONTROL, "--tenant", "internet"].map(str::to_owned);
        processes.start("internet", internet, &options.program, &control)?;
        node.wait_for_lease(processes)?;
        for host in hosts {
            host.wait_for_lease(processes)?;
        }
        for (index, pod) in node.pods.iter().enumerate() {
            wait_for_standin(processes, &format!("pod{index}"), pod, "127.0.0.1:4000")?;
        }
        wait_for_standin(processes, "internet", internet, CONTROL)
    }

    /// Where configurations and leases are kept.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// (Re)starts the DHCP server with leases of `lease_seconds`.
    pub fn restart_dhcp_server(&self, processes: &mut Processes, lease_seconds: u32) -> Result<()> {
        processes.kill(dhcp::SERVER)?;
        dhcp::start_server(processes, &self.dhcp, "pn", self.dir(), lease_seconds)
    }

    /// The lease time that the lab was started with.
    pub fn lease_seconds(&self) -> u32 {
        self.options.lease_seconds
    }

    /// Switches the fault of pod `index`; `fault` is the JSON of the stand-in's control port.
    pub fn set_pod_fault(&self, index: usize, fault: &str) -> Result<()> {
        let pod = self.node.pods.get(index).context("no such pod")?;
        let answer = http::request(pod, "POST", POD_CONTROL, "/fault", fault, REQUEST_TIMEOUT)
            .with_context(|| format!("cannot switch the fault of pod {index}"))?;
        answer.expect_success().map(drop)
    }

    /// Sets how large the artifacts of pod `index` are.
    pub fn set_pod_artifact(&self, index: usize, bytes: usize) -> Result<()> {
        let pod = self.node.pods.get(index).context("no such pod")?;
        let order = format!("{{\"bytes\":{bytes}}}");
        let answer = http::request(
            pod,
            "POST",
            POD_CONTROL,
            "/artifact",
            &order,
            REQUEST_TIMEOUT,
        )
        .with_context(|| format!("cannot set the artifacts of pod {index}"))?;
        answer.expect_success().map(drop)
    }
}

fn create_dhcp(namespaces: &mut Namespaces, switch: &Namespace) -> Result<Namespace> {
    let namespace = namespaces.create("dhcp")?;
    Cable {
        machine: &namespace,
        device: "pn",
        mac: &mac(DHCP_SERVER),
        switch,
        bridge: PN_BRIDGE,
        port: DHCP_PORT,
    }
    .plug()?;
    namespace.ip(&format!("addr add {} dev pn", dhcp::server_cidr()))?;
    Ok(namespace)
}

fn create_internet(namespaces: &mut Namespaces, switch: &Namespace) -> Result<Namespace> {
    let namespace = namespaces.create("inet")?;
    Cable {
        machine: &namespace,
        device: MGMT_DEVICE,
        mac: &mac(INTERNET),
        switch,
        bridge: MGMT_BRIDGE,
        port: "inet-mg",
    }
    .plug()?;
    // It forwards nothing: the way out ends here.
    namespace.ip(&format!("addr add {INTERNET}/24 dev {MGMT_DEVICE}"))?;
    Ok(namespace)
}

fn create_exporter(namespaces: &mut Namespaces, switch: &Namespace) -> Result<Namespace> {
    let namespace = namespaces.create("exp")?;
    Cable {
        machine: &namespace,
        device: MGMT_DEVICE,
        mac: &mac(EXPORTERS[0]),
        switch,
        bridge: MGMT_BRIDGE,
        port: "exp-mg",
    }
    .plug()?;
    for address in EXPORTERS {
        namespace.ip(&format!("addr add {address}/24 dev {MGMT_DEVICE}"))?;
    }
    namespace.ip(&format!("route add default via {INTERNET}"))?;
    Ok(namespace)
}

fn wait_for_standin(
    processes: &mut Processes,
    name: &str,
    namespace: &Namespace,
    address: &str,
) -> Result<()> {
    wait::until(&format!("an answer of {name}"), STANDIN_DEADLINE, || {
        processes.check(name)?;
        let answer = http::request(namespace, "GET", address, "/up", "", REQUEST_TIMEOUT);
        Ok(answer
            .is_ok_and(|answer| answer.status == 200)
            .then_some(()))
    })
}
