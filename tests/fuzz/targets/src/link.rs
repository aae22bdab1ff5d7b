//! What the wire and the kernel say of the network: ARP, netlink, nft, proc, neighbours.

use core::net::Ipv4Addr;
use std::sync::LazyLock;

use pnwatch_core::filter::MAX_PORT_SPANS;
use pnwatch_core::link::{DeviceState, MAX_ADDRESSES, Mac};
use pnwatch_prober::engine::frame::{self, FRAME};
use pnwatch_prober::fuzzing;
use pnwatch_prober::relay::nft::Table;

use crate::site::pn;

/// One Ethernet frame.
pub(crate) fn arp(bytes: &[u8]) -> bool {
    let sender = frame::sender(bytes);
    if let Some((mac, address)) = sender {
        assert_eq!(bytes[22..28], mac.0);
        assert_eq!(bytes[28..32], address.octets());
        assert!(!address.is_unspecified());
    }
    let Some(heard) = frame::reply(bytes) else {
        return sender.is_some();
    };
    assert!(bytes.len() >= FRAME);
    assert_eq!(bytes[22..28], heard.mac.0);
    assert_eq!(bytes[38..42], heard.asker.octets());
    let speaks = (!heard.address.is_unspecified()).then_some((heard.mac, heard.address));
    assert_eq!(sender, speaks);
    // The same reply, written by our own hand.
    let mut own = [0; FRAME];
    frame::request(&mut own, heard.mac, heard.address, heard.asker, None);
    own[21] = 2;
    assert_eq!(frame::reply(&own), Some(heard));
    true
}

/// One netlink datagram.
pub(crate) fn netlink(bytes: &[u8]) -> bool {
    let mut told = false;
    for uptime in [0, 100_000, u32::MAX] {
        let facts = fuzzing::netlink(bytes, uptime);
        assert!(facts.addresses.len() <= MAX_ADDRESSES);
        for held in &facts.addresses {
            // A wrapping counter of hundredths: never more than 497 days.
            assert!(held.renewed_ago_s.is_none_or(|s| s <= 42_949_672));
        }
        let _ = facts.pn_address(pn());
        let _ = facts.assess(pn(), None);
        told |= facts.state != DeviceState::Absent;
        told |= !facts.addresses.is_empty() || facts.route.is_some();
    }
    told
}

/// What `nft -j list table` printed.
pub(crate) fn nft(bytes: &[u8]) -> bool {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
        table: "ip vmnat".to_owned(),
        vms: "192.168.64.0/22".parse().expect("a network"),
        device: "vlan0".to_owned(),
    });
    let read = fuzzing::nft(bytes, &TABLE);
    if let Some(facts) = &read {
        assert!(facts.ports.len() <= MAX_PORT_SPANS);
        assert!(facts.admits_vms.is_some() && facts.nat_rule.is_some());
        let _ = facts.flaws([30_815]);
    }
    read.is_some()
}

/// A neighbour table and bootpd's leases.
pub(crate) fn neighbours(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let peer = Ipv4Addr::new(192, 168, 64, 2);
    let (known, leased) = fuzzing::neighbour(&text, &text, peer);
    assert_ne!(known, Some(Mac([0; 6])));
    // What is not named is not found.
    if !text.contains("192.168.64.2") {
        assert_eq!((known, leased), (None, None));
    }
    known.is_some() || leased.is_some()
}

/// Counters and routes of `/proc/net`.
pub(crate) fn proc_tables(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (overflows, drops, device) = fuzzing::proc_tables(&text);
    let read = overflows.is_some() || drops.is_some() || device.is_some();
    assert!(device.is_none_or(|name| !name.is_empty() && !name.contains(char::is_whitespace)));
    read
}
