//! What the chart passes to the command is known to it: configurations, subcommands, flags.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::chart::{all_objects, merged, root, values, yaml};
use crate::pods::pods;
use crate::values::{EXAMPLES, everything, example};

fn pnwatch(arguments: &[&str], node: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pnwatch"));
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("NODE_NAME");
    if let Some(node) = node {
        command.env("NODE_NAME", node);
    }
    command.output().unwrap()
}

/// The configurations among the objects, with the files that they name in `dir`.
fn configurations(all: &[Value], dir: &Path) -> Vec<(String, String)> {
    let here = dir.to_str().unwrap();
    all.iter()
        .filter(|o| o["kind"] == "ConfigMap")
        .filter_map(|o| {
            let text = o["data"].get("pnwatch.yaml")?.as_str()?;
            let text = [
                "/var/run/secrets/pnwatch",
                "/etc/pnwatch-tokens",
                "/etc/pnwatch-alertmanager",
                "/var/lib/pnwatch",
            ]
            .iter()
            .fold(text.to_owned(), |text, path| text.replace(path, here));
            let text = text.replace("/etc/pnwatch/gateway-ca.pem", &format!("{here}/ca.pem"));
            Some((o["metadata"]["name"].as_str().unwrap().to_owned(), text))
        })
        .collect()
}

fn files_in(dir: &Path) {
    for name in ["token", "mini-1", "mini-2", "vm"] {
        std::fs::write(dir.join(name), format!("token-of-{name}\n")).unwrap();
    }
    std::fs::copy(
        root().join("edge/tests/config/files/ca.pem"),
        dir.join("ca.pem"),
    )
    .unwrap();
}

fn check(dir: &Path, text: &str, node: Option<&str>) -> (Option<i32>, String) {
    let path = dir.join("pnwatch.yaml");
    std::fs::write(&path, text).unwrap();
    let output = pnwatch(&["check", "--config", path.to_str().unwrap()], node);
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn every_configuration_passes_the_strict_check() {
    let dir = tempfile::tempdir().unwrap();
    files_in(dir.path());
    let mut cases: Vec<_> = EXAMPLES.iter().map(|name| (*name, example(name))).collect();
    cases.push(("everything", everything()));
    let mut seen = 0;
    for (case, values) in cases {
        for (name, text) in configurations(&all_objects(&values), dir.path()) {
            let (code, said) = check(dir.path(), &text, Some("prod-kura-fleet-1"));
            assert_eq!(
                (code, said.as_str()),
                (Some(0), ""),
                "{case}: {name}:\n{text}"
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 7);
}

/// The check is no formality: a key that the binary does not know is named.
#[test]
fn a_key_of_another_version_is_named() {
    let dir = tempfile::tempdir().unwrap();
    files_in(dir.path());
    let newer = yaml("exporter: { extra: { newer_key: 1 } }");
    let values = merged(&example("staging"), &newer);
    let all = configurations(&all_objects(&values), dir.path());
    let (_, text) = all
        .iter()
        .find(|(name, _)| name == "pnwatch-exporter")
        .unwrap();
    let (code, said) = check(dir.path(), text, None);
    assert!(
        code != Some(0) && said.contains("serve.newer_key"),
        "{code:?} {said}"
    );
}

/// Without the downward API's variable the prober refuses to guess who it is.
#[test]
fn a_prober_without_its_nodes_name_says_so() {
    let dir = tempfile::tempdir().unwrap();
    files_in(dir.path());
    let all = configurations(
        &all_objects(&values("cluster: a\nimage: { repository: b }")),
        dir.path(),
    );
    let (_, text) = all
        .iter()
        .find(|(name, _)| name == "pnwatch-prober")
        .unwrap();
    let (code, said) = check(dir.path(), text, None);
    assert!(
        code != Some(0) && said.contains("NODE_NAME is not set"),
        "{code:?} {said}"
    );
}

#[test]
fn every_argument_is_in_the_help() {
    let commands = String::from_utf8(pnwatch(&["--help"], None).stdout).unwrap();
    let mut seen = 0;
    for pod in pods(&all_objects(&everything())) {
        for container in pod.spec["containers"].as_array().unwrap() {
            let words: Vec<&str> = container["args"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a.as_str().unwrap())
                .collect();
            assert!(
                container.get("command").is_none(),
                "the image's entry point is pnwatch"
            );
            assert!(
                commands.contains(&format!("\n  {} ", words[0])),
                "{words:?}"
            );
            let help = String::from_utf8(pnwatch(&[words[0], "--help"], None).stdout).unwrap();
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                assert!(help.contains(&format!("{flag} ")), "{words:?}: {flag}");
                seen += 1;
            }
            let mounted = container["volumeMounts"].as_array().unwrap();
            assert!(
                mounted
                    .iter()
                    .any(|m| words[2].starts_with(m["mountPath"].as_str().unwrap()))
            );
        }
    }
    assert_eq!(seen, 4);
}
