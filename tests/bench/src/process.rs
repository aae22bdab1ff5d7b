//! What the kernel accounts to a whole process: proc(5), `/proc/PID/stat` and `/proc/PID/status`.

use std::time::Duration;

use anyhow::{Context as _, ensure};

/// One look at a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// User and system time of all its threads since it began.
    pub(crate) cpu: Duration,
    /// Resident memory, kB.
    pub(crate) resident_kb: u64,
    /// Of it, what is the process's own and not pages of its program, kB.
    pub(crate) own_kb: u64,
    /// The most that was ever resident, kB.
    pub(crate) peak_kb: u64,
    /// Threads.
    pub(crate) threads: u64,
}

/// Looks at the process `id`.
pub(crate) fn look(id: u32) -> anyhow::Result<Look> {
    let read = |name: &str| {
        let path = format!("/proc/{id}/{name}");
        std::fs::read_to_string(&path).with_context(|| format!("{path}: the process is gone"))
    };
    let ticks = cpu_ticks(&read("stat")?).context("/proc/PID/stat does not read")?;
    let per_second = rustix::param::clock_ticks_per_second();
    ensure!(per_second > 0, "the kernel tells no clock ticks");
    let status = read("status")?;
    let field = |name| field(&status, name).with_context(|| format!("no {name} in status"));
    Ok(Look {
        cpu: Duration::from_millis(ticks * 1000 / per_second),
        resident_kb: field("VmRSS:")?,
        own_kb: field("RssAnon:")?,
        peak_kb: field("VmHWM:")?,
        threads: field("Threads:")?,
    })
}

/// utime + stime. The second field is a name in parentheses that may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a ) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 31 12 0 0 20 0 3";
        assert_eq!(cpu_ticks(stat), Some(43));
        assert_eq!(cpu_ticks("7 (a"), None);
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\nThreads:\t3\n";
        assert_eq!(field(status, "VmRSS:"), Some(1024));
        assert_eq!(field(status, "Threads:"), Some(3));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let seen = look(std::process::id()).unwrap();
        assert!(seen.resident_kb > 0 && seen.peak_kb >= seen.resident_kb && seen.threads >= 1);
    }
}
