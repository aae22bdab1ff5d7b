use pnwatch_core::bandwidth::BitRate;
use pnwatch_core::kube::object::{Kind, Object};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::entry;

const KINDS: &[Kind] = Kind::ALL;

#[test]
fn a_wrong_type_is_left_out_and_named() {
    let value = json!({
        "metadata": {"name": "kura-a", "namespace": "kura", "labels": 5},
        "spec": {"accountHandle": "acme", "exposeNodePort": "yes", "tenantID": null},
        "status": {"nodePortCache": 70000, "lastReconciledAt": "yesterday"},
    });
    let entry = entry(Kind::Instance, &value, "p");
    let Some(Object::Instance(instance)) = entry.object else {
        panic!("skipped: {:?}", entry.problems);
    };
    assert_eq!(instance.account.as_deref(), Some("acme"));
    assert_eq!((instance.expose, instance.port_cache), (None, None));
    assert_eq!(
        entry.problems,
        [
            "metadata.labels is a number, expected names with texts",
            "spec.exposeNodePort is a text, expected true or false",
            "status.lastReconciledAt is a text, expected a time of RFC 3339",
            "status.nodePortCache is a number, expected a port",
        ]
    );
}

#[test]
fn an_egress_cap_is_read_of_pod_and_instance_or_named() {
    let name = "kubernetes.io/egress-bandwidth";
    for (written, bits, problem) in [
        (json!("750M"), Some(750_000_000), None),
        (json!("1.5G"), Some(1_500_000_000), None),
        (json!(null), None, None),
        (json!("750 Mbit/s"), None, Some("a text")),
        (json!("0"), None, Some("a text")),
        (json!("9".repeat(5_000)), None, Some("a text")),
        (json!(750_000_000), None, Some("a number")),
        (json!({"M": 750}), None, Some("fields")),
    ] {
        let pod = json!({"metadata": {"name": "kura-a-0", "annotations": {name: written}}});
        let read = entry(Kind::Pod, &pod, "p");
        let Some(Object::Pod(pod)) = read.object else {
            panic!("skipped: {:?}", read.problems);
        };
        assert_eq!(pod.egress_cap.map(BitRate::bits), bits);
        let told = |at: &str, found| {
            format!("{at}.{name} is {found}, expected a rate in bits per second like 750M")
        };
        let expected: Vec<_> = problem
            .map(|p| told("metadata.annotations", p))
            .into_iter()
            .collect();
        assert_eq!(read.problems, expected);
        let instance =
            json!({"metadata": {"name": "kura-a"}, "spec": {"podAnnotations": {name: written}}});
        let read = entry(Kind::Instance, &instance, "p");
        let Some(Object::Instance(instance)) = read.object else {
            panic!("skipped: {:?}", read.problems);
        };
        assert_eq!(instance.egress_cap.map(BitRate::bits), bits);
        let expected: Vec<_> = problem
            .map(|p| told("spec.podAnnotations", p))
            .into_iter()
            .collect();
        assert_eq!(read.problems, expected);
    }
    let wrong = json!({"metadata": {"name": "kura-a"}, "spec": {"podAnnotations": ["750M"]}});
    let read = entry(Kind::Instance, &wrong, "p");
    assert_eq!(
        read.problems,
        ["spec.podAnnotations is a list, expected names with texts"]
    );
}

#[test]
fn an_object_without_a_name_is_skipped_and_named() {
    for value in [
        json!("an object that is a text"),
        json!({"metadata": "text"}),
        json!({"metadata": {"name": "a b\n"}}),
        json!({}),
        json!(null),
    ] {
        let entry = entry(Kind::Pod, &value, "p");
        assert_eq!(entry.object, None, "{value}");
        assert!(!entry.problems.is_empty(), "{value}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("2026-09-21T09:14:30Z")),
    ];
    let names = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("status"),
        Just("name"),
        Just("namespace"),
        Just("labels"),
        Just("conditions"),
        Just("type"),
        Just("ports"),
        Just("containers"),
        Just("endpoints"),
        Just("ingress"),
        Just("from"),
        Just("ipBlock"),
        Just("versions"),
        Just("nodePortCache"),
        Just("schema"),
        Just("openAPIV3Schema"),
        Just("properties"),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_is_reduced_without_a_panic(value in any_json(), name in any::<bool>()) {
        let mut value = value;
        if name && let Value::Object(map) = &mut value {
            map.insert("metadata".into(), json!({"name": "x"}));
        }
        for kind in KINDS {
            let entry = entry(*kind, &value, "p");
            prop_assert!(entry.object.is_some() || !entry.problems.is_empty());
        }
    }
}
