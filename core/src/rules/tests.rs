use super::*;
use crate::fault::Blame;
use std::collections::BTreeSet;

fn all(form: Form) -> Vec<Group> {
    groups(&Settings::default(), form)
}

fn alerts(form: Form) -> Vec<Alerting> {
    all(form)
        .iter()
        .flat_map(|g| g.alerts().cloned().collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_alert_has_exactly_one_back_up_and_no_rule_takes_its_name() {
    let names: Vec<String> = alerts(Form::Recorded).into_iter().map(|a| a.name).collect();
    for alert in Alert::ALL {
        let backup = format!("{alert}{}", findings::SUFFIX);
        assert_eq!(
            names.iter().filter(|n| **n == backup).count(),
            1,
            "{backup}"
        );
        assert!(!names.contains(&alert.to_string()), "{alert}");
    }
}

#[test]
fn back_ups_together_cover_every_fault_that_alerts_and_no_other() {
    let mut covered = BTreeSet::new();
    for alert in Alert::ALL {
        for (blame, faults) in findings::faults_of(*alert) {
            for fault in faults {
                for b in Blame::ALL
                    .iter()
                    .filter(|b| blame.is_none_or(|only| only == **b))
                {
                    assert_eq!(fault.alert(*b), Some(*alert));
                    assert!(covered.insert((fault, *b)), "{fault} {b} twice");
                }
            }
        }
    }
    for fault in Fault::ALL {
        for blame in Blame::ALL {
            assert_eq!(
                covered.contains(&(*fault, *blame)),
                fault.alert(*blame).is_some()
            );
        }
    }
}

#[test]
fn what_two_replicas_publish_is_always_taken_without_pod_and_instance() {
    for group in all(Form::Inline) {
        for alert in group.alerts() {
            for (at, _) in alert.expr.match_indices("pnwatch_") {
                // absent() has no labels to tell replicas apart.
                if alert.expr.starts_with("absent(") {
                    continue;
                }
                let before = &alert.expr[..at];
                let near = &before[before.len().saturating_sub(60)..];
                assert!(
                    near.contains("without (pod, instance)"),
                    "{}: {near}",
                    alert.name
                );
            }
        }
    }
}

#[test]
fn inline_alerts_need_no_recorded_series() {
    let recorded: Vec<&str> = all(Form::Recorded)
        .iter()
        .flat_map(|g| &g.rules)
        .filter_map(|rule| match rule {
            Rule::Record(r) => Some(r.name),
            Rule::Alert(_) => None,
        })
        .collect();
    assert!(recorded.len() > 8);
    for alert in alerts(Form::Inline) {
        for name in &recorded {
            assert!(!alert.expr.contains(name), "{} reads {name}", alert.name);
        }
    }
}

#[test]
fn recorded_and_inline_form_name_the_same_alerts() {
    let names = |form| {
        alerts(form)
            .into_iter()
            .map(|a| (a.name, a.severity))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(Form::Recorded), names(Form::Inline));
}

#[test]
fn everybody_is_told_what_broke_who_suffers_and_what_to_type() {
    for alert in alerts(Form::Recorded) {
        let text = |key| alert.annotations[key].clone();
        assert!(
            !text("summary").contains("{{"),
            "{}: a summary is constant",
            alert.name
        );
        assert!(!text("summary").ends_with('.'), "{}", alert.name);
        if alert.role != Role::Heartbeat {
            assert!(text("description").contains("Type"), "{}", alert.name);
        }
        assert!(
            text("runbook_url").contains(alert.runbook.as_label()),
            "{}",
            alert.name
        );
        assert!(
            text("dashboard_url").contains("/d/pnwatch-"),
            "{}",
            alert.name
        );
    }
}

#[test]
fn urls_follow_the_settings() {
    let settings = Settings {
        runbooks: "https://wiki.example.org/pn/".into(),
        grafana: "https://g.example.org/".into(),
        ..Settings::default()
    };
    assert_eq!(
        settings.runbook(Alert::NodeUnreachable, Some(Fault::AddressLost)),
        "https://wiki.example.org/pn/PNNodeUnreachable.md#address_lost"
    );
    let text = emit::prometheus(&groups(&settings, Form::Recorded));
    assert!(
        !text.contains("example.com") && text.contains("https://g.example.org/d/pnwatch-fleet")
    );
}

#[test]
fn burn_factors_come_from_the_table() {
    let settings = Settings {
        burn: burn::Table::new(
            core::time::Duration::from_hours(30 * 24),
            burn::TIERS.to_vec(),
        )
        .unwrap(),
        ..Settings::default()
    };
    let text = emit::prometheus(&groups(&settings, Form::Recorded));
    assert!(text.contains("> 14.4\n") && text.contains("30-day budget") && !text.contains("13.44"));
    assert!(emit::prometheus(&all(Form::Recorded)).contains("> 13.44\n"));
}

#[test]
fn grafana_uids_are_unique_and_short() {
    let text = grafana::provisioning(&all(Form::Inline));
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut uids = BTreeSet::new();
    for group in file["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let uid = rule["uid"].as_str().unwrap().to_owned();
            assert!(uid.len() <= 40);
            assert!(uids.insert(uid));
        }
    }
    assert_eq!(uids.len(), alerts(Form::Inline).len());
}
