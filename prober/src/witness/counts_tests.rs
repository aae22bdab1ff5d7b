use super::*;

const CLIENT: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 11);
const SERVER: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
const OWN: Mac = Mac([2, 0, 0, 0, 0, 2]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn syn(client_port: u16, sequence: u32) -> Said {
    Said::Tcp(Handshake {
        client: CLIENT,
        client_port,
        server: SERVER,
        port: 30815,
        sequence,
        answer: false,
    })
}

fn answer(client_port: u16) -> Said {
    let Said::Tcp(syn) = syn(client_port, 0) else {
        unreachable!()
    };
    Said::Tcp(Handshake {
        answer: true,
        ..syn
    })
}

fn at(millis: u64) -> Tick {
    Tick::from_millis(100_000 + millis)
}

#[test]
fn healthy_unanswered_and_repeated_handshakes_are_told_apart() {
    let mut counts = Counts::new(at(0));
    counts.take(syn(1000, 7), at(0));
    counts.take(answer(1000), at(1));
    let report = counts.report(at(500));
    let flow = report.flows[0];
    assert_eq!((flow.syns, flow.repeats, flow.syn_acks), (1, 0, 1));
    assert_eq!(flow.syn_ack_age_us, Some(499_000));
    // The same SYN again after a second, and another connection's.
    counts.take(syn(1000, 7), at(1000));
    counts.take(syn(1001, 7), at(1001));
    let flow = counts.report(at(1100)).flows[0];
    assert_eq!((flow.syns, flow.repeats, flow.syn_acks), (3, 1, 1));
    // The window moves on, second by second, and forgets the flow in the end.
    let flow = counts.report(at(10_500)).flows[0];
    assert_eq!((flow.syns, flow.repeats, flow.syn_acks), (2, 1, 0));
    assert_eq!(flow.syn_ack_age_us, None);
    assert!(counts.report(at(12_000)).flows.is_empty());
}

#[test]
fn a_flood_of_sources_is_bounded_and_said() {
    let mut counts = Counts::new(at(0));
    for n in 0..(MOST_FLOWS as u32 + 100) {
        let Said::Tcp(seen) = syn(1, n) else {
            unreachable!()
        };
        let client = Ipv4Addr::from(0x0a00_0000 + n);
        counts.take(Said::Tcp(Handshake { client, ..seen }), at(1));
    }
    let report = counts.report(at(900));
    assert_eq!(report.flows.len(), MAX_FLOWS);
    assert_eq!(report.unlisted_syns, 100 + (MOST_FLOWS - MAX_FLOWS) as u64);
    assert!(counts.flows.len() <= MOST_FLOWS);
}

#[test]
fn healthy_flows_make_room_for_those_in_trouble() {
    let mut counts = Counts::new(at(0));
    for port in 0..1000 {
        let Said::Tcp(seen) = syn(port, 1) else {
            unreachable!()
        };
        let seen = Handshake { port, ..seen };
        counts.take(Said::Tcp(seen), at(1));
        if port != 999 {
            let back = Handshake {
                answer: true,
                ..seen
            };
            counts.take(Said::Tcp(back), at(2));
        }
    }
    let report = counts.report(at(900));
    assert_eq!(report.flows.len(), TOLD_HEALTHY);
    assert_eq!(report.flows[0].port, 999);
    assert_eq!(report.unlisted_syns, 0);
}

#[test]
fn only_the_machines_own_dhcp_counts() {
    let mut counts = Counts::new(at(0));
    counts.set_own(Some(OWN), None);
    counts.take(Said::DhcpRequest(OTHER), at(0));
    counts.take(Said::DhcpRequest(OWN), at(1000));
    counts.take(Said::DhcpRequest(OWN), at(5000));
    counts.take(Said::DhcpAnswer(OTHER), at(5500));
    let dhcp = counts.report(at(6000)).dhcp;
    assert_eq!((dhcp.unanswered, dhcp.waiting_us), (2, Some(5_000_000)));
    counts.take(Said::DhcpAnswer(OWN), at(7000));
    let dhcp = counts.report(at(8000)).dhcp;
    assert_eq!((dhcp.unanswered, dhcp.waiting_us), (0, None));
    assert_eq!(dhcp.answer_age_us, Some(1_000_000));
}

#[test]
fn a_claim_is_another_machines_and_ends() {
    let mut counts = Counts::new(at(0));
    counts.set_own(Some(OWN), Some(SERVER));
    counts.take(Said::Arp(OWN, SERVER), at(0));
    counts.take(Said::Arp(OTHER, CLIENT), at(0));
    assert!(!counts.is_claimed());
    counts.take(Said::Arp(OTHER, SERVER), at(10));
    let claims = counts.report(at(1010)).claims;
    assert_eq!((claims[0].mac, claims[0].age_us), (OTHER, 1_000_000));
    assert!(counts.report(at(20_000)).claims.is_empty());
    // What was claimed of an address that we have no longer is no claim.
    counts.take(Said::Arp(OTHER, SERVER), at(20_100));
    counts.set_own(Some(OWN), Some(CLIENT));
    assert!(!counts.is_claimed());
}
