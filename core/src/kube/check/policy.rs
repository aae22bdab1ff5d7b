//! Whether network policies admit the PN to a pod. A denial is a silent drop.

use crate::kube::object::{PodObject, PolicyObject, PolicyRule};
use crate::kube::view::Objects;
use crate::link::Cidr;

/// The policy (name and field) that leaves the PN out, if any policy restricts the pod and none
/// admits the PN. A policy whose selector cannot be read is taken as admitting: no guess.
pub(super) fn refusing<'a>(
    objects: &Objects<'a>,
    pod: &PodObject,
) -> Option<(&'a str, &'static str)> {
    let mut first = None;
    for policy in objects.policies().filter(|p| p.restricts_ingress) {
        if policy.meta.key.namespace != pod.meta.key.namespace {
            continue;
        }
        let Some(selector) = &policy.selector else {
            return None;
        };
        let selects = selector
            .iter()
            .all(|(key, value)| pod.meta.labels.get(key) == Some(value));
        if !selects {
            continue;
        }
        if admits(objects, policy, pod) {
            return None;
        }
        first.get_or_insert((
            policy.meta.key.name.as_str(),
            "spec.ingress[].from[].ipBlock.cidr",
        ));
    }
    first
}

fn admits(objects: &Objects<'_>, policy: &PolicyObject, pod: &PodObject) -> bool {
    let name = &objects.settings.names.port;
    let number = pod.ports.get(name).map(ToString::to_string);
    let on_port = |rule: &PolicyRule| {
        rule.ports.is_empty()
            || rule
                .ports
                .iter()
                .any(|p| p == name || Some(p) == number.as_ref())
    };
    let pn = objects.settings.pn_cidr;
    let from_pn = |rule: &PolicyRule| {
        rule.anybody
            || rule.blocks.iter().any(|(cidr, except)| {
                any_covers(std::slice::from_ref(cidr), pn)
                    && !except.iter().any(|e| overlaps(e, pn))
            })
    };
    policy
        .rules
        .iter()
        .any(|rule| on_port(rule) && from_pn(rule))
}

/// Whether one of the blocks covers the whole PN.
pub(super) fn any_covers(blocks: &[String], pn: Cidr) -> bool {
    blocks
        .iter()
        .filter_map(|text| text.trim().parse::<Cidr>().ok())
        .any(|block| block.covers(pn))
}

fn overlaps(text: &str, pn: Cidr) -> bool {
    text.trim()
        .parse::<Cidr>()
        .is_ok_and(|block| block.covers(pn) || pn.covers(block))
}
