//! The PN leg over real netlink events, and the whole prober on a private network (needs root).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::time::{Duration, Instant};

use pnwatch_core::link::DeviceState;
use pnwatch_core::outcome::{Blind, Cause, Layer, Outcome};
use pnwatch_core::plan::Pace;
use pnwatch_core::wire::LinkReport;
use support::exporter::Exporter;
use support::netns::{Pair, run};
use support::peer::Peer;
use support::{Probed, plan_with, start};

const PN: &str = "172.16.0.0/22";
const LONG: Duration = Duration::from_secs(10);
/// Three times the goal of 100 ms.
const SOON: Duration = Duration::from_millis(300);

fn addresses(link: &LinkReport) -> usize {
    link.facts.addresses.len()
}

#[test]
fn what_happens_to_the_leg_is_told_at_once() {
    let pair = Pair::new();
    let own = pair.own.clone();
    let node = pair.node.clone();
    let pair = &pair;
    Pair::inside(&pair.own, async move {
        let exporter = Exporter::new();
        let probed = start(&Probed::on("vlan0", PN), &[&exporter], None);
        let link = exporter
            .expect_link(LONG, |l| {
                l.facts.state == DeviceState::Up && addresses(l) == 1
            })
            .await;
        assert_eq!(link.facts.addresses[0].valid_for_s, None);
        assert!(link.facts.mac.is_some());
        let route = link.facts.route.expect("a route fact");
        assert_eq!(route.device.as_deref(), Some("vlan0"));
        assert!(!route.via_gateway);

        let change = |arguments: &'static str| {
            exporter.forget();
            run(
                "ip",
                &[
                    &["-n", own.as_str()],
                    &arguments.split(' ').collect::<Vec<_>>()[..],
                ]
                .concat(),
            );
        };
        let mut took = Vec::new();
        let mut tell =
            |what: &str, since: Instant| took.push(format!("{what} {:?}", since.elapsed()));

        change("addr del 172.16.0.11/22 dev vlan0");
        let since = Instant::now();
        let link = exporter.expect_link(SOON, |l| addresses(l) == 0).await;
        assert!(link.held_us < 300_000, "{link:?}");
        assert_eq!(link.facts.route.unwrap().device, None);
        tell("address lost", since);

        change("addr add 172.16.0.11/22 dev vlan0 valid_lft 100 preferred_lft 100");
        let since = Instant::now();
        let link = exporter.expect_link(SOON, |l| addresses(l) == 1).await;
        let held = &link.facts.addresses[0];
        assert!((98..=100).contains(&held.valid_for_s.unwrap()), "{held:?}");
        assert!(held.renewed_ago_s.unwrap() <= 2, "{held:?}");
        tell("address back", since);

        exporter.forget();
        run("ip", &["-n", &node, "link", "set", "pn0", "down"]);
        let since = Instant::now();
        exporter
            .expect_link(SOON, |l| l.facts.state == DeviceState::NoCarrier)
            .await;
        tell("carrier lost", since);

        change("link set vlan0 down");
        let since = Instant::now();
        exporter
            .expect_link(SOON, |l| l.facts.state == DeviceState::AdminDown)
            .await;
        tell("admin down", since);

        change("link del vlan0");
        let since = Instant::now();
        let link = exporter
            .expect_link(LONG, |l| l.facts.state == DeviceState::Absent)
            .await;
        assert_eq!((link.facts.mac, addresses(&link)), (None, 0));
        tell("device deleted", since);

        exporter.forget();
        pair.join();
        exporter
            .expect_link(LONG, |l| {
                l.facts.state == DeviceState::Up && addresses(l) == 1
            })
            .await;
        println!("{}", took.join(", "));
        probed.stop().await;
    });
}

/// The age of a lease counts from its last renewal, whoever looks, and whenever.
#[test]
fn a_lease_is_read_with_its_age() {
    let pair = Pair::new();
    pair.own_ip("addr change 172.16.0.11/22 dev vlan0 valid_lft 50 preferred_lft 50");
    std::thread::sleep(Duration::from_millis(2200));
    Pair::inside(&pair.own, async move {
        let exporter = Exporter::new();
        let probed = start(&Probed::on("vlan0", PN), &[&exporter], None);
        let link = exporter.expect_link(LONG, |l| addresses(l) == 1).await;
        let held = &link.facts.addresses[0];
        let (left, age) = (held.valid_for_s.unwrap(), held.renewed_ago_s.unwrap());
        assert!((2..=4).contains(&age), "{held:?}");
        assert!((49..=51).contains(&(left + age)), "{held:?}");
        probed.stop().await;
    });
}

#[test]
fn a_route_that_leaves_elsewhere_is_seen_unbound() {
    let pair = Pair::new();
    let own = &pair.own;
    run(
        "ip",
        &[
            "-n", own, "link", "add", "eth9", "type", "veth", "peer", "name", "far9",
        ],
    );
    for command in [
        "link set eth9 up",
        "link set far9 up",
        "addr add 198.51.100.2/24 dev eth9",
        "route add 172.16.0.2/32 via 198.51.100.1 dev eth9",
    ] {
        pair.own_ip(command);
    }
    Pair::inside(&pair.own, async move {
        let exporter = Exporter::new();
        let to = "172.16.0.2:31001".parse().unwrap();
        exporter.hand_out(plan_with(PN, "172.16.0.2", &[to], &[], Pace::default()));
        let probed = start(&Probed::on("vlan0", PN), &[&exporter], None);
        let link = exporter
            .expect_link(LONG, |l| {
                l.facts
                    .route
                    .as_ref()
                    .is_some_and(|r| r.to.octets() == [172, 16, 0, 2])
            })
            .await;
        let route = link.facts.route.unwrap();
        assert_eq!(
            (route.device.as_deref(), route.via_gateway),
            (Some("eth9"), true)
        );
        probed.stop().await;
    });
}

/// F38 by a rule alone: no route changes, and the look-up goes elsewhere.
#[test]
fn a_policy_rule_that_moves_the_traffic_is_told_at_once() {
    let pair = Pair::new();
    pair.own_ip("link add eth9 type veth peer name e9");
    pair.own_ip("addr add 198.18.0.9/24 dev eth9");
    pair.own_ip("link set eth9 up");
    pair.own_ip("link set e9 up");
    pair.own_ip("route add default via 198.18.0.1 dev eth9 table 199");
    let own = pair.own.clone();
    Pair::inside(&pair.own, async move {
        let exporter = Exporter::new();
        let to = "172.16.0.2:31001".parse().unwrap();
        exporter.hand_out(plan_with(PN, "172.16.0.2", &[to], &[], Pace::default()));
        let probed = start(&Probed::on("vlan0", PN), &[&exporter], None);
        let leaves_by = |device: &'static str| {
            move |l: &LinkReport| {
                let route = l.facts.route.as_ref();
                route.is_some_and(|r| {
                    r.to.octets() == [172, 16, 0, 2] && r.device.as_deref() == Some(device)
                })
            }
        };
        exporter.expect_link(LONG, leaves_by("vlan0")).await;
        let rule = "rule add to 172.16.0.0/22 lookup 199 priority 100";
        let mut words = vec!["-n", own.as_str()];
        words.extend(rule.split_whitespace());
        run("ip", &words);
        let since = Instant::now();
        exporter.expect_link(LONG, leaves_by("eth9")).await;
        // Long before the facts would have been read again anyway.
        assert!(
            since.elapsed() < Duration::from_secs(9),
            "{:?}",
            since.elapsed()
        );
        probed.stop().await;
    });
}

#[test]
fn a_lost_node_is_missed_by_every_layer_within_seconds_and_found_again() {
    let pair = Pair::new();
    pair.serve_on_node(|| async {
        std::mem::forget(Peer::http_on("0.0.0.0:31001", 200, r#"{"tenant_id":"t1"}"#).await);
    });
    let node = pair.node.clone();
    Pair::inside(&pair.own, async move {
        let exporter = Exporter::new();
        let to = "172.16.0.2:31001".parse().unwrap();
        exporter.hand_out(plan_with(PN, "172.16.0.2", &[to], &[], Pace::default()));
        let probed = start(&Probed::on("vlan0", PN), &[&exporter], None);
        let n1 = "node:n1".parse().unwrap();
        exporter
            .expect(LONG, 31001, Layer::Http, |run| {
                run.outcome == Outcome::Reached
            })
            .await;
        exporter
            .expect_of(LONG, &n1, Layer::Arp, |run| run.outcome == Outcome::Reached)
            .await;

        exporter.forget();
        run("ip", &["-n", &node, "addr", "flush", "dev", "pn0"]);
        let since = Instant::now();
        let missed = Outcome::Unreached(Cause::ArpUnanswered);
        // A second of misses from first to last, over however many reports.
        loop {
            let runs = exporter.runs(&n1, Layer::Arp);
            let misses: u32 = runs
                .iter()
                .filter(|r| r.outcome == missed)
                .map(|r| r.count)
                .sum();
            if misses >= 11 {
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(8), "{runs:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("a second of ARP misses told after {:?}", since.elapsed());
        exporter
            .expect(LONG, 31001, Layer::Tcp, |run| {
                matches!(
                    run.outcome,
                    Outcome::Unreached(Cause::SynUnanswered | Cause::NeighbourUnresolved)
                )
            })
            .await;

        exporter.forget();
        run(
            "ip",
            &["-n", &node, "addr", "add", "172.16.0.2/22", "dev", "pn0"],
        );
        let since = Instant::now();
        exporter
            .expect_of(LONG, &n1, Layer::Arp, |run| run.outcome == Outcome::Reached)
            .await;
        exporter
            .expect(LONG, 31001, Layer::Http, |run| {
                run.outcome == Outcome::Reached
            })
            .await;
        println!("found again after {:?}", since.elapsed());
        probed.stop().await;
    });
}

#[test]
fn a_leg_that_loses_its_address_turns_blind_not_down() {
    let pair = Pair::new();
    pair.serve_on_node(|| async {
        std::mem::forget(Peer::http_on("0.0.0.0:31001", 200, "{}").await);
    });
    let own = pair.own.clone();
    Pair::inside(&pair.own, async move {
        let exporter = Exporter::new();
        let to = "172.16.0.2:31001".parse().unwrap();
        exporter.hand_out(plan_with(PN, "172.16.0.2", &[to], &[], Pace::default()));
        let probed = start(&Probed::on("vlan0", PN), &[&exporter], None);
        exporter
            .expect(LONG, 31001, Layer::Http, |run| {
                run.outcome == Outcome::Reached
            })
            .await;
        run("ip", &["-n", &own, "addr", "flush", "dev", "vlan0"]);
        exporter.forget();
        let blind = Outcome::Unmeasured(Blind::NoSource);
        exporter
            .expect(LONG, 31001, Layer::Tcp, |run| run.outcome == blind)
            .await;
        run(
            "ip",
            &["-n", &own, "addr", "add", "172.16.0.11/22", "dev", "vlan0"],
        );
        exporter.forget();
        exporter
            .expect(LONG, 31001, Layer::Http, |run| {
                run.outcome == Outcome::Reached
            })
            .await;
        probed.stop().await;
    });
}
