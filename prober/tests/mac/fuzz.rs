//! Bytes that no command ever printed: no reader panics, none believes what it must not, and
//! none takes long.
//!
//! Each case is a recorded output of one of the commands, mutated: lines dropped, doubled,
//! swapped, cut off, bytes replaced, parts of other outputs spliced in; one case in eight is
//! noise. The seed and the count are printed by the recorded run.

use std::time::{Duration, Instant};

use pnwatch_core::link::MAX_ADDRESSES;
use pnwatch_core::wire::{LinkReport, Report};
use pnwatch_prober::mac::facts::{self, Anchors, LegOutputs, PfOutputs};
use pnwatch_prober::mac::parse::{arp, ifconfig, ipconfig, kernel, netstat, pf, route};

use crate::blocks::blocks;
use crate::{now, pn};

/// How many cases a reader gets: a few thousand, or what the environment says.
fn cases() -> u64 {
    let given = std::env::var("PNWATCH_FUZZ_CASES").ok();
    given.map_or(4_000, |count| count.parse().unwrap())
}

fn seed() -> u64 {
    let given = std::env::var("PNWATCH_FUZZ_SEED").ok();
    given.map_or(0x706e_7761_7463_6821, |seed| seed.parse().unwrap())
}

/// xorshift64* (Vigna 2016): enough to mutate text.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound.max(1) as u64) as usize
    }
}

/// Words that have a meaning somewhere.
const WORDS: [&str; 24] = [
    "vlan0",
    "vlan0: flags=8843<UP,RUNNING>",
    "inet 172.16.0.11 netmask 0xfffffc00",
    "0x",
    "0xffffffffffffffff",
    "-1",
    "99999999999999999999",
    "255.255.255.255/33",
    "<Link#",
    "Netif",
    "default",
    "lease_time (uint32): ",
    "LeaseStartTime : 12/31/9999 23:59:60",
    "<key>LeaseLength</key><integer>",
    ") at (",
    "anchor \"tuist.runners\"",
    "pass in from <> to any port 65535 >< 0",
    "nat on  from to -> ",
    "port 0:65535",
    "Resource busy",
    "\u{0}",
    "\u{feff}\u{202e}",
    "\r",
    ":::::",
];

fn mutated(dice: &mut Dice, seeds: &[String], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(seeds[dice.below(seeds.len())].as_bytes());
    if dice.below(8) == 0 {
        buffer.truncate(dice.below(400));
        for byte in &mut *buffer {
            *byte = dice.roll() as u8;
        }
        return;
    }
    for _ in 0..=dice.below(4) {
        let at = dice.below(buffer.len() + 1);
        match dice.below(6) {
            0 => buffer.truncate(at),
            1 => {
                let word = WORDS[dice.below(WORDS.len())].as_bytes();
                buffer.splice(at..at, word.iter().copied());
            }
            2 => {
                let end = at + dice.below(buffer.len() - at + 1);
                buffer.drain(at..end);
            }
            3 => {
                let end = (at + dice.below(60)).min(buffer.len());
                let copy = buffer[at..end].to_vec();
                let to = dice.below(buffer.len() + 1);
                buffer.splice(to..to, copy);
            }
            4 => {
                if let Some(byte) = buffer.get_mut(at) {
                    *byte = dice.roll() as u8;
                }
            }
            _ => {
                let other = seeds[dice.below(seeds.len())].as_bytes();
                let from = dice.below(other.len() + 1);
                let end = (from + dice.below(80)).min(other.len());
                let part = other[from..end].to_vec();
                buffer.splice(at..at, part);
            }
        }
        buffer.truncate(64 << 10);
    }
}

/// Runs `read` on mutated outputs of `files`.
fn fuzz(name: &str, files: &[&str], mut read: impl FnMut(&str, &[u8])) {
    let seeds: Vec<String> = files
        .iter()
        .flat_map(|file| blocks(file).into_iter().map(|block| block.said))
        .collect();
    let (count, seed) = (cases(), seed());
    let mut dice = Dice(seed | 1);
    let mut buffer = Vec::new();
    let began = Instant::now();
    for _ in 0..count {
        mutated(&mut dice, &seeds, &mut buffer);
        read(&String::from_utf8_lossy(&buffer), &buffer);
    }
    println!(
        "fuzz {name}: {count} cases, seed {seed}, {:.1} s, no fault",
        began.elapsed().as_secs_f64()
    );
}

fn is_device(name: &str) -> bool {
    name.len() < 16 && !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
}

#[test]
fn fuzz_interfaces() {
    fuzz("ifconfig", &["ifconfig.txt"], |text, _| {
        if let Some(found) = ifconfig::interface(text, "vlan0") {
            assert!(found.addresses.len() <= MAX_ADDRESSES);
            assert!(found.addresses.iter().all(|(_, length)| *length <= 32));
            assert!(found.parent.as_deref().is_none_or(is_device));
            let _ = found.state();
        }
    });
}

#[test]
fn fuzz_routes() {
    fuzz("route", &["route.txt"], |text, _| {
        if let Some(found) = route::get(text) {
            assert!(found.device.as_deref().is_some_and(is_device));
        }
    });
    fuzz("netstat", &["routes.txt", "counters.txt"], |text, _| {
        assert!(netstat::routes(text).len() <= 1024);
        assert!(
            netstat::default_device(text)
                .as_deref()
                .is_none_or(is_device)
        );
        let _ = netstat::device_counters(text, "vlan0");
    });
}

#[test]
fn fuzz_leases() {
    fuzz(
        "ipconfig",
        &["getpacket.txt", "getsummary.txt"],
        |text, _| {
            let _ = ipconfig::packet(text);
            let summary = ipconfig::summary(text);
            assert!(summary.state.is_none_or(|state| state.len() <= 24));
        },
    );
    fuzz("lease file", &["lease_file.txt"], |text, _| {
        let _ = ipconfig::lease_file(text);
    });
}

#[test]
fn fuzz_neighbours() {
    fuzz("arp", &["arp.txt"], |text, _| {
        assert!(arp::neighbours(text).iter().all(|n| is_device(&n.device)));
    });
}

#[test]
fn fuzz_packet_filters() {
    fuzz("pfctl", &["pf.txt"], |text, _| {
        let _ = (pf::info(text), pf::states_limit(text), pf::complaint(text));
        let _ = (pf::entries(text), pf::anchor_calls(text, "tuist.runners"));
        assert!(pf::admissions(text, pn()).len() <= 64);
        assert!(pf::nats(text, pn()).len() <= 64);
    });
}

#[test]
fn fuzz_kernel_structures() {
    fuzz("kernel", &["ifconfig.txt"], |_, bytes| {
        let mut total = 0;
        for record in kernel::records(bytes) {
            total += record.frame.len();
        }
        assert!(total <= bytes.len());
        let _ = kernel::connection_rtt(bytes);
    });
}

/// Whatever the commands say, the report that comes of it is one that an exporter takes.
#[test]
fn fuzz_what_travels() {
    let host = Report::from_json(include_bytes!("../../../core/tests/wire/v1/host.json")).unwrap();
    let files = [
        "ifconfig.txt",
        "route.txt",
        "getsummary.txt",
        "lease_file.txt",
        "pf.txt",
    ];
    fuzz("facts", &files, |text, _| {
        let outputs = LegOutputs {
            ifconfig: text,
            route: Some(([172, 16, 0, 2].into(), text)),
            summary: text,
            lease_file: text,
        };
        let mut leg = facts::leg(("vlan0", Some(18)), pn(), &outputs, now());
        let said = Some(text);
        let outputs = PfOutputs {
            info: said,
            memory: said,
            main: said,
            rules: said,
            sources: said,
            nat: said,
            errors: text,
        };
        leg.facts.filter = Some(facts::filter(&outputs, Anchors::default(), pn(), "vlan0"));
        let LinkReport { facts, held_us } = leg.report(now().tick);
        let report = Report {
            link: Some(LinkReport { facts, held_us }),
            ..host.clone()
        };
        let read = Report::from_json(&report.to_json());
        assert_eq!(read.as_ref().map(|r| &r.link), Ok(&report.link));
    });
}

/// A hostile output is as long as may be read; each reader still ends soon.
#[test]
fn fuzz_time() {
    let sizes = 256 << 10;
    for pattern in [
        "a",
        "\n",
        " to ",
        "nat on vlan0 from a to 172.16.0.0/22\n",
        ") at ",
        "<Link#",
    ] {
        let text = pattern.repeat(sizes / pattern.len());
        let began = Instant::now();
        let _ = ifconfig::interface(&text, "vlan0");
        let _ = (route::get(&text), netstat::routes(&text));
        let _ = (
            netstat::device_counters(&text, "vlan0"),
            arp::neighbours(&text),
        );
        let _ = (ipconfig::summary(&text), ipconfig::lease_file(&text));
        let _ = (pf::admissions(&text, pn()), pf::nats(&text, pn()));
        let took = began.elapsed();
        assert!(took < Duration::from_secs(3), "{pattern:?}: {took:?}");
    }
}
