//! All objects with the links between them, made anew for each judgement.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use super::object::{
    Endpoint, InstanceObject, Kind, NodeObject, Object, PodObject, ServiceObject, said,
};
use super::settings::Settings;
use super::shelf::Shelf;

/// All objects, with look-ups.
pub(super) struct Objects<'a> {
    pub(super) settings: &'a Settings,
    shelves: &'a BTreeMap<Kind, Shelf>,
    nodes: BTreeMap<&'a str, &'a NodeObject>,
    /// Who claims an address, in the order of names.
    claims: BTreeMap<Ipv4Addr, Vec<&'a NodeObject>>,
    pods: BTreeMap<(&'a str, &'a str), &'a PodObject>,
    services: BTreeMap<(&'a str, &'a str), &'a ServiceObject>,
    endpoints: BTreeMap<(&'a str, &'a str), Vec<&'a Endpoint>>,
}

impl<'a> Objects<'a> {
    pub(super) fn new(settings: &'a Settings, shelves: &'a BTreeMap<Kind, Shelf>) -> Self {
        let mut all = Self {
            settings,
            shelves,
            nodes: BTreeMap::new(),
            claims: BTreeMap::new(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        };
        for node in all.nodes() {
            all.nodes.insert(&node.meta.key.name, node);
            if let Some(address) = all.pn_address(node) {
                all.claims.entry(address).or_default().push(node);
            }
        }
        for pod in all.pods() {
            let key = &pod.meta.key;
            all.pods.insert((&key.namespace, &key.name), pod);
        }
        for service in all.services() {
            let key = &service.meta.key;
            all.services.insert((&key.namespace, &key.name), service);
        }
        for slice in all.slices() {
            if let Some(service) = slice.service.as_deref() {
                let key = (slice.meta.key.namespace.as_str(), service);
                all.endpoints
                    .entry(key)
                    .or_default()
                    .extend(&slice.endpoints);
            }
        }
        all
    }

    /// The endpoints of a Service, over all its slices.
    pub(super) fn endpoints<'o>(&'o self, service: &'o ServiceObject) -> &'o [&'a Endpoint] {
        let key = &service.meta.key;
        let found = self
            .endpoints
            .get(&(key.namespace.as_str(), key.name.as_str()));
        found.map_or(&[], Vec::as_slice)
    }

    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &'a Object> + use<'a> {
        let shelf = self.shelves.get(&kind);
        shelf
            .into_iter()
            .flat_map(|s| s.entries.values())
            .filter_map(|entry| entry.object.as_ref())
    }

    /// Whether the kind was ever listed, so that what is not there does not exist.
    pub(super) fn knows(&self, kind: Kind) -> bool {
        self.shelves.get(&kind).is_some_and(|s| s.listed)
    }

    pub(super) fn node(&self, name: &str) -> Option<&'a NodeObject> {
        self.nodes.get(name).copied()
    }

    pub(super) fn claims(&self) -> impl Iterator<Item = (Ipv4Addr, &[&'a NodeObject])> {
        self.claims.iter().map(|(a, nodes)| (*a, nodes.as_slice()))
    }

    pub(super) fn claimants(&self, address: Ipv4Addr) -> &[&'a NodeObject] {
        self.claims.get(&address).map_or(&[], Vec::as_slice)
    }

    /// The address of the node's label, if it is one inside the PN.
    pub(super) fn pn_address(&self, node: &NodeObject) -> Option<Ipv4Addr> {
        let label = node.meta.labels.get(&self.settings.names.pn_address_label);
        let address = said(label)?.parse().ok()?;
        self.settings.pn_cidr.contains(address).then_some(address)
    }

    pub(super) fn is_mac(&self, node: &NodeObject) -> bool {
        let names = &self.settings.names;
        let labels = &node.meta.labels;
        labels
            .get("kubernetes.io/os")
            .is_some_and(|os| os == "darwin")
            && labels.get(&names.runtime_label) == Some(&names.runtime)
    }

    pub(super) fn is_cache_node(&self, node: &NodeObject) -> bool {
        let names = &self.settings.names;
        !self.is_mac(node)
            && (node.meta.labels.contains_key(&names.pn_address_label)
                || node.taints.contains(&names.cache_taint))
    }

    /// Whether builds are meant to use the instance. An old CRD may have pruned what says so.
    pub(super) fn serves_builds(&self, instance: &InstanceObject) -> bool {
        let suffix = &self.settings.names.region_suffix;
        match instance.expose {
            Some(exposes) => exposes,
            None => {
                said(instance.node_address.as_ref()).is_some()
                    || port(instance).is_some()
                    || (!suffix.is_empty()
                        && said(instance.region.as_ref())
                            .is_some_and(|region| region.ends_with(suffix)))
            }
        }
    }

    /// The `NodePort` Service of an instance.
    pub(super) fn service(&self, instance: &InstanceObject) -> Option<&'a ServiceObject> {
        let key = &instance.meta.key;
        let name = format!("{}{}", key.name, self.settings.names.service_suffix);
        self.service_named(&key.namespace, &name)
    }

    pub(super) fn service_named(&self, namespace: &str, name: &str) -> Option<&'a ServiceObject> {
        self.services.get(&(namespace, name)).copied()
    }

    /// The pod that serves builds: the one that the Service pins, else the first.
    pub(super) fn primary(&self, instance: &InstanceObject) -> Option<&'a PodObject> {
        let key = &instance.meta.key;
        let pinned = self.service(instance).and_then(|service| {
            service
                .selector
                .get("statefulset.kubernetes.io/pod-name")
                .map(String::as_str)
        });
        let first = format!("{}-0", key.name);
        let name = pinned.unwrap_or(&first);
        self.pods.get(&(key.namespace.as_str(), name)).copied()
    }
}

/// The port that is handed out, by the newer field or the older.
pub(super) fn port(instance: &InstanceObject) -> Option<u16> {
    instance
        .port_cache
        .or(instance.port_http)
        .filter(|port| *port > 0)
}

/// The field that [`port`] came from, or is due in.
pub(super) fn port_field(instance: &InstanceObject) -> &'static str {
    match (instance.port_cache, instance.port_http) {
        (None, Some(_)) => "status.nodePortHTTP",
        (Some(_), _) => "status.nodePortCache",
        (None, None) => "status.nodePortCache (or nodePortHTTP)",
    }
}

/// The address that is handed out, if it is one inside the PN.
pub(super) fn address(settings: &Settings, instance: &InstanceObject) -> Option<Ipv4Addr> {
    let address = said(instance.node_address.as_ref())?.parse().ok()?;
    settings.pn_cidr.contains(address).then_some(address)
}

/// The `NodePort` that serves builds: of the port with the configured name, or of the only one.
pub(super) fn node_port(settings: &Settings, service: &ServiceObject) -> Option<u16> {
    let named = service
        .ports
        .iter()
        .find(|p| p.name.as_deref() == Some(settings.names.port.as_str()));
    let only = (service.ports.len() == 1).then(|| &service.ports[0]);
    named.or(only)?.node_port.filter(|port| *port > 0)
}
