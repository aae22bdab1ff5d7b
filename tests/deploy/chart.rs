//! The chart as this test renders it, and the objects in what comes out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::template::{Defined, World, read};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| unreachable!("{path}: {e}"))
}

pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|e| unreachable!("{e} in\n{text}"))
}

/// Every file below `folder`, by its path in it; links are followed.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, String> {
    fn walk(at: &Path, base: &Path, found: &mut BTreeMap<String, String>) {
        let mut inside: Vec<PathBuf> = std::fs::read_dir(at)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        inside.sort();
        for path in inside {
            if path.is_dir() {
                walk(&path, base, found);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let name = path.strip_prefix(base).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), text);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// The chart's files.
pub(crate) fn chart() -> BTreeMap<String, String> {
    files(&root().join("deploy/helm/pnwatch"))
}

/// `over` on top of `under`, as Helm merges values: maps by key, everything else whole.
pub(crate) fn merged(under: &Value, over: &Value) -> Value {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            let mut all = under.clone();
            for (key, value) in over {
                let value = all
                    .get(key)
                    .map_or_else(|| value.clone(), |old| merged(old, value));
                all.insert(key.clone(), value);
            }
            Value::Object(all)
        }
        _ => over.clone(),
    }
}

/// The chart's default values with those of `text` on top.
pub(crate) fn values(text: &str) -> Value {
    merged(&yaml(&chart()["values.yaml"]), &yaml(text))
}

/// Renders every template, in the order of their names; the name is `FILE`.
pub(crate) fn render(chart: &BTreeMap<String, String>, values: &Value) -> Vec<(String, String)> {
    let about = yaml(&chart["Chart.yaml"]);
    let root = json!({
        "Values": values,
        "Release": { "Name": "pnwatch", "Namespace": "pnwatch", "Service": "Helm" },
        "Chart": {
            "Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"],
        },
    });
    let mut defined = Defined::new();
    let mut read_files = Vec::new();
    for (name, text) in chart
        .iter()
        .filter(|(name, _)| name.starts_with("templates/"))
    {
        let nodes = read(text, &mut defined).unwrap_or_else(|why| unreachable!("{name}: {why}"));
        read_files.push((name.clone(), nodes));
    }
    let world = World {
        defined: &defined,
        files: chart,
    };
    read_files
        .into_iter()
        // Files of definitions begin so, by Helm's custom.
        .filter(|(name, _)| !name.starts_with("templates/_"))
        .map(|(name, nodes)| {
            let out = world
                .render(&nodes, &root)
                .unwrap_or_else(|why| unreachable!("{name}: {why}"));
            (name, out)
        })
        .collect()
}

/// The objects of a rendered text.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    text.split("\n---")
        .map(|part| part.trim_start_matches("---"))
        .filter(|part| {
            part.lines()
                .any(|line| !line.trim().is_empty() && !line.trim().starts_with('#'))
        })
        .map(yaml)
        .collect()
}

/// Every object that the values render, NOTES and test Pod included.
pub(crate) fn all_objects(values: &Value) -> Vec<Value> {
    render(&chart(), values)
        .iter()
        .filter(|(name, _)| name != "templates/NOTES.txt")
        .flat_map(|(_, text)| objects(text))
        .collect()
}

/// The object of this kind and name.
pub(crate) fn object<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    all.iter()
        .find(|o| o["kind"] == kind && o["metadata"]["name"] == name)
        .unwrap_or_else(|| unreachable!("no {kind} {name}"))
}
