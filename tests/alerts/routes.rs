//! amtool's word on the example configuration: who is told, and by which route.

use pnwatch_core::fault::Alert;
use serde_json::{Map, Value, json};

use crate::files::{alerts, both, list, run, succeed, text, word, yaml};

const EXAMPLE: &str = "alertmanager.example.yml";

#[test]
fn the_example_is_valid_and_refuses_to_be_used_unedited() {
    let told = succeed("amtool", &alerts(), &["check-config", EXAMPLE]);
    assert!(told.contains("SUCCESS"), "{told}");
    let config = yaml(EXAMPLE);
    let mut urls = 0;
    for receiver in list(&config["receivers"]) {
        for hook in list(&receiver["webhook_configs"]) {
            let url = word(hook, "url");
            // Port 9 of loopback: nothing listens, and nothing leaves the machine.
            assert!(
                url.starts_with("http://127.0.0.1:9/") && url.contains("replace-me"),
                "{url}"
            );
            urls += 1;
        }
    }
    assert_eq!(urls, 4);
}

/// The receiver that amtool finds for an alert.
fn receiver(labels: &[&str]) -> String {
    let mut args = vec!["config", "routes", "test", "--config.file", EXAMPLE];
    args.extend(labels);
    // On stderr it warns when a config of the user's own names an Alertmanager.
    let output = run("amtool", &alerts(), &args);
    assert!(output.status.success(), "{}", both(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn every_alert_reaches_the_right_people() {
    let rules = yaml("rules.yaml");
    for alert in Alert::ALL {
        let name = format!("alertname={alert}");
        for (severity, who) in [
            ("critical", "pnwatch-page"),
            ("warning", "pnwatch-ticket"),
            ("info", "nobody"),
        ] {
            let severity = format!("severity={severity}");
            assert_eq!(
                receiver(&[&name, &severity, "cluster=staging"]),
                who,
                "{alert} {severity}"
            );
        }
    }
    for rule in list(&rules["groups"])
        .iter()
        .flat_map(|g| list(&g["rules"]))
    {
        let Some(alert) = rule["alert"].as_str() else {
            continue;
        };
        let severity = rule["labels"]["severity"].as_str().unwrap_or("critical");
        let who = match (alert, severity) {
            ("PNWatchdog", _) => "dead-mans-switch",
            (_, "critical") => "pnwatch-page",
            _ => "pnwatch-ticket",
        };
        let labels = [
            format!("alertname={alert}"),
            format!("severity={severity}"),
            format!("source={}", word(&rule["labels"], "source")),
        ];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(receiver(&labels), who, "{alert}");
    }
    assert_eq!(
        receiver(&["alertname=SomebodyElses", "severity=critical"]),
        "other"
    );
    assert_eq!(
        receiver(&["alertname=PNHeartbeat", "cluster=staging"]),
        "dead-mans-switch"
    );
}

#[test]
fn pushed_alerts_wait_for_nothing_and_rules_wait_for_the_push() {
    let config = yaml(EXAMPLE);
    let routes = list(&config["route"]["routes"]);
    let pushed: Vec<String> = Alert::ALL.iter().map(ToString::to_string).collect();
    let pushed = format!("alertname=~\"{}\"", pushed.join("|"));
    for (matcher, wait, interval) in [
        (pushed.as_str(), "0s", "5s"),
        ("source=\"pnwatch-rules\"", "30s", "1m"),
    ] {
        let route = routes
            .iter()
            .find(|r| r["matchers"] == json!([matcher]))
            .unwrap_or_else(|| panic!("no route for {matcher}"));
        assert_eq!(word(route, "group_wait"), wait);
        assert_eq!(word(route, "group_interval"), interval);
        assert_eq!(
            route["group_by"],
            json!(["alertname", "cluster", "subject"])
        );
        for child in list(&route["routes"]) {
            assert!(child.get("group_wait").is_none() && child.get("group_by").is_none());
        }
    }
}

fn snake(key: &str) -> String {
    match key {
        "sourceMatch" => "source_matchers".to_owned(),
        "targetMatch" => "target_matchers".to_owned(),
        _ => key
            .chars()
            .flat_map(|c| {
                let mark = c.is_ascii_uppercase().then_some('_');
                mark.into_iter().chain([c.to_ascii_lowercase()])
            })
            .collect(),
    }
}

/// The operator's words as Alertmanager's own.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) if map.contains_key("matchType") => {
            let part = |key| word(value, key);
            json!(format!(
                "{}{}\"{}\"",
                part("name"),
                part("matchType"),
                part("value")
            ))
        }
        Value::Object(map) => {
            let pairs = map.iter().map(|(k, v)| (snake(k), plain(v)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Value::Array(values) => values.iter().map(plain).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_operators_object_says_the_same() {
    let object = yaml("alertmanagerconfig.yaml");
    assert_eq!(
        word(&object, "apiVersion"),
        "monitoring.coreos.com/v1alpha1"
    );
    assert_eq!(word(&object, "kind"), "AlertmanagerConfig");
    let mut config = yaml(EXAMPLE);
    config.as_object_mut().unwrap().remove("global");
    assert_eq!(plain(&object["spec"]), config);
    assert!(text("alertmanagerconfig.yaml").contains("alertmanagerConfigMatcherStrategy"));
}
