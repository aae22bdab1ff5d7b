//! What each fault looks like on a real socket, between two namespaces (Linux, needs root).
//!
//! One engine, one check at a time, and its outcome: the table of socket causes, repeated.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pnwatch_core::link::{DeviceState, LinkFacts, Mac};
use pnwatch_core::outcome::{Blind, Cause, Layer, Outcome};
use pnwatch_core::schedule::CheckId;
use pnwatch_edge::clock::{Clock, SystemClock};
use pnwatch_prober::engine::poller::Readiness;
use pnwatch_prober::engine::{Ask, Due, Engine, Limits, Seen, Sockets, What};
use pnwatch_prober::link::Leg;
use support::netns::{Pair, run};
use support::peer::Peer;

const NODE: [u8; 4] = [172, 16, 0, 2];
const PATIENCE: Duration = Duration::from_millis(1300);

fn due(ask: Ask) -> Due {
    Due {
        id: CheckId(1),
        ask,
        patience: PATIENCE,
        within: Duration::from_millis(2600),
    }
}

fn up(port: u16) -> Ask {
    Ask::Up {
        to: std::net::SocketAddrV4::new(NODE.into(), port),
        request: Arc::from(&b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"[..]),
        tenant: Some("t1".into()),
    }
}

/// The prober's leg as ip(8) shows it.
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

struct Bench {
    engine: Sockets,
    clock: SystemClock,
    readiness: Readiness,
}

impl Bench {
    fn new(leg: &Leg) -> Self {
        Self::of("host/a", leg)
    }

    fn of(vantage: &str, leg: &Leg) -> Self {
        let clock = SystemClock::new();
        let vantage = vantage.parse().unwrap();
        let mut engine =
            Sockets::new(&vantage, Arc::new(clock.clone()), Limits::default()).unwrap();
        engine.set_leg(leg);
        let readiness = Readiness::of(engine.readiness()).unwrap();
        Self {
            engine,
            clock,
            readiness,
        }
    }

    /// Makes one check and waits for everything that comes of it.
    async fn check(&mut self, ask: Ask) -> Vec<Seen> {
        self.engine.submit(&[due(ask)]);
        let mut seen = Vec::new();
        let end = Instant::now() + Duration::from_secs(10);
        while !seen.iter().any(|s: &Seen| s.done) {
            assert!(Instant::now() < end, "nothing came: {seen:?}");
            self.turn(&mut seen).await;
        }
        seen
    }

    async fn turn(&mut self, seen: &mut Vec<Seen>) {
        let now = self.clock.now().tick;
        let wait = self
            .engine
            .next_deadline()
            .map_or(Duration::from_secs(1), |at| at.since(now));
        tokio::select! {
            news = self.readiness.news() => news.unwrap(),
            () = tokio::time::sleep(wait) => {}
        }
        self.engine.drain(self.clock.now().tick, seen);
    }

    /// Goes on until nothing is under way, the connection that learns included.
    async fn settle(&mut self) {
        let mut seen = Vec::new();
        let end = Instant::now() + Duration::from_secs(10);
        while self.engine.in_flight() > 0 {
            assert!(Instant::now() < end, "never settles");
            self.turn(&mut seen).await;
        }
        assert_eq!(seen, []);
    }
}

fn last(seen: &[Seen]) -> (Layer, Outcome) {
    match seen.last().unwrap().what {
        What::Outcome { layer, outcome, .. } => (layer, outcome),
        other => panic!("{other:?}"),
    }
}

fn unreached(layer: Layer, cause: Cause) -> (Layer, Outcome) {
    (layer, Outcome::Unreached(cause))
}

fn rtt(seen: &Seen) -> (Option<Duration>, Option<Duration>) {
    match seen.what {
        What::Outcome {
            rtt, kernel_rtt, ..
        } => (rtt, kernel_rtt),
        _ => (None, None),
    }
}

/// One check in `pair`.
fn one(pair: &Pair, ask: Ask) -> Vec<Seen> {
    let leg = leg(pair);
    Pair::inside(&pair.own, async move { Bench::new(&leg).check(ask).await })
}

#[test]
fn rows_1_3_13_14_15_16_what_answers_is_told_apart() {
    let pair = Pair::new();
    pair.serve_on_node(|| async {
        let peers = [
            Peer::http_on("0.0.0.0:31001", 200, r#"{"tenant_id":"t1"}"#).await,
            Peer::http_on("0.0.0.0:31002", 500, "{}").await,
            Peer::silent_on("0.0.0.0:31013").await,
            Peer::closing_on("0.0.0.0:31014").await,
            Peer::resetting_on("0.0.0.0:31114").await,
            Peer::answering_on(
                "0.0.0.0:31015",
                b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
            )
            .await,
            Peer::answering_on("0.0.0.0:31016", b"220 mail ready\r\n").await,
        ];
        std::mem::forget(peers);
    });
    for (port, expected) in [
        (31001, (Layer::Http, Outcome::Reached)),
        (31002, unreached(Layer::Http, Cause::Http5xx)),
        (31003, unreached(Layer::Tcp, Cause::Refused)),
        (31013, unreached(Layer::Http, Cause::NoFirstByte)),
        (31014, unreached(Layer::Http, Cause::ConnectionClosed)),
        (31114, unreached(Layer::Http, Cause::ConnectionReset)),
        (31015, unreached(Layer::Http, Cause::TransferStalled)),
        (31016, unreached(Layer::Http, Cause::NotHttp)),
    ] {
        let seen = one(&pair, up(port));
        assert_eq!(last(&seen), expected, "port {port}");
        if expected.0 == Layer::Http {
            let (wall, kernel) = rtt(&seen[0]);
            assert!(kernel.unwrap() < Duration::from_millis(20), "{kernel:?}");
            assert!(wall.unwrap() < Duration::from_secs(1), "{wall:?}");
        }
    }
}

#[test]
fn row_4_a_dropped_syn_left_and_was_sent_again() {
    let pair = Pair::new();
    pair.node_input("tcp dport 31001 drop");
    let seen = one(&pair, up(31001));
    assert_eq!(last(&seen), unreached(Layer::Tcp, Cause::SynUnanswered));
}

#[test]
fn rows_6_7_8_a_reject_names_its_icmp() {
    for (rule, cause) in [
        ("reject with icmp port-unreachable", Cause::PortUnreachable),
        ("reject with icmp host-unreachable", Cause::HostUnreachable),
        ("reject with icmp net-unreachable", Cause::NetUnreachable),
        ("reject with icmp admin-prohibited", Cause::AdminProhibited),
        ("reject with tcp reset", Cause::Refused),
    ] {
        let pair = Pair::new();
        pair.node_input(&format!("tcp dport 31001 {rule}"));
        let started = Instant::now();
        assert_eq!(
            last(&one(&pair, up(31001))),
            unreached(Layer::Tcp, cause),
            "{rule}"
        );
        assert!(started.elapsed() < Duration::from_secs(1), "{rule}");
    }
}

/// The second ICMP is rate-limited: what the first connection learned holds for the next.
#[test]
fn row_8_keeps_its_cause_while_the_icmp_is_limited() {
    let pair = Pair::new();
    pair.node_input(
        "tcp dport 31001 limit rate 1/minute burst 1 packets reject with icmp admin-prohibited",
    );
    pair.nft("add rule inet t c tcp dport 31001 drop");
    let leg = leg(&pair);
    let (first, second) = Pair::inside(&pair.own, async move {
        let mut bench = Bench::new(&leg);
        (bench.check(up(31001)).await, bench.check(up(31001)).await)
    });
    assert_eq!(last(&first), unreached(Layer::Tcp, Cause::AdminProhibited));
    assert_eq!(last(&second), unreached(Layer::Tcp, Cause::AdminProhibited));
}

#[test]
fn row_9_a_syn_that_never_left_is_no_lost_syn() {
    let pair = Pair::new();
    pair.node_ip("addr flush dev pn0");
    let leg = leg(&pair);
    let (seen, arp, later) = Pair::inside(&pair.own, async move {
        let mut bench = Bench::new(&leg);
        let seen = bench.check(up(31001)).await;
        let arp = bench.check(Ask::Arp(NODE.into())).await;
        bench.settle().await;
        // A check that may not wait for the first retransmit knows what was learned.
        bench.engine.submit(&[Due {
            patience: Duration::from_millis(300),
            ..due(up(31001))
        }]);
        let mut later = Vec::new();
        while later.is_empty() {
            bench.turn(&mut later).await;
        }
        (seen, arp, later)
    });
    assert_eq!(
        last(&seen),
        unreached(Layer::Tcp, Cause::NeighbourUnresolved)
    );
    assert_eq!(last(&arp), unreached(Layer::Arp, Cause::ArpUnanswered));
    assert_eq!(
        last(&later),
        unreached(Layer::Tcp, Cause::NeighbourUnresolved)
    );
}

#[test]
fn row_10_a_warm_neighbour_hides_what_arp_shows() {
    let pair = Pair::new();
    pair.serve_on_node(|| async {
        std::mem::forget(Peer::http_on("0.0.0.0:31001", 200, "{}").await);
    });
    let leg = leg(&pair);
    let node = pair.node.clone();
    let (before, tcp, arp) = Pair::inside(&pair.own, async move {
        let mut bench = Bench::new(&leg);
        let before = bench.check(up(31001)).await;
        run("ip", &["-n", &node, "addr", "flush", "dev", "pn0"]);
        let tcp = bench.check(up(31001)).await;
        (before, tcp, bench.check(Ask::Arp(NODE.into())).await)
    });
    assert_eq!(last(&before), (Layer::Http, Outcome::Reached));
    assert_eq!(last(&tcp), unreached(Layer::Tcp, Cause::SynUnanswered));
    assert_eq!(last(&arp), unreached(Layer::Arp, Cause::ArpUnanswered));
}

#[test]
fn row_12_a_full_accept_queue_is_an_unanswered_syn() {
    let pair = Pair::new();
    pair.serve_on_node(|| async {
        std::mem::forget(Peer::full_on("172.16.0.2:31012").await);
    });
    let seen = one(&pair, up(31012));
    assert_eq!(last(&seen), unreached(Layer::Tcp, Cause::SynUnanswered));
    assert_eq!(
        last(&one(&pair, up(31013))),
        unreached(Layer::Tcp, Cause::Refused)
    );
}

/// Seen by an unbound socket. One that is bound to the device never meets such a route (the
/// look-up skips routes of other devices): there the link facts tell.
#[test]
fn row_17_a_route_that_is_missing_here_is_ours() {
    for route in ["blackhole", "unreachable", "prohibit"] {
        let pair = Pair::new();
        pair.own_ip(&format!("route add {route} 172.16.0.2/32"));
        let leg = leg(&pair);
        let started = Instant::now();
        let (unbound, bound) = Pair::inside(&pair.own, async move {
            (
                Bench::of("vm/a/0", &leg).check(up(31001)).await,
                Bench::new(&leg).check(up(31001)).await,
            )
        });
        let expected = unreached(Layer::Tcp, Cause::RouteMissing);
        assert_eq!(last(&unbound), expected, "{route}");
        assert_eq!(
            last(&bound),
            unreached(Layer::Tcp, Cause::Refused),
            "{route}"
        );
        assert!(started.elapsed() < Duration::from_millis(500));
    }
}

#[test]
fn arp_is_answered_with_the_mac_by_broadcast_and_by_unicast() {
    let pair = Pair::new();
    pair.node_ip("link set pn0 address 02:00:00:00:0a:02");
    let leg = leg(&pair);
    let (first, second) = Pair::inside(&pair.own, async move {
        let mut bench = Bench::new(&leg);
        (
            bench.check(Ask::Arp(NODE.into())).await,
            bench.check(Ask::Arp(NODE.into())).await,
        )
    });
    for seen in [first, second] {
        let What::Outcome {
            outcome,
            rtt,
            kernel_rtt,
            mac,
            ..
        } = seen[0].what
        else {
            panic!("{seen:?}");
        };
        assert_eq!(outcome, Outcome::Reached);
        assert_eq!(mac, Some(Mac([2, 0, 0, 0, 0x0a, 2])));
        assert!(kernel_rtt.unwrap() <= rtt.unwrap() && rtt.unwrap() < Duration::from_millis(300));
    }
}

/// Another machine takes the address over: unicast to the old MAC is missed, broadcast finds it.
#[test]
fn arp_finds_another_mac_after_one_miss() {
    let pair = Pair::new();
    let leg = leg(&pair);
    let node = pair.node.clone();
    let outcomes = Pair::inside(&pair.own, async move {
        let mut bench = Bench::new(&leg);
        let mut outcomes = vec![bench.check(Ask::Arp(NODE.into())).await];
        run(
            "ip",
            &[
                "-n",
                &node,
                "link",
                "set",
                "pn0",
                "address",
                "02:00:00:00:0a:07",
            ],
        );
        for _ in 0..2 {
            outcomes.push(bench.check(Ask::Arp(NODE.into())).await);
        }
        outcomes
    });
    assert_eq!(last(&outcomes[0]), (Layer::Arp, Outcome::Reached));
    assert_eq!(
        last(&outcomes[1]),
        unreached(Layer::Arp, Cause::ArpUnanswered)
    );
    assert!(matches!(
        outcomes[2][0].what,
        What::Outcome {
            outcome: Outcome::Reached,
            mac: Some(Mac([2, 0, 0, 0, 0x0a, 7])),
            ..
        }
    ));
}

/// A second machine with the node's address is heard by a sweep, and named until it is gone.
#[test]
fn two_machines_that_answer_one_broadcast_are_a_conflict() {
    let pair = Pair::new();
    // A second device of the node's machine, on the same wire, that has the same address.
    pair.node_ip("link set pn0 down");
    pair.node_ip("link add br0 type bridge forward_delay 0");
    pair.node_ip("link add pn1 address 02:00:00:00:0a:01 type veth peer name p1");
    pair.node_ip("link add pn2 address 02:00:00:00:0a:02 type veth peer name p2");
    for port in ["pn0", "p1", "p2"] {
        pair.node_ip(&format!("link set {port} master br0 up"));
    }
    pair.node_ip("addr flush dev pn0");
    pair.node_ip("link set br0 up");
    pair.node_ip("addr add 172.16.0.2/22 dev pn1");
    pair.node_ip("link set pn1 up");
    pair.node_ip("link set pn2 up");
    // Each device answers for its own addresses alone (arp_ignore, ip-sysctl).
    pair.node_sysctl("ipv4/conf/all/arp_ignore", "1");
    let leg = leg(&pair);
    let node = pair.node.clone();
    let (alone, unheard, heard, over) = Pair::inside(&pair.own, async move {
        let mut bench = Bench::new(&leg);
        let ask = || Ask::Arp(NODE.into());
        let alone = bench.check(ask()).await;
        run(
            "ip",
            &["-n", &node, "addr", "add", "172.16.0.2/22", "dev", "pn2"],
        );
        let unheard = bench.check(ask()).await;
        // The first answer ends the check, the second one is remembered.
        bench.engine.sweep(NODE.into());
        bench.check(ask()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut seen = Vec::new();
        bench.engine.drain(bench.clock.now().tick, &mut seen);
        let heard = bench.check(ask()).await;
        run("ip", &["-n", &node, "addr", "flush", "dev", "pn2"]);
        for _ in 0..5 {
            bench.check(ask()).await;
        }
        (alone, unheard, heard, bench.check(ask()).await)
    });
    assert_eq!(last(&alone), (Layer::Arp, Outcome::Reached));
    assert_eq!(last(&unheard), (Layer::Arp, Outcome::Reached));
    assert_eq!(last(&heard), unreached(Layer::Arp, Cause::AddressConflict));
    assert_eq!(last(&over), (Layer::Arp, Outcome::Reached));
}

/// Row 15 as an MTU makes it: small answers pass, a read of many segments does not.
#[test]
fn a_read_of_many_segments_shows_what_small_answers_hide() {
    let pair = Pair::new();
    let large = "x".repeat(40_000);
    pair.serve_on_node(move || async move {
        std::mem::forget(Peer::http_on("0.0.0.0:31001", 200, &large).await);
    });
    let leg = leg(&pair);
    let read = || Ask::Large {
        to: std::net::SocketAddrV4::new(NODE.into(), 31001),
        agent: "x".into(),
    };
    let fine = one(&pair, read());
    assert!(
        matches!(
            fine[0].what,
            What::Large {
                outcome: Outcome::Reached,
                bytes: 40_000
            }
        ),
        "{fine:?}"
    );
    pair.node_ip("link set pn0 gso_max_segs 1");
    pair.nft("table inet m { chain o { type filter hook output priority 0; meta length > 1000 drop; }; }");
    let lost = Pair::inside(
        &pair.own,
        async move { Bench::new(&leg).check(read()).await },
    );
    assert!(
        matches!(
            lost[0].what,
            What::Large {
                outcome: Outcome::Unreached(Cause::TransferStalled),
                ..
            }
        ),
        "{lost:?}"
    );
}

/// A reply that lay in the socket while the program was starved was in time by its stamp.
#[test]
fn a_starved_loop_misses_no_reply() {
    let pair = Pair::new();
    let leg = leg(&pair);
    let seen = Pair::inside(&pair.own, async move {
        let mut bench = Bench::new(&leg);
        // The kernel switches stamping on a moment after the first socket asks for it.
        bench.check(Ask::Arp(NODE.into())).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        bench.engine.submit(&[due(Ask::Arp(NODE.into()))]);
        // Longer than the deadline, without looking.
        std::thread::sleep(Duration::from_millis(600));
        let mut seen = Vec::new();
        bench.engine.drain(bench.clock.now().tick, &mut seen);
        seen
    });
    let (wall, kernel) = rtt(&seen[0]);
    assert_eq!(last(&seen), (Layer::Arp, Outcome::Reached));
    assert!(wall.unwrap() >= Duration::from_millis(600));
    assert!(kernel.unwrap() < Duration::from_millis(100), "{kernel:?}");
}

#[test]
fn a_device_that_vanishes_is_blindness_and_comes_back() {
    let pair = Pair::new();
    let (before, lost) = (leg(&pair), Leg::default());
    let own = pair.own.clone();
    let pair_again = &pair;
    let outcomes = Pair::inside(&pair.own, async move {
        let mut bench = Bench::new(&before);
        let mut outcomes = vec![last(&bench.check(Ask::Arp(NODE.into())).await)];
        run("ip", &["-n", &own, "link", "del", "vlan0"]);
        // The link facts have not come yet: the socket itself says so.
        outcomes.push(last(&bench.check(Ask::Arp(NODE.into())).await));
        outcomes.push(last(&bench.check(up(31001)).await));
        bench.engine.set_leg(&lost);
        outcomes.push(last(&bench.check(Ask::Arp(NODE.into())).await));
        pair_again.join();
        bench.engine.set_leg(&leg(pair_again));
        outcomes.push(last(&bench.check(Ask::Arp(NODE.into())).await));
        outcomes
    });
    let blind = |layer| (layer, Outcome::Unmeasured(Blind::NoDevice));
    assert_eq!(
        outcomes,
        [
            (Layer::Arp, Outcome::Reached),
            blind(Layer::Arp),
            blind(Layer::Tcp),
            blind(Layer::Arp),
            (Layer::Arp, Outcome::Reached),
        ]
    );
}

#[test]
fn a_leg_without_an_address_measures_nothing() {
    let pair = Pair::new();
    pair.own_ip("addr flush dev vlan0");
    let leg = leg(&pair);
    let without = Leg {
        source: None,
        ..leg.clone()
    };
    let outcomes = Pair::inside(&pair.own, async move {
        // Facts that lag behind: bind(2) fails.
        let lagging = last(&Bench::new(&leg).check(up(31001)).await);
        let mut bench = Bench::new(&without);
        [
            lagging,
            last(&bench.check(up(31001)).await),
            last(&bench.check(Ask::Arp(NODE.into())).await),
        ]
    });
    let blind = |layer| (layer, Outcome::Unmeasured(Blind::NoSource));
    assert_eq!(
        outcomes,
        [blind(Layer::Tcp), blind(Layer::Tcp), blind(Layer::Arp)]
    );
}

/// A thread without `CAP_NET_RAW` stands for a process without it.
#[test]
fn without_the_privilege_arp_is_blind_and_tcp_goes_on() {
    let pair = Pair::new();
    pair.serve_on_node(|| async {
        std::mem::forget(Peer::http_on("0.0.0.0:31001", 200, "{}").await);
    });
    let leg = leg(&pair);
    let (arp, tcp, available) = Pair::inside(&pair.own, async move {
        let none = rustix::thread::CapabilitySet::empty();
        let sets = rustix::thread::CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        };
        rustix::thread::set_capabilities(None, sets).unwrap();
        let mut bench = Bench::new(&leg);
        let arp = bench.check(Ask::Arp(NODE.into())).await;
        let tcp = bench.check(up(31001)).await;
        (arp, tcp, bench.engine.arp_available())
    });
    assert_eq!(
        last(&arp),
        (Layer::Arp, Outcome::Unmeasured(Blind::NoPrivilege))
    );
    assert_eq!(last(&tcp), (Layer::Http, Outcome::Reached));
    assert_eq!(available, Some(false));
}
