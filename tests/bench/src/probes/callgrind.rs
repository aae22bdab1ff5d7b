//! Instructions by callgrind: a figure that no busy machine disturbs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::contenders::{Field, Running};
use super::peer::Peer;
use super::wire::{End, Wire};

/// How long it may take to begin.
const BEGIN: Duration = Duration::from_secs(30);
/// How long callgrind may take to write what it counted.
const WRITTEN: Duration = Duration::from_secs(30);

/// What was counted in one window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    /// Instructions of the whole program, the kernel's not among them.
    pub(super) instructions: u64,
    /// Requests that the peer answered.
    pub(super) checks: u64,
}

/// Counts a window of the prober's rounds in steady state.
pub(super) fn count(wire: &Wire, field: Field, peer: &Peer) -> anyhow::Result<Counted> {
    let folder = tempfile::tempdir()?;
    let written = folder.path().join("counted");
    let prefix = format!("--vgdb-prefix={}", folder.path().join("vgdb").display());
    let child = wire
        .command(End::Near, Path::new("valgrind"))
        .args(["--tool=callgrind", "--instr-atstart=no", &prefix])
        .arg(format!(
            "--log-file={}",
            folder.path().join("log").display()
        ))
        .arg(format!("--callgrind-out-file={}", written.display()))
        .arg(std::env::current_exe()?)
        .args(["steps", "--targets", &field.targets.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start valgrind")?;
    let running = Running(child);
    let began = Instant::now();
    let idle = peer.answered();
    while peer.answered() == idle {
        ensure!(began.elapsed() < BEGIN, "no check is made under callgrind");
        std::thread::sleep(Duration::from_millis(100));
    }
    let tell = |what: &[&str]| -> anyhow::Result<()> {
        let output = Command::new("vgdb")
            .arg(format!("--pid={}", running.0.id()))
            .arg(&prefix)
            .args(what)
            .output()
            .context("vgdb comes with valgrind")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "vgdb {what:?}: {}", said.trim());
        Ok(())
    };
    tell(&["instrumentation", "on"])?;
    // What was translated without counting is translated again.
    std::thread::sleep(field.warm_up);
    tell(&["zero"])?;
    let before = peer.answered();
    std::thread::sleep(field.lasting);
    let checks = peer.answered() - before;
    tell(&["dump"])?;
    let began = Instant::now();
    loop {
        // The first dump of a process.
        let text = std::fs::read_to_string(written.with_extension("1")).unwrap_or_default();
        if let Some(instructions) = total(&text) {
            return Ok(Counted {
                instructions,
                checks,
            });
        }
        ensure!(began.elapsed() < WRITTEN, "callgrind wrote no total");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The sum at the end of a profile (callgrind's format: `totals: N`).
fn total(text: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|l| l.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_total_stands_at_the_end() {
        let text = "events: Ir\nsummary: 7\n\nfn=(1)\n1 7\n\ntotals: 7\n";
        assert_eq!(super::total(text), Some(7));
        assert_eq!(super::total("events: Ir\n"), None);
    }
}
