//! Traffic that should be there: real stand-ins of the cache, real scrapes, the whole exporter.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{DEADLINE, Running, Setup, node_lost, replace, until};
use pnwatch_edge::config::Traffic;
use pnwatch_edge::http::Request;
use pnwatch_standin::{Standin, StandinConfig};
use serde_json::Value;
use tokio::task::JoinHandle;

const PUBLIC: &str = "/api/cache/module/{id}";
const INTERNAL: &str = "/_internal/replicate";

/// One account's pod, and whether builds ask it for anything.
struct Pod {
    standin: Arc<Standin>,
    asked: Arc<AtomicBool>,
    busy: JoinHandle<()>,
}

impl Pod {
    async fn start(account: &str, asked: bool) -> Self {
        let standin = Standin::start(StandinConfig::loopback(account));
        let standin = Arc::new(standin.await.unwrap());
        let asked = Arc::new(AtomicBool::new(asked));
        let (pod, public) = (Arc::clone(&standin), Arc::clone(&asked));
        // Peers replicate for ever; a build asks ten times in 50 ms.
        let busy = tokio::spawn(async move {
            loop {
                pod.record(INTERNAL, 200, 10);
                if public.load(Ordering::Relaxed) {
                    pod.record(PUBLIC, 200, 10);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self {
            standin,
            asked,
            busy,
        }
    }

    fn ask(&self, asked: bool) {
        self.asked.store(asked, Ordering::Relaxed);
    }

    /// The pod dies: nothing answers at its address any more.
    async fn kill(self) {
        self.busy.abort();
        let _ = self.busy.await;
        drop(Arc::into_inner(self.standin).unwrap());
    }
}

/// acme and beta behind the first node, with an account that never asks; gamma behind another.
struct Fleet {
    pods: BTreeMap<&'static str, Pod>,
    it: Running,
}

impl Fleet {
    async fn start() -> Self {
        let mut setup = Setup::new();
        let mut pods = BTreeMap::new();
        let mut inventory = "
pn_cidr: 172.16.0.0/22
nodes:
  - { name: kura-fleet-1, address: 172.16.0.2 }
  - { name: kura-fleet-2, address: 172.16.0.3 }
vantages: []
targets:
"
        .to_owned();
        for (account, node, address, asked) in [
            ("acme", "kura-fleet-1", "172.16.0.2", true),
            ("beta", "kura-fleet-1", "172.16.0.2", true),
            ("idle", "kura-fleet-1", "172.16.0.2", false),
            ("gamma", "kura-fleet-2", "172.16.0.3", true),
        ] {
            let pod = Pod::start(account, asked).await;
            let url = pod.standin.address();
            writeln!(
                inventory,
                "  - {{ account: {account}, instance: kura-{account}-1, node: {node}, address: {address}, port: 30815, metrics: \"http://{url}/metrics\" }}"
            )
            .unwrap();
            pods.insert(account, pod);
        }
        replace(&setup.dir.path().join("inventory.yaml"), &inventory);
        setup.serve().traffic = Traffic {
            interval: Duration::from_millis(200),
            window: Duration::from_secs(2),
            ..Traffic::default()
        };
        let it = setup.start().await;
        Self { pods, it }
    }

    /// The one verdict on the account's traffic.
    async fn verdict(&self, account: &str) -> Option<String> {
        let text = self.it.metrics().await;
        let start = format!("pnwatch_traffic_verdict{{cluster=\"staging\",account=\"{account}\",");
        let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
        let set: Vec<&str> = lines.filter_map(|line| line.strip_suffix("} 1")).collect();
        assert!(set.len() <= 1, "{set:?}");
        let word = set.first()?.strip_prefix("verdict=\"")?;
        Some(word.trim_end_matches('"').to_owned())
    }

    async fn until_verdict(&self, account: &str, wanted: &str) {
        until(&format!("{account} {wanted}"), async || {
            (self.verdict(account).await.as_deref() == Some(wanted)).then_some(())
        })
        .await;
    }

    /// The open finding about the account, if there is one.
    async fn finding(&self, account: &str) -> Option<Value> {
        let all = self.it.json("/v1/findings").await;
        let mut open = all["data"].as_array().unwrap().iter();
        open.find(|f| f["account"] == account).cloned()
    }

    async fn probe(&self, account: &str) {
        let address = self.pods[account].standin.address();
        for route in ["up", "ready", "metrics"] {
            let request = Request::get(format!("http://{address}/{route}"));
            self.it.send(request.within(DEADLINE)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_pods_fall_silent_while_others_serve_is_told_with_numbers() {
    let fleet = Fleet::start().await;
    for account in ["acme", "beta", "gamma"] {
        fleet.until_verdict(account, "flowing").await;
    }
    fleet.pods["acme"].ask(false);
    fleet.pods["beta"].ask(false);
    let found = until("the silence", async || {
        // Checks go on all the while, and must never look like traffic.
        fleet.probe("acme").await;
        fleet.finding("acme").await
    })
    .await;
    assert_eq!(found["fault"], "traffic_silent");
    assert_eq!(found["alertname"], "PNTrafficSilent");
    assert_eq!(found["blame"], "account");
    assert_eq!(found["severity"], "warning");
    assert_eq!(found["node"], "kura-fleet-1");
    let text = found["evidence"][0]["text"].as_str().unwrap();
    for part in [
        "0 public requests for ",
        "/s before; ",
        "/s internal; ",
        "1 pods of other accounts on other nodes ",
    ] {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
    let why = found["missing"][0].as_str().unwrap();
    assert!(why.contains("no host or VM checks this endpoint"), "{why}");
    fleet.until_verdict("acme", "blackhole").await;
    fleet.until_verdict("beta", "blackhole").await;
    until("beta's finding", async || fleet.finding("beta").await).await;

    // The API says why.
    let view = fleet.it.json("/v1/view").await;
    let mut seen = view["traffic"].as_array().unwrap().iter();
    let acme = seen.find(|one| one["account"] == "acme").unwrap();
    assert_eq!(acme["verdict"], "blackhole");
    assert_eq!(acme["signs"]["witness"], "node_alone");
    let said = acme["evidence"].as_str().unwrap();
    assert!(said.contains("0 public requests for "), "{said}");
    assert!(view["ledger"]["why"].is_string(), "{view}");

    // Who serves, and who never asked, is left alone.
    assert_eq!(fleet.verdict("gamma").await.unwrap(), "flowing");
    assert!(fleet.finding("gamma").await.is_none());
    assert!(fleet.finding("idle").await.is_none());
    let verdict = fleet.verdict("idle").await.unwrap();
    assert!(verdict == "unknown" || verdict == "idle", "{verdict}");

    // Many probes more change nothing.
    for _ in 0..50 {
        fleet.probe("acme").await;
    }
    let probed: u64 = fleet.pods["acme"]
        .standin
        .requests()
        .into_iter()
        .filter(|(seen, _)| ["/up", "/ready"].contains(&seen.route.as_str()))
        .map(|(_, count)| count)
        .sum();
    assert!(probed > 100, "{probed}");
    assert_eq!(fleet.verdict("acme").await.unwrap(), "blackhole");
    assert!(fleet.finding("acme").await.is_some());

    fleet.pods["acme"].ask(true);
    fleet.pods["beta"].ask(true);
    fleet.until_verdict("acme", "flowing").await;
    until("closing", async || {
        (fleet.finding("acme").await.is_none() && fleet.finding("beta").await.is_none())
            .then_some(())
    })
    .await;
    fleet.it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_fail_are_unknown_and_blame_nobody() {
    let mut fleet = Fleet::start().await;
    fleet.until_verdict("acme", "flowing").await;
    fleet.pods.remove("acme").unwrap().kill().await;
    fleet.until_verdict("acme", "unknown").await;
    assert!(fleet.finding("acme").await.is_none());
    assert_eq!(fleet.verdict("beta").await.unwrap(), "flowing");
    fleet.it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_fail_close_no_finding() {
    let mut fleet = Fleet::start().await;
    for account in ["acme", "beta", "gamma"] {
        fleet.until_verdict(account, "flowing").await;
    }
    fleet.pods["acme"].ask(false);
    fleet.pods["beta"].ask(false);
    let found = until("the silence", async || fleet.finding("acme").await).await;
    fleet.pods.remove("acme").unwrap().kill().await;
    fleet.until_verdict("acme", "unknown").await;
    // Longer than a recovery must hold: beta, which recovers, closes; acme, of which nothing is
    // known, does not.
    until("beta's finding", async || fleet.finding("beta").await).await;
    fleet.pods["beta"].ask(true);
    until("beta closing", async || {
        fleet.finding("beta").await.is_none().then_some(())
    })
    .await;
    let kept = fleet.finding("acme").await.unwrap();
    assert_eq!(kept["id"], found["id"]);
    assert!(kept["clearing_since"].is_null(), "{kept}");
    fleet.it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_checks_confirm_is_a_black_hole_and_their_finding_alone() {
    let mut setup = Setup::new();
    let pod = Pod::start("acme", true).await;
    let url = format!(
        "port: 30815, metrics: \"http://{}/metrics\"",
        pod.standin.address()
    );
    let inventory = common::INVENTORY.replace("port: 30815", &url);
    replace(&setup.dir.path().join("inventory.yaml"), &inventory);
    setup.serve().traffic = Traffic {
        interval: Duration::from_millis(200),
        window: Duration::from_secs(2),
        ..Traffic::default()
    };
    let it = setup.start().await;
    let fleet = Fleet {
        pods: BTreeMap::from([("acme", pod)]),
        it,
    };
    fleet.until_verdict("acme", "flowing").await;
    fleet.pods["acme"].ask(false);
    let seq = Cell::new(0);
    until("the black hole", async || {
        seq.set(seq.get() + 1);
        for host in ["host/mini-1", "host/mini-2"] {
            fleet.it.report(&node_lost(host, seq.get())).await;
        }
        (fleet.verdict("acme").await.as_deref() == Some("blackhole")).then_some(())
    })
    .await;
    let all = fleet.it.json("/v1/findings").await;
    let open = all["data"].as_array().unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0]["blame"], "node");
    fleet.it.stop().await;
}
