//! The objects, reduced. Every field may be missing; texts are as the server sent them.

use std::collections::BTreeMap;

use super::settings::Profile;
use crate::bandwidth::BitRate;
use crate::outcome::labels;
use crate::time::Timestamp;

/// The annotation that caps what a Pod sends, in bits per second: Kubernetes' own name for it
/// (its bandwidth plug-in, Cilium).
pub const EGRESS_CAP: &str = "kubernetes.io/egress-bandwidth";

labels!(
    /// A kind of object that is watched, by the name of its resource.
    Kind {
        /// `KuraInstance`.
        Instance => "kurainstances",
        /// Service.
        Service => "services",
        /// `EndpointSlice`.
        Slice => "endpointslices",
        /// Pods of the caches.
        Pod => "pods",
        /// Pods of runner VMs.
        Runner => "runner pods",
        /// Node.
        Node => "nodes",
        /// `NetworkPolicy`.
        Policy => "networkpolicies",
        /// Machine of the Cluster API.
        Machine => "machines",
        /// The CRD of the instances.
        Definition => "customresourcedefinitions",
    }
);

impl Kind {
    /// Whether targets, nodes and vantages are made of it, so that nothing can be said before
    /// it was listed. The others only excuse and contradict.
    pub fn makes_targets(self, profile: Profile) -> bool {
        match self {
            Self::Node => true,
            Self::Instance | Self::Pod => profile == Profile::Kura,
            Self::Service | Self::Slice => profile == Profile::Generic,
            Self::Runner | Self::Policy | Self::Machine | Self::Definition => false,
        }
    }
}

/// Namespace (empty at cluster scope) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Key {
    /// Namespace, empty at cluster scope.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What all objects have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Namespace and name.
    pub key: Key,
    /// UID.
    pub uid: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations that matter.
    pub annotations: BTreeMap<String, String>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When it is to be gone, if it is being deleted.
    pub deleted: Option<Timestamp>,
}

/// A `KuraInstance`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstanceObject {
    /// Metadata.
    pub meta: Meta,
    /// `spec.accountHandle`.
    pub account: Option<String>,
    /// `spec.tenantID`.
    pub tenant: Option<String>,
    /// `spec.region`.
    pub region: Option<String>,
    /// `spec.exposeNodePort`.
    pub expose: Option<bool>,
    /// Annotation [`EGRESS_CAP`] in `spec.podAnnotations`.
    pub egress_cap: Option<BitRate>,
    /// `spec.clientCIDRs`.
    pub client_cidrs: Option<Vec<String>>,
    /// `status.phase`.
    pub phase: Option<String>,
    /// `status.message`.
    pub message: Option<String>,
    /// `status.readyReplicas`.
    pub ready_replicas: Option<u64>,
    /// `status.lastReconciledAt`.
    pub last_reconciled: Option<Timestamp>,
    /// `status.nodeAddress`.
    pub node_address: Option<String>,
    /// `status.nodePortHTTP` (older).
    pub port_http: Option<u16>,
    /// `status.nodePortCache` (newer; it wins).
    pub port_cache: Option<u16>,
    /// `status.privateURL`.
    pub private_url: Option<String>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServicePort {
    /// Its name.
    pub name: Option<String>,
    /// Its `NodePort`.
    pub node_port: Option<u16>,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceObject {
    /// Metadata.
    pub meta: Meta,
    /// `spec.type`.
    pub kind: Option<String>,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
}

/// An endpoint of an `EndpointSlice`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// `nodeName`.
    pub node: Option<String>,
    /// `conditions.ready`; absent means ready.
    pub ready: Option<bool>,
    /// `conditions.terminating`.
    pub terminating: Option<bool>,
}

/// An `EndpointSlice`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SliceObject {
    /// Metadata.
    pub meta: Meta,
    /// The Service that it belongs to (label `kubernetes.io/service-name`).
    pub service: Option<String>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodObject {
    /// Metadata.
    pub meta: Meta,
    /// `spec.nodeName`.
    pub node: Option<String>,
    /// `status.phase`.
    pub phase: Option<String>,
    /// `status.podIP`.
    pub address: Option<String>,
    /// Container ports by name.
    pub ports: BTreeMap<String, u16>,
    /// Condition Ready.
    pub ready: Option<bool>,
    /// When condition Ready last changed.
    pub ready_since: Option<Timestamp>,
    /// Annotation [`EGRESS_CAP`].
    pub egress_cap: Option<BitRate>,
    /// Why it is not running: scheduling message or a container's reason for waiting.
    pub trouble: Option<String>,
}

/// A Node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeObject {
    /// Metadata.
    pub meta: Meta,
    /// `spec.providerID`.
    pub provider: Option<String>,
    /// Keys of `spec.taints`.
    pub taints: Vec<String>,
    /// Condition Ready; `None` = unknown.
    pub ready: Option<bool>,
    /// When condition Ready last changed.
    pub ready_since: Option<Timestamp>,
    /// The message of condition Ready.
    pub ready_message: Option<String>,
}

/// One ingress rule of a `NetworkPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyRule {
    /// No `from`: everybody.
    pub anybody: bool,
    /// `ipBlock.cidr` with `except`.
    pub blocks: Vec<(String, Vec<String>)>,
    /// Names or numbers of ports; empty = all.
    pub ports: Vec<String>,
}

/// A `NetworkPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyObject {
    /// Metadata.
    pub meta: Meta,
    /// `spec.podSelector.matchLabels`; `None` = it also has expressions, which are not read.
    pub selector: Option<BTreeMap<String, String>>,
    /// Whether it restricts ingress.
    pub restricts_ingress: bool,
    /// `spec.ingress`.
    pub rules: Vec<PolicyRule>,
}

/// A Machine of the Cluster API.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MachineObject {
    /// Metadata.
    pub meta: Meta,
    /// `spec.providerID`.
    pub provider: Option<String>,
    /// `status.nodeRef.name`.
    pub node: Option<String>,
    /// `status.phase`.
    pub phase: Option<String>,
}

/// The CRD of the instances.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DefinitionObject {
    /// Metadata.
    pub meta: Meta,
    /// The schema of each served version: names under `spec` and `status`, `None` = it keeps unknown fields.
    pub versions: Vec<DefinitionVersion>,
}

/// What one served version of a CRD keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DefinitionVersion {
    /// Its name.
    pub name: String,
    /// Fields of `spec`; `None` = all are kept.
    pub spec: Option<Vec<String>>,
    /// Fields of `status`; `None` = all are kept.
    pub status: Option<Vec<String>>,
}

/// An object of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// `KuraInstance`.
    Instance(InstanceObject),
    /// Service.
    Service(ServiceObject),
    /// `EndpointSlice`.
    Slice(SliceObject),
    /// Pod, of a cache or a runner.
    Pod(PodObject),
    /// Node.
    Node(NodeObject),
    /// `NetworkPolicy`.
    Policy(PolicyObject),
    /// Machine.
    Machine(MachineObject),
    /// CRD.
    Definition(DefinitionObject),
}

/// An object as it came: reduced, with what could not be read of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; made up if it has none.
    pub key: Key,
    /// The object; `None` = skipped.
    pub object: Option<Object>,
    /// What could not be read, as `status.nodePortCache is a text, expected a port`.
    pub problems: Vec<String>,
}

/// A text that says something.
pub(super) fn said(text: Option<&String>) -> Option<&str> {
    text.map(|t| t.trim()).filter(|t| !t.is_empty())
}

/// At most 200 characters of a text from outside, without control characters.
pub(super) fn quoted(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(200).map(shown).collect()
}
