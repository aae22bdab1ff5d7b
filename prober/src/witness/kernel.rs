//! What the kernel's own tables say of connections (proc(5)): parsers pure, reading thin.

use core::time::Duration;
use std::fs;

use pnwatch_core::time::Tick;
use pnwatch_core::witness::{Usage, WitnessReport};

/// Cumulative counters of this network namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// SYNs dropped at a full accept queue.
    pub listen_overflows: Option<u64>,
    /// Connections that found no room in the table.
    pub conntrack_drops: Option<u64>,
}

/// The counters over the witness's window: the growth within it.
#[derive(Debug, Default)]
pub struct Tables {
    past: Vec<(Tick, Counters)>,
}

impl Tables {
    /// Reads everything now, and tells it in `report`.
    pub fn tell(&mut self, now: Tick, window: Duration, report: &mut WitnessReport) {
        let read = Counters {
            listen_overflows: fs::read_to_string("/proc/thread-self/net/netstat")
                .ok()
                .and_then(|text| listen_overflows(&text)),
            conntrack_drops: fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack")
                .ok()
                .and_then(|text| conntrack_drops(&text)),
        };
        let grown = self.grow(read, now, window);
        report.listen_overflows = grown.listen_overflows;
        report.conntrack_drops = grown.conntrack_drops.unwrap_or(0);
        report.conntrack = conntrack();
    }

    fn grow(&mut self, read: Counters, now: Tick, window: Duration) -> Counters {
        self.past.retain(|(at, _)| now.since(*at) <= window);
        let first = self.past.first().map_or(read, |(_, counters)| *counters);
        self.past.push((now, read));
        let grown = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Counters {
            listen_overflows: grown(read.listen_overflows, first.listen_overflows),
            conntrack_drops: grown(read.conntrack_drops, first.conntrack_drops),
        }
    }
}

/// `TcpExt: ListenOverflows`: a line of names, then a line of values.
pub(crate) fn listen_overflows(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|(name, _)| *name == "ListenOverflows")
        .and_then(|(_, value)| value.parse().ok())
}

/// `drop`, `early_drop` and `insert_failed` of every CPU: names, then a line of hexadecimal
/// values each.
pub(crate) fn conntrack_drops(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_whitespace().collect();
    let mut sum = 0u64;
    for line in lines {
        for (name, value) in names.iter().zip(line.split_whitespace()) {
            if matches!(*name, "drop" | "early_drop") {
                sum = sum.saturating_add(u64::from_str_radix(value, 16).ok()?);
            }
        }
    }
    Some(sum)
}

fn conntrack() -> Option<Usage> {
    let number = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).ok()?;
        text.trim().parse().ok()
    };
    Some(Usage {
        used: number("nf_conntrack_count")?,
        limit: number("nf_conntrack_max")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Recorded on Linux 6.18, shortened.
    const NETSTAT: &str = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts\n\
                           TcpExt: 0 17 21 4\nIpExt: InNoRoutes\nIpExt: 3\n";
    const CONNTRACK: &str = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
         0000001a  00000000 00000000 00000000 00000003 00000000 00000000 00000002 00000000 00000001 0000000a 00000001 00000000  00000000 00000000 00000000 00000000\n\
         0000001a  00000000 00000000 00000000 00000003 00000000 00000000 00000002 00000000 00000000 00000010 00000000 00000000  00000000 00000000 00000000 00000000\n";

    #[test]
    fn recorded_tables_are_read() {
        assert_eq!(listen_overflows(NETSTAT), Some(17));
        assert_eq!(conntrack_drops(CONNTRACK), Some(27));
        for text in ["", "TcpExt:", "TcpExt: ListenOverflows\nTcpExt: x\n"] {
            assert_eq!(listen_overflows(text), None, "{text:?}");
        }
        assert_eq!(conntrack_drops(""), None);
        assert_eq!(conntrack_drops("drop\nzz\n"), None);
    }

    #[test]
    fn growth_is_that_of_the_window() {
        let mut tables = Tables::default();
        let window = Duration::from_secs(10);
        let mut grown = |value, second: u64| {
            let read = Counters {
                listen_overflows: Some(value),
                conntrack_drops: None,
            };
            let now = Tick::from_millis(second * 1000);
            tables.grow(read, now, window).listen_overflows
        };
        assert_eq!(grown(5, 0), Some(0));
        assert_eq!(grown(7, 5), Some(2));
        assert_eq!(grown(7, 12), Some(0));
        // A counter that began anew.
        assert_eq!(grown(1, 13), Some(0));
    }
}
