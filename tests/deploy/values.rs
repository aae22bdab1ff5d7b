//! The values, their schema, and what it refuses.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::chart::{all_objects, chart, files, merged, root, text, values, yaml};
use crate::schema::faults;

fn schema() -> Value {
    serde_json::from_str(&chart()["values.schema.json"]).unwrap()
}

/// Values that switch everything on: every key of the configuration that the chart knows.
pub(crate) fn everything() -> Value {
    values(&text("tests/deploy/everything.yaml"))
}

pub(crate) const EXAMPLES: [&str; 3] = ["staging", "production", "prober-only"];

pub(crate) fn example(name: &str) -> Value {
    values(&text(&format!("deploy/helm/examples/{name}.yaml")))
}

/// What each example renders, and what [`everything`] does.
pub(crate) fn every_case() -> Vec<(&'static str, Vec<Value>)> {
    let mut cases: Vec<_> = EXAMPLES
        .iter()
        .map(|name| (*name, all_objects(&example(name))))
        .collect();
    cases.push(("everything", all_objects(&everything())));
    cases
}

#[test]
fn good_values_pass() {
    let schema = schema();
    for name in EXAMPLES {
        assert_eq!(faults(&schema, &example(name)), [""; 0], "{name}");
    }
    assert_eq!(faults(&schema, &everything()), [""; 0]);
}

/// The defaults alone lack only what nobody can guess.
#[test]
fn the_defaults_lack_the_cluster_and_the_image() {
    let found = faults(&schema(), &values("{}"));
    let paths: Vec<&str> = found.iter().filter_map(|f| f.split(':').next()).collect();
    assert_eq!(paths, ["/cluster", "/image/repository"], "{found:?}");
}

/// Each file's first line is `# says: ` and what must be said, and nothing else is.
#[test]
fn wrong_values_are_refused_with_clear_words() {
    let wrong = files(&root().join("tests/deploy/wrong"));
    assert!(wrong.len() >= 10, "{}", wrong.len());
    for (name, given) in wrong {
        let expected = given
            .lines()
            .next()
            .unwrap()
            .strip_prefix("# says: ")
            .unwrap_or("");
        let found = faults(
            &schema(),
            &merged(&yaml(&chart()["values.yaml"]), &yaml(&given)),
        );
        assert!(
            !expected.is_empty() && found.len() == 1,
            "{name}: {found:?}"
        );
        assert!(found[0].starts_with(expected), "{name}: {:?}", found[0]);
    }
}

fn same_keys(value: &Value, schema: &Value, path: &str, missing: &mut Vec<String>) {
    let Some(named) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (key, rule) in named {
        match value.get(key) {
            Some(inner) => same_keys(inner, rule, &format!("{path}/{key}"), missing),
            None => missing.push(format!("{path}/{key}")),
        }
    }
}

/// A key that the schema knows stands in values.yaml with its comment, or is a key of the
/// configuration that the chart hands on; those all stand in everything.yaml.
#[test]
fn the_schema_and_the_values_name_the_same_keys() {
    let mut missing = Vec::new();
    same_keys(&values("{}"), &schema(), "", &mut missing);
    missing.retain(|path| {
        path != "/global"
            && !path.starts_with("/exporter/kubernetes/")
            && !path.starts_with("/exporter/pace/")
    });
    assert_eq!(missing, [""; 0]);
    let mut handed_on = Vec::new();
    same_keys(&everything(), &schema(), "", &mut handed_on);
    assert_eq!(handed_on, ["/global"]);
    let unnamed = faults(&schema(), &values("cluster: a\nimage: { repository: b }"));
    assert_eq!(
        unnamed, [""; 0],
        "values.yaml has a key that the schema does not know"
    );
}

/// The configuration's own keys, from its printed default.
#[test]
fn the_schema_knows_every_key_of_the_inventory_and_the_pace() {
    let default = text("edge/src/config/default.yaml");
    let keys = |from: &str, indent: usize| -> BTreeSet<String> {
        let pad = format!("#{}", " ".repeat(indent));
        default
            .lines()
            .skip_while(|line| !line.starts_with(from))
            .skip(1)
            .take_while(|line| {
                line.trim_start_matches('#')
                    .starts_with(&" ".repeat(indent))
            })
            .filter_map(|line| line.strip_prefix(&pad))
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
            .filter_map(|rest| Some(rest.split_once(':')?.0.to_owned()))
            .collect()
    };
    let known = |pointer: &str| -> BTreeSet<String> {
        let schema = schema();
        schema
            .pointer(pointer)
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    let inventory = keys("#    kubernetes:", 6);
    assert!(inventory.len() > 10, "{inventory:?}");
    let mut all = known("/properties/exporter/properties/kubernetes/properties");
    // What the chart sets itself.
    let own = [
        "kubeconfig",
        "pn_cidr",
        "audience",
        "prober_account",
        "condition_namespace",
        "names",
    ];
    all.extend(own.map(str::to_owned));
    assert_eq!(inventory, all);
    let pace = keys("#  pace:", 4);
    assert_eq!(
        pace,
        known("/properties/exporter/properties/pace/properties")
    );
}
