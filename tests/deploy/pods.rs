//! What the Pods may do: Kubernetes' Pod Security Standards, rule by rule, and pnwatch's own.

use serde_json::{Value, json};

use crate::chart::{all_objects, object};
use crate::values::{every_case, example};

/// A Pod, or the template of one.
pub(crate) struct Template {
    pub(crate) component: String,
    pub(crate) labels: Value,
    pub(crate) spec: Value,
    /// Names of volume claim templates.
    pub(crate) claims: Vec<String>,
}

pub(crate) fn pods(all: &[Value]) -> Vec<Template> {
    all.iter()
        .filter_map(|object| {
            let template = match object["kind"].as_str()? {
                "DaemonSet" | "StatefulSet" => &object["spec"]["template"],
                "Pod" => object,
                _ => return None,
            };
            let claims = object
                .pointer("/spec/volumeClaimTemplates")
                .and_then(Value::as_array);
            let claims = claims
                .into_iter()
                .flatten()
                .filter_map(|c| c.pointer("/metadata/name")?.as_str());
            let labels = &template["metadata"]["labels"];
            Some(Template {
                component: labels["app.kubernetes.io/component"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
                labels: labels.clone(),
                spec: template["spec"].clone(),
                claims: claims.map(str::to_owned).collect(),
            })
        })
        .collect()
}

fn containers(spec: &Value) -> Vec<&Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .filter_map(|key| spec.get(key)?.as_array())
        .flatten()
        .collect()
}

/// Breaches of the level `baseline`.
fn baseline(spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec.get(key) == Some(&json!(true)) {
            found.push(key.to_owned());
        }
    }
    if spec["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .any(|v| v.get("hostPath").is_some())
    {
        found.push("hostPath".to_owned());
    }
    for container in containers(spec) {
        let context = &container["securityContext"];
        if context.get("privileged") == Some(&json!(true)) {
            found.push("privileged".to_owned());
        }
        let allowed = [
            "AUDIT_WRITE",
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "MKNOD",
            "NET_BIND_SERVICE",
            "SETFCAP",
            "SETGID",
            "SETPCAP",
            "SETUID",
            "SYS_CHROOT",
        ];
        for added in context
            .pointer("/capabilities/add")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if !allowed.contains(&added.as_str().unwrap()) {
                found.push(format!("adds {}", added.as_str().unwrap()));
            }
        }
        let ports = container
            .get("ports")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        if ports.into_iter().any(|port| port.get("hostPort").is_some()) {
            found.push("hostPort".to_owned());
        }
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            if container
                .pointer(&format!("/{probe}/httpGet/host"))
                .is_some()
            {
                found.push(format!("{probe} names a host"));
            }
        }
        for key in [
            "seLinuxOptions",
            "procMount",
            "windowsOptions",
            "appArmorProfile",
        ] {
            if context.get(key).is_some() {
                found.push(key.to_owned());
            }
        }
    }
    for key in [
        "seLinuxOptions",
        "sysctls",
        "windowsOptions",
        "appArmorProfile",
    ] {
        if spec["securityContext"].get(key).is_some() {
            found.push(key.to_owned());
        }
    }
    found
}

/// Breaches of `restricted` besides those of `baseline`.
fn restricted(spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let kinds = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
        "name",
    ];
    for volume in spec["volumes"].as_array().unwrap() {
        let other = volume
            .as_object()
            .unwrap()
            .keys()
            .find(|key| !kinds.contains(&key.as_str()));
        found.extend(other.map(|key| format!("volume of kind {key}")));
    }
    for container in containers(spec) {
        let context = |key: &str| {
            container["securityContext"]
                .get(key)
                .or(spec["securityContext"].get(key))
        };
        if container["securityContext"].get("allowPrivilegeEscalation") != Some(&json!(false)) {
            found.push("allowPrivilegeEscalation".to_owned());
        }
        if context("runAsNonRoot") != Some(&json!(true)) {
            found.push("runAsNonRoot".to_owned());
        }
        if context("runAsUser") == Some(&json!(0)) {
            found.push("runs as root".to_owned());
        }
        let seccomp = context("seccompProfile").and_then(|p| p["type"].as_str());
        if !matches!(seccomp, Some("RuntimeDefault" | "Localhost")) {
            found.push("seccompProfile".to_owned());
        }
        if container.pointer("/securityContext/capabilities/drop") != Some(&json!(["ALL"])) {
            found.push("does not drop ALL".to_owned());
        }
    }
    found
}

#[test]
fn the_exporter_and_the_check_pass_restricted() {
    for (case, all) in every_case() {
        let pods = pods(&all);
        let rest: Vec<_> = pods
            .iter()
            .filter(|pod| pod.component != "prober")
            .collect();
        assert!(!rest.is_empty());
        for pod in rest {
            let found: Vec<_> = baseline(&pod.spec)
                .into_iter()
                .chain(restricted(&pod.spec))
                .collect();
            assert_eq!(found, [""; 0], "{case}: {}", pod.component);
        }
    }
}

/// The prober leaves `baseline` for the node's network, `NET_RAW` and probes of the node's
/// loopback, and for nothing else; as root it leaves `restricted` for that alone besides.
#[test]
fn the_prober_breaks_only_the_rules_that_it_must() {
    for (case, all) in every_case() {
        let pods = pods(&all);
        let prober = pods.iter().find(|pod| pod.component == "prober").unwrap();
        assert_eq!(
            baseline(&prober.spec),
            [
                "hostNetwork",
                "adds NET_RAW",
                "livenessProbe names a host",
                "readinessProbe names a host"
            ],
            "{case}"
        );
        let as_root: &[&str] = if case == "everything" {
            &["runAsNonRoot", "runs as root"]
        } else {
            &[]
        };
        assert_eq!(restricted(&prober.spec), as_root, "{case}");
        let container = &prober.spec["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(
            container["securityContext"]["capabilities"]["add"],
            json!(["NET_RAW"])
        );
        let namespace = all.iter().find(|o| o["kind"] == "Namespace").unwrap();
        assert_eq!(
            namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
            "privileged"
        );
    }
}

/// Breaks one rule.
type Change = fn(&mut Value);

#[test]
fn the_rules_find_what_they_look_for() {
    let all = all_objects(&example("staging"));
    let pods = pods(&all);
    let good = &pods
        .iter()
        .find(|pod| pod.component == "exporter")
        .unwrap()
        .spec;
    let changes: [(Change, &str); 10] = [
        (|s| s["hostPID"] = json!(true), "hostPID"),
        (
            |s| s["volumes"][0] = json!({ "name": "a", "hostPath": { "path": "/" } }),
            "hostPath",
        ),
        (
            |s| s["containers"][0]["securityContext"]["privileged"] = json!(true),
            "privileged",
        ),
        (
            |s| s["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["SYS_ADMIN"]),
            "adds SYS_ADMIN",
        ),
        (
            |s| s["containers"][0]["ports"][0]["hostPort"] = json!(1),
            "hostPort",
        ),
        (
            |s| s["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true),
            "allowPrivilegeEscalation",
        ),
        (
            |s| s["securityContext"]["runAsNonRoot"] = json!(false),
            "runAsNonRoot",
        ),
        (
            |s| s["securityContext"]["runAsUser"] = json!(0),
            "runs as root",
        ),
        (
            |s| s["securityContext"]["seccompProfile"]["type"] = json!("Unconfined"),
            "seccompProfile",
        ),
        (
            |s| s["containers"][0]["securityContext"]["capabilities"]["drop"] = json!([]),
            "does not drop ALL",
        ),
    ];
    for (change, word) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        let found: Vec<_> = baseline(&bad).into_iter().chain(restricted(&bad)).collect();
        assert!(found.iter().any(|f| f == word), "{word}: {found:?}");
    }
}

#[test]
fn the_prober_stands_where_it_belongs() {
    for (case, all) in every_case() {
        let name = if case == "everything" {
            "watch"
        } else {
            "pnwatch"
        };
        let daemons = object(&all, "DaemonSet", &format!("{name}-prober"));
        let spec = &daemons["spec"]["template"]["spec"];
        assert_eq!(spec["hostNetwork"], true);
        assert_eq!(spec["dnsPolicy"], "ClusterFirstWithHostNet");
        assert_eq!(spec["nodeSelector"]["kubernetes.io/os"], "linux");
        assert_eq!(spec["priorityClassName"], "system-node-critical");
        assert_eq!(spec["automountServiceAccountToken"], false);
        let label = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0";
        let expected = json!({ "key": "tuist.dev/pn-ipv4", "operator": "Exists" });
        assert_eq!(spec.pointer(label), Some(&expected));
        let cache = json!({ "key": "tuist.dev/runner-cache", "operator": "Exists" });
        assert!(spec["tolerations"].as_array().unwrap().contains(&cache));
        let update = &daemons["spec"]["updateStrategy"];
        assert!(
            update["rollingUpdate"].get("maxUnavailable").is_some(),
            "{update}"
        );
        let account = object(&all, "ServiceAccount", &format!("{name}-prober"));
        assert_eq!(account["automountServiceAccountToken"], false);
        let bound = all
            .iter()
            .filter(|o| o["kind"].as_str().unwrap().ends_with("RoleBinding"));
        for binding in bound {
            assert!(
                !binding["subjects"].to_string().contains("-prober"),
                "the prober has rights: {binding}"
            );
        }
    }
}

/// Every Pod of a Linux image keeps off Mac nodes, where a Pod is a virtual machine.
#[test]
fn no_pod_can_land_on_a_mac() {
    for (case, all) in every_case() {
        for pod in pods(&all) {
            assert_eq!(
                pod.spec["nodeSelector"]["kubernetes.io/os"], "linux",
                "{case}: {}",
                pod.component
            );
        }
    }
}
