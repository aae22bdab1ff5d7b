//! Callers, rights, `TokenReview` and the request log.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{client, client_with, status};
use k8s_openapi::api::{authentication::v1::TokenReview, core::v1::Node};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use pnwatch_kubeapi::{FakeApi, Identity, Rule, compare, objects};
use serde_json::json;

const ROLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: pnwatch-exporter}
rules:
  - {apiGroups: [""], resources: [nodes], verbs: [get, list]}
  - {apiGroups: [""], resources: [nodes/status], verbs: [patch]}
  - {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}
"#;

fn exporter(rules: &[Rule]) -> Identity {
    rules.iter().cloned().fold(
        Identity::service_account("pnwatch", "exporter"),
        Identity::allow,
    )
}

#[tokio::test]
async fn rights_are_checked_and_compared_both_ways() {
    let api = FakeApi::start();
    api.apply(objects::linux_node("n", "172.16.0.2")).unwrap();
    let role = pnwatch_kubeapi::documents(ROLE).unwrap().remove(0);
    let rules = Rule::of_role(&role);
    api.token("t", exporter(&rules));
    let client = client_with(&api, "t").await;
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.list(&ListParams::default()).await.unwrap();
    let patch = Patch::Strategic(json!({"status": {"conditions": []}}));
    nodes
        .patch_status("n", &PatchParams::default(), &patch)
        .await
        .unwrap();

    let refused = status(nodes.patch("n", &PatchParams::default(), &patch).await);
    assert!(refused.is_forbidden());
    assert_eq!(
        refused.message,
        "nodes \"n\" is forbidden: User \"system:serviceaccount:pnwatch:exporter\" cannot patch resource \"nodes\" \
         in API group \"\" at the cluster scope"
    );
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client, "kura");
    let refused = status(pods.list(&ListParams::default()).await);
    assert!(
        refused
            .message
            .ends_with("cannot list resource \"pods\" in API group \"\" in the namespace \"kura\"")
    );

    let compared = compare(&rules, &api.requests());
    let missing: Vec<_> = compared.missing.iter().map(String::as_str).collect();
    assert_eq!(missing, ["list pods in \"kura\"", "patch nodes in \"\""]);
    let unused: Vec<_> = compared.unused.iter().map(String::as_str).collect();
    assert_eq!(
        unused,
        [
            "create tokenreviews.authentication.k8s.io in None",
            "get nodes in None"
        ]
    );
}

#[tokio::test]
async fn rules_know_namespaces_and_names() {
    let api = FakeApi::start();
    let lease = |name: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": "kura"}});
    for name in ["mine", "theirs"] {
        api.apply(lease(name)).unwrap();
    }
    let role = json!({"kind": "Role", "metadata": {"namespace": "kura"}, "rules": [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["mine"], "verbs": ["get", "list"]}]});
    api.token("t", exporter(&Rule::of_role(&role)));
    let client = client_with(&api, "t").await;
    let leases =
        |ns: &str| Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(client.clone(), ns);
    leases("kura").get("mine").await.unwrap();
    assert!(status(leases("kura").get("theirs").await).is_forbidden());
    assert!(status(leases("default").get("mine").await).is_forbidden());
    assert!(status(leases("kura").list(&ListParams::default()).await).is_forbidden());
    let named = ListParams::default().fields("metadata.name=mine");
    assert_eq!(leases("kura").list(&named).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn callers_without_a_good_token() {
    let api = FakeApi::start();
    let nodes: Api<Node> = Api::all(client_with(&api, "nobody").await);
    let refused = status(nodes.list(&ListParams::default()).await);
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (401, "Unauthorized")
    );
    // A token for another audience is no credential here.
    api.token("prober", Identity::admin().audiences(&["pnwatch"]));
    let nodes: Api<Node> = Api::all(client_with(&api, "prober").await);
    assert_eq!(status(nodes.list(&ListParams::default()).await).code, 401);
    api.token("nobody", Identity::admin());
    let nodes: Api<Node> = Api::all(client_with(&api, "nobody").await);
    nodes.list(&ListParams::default()).await.unwrap();
    api.revoke("nobody");
    assert_eq!(status(nodes.list(&ListParams::default()).await).code, 401);
}

#[tokio::test]
async fn token_review_tells_pod_node_and_audience() {
    let api = FakeApi::start();
    let prober = Identity::service_account("pnwatch", "prober")
        .audiences(&["pnwatch"])
        .bound_to_pod("prober-x", "pod-uid")
        .bound_to_node("prod-kura-fleet-1", "node-uid");
    api.token("prober-token", prober);
    let reviews: Api<TokenReview> = Api::all(client(&api).await);
    let review = async |token: &str, audience: &str| {
        let ask = json!({"metadata": {}, "spec": {"token": token, "audiences": [audience]}});
        let answer = reviews
            .create(
                &PostParams::default(),
                &serde_json::from_value(ask).unwrap(),
            )
            .await
            .unwrap();
        answer.status.unwrap()
    };
    let good = review("prober-token", "pnwatch").await;
    assert_eq!(
        (good.authenticated, good.audiences),
        (Some(true), Some(vec!["pnwatch".to_owned()]))
    );
    let user = good.user.unwrap();
    assert_eq!(
        user.username.as_deref(),
        Some("system:serviceaccount:pnwatch:prober")
    );
    let extra = user.extra.unwrap();
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], ["prober-x"]);
    assert_eq!(
        extra["authentication.kubernetes.io/node-name"],
        ["prod-kura-fleet-1"]
    );
    for (token, audience) in [("prober-token", "other"), ("forged", "pnwatch")] {
        let bad = review(token, audience).await;
        assert!(
            bad.authenticated != Some(true) && bad.error.is_some(),
            "{bad:?}"
        );
    }
    api.revoke("prober-token");
    assert_ne!(
        review("prober-token", "pnwatch").await.authenticated,
        Some(true)
    );
}

#[tokio::test]
async fn one_kind_forbidden_leaves_the_others() {
    let api = FakeApi::start();
    let client = client(&api).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::all(client);
    let fault = api.faults().forbid("nodes");
    let refused = status(nodes.list(&ListParams::default()).await);
    assert!(
        refused.is_forbidden() && refused.message.contains("User \"kubernetes-admin\""),
        "{refused:?}"
    );
    pods.list(&ListParams::default()).await.unwrap();
    api.faults().end(fault);
    nodes.list(&ListParams::default()).await.unwrap();
}
