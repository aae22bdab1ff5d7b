//! The rows whose exporters read the objects of a cluster.

use super::{Allowed, Expected, Row, silent};
use crate::second;

const TUIST: &str = crate::topology::PODS[0].account;

const fn told(name: &'static str, about: &'static str, expected: Expected) -> Row {
    Row {
        name,
        about,
        expected: Some(expected),
        allowed: &[],
        bar_s: None,
    }
}

const fn stale(subject: &'static str, fault: &'static [&'static str]) -> Expected {
    Expected {
        blame: "control_plane",
        subject,
        severity: "warning",
        alertname: "PNControlPlaneStale",
        fault,
    }
}

const fn account(fault: &'static [&'static str]) -> Expected {
    Expected {
        blame: "account",
        subject: TUIST,
        severity: "critical",
        alertname: "PNAccountUnreachable",
        fault,
    }
}

/// With every host's prober dead nobody is left to confirm anything, which is told too.
const NO_HOSTS: &[Allowed] = &[
    Allowed {
        alertname: "PNVantageSilent",
        subject: "host/mini-0",
    },
    Allowed {
        alertname: "PNVantageSilent",
        subject: "host/mini-1",
    },
    Allowed {
        alertname: "PNVantageSilent",
        subject: "host/mini-2",
    },
    Allowed {
        alertname: "PNMonitorBlind",
        subject: "lab",
    },
];

/// Everybody behind the node stopped together while builds go on elsewhere: the second account
/// may be told as well.
const SINGLE: &[Allowed] = &[
    NO_HOSTS[0],
    NO_HOSTS[1],
    NO_HOSTS[2],
    NO_HOSTS[3],
    Allowed {
        alertname: "PNTrafficSilent",
        subject: crate::topology::PODS[1].account,
    },
];

/// All of them, in the order in which `run cluster` takes them.
pub const ROWS: [Row; 19] = [
    told(
        "F6",
        "builds of an account flow elsewhere and its jobs run, and none is sent to its healthy pod here",
        Expected {
            blame: "control_plane",
            subject: crate::topology::PODS[1].account,
            severity: "warning",
            alertname: "PNEndpointNotDispatched",
            fault: &["not_dispatched"],
        },
    ),
    silent("F14", "builds stop everywhere for a while, checks are fine"),
    told(
        "F16",
        "one account's cache routes answer 503, its /up is fine",
        Expected {
            blame: "account",
            subject: TUIST,
            severity: "warning",
            alertname: "PNDegraded",
            fault: &["shedding"],
        },
    ),
    told(
        "F18",
        "the status of an instance has lost its nodeAddress, everything else says Ready",
        stale("kura-tuist-scw-fr-par", &["status_stale"]),
    ),
    told(
        "F19",
        "the pod of an account moves to the other node, the old endpoint is handed out still",
        account(&["endpoint_stale"]),
    ),
    told(
        "F21",
        "the label of the node names another address than its interface holds",
        Expected {
            blame: "node",
            subject: super::NODE,
            severity: "critical",
            alertname: "PNNodeUnreachable",
            fault: &["address_wrong"],
        },
    ),
    told(
        "F26",
        "the second node is bound to no machine any more",
        stale(second::NODE, &["binding_missing"]),
    ),
    told(
        "F27",
        "a new account's pod cannot be scheduled",
        Expected {
            blame: "account",
            subject: "young",
            severity: "warning",
            alertname: "PNAccountUnreachable",
            fault: &["never_ready"],
        },
    ),
    told(
        "F28",
        "another Node object claims the second node's PN address",
        stale("172.16.0.3", &["duplicate_claim"]),
    ),
    told(
        "F39",
        "the name of an account's gateway leads to another address than its node's",
        account(&["gateway_broken"]),
    ),
    Row {
        name: "F1-condition",
        about: "F1, and the node's condition in the cluster follows within 5 s and back",
        expected: Some(super::node_down(&["interface_missing"])),
        allowed: &[],
        bar_s: Some(2.0),
    },
    Row {
        name: "F1-restricted",
        about: "F1 with every prober under exactly the rights of the chart's Pod",
        expected: Some(super::node_down(&["interface_missing"])),
        allowed: &[],
        bar_s: Some(2.0),
    },
    Row {
        name: "F1-no-raw",
        about: "the same without NET_RAW: no ARP anywhere, and that is said",
        expected: Some(super::node_down(&["interface_missing"])),
        allowed: &[],
        bar_s: Some(6.0),
    },
    silent(
        "lease",
        "the exporter that writes node conditions is killed (needs --exporters 2); the other takes over",
    ),
    Row {
        name: "single-node",
        about: "one cache node, all its pods cut off, no host looks: the account with builds elsewhere is told, the other is unknown, never idle",
        expected: Some(Expected {
            blame: "account",
            subject: TUIST,
            severity: "warning",
            alertname: "PNTrafficSilent",
            fault: &["traffic_silent"],
        }),
        allowed: SINGLE,
        bar_s: None,
    },
    Row {
        name: "single-node-jobs",
        about: "the same without any pod elsewhere: the account whose jobs are known is told, the other is unknown",
        expected: Some(Expected {
            blame: "account",
            subject: crate::topology::PODS[1].account,
            severity: "warning",
            alertname: "PNTrafficSilent",
            fault: &["traffic_silent"],
        }),
        allowed: NO_HOSTS,
        bar_s: None,
    },
    Row {
        name: "blackhole",
        about: "builds flow, then what comes by the PN for one account is dropped",
        expected: Some(account(&["account_unreachable", "port_filtered"])),
        allowed: &[],
        bar_s: Some(6.0),
    },
    Row {
        name: "blackhole-unwatched",
        about: "the same with every host's prober dead: the counters alone tell it",
        expected: Some(Expected {
            blame: "account",
            subject: TUIST,
            severity: "warning",
            alertname: "PNTrafficSilent",
            fault: &["traffic_silent"],
        }),
        allowed: NO_HOSTS,
        bar_s: None,
    },
    silent(
        "quiet-traffic",
        "idle account, restarts, a scrape gap, warm VMs, a night without any build",
    ),
];
