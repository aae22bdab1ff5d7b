//! No check allocates once everything has its memory: schedule, ARP, TCP, HTTP and the evidence
//! gathered of them, on real sockets between two namespaces (Linux, needs root).
//!
//! What a *report* is made of is allocated per report; that is between the counted steps. Checks at
//! a tenth of the pace or less (`/ready`, the read of many segments) may allocate.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(
    unsafe_code,
    reason = "a global allocator that counts cannot be written without"
)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pnwatch_core::inventory::InventoryFile;
use pnwatch_core::link::{DeviceState, LinkFacts};
use pnwatch_core::outcome::Blind;
use pnwatch_core::plan::{Pace, Plan};
use pnwatch_edge::clock::{Clock, SystemClock};
use pnwatch_prober::engine::{Limits, Sockets};
use pnwatch_prober::link::Leg;
use pnwatch_prober::rounds::Rounds;
use support::netns::Pair;

thread_local! {
    /// Allocations of this thread; const, so that counting does not allocate.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's own promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PORTS: u16 = 40;
const BODY: &str = r#"{"status":"ok","tenant_id":"t","ring_members":["a","b"],"generation":7}"#;

/// Answers `/up` on every port of the node, in its namespace, until the test ends.
fn peers(pair: &Pair) -> Vec<u16> {
    Pair::inside(&pair.node, async {
        (0..PORTS)
            .map(|_| {
                let listener = TcpListener::bind("172.16.0.2:0").unwrap();
                let port = listener.local_addr().unwrap().port();
                std::thread::spawn(move || {
                    for mut stream in listener.incoming().flatten() {
                        let mut request = [0; 512];
                        let Ok(1..) = stream.read(&mut request) else {
                            continue;
                        };
                        let length = BODY.len();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{BODY}");
                        // A prober that has gone needs no answer.
                        let _ = stream.write_all(answer.as_bytes());
                    }
                });
                port
            })
            .collect()
    })
}

/// Every target five times a second, so that a short window holds many checks.
fn plan(ports: &[u16]) -> Plan {
    let targets = ports.iter().map(|port| {
        serde_json::json!({ "account": format!("a{port}"), "tenant": "t", "instance": "i",
            "node": "n1", "address": "172.16.0.2", "port": port })
    });
    let file: InventoryFile = serde_json::from_value(serde_json::json!({
        "pn_cidr": "172.16.0.0/22",
        "nodes": [{ "name": "n1", "address": "172.16.0.2" }],
        "vantages": [{ "vantage": "host/a" }],
        "targets": targets.collect::<Vec<_>>(),
    }))
    .unwrap();
    let inventory = file.into_inventory("test".parse().unwrap()).unwrap();
    let pace = Pace {
        arp_ms: 200,
        tcp_ms: 200,
        ready_ms: 300_000,
        ..Pace::default()
    };
    Plan::for_vantage(
        &inventory,
        &"host/a".parse().unwrap(),
        &BTreeMap::new(),
        pace,
    )
}

fn leg(pair: &Pair) -> Leg {
    let links = pair.own_ip("-j link show vlan0");
    let links: serde_json::Value = serde_json::from_str(&links).unwrap();
    Leg {
        index: links[0]["ifindex"].as_u64().map(|i| i as u32),
        arp: true,
        source: Some([172, 16, 0, 11].into()),
        facts: LinkFacts {
            device: "vlan0".into(),
            state: DeviceState::Up,
            mac: links[0]["address"].as_str().map(|m| m.parse().unwrap()),
            ..Leg::default().facts
        },
        ..Leg::default()
    }
}

/// Steps for `lasting`; how many allocations the steps made.
fn steps(rounds: &mut Rounds<Sockets>, clock: &SystemClock, lasting: Duration) -> u64 {
    let end = Instant::now() + lasting;
    let mut made = 0;
    while Instant::now() < end {
        let before = COUNT.with(Cell::get);
        rounds.step(clock.now().tick, Blind::Overrun);
        made += COUNT.with(Cell::get) - before;
        std::thread::sleep(Duration::from_millis(1));
    }
    made
}

#[test]
fn a_check_allocates_nothing_once_everything_has_its_memory() {
    let pair = Pair::new();
    let plan = plan(&peers(&pair));
    let leg = leg(&pair);
    Pair::inside(&pair.own, async move {
        let clock = SystemClock::new();
        let vantage = "host/a".parse().unwrap();
        let engine = Sockets::new(&vantage, Arc::new(clock.clone()), Limits::default()).unwrap();
        let limits = Limits::default();
        let mut rounds = Rounds::new(engine, &vantage, limits, Vec::new(), "test".to_owned());
        rounds.set_leg(&leg);
        rounds.set_plans(&[&plan], clock.now().tick);
        // Longer than any deadline. A stall first: then all are due at once.
        for second in 0..10 {
            if second < 3 {
                std::thread::sleep(Duration::from_millis(700));
            }
            steps(&mut rounds, &clock, Duration::from_secs(1));
            rounds.fold(clock.now().tick);
        }
        // Rarer checks come in between, and a buffer may still grow where the machine was busy. What
        // allocated per check would leave no window without.
        let mut seen = Vec::new();
        let clean = |(checks, made): &&(u64, u64)| *checks >= 100 && *made == 0;
        while seen.iter().filter(clean).count() < 3 {
            assert!(seen.len() < 60, "(checks, allocations) by window: {seen:?}");
            let before = rounds.tally().checks;
            let made = steps(&mut rounds, &clock, Duration::from_millis(900));
            let checks = rounds.tally().checks - before;
            let told = rounds.fold(clock.now().tick).outcomes();
            // What was made was told, but for what is under way.
            assert!(told + 50 >= checks, "{checks} checks, {told} outcomes");
            seen.push((checks, made));
        }
        println!("(checks, allocations) by window: {seen:?}");
    });
}
