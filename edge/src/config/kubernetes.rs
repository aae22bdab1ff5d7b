//! `serve.inventory.kubernetes`: which objects are read, and what they are called.

use std::path::PathBuf;

use pnwatch_core::kube::{Names, Profile, Settings, Times};
use pnwatch_core::link::Cidr;
use pnwatch_core::name::Cluster;

use super::section::{Findings, FromNode, FromSection, Place, Section};
use super::tree::Node;
use super::value::word;

/// How the inventory is read from Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// The kubeconfig; `None` = the service account of the Pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The PN's address range; addresses outside are never dialled.
    pub pn_cidr: Cidr,
    /// What kind of system is watched.
    pub profile: Profile,
    /// Namespace of the caches.
    pub namespace: String,
    /// Namespace of the runner VMs' Pods.
    pub runner_namespace: String,
    /// API group of the instances.
    pub instance_group: String,
    /// API version of the instances.
    pub instance_version: String,
    /// Plural of the instances.
    pub instance_plural: String,
    /// Label selector of the caches' Pods.
    pub pod_selector: Option<String>,
    /// Label selector of the runner VMs' Pods.
    pub runner_selector: Option<String>,
    /// Label selector of Services; required by profile `generic`.
    pub service_selector: Option<String>,
    /// Whether Machines of the Cluster API are read too.
    pub machines: bool,
    /// API version of the Machines.
    pub machine_version: String,
    /// Audience of the probers' service account tokens.
    pub audience: String,
    /// The probers' service account, `NAMESPACE/NAME`.
    pub prober_account: String,
    /// Whether Nodes get the condition `PrivateNetworkReachable`.
    pub condition: bool,
    /// Namespace of the Lease of its one writer.
    pub condition_namespace: String,
    /// How closely gateways are looked at.
    pub gateways: GatewayLook,
    /// The certificate authority of the gateways; `None` = the system's.
    pub gateway_ca_file: Option<PathBuf>,
    /// Names of labels, annotations and ports.
    pub names: Names,
    /// How long things may take before they count.
    pub times: Times,
}

/// How closely the exporter looks at the https gateways that are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayLook {
    /// What their names resolve to.
    Dns,
    /// And whether they answer over a certificate that fits: where the exporter may reach them.
    Https,
    /// Not at all.
    None,
}

impl FromNode for GatewayLook {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let words = &[
            ("dns", Self::Dns),
            ("https", Self::Https),
            ("none", Self::None),
        ];
        word(node, place, findings, words)
    }
}

impl Kubernetes {
    /// How the objects of `cluster` are read.
    pub fn settings(&self, cluster: Cluster) -> Settings {
        Settings {
            cluster,
            pn_cidr: self.pn_cidr,
            profile: self.profile,
            names: self.names.clone(),
            times: self.times,
        }
    }
}

impl FromSection for Kubernetes {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let kubeconfig = section.optional("kubeconfig");
        let pn_cidr = section.required("pn_cidr", "172.16.0.0/22");
        let profile = section.or("profile", Profile::Kura);
        let service_selector: Option<String> = section.optional("service_selector");
        if profile == Profile::Generic && service_selector.is_none() {
            section.refuse(
                "profile",
                "generic reads the Services of a label selector; write `service_selector: app=NAME` beside it",
            );
        }
        let prober_account = text(section, "prober_account", "pnwatch/pnwatch-prober");
        if prober_account
            .split('/')
            .filter(|part| !part.is_empty())
            .count()
            != 2
        {
            section.refuse(
                "prober_account",
                "write NAMESPACE/NAME of the probers' service account",
            );
        }
        Some(Self {
            kubeconfig,
            pn_cidr: pn_cidr?,
            profile,
            namespace: text(section, "namespace", "kura"),
            runner_namespace: text(section, "runner_namespace", "tuist-runners"),
            instance_group: text(section, "instance_group", "kura.tuist.dev"),
            instance_version: text(section, "instance_version", "v1alpha1"),
            instance_plural: text(section, "instance_plural", "kurainstances"),
            pod_selector: Some(text(section, "pod_selector", "app.kubernetes.io/name=kura")),
            runner_selector: Some(text(section, "runner_selector", "tuist.dev/runner=true")),
            service_selector,
            machines: section.or("machines", false),
            machine_version: text(section, "machine_version", "v1beta1"),
            audience: text(section, "audience", "pnwatch"),
            prober_account,
            condition: section.or("condition", false),
            condition_namespace: text(section, "condition_namespace", "pnwatch"),
            gateways: section.or("gateways", GatewayLook::Dns),
            gateway_ca_file: section.optional("gateway_ca_file"),
            names: section.or("names", Names::default()),
            times: section.or("times", Times::default()),
        })
    }
}

fn text(section: &mut Section<'_>, key: &'static str, default: &str) -> String {
    section.or(key, default.to_owned())
}

impl FromSection for Names {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let d = Self::default();
        Some(Self {
            pn_address_label: section.or("pn_address_label", d.pn_address_label),
            cache_taint: section.or("cache_taint", d.cache_taint),
            runtime_label: section.or("runtime_label", d.runtime_label),
            runtime: section.or("runtime", d.runtime),
            account_label: section.or("account_label", d.account_label),
            instance_label: section.or("instance_label", d.instance_label),
            service_suffix: section.or("service_suffix", d.service_suffix),
            port: section.or("port", d.port),
            region_suffix: section.or("region_suffix", d.region_suffix),
            paused_annotation: section.or("paused_annotation", d.paused_annotation),
            definition: section.or("definition", d.definition),
        })
    }
}

impl FromSection for Times {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let d = Self::default();
        Some(Self {
            settle: section.or("settle", d.settle),
            endpoint: section.or("endpoint", d.endpoint),
            reconcile: section.or("reconcile", d.reconcile),
            ready: section.or("ready", d.ready),
            drain: section.or("drain", d.drain),
            rolling: section.or("rolling", d.rolling),
            paused: section.or("paused", d.paused),
            grace: section.or("grace", d.grace),
        })
    }
}

impl FromNode for Profile {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let words = &[("kura", Self::Kura), ("generic", Self::Generic)];
        word(node, place, findings, words)
    }
}
