//! Nodes and Machines: F26 (`binding_missing`) and F28 (`duplicate_claim`).

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use super::{Case, tick_of};
use crate::diagnosis::Diagnosis;
use crate::fault::{Blame, Fault, Severity};
use crate::kube::marks::Marks;
use crate::kube::object::{MachineObject, NodeObject, quoted, said};
use crate::kube::view::Objects;
use crate::name::{Host, Node};
use crate::time::{Now, Tick, spoken};

pub(super) fn check(
    objects: &Objects<'_>,
    marks: &mut Marks,
    now: Now,
    found: &mut Vec<Diagnosis>,
) {
    for node in objects.nodes() {
        if Node::new(node.meta.key.name.as_str()).is_ok() {
            found.extend(binding(objects, node, marks, now));
        }
    }
    addresses(objects, marks, now, found);
    machines(objects, marks, now, found);
}

fn binding(
    objects: &Objects<'_>,
    node: &NodeObject,
    marks: &mut Marks,
    now: Now,
) -> Option<Diagnosis> {
    let mac = objects.is_mac(node);
    if node.meta.deleted.is_some() || !(mac || objects.is_cache_node(node)) {
        return None;
    }
    let name = &node.meta.key.name;
    let settle = objects.settings.times.settle;
    let (mut evidence, mut since): (Vec<String>, Option<Tick>) = (Vec::new(), None);
    let mut add = |what: &str, from: Option<Tick>, text: String| {
        let first = marks.since(format!("binding {name} {what}"), now).tick;
        let first = from.map_or(first, |from| from.min(first));
        if now.tick.since(first) >= settle {
            since = Some(since.map_or(first, |s| s.min(first)));
            evidence.push(text);
        }
    };
    if node.ready != Some(true) {
        let changed = node.ready_since.map(|at| tick_of(at, now));
        let why = said(node.ready_message.as_ref()).map_or("no message".into(), quoted);
        add(
            "ready",
            changed,
            format!("status.conditions[Ready] is not True ({why})"),
        );
    }
    if said(node.provider.as_ref()).is_none() {
        let text = "spec.providerID is empty: the node is bound to no machine".to_owned();
        add("provider", None, text);
    }
    if !mac && objects.pn_address(node).is_none() {
        let label = &objects.settings.names.pn_address_label;
        let text = match said(node.meta.labels.get(label)) {
            None => format!("label {label} is missing: no endpoint of this node can be handed out"),
            Some(text) => format!(
                "label {label} is {:?}, which is no address inside the PN {}",
                quoted(text),
                objects.settings.pn_cidr
            ),
        };
        add("label", None, text);
    }
    let first = evidence.first()?.clone();
    let since = since?;
    let case = Case {
        blame: Blame::ControlPlane,
        subject: name.clone(),
        fault: Fault::BindingMissing,
        severity: Severity::Warning,
        since,
        summary: format!(
            "Node {name}: {first}, for {}",
            spoken(now.tick.since(since))
        ),
        evidence,
        look: (
            "in the cluster".into(),
            format!("kubectl describe node {name}, then the Machine of that node"),
        ),
    };
    let mut told = case.told(now);
    if mac {
        told.host = Host::new(name.as_str()).ok();
    } else {
        told.node = Node::new(name.as_str()).ok();
        told.address = objects.pn_address(node);
    }
    Some(told)
}

/// Two Nodes claim one PN address.
fn addresses(objects: &Objects<'_>, marks: &mut Marks, now: Now, found: &mut Vec<Diagnosis>) {
    let label = &objects.settings.names.pn_address_label;
    for (address, nodes) in objects.claims() {
        let live: Vec<&str> = nodes
            .iter()
            .filter(|n| n.meta.deleted.is_none())
            .map(|n| n.meta.key.name.as_str())
            .collect();
        if live.len() < 2 {
            continue;
        }
        let case = Duplicate {
            subject: address.to_string(),
            address: Some(address),
            summary: format!(
                "{} Nodes claim the PN address {address} (label {label}): {}",
                live.len(),
                live.iter().take(4).copied().collect::<Vec<_>>().join(", ")
            ),
            evidence: live
                .iter()
                .map(|n| format!("Node {n}: label {label} is {address}"))
                .collect(),
            look: "see which machine really holds the address, and correct the label of the other",
        };
        found.extend(case.told(objects, marks, now));
    }
}

/// Two Machines adopted one host, or one is bound to nothing.
fn machines(objects: &Objects<'_>, marks: &mut Marks, now: Now, found: &mut Vec<Diagnosis>) {
    let paused = &objects.settings.names.paused_annotation;
    let live = || objects.machines().filter(|m| m.meta.deleted.is_none());
    let mut claims: BTreeMap<&str, Vec<&MachineObject>> = BTreeMap::new();
    for machine in live() {
        if let Some(provider) = said(machine.provider.as_ref()) {
            claims.entry(provider).or_default().push(machine);
        }
        let is_paused = machine
            .meta
            .annotations
            .get(paused)
            .is_some_and(|v| v != "false");
        let name = &machine.meta.key.name;
        if said(machine.node.as_ref()).is_some() || is_paused || Node::new(name.as_str()).is_err() {
            continue;
        }
        let first = marks.since(format!("unbound {name}"), now);
        let born = machine
            .meta
            .created
            .map_or(first.tick, |at| tick_of(at, now).min(first.tick));
        if now.tick.since(born) < objects.settings.times.ready {
            continue;
        }
        let phase = machine.phase.as_deref().map_or("empty".into(), quoted);
        let case = Case {
            blame: Blame::ControlPlane,
            subject: name.clone(),
            fault: Fault::BindingMissing,
            severity: Severity::Warning,
            since: born,
            summary: format!(
                "Machine {name} has been bound to no Node for {} (status.nodeRef is empty, status.phase is {phase})",
                spoken(now.tick.since(born))
            ),
            evidence: vec![format!("Machine {name}: status.nodeRef is empty")],
            look: (
                "in the cluster".into(),
                format!(
                    "kubectl -n {} describe machine {name}",
                    machine.meta.key.namespace
                ),
            ),
        };
        found.push(case.told(now));
    }
    for (provider, machines) in claims.into_iter().filter(|(_, m)| m.len() > 1) {
        let host = provider.rsplit('/').next().unwrap_or(provider);
        let names: Vec<&str> = machines.iter().map(|m| m.meta.key.name.as_str()).collect();
        let case = Duplicate {
            subject: quoted(host),
            address: None,
            summary: format!(
                "{} Machines adopted {} (spec.providerID): {}",
                names.len(),
                quoted(provider),
                names.iter().take(4).copied().collect::<Vec<_>>().join(", ")
            ),
            evidence: names
                .iter()
                .map(|n| format!("Machine {n}: spec.providerID is {}", quoted(provider)))
                .collect(),
            look: "see which Machine really owns the host, and pause or delete the other",
        };
        found.extend(case.told(objects, marks, now));
    }
}

struct Duplicate {
    subject: String,
    address: Option<Ipv4Addr>,
    summary: String,
    evidence: Vec<String>,
    look: &'static str,
}

impl Duplicate {
    fn told(self, objects: &Objects<'_>, marks: &mut Marks, now: Now) -> Option<Diagnosis> {
        let first = marks.since(format!("duplicate {}", self.subject), now);
        if now.tick.since(first.tick) < objects.settings.times.settle {
            return None;
        }
        let case = Case {
            blame: Blame::ControlPlane,
            subject: self.subject,
            fault: Fault::DuplicateClaim,
            severity: Severity::Warning,
            since: first.tick,
            summary: self.summary,
            evidence: self.evidence,
            look: ("in the cluster".into(), self.look.to_owned()),
        };
        let mut told = case.told(now);
        told.address = self.address;
        Some(told)
    }
}
