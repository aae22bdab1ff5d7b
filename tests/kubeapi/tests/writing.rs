//! Create, update, delete and the three patch languages by the real `kube` client.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{client, status};
use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::Node},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, GroupVersionKind},
};
use pnwatch_kubeapi::{FakeApi, objects};
use serde_json::{Value, json};

const CONDITION: &str = "PrivateNetworkReachable";

async fn one_node() -> (FakeApi, Api<Node>, Client) {
    let api = FakeApi::start();
    api.apply(objects::linux_node("n", "172.16.0.2")).unwrap();
    let client = client(&api).await;
    (api, Api::all(client.clone()), client)
}

fn condition(state: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "status": {"conditions": [{
        "type": CONDITION, "status": state, "reason": "Probed", "message": "m",
        "lastHeartbeatTime": "2026-06-01T08:00:00Z", "lastTransitionTime": "2026-06-01T08:00:00Z",
    }]}})
}

fn types(node: &Node) -> Vec<String> {
    let conditions = node
        .status
        .clone()
        .unwrap_or_default()
        .conditions
        .unwrap_or_default();
    conditions.into_iter().map(|c| c.type_).collect()
}

const KUBELETS: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

#[tokio::test]
async fn strategic_merge_keeps_the_kubelets_conditions() {
    let (_api, nodes, _) = one_node().await;
    for state in ["True", "False"] {
        let patch = Patch::Strategic(condition(state));
        let node = nodes
            .patch_status("n", &PatchParams::default(), &patch)
            .await
            .unwrap();
        let mut expected = KUBELETS.to_vec();
        expected.push(CONDITION);
        assert_eq!(types(&node), expected);
        assert_eq!(node.status.unwrap().conditions.unwrap()[4].status, state);
    }
}

#[tokio::test]
async fn json_merge_patch_replaces_all_conditions() {
    let (_api, nodes, _) = one_node().await;
    let node = nodes
        .patch_status(
            "n",
            &PatchParams::default(),
            &Patch::Merge(condition("True")),
        )
        .await
        .unwrap();
    assert_eq!(types(&node), [CONDITION]);
}

#[tokio::test]
async fn server_side_apply_and_the_kubelet_write_at_once() {
    let (_api, nodes, _) = one_node().await;
    let ours = PatchParams::apply("pnwatch");
    nodes
        .patch_status("n", &ours, &Patch::Apply(condition("True")))
        .await
        .unwrap();
    // The kubelet patches its own condition, strategically, and then ours flips: both survive.
    let kubelet = PatchParams {
        field_manager: Some("kubelet".into()),
        ..PatchParams::default()
    };
    let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]}});
    nodes
        .patch_status("n", &kubelet, &Patch::Strategic(not_ready))
        .await
        .unwrap();
    let node = nodes
        .patch_status("n", &ours, &Patch::Apply(condition("False")))
        .await
        .unwrap();
    assert_eq!(types(&node).len(), 5);
    let conditions = node.status.clone().unwrap().conditions.unwrap();
    assert_eq!(
        (conditions[3].status.as_str(), conditions[4].status.as_str()),
        ("False", "False")
    );
    let managers: Vec<_> = node
        .managed_fields()
        .iter()
        .map(|m| {
            (
                m.manager.clone().unwrap(),
                m.operation.clone().unwrap(),
                m.subresource.clone().unwrap_or_default(),
            )
        })
        .collect();
    assert!(
        managers.contains(&("pnwatch".into(), "Apply".into(), "status".into())),
        "{managers:?}"
    );
    assert!(
        managers.contains(&("kubelet".into(), "Update".into(), "status".into())),
        "{managers:?}"
    );

    // What the kubelet wrote is the kubelet's.
    let theirs = json!({"apiVersion": "v1", "kind": "Node", "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let refused = status(
        nodes
            .patch_status("n", &PatchParams::apply("other"), &Patch::Apply(&theirs))
            .await,
    );
    assert!(
        refused.is_conflict() && refused.message.contains("conflict with \"kubelet\""),
        "{refused:?}"
    );
    let cause = &refused.details.unwrap().causes[0];
    assert_eq!(
        (cause.reason.as_str(), cause.field.as_str()),
        (
            "FieldManagerConflict",
            ".status.conditions[type=\"Ready\"].status"
        )
    );
    let forced = nodes
        .patch_status(
            "n",
            &PatchParams::apply("other").force(),
            &Patch::Apply(&theirs),
        )
        .await
        .unwrap();
    assert_eq!(forced.status.unwrap().conditions.unwrap()[3].status, "True");

    // Applying nothing more takes our condition away, and only ours.
    let nothing = json!({"apiVersion": "v1", "kind": "Node"});
    let node = nodes
        .patch_status("n", &ours, &Patch::Apply(nothing))
        .await
        .unwrap();
    assert_eq!(types(&node), KUBELETS);
}

#[tokio::test]
async fn a_write_of_nothing_keeps_the_version() {
    let (_api, nodes, _) = one_node().await;
    for patch in [
        Patch::Strategic(condition("True")),
        Patch::Apply(condition("True")),
    ] {
        let ours = PatchParams::apply("pnwatch");
        let ours = if matches!(patch, Patch::Apply(_)) {
            ours
        } else {
            PatchParams {
                force: false,
                ..ours
            }
        };
        let once = nodes.patch_status("n", &ours, &patch).await.unwrap();
        let twice = nodes.patch_status("n", &ours, &patch).await.unwrap();
        assert_eq!(once.resource_version(), twice.resource_version());
    }
}

#[tokio::test]
async fn spec_and_status_have_separate_doors() {
    let (api, nodes, client) = one_node().await;
    let both = json!({"spec": {"unschedulable": true}, "status": {"conditions": []}});
    let node = nodes
        .patch_status("n", &PatchParams::default(), &Patch::Merge(&both))
        .await
        .unwrap();
    assert_eq!(node.spec.unwrap().unschedulable, None);
    assert!(types(&nodes.get("n").await.unwrap()).is_empty());
    let node = nodes
        .patch(
            "n",
            &PatchParams::default(),
            &Patch::Merge(&json!({"spec": {"unschedulable": true}, "status": {"phase": "x"}})),
        )
        .await
        .unwrap();
    assert_eq!(node.spec.unwrap().unschedulable, Some(true));
    assert_eq!(node.status.unwrap().phase, None);

    // A custom resource counts the changes of its spec and loses its status on create.
    let instance = objects::Instance::new("tuist", "n", "172.16.0.2", 30815).june();
    api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kura"}}))
        .unwrap();
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("kura.tuist.dev", "v1alpha1", "KuraInstance"),
        "kurainstances",
    );
    let instances: Api<DynamicObject> = Api::namespaced_with(client, "kura", &kind);
    let created = instances
        .create(
            &PostParams::default(),
            &serde_json::from_value(instance.clone()).unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(
        (created.metadata.generation, created.data.get("status")),
        (Some(1), None)
    );
    let name = created.name_any();
    let report = instances
        .patch_status(
            &name,
            &PatchParams::default(),
            &Patch::Merge(&json!({"status": instance["status"]})),
        )
        .await
        .unwrap();
    assert_eq!(
        (
            report.metadata.generation,
            &report.data["status"]["nodeAddress"]
        ),
        (Some(1), &json!("172.16.0.2"))
    );
    let changed = instances
        .patch(
            &name,
            &PatchParams::default(),
            &Patch::Merge(&json!({"spec": {"replicas": 2}})),
        )
        .await
        .unwrap();
    assert_eq!(changed.metadata.generation, Some(2));
    let refused = status(
        instances
            .patch(
                &name,
                &PatchParams::default(),
                &Patch::Strategic(&json!({})),
            )
            .await,
    );
    assert_eq!(
        refused.code, 415,
        "custom resources know no strategic merge"
    );
}

#[tokio::test]
async fn a_lease_changes_hands_once() {
    let api = FakeApi::start();
    let leases: Api<Lease> = Api::namespaced(client(&api).await, "default");
    let lease = |holder: &str| -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": "pnwatch"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 0},
        }))
        .unwrap()
    };
    let post = PostParams::default();
    let mut held = leases.create(&post, &lease("a")).await.unwrap();
    let refused = status(leases.create(&post, &lease("b")).await);
    assert!(refused.is_already_exists(), "{refused:?}");
    assert_eq!(
        refused.message,
        "leases.coordination.k8s.io \"pnwatch\" already exists"
    );

    // Two read, both write: the second is told so.
    let mut rival = leases.get("pnwatch").await.unwrap();
    held.spec.as_mut().unwrap().renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
    let renewed = leases.replace("pnwatch", &post, &held).await.unwrap();
    rival.spec.as_mut().unwrap().holder_identity = Some("b".into());
    let refused = status(leases.replace("pnwatch", &post, &rival).await);
    assert!(
        refused.is_conflict() && refused.message.contains("the object has been modified"),
        "{refused:?}"
    );
    assert_eq!(
        status(leases.replace("pnwatch", &post, &lease("b")).await).code,
        422,
        "a Lease needs its version"
    );
    rival.metadata.resource_version = renewed.resource_version();
    let taken = leases.replace("pnwatch", &post, &rival).await.unwrap();
    assert_eq!(taken.spec.unwrap().holder_identity.as_deref(), Some("b"));
    let stale = json!({"metadata": {"resourceVersion": renewed.resource_version()}, "spec": {"holderIdentity": "a"}});
    assert!(
        status(
            leases
                .patch("pnwatch", &PatchParams::default(), &Patch::Merge(stale))
                .await
        )
        .is_conflict()
    );
}

#[tokio::test]
async fn delete_minds_preconditions_and_finalizers() {
    let (api, nodes, _) = one_node().await;
    let wrong = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some("other".into()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    assert!(status(nodes.delete("n", &wrong).await).is_conflict());
    let hold = json!({"metadata": {"finalizers": ["example.dev/hold"]}});
    nodes
        .patch("n", &PatchParams::default(), &Patch::Merge(hold))
        .await
        .unwrap();
    let marked = nodes
        .delete("n", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some() && api.get("nodes", "", "n").is_some());
    let free = json!({"metadata": {"finalizers": null}});
    nodes
        .patch("n", &PatchParams::default(), &Patch::Merge(free))
        .await
        .unwrap();
    assert!(api.get("nodes", "", "n").is_none());
    let refused = status(nodes.delete("n", &DeleteParams::default()).await);
    assert_eq!(
        (refused.message.as_str(), refused.reason.as_str()),
        ("nodes \"n\" not found", "NotFound")
    );
}

#[tokio::test]
async fn both_event_apis_show_one_event() {
    let api = FakeApi::start();
    let client = client(&api).await;
    let new: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(client.clone(), "default");
    let old: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(client, "default");
    let event = serde_json::from_value(json!({
        "metadata": {"generateName": "n."}, "eventTime": "2026-06-01T08:00:00.000000Z", "type": "Warning",
        "action": "Probe", "reason": "Unreachable", "note": "pn0 lost its address",
        "regarding": {"kind": "Node", "name": "n"}, "reportingController": "pnwatch", "reportingInstance": "p",
    }))
    .unwrap();
    let written = new.create(&PostParams::default(), &event).await.unwrap();
    assert_eq!(written.note.as_deref(), Some("pn0 lost its address"));
    let seen = old
        .list(&ListParams::default().fields("involvedObject.name=n"))
        .await
        .unwrap();
    assert_eq!(
        seen.items[0].message.as_deref(),
        Some("pn0 lost its address")
    );
    assert_eq!(
        new.get(&seen.items[0].name_any())
            .await
            .unwrap()
            .regarding
            .unwrap()
            .name
            .as_deref(),
        Some("n")
    );
}

#[tokio::test]
async fn dry_runs_store_nothing() {
    let (api, nodes, _) = one_node().await;
    let before = api.get("nodes", "", "n");
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let shown = nodes
        .patch_status("n", &dry, &Patch::Strategic(condition("True")))
        .await
        .unwrap();
    assert_eq!(types(&shown).len(), 5);
    assert_eq!(api.get("nodes", "", "n"), before);
}

#[tokio::test]
async fn an_old_crd_prunes_what_it_does_not_know() {
    let api = FakeApi::start();
    let instance = objects::Instance::new("tuist", "n", "172.16.0.2", 30985);
    api.apply(objects::kura_crd(&["phase", "nodeAddress", "nodePortHTTP"]))
        .unwrap();
    api.apply(instance.pruned()).unwrap();
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("kura.tuist.dev", "v1alpha1", "KuraInstance"),
        "kurainstances",
    );
    let instances: Api<DynamicObject> = Api::namespaced_with(client(&api).await, "kura", &kind);
    for patch in [
        Patch::Merge(instance.later()),
        Patch::Apply(instance.later()),
    ] {
        let by = PatchParams {
            field_manager: Some("controller".into()),
            ..PatchParams::default()
        };
        let after = instances
            .patch_status(&instance.name(), &by, &patch)
            .await
            .unwrap();
        assert_eq!(after.data["status"]["nodeAddress"], "172.16.0.2");
        assert_eq!(after.data["status"].get("nodePortCache"), None);
        assert_eq!(after.data["spec"]["accountHandle"], "tuist");
    }
    api.apply(objects::kura_crd(&[
        "phase",
        "nodeAddress",
        "nodePortCache",
    ]))
    .unwrap();
    let newer = Patch::Merge(instance.later());
    let after = instances
        .patch_status(&instance.name(), &PatchParams::default(), &newer)
        .await
        .unwrap();
    assert_eq!(after.data["status"]["nodePortCache"], 30985);
}
