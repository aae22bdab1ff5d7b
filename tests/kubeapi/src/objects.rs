//! Ready-made objects in the shapes that the watched clusters really have.
//!
//! Names are by the rules there: an instance is `kura-<account>-<cluster>`, its Service `<instance>-external`, its
//! first Pod `<instance>-0`. Values are made up.

use serde_json::{Value, json};

/// The private network's CIDR, the same in every environment.
pub const PN_CIDR: &str = "172.16.0.0/22";
/// Namespace of the cache instances.
pub const KURA_NAMESPACE: &str = "kura";
/// Namespace of the runner VMs' Pods.
pub const RUNNER_NAMESPACE: &str = "tuist-runners";

const SINCE: &str = "2026-06-01T08:00:00Z";

/// The conditions that a kubelet writes, in its order.
pub fn kubelet_conditions() -> Value {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": SINCE, "lastTransitionTime": SINCE,
        })
    };
    json!([
        condition(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available"
        ),
        condition(
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure"
        ),
        condition(
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available"
        ),
        condition(
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status"
        ),
    ])
}

/// A Linux cache node with its PN label.
pub fn linux_node(name: &str, pn_ipv4: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "node.cluster.x-k8s.io/pool": "kura-scw-fr-par",
                "tuist.dev/pn-ipv4": pn_ipv4,
            },
        },
        "spec": {
            "providerID": format!("scaleway://instance/fr-par-1/{name}"),
            "taints": [{"key": "tuist.dev/runner-cache", "value": "true", "effect": "NoSchedule"}],
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "198.51.100.10"},
                {"type": "Hostname", "address": name},
            ],
            "conditions": kubelet_conditions(),
            "nodeInfo": {"operatingSystem": "linux", "architecture": "amd64", "kubeletVersion": "v1.34.1"},
        },
    })
}

/// A Mac host. A Pod on it is a VM.
pub fn mac_node(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "darwin",
                "kubernetes.io/arch": "arm64",
                "tuist.dev/runtime": "tart",
                "tuist.dev/fleet": "scw-fr-par-runners",
            },
        },
        "spec": {"providerID": format!("scw-applesilicon://fr-par-1/{name}")},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "100.64.0.7"}, {"type": "Hostname", "address": name}],
            "conditions": kubelet_conditions(),
            "nodeInfo": {"operatingSystem": "darwin", "architecture": "arm64", "kubeletVersion": "v1.34.1"},
        },
    })
}

/// A Machine bound to a node; with `paused`, its controller keeps its hands off.
pub fn machine(name: &str, node: Option<&str>, paused: bool) -> Value {
    let mut machine = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "Machine",
        "metadata": {"name": name, "namespace": "default", "annotations": {}},
        "spec": {"clusterName": "prod"},
        "status": {"phase": "Pending", "conditions": []},
    });
    if let Some(node) = node {
        machine["spec"]["providerID"] = format!("scaleway://instance/fr-par-1/{node}").into();
        machine["status"]["phase"] = "Running".into();
        machine["status"]["nodeRef"] = json!({"apiVersion": "v1", "kind": "Node", "name": node});
    }
    if paused {
        machine["metadata"]["annotations"]["cluster.x-k8s.io/paused"] = "true".into();
    }
    machine
}

/// The Pod of a runner VM on a Mac. It knows no account.
pub fn runner_pod(name: &str, mac: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": RUNNER_NAMESPACE, "labels": {"tuist.dev/runner": "true"}},
        "spec": {
            "nodeName": mac,
            "nodeSelector": {"kubernetes.io/os": "darwin"},
            "containers": [{"name": "runner", "image": "runner:1"}],
        },
        "status": {"phase": "Running", "hostIP": "100.64.0.7"},
    })
}

/// The CRD of the cache instances, with the given names as its status fields. An old one lacks the newer names.
pub fn kura_crd(status_fields: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> = status_fields
        .iter()
        .map(|f| {
            let number = f.starts_with("nodePort") || f.ends_with("Replicas");
            (
                (*f).to_owned(),
                json!({"type": if number { "integer" } else { "string" }}),
            )
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "kurainstances.kura.tuist.dev"},
        "spec": {
            "group": "kura.tuist.dev",
            "scope": "Namespaced",
            "names": {"kind": "KuraInstance", "plural": "kurainstances", "singular": "kurainstance"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "status": {"type": "object", "properties": properties},
                }}},
            }],
        },
    })
}

/// One account's cache: everything that the cluster holds for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Account handle; the tenant has the same name.
    pub account: String,
    /// Cluster part of the instance's name.
    pub cluster: String,
    /// Node that the first Pod runs on.
    pub node: String,
    /// That node's PN address, as the status publishes it.
    pub address: String,
    /// `NodePort` of the cache.
    pub port: u16,
}

impl Instance {
    /// An account's cache on a node, in cluster `scw-fr-par`.
    pub fn new(account: &str, node: &str, address: &str, port: u16) -> Self {
        Self {
            account: account.into(),
            cluster: "scw-fr-par".into(),
            node: node.into(),
            address: address.into(),
            port,
        }
    }

    /// `kura-<account>-<cluster>`.
    pub fn name(&self) -> String {
        format!("kura-{}-{}", self.account, self.cluster)
    }

    fn pod_name(&self) -> String {
        format!("{}-0", self.name())
    }

    fn region(&self) -> String {
        format!("{}-runners", self.cluster)
    }

    fn labels(&self) -> Value {
        json!({
            "app.kubernetes.io/name": "kura",
            "app.kubernetes.io/instance": self.name(),
            "tuist.dev/account": self.account,
            "tuist.dev/region": self.region(),
        })
    }

    fn custom_resource(&self, spec: &Value, status: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "kura.tuist.dev/v1alpha1",
            "kind": "KuraInstance",
            "metadata": {"name": self.name(), "namespace": KURA_NAMESPACE},
            "spec": {"accountHandle": self.account, "tenantID": self.account, "region": self.region()},
            "status": status,
        });
        crate::patch::merge::merge(&mut object["spec"], spec);
        object
    }

    /// The `KuraInstance` of June: two `NodePorts`, HTTP and gRPC.
    pub fn june(&self) -> Value {
        let spec = json!({
            "image": "kura:0.9.3", "replicas": 1, "private": true, "exposeNodePort": true, "clientCIDRs": [PN_CIDR],
            "mesh": true, "podAnnotations": {"kubernetes.io/egress-bandwidth": "750M"},
            "nodeSelector": {"node.cluster.x-k8s.io/pool": format!("kura-{}", self.cluster)},
            "tolerations": [{"key": "tuist.dev/runner-cache", "operator": "Exists", "effect": "NoSchedule"}],
        });
        let status = json!({
            "phase": "Ready", "readyReplicas": 1, "observedImage": "kura:0.9.3", "lastReconciledAt": "2026-06-22T09:14:30Z",
            "nodeAddress": self.address, "nodePortHTTP": self.port, "nodePortGRPC": self.port.saturating_add(1),
        });
        self.custom_resource(&spec, &status)
    }

    /// The later `KuraInstance`: one `NodePort` for the cache, and a gateway by name.
    pub fn later(&self) -> Value {
        let host = format!("{}-{}.kura.example.dev", self.account, self.region());
        let spec = json!({
            "image": "kura:1.4.0", "replicas": 1, "private": true, "privateHost": host, "exposeNodePort": true,
            "clientCIDRs": [PN_CIDR], "mesh": true,
        });
        let status = json!({
            "phase": "Ready", "readyReplicas": 1, "lastReconciledAt": "2026-09-21T09:14:30Z",
            "nodeAddress": self.address, "nodePortCache": self.port, "privateURL": format!("https://{host}"),
            "endpointReason": "Observed", "endpointMessage": "", "endpointLastCheckedAt": "2026-09-21T09:14:12Z",
        });
        self.custom_resource(&spec, &status)
    }

    /// What an old CRD leaves of it: the newer fields of spec and status were dropped without a word.
    pub fn pruned(&self) -> Value {
        let spec = json!({"image": "kura:0.9.3", "replicas": 1});
        let status = json!({
            "phase": "Pending", "message": "nodes is forbidden", "lastReconciledAt": "2026-06-14T01:00:00Z"
        });
        self.custom_resource(&spec, &status)
    }

    /// The `NodePort` Service, pinned to the first Pod.
    pub fn service(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": format!("{}-external", self.name()), "namespace": KURA_NAMESPACE, "labels": self.labels()},
            "spec": {
                "type": "NodePort",
                "externalTrafficPolicy": "Local",
                "selector": {"statefulset.kubernetes.io/pod-name": self.pod_name()},
                "ports": [{
                    "name": "http", "port": 4000, "targetPort": 4000, "protocol": "TCP", "nodePort": self.port
                }],
            },
            "status": {"loadBalancer": {}},
        })
    }

    /// The first Pod, running and ready.
    pub fn pod(&self) -> Value {
        let mut labels = self.labels();
        labels["statefulset.kubernetes.io/pod-name"] = self.pod_name().into();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.pod_name(),
                "namespace": KURA_NAMESPACE,
                "labels": labels,
                "annotations": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port-name": "http",
                    "prometheus.io/path": "/metrics",
                    "kubernetes.io/egress-bandwidth": "750M",
                },
            },
            "spec": {
                "nodeName": self.node,
                "containers": [{
                    "name": "kura", "image": "kura:1.4.0",
                    "ports": [
                        {"name": "http", "containerPort": 4000, "protocol": "TCP"},
                        {"name": "peer", "containerPort": 7443, "protocol": "TCP"},
                    ],
                }],
            },
            "status": {
                "phase": "Running",
                "podIP": "127.0.0.1",
                "podIPs": [{"ip": "127.0.0.1"}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": SINCE}],
            },
        })
    }

    /// The `EndpointSlice` of the Service, with the Pod ready.
    pub fn endpoint_slice(&self) -> Value {
        let service = format!("{}-external", self.name());
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{service}-x7k2p"),
                "namespace": KURA_NAMESPACE,
                "labels": {"kubernetes.io/service-name": service, "tuist.dev/account": self.account},
            },
            "addressType": "IPv4",
            "endpoints": [{
                "addresses": ["127.0.0.1"],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": self.node,
                "targetRef": {"kind": "Pod", "namespace": KURA_NAMESPACE, "name": self.pod_name()},
            }],
            "ports": [{"name": "http", "port": 4000, "protocol": "TCP"}],
        })
    }

    /// The `NetworkPolicy`: port `http` from every namespace and from the given blocks (normally [`PN_CIDR`]).
    pub fn network_policy(&self, blocks: &[&str]) -> Value {
        let mut from = vec![json!({"namespaceSelector": {}})];
        from.extend(blocks.iter().map(|cidr| json!({"ipBlock": {"cidr": cidr}})));
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": self.name(), "namespace": KURA_NAMESPACE, "labels": self.labels()},
            "spec": {
                "podSelector": {"matchLabels": {"app.kubernetes.io/instance": self.name()}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": from, "ports": [{"port": "http", "protocol": "TCP"}]}],
            },
        })
    }

    /// Everything of a healthy instance in its later shape: instance, Service, Pod, `EndpointSlice`, `NetworkPolicy`.
    pub fn all(&self) -> Vec<Value> {
        vec![
            self.later(),
            self.service(),
            self.pod(),
            self.endpoint_slice(),
            self.network_policy(&[PN_CIDR]),
        ]
    }
}
