//! Runs a program and waits for it, off the runtime's threads.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use tokio::process::Command;

/// Far above what anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) const PNWATCH: &str = env!("CARGO_BIN_EXE_pnwatch");

/// Variables of whoever runs the tests that would change what is tested.
const FOREIGN: &[&str] = &[
    "TUIST_CACHE_ENDPOINT",
    "PNWATCH_URL",
    "PNWATCH_RELAY",
    "GITHUB_ENV",
    "GITHUB_OUTPUT",
    "GITHUB_STEP_SUMMARY",
    "RUST_LOG",
];

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command.kill_on_drop(true);
    command
}

pub(crate) async fn run(mut command: Command) -> Ran {
    let started = Instant::now();
    let output: Output = tokio::time::timeout(DEADLINE, command.output())
        .await
        .expect("it ends in time")
        .expect("it starts");
    Ran {
        code: output.status.code().expect("it ends by itself"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        took: started.elapsed(),
    }
}

pub(crate) async fn pnwatch(arguments: &[&str]) -> Ran {
    let mut command = program(PNWATCH);
    command.args(arguments);
    run(command).await
}

/// A file of `deploy/gate`.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy/gate")
        .join(name)
}
