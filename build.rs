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
    // An image is built from a folder without .git.
    println!("cargo:rerun-if-env-changed=PNWATCH_COMMIT");
    let given = std::env::var("PNWATCH_COMMIT")
        .ok()
        .filter(|given| !given.is_empty());
    let commit = given.or_else(|| {
        let output = Command::new("git")
            .args(["rev-parse", "--short=10", "HEAD"])
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).ok())?
    });
    let package = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match commit {
        Some(commit) => format!("{package} ({})", commit.trim()),
        None => package,
    };
    println!("cargo:rustc-env=PNWATCH_VERSION={version}");
}
