//! Every fault really breaks what it says, at the time that the kernel says, and heals.
//! Without pnwatch: this is about the lab alone.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking, in its helpers too

mod common;

use std::time::{Duration, Instant};

use common::{ARPING, PATIENCE, SILENCE, arp, connects};
use jiff::Timestamp;
use pnwatch_lab::command::{IP, require_all};
use pnwatch_lab::faults::fault;
use pnwatch_lab::http;
use pnwatch_lab::lab::{Lab, LabOptions};
use pnwatch_lab::topology::{CONTROL, NODE_ADDRESS, PODS, host_address};
use pnwatch_lab::wait;

/// What host 0 sees.
#[derive(Debug, PartialEq, Eq)]
struct View {
    /// The node answers ARP.
    arp: bool,
    /// The first and the second account's `NodePort` accept connections.
    tcp: [bool; 2],
    /// The first account's `/up` answers.
    http: bool,
    /// Another host answers ARP.
    neighbour: bool,
    /// The control answers.
    control: bool,
}

const HEALTHY: View = View {
    arp: true,
    tcp: [true, true],
    http: true,
    neighbour: true,
    control: true,
};
const NODE_LOST: View = View {
    arp: false,
    tcp: [false, false],
    http: false,
    ..HEALTHY
};

fn view(lab: &Lab) -> View {
    let host = &lab.network.hosts[0].namespace;
    let answers = |address: &str, patience| {
        http::request(host, "GET", address, "/up", "", patience)
            .is_ok_and(|answer| answer.status == 200)
    };
    View {
        arp: arp(host, "vlan0", NODE_ADDRESS),
        tcp: PODS.map(|pod| connects(host, NODE_ADDRESS, pod.node_port, SILENCE)),
        http: answers(&format!("{NODE_ADDRESS}:{}", PODS[0].node_port), SILENCE),
        neighbour: arp(host, "vlan0", host_address(1)),
        control: answers(CONTROL, PATIENCE),
    }
}

/// Breaks, looks, heals, looks again.
fn check(lab: &mut Lab, name: &str, broken: &View) {
    let fault = fault(name).unwrap();
    let before = Timestamp::now();
    (fault.prepare)(lab).unwrap();
    let at = (fault.inject)(lab).unwrap();
    assert!(
        before <= at && at <= Timestamp::now(),
        "{name}: the fault's time is {at}"
    );
    assert_eq!(view(lab), *broken, "{name}");
    (fault.heal)(lab).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    // ARP entries that failed are asked for again within a second or so.
    while view(lab) != HEALTHY {
        assert!(
            Instant::now() < deadline,
            "{name} is not healed: {:?}",
            view(lab)
        );
    }
}

#[test]
fn every_fault_breaks_what_it_says_and_heals() {
    require_all(&[ARPING]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::up(&LabOptions {
        dir: dir.path().to_owned(),
        program: env!("CARGO_BIN_EXE_pnwatch-lab").into(),
        pnwatch: None,
        exporters: 1,
        lease_seconds: 60,
    })
    .unwrap();
    assert_eq!(view(&lab), HEALTHY);
    for name in ["F1", "F2", "F2-lease", "F29"] {
        check(&mut lab, name, &NODE_LOST);
    }
    check(
        &mut lab,
        "F31",
        &View {
            neighbour: false,
            ..NODE_LOST
        },
    );
    check(
        &mut lab,
        "F17",
        &View {
            http: false,
            ..HEALTHY
        },
    );
    check(
        &mut lab,
        "F24",
        &View {
            neighbour: false,
            ..HEALTHY
        },
    );
    for name in ["healthy", "F8"] {
        check(&mut lab, name, &HEALTHY);
    }
    own_dials(&mut lab);
    blip(&mut lab);
    flush(&mut lab);
    loss(&mut lab);
    lab.processes.check_all().unwrap();
    let mut arrived = lab.monitoring.webhook.since(0);
    arrived.retain(|notification| notification.receiver != "dead-mans-switch");
    assert!(
        arrived.is_empty(),
        "without pnwatch nobody is paged: {arrived:?}"
    );
}

/// F15: the node alone is cut off.
fn own_dials(lab: &mut Lab) {
    let fault = fault("F15").unwrap();
    let own = |lab: &Lab, patience| {
        connects(
            &lab.network.node.namespace,
            NODE_ADDRESS,
            PODS[0].node_port,
            patience,
        )
    };
    assert!(own(lab, PATIENCE));
    (fault.inject)(lab).unwrap();
    assert!(!own(lab, SILENCE));
    assert_eq!(view(lab), HEALTHY);
    (fault.heal)(lab).unwrap();
    assert!(own(lab, PATIENCE));
}

/// A blip is over by itself after half a second.
fn blip(lab: &mut Lab) {
    let fault = fault("blips").unwrap();
    (fault.prepare)(lab).unwrap();
    let host = lab.network.hosts[0].namespace.clone();
    let port = PODS[0].node_port;
    let reachable = move || connects(&host, NODE_ADDRESS, port, Duration::from_millis(50));
    // The longest time without success; one slow handshake on a busy machine is none.
    let watcher = std::thread::spawn(move || {
        let (mut alive, mut longest) = (Instant::now(), Duration::ZERO);
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            if reachable() {
                alive = Instant::now();
            }
            longest = longest.max(alive.elapsed());
            // Sampled, not flooded: a full accept queue would look like a longer blip.
            wait::pass(Duration::from_millis(20)).unwrap();
        }
        longest
    });
    (fault.disturb.unwrap())(lab, Duration::from_secs(2)).unwrap();
    let dead = watcher.join().unwrap();
    assert!((300..=600).contains(&dead.as_millis()), "dead for {dead:?}");
    (fault.heal)(lab).unwrap();
    assert_eq!(view(lab), HEALTHY);
}

/// The address is away for less than a tenth of a second.
fn flush(lab: &mut Lab) {
    let fault = fault("flush_readd").unwrap();
    let since = Timestamp::now();
    (fault.disturb.unwrap())(lab, Duration::from_secs(1)).unwrap();
    let events = lab.node_events.events().unwrap();
    let changes: Vec<_> = events
        .iter()
        .filter(|event| event.at >= since && format!("{:?}", event.change).contains("Address"))
        .collect();
    let [gone, set] = changes.as_slice() else {
        panic!("one removal and one addition: {changes:?}");
    };
    let away = set.at.duration_since(gone.at).as_millis();
    assert!((80..200).contains(&away), "away for {away} ms");
    (fault.heal)(lab).unwrap();
    assert_eq!(view(lab), HEALTHY);
}

/// Some packets of the lossy host are lost, and it still gets through.
fn loss(lab: &mut Lab) {
    let fault = fault("loss5").unwrap();
    (fault.inject)(lab).unwrap();
    let host = &lab.network.hosts[1].namespace;
    let tries = 60;
    // A lost SYN is sent again after a second.
    let reached = (0..tries)
        .filter(|_| connects(host, NODE_ADDRESS, PODS[0].node_port, PATIENCE))
        .count();
    assert!(reached > tries * 9 / 10, "{reached} of {tries}");
    let switch = lab.network.switch.name();
    let words = [
        "netns", "exec", switch, "nft", "list", "table", "bridge", "lab_loss",
    ];
    let rules = IP.run(words, "").unwrap();
    let dropped: u32 = rules
        .split("counter packets ")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<u32>().ok())
        .sum();
    // Without any loss among some 300 packets: one run in millions.
    assert!(dropped > 0, "{rules}");
    (fault.heal)(lab).unwrap();
    assert_eq!(view(lab), HEALTHY);
}
