//! What one packet of the witness's socket says. Pure, total: bytes come from the wire.

use core::net::Ipv4Addr;

use pnwatch_core::link::Mac;

/// One half of a handshake that is worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// Who dials.
    pub client: Ipv4Addr,
    /// From which port.
    pub client_port: u16,
    /// Whom.
    pub server: Ipv4Addr,
    /// Which port.
    pub port: u16,
    /// The SYN's sequence number: a SYN that is sent again keeps it (RFC 9293 §3.4).
    pub sequence: u32,
    /// Whether it is the answer.
    pub answer: bool,
}

/// What a packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A SYN or a SYN-ACK.
    Tcp(Handshake),
    /// A DHCP request of the machine with this MAC that wants an answer.
    DhcpRequest(Mac),
    /// A DHCP answer to the machine with this MAC.
    DhcpAnswer(Mac),
    /// An ARP packet: who sends it, and under which address.
    Arp(Mac, Ipv4Addr),
}

/// `ETH_P_ARP`, `ETH_P_IP` (`if_ether.h`).
pub const ARP: u16 = 0x0806;
/// See [`ARP`].
pub const IP: u16 = 0x0800;

/// Reads a packet from its network header on; `None` = nothing that counts.
pub fn read(protocol: u16, bytes: &[u8]) -> Option<Said> {
    match protocol {
        ARP => arp(bytes),
        IP => ip(bytes),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(
        bytes.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(octets.into())
}

fn mac_at(bytes: &[u8], at: usize) -> Option<Mac> {
    let octets: [u8; 6] = bytes.get(at..at.checked_add(6)?)?.try_into().ok()?;
    Some(Mac(octets))
}

/// RFC 826: hardware 1 (Ethernet), protocol IPv4.
fn arp(bytes: &[u8]) -> Option<Said> {
    (bytes.get(..6)? == [0, 1, 8, 0, 6, 4]).then_some(())?;
    Some(Said::Arp(mac_at(bytes, 8)?, address_at(bytes, 14)?))
}

/// RFC 791; later fragments have no ports.
fn ip(bytes: &[u8]) -> Option<Said> {
    let first = *bytes.first()?;
    let header = usize::from(first & 0x0f) * 4;
    // The lower 13 bits are the offset of a fragment.
    let whole = u16_at(bytes, 6)?.trailing_zeros() >= 13;
    (first >> 4 == 4 && header >= 20 && whole).then_some(())?;
    let rest = bytes.get(header..)?;
    match *bytes.get(9)? {
        6 => tcp(address_at(bytes, 12)?, address_at(bytes, 16)?, rest),
        17 => dhcp(rest),
        _ => None,
    }
}

/// RFC 9293 §3.1.
fn tcp(from: Ipv4Addr, to: Ipv4Addr, segment: &[u8]) -> Option<Said> {
    let (source, target) = (u16_at(segment, 0)?, u16_at(segment, 2)?);
    let sequence = u32::from_be_bytes(segment.get(4..8)?.try_into().ok()?);
    // SYN with or without ACK; never with FIN or RST.
    let answer = match segment.get(13)? & 0x17 {
        0x02 => false,
        0x12 => true,
        _ => return None,
    };
    let (client, client_port, server, port) = if answer {
        (to, target, from, source)
    } else {
        (from, source, to, target)
    };
    Some(Said::Tcp(Handshake {
        client,
        client_port,
        server,
        port,
        sequence,
        answer,
    }))
}

/// RFC 2131 §2; the message type is option 53 (RFC 2132 §9.6).
fn dhcp(datagram: &[u8]) -> Option<Said> {
    let message = datagram.get(8..)?;
    let mac = mac_at(message, 28)?;
    match (u16_at(datagram, 2)?, *message.first()?) {
        // DECLINE and RELEASE are never answered.
        (67, 1) if !matches!(message_type(message), Some(4 | 7)) => Some(Said::DhcpRequest(mac)),
        (68, 2) => Some(Said::DhcpAnswer(mac)),
        _ => None,
    }
}

fn message_type(message: &[u8]) -> Option<u8> {
    let mut options = message.get(240..)?;
    loop {
        match options {
            [53, 1, kind, ..] => return Some(*kind),
            [0, rest @ ..] => options = rest,
            [255, ..] => return None,
            [_, length, rest @ ..] => options = rest.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLIENT: [u8; 4] = [172, 16, 0, 11];
    const SERVER: [u8; 4] = [172, 16, 0, 2];

    fn ipv4(protocol: u8, from: [u8; 4], to: [u8; 4], rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
        bytes.extend(from);
        bytes.extend(to);
        bytes.extend(rest);
        bytes
    }

    fn segment(from: u16, to: u16, flags: u8) -> Vec<u8> {
        let mut bytes = from.to_be_bytes().to_vec();
        bytes.extend(to.to_be_bytes());
        bytes.extend([0, 0, 0, 9, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn handshakes_are_told_from_both_ends() {
        let syn = ipv4(6, CLIENT, SERVER, &segment(4242, 30815, 0x02));
        let answer = ipv4(6, SERVER, CLIENT, &segment(30815, 4242, 0x12));
        let expected = Handshake {
            client: CLIENT.into(),
            client_port: 4242,
            server: SERVER.into(),
            port: 30815,
            sequence: 9,
            answer: false,
        };
        assert_eq!(read(IP, &syn), Some(Said::Tcp(expected)));
        let expected = Handshake {
            answer: true,
            ..expected
        };
        assert_eq!(read(IP, &answer), Some(Said::Tcp(expected)));
        // ECN bits do not count; ACK, RST and SYN|FIN are no handshakes.
        assert!(read(IP, &ipv4(6, CLIENT, SERVER, &segment(1, 2, 0xc2))).is_some());
        for flags in [0x10, 0x04, 0x03, 0x06, 0x14] {
            let other = ipv4(6, CLIENT, SERVER, &segment(1, 2, flags));
            assert_eq!(read(IP, &other), None, "{flags:x}");
        }
    }

    fn bootp(port: u16, op: u8, kind: u8) -> Vec<u8> {
        let mut datagram = vec![0, 68];
        datagram.extend(port.to_be_bytes());
        datagram.extend([0, 0, 0, 0]);
        let mut message = vec![0u8; 240];
        message[0] = op;
        message[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        message.extend([0, 12, 2, 65, 66, 53, 1, kind, 255]);
        datagram.extend(message);
        ipv4(17, [0; 4], [255; 4], &datagram)
    }

    #[test]
    fn dhcp_requests_that_want_an_answer_and_answers_are_told() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        for (bytes, expected) in [
            (bootp(67, 1, 1), Some(Said::DhcpRequest(mac))),
            (bootp(67, 1, 3), Some(Said::DhcpRequest(mac))),
            (bootp(67, 1, 7), None),
            (bootp(68, 2, 5), Some(Said::DhcpAnswer(mac))),
            (bootp(67, 2, 5), None),
            (bootp(53, 1, 1), None),
        ] {
            assert_eq!(read(IP, &bytes), expected);
        }
    }

    #[test]
    fn an_arp_packet_names_its_sender() {
        let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7];
        bytes.extend(SERVER);
        bytes.extend([0; 10]);
        let expected = Said::Arp(Mac([2, 0, 0, 0, 0, 7]), SERVER.into());
        assert_eq!(read(ARP, &bytes), Some(expected));
        bytes[3] = 1;
        assert_eq!(read(ARP, &bytes), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(protocol in prop::sample::select(vec![ARP, IP, 7]),
                              bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(protocol, &bytes);
        }

        #[test]
        fn any_ip_payload_is_read(kind in prop::sample::select(vec![6u8, 17]),
                                  rest in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(IP, &ipv4(kind, CLIENT, SERVER, &rest));
        }
    }
}
