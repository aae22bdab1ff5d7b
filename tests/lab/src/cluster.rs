//! The lab's cluster: a fake API server whose objects describe the network that really is there.
//!
//! It listens on the loopback of the exporters' namespace, speaks the real wire format, and
//! grants the exporters exactly the rights of the shipped roles. The overlay is a route: from
//! the exporters' namespace a pod's own address leads over the management leg of its node.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use pnwatch_kubeapi::{FakeApi, Identity, Options, Rule, documents, objects};
use serde_json::{Value, json};

use crate::load::Load;
use crate::monitoring::PROMETHEUS_ADDRESS;
use crate::net::{Namespace, Namespaces};
use crate::network::Network;
use crate::process::Processes;
use crate::second;
use crate::topology::{HOSTS, NODE, NODE_ADDRESS, NODE_MGMT, PN_CIDR, PODS, Pod, host_name};

/// The rights as they ship.
const ROLES: [&str; 2] = [
    include_str!("../../../deploy/rbac/exporter.yaml"),
    include_str!("../../../deploy/rbac/condition.yaml"),
];
/// The exporters' token.
const TOKEN: &str = "lab-exporter";
/// The namespace of the exporters, their Lease, and their service account.
pub const NAMESPACE: &str = "pnwatch";
/// The name of the first account's gateway.
pub const GATEWAY: &str = "tuist-scw-fr-par-runners.kura.lab";
/// Kinds of which everything that a fault added is removed again.
const KINDS: [&str; 8] = [
    "kurainstances",
    "services",
    "endpointslices.discovery.k8s.io",
    "pods",
    "nodes",
    "networkpolicies.networking.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "machines.cluster.x-k8s.io",
];

/// The lab's cluster.
#[derive(Debug)]
pub struct Cluster {
    api: FakeApi,
    kubeconfig: PathBuf,
    /// The second cache node and the pods elsewhere.
    pub second: Namespace,
    /// Builds and peers that ask the caches.
    pub loads: Vec<Load>,
    /// The query of running jobs per account; `None` = demand is not known.
    pub demand: Option<&'static str>,
}

impl Cluster {
    /// Builds the rest of the cluster, starts the server, fills it with what there is.
    pub fn start(
        namespaces: &mut Namespaces,
        processes: &mut Processes,
        network: &Network,
        program: &Path,
    ) -> Result<Self> {
        network.exporter.set_hosts(&[(GATEWAY, NODE_ADDRESS)])?;
        let second = second::create(namespaces, processes, &network.switch, program)?;
        for (range, via) in [("10.42.0.0/24", NODE_MGMT), ("10.42.1.0/24", second::MGMT)] {
            network
                .exporter
                .ip(&format!("route replace {range} via {via}"))?;
        }
        // Peers replicate over the overlay as well.
        second.ip(&format!("route replace 10.42.0.0/24 via {NODE_MGMT}"))?;
        // The thread of the server and its sockets stay in the namespace of the caller.
        let api = network
            .exporter
            .inside(|| FakeApi::try_start(Options::default()))?
            .context("the fake API server did not start")?;
        let exporter = Identity::service_account(NAMESPACE, "pnwatch-exporter");
        api.token(TOKEN, rules()?.into_iter().fold(exporter, Identity::allow));
        let kubeconfig = network.dir().join("kubeconfig");
        std::fs::write(&kubeconfig, api.kubeconfig(TOKEN))
            .with_context(|| format!("cannot write {}", kubeconfig.display()))?;
        let cluster = Self {
            api,
            kubeconfig,
            second,
            loads: Vec::new(),
            demand: None,
        };
        cluster.restore()?;
        Ok(cluster)
    }

    /// The server.
    pub fn api(&self) -> &FakeApi {
        &self.api
    }

    /// `serve:` of the exporters' configuration: the objects instead of a file, and times short
    /// enough to watch.
    pub fn serve_lines(&self) -> String {
        let demand = self.demand.map_or_else(String::new, |query| {
            format!(
                ", prometheus: {{ url: 'http://{PROMETHEUS_ADDRESS}' }}, demand: {{ query: '{query}' }}, dispatch_after: 60s"
            )
        });
        format!(
            "  inventory:\n    kubernetes:\n      pn_cidr: {PN_CIDR}\n      kubeconfig: {}\n      condition: true\n      machines: true\n\
             \x20     times: {{ settle: 2s, endpoint: 2s, ready: 4s }}\n\
             \x20 traffic: {{ interval: 5s, window: 20s{demand} }}\n",
            self.kubeconfig.display()
        )
    }

    /// Takes the second cache node and its account out of the objects.
    pub fn without_second(&self) -> Result<()> {
        for object in served(&second::OTHER, (second::NODE, second::ADDRESS), "")? {
            let (namespace, name) = place(&object);
            for kind in KINDS {
                if self
                    .api
                    .get(kind, namespace, name)
                    .is_some_and(|o| o["kind"] == object["kind"])
                {
                    self.api.delete(kind, namespace, name);
                }
            }
        }
        self.api.delete("nodes", "", second::NODE);
        Ok(())
    }

    /// Everything as in a healthy cluster, now; what a fault added is gone.
    pub fn restore(&self) -> Result<()> {
        let healthy = healthy()?;
        for kind in KINDS {
            for object in self.api.list(kind) {
                let (namespace, name) = place(&object);
                if !healthy.iter().any(|known| {
                    known["kind"] == object["kind"] && place(known) == (namespace, name)
                }) {
                    self.api.delete(kind, namespace, name);
                }
            }
        }
        healthy
            .into_iter()
            .try_for_each(|object| self.apply(object))
    }

    /// Puts one object.
    pub fn apply(&self, object: Value) -> Result<()> {
        let applied = self.api.apply(object);
        applied
            .map(drop)
            .map_err(|refusal| anyhow!("the fake API server refused an object: {refusal:?}"))
    }

    /// Changes one object of the caches' namespace, or a Node.
    pub fn edit(&self, kind: &str, name: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let namespace = if kind == "nodes" {
            ""
        } else {
            objects::KURA_NAMESPACE
        };
        let there = self.api.edit(kind, (namespace, name), change);
        there
            .then_some(())
            .with_context(|| format!("there is no {kind} {name}"))
    }
}

fn rules() -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for text in ROLES {
        let roles = documents(text).context("the shipped roles cannot be read")?;
        rules.extend(
            roles
                .iter()
                .filter(|object| matches!(object["kind"].as_str(), Some("Role" | "ClusterRole")))
                .flat_map(Rule::of_role),
        );
    }
    // Machines are an option of their own.
    rules.push(Rule::new(
        &["list", "watch"],
        "cluster.x-k8s.io",
        &["machines"],
    ));
    Ok(rules)
}

fn place(object: &Value) -> (&str, &str) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}

/// All objects of the network as it is built.
fn healthy() -> Result<Vec<Value>> {
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let mut all = vec![
        objects::linux_node(NODE, &NODE_ADDRESS.to_string()),
        objects::linux_node(second::NODE, &second::ADDRESS.to_string()),
        far_node(),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
    ];
    all.extend((0..HOSTS).map(|index| objects::mac_node(&host_name(index))));
    for pod in PODS {
        all.extend(served(&pod, (NODE, NODE_ADDRESS), &now)?);
    }
    all.extend(served(
        &second::OTHER,
        (second::NODE, second::ADDRESS),
        &now,
    )?);
    for pod in second::FAR {
        all.push(elsewhere(&pod)?);
    }
    Ok(all)
}

/// The instance of an account on a cache node with all that belongs to it.
pub fn served(pod: &Pod, (node, address): (&str, Ipv4Addr), now: &str) -> Result<Vec<Value>> {
    let mut instance =
        objects::Instance::new(pod.account, node, &address.to_string(), pod.node_port);
    let suffix = pod.instance.strip_prefix(&format!("kura-{}-", pod.account));
    suffix
        .context("an instance is kura-ACCOUNT-CLUSTER")?
        .clone_into(&mut instance.cluster);
    let mut all = instance.all();
    for object in &mut all {
        match object["kind"].as_str() {
            Some("KuraInstance") => {
                object["status"]["lastReconciledAt"] = now.into();
                // Only the first account has a gateway: its name is resolved here.
                if pod.account == PODS[0].account {
                    object["status"]["privateURL"] = format!("https://{GATEWAY}").into();
                } else if let Some(status) = object["status"].as_object_mut() {
                    status.remove("privateURL");
                }
            }
            Some("Pod") => {
                object["status"]["podIP"] = pod.address.to_string().into();
                object["status"]["podIPs"] = json!([{"ip": pod.address.to_string()}]);
            }
            Some("EndpointSlice") => {
                object["endpoints"][0]["addresses"] = json!([pod.address.to_string()]);
            }
            _ => {}
        }
    }
    Ok(all)
}

/// The pod of an account in another region: it serves no builds here.
fn elsewhere(pod: &Pod) -> Result<Value> {
    let all = served(pod, (second::FAR_NODE, Ipv4Addr::UNSPECIFIED), "")?;
    let mut found = all
        .into_iter()
        .find(|object| object["kind"] == "Pod")
        .context("an instance has a Pod")?;
    found["metadata"]["labels"]["tuist.dev/region"] = "eu-central-1".into();
    Ok(found)
}

/// A node without a PN: neither its label nor the taint of cache nodes.
fn far_node() -> Value {
    let mut node = objects::linux_node(second::FAR_NODE, "");
    if let Some(labels) = node["metadata"]["labels"].as_object_mut() {
        labels.remove("tuist.dev/pn-ipv4");
    }
    node["spec"]["taints"] = json!([]);
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_of_the_network_has_its_objects() {
        let all = healthy().unwrap();
        let of = |kind: &str| all.iter().filter(|o| o["kind"] == kind).count();
        assert_eq!(of("Pod"), PODS.len() + 1 + second::FAR.len());
        assert_eq!(of("KuraInstance"), PODS.len() + 1);
        assert_eq!(of("Node"), 3 + HOSTS);
        let ip = |name: &str| {
            let pod = all.iter().find(|o| o["metadata"]["name"] == name);
            pod.unwrap()["status"]["podIP"].clone()
        };
        assert_eq!(ip("kura-tuist-scw-fr-par-0"), "10.42.0.10");
        assert_eq!(ip("kura-tuist-eu-central-1-0"), "10.42.1.20");
    }

    #[test]
    fn the_shipped_roles_are_read() {
        assert!(rules().unwrap().len() > 5);
    }
}
