//! The public workflows: what they name is there, and the versions of everything agree.

use serde_json::Value;

use crate::chart::{files, root, text, yaml};

#[test]
fn workflows_name_jobs_and_files_that_are_there() {
    let workflows = files(&root().join(".github/workflows"));
    assert!(workflows.contains_key("ci.yml") && workflows.contains_key("release.yml"));
    for (name, content) in workflows {
        let workflow = yaml(&content);
        assert_eq!(
            workflow["permissions"]["contents"], "read",
            "{name}: rights are given job by job"
        );
        let jobs = workflow["jobs"].as_object().unwrap();
        for (job, about) in jobs {
            let needs = match &about["needs"] {
                Value::String(one) => vec![one.clone()],
                Value::Array(all) => all.iter().map(|n| n.as_str().unwrap().to_owned()).collect(),
                _ => Vec::new(),
            };
            assert!(
                needs.iter().all(|need| jobs.contains_key(need)),
                "{name}: {job}: {needs:?}"
            );
            for step in about["steps"].as_array().unwrap() {
                if let Some(action) = step.get("uses").and_then(Value::as_str) {
                    let (_, version) = action.split_once('@').unwrap();
                    assert!(
                        version.starts_with('v') || version.len() == 40,
                        "{name}: {action}"
                    );
                }
            }
        }
        for word in content.split(|c: char| c.is_whitespace() || "\"'`$();".contains(c)) {
            let word = word.trim_end_matches([',', ':']);
            if (word.starts_with("deploy/") || word.starts_with("tests/")) && !word.contains('*') {
                assert!(root().join(word).exists(), "{name} names {word}");
            }
        }
    }
}

#[test]
fn crates_chart_and_formula_have_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    let about = yaml(&text("deploy/helm/pnwatch/Chart.yaml"));
    assert_eq!(about["version"], version);
    assert_eq!(about["appVersion"], version);
    assert!(text("deploy/macos/pnwatch.rb").contains(&format!("version \"{version}\"")));
}

/// No host of a registry is written down: whoever releases sets it.
#[test]
fn registries_are_settings() {
    let release = text(".github/workflows/release.yml");
    assert!(release.contains("${{ vars.REGISTRY }}/pnwatch"));
    let mut places = files(&root().join("deploy"));
    places.insert("release.yml".to_owned(), release);
    for (name, content) in places {
        for host in [
            concat!("ghcr", ".io"),
            concat!("docker", ".io"),
            concat!("quay", ".io"),
            concat!("gcr", ".io"),
        ] {
            assert!(!content.contains(host), "{name} names {host}");
        }
    }
}
