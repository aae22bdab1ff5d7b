//! What macOS' commands say, and the facts that must come of it: recorded outputs in
//! tests/mac/*.txt, one block each, and whatever bytes may come instead.
//!
//! `PNWATCH_FUZZ_CASES=5000000 cargo test --release -p pnwatch-prober --test mac fuzz` is the
//! recorded fuzz run of docs/recorded-runs.md; without it a few thousand cases per reader.

#![allow(clippy::unwrap_used)] // a test: a fault ends it

#[path = "mac/blocks.rs"]
mod blocks;
#[path = "mac/fuzz.rs"]
mod fuzz;

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use pnwatch_core::filter::FilterFacts;
use pnwatch_core::link::{Cidr, DeviceState};
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_prober::mac::facts::{self, Anchors, LegOutputs, PfOutputs};
use pnwatch_prober::mac::parse::{arp, ifconfig, ipconfig, kernel, netstat, route};

use blocks::{Block, blocks, part};

const OURS: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 11);

fn pn() -> Cidr {
    "172.16.0.0/22".parse().unwrap()
}

/// Every block of `file` gives what stands above it.
fn check(file: &str, describe: impl Fn(&str) -> String) {
    for block in blocks(file) {
        let Block {
            name,
            expected,
            said,
        } = block;
        assert_eq!(describe(&said), expected, "{file}: {name}");
    }
}

fn state(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Absent => "absent",
        DeviceState::AdminDown => "admin_down",
        DeviceState::NoCarrier => "no_carrier",
        DeviceState::Up => "up",
    }
}

#[test]
fn interfaces() {
    check("ifconfig.txt", |said| {
        let Some(found) = ifconfig::interface(said, "vlan0") else {
            return "absent".into();
        };
        let mut text = state(found.state()).to_owned();
        text += if found.arp { " arp" } else { " noarp" };
        if let Some(mac) = found.mac {
            write!(text, " {mac}").unwrap();
        }
        for (address, length) in &found.addresses {
            write!(text, " {address}/{length}").unwrap();
        }
        match (found.vlan, &found.parent) {
            (Some(tag), Some(parent)) => write!(text, " vlan {tag} on {parent}").unwrap(),
            (Some(tag), None) => write!(text, " vlan {tag} detached").unwrap(),
            _ => {}
        }
        text
    });
}

#[test]
fn routes() {
    check("route.txt", |said| {
        let Some(found) = route::get(said) else {
            return "none".into();
        };
        let mut text = found.device.unwrap();
        if let Some(gateway) = found.gateway {
            write!(text, " via {gateway}").unwrap();
        }
        if found.refuses {
            text += " refuses";
        }
        text
    });
    check("routes.txt", |said| {
        let device = netstat::default_device(said).unwrap_or_else(|| "none".into());
        format!("{device}, {} routes", netstat::routes(said).len())
    });
}

#[test]
fn dhcp_packets() {
    check("getpacket.txt", |said| {
        let packet = ipconfig::packet(said);
        let mut text = packet
            .address
            .map_or_else(|| "nothing".to_owned(), |address| address.to_string());
        for (word, value) in [
            ("from", packet.server.map(|server| server.to_string())),
            ("for", packet.lease_s.map(|s| s.to_string())),
            ("renew", packet.renew_s.map(|s| s.to_string())),
        ] {
            if let Some(value) = value {
                write!(text, " {word} {value}").unwrap();
            }
        }
        if packet.ack {
            text += " ack";
        }
        text
    });
}

/// The lease as it is told of an interface that holds our address.
fn told_lease(summary: &str, lease_file: &str) -> String {
    let ifconfig = "vlan0: flags=8843<UP,RUNNING> mtu 1500\n\
                    \tinet 172.16.0.11 netmask 0xfffffc00 broadcast 172.16.3.255\n";
    let outputs = LegOutputs {
        ifconfig,
        summary,
        lease_file,
        ..LegOutputs::default()
    };
    let leg = facts::leg(("vlan0", Some(18)), pn(), &outputs, now());
    assert_eq!(leg.source, Some(OURS));
    let held = &leg.facts.addresses[0];
    match (held.valid_for_s, held.renewed_ago_s) {
        (Some(left), Some(age)) => format!("left {left} age {age}"),
        (None, None) => "none".into(),
        other => unreachable!("half a lease: {other:?}"),
    }
}

/// 2026-11-20T12:20:00Z.
fn now() -> Now {
    Now {
        tick: Tick::from_millis(1_000_000),
        wall: Timestamp::from_unix_nanos(1_795_177_200 * 1_000_000_000),
    }
}

#[test]
fn leases() {
    check("getsummary.txt", |said| {
        let summary = ipconfig::summary(said);
        let mut text = if summary.dhcp { "dhcp" } else { "static" }.to_owned();
        if let Some(state) = &summary.state {
            write!(text, " {state}").unwrap();
        }
        if let Some(address) = summary.packet.address {
            write!(text, " {address}").unwrap();
        }
        format!("{text} {}", told_lease(said, ""))
    });
    check("lease_file.txt", |said| told_lease("", said));
}

#[test]
fn the_lease_file_wins_over_times_without_a_zone() {
    let file = &blocks("lease_file.txt")[1].said;
    let summary = &blocks("getsummary.txt")[0].said;
    assert_eq!(told_lease(summary, file), "left 60 age 3540");
}

#[test]
fn counters() {
    check("counters.txt", |said| {
        netstat::device_counters(said, "vlan0").map_or_else(
            || "none".into(),
            |(_, b)| format!("{} {} {}", b.receive, b.transmit, b.transmit_drops),
        )
    });
}

#[test]
fn boots() {
    let uuid = "6C1D41E4-0F64-4C83-9C7B-2F4B3B1D3A11";
    assert_eq!(
        kernel::boot_session(&format!("{uuid}\n")),
        Some(uuid.into())
    );
    for none in [
        "",
        "\n",
        "sysctl: unknown oid 'kern.bootsessionuuid'",
        "0",
        &"A".repeat(65),
    ] {
        assert_eq!(kernel::boot_session(none), None, "{none:?}");
    }
}

#[test]
fn neighbours() {
    check("arp.txt", |said| {
        let all: Vec<String> = arp::neighbours(said)
            .iter()
            .map(|n| {
                let mac = n.mac.map_or_else(|| "none".into(), |mac| mac.to_string());
                format!("{}={mac}@{}", n.address, n.device)
            })
            .collect();
        if all.is_empty() {
            "nothing".into()
        } else {
            all.join(" ")
        }
    });
}

fn pf_facts(said: &str) -> FilterFacts {
    let outputs = PfOutputs {
        info: part(said, "info"),
        memory: part(said, "memory"),
        main: part(said, "main"),
        rules: part(said, "rules"),
        sources: part(said, "sources"),
        nat: part(said, "nat"),
        errors: part(said, "errors").unwrap_or_default(),
    };
    facts::filter(&outputs, Anchors::default(), pn(), "vlan0")
}

#[test]
fn packet_filters() {
    check("pf.txt", |said| {
        let facts = pf_facts(said);
        let mut words: Vec<String> = Vec::new();
        words.push(
            match facts.enabled {
                Some(true) => "enabled",
                Some(false) => "disabled",
                None => "unknown",
            }
            .into(),
        );
        words.extend(
            facts
                .admits_vms
                .map(|yes| if yes { "admits" } else { "no-admits" }.into()),
        );
        words.extend(facts.sources.map(|count| format!("sources={count}")));
        let span = |s: &pnwatch_core::filter::PortSpan| {
            if s.first == s.last {
                s.first.to_string()
            } else {
                format!("{}-{}", s.first, s.last)
            }
        };
        let ports: Vec<String> = facts.ports.iter().map(span).collect();
        if !ports.is_empty() {
            words.push(format!("ports={}", ports.join(",")));
        }
        words.extend(facts.nat_rule.map(|yes| match (yes, &facts.nat_device) {
            (true, _) => "nat".to_owned(),
            (false, Some(device)) => format!("no-nat@{device}"),
            (false, None) => "no-nat".to_owned(),
        }));
        if facts.duplicate {
            words.push("duplicate".into());
        }
        if facts.load_failed {
            words.push("load-failed".into());
        }
        if let Some(states) = facts.states {
            let limit = facts.states_limit.map_or("-".into(), |l| l.to_string());
            words.push(format!("states={states}/{limit}"));
        }
        let flaws: Vec<&str> = facts.flaws([30_080]).iter().map(|f| f.as_label()).collect();
        words.push(format!("[{}]", flaws.join(" ")));
        words.join(" ")
    });
}

#[test]
fn there_are_as_many_as_are_promised() {
    let files = [
        "ifconfig.txt",
        "route.txt",
        "routes.txt",
        "getpacket.txt",
        "getsummary.txt",
        "lease_file.txt",
        "counters.txt",
        "arp.txt",
        "pf.txt",
    ];
    let count: usize = files.iter().map(|file| blocks(file).len()).sum();
    assert!(count >= 100, "{count} recorded outputs");
}
