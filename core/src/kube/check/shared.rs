//! Instances that hand out one endpoint: F28 (`duplicate_claim`).

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use super::{Case, object};
use crate::diagnosis::Diagnosis;
use crate::fault::{Blame, Fault, Severity};
use crate::kube::marks::Marks;
use crate::kube::object::InstanceObject;
use crate::kube::view::{self, Objects};
use crate::time::Now;

/// F28: two instances hand out one endpoint.
pub(super) fn check(
    objects: &Objects<'_>,
    serving: &[&InstanceObject],
    marks: &mut Marks,
    now: Now,
    found: &mut Vec<Diagnosis>,
) {
    let mut claims: BTreeMap<(Ipv4Addr, u16), Vec<&InstanceObject>> = BTreeMap::new();
    for instance in serving {
        let address = view::address(objects.settings, instance);
        if let (Some(address), Some(port)) = (address, view::port(instance)) {
            claims.entry((address, port)).or_default().push(instance);
        }
    }
    for ((address, port), claimants) in claims.into_iter().filter(|(_, c)| c.len() > 1) {
        let subject = format!("{address}:{port}");
        let first = marks.since(format!("shared {subject}"), now);
        if now.tick.since(first.tick) < objects.settings.times.settle {
            continue;
        }
        let names: Vec<String> = claimants
            .iter()
            .map(|i| object("KuraInstance", &i.meta.key))
            .collect();
        let case = Case {
            blame: Blame::ControlPlane,
            subject: subject.clone(),
            fault: Fault::DuplicateClaim,
            severity: Severity::Warning,
            since: first.tick,
            summary: format!(
                "{} instances hand out {subject}: one of them answers for the others",
                names.len()
            ),
            evidence: names
                .iter()
                .map(|n| format!("{n}: status.nodeAddress and NodePort are {subject}"))
                .collect(),
            look: (
                "in the cluster".into(),
                "compare the NodePorts of their Services with the status fields".into(),
            ),
        };
        found.push(case.told(now));
    }
}
