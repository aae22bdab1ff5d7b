//! The files under `alerts/`, read once, and the tools that judge them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The folder of rules, routes and runbooks.
pub(crate) fn alerts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts")
}

pub(crate) fn text(path: impl AsRef<Path>) -> String {
    let path = alerts().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn yaml(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    parse(&text(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn parse(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|e| e.to_string())
}

/// Names of the files in a folder under `alerts/` with this extension, sorted.
pub(crate) fn names(folder: &str, extension: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(alerts().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|e| e == extension))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no *.{extension} in alerts/{folder}");
    names
}

/// Runs a tool of the Debian packages `prometheus` and `prometheus-alertmanager`.
pub(crate) fn run(tool: &str, folder: &Path, args: &[&str]) -> Output {
    Command::new(tool)
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|e| {
            panic!("{tool}: {e}; apt-get install prometheus prometheus-alertmanager")
        })
}

/// Runs a tool that must succeed.
pub(crate) fn succeed(tool: &str, folder: &Path, args: &[&str]) -> String {
    let output = run(tool, folder, args);
    let told = both(&output);
    assert!(output.status.success(), "{tool} {args:?}: {told}");
    told
}

pub(crate) fn both(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
