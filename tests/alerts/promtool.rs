//! Freshness of the generated files, and promtool's word on all three forms.

use std::fs;
use std::path::Path;

use pnwatch_core::rules::{Form, Settings, emit, grafana, groups};
use serde_json::{Value, json};

use crate::files::{alerts, both, list, names, run, succeed, text, word, yaml};

#[test]
fn committed_rules_are_what_the_tables_say() {
    let settings = Settings::default();
    let recorded = groups(&settings, Form::Recorded);
    for (file, fresh) in [
        ("rules.yaml", emit::prometheus(&recorded)),
        ("prometheusrule.yaml", emit::prometheus_rule(&recorded)),
        (
            "grafana-rules.json",
            grafana::provisioning(&groups(&settings, Form::Inline)),
        ),
    ] {
        assert!(
            text(file) == fresh,
            "alerts/{file} is stale: pnwatch rules --write alerts"
        );
    }
}

#[test]
fn the_command_agrees_and_tells_a_stale_file_by_exit_code_1() {
    let command = env!("CARGO_BIN_EXE_pnwatch");
    let told = succeed(command, &alerts(), &["rules", "--check", "."]);
    assert!(told.contains("fresh"), "{told}");
    let folder = tempfile::tempdir().unwrap();
    succeed(command, folder.path(), &["rules", "--write", "."]);
    fs::write(folder.path().join("rules.yaml"), "groups: []\n").unwrap();
    let stale = run(command, folder.path(), &["rules", "--check", "."]);
    assert_eq!(stale.status.code(), Some(1), "{}", both(&stale));
    assert!(
        both(&stale).contains("rules.yaml: differs from line 1"),
        "{}",
        both(&stale)
    );
}

#[test]
fn promtool_accepts_rules_and_prometheusrule_and_both_say_the_same() {
    let told = succeed("promtool", &alerts(), &["check", "rules", "rules.yaml"]);
    assert!(told.contains("SUCCESS"), "{told}");
    let object = yaml("prometheusrule.yaml");
    assert_eq!(word(&object, "apiVersion"), "monitoring.coreos.com/v1");
    assert_eq!(word(&object, "kind"), "PrometheusRule");
    assert_eq!(object["spec"], yaml("rules.yaml"));
}

/// The folder that promtool's cases expect: rules beside `tests/`.
fn lay(folder: &Path, rules: &str) {
    fs::create_dir(folder.join("tests")).unwrap();
    fs::write(folder.join("rules.yaml"), rules).unwrap();
    for name in names("tests", "yaml") {
        fs::write(
            folder.join("tests").join(&name),
            text(Path::new("tests").join(&name)),
        )
        .unwrap();
    }
}

/// Whether all cases of these files pass with these rules.
fn cases_pass(rules: &str, files: &[String]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    lay(folder.path(), rules);
    let mut args = vec!["test", "rules"];
    args.extend(files.iter().map(String::as_str));
    let output = run("promtool", &folder.path().join("tests"), &args);
    if output.status.success() {
        Ok(())
    } else {
        Err(both(&output))
    }
}

#[test]
fn every_case_passes() {
    cases_pass(&text("rules.yaml"), &names("tests", "yaml")).unwrap();
}

/// Grafana is not here to try its file; its queries are, so they must pass the same cases.
#[test]
fn grafana_queries_pass_the_same_cases() {
    let file: Value = serde_json::from_str(&text("grafana-rules.json")).unwrap();
    let mut rules = yaml("rules.yaml");
    for (group, managed) in rules["groups"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .zip(list(&file["groups"]))
    {
        assert_eq!(group["name"], managed["name"]);
        let mut queries = list(&managed["rules"]).iter();
        for rule in group["rules"].as_array_mut().unwrap() {
            if rule.get("alert").is_none() {
                continue;
            }
            let query = queries.next().unwrap();
            assert!(word(query, "title").starts_with(word(rule, "alert")));
            assert_eq!(query["condition"], "B");
            assert_eq!(query["labels"], rule["labels"]);
            let held = rule.get("for").cloned().unwrap_or_else(|| json!("0s"));
            assert_eq!(query["for"], held);
            let annotations = query["annotations"].to_string();
            let annotations = annotations.replace("$values.A.Value", "$value");
            rule["annotations"] = serde_json::from_str(&annotations).unwrap();
            rule["expr"] = query["data"][0]["model"]["expr"].clone();
        }
        assert!(queries.next().is_none());
    }
    cases_pass(&rules.to_string(), &names("tests", "yaml")).unwrap();
}

/// Cases that cannot fail prove nothing: each of these mistakes must be noticed.
#[test]
fn a_broken_rule_fails_its_case() {
    let rules = text("rules.yaml");
    for (file, from, to) in [
        ("life", "without (pod, instance)", "without (instance)"),
        ("life", "min5m < 180", "min5m < 1e12"),
        ("life", "[3m]", "[20s]"),
        ("budget", "> 13.44", "> 1.344"),
        ("budget", "> 5.6", "> 56"),
        ("budget", "> 2.8", "> 28"),
        ("budget", "> 0.9333", "> 9.333"),
        ("budget", "max3m < 0.3", "max3m < 0.6"),
        ("budget", "< 0.125", "< 0.01"),
        ("budget", "< 1800 ", "< 18000 "),
        ("budget", "> 6000)", "> 6)"),
        ("budget", "ignoring (window)", "on (account, window)"),
        ("findings", "critical|warning", "critical|warning|info"),
        ("monitor", "host|vm", "host|vm|node"),
        (
            "monitor",
            "unless on (cluster, account, kind, node)",
            "and on (cluster, account, kind, node)",
        ),
        ("monitor", "for: 10m", "for: 1m"),
        ("monitor", "for: 5m", "for: 1m"),
        (
            "cache",
            "by (cluster, env, tenant_id, region)",
            "by (cluster, env, tenant_id, region, pod)",
        ),
        ("cache", "sum by (env, tenant_id)", "sum by (tenant_id)"),
        ("cache", "|/ready|", "|"),
        ("cache", "503|429", "503"),
        ("cache", "> 0.05", "> 0.5"),
        ("bandwidth", "> 0.9\n", "> 0.88\n"),
        ("bandwidth", "> 0.9\n", "> 0.97\n"),
        ("bandwidth", "min_over_time(", "max_over_time("),
        ("bandwidth", "{window=\"15s\"}", ""),
        ("bandwidth", "bytes_per_second[1d]", "bytes_per_second[3m]"),
        ("bandwidth", "> 100\n", "> 10\n"),
        ("bandwidth", "> 100\n", "> 150\n"),
        ("bandwidth", "> 1\n", "> 0.1\n"),
        ("bandwidth", "> 1\n", "> 10\n"),
    ] {
        assert!(rules.contains(from), "nothing to break: {from}");
        let broken = rules.replace(from, to);
        assert!(
            cases_pass(&broken, &[format!("{file}.yaml")]).is_err(),
            "no case of {file} notices {from} -> {to}"
        );
    }
}

/// Prometheus 2 counts a sample on the left edge of a range, Prometheus 3 does not.
#[test]
fn no_asserted_evaluation_has_a_sample_on_the_edge_of_a_range() {
    for name in names("tests", "yaml") {
        let file = yaml(Path::new("tests").join(&name));
        let every = seconds(word(&file, "evaluation_interval"));
        for test in list(&file["tests"]) {
            let interval = seconds(word(test, "interval"));
            let asserted = list(&test["alert_rule_test"])
                .iter()
                .chain(list(&test["promql_expr_test"]));
            for case in asserted {
                let at = seconds(word(case, "eval_time")) / every * every;
                for range in [180, 300, 86_400] {
                    assert!(
                        at < range || !(at - range).is_multiple_of(interval),
                        "{name}: {:?} at {at} s: a sample lies on the edge of [{range}s]",
                        word(test, "name")
                    );
                }
            }
        }
    }
}

fn seconds(text: &str) -> u64 {
    let mut total = 0;
    let mut number = 0;
    for c in text.chars() {
        match c {
            '0'..='9' => number = number * 10 + u64::from(c.to_digit(10).unwrap()),
            unit => {
                total += number
                    * match unit {
                        's' => 1,
                        'm' => 60,
                        'h' => 3600,
                        other => panic!("{other} in {text}"),
                    };
                number = 0;
            }
        }
    }
    assert!(number == 0 && total > 0, "{text:?} is no duration");
    total
}
