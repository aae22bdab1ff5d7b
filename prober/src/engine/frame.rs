//! ARP frames for IPv4 over Ethernet (RFC 826), built and read with pnet's packets. Pure, total.

use core::net::Ipv4Addr;

use pnet::packet::Packet;
use pnet::packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::util::MacAddr;
use pnwatch_core::link::Mac;

/// Length of an ARP frame without padding: 14 bytes of Ethernet, 28 of ARP.
pub const FRAME: usize = 42;

/// An ARP reply that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Whose address it speaks for.
    pub address: Ipv4Addr,
    /// The MAC it names.
    pub mac: Mac,
    /// To whom it is addressed.
    pub asker: Ipv4Addr,
}

/// Writes "who has `target`, tell `source`"; to everybody unless `known` is given.
pub fn request(
    frame: &mut [u8; FRAME],
    own: Mac,
    source: Ipv4Addr,
    target: Ipv4Addr,
    known: Option<Mac>,
) {
    *frame = [0; FRAME];
    // The sizes are constants: both views always fit.
    if let Some(mut ethernet) = MutableEthernetPacket::new(&mut frame[..14]) {
        ethernet.set_destination(known.map_or(MacAddr::broadcast(), pnet_mac));
        ethernet.set_source(pnet_mac(own));
        ethernet.set_ethertype(EtherTypes::Arp);
    }
    if let Some(mut arp) = MutableArpPacket::new(&mut frame[14..]) {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(ArpOperations::Request);
        arp.set_sender_hw_addr(pnet_mac(own));
        arp.set_sender_proto_addr(source);
        arp.set_target_proto_addr(target);
    }
}

/// The reply that a frame carries, if it is one.
pub fn reply(frame: &[u8]) -> Option<Reply> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Arp {
        return None;
    }
    let arp = ArpPacket::new(ethernet.payload())?;
    let plain = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && (arp.get_hw_addr_len(), arp.get_proto_addr_len()) == (6, 4)
        && arp.get_operation() == ArpOperations::Reply;
    let mac = arp.get_sender_hw_addr();
    plain.then(|| Reply {
        address: arp.get_sender_proto_addr(),
        mac: Mac([mac.0, mac.1, mac.2, mac.3, mac.4, mac.5]),
        asker: arp.get_target_proto_addr(),
    })
}

/// Who sends an ARP packet, request or reply, and under which address; not a probe (RFC 5227).
pub fn sender(frame: &[u8]) -> Option<(Mac, Ipv4Addr)> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Arp {
        return None;
    }
    let arp = ArpPacket::new(ethernet.payload())?;
    let plain = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && (arp.get_hw_addr_len(), arp.get_proto_addr_len()) == (6, 4)
        && !arp.get_sender_proto_addr().is_unspecified();
    let mac = arp.get_sender_hw_addr();
    plain.then(|| {
        (
            Mac([mac.0, mac.1, mac.2, mac.3, mac.4, mac.5]),
            arp.get_sender_proto_addr(),
        )
    })
}

fn pnet_mac(mac: Mac) -> MacAddr {
    MacAddr::from(mac.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const A: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 11);
    const B: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);

    #[test]
    fn a_request_is_what_rfc_826_says() {
        let mut frame = [0xff; FRAME];
        request(&mut frame, OWN, A, B, None);
        let expected = [
            &[0xff; 6][..],
            &OWN.0,
            &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1],
            &OWN.0,
            &A.octets(),
            &[0; 6],
            &B.octets(),
        ]
        .concat();
        assert_eq!(frame[..], expected[..]);
        request(&mut frame, OWN, A, B, Some(PEER));
        assert_eq!(frame[..6], PEER.0);
        assert_eq!(reply(&frame), None);
    }

    #[test]
    fn a_reply_names_who_answers() {
        let mut frame = [0; FRAME];
        // The peer's answer is its own request with operation 2.
        request(&mut frame, PEER, B, A, Some(OWN));
        frame[21] = 2;
        let heard = Reply {
            address: B,
            mac: PEER,
            asker: A,
        };
        assert_eq!(reply(&frame), Some(heard));
        assert_eq!(sender(&frame), Some((PEER, B)));
        // A probe speaks for nobody.
        request(&mut frame, PEER, Ipv4Addr::UNSPECIFIED, A, None);
        assert_eq!(sender(&frame), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_reply_or_not(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            if let Some(heard) = reply(&bytes) {
                prop_assert!(bytes.len() >= FRAME);
                prop_assert_eq!(&bytes[22..28], &heard.mac.0);
            }
        }
    }
}
