//! Faults of a Mac host from recorded outputs of macOS' commands, through everything that is
//! real: the prober's readers, its report, HTTP with its token, an exporter's ingest, judgement.
//!
//! What is not from a command is what checks see: which of them succeed. Each story has an
//! exporter of its own, two hosts with one VM each, and ends when the finding is there, alone.

#![allow(clippy::unwrap_used)] // a test: a fault ends it

mod apart;
#[path = "../../prober/tests/mac/blocks.rs"]
mod blocks;
mod exporter;
#[path = "../serving/mod.rs"]
mod serving;

use std::time::{Duration, Instant};

use pnwatch_core::link::Cidr;
use pnwatch_core::outcome::{Blind, Cause, Layer, Outcome};
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::wire::{LinkReport, PathReport, Run};
use pnwatch_prober::engine::denial::{Denial, is_denied};
use pnwatch_prober::mac::facts::{self, Anchors, LegOutputs, PfOutputs};

use blocks::{blocks, part};
use exporter::Exporter;

/// Far above what anything here takes.
const DEADLINE: Duration = Duration::from_secs(40);
/// How long all is well first: a fault has a beginning.
const WELL: Duration = Duration::from_secs(1);
/// How often everybody reports.
const EVERY: Duration = Duration::from_millis(200);

fn said(file: &str, name: &str) -> String {
    let found = blocks(file).into_iter().find(|block| block.name == name);
    found
        .unwrap_or_else(|| unreachable!("{file} has no block {name:?}"))
        .said
}

/// The outputs that a host's leg is made of: names of blocks.
#[derive(Clone, Copy)]
struct Host {
    ifconfig: &'static str,
    route: &'static str,
    pf: &'static str,
}

const HEALTHY: Host = Host {
    ifconfig: "healthy, macOS 14",
    route: "healthy: the network is on the link",
    pf: "healthy",
};

impl Host {
    /// The leg as a Mac's prober would report it, when it has been so for a while.
    fn link(self, held: Duration) -> LinkReport {
        let pn: Cidr = "172.16.0.0/22".parse().unwrap();
        let wall = Timestamp::from_unix_nanos(1_795_177_200 * 1_000_000_000);
        let tick = Tick::from_millis(1_000_000);
        let now = Now { tick, wall };
        let (ifconfig, route) = (
            said("ifconfig.txt", self.ifconfig),
            said("route.txt", self.route),
        );
        let (summary, lease_file) = (
            said("getsummary.txt", "healthy: a third of the lease is over"),
            said("lease_file.txt", "healthy"),
        );
        let outputs = LegOutputs {
            ifconfig: &ifconfig,
            route: Some(([172, 16, 0, 2].into(), &route)),
            summary: &summary,
            lease_file: &lease_file,
        };
        let mut leg = facts::leg(("vlan0", Some(18)), pn, &outputs, now);
        let pf = said("pf.txt", self.pf);
        let outputs = PfOutputs {
            info: part(&pf, "info"),
            memory: part(&pf, "memory"),
            main: part(&pf, "main"),
            rules: part(&pf, "rules"),
            sources: part(&pf, "sources"),
            nat: part(&pf, "nat"),
            errors: part(&pf, "errors").unwrap_or_default(),
        };
        leg.facts.filter = Some(facts::filter(&outputs, Anchors::default(), pn, "vlan0"));
        leg.report(tick.after(held))
    }
}

/// What a vantage's checks see.
#[derive(Clone, Copy)]
struct Sees {
    arp: Outcome,
    acme: Outcome,
    other: Outcome,
}

const FINE: Sees = Sees {
    arp: Outcome::Reached,
    acme: Outcome::Reached,
    other: Outcome::Reached,
};

const fn connects(outcome: Outcome) -> Sees {
    Sees {
        acme: outcome,
        other: outcome,
        ..FINE
    }
}

const SILENT: Outcome = Outcome::Unreached(Cause::SynUnanswered);

fn path(subject: &str, layer: Layer, outcome: Outcome) -> PathReport {
    PathReport {
        subject: subject.parse().unwrap(),
        layer,
        runs: vec![Run {
            outcome,
            count: 1,
            first_age_us: 20_000,
            last_age_us: 20_000,
            rtt_us: Vec::new(),
            kernel_rtt_us: Vec::new(),
        }],
        mac: None,
    }
}

fn paths(vantage: &str, sees: Sees) -> Vec<PathReport> {
    let mut paths = vec![path("control", Layer::Control, Outcome::Reached)];
    let accounts = [
        ("account:acme/kura-acme-1/nodeport", sees.acme),
        ("account:other/kura-other-1/nodeport", sees.other),
    ];
    for (subject, outcome) in accounts {
        paths.push(path(subject, Layer::Tcp, outcome));
        if outcome == Outcome::Reached {
            paths.push(path(subject, Layer::Http, outcome));
        }
    }
    if vantage.starts_with("host/") {
        paths.push(path("node:kura-fleet-1", Layer::Arp, sees.arp));
        for host in ["host/mini-1", "host/mini-2"] {
            if host != vantage {
                paths.push(path(&format!("neighbour:{host}"), Layer::Arp, sees.arp));
            }
        }
    }
    paths
}

/// One fault of the host mini-1.
struct Story {
    host: Host,
    host_sees: Sees,
    vm_sees: Sees,
    /// blame, subject, fault, severity.
    expected: [&'static str; 4],
}

impl Story {
    async fn run(self) {
        let mut exporter = Exporter::start().await;
        let began = Instant::now();
        loop {
            let since = began.elapsed().checked_sub(WELL);
            let broken = since.is_some();
            let held = since.unwrap_or(WELL);
            let (host, host_sees, vm_sees) = if broken {
                (self.host, self.host_sees, self.vm_sees)
            } else {
                (HEALTHY, FINE, FINE)
            };
            exporter
                .report(
                    "host/mini-1",
                    host.link(held),
                    paths("host/mini-1", host_sees),
                    paths("vm/mini-1/1", vm_sees),
                )
                .await;
            exporter
                .report(
                    "host/mini-2",
                    HEALTHY.link(began.elapsed()),
                    paths("host/mini-2", FINE),
                    paths("vm/mini-2/1", FINE),
                )
                .await;
            let found = exporter.findings().await;
            if let Some(first) = found.first() {
                assert!(broken, "found while all was well: {first:?}");
                assert_eq!(*first, self.expected);
                assert_eq!(found.len(), 1, "{found:?}");
                return;
            }
            assert!(
                began.elapsed() < DEADLINE,
                "nothing was found; expected {:?}",
                self.expected
            );
            tokio::time::sleep(EVERY).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_the_nat_rule_of_the_pn_leg_is_gone() {
    Story {
        host: Host {
            pf: "F3: the sub-anchor is empty",
            ..HEALTHY
        },
        host_sees: FINE,
        vm_sees: connects(SILENT),
        expected: ["host", "mini-1", "vm_nat_missing", "critical"],
    }
    .run()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f4_an_old_or_empty_rule_set_while_vms_still_get_through() {
    Story {
        host: Host {
            pf: "F4: Resource busy",
            ..HEALTHY
        },
        host_sees: FINE,
        vm_sees: FINE,
        expected: ["host", "mini-1", "filter_stale", "warning"],
    }
    .run()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f4_an_empty_anchor_cuts_the_vms_off() {
    Story {
        host: Host {
            pf: "F4: the anchor is empty",
            ..HEALTHY
        },
        host_sees: FINE,
        vm_sees: connects(SILENT),
        expected: ["host", "mini-1", "filter_stale", "critical"],
    }
    .run()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f9_the_anchor_is_called_twice_and_there_is_no_nat() {
    Story {
        host: Host {
            pf: "F9: twice, and no NAT",
            ..HEALTHY
        },
        host_sees: FINE,
        vm_sees: connects(SILENT),
        expected: ["host", "mini-1", "vm_nat_missing", "critical"],
    }
    .run()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_the_vlan_is_gone() {
    let blind = Outcome::Unmeasured(Blind::NoDevice);
    Story {
        host: Host {
            ifconfig: "F10: no such device (the message is on standard error)",
            route: "F38: by the default gateway of another device",
            ..HEALTHY
        },
        host_sees: Sees {
            arp: blind,
            ..connects(blind)
        },
        vm_sees: connects(SILENT),
        expected: ["host", "mini-1", "interface_missing", "critical"],
    }
    .run()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_the_address_is_lost() {
    let blind = Outcome::Unmeasured(Blind::NoSource);
    Story {
        host: Host {
            ifconfig: "F11: address lost, the client gave itself a link-local one",
            ..HEALTHY
        },
        host_sees: Sees {
            arp: blind,
            ..connects(blind)
        },
        vm_sees: connects(SILENT),
        expected: ["host", "mini-1", "address_lost", "critical"],
    }
    .run()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_one_port_is_filtered_on_the_host() {
    Story {
        host: HEALTHY,
        host_sees: Sees {
            acme: SILENT,
            ..FINE
        },
        vm_sees: Sees {
            acme: SILENT,
            ..FINE
        },
        expected: ["host", "mini-1", "port_filtered", "critical"],
    }
    .run()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_macos_denies_the_prober_the_local_network() {
    // What the engine makes of EHOSTUNREACH at once, while the address answers ARP.
    let denied = is_denied(&Denial {
        possible: true,
        unreachable: true,
        after: Duration::from_micros(40),
        route: Some(true),
        heard: Some(Duration::from_millis(500)),
    });
    assert!(denied);
    let blind = Outcome::Unmeasured(Blind::LocalNetworkDenied);
    Story {
        host: HEALTHY,
        host_sees: connects(blind),
        vm_sees: FINE,
        expected: ["vantage", "host/mini-1", "local_network_denied", "warning"],
    }
    .run()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f37_pf_has_no_room_for_another_state() {
    Story {
        host: Host {
            pf: "F37: states at their limit",
            ..HEALTHY
        },
        host_sees: connects(SILENT),
        vm_sees: connects(SILENT),
        expected: ["host", "mini-1", "state_exhausted", "critical"],
    }
    .run()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f38_the_route_leaves_by_another_device() {
    Story {
        host: Host {
            route: "F38: by the default gateway of another device",
            ..HEALTHY
        },
        host_sees: connects(SILENT),
        vm_sees: connects(SILENT),
        expected: ["host", "mini-1", "route_wrong", "critical"],
    }
    .run()
    .await;
}
