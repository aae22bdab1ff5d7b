//! Bandwidth of real devices that are made anew and renamed (needs root). Time is an argument:
//! nothing here waits for a second to pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::net::UdpSocket;

use pnwatch_core::time::Tick;
use pnwatch_core::wire::DeviceReport;
use pnwatch_prober::devices::Devices;
use support::netns::Pair;

/// Everybody on the private network: no neighbour has to be asked for.
const EVERYBODY: &str = "172.16.3.255:9";
const PAYLOAD: usize = 1_400;
/// Payload and the headers of UDP, IPv4 and Ethernet (RFC 768, RFC 791, IEEE 802.3).
const DATAGRAM: u64 = PAYLOAD as u64 + 8 + 20 + 14;
/// What the machines themselves may send in the meantime (IPv6 looks for its neighbours).
const CHATTER: u64 = 8_000;

fn send(datagrams: u64) -> u64 {
    let socket = UdpSocket::bind("172.16.0.2:0").unwrap();
    socket.set_broadcast(true).unwrap();
    for _ in 0..datagrams {
        socket.send_to(&[0; PAYLOAD], EVERYBODY).unwrap();
    }
    datagrams * DATAGRAM
}

fn report<'a>(reports: &'a [DeviceReport], name: &str) -> Option<&'a DeviceReport> {
    reports.iter().find(|report| report.device == name)
}

/// Bytes of all the seconds that the device is told to have had.
fn told(reports: &[DeviceReport], name: &str) -> u64 {
    let report = report(reports, name).unwrap_or_else(|| panic!("no {name}: {reports:?}"));
    report
        .transmit_throughput
        .as_ref()
        .map_or(0, |seen| seen.bytes)
}

fn is_about(told: u64, sent: u64) -> bool {
    (sent..=sent + CHATTER).contains(&told)
}

#[test]
fn a_device_that_is_made_anew_loses_only_bytes_that_nobody_could_see() {
    let pair = Pair::new();
    let node = pair.node.clone();
    let pair = &pair;
    Pair::inside(&node, async move {
        let mut devices = Devices::new("pn0", &[]);
        let mut second = 0;
        let mut sample = || {
            second += 1;
            devices.sample(Tick::from_millis(second * 1_000))
        };
        send(50);
        let first = sample();
        assert_eq!(told(&first, "pn0"), 0, "nobody saw when that was sent");

        let before = send(2_000);
        let reports = sample();
        assert!(is_about(told(&reports, "pn0"), before), "{reports:?}");

        // Sent after the last look and gone with the device: nobody could see it.
        send(900);
        pair.node_ip("link del pn0");
        assert!(report(&sample(), "pn0").is_none());
        pair.join();
        // More than the old one had: its counters never seem to go back.
        let anew = send(5_000);
        let reports = sample();
        let all = told(&reports, "pn0");
        assert!(is_about(all, before + anew), "{all} of {before} and {anew}");
        let peak = report(&reports, "pn0").unwrap().peaks[0].transmit;
        assert!(is_about(peak, anew), "{peak} of {anew}");

        // Gone and back between two looks.
        pair.node_ip("link del pn0");
        pair.join();
        let third = send(700);
        let all = told(&sample(), "pn0");
        assert!(is_about(all, before + anew + third), "{all}");
        let fourth = send(300);
        let all = told(&sample(), "pn0");
        assert!(is_about(all, before + anew + third + fourth), "{all}");
    });
}

#[test]
fn a_device_that_is_renamed_keeps_its_count() {
    let pair = Pair::new();
    let node = pair.node.clone();
    let pair = &pair;
    Pair::inside(&node, async move {
        let mut devices = Devices::new("pn0", &["pn1".to_owned()]);
        let mut second = 0;
        let mut sample = || {
            second += 1;
            devices.sample(Tick::from_millis(second * 1_000))
        };
        sample();
        let before = send(2_000);
        let reports = sample();
        assert!(is_about(told(&reports, "pn0"), before));
        assert!(report(&reports, "pn1").is_none());

        let unseen = send(100);
        pair.node_ip("link set pn0 down");
        pair.node_ip("link set pn0 name pn1");
        let reports = sample();
        assert!(report(&reports, "pn0").is_none(), "{reports:?}");
        let renamed = report(&reports, "pn1").unwrap();
        assert_eq!(renamed.plane, "other");
        // All that went since the last look, and nothing of what went before it.
        assert!(is_about(told(&reports, "pn1"), unseen), "{reports:?}");
        assert!(renamed.transmit_bytes >= before + unseen);
    });
}
