//! The printed default: complete, and good with every setting on.

use std::collections::BTreeSet;
use std::path::Path;

use super::environment::Environment;
use super::load::parse_all;
use super::tree::{Node, Value};
use super::{DEFAULT, Listen, Slo, Traffic, check, load};

/// The printed default with its switched-off settings on and its files in `dir`.
fn switched_on(dir: &Path) -> String {
    let lines: Vec<&str> = DEFAULT
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') || setting.starts_with("  ") => setting,
            _ => line,
        })
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let text = lines.join("\n");
    text.replace("/etc/pnwatch", dir.to_str().unwrap())
        .replace("/var/lib/pnwatch", dir.to_str().unwrap())
}

/// Every key path of the text, list indices left out.
fn written(node: &Node, path: &str, keys: &mut BTreeSet<String>) {
    match &node.value {
        Value::Map(entries) => {
            for (key, _, node) in entries {
                let path = match path {
                    "" => key.clone(),
                    _ => format!("{path}.{key}"),
                };
                written(node, &path, keys);
                keys.insert(path);
            }
        }
        Value::List(items) => items.iter().for_each(|item| written(item, path, keys)),
        _ => {}
    }
}

#[test]
fn the_printed_default_passes_with_every_setting_on() {
    let dir = tempfile::tempdir().unwrap();
    for (name, from) in [
        ("inventory.yaml", "inventory.yaml"),
        ("token", "token"),
        ("alertmanager-token", "token"),
        ("prometheus-token", "token"),
        ("gate-token", "token"),
        ("reader", "token"),
        ("proxy", "token"),
        ("ca.pem", "ca.pem"),
        ("tls.crt", "../../tls/one.pem"),
        ("tls.key", "../../tls/one.key"),
        ("vantages-ca.pem", "../../tls/two-ca.pem"),
        ("gateway-ca.pem", "../../tls/two-ca.pem"),
        ("vantage.crt", "../../tls/two.pem"),
        ("vantage.key", "../../tls/two.key"),
        ("kubeconfig", "token"),
    ] {
        let from = Path::new("tests/config/files").join(from);
        std::fs::copy(from, dir.path().join(name)).unwrap();
    }
    // A plan file stands instead of exporters, an inventory file instead of a cluster.
    let all = switched_on(dir.path());
    let lines: Vec<&str> = all
        .lines()
        .filter(|line| !line.contains("plan_file") && !line.starts_with("    file: "))
        // A VM does nothing else.
        .filter(|line| *line != "vm:" && !line.starts_with("  relay: 192"))
        .collect();
    let text = lines.join("\n");
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, &text).unwrap();
    assert_eq!(check(&path).unwrap(), [], "{text}");
    let serve = load(&path).unwrap().config.serve.unwrap();
    assert_eq!(serve.pace, pnwatch_core::plan::Pace::default());
    assert_eq!(serve.listen, Listen::default());
    assert_eq!(serve.slo.policy, Slo::default().policy);
    let (shown, default) = (serve.traffic, Traffic::default());
    assert_eq!(
        (shown.source, shown.interval),
        (default.source, default.interval)
    );
    assert_eq!((shown.window, shown.names), (default.window, default.names));
    assert_eq!(shown.dispatch_after, default.dispatch_after);
}

#[test]
fn the_printed_default_holds_every_known_key_and_no_other() {
    let text = switched_on(Path::new("/nowhere"));
    let (_, findings) = parse_all(&text, Environment::default());
    let mut keys = BTreeSet::new();
    written(&Node::parse(&text).unwrap(), "", &mut keys);
    // The header's name is the user's own.
    keys.remove("serve.alertmanager.headers.X-Scope-OrgID");
    keys.remove("serve.traffic.prometheus.headers.X-Scope-OrgID");
    assert!(keys.len() > 40, "{keys:?}");
    assert_eq!(keys, findings.known);
}
