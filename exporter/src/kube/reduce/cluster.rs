//! What belongs to the cluster: nodes, Machines, the CRD.

use pnwatch_core::kube::object::{
    DefinitionObject, DefinitionVersion, MachineObject, Meta, NodeObject,
};

use super::fields::Fields;

pub(super) fn node(o: &Fields<'_>, meta: Meta) -> NodeObject {
    let ready = o.condition("Ready");
    let taints = o.list("spec.taints").unwrap_or_default();
    NodeObject {
        meta,
        provider: o.text("spec.providerID"),
        taints: taints.iter().filter_map(|t| t.text("key")).collect(),
        ready: ready.as_ref().and_then(|c| c.holds),
        ready_since: ready.as_ref().and_then(|c| c.since),
        ready_message: ready.and_then(|c| c.message),
    }
}

pub(super) fn machine(o: &Fields<'_>, meta: Meta) -> MachineObject {
    MachineObject {
        meta,
        provider: o.text("spec.providerID"),
        node: o.text("status.nodeRef.name"),
        phase: o.text("status.phase"),
    }
}

pub(super) fn definition(o: &Fields<'_>, meta: Meta) -> DefinitionObject {
    let versions = o.list("spec.versions").unwrap_or_default();
    DefinitionObject {
        meta,
        versions: versions
            .iter()
            .filter(|v| v.flag("served") != Some(false))
            .map(version)
            .collect(),
    }
}

fn version(o: &Fields<'_>) -> DefinitionVersion {
    DefinitionVersion {
        name: o.text("name").unwrap_or_default(),
        spec: kept(o, "spec"),
        status: kept(o, "status"),
    }
}

/// The fields of a part that survive; `None` = all, or the schema says nothing of the part.
fn kept(o: &Fields<'_>, part: &str) -> Option<Vec<String>> {
    let schema = o.at("schema.openAPIV3Schema")?;
    let keeps = |at: &Fields<'_>| at.flag("x-kubernetes-preserve-unknown-fields") == Some(true);
    let part = schema.at(&format!("properties.{part}"))?;
    if keeps(&schema) || keeps(&part) {
        return None;
    }
    Some(part.names("properties").unwrap_or_default())
}
