//! The shipped roles against the requests that are made, both ways.

use std::time::Duration;

use pnwatch_exporter::kube::{Reviewer, connect};
use pnwatch_kubeapi::{FakeApi, Identity, Rule, compare, documents};
use serde_json::Value;

use crate::common::{SinceObjects, Watching, small};

const EXPORTER: &str = include_str!("../../../deploy/rbac/exporter.yaml");
pub(crate) const CONDITION: &str = include_str!("../../../deploy/rbac/condition.yaml");
const MACHINES: &str = include_str!("../../../deploy/rbac/machines.yaml");

pub(crate) fn rules(files: &[&str]) -> Vec<Rule> {
    let is_role = |o: &Value| matches!(o["kind"].as_str(), Some("Role" | "ClusterRole"));
    files
        .iter()
        .flat_map(|text| documents(text).unwrap())
        .filter(is_role)
        .flat_map(|role| Rule::of_role(&role))
        .collect()
}

/// A watch under the given rules until it is fresh, with every watch opened, and a token asked about.
async fn used(api: &FakeApi, rules: &[Rule], more: &[&str], kinds: usize) {
    let identity = rules.iter().cloned().fold(
        Identity::service_account("pnwatch", "pnwatch-exporter"),
        Identity::allow,
    );
    api.token("exporter", identity);
    let mut watching = Watching::with(api, "exporter", more).await;
    watching.targets(1).await;
    let client = connect(Some(&watching.kubeconfig)).await.unwrap();
    let clock = SinceObjects::shared();
    let reviewer = Reviewer::new(client, "pnwatch", "pnwatch/pnwatch-prober", clock);
    let _ = reviewer
        .vantage(&crate::identity::token("pnwatch", 3600, "x"))
        .await;
    let open = || api.requests().iter().filter(|r| r.verb == "watch").count();
    let opened = async {
        while open() < kinds {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let within = tokio::time::timeout(crate::common::DEADLINE, opened).await;
    assert!(within.is_ok(), "only {} watches were opened", open());
}

#[tokio::test]
async fn granted_rights_are_used_and_used_rights_are_granted() {
    for (files, more, kinds) in [
        (vec![EXPORTER], vec![], 8),
        (vec![EXPORTER, MACHINES], vec!["machines: true"], 9),
    ] {
        let (api, _) = small();
        let rules = rules(&files);
        assert!(!rules.is_empty());
        used(&api, &rules, &more, kinds).await;
        let compared = compare(&rules, &api.requests());
        assert_eq!(
            compared.missing.len() + compared.unused.len(),
            0,
            "{compared:#?}"
        );
        let refused: Vec<_> = api
            .requests()
            .into_iter()
            .filter(|r| r.code == 403)
            .collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }
}

#[test]
fn every_role_is_bound_to_the_exporter() {
    let all: Vec<Value> = [EXPORTER, MACHINES, CONDITION]
        .iter()
        .flat_map(|text| documents(text).unwrap())
        .collect();
    for role in all
        .iter()
        .filter(|o| matches!(o["kind"].as_str(), Some("Role" | "ClusterRole")))
    {
        let binding = all.iter().find(|o| {
            o["roleRef"]["kind"] == role["kind"]
                && o["roleRef"]["name"] == role["metadata"]["name"]
                && o["metadata"]["namespace"] == role["metadata"]["namespace"]
        });
        let binding = binding.unwrap_or_else(|| panic!("no binding of {}", role["metadata"]));
        assert_eq!(binding["subjects"][0]["name"], "pnwatch-exporter");
        assert_eq!(binding["subjects"][0]["namespace"], "pnwatch");
    }
}
