use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    apply::{ApplyError, Writer, apply, track_update},
    fields::{decode, encode, leaves},
    merge::merge,
    schema::Schema,
    strategic,
};
use crate::kinds::Kind;

fn node() -> Schema {
    Schema::of(&Kind::builtin("", "v1", "nodes", "Node"))
}

fn writer(manager: &str, force: bool) -> Writer<'_> {
    Writer {
        manager,
        subresource: "",
        api_version: "v1",
        time: "t",
        force,
    }
}

fn applied(live: &Value, config: &Value, manager: &str) -> Value {
    apply(live, config, node(), &writer(manager, false)).unwrap()
}

/// The cases of RFC 7386, appendix A.
#[test]
fn merge_patch_is_the_rfc() {
    for (target, patch, result) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (
            json!({"a": "b"}),
            json!({"b": "c"}),
            json!({"a": "b", "b": "c"}),
        ),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (
            json!({"a": "b", "b": "c"}),
            json!({"a": null}),
            json!({"b": "c"}),
        ),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        ),
        (
            json!({"a": [{"b": "c"}]}),
            json!({"a": [1]}),
            json!({"a": [1]}),
        ),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (
            json!({"e": null}),
            json!({"a": 1}),
            json!({"e": null, "a": 1}),
        ),
        (
            json!([1, 2]),
            json!({"a": "b", "c": null}),
            json!({"a": "b"}),
        ),
        (
            json!({}),
            json!({"a": {"bb": {"ccc": null}}}),
            json!({"a": {"bb": {}}}),
        ),
    ] {
        let mut out = target.clone();
        merge(&mut out, &patch);
        assert_eq!(out, result, "{target} + {patch}");
    }
}

#[test]
fn strategic_merge_keeps_the_conditions_of_others() {
    let mut node_object = json!({"status": {"conditions": [
        {"type": "Ready", "status": "True", "reason": "KubeletReady"}, {"type": "Old", "status": "x"}]}});
    let patch = json!({"status": {
    "$setElementOrder/conditions": [{"type": "PN"}, {"type": "Ready"}],
    "conditions": [
        {"type": "Ready", "status": "False"},
        {"type": "PN", "status": "True"},
        {"type": "Old", "$patch": "delete"}
    ]}});
    strategic::merge(&mut node_object, &patch, node()).unwrap();
    assert_eq!(
        node_object["status"]["conditions"],
        json!([{"type": "PN", "status": "True"}, {"type": "Ready", "status": "False", "reason": "KubeletReady"}])
    );
}

#[test]
fn strategic_merge_directives() {
    for (target, patch, result) in [
        (
            json!({"spec": {"taints": [1, 2]}}),
            json!({"spec": {"taints": [3]}}),
            json!({"spec": {"taints": [3]}}),
        ),
        (
            json!({"spec": {"a": 1}}),
            json!({"spec": {"$patch": "replace", "b": 2}}),
            json!({"spec": {"b": 2}}),
        ),
        (
            json!({"spec": {"a": 1}, "x": 1}),
            json!({"spec": {"$patch": "delete"}}),
            json!({"x": 1}),
        ),
        (
            json!({"spec": {"a": 1, "b": 2}}),
            json!({"spec": {"$retainKeys": ["b"], "c": 3}}),
            json!({"spec": {"b": 2, "c": 3}}),
        ),
        (
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}),
            json!({"metadata": {"finalizers": ["b", "c"]}}),
        ),
        (
            json!({"status": {"conditions": [{"type": "A"}]}}),
            json!({"status": {"conditions": [{"type": "B"}, {"$patch": "replace"}]}}),
            json!({"status": {"conditions": [{"type": "B"}]}}),
        ),
    ] {
        let mut out = target.clone();
        strategic::merge(&mut out, &patch, node()).unwrap();
        assert_eq!(out, result, "{target} + {patch}");
    }
    let unkeyed = json!({"status": {"conditions": [{"status": "True"}]}});
    assert!(
        strategic::merge(&mut json!({"status": {"conditions": []}}), &unkeyed, node()).is_err()
    );
}

#[test]
fn apply_owns_merges_and_prunes() {
    let kubelet = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let mut live = kubelet.clone();
    track_update(&Value::Null, &mut live, node(), &writer("kubelet", false));
    let ours = json!({"status": {"conditions": [{"type": "PN", "status": "True", "reason": "x"}]}});
    let live = applied(&live, &ours, "pnwatch");
    assert_eq!(live["status"]["conditions"].as_array().unwrap().len(), 2);
    // A field that is applied no more goes; the kubelet's stay.
    let live = applied(
        &live,
        &json!({"status": {"conditions": [{"type": "PN", "status": "False"}]}}),
        "pnwatch",
    );
    assert_eq!(
        live["status"]["conditions"][1],
        json!({"type": "PN", "status": "False"})
    );
    // So does the whole item.
    let live = applied(&live, &json!({"status": {}}), "pnwatch");
    assert_eq!(
        live["status"]["conditions"],
        kubelet["status"]["conditions"]
    );
}

#[test]
fn apply_conflicts_unless_equal_or_forced() {
    let live = applied(
        &json!({}),
        &json!({"metadata": {"labels": {"a": "1"}}}),
        "first",
    );
    applied(
        &live,
        &json!({"metadata": {"labels": {"a": "1"}}}),
        "second",
    );
    let other = json!({"metadata": {"labels": {"a": "2"}}});
    let Err(ApplyError::Conflicts(conflicts)) =
        apply(&live, &other, node(), &writer("second", false))
    else {
        panic!("a conflict was due");
    };
    assert_eq!(conflicts[0].manager, "first");
    assert_eq!(conflicts[0].field, ".metadata.labels.a");
    let forced = apply(&live, &other, node(), &writer("second", true)).unwrap();
    assert_eq!(forced["metadata"]["labels"]["a"], "2");
    let managers = forced["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(
        managers.len(),
        1,
        "the first owner has lost its only field: {managers:?}"
    );
}

#[test]
fn a_shared_field_survives_one_owner() {
    let live = applied(
        &json!({}),
        &json!({"metadata": {"labels": {"a": "1", "b": "1"}}}),
        "first",
    );
    let live = applied(
        &live,
        &json!({"metadata": {"labels": {"a": "1"}}}),
        "second",
    );
    let live = applied(&live, &json!({"metadata": {"labels": {}}}), "first");
    assert_eq!(live["metadata"]["labels"], json!({"a": "1"}));
}

#[test]
fn an_applied_list_needs_its_keys() {
    for bad in [
        json!([{"status": "True"}]),
        json!([{"type": "A"}, {"type": "A"}]),
        json!([7]),
    ] {
        let config = json!({"status": {"conditions": bad}});
        assert!(matches!(
            apply(&json!({}), &config, node(), &writer("m", false)),
            Err(ApplyError::Malformed(_))
        ));
    }
}

#[test]
fn field_sets_in_their_wire_form() {
    let object = json!({
        "metadata": {"name": "n", "finalizers": ["f"], "labels": {"a/b": "1"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    let set = leaves(&object, node()).into_keys().collect();
    let wire = encode(&set);
    assert_eq!(
        wire,
        json!({
            "f:metadata": {"f:finalizers": {"v:\"f\"": {}}, "f:labels": {"f:a/b": {}}},
            "f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:type": {}, "f:status": {}}}},
        })
    );
    assert_eq!(decode(&wire), set);
}

/// Any JSON with names that the rules know, so that the odd shapes meet the special lists.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("status".to_owned()),
        Just("conditions".to_owned()),
        Just("type".to_owned()),
        Just("metadata".to_owned()),
        Just("finalizers".to_owned()),
        Just("$patch".to_owned()),
        Just("managedFields".to_owned()),
        Just("fieldsV1".to_owned()),
        Just("manager".to_owned()),
        Just("$retainKeys".to_owned()),
        Just("$setElementOrder/conditions".to_owned()),
        Just("f:status".to_owned()),
        Just("k:{".to_owned()),
        "[a-b]"
    ];
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[a-b]{0,2}".prop_map(Value::from),
        Just(json!("delete")),
        Just(json!("replace")),
    ];
    scalar.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Nothing panics on any input, and what is applied twice is the same as once.
    #[test]
    fn patches_are_total(live in any_json(), patch in any_json()) {
        let mut merged = live.clone();
        merge(&mut merged, &patch);
        let once = merged.clone();
        merge(&mut merged, &patch);
        prop_assert_eq!(&merged, &once);
        let _ = strategic::merge(&mut live.clone(), &patch, node());
        let mut tracked = patch.clone();
        track_update(&live, &mut tracked, node(), &writer("m", false));
        if let Ok(first) = apply(&live, &patch, node(), &writer("m", true)) {
            let second = apply(&first, &patch, node(), &writer("m", true)).unwrap();
            prop_assert_eq!(first, second);
        }
    }
}
