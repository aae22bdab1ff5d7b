//! What belongs to one cache: instance, Service, slices, pods, policies.

use std::collections::BTreeMap;

use pnwatch_core::kube::object::{
    EGRESS_CAP, Endpoint, InstanceObject, Meta, PodObject, PolicyObject, PolicyRule, ServiceObject,
    ServicePort, SliceObject,
};

use super::fields::Fields;

pub(super) fn instance(o: &Fields<'_>, meta: Meta) -> InstanceObject {
    InstanceObject {
        meta,
        account: o.text("spec.accountHandle"),
        tenant: o.text("spec.tenantID"),
        region: o.text("spec.region"),
        expose: o.flag("spec.exposeNodePort"),
        egress_cap: o.rate("spec.podAnnotations", EGRESS_CAP),
        client_cidrs: o.texts("spec.clientCIDRs"),
        phase: o.text("status.phase"),
        message: o.text("status.message"),
        ready_replicas: o.count("status.readyReplicas"),
        last_reconciled: o.time("status.lastReconciledAt"),
        node_address: o.text("status.nodeAddress"),
        port_http: o.port("status.nodePortHTTP"),
        port_cache: o.port("status.nodePortCache"),
        private_url: o.text("status.privateURL"),
    }
}

pub(super) fn service(o: &Fields<'_>, meta: Meta) -> ServiceObject {
    let port = |p: &Fields<'_>| ServicePort {
        name: p.text("name"),
        node_port: p.port("nodePort"),
    };
    ServiceObject {
        meta,
        kind: o.text("spec.type"),
        selector: o.map("spec.selector", |_| true),
        ports: o
            .list("spec.ports")
            .unwrap_or_default()
            .iter()
            .map(port)
            .collect(),
    }
}

pub(super) fn slice(o: &Fields<'_>, meta: Meta) -> SliceObject {
    let endpoint = |e: &Fields<'_>| Endpoint {
        node: e.text("nodeName"),
        ready: e.flag("conditions.ready"),
        terminating: e.flag("conditions.terminating"),
    };
    SliceObject {
        service: meta.labels.get("kubernetes.io/service-name").cloned(),
        meta,
        endpoints: o
            .list("endpoints")
            .unwrap_or_default()
            .iter()
            .map(endpoint)
            .collect(),
    }
}

pub(super) fn pod(o: &Fields<'_>, meta: Meta) -> PodObject {
    let ready = o.condition("Ready");
    let mut ports = BTreeMap::new();
    for container in o.list("spec.containers").unwrap_or_default() {
        for port in container.list("ports").unwrap_or_default() {
            if let (Some(name), Some(number)) = (port.text("name"), port.port("containerPort")) {
                ports.insert(name, number);
            }
        }
    }
    PodObject {
        meta,
        node: o.text("spec.nodeName"),
        phase: o.text("status.phase"),
        address: o.text("status.podIP"),
        ports,
        ready: ready.as_ref().and_then(|c| c.holds),
        ready_since: ready.and_then(|c| c.since),
        egress_cap: o.rate("metadata.annotations", EGRESS_CAP),
        trouble: trouble(o),
    }
}

/// Why a pod does not run: it is not scheduled, or a container waits.
fn trouble(o: &Fields<'_>) -> Option<String> {
    let unscheduled = o
        .condition("PodScheduled")
        .filter(|c| c.holds == Some(false))
        .and_then(|c| c.message);
    unscheduled.or_else(|| {
        let containers = o.list("status.containerStatuses")?;
        containers
            .iter()
            .find_map(|c| c.text("state.waiting.reason"))
    })
}

pub(super) fn policy(o: &Fields<'_>, meta: Meta) -> PolicyObject {
    let types = o.texts("spec.policyTypes");
    let expressions = o
        .list("spec.podSelector.matchExpressions")
        .is_some_and(|list| !list.is_empty());
    PolicyObject {
        meta,
        selector: (!expressions).then(|| o.map("spec.podSelector.matchLabels", |_| true)),
        // Absent types mean at least ingress (NetworkPolicySpec).
        restricts_ingress: types.is_none_or(|types| types.iter().any(|t| t == "Ingress")),
        rules: o
            .list("spec.ingress")
            .unwrap_or_default()
            .iter()
            .map(rule)
            .collect(),
    }
}

fn rule(o: &Fields<'_>) -> PolicyRule {
    let from = o.list("from").unwrap_or_default();
    let block = |peer: &Fields<'_>| {
        let cidr = peer.text("ipBlock.cidr")?;
        Some((cidr, peer.texts("ipBlock.except").unwrap_or_default()))
    };
    let ports = o.list("ports").unwrap_or_default();
    // A port entry without a port means all ports; a range is read by its first.
    let all = ports.iter().any(|p| p.at("port").is_none());
    let named = ports.iter().filter_map(|p| p.text_or_number("port"));
    PolicyRule {
        anybody: from.is_empty(),
        blocks: from.iter().filter_map(block).collect(),
        ports: if all { Vec::new() } else { named.collect() },
    }
}
