//! The receiver's witness between two namespaces: where a SYN ended, told by the node itself
//! (Linux, needs root).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pnwatch_core::link::{DeviceState, LinkFacts, Mac};
use pnwatch_core::witness::{Arrival, WitnessReport};
use pnwatch_edge::clock::{SharedClock, SystemClock};
use pnwatch_prober::link::Leg;
use pnwatch_prober::witness::{Snapshot, follow};
use support::netns::{Pair, run};
use support::peer::Peer;
use tokio::sync::watch;

const OWN: [u8; 4] = [172, 16, 0, 11];
const NODE: [u8; 4] = [172, 16, 0, 2];

/// The witness on the node of a pair, going until the test ends.
struct Watching {
    heard: watch::Receiver<Option<Snapshot>>,
    _leg: watch::Sender<Option<Leg>>,
}

impl Watching {
    fn on(pair: &Pair) -> Self {
        let links = pair.node_ip("-j link show pn0");
        let links: serde_json::Value = serde_json::from_str(&links).unwrap();
        let mac: Mac = links[0]["address"].as_str().unwrap().parse().unwrap();
        let leg = Leg {
            index: links[0]["ifindex"].as_u64().map(|i| i as u32),
            arp: true,
            source: Some(NODE.into()),
            facts: LinkFacts {
                device: "pn0".into(),
                state: DeviceState::Up,
                mac: Some(mac),
                ..Leg::default().facts
            },
            ..Leg::default()
        };
        let (tell_leg, leg) = watch::channel(Some(leg));
        let (tell, heard) = watch::channel(None);
        pair.serve_on_node(move || async move {
            let clock: SharedClock = Arc::new(SystemClock::new());
            tokio::spawn(follow(leg, clock, tell));
        });
        let mut watching = Self {
            heard,
            _leg: tell_leg,
        };
        watching.until(|_| true);
        watching
    }

    /// The first report for which `is` holds.
    fn until(&mut self, is: impl Fn(&WitnessReport) -> bool) -> WitnessReport {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            let held = self.heard.borrow_and_update().clone();
            if let Some(snapshot) = held.filter(|snapshot| is(&snapshot.report)) {
                return snapshot.report;
            }
            assert!(Instant::now() < end, "the witness never says so");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Connects from the prober's machine, and gives up after `patience`.
fn connect(pair: &Pair, port: u16, patience: Duration) -> bool {
    Pair::inside(&pair.own, async move {
        let connect = tokio::net::TcpStream::connect((std::net::Ipv4Addr::from(NODE), port));
        matches!(tokio::time::timeout(patience, connect).await, Ok(Ok(_)))
    })
}

fn arrival(report: &WitnessReport, port: u16) -> Arrival {
    let who = (OWN.into(), NODE.into(), port);
    report.arrival(who, Duration::from_secs(5))
}

const RETRANSMITTED: Duration = Duration::from_millis(1400);

#[test]
fn where_a_syn_ended_is_known_on_the_node() {
    let pair = Pair::new();
    pair.serve_on_node(|| async {
        std::mem::forget(Peer::http_on("0.0.0.0:31001", 200, "{}").await);
        std::mem::forget(Peer::http_on("0.0.0.0:31005", 200, "{}").await);
        std::mem::forget(Peer::full_on("172.16.0.2:31012").await);
    });
    pair.node_input("tcp dport 31004 drop");
    // Lost on their way: one before the node, one on the way back.
    let lost = "table inet t { chain i { type filter hook input priority 0; tcp sport 31005 drop; }; \
                chain o { type filter hook output priority 0; tcp dport 31006 drop; }; }";
    run("ip", &["netns", "exec", &pair.own, "nft", lost]);
    let mut watching = Watching::on(&pair);
    assert!(connect(&pair, 31001, RETRANSMITTED));
    for port in [31004, 31005, 31006, 31012] {
        assert!(!connect(&pair, port, RETRANSMITTED), "{port}");
    }
    let is = |r: &WitnessReport| {
        let flow = |port| r.flows.iter().find(|f| f.port == port);
        flow(31012).is_some_and(|f| f.repeats > 0) && r.window_us >= 5_000_000
    };
    let report = watching.until(is);
    let flow = |port| *report.flows.iter().find(|f| f.port == port).unwrap();
    assert_eq!((flow(31001).syns, flow(31001).syn_acks), (1, 1));
    assert_eq!(flow(31001).repeats, 0);
    assert_eq!(arrival(&report, 31004), Arrival::Unanswered);
    assert_eq!((flow(31004).syns, flow(31004).repeats), (2, 1));
    assert_eq!(arrival(&report, 31005), Arrival::AnswerLost);
    assert!(flow(31005).repeats > 0 && flow(31005).syn_acks > 0);
    assert_eq!(arrival(&report, 31006), Arrival::NeverCame);
    assert_eq!(arrival(&report, 31012), Arrival::Unanswered);
    // The accept queue is the node's own here; a pod's would not be seen.
    assert_eq!(report.queue_full(), Some(true));
    assert_eq!((report.dropped, report.unlisted_syns), (0, 0));
}

#[test]
fn an_untranslated_source_and_a_second_owner_of_the_address_are_seen() {
    let pair = Pair::new();
    let mut watching = Watching::on(&pair);
    pair.own_ip("addr add 192.168.64.2/32 dev vlan0");
    // Answers for the node's own address from here on.
    pair.own_ip("addr add 172.16.0.2/32 dev vlan0");
    let own: Mac = {
        let links = pair.own_ip("-j link show vlan0");
        let links: serde_json::Value = serde_json::from_str(&links).unwrap();
        links[0]["address"].as_str().unwrap().parse().unwrap()
    };
    let report = watching.until(|r| !r.claims.is_empty());
    assert_eq!(report.claims[0].mac, own);
    pair.own_ip("addr del 172.16.0.2/32 dev vlan0");
    watching.until(|r| r.claims.is_empty());
    Pair::inside(&pair.own, async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("192.168.64.2:0".parse().unwrap()).unwrap();
        let connect = socket.connect("172.16.0.2:31001".parse().unwrap());
        let _ = tokio::time::timeout(Duration::from_millis(300), connect).await;
    });
    let pn = "172.16.0.0/22".parse().unwrap();
    let report = watching.until(|r| r.strays(pn).next().is_some());
    let stray = report.strays(pn).next().unwrap();
    assert_eq!(stray.client, std::net::Ipv4Addr::new(192, 168, 64, 2));
}
