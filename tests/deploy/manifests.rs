//! What the chart renders: fresh, valid by Kubernetes' own types, and consistent in itself.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::chart::{all_objects, chart, object, objects, render, root, text, yaml};
use crate::pods::pods;
use crate::values::{EXAMPLES, every_case, everything, example};

/// Copies of files that stand elsewhere in this repository; not committed twice.
fn is_copy(object: &Value) -> bool {
    object["kind"] == "PrometheusRule"
        || object["metadata"]["name"]
            .as_str()
            .is_some_and(|name| name.contains("-board-"))
}

/// One example's manifests: everything but notes, test Pod, and copies.
fn manifests(name: &str) -> String {
    let mut out = format!(
        "# Rendered from deploy/helm/pnwatch with deploy/helm/examples/{name}.yaml: do not edit.\n# Anew: PNWATCH_WRITE=1 cargo test --test deploy\n"
    );
    let mut all = render(&chart(), &example(name));
    // `kubectl apply` goes from top to bottom.
    all.sort_by_key(|(file, _)| file != "templates/namespace.yaml");
    for (file, rendered) in all {
        if file == "templates/NOTES.txt" || file.starts_with("templates/tests/") {
            continue;
        }
        for part in rendered
            .split("---\n")
            .filter(|part| !objects(part).is_empty())
        {
            if !objects(part).iter().any(is_copy) {
                out.push_str("---\n");
                out.extend(
                    part.trim()
                        .lines()
                        .map(|line| format!("{}\n", line.trim_end())),
                );
            }
        }
    }
    out
}

#[test]
fn the_committed_manifests_are_fresh() {
    let mut stale = Vec::new();
    for name in EXAMPLES {
        let path = format!("deploy/manifests/{name}/pnwatch.yaml");
        let fresh = manifests(name);
        if std::env::var_os("PNWATCH_WRITE").is_some() {
            std::fs::create_dir_all(root().join(&path).parent().unwrap()).unwrap();
            std::fs::write(root().join(&path), &fresh).unwrap();
        }
        let seen = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
        if seen != fresh {
            stale.push(path);
        }
    }
    assert!(
        stale.is_empty(),
        "{stale:?} differ; PNWATCH_WRITE=1 cargo test --test deploy"
    );
}

/// Reads `value` as the type and back: what the type does not know is lost on the way.
fn kept<T: DeserializeOwned + Serialize>(value: &Value) -> Value {
    let typed: T =
        serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{e} in {value:#}"));
    serde_json::to_value(typed).unwrap()
}

fn lost(given: &Value, kept: &Value, path: &str, found: &mut Vec<String>) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (key, value) in given {
                let path = format!("{path}.{key}");
                match kept.get(key) {
                    Some(kept) => lost(value, kept, &path, found),
                    // An empty list or map may vanish.
                    None if value == &json!([]) || value == &json!({}) => {}
                    None => found.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(kept)) => {
            for (n, (given, kept)) in given.iter().zip(kept).enumerate() {
                lost(given, kept, &format!("{path}[{n}]"), found);
            }
        }
        (given, kept) if given != kept => found.push(format!("{path}: {given} became {kept}")),
        _ => {}
    }
}

fn known_fields(object: &Value) -> Option<Value> {
    Some(match object["kind"].as_str().unwrap() {
        "ClusterRole" => kept::<ClusterRole>(object),
        "ClusterRoleBinding" => kept::<ClusterRoleBinding>(object),
        "ConfigMap" => kept::<ConfigMap>(object),
        "DaemonSet" => kept::<DaemonSet>(object),
        "Namespace" => kept::<Namespace>(object),
        "NetworkPolicy" => kept::<NetworkPolicy>(object),
        "Pod" => kept::<Pod>(object),
        "PodDisruptionBudget" => kept::<PodDisruptionBudget>(object),
        "Role" => kept::<Role>(object),
        "RoleBinding" => kept::<RoleBinding>(object),
        "Service" => kept::<Service>(object),
        "ServiceAccount" => kept::<ServiceAccount>(object),
        "StatefulSet" => kept::<StatefulSet>(object),
        // Of the Prometheus operator; their content is checked below.
        "PodMonitor" | "PrometheusRule" => return None,
        other => panic!("{other} is no kind that the chart may hold"),
    })
}

#[test]
fn kubernetes_knows_every_field() {
    for (case, all) in every_case() {
        let mut named = BTreeSet::new();
        for object in &all {
            let (kind, about) = (&object["kind"], &object["metadata"]);
            let mut found = Vec::new();
            if let Some(kept) = known_fields(object) {
                lost(object, &kept, "", &mut found);
            }
            assert!(
                found.is_empty(),
                "{case}: {kind} {}: {found:?}",
                about["name"]
            );
            let name = about["name"].as_str().unwrap();
            assert!(
                name.len() <= 63 && about["labels"]["app.kubernetes.io/name"] == "pnwatch",
                "{about}"
            );
            let id = (
                kind.to_string(),
                about["namespace"].to_string(),
                name.to_owned(),
            );
            assert!(named.insert(id), "{case}: two {kind} {name}");
        }
    }
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().unwrap();
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
}

/// Every selector finds exactly the Pods that it means.
#[test]
fn selectors_match_labels() {
    for (case, all) in every_case() {
        let pods = pods(&all);
        let selected = |selector: &Value| -> Vec<String> {
            let mut selector = selector.clone();
            // Put on each Pod by the StatefulSet's controller.
            selector
                .as_object_mut()
                .unwrap()
                .remove("statefulset.kubernetes.io/pod-name");
            let found = pods.iter().filter(|pod| matches(&selector, &pod.labels));
            found.map(|pod| pod.component.clone()).collect()
        };
        for object in &all {
            let spec = &object["spec"];
            let (selector, of) = match object["kind"].as_str().unwrap() {
                "DaemonSet" => (&spec["selector"]["matchLabels"], "prober"),
                "StatefulSet" | "PodDisruptionBudget" | "PodMonitor" => {
                    (&spec["selector"]["matchLabels"], "exporter")
                }
                "NetworkPolicy" => (&spec["podSelector"]["matchLabels"], "exporter"),
                "Service" => (&spec["selector"], "exporter"),
                _ => continue,
            };
            assert_eq!(
                selected(selector),
                [of],
                "{case}: {} {selector}",
                object["kind"]
            );
        }
    }
}

/// What is referred to by name is there: services, ports, accounts, configurations, volumes.
#[test]
fn names_lead_somewhere() {
    for (case, all) in every_case() {
        for pod in pods(&all) {
            let spec = &pod.spec;
            if let Some(account) = spec.get("serviceAccountName") {
                object(&all, "ServiceAccount", account.as_str().unwrap());
            }
            let volumes = spec["volumes"].as_array().unwrap();
            for volume in volumes {
                if let Some(name) = volume.pointer("/configMap/name") {
                    object(&all, "ConfigMap", name.as_str().unwrap());
                }
            }
            for container in spec["containers"].as_array().unwrap() {
                for mount in container["volumeMounts"].as_array().unwrap() {
                    let claimed = pod.claims.iter().any(|claim| mount["name"] == **claim);
                    let there = claimed || volumes.iter().any(|v| v["name"] == mount["name"]);
                    assert!(there, "{case}: {mount}");
                }
            }
        }
        let Some(prober) = all.iter().find(|o| o["kind"] == "DaemonSet") else {
            continue;
        };
        let config = object(
            &all,
            "ConfigMap",
            prober["metadata"]["name"].as_str().unwrap(),
        );
        let config = yaml(config["data"]["pnwatch.yaml"].as_str().unwrap());
        for exporter in config["probe"]["exporters"].as_array().unwrap() {
            let url = exporter["url"].as_str().unwrap();
            let Some(host) = url
                .strip_prefix("http://")
                .and_then(|u| u.strip_suffix(".pnwatch.svc:9760"))
            else {
                assert_eq!(case, "prober-only", "{url}");
                continue;
            };
            let service = object(&all, "Service", host);
            assert_eq!(
                service["spec"]["selector"]["statefulset.kubernetes.io/pod-name"],
                host
            );
            assert!(
                service["spec"]["ports"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|p| p["port"] == 9760)
            );
        }
    }
}

/// The chart grants what deploy/rbac grants, object by object.
#[test]
fn rights_are_those_of_deploy_rbac() {
    let bare = |all: Vec<Value>| -> Vec<Value> {
        let mut all: Vec<Value> = all
            .into_iter()
            .filter(|o| o["apiVersion"] == "rbac.authorization.k8s.io/v1")
            .map(|mut o| {
                o["metadata"].as_object_mut().unwrap().remove("labels");
                o
            })
            .collect();
        all.sort_by_key(Value::to_string);
        all
    };
    let mut stated = objects(&text("deploy/rbac/exporter.yaml"));
    assert_eq!(bare(all_objects(&example("staging"))), bare(stated.clone()));
    stated.extend(objects(&text("deploy/rbac/machines.yaml")));
    stated.extend(objects(&text("deploy/rbac/condition.yaml")));
    assert_eq!(bare(all_objects(&example("production"))), bare(stated));
    assert_eq!(bare(all_objects(&example("prober-only"))), [Value::Null; 0]);
}

#[test]
fn rules_and_boards_are_those_of_this_repository() {
    let all = all_objects(&everything());
    let rule = object(&all, "PrometheusRule", "watch");
    let stated = yaml(&text("alerts/prometheusrule.yaml"));
    assert_eq!(rule["spec"], stated["spec"]);
    let production = all_objects(&example("production"));
    let rule = object(&production, "PrometheusRule", "pnwatch").to_string();
    assert!(rule.contains("https://git.example/pnwatch/blob/main/alerts/runbooks/"));
    assert!(!rule.contains("example.com"), "a placeholder is left");
    assert!(rule.contains("{{ $labels.cluster }}"));

    let mut with_board = chart();
    let board = "{\n  \"title\": \"{{ instance }} \\\"a\\\"\"\n}\n";
    with_board.insert("boards/pnwatch-new.json".to_owned(), board.to_owned());
    with_board.insert("boards/README.md".to_owned(), "no board".to_owned());
    let rendered = render(&with_board, &everything());
    let (_, monitoring) = rendered
        .iter()
        .find(|(name, _)| name.ends_with("monitoring.yaml"))
        .unwrap();
    let all = objects(monitoring);
    let map = object(&all, "ConfigMap", "watch-board-pnwatch-new");
    let held: Value =
        serde_json::from_str(map["data"]["pnwatch-new.json"].as_str().unwrap()).unwrap();
    assert_eq!(held, serde_json::from_str::<Value>(board).unwrap());
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(map["metadata"]["annotations"]["grafana_folder"], "pnwatch");
    for object in all.iter().filter(|o| o["kind"] == "ConfigMap") {
        assert!(
            object.to_string().len() < 1 << 20,
            "{} is too large",
            object["metadata"]["name"]
        );
    }
}

#[test]
fn no_custom_resources_and_no_hook_but_the_test() {
    for (name, text) in chart() {
        assert!(!name.starts_with("crds/"), "{name}");
        assert!(
            !text.contains("helm.sh/hook\"") || name.contains("boards"),
            "{name}"
        );
        if name.starts_with("templates/") && text.contains("helm.sh/hook:") {
            assert_eq!(name, "templates/tests/check.yaml");
            assert!(text.contains("helm.sh/hook: test\n"));
        }
    }
}

#[test]
fn the_notes_speak_of_what_is_missing() {
    let notes = |name: &str| {
        let all = render(&chart(), &example(name));
        all.into_iter()
            .find(|(name, _)| name == "templates/NOTES.txt")
            .unwrap()
            .1
    };
    assert!(notes("staging").contains("Nobody is paged"));
    assert!(!notes("production").contains("Nobody is paged"));
    assert!(!notes("prober-only").contains("port-forward"));
}

/// Kustomize builds from the rendered manifests: what its files name is there.
#[test]
fn kustomizations_name_files_that_are_there() {
    let places = EXAMPLES.map(|name| format!("deploy/manifests/{name}"));
    let mut seen = 0;
    for place in places
        .iter()
        .map(String::as_str)
        .chain(["deploy/kustomize/example"])
    {
        let file = yaml(&text(&format!("{place}/kustomization.yaml")));
        assert_eq!(file["kind"], "Kustomization");
        // It would move the Roles out of the caches' namespaces.
        assert!(file.get("namespace").is_none(), "{place}");
        for resource in file["resources"].as_array().unwrap() {
            let path = root().join(place).join(resource.as_str().unwrap());
            assert!(path.exists(), "{place}: {resource}");
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}
