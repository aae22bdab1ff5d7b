use pnwatch_core::filter::FilterFacts;
use pnwatch_core::link::{HeldAddress, RouteFact};

use super::*;

fn pn() -> Cidr {
    "172.16.0.0/22".parse().unwrap()
}

fn ready() -> Seen {
    let mut leg = Leg {
        index: Some(18),
        arp: true,
        source: Some([172, 16, 0, 11].into()),
        ..Leg::default()
    };
    leg.facts.device = "vlan0".into();
    leg.facts.state = DeviceState::Up;
    leg.facts.addresses = vec![HeldAddress {
        address: [172, 16, 0, 11].into(),
        prefix_len: 22,
        valid_for_s: Some(2400),
        renewed_ago_s: Some(1200),
    }];
    leg.facts.route = Some(RouteFact {
        to: [172, 16, 0, 2].into(),
        device: Some("vlan0".into()),
        via_gateway: false,
    });
    leg.facts.filter = Some(FilterFacts {
        kind: FilterKind::Pf,
        enabled: Some(true),
        admits_vms: Some(true),
        nat_rule: Some(true),
        ..FilterFacts::default()
    });
    Seen {
        leg: Some(leg),
        packets: Some(Ok(())),
        exporters: vec![("https://pnwatch-0.example".into(), Ok(()))],
        host: true,
    }
}

/// What is not good after `change`, as `what: said`.
fn trouble(change: impl FnOnce(&mut Seen)) -> Vec<String> {
    let mut seen = ready();
    change(&mut seen);
    judge(pn(), &seen)
        .into_iter()
        .filter(|item| item.standing != Standing::Good)
        .map(|item| format!("{} {}: {}", item.standing.word(), item.what, item.said))
        .collect()
}

#[test]
fn a_machine_that_is_ready_has_nothing_to_say() {
    assert_eq!(trouble(|_| {}), Vec::<String>::new());
    assert_eq!(judge(pn(), &ready()).len(), 7);
}

#[test]
fn each_trouble_is_one_line_that_says_what_to_do() {
    fn facts(seen: &mut Seen) -> &mut pnwatch_core::link::LinkFacts {
        &mut seen.leg.as_mut().unwrap().facts
    }
    type Change = fn(&mut Seen);
    let table: [(Change, &str, &str); 12] = [
        (|s| s.leg = None, "FAIL device", "as root"),
        (
            |s| facts(s).state = DeviceState::NoCarrier,
            "FAIL device",
            "cable",
        ),
        (
            |s| facts(s).state = DeviceState::AdminDown,
            "FAIL device",
            "bring it up",
        ),
        (
            |s| facts(s).addresses[0].valid_for_s = None,
            "note lease",
            "held by hand",
        ),
        (
            |s| facts(s).addresses[0].valid_for_s = Some(300),
            "note lease",
            "not renewed",
        ),
        (
            |s| facts(s).route.as_mut().unwrap().device = Some("utun4".into()),
            "FAIL route",
            "leave by utun4",
        ),
        (
            |s| facts(s).route.as_mut().unwrap().device = None,
            "FAIL route",
            "no route to 172.16.0.2",
        ),
        (
            |s| s.packets = Some(Err("Permission denied".into())),
            "FAIL arp",
            "NET_RAW",
        ),
        (
            |s| facts(s).filter.as_mut().unwrap().nat_rule = Some(false),
            "FAIL filter",
            "no NAT rule for the PN is loaded",
        ),
        (
            |s| facts(s).filter = Some(FilterFacts::default()),
            "note filter",
            "says nothing",
        ),
        (
            |s| s.exporters[0].1 = Err("https://pnwatch-0.example refused the token".into()),
            "FAIL exporter",
            "refused the token",
        ),
        (|s| s.exporters.clear(), "note exporter", "none is named"),
    ];
    for (change, head, says) in table {
        let said = trouble(change);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].starts_with(head) && said[0].contains(says),
            "{said:?}"
        );
    }
}

#[test]
fn without_device_or_address_the_rest_is_not_guessed() {
    let gone = trouble(|s| {
        let leg = s.leg.as_mut().unwrap();
        leg.facts.state = DeviceState::Absent;
        leg.facts.addresses.clear();
        s.packets = None;
    });
    assert_eq!(gone.len(), 1, "{gone:?}");
    let lost =
        trouble(|s| s.leg.as_mut().unwrap().facts.addresses[0].address = [169, 254, 8, 1].into());
    assert!(lost[0].contains("169.254.8.1"), "{lost:?}");
}
