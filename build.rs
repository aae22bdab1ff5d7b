//! Names the git commit for `pnwatch --version`; without git the version stands alone.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Both change with every commit and check-out; a missing one only re-runs this script.
    for file in [".git/HEAD", ".git/logs/HEAD"] {
        if std::path::Path::new(file).exists() {
            println!("cargo:rerun-if-changed={file}");
        }
    }
    let commit = Command::new("git")
        .args(["rev-parse", "--short=10", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let package = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match commit {
        Some(commit) => format!("{package} ({})", commit.trim()),
        None => package,
    };
    println!("cargo:rustc-env=PNWATCH_VERSION={version}");
}
