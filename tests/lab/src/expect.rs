//! What each fault must lead to: the fault table of the documentation as data, for the faults
//! that the lab can make.

pub mod cluster;

use serde::Serialize;

use crate::faults::{account, host, vms, wire};

/// What a page must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// Whose fault.
    pub blame: &'static str,
    /// Which one.
    pub subject: &'static str,
    /// `critical` pages a person.
    pub severity: &'static str,
    /// The alert.
    pub alertname: &'static str,
    /// The faults that the evidence allows to name before healing.
    pub fault: &'static [&'static str],
}

/// An alert that may come besides without being a false page, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// The alert.
    pub alertname: &'static str,
    /// Its subject.
    pub subject: &'static str,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The name that `pnwatch-lab run` takes.
    pub name: &'static str,
    /// What happens, in a few words.
    pub about: &'static str,
    /// The one page that must come; none means silence.
    pub expected: Option<Expected>,
    /// What may come besides.
    pub allowed: &'static [Allowed],
    /// The goal from fault to webhook in seconds, where there is one.
    pub bar_s: Option<f64>,
}

const NODE: &str = crate::topology::NODE;

const fn node_down(fault: &'static [&'static str]) -> Expected {
    Expected {
        blame: "node",
        subject: NODE,
        severity: "critical",
        alertname: "PNNodeUnreachable",
        fault,
    }
}

/// A dead prober on the node is a finding of its own, found before the fault.
const NODE_PROBER_SILENT: &[Allowed] = &[Allowed {
    alertname: "PNVantageSilent",
    subject: "node/prod-kura-fleet-1",
}];

pub(crate) const fn silent(name: &'static str, about: &'static str) -> Row {
    Row {
        name,
        about,
        expected: None,
        allowed: &[],
        bar_s: None,
    }
}

/// All rows, in the order in which `run all` takes them (up to [`EXTRA`]).
pub const ROWS: [Row; 20] = [
    silent("healthy", "nothing is wrong"),
    Row {
        name: "F1",
        about: "the node's pn0 is deleted",
        expected: Some(node_down(&["interface_missing"])),
        allowed: &[],
        bar_s: Some(2.0),
    },
    Row {
        name: "F2",
        about: "the node's pn0 loses its address",
        expected: Some(node_down(&["address_lost"])),
        allowed: &[],
        bar_s: Some(2.0),
    },
    Row {
        name: "F1-blind",
        about: "F1 with the node's prober dead; it comes back and the finding sharpens",
        expected: Some(node_down(&["interface_missing"])),
        allowed: NODE_PROBER_SILENT,
        bar_s: Some(3.0),
    },
    Row {
        name: "F2-blind",
        about: "F2 with the node's prober dead; it comes back and the finding sharpens",
        expected: Some(node_down(&["address_lost"])),
        allowed: NODE_PROBER_SILENT,
        bar_s: Some(3.0),
    },
    Row {
        name: "F29",
        about: "the node is down: both its cables dead, its prober killed",
        expected: Some(node_down(&["node_down", "node_unreachable"])),
        allowed: &[],
        bar_s: Some(3.0),
    },
    Row {
        name: "F31",
        about: "the PN's bridge is dead; hosts do not reach one another either",
        expected: Some(Expected {
            blame: "network",
            subject: "PN",
            severity: "critical",
            alertname: "PNNetworkDown",
            fault: &["network_down"],
        }),
        allowed: &[],
        bar_s: Some(3.0),
    },
    Row {
        name: "F17",
        about: "the pod of one account accepts connections and never answers",
        expected: Some(Expected {
            blame: "account",
            subject: "tuist",
            severity: "critical",
            alertname: "PNAccountUnreachable",
            fault: &["pod_dead"],
        }),
        allowed: &[],
        bar_s: Some(6.0),
    },
    Row {
        name: "F24",
        about: "one host is lost: both its cables dead, its prober killed",
        expected: Some(Expected {
            blame: "vantage",
            subject: "host/mini-1",
            severity: "warning",
            alertname: "PNVantageSilent",
            fault: &["vantage_lost"],
        }),
        allowed: &[],
        bar_s: None,
    },
    silent(
        "F15",
        "policy drops the node's own dials to its NodePorts; hosts are fine",
    ),
    Row {
        name: "F2-lease",
        about: "the DHCP server dies and the node's lease runs out",
        expected: Some(node_down(&["address_lost"])),
        allowed: &[Allowed {
            alertname: "PNLeaseNotRenewed",
            subject: NODE,
        }],
        bar_s: Some(2.0),
    },
    Row {
        name: "F8",
        about: "one host's prober is killed; the host itself is fine",
        expected: Some(Expected {
            blame: "vantage",
            subject: "host/mini-1",
            severity: "warning",
            alertname: "PNVantageSilent",
            fault: &["vantage_silent"],
        }),
        allowed: &[],
        bar_s: None,
    },
    Row {
        name: "F25",
        about: "a token bucket before the node's pn0: a burst, then 200 Mbit/s flat",
        expected: Some(Expected {
            blame: "node",
            subject: NODE,
            severity: "warning",
            alertname: "PNSaturated",
            fault: &["saturated"],
        }),
        allowed: &[],
        bar_s: Some(15.0),
    },
    silent("steady", "one tenant at its cap of 750 Mbit/s"),
    silent(
        "client",
        "one client takes what its network card carries, 117 MB/s",
    ),
    silent(
        "burst",
        "ten seconds of 600 Mbit/s: the peak is what the sender counted",
    ),
    silent("blips", "all of the PN is dead for 500 ms every 15 s"),
    silent("loss5", "one host loses 5 % of its packets each way"),
    silent(
        "flush_readd",
        "the node's address is flushed and added again 100 ms later, every 10 s",
    ),
    silent(
        "rolling_restart",
        "one prober after the other is restarted, all the time",
    ),
];

/// How many rows at the end of [`ROWS`] `run all` leaves out.
pub const EXTRA: usize = 10;

/// Every row: those of hosts, of accounts, of the wire, of the VMs and of a cluster last.
pub fn all() -> impl Iterator<Item = &'static Row> {
    ROWS.iter()
        .chain(&host::ROWS)
        .chain(&account::ROWS)
        .chain(&wire::ROWS)
        .chain(&vms::ROWS)
        .chain(&cluster::ROWS)
}

/// The row called `name`.
pub fn row(name: &str) -> Option<&'static Row> {
    all().find(|row| row.name == name)
}

impl Row {
    /// Whether its exporters must read the objects of a cluster.
    pub fn needs_cluster(&self) -> bool {
        cluster::ROWS.iter().any(|row| row.name == self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_the_contract_is_covered() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(
                ROWS.iter()
                    .skip(index + 1)
                    .all(|other| other.name != row.name),
                "{}",
                row.name
            );
        }
        let all: Vec<&str> = ROWS
            .iter()
            .take(ROWS.len() - EXTRA)
            .map(|row| row.name)
            .collect();
        assert_eq!(
            all,
            [
                "healthy", "F1", "F2", "F1-blind", "F2-blind", "F29", "F31", "F17", "F24", "F15"
            ]
        );
    }

    #[test]
    fn the_node_is_spelled_as_in_the_topology() {
        assert_eq!(
            NODE_PROBER_SILENT[0].subject,
            crate::topology::node_vantage()
        );
        let f24 = row("F24").unwrap().expected.unwrap();
        assert_eq!(f24.subject, crate::topology::host_vantage(1));
        assert!(row("F99").is_none());
    }
}
