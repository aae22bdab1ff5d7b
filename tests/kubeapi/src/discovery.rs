//! The documents by which clients find out what is served.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kinds::{Kind, Kinds};

/// The document at this path, if there is one.
pub(crate) fn document(kinds: &Kinds, path: &str) -> Option<Value> {
    let steps: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    match steps.as_slice() {
        ["version"] => Some(json!({
            "major": "1", "minor": "34", "gitVersion": "v1.34.0+pnwatch-kubeapi", "platform": "linux/amd64"
        })),
        ["api"] => Some(
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ),
        ["api", "v1"] => resources(kinds, "", "v1"),
        ["apis"] => {
            let names: BTreeSet<&str> = kinds
                .iter()
                .map(|k| k.group.as_str())
                .filter(|g| !g.is_empty())
                .collect();
            let groups: Vec<Value> = names
                .into_iter()
                .filter_map(|name| group(kinds, name))
                .collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => {
            let mut group = group(kinds, name)?;
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            Some(group)
        }
        ["apis", group, version] => resources(kinds, group, version),
        _ => None,
    }
}

fn group(kinds: &Kinds, name: &str) -> Option<Value> {
    let versions: BTreeSet<&str> = kinds
        .iter()
        .filter(|k| k.group == name)
        .map(|k| k.version.as_str())
        .collect();
    let versions: Vec<Value> = versions
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({"name": name, "versions": versions, "preferredVersion": preferred}))
}

fn resources(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let ours: Vec<_> = kinds
        .iter()
        .filter(|k| k.group == group && k.version == version)
        .collect();
    let api_version = ours.first()?.api_version();
    let mut list = Vec::new();
    for kind in ours {
        list.push(resource(kind, ""));
        if kind.status {
            list.push(resource(kind, "/status"));
        }
    }
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": list}),
    )
}

fn resource(kind: &Kind, subresource: &str) -> Value {
    let verbs: &[&str] = match subresource {
        _ if kind.virtual_only => &["create"],
        "" => &[
            "create", "delete", "get", "list", "patch", "update", "watch",
        ],
        _ => &["get", "patch", "update"],
    };
    json!({
        "name": format!("{}{subresource}", kind.plural),
        "singularName": if subresource.is_empty() { kind.kind.to_lowercase() } else { String::new() },
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs,
    })
}
