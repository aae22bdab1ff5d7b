//! Apple's commands: fixed arguments, an empty environment, bounded in time and size.

use core::time::Duration;
use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// How long one may take.
const WITHIN: Duration = Duration::from_secs(3);
/// Most bytes of its output that are read.
const MOST: u64 = 256 << 10;

/// What one said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// Runs `program`, by its whole path; `None` if it cannot be run or does not end in time.
/// Cancel-safe: dropping it ends the program.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> Option<Said> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        // Times without a zone are then UTC, and words English.
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let stdout = child.stdout.take()?;
    let stderr = child.stderr.take()?;
    let reading = async {
        let mut stdout = stdout.take(MOST);
        let mut stderr = stderr.take(MOST);
        tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err))
    };
    let (out_read, err_read) = tokio::time::timeout(WITHIN, reading).await.ok()?;
    out_read.ok()?;
    err_read.ok()?;
    // More than is read blocks it in its own write: it is then ended by the drop.
    let _ = tokio::time::timeout(Duration::from_millis(200), child.wait()).await;
    Some(Said {
        out: String::from_utf8_lossy(&out).into_owned(),
        err: String::from_utf8_lossy(&err).into_owned(),
    })
}
