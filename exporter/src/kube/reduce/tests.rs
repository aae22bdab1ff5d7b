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
