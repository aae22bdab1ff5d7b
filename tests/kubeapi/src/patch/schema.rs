//! How lists of the known kinds merge: the part of the `OpenAPI` schema that strategic merge patch
//! (`x-kubernetes-patch-merge-key`) and server-side apply (`x-kubernetes-list-type`, `-list-map-keys`) read.
//! A list without a rule is atomic: it is replaced whole and owned whole.

use crate::kinds::Kind;

/// How one list merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// Items are objects found by a key. Strategic merge uses the first key alone; apply uses all of them.
    Map(&'static [&'static str]),
    /// Items are scalars and merge as a set.
    Set,
    /// Replaced whole.
    Atomic,
}

type Rules = &'static [(&'static str, List)];

const METADATA: Rules = &[
    ("metadata.ownerReferences", List::Map(&["uid"])),
    ("metadata.finalizers", List::Set),
];

const NODE: Rules = &[
    ("status.conditions", List::Map(&["type"])),
    ("status.addresses", List::Map(&["type"])),
    ("spec.podCIDRs", List::Set),
];

const POD: Rules = &[
    ("status.conditions", List::Map(&["type"])),
    ("status.podIPs", List::Map(&["ip"])),
    ("spec.containers", List::Map(&["name"])),
    ("spec.containers[].env", List::Map(&["name"])),
    (
        "spec.containers[].ports",
        List::Map(&["containerPort", "protocol"]),
    ),
    ("spec.containers[].volumeMounts", List::Map(&["mountPath"])),
    ("spec.initContainers", List::Map(&["name"])),
    ("spec.initContainers[].env", List::Map(&["name"])),
    (
        "spec.initContainers[].volumeMounts",
        List::Map(&["mountPath"]),
    ),
    ("spec.volumes", List::Map(&["name"])),
    ("spec.imagePullSecrets", List::Map(&["name"])),
    ("spec.hostAliases", List::Map(&["ip"])),
];

const SERVICE: Rules = &[
    ("spec.ports", List::Map(&["port", "protocol"])),
    ("status.conditions", List::Map(&["type"])),
];

const CONDITIONS: Rules = &[("status.conditions", List::Map(&["type"]))];

/// The rules of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema(Rules);

impl Schema {
    pub(crate) fn of(kind: &Kind) -> Self {
        Self(match (kind.group.as_str(), kind.plural.as_str()) {
            ("", "nodes") => NODE,
            ("", "pods") => POD,
            ("", "services") => SERVICE,
            ("", "namespaces") | ("cluster.x-k8s.io", "machines") | ("apiextensions.k8s.io", _) => {
                CONDITIONS
            }
            _ => &[],
        })
    }

    /// `path` is dotted, with `[]` for the items of a list: `spec.containers[].env`.
    pub(crate) fn list(self, path: &str) -> List {
        METADATA
            .iter()
            .chain(self.0)
            .find(|(known, _)| *known == path)
            .map_or(List::Atomic, |(_, list)| *list)
    }
}

/// `parent.field`, or `field` at the top.
pub(crate) fn child(parent: &str, field: &str) -> String {
    if parent.is_empty() {
        field.to_owned()
    } else {
        format!("{parent}.{field}")
    }
}
