//! The CRD against the fields that are needed: an old one drops new fields without a word (F18).

use super::Case;
use crate::diagnosis::Diagnosis;
use crate::fault::{Blame, Fault, Severity};
use crate::kube::marks::Marks;
use crate::kube::object::DefinitionVersion;
use crate::kube::view::Objects;
use crate::time::Now;

/// Fields without which no endpoint can be handed out.
const SPEC: &[&str] = &["accountHandle", "tenantID", "exposeNodePort"];
const STATUS: &[&str] = &["nodeAddress"];
/// One of these must be there.
const PORTS: &[&str] = &["nodePortCache", "nodePortHTTP"];

pub(super) fn check(
    objects: &Objects<'_>,
    marks: &mut Marks,
    now: Now,
    found: &mut Vec<Diagnosis>,
) {
    for definition in objects.definitions() {
        let name = &definition.meta.key.name;
        if *name != objects.settings.names.definition {
            continue;
        }
        let evidence: Vec<String> = definition.versions.iter().flat_map(dropped).collect();
        if evidence.is_empty() {
            continue;
        }
        let first = marks.since(format!("crd {name}"), now);
        if now.tick.since(first.tick) < objects.settings.times.settle {
            continue;
        }
        let case = Case {
            blame: Blame::ControlPlane,
            subject: name.clone(),
            fault: Fault::StatusStale,
            severity: Severity::Warning,
            since: first.tick,
            summary: format!(
                "CustomResourceDefinition {name} is too old: {}",
                evidence.join("; ")
            ),
            evidence,
            look: (
                "in the cluster".into(),
                "apply the CRD that belongs to the running controller; Helm does not upgrade what is in crds/".into(),
            ),
        };
        found.push(case.told(now));
    }
}

fn dropped(version: &DefinitionVersion) -> Vec<String> {
    let lacks = |fields: &Option<Vec<String>>, name: &str| {
        fields
            .as_ref()
            .is_some_and(|fields| !fields.iter().any(|f| f == name))
    };
    let mut gone: Vec<String> = Vec::new();
    let (spec, status) = (&version.spec, &version.status);
    gone.extend(
        SPEC.iter()
            .filter(|f| lacks(spec, f))
            .map(|f| format!("spec.{f}")),
    );
    gone.extend(
        STATUS
            .iter()
            .filter(|f| lacks(status, f))
            .map(|f| format!("status.{f}")),
    );
    if PORTS.iter().all(|f| lacks(status, f)) {
        gone.push(format!("status.{}", PORTS.join(" or status.")));
    }
    if gone.is_empty() {
        return gone;
    }
    vec![format!(
        "version {} drops {} from every object without a word",
        version.name,
        gone.join(", ")
    )]
}
