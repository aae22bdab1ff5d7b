use core::net::Ipv4Addr;
use std::time::Duration;

use pnwatch_core::correlate::table::{PathSign, PublicSign};
use pnwatch_core::fault::Blame;
use pnwatch_core::inventory::Excuse;
use pnwatch_core::name::{Cluster, Node};
use pnwatch_core::slo::Scope;
use pnwatch_core::subject::{PathKey, TargetKind};
use pnwatch_core::time::Tick;
use pnwatch_core::traffic::{Names, Parser};
use pnwatch_core::view::{PathView, TargetView};

use super::*;

fn at(second: u64) -> Now {
    Now {
        tick: Tick::from_millis((1000 + second) * 1000),
        wall: Timestamp::from_unix_seconds(1_780_000_000 + second),
    }
}

fn account(name: &str) -> Account {
    Account::new(name).unwrap()
}

fn instance(name: &str) -> Instance {
    Instance::new(format!("kura-{name}")).unwrap()
}

fn pod(name: &str, node: &str) -> PodTarget {
    PodTarget {
        account: account(name),
        instance: instance(name),
        node: Some(Node::new(node).unwrap()),
        url: None,
    }
}

fn sample(name: &str, second: u64, public: u64) -> Sample {
    let names = Names::default();
    let mut parser = Parser::new(&names);
    let text = format!(
        "kura_http_requests_total_total{{route=\"/api/x\",status=\"200\"}} {public}\n\
         kura_http_requests_total_total{{route=\"/_internal/x\",status=\"200\"}} {second}\n"
    );
    parser.push(text.as_bytes());
    Sample {
        instance: instance(name),
        at: at(second).tick,
        result: Ok(parser.finish()),
    }
}

/// a and b behind n stop together at 60 s; c behind m goes on.
fn judge(maintenance: Vec<Maintenance>, until: u64) -> Judge {
    let mut judge = Judge::new(Settings::default(), maintenance);
    judge.set_targets(&[pod("a", "n"), pod("b", "n"), pod("c", "m")]);
    for second in (0..=until).step_by(5) {
        let stopped = second.min(60) * 10;
        judge.apply(sample("a", second, stopped));
        judge.apply(sample("b", second, stopped));
        judge.apply(sample("c", second, second * 10));
    }
    judge
}

fn target(name: &str, node: &str) -> TargetView {
    TargetView {
        target: AccountTarget {
            account: account(name),
            tenant: None,
            instance: instance(name),
            kind: TargetKind::Nodeport,
            node: Node::new(node).unwrap(),
            address: Ipv4Addr::new(172, 16, 0, 2),
            port: 30815,
            excuse: None,
            metrics: None,
            egress_cap: None,
        },
        verdict: Verdict::Unknown,
        witnesses: 0,
        reached_by: 0,
        newest_age: None,
        reached_since: None,
    }
}

/// Endpoints of a and b alone: c is a witness.
fn view(now: Now, paths: Vec<PathView>) -> View {
    View {
        cluster: Cluster::new("test").unwrap(),
        at: now.wall,
        started_at: at(0).wall,
        open: Vec::new(),
        closed: Vec::new(),
        nodes: Vec::new(),
        targets: vec![target("a", "n"), target("b", "n")],
        vantages: Vec::new(),
        paths,
    }
}

fn path(vantage: &str, layer: Layer, verdict: Verdict, since: Option<u64>) -> PathView {
    PathView {
        key: PathKey {
            vantage: vantage.parse().unwrap(),
            subject: target("a", "n").target.subject(),
            layer,
        },
        verdict,
        down_since: since.map(|second| at(second).wall),
        last_outcome: None,
        newest_age: None,
        mac: None,
        rtt_us: None,
        failures: Vec::new(),
    }
}

fn said(judge: &Judge, view: &View, now: Now) -> Judgement {
    judge.judge(view, &BTreeMap::new(), now)
}

fn of<'a>(judgement: &'a Judgement, name: &str) -> &'a Correlation {
    let mut all = judgement.correlations.iter();
    all.find(|seen| seen.account == account(name)).unwrap()
}

#[test]
fn silence_that_nobody_checks_warns_and_a_pod_without_an_endpoint_is_a_witness_alone() {
    let now = at(160);
    let judgement = said(&judge(Vec::new(), 160), &view(now, Vec::new()), now);
    assert_eq!(judgement.correlations.len(), 2);
    assert_eq!(of(&judgement, "a").verdict, TrafficVerdict::Blackhole);
    let faults: Vec<Fault> = judgement.diagnoses.iter().map(|d| d.fault).collect();
    assert_eq!(faults, [Fault::TrafficSilent; 2]);
    let evidence = &judgement.diagnoses[0].evidence[0].text;
    assert!(
        evidence.starts_with("0 public requests for 100 s; 10/s before; 1/s internal;"),
        "{evidence}"
    );
}

#[test]
fn what_client_vantages_find_counts_and_what_node_vantages_find_does_not() {
    let now = at(80);
    let judge = judge(Vec::new(), 80);
    let (tcp, http) = (Layer::Tcp, Layer::Http);
    for (paths, sign) in [
        (
            vec![path("node/n", tcp, Verdict::Down, Some(60))],
            PathSign::Unwatched,
        ),
        (
            vec![path("host/h", tcp, Verdict::Up, None)],
            PathSign::Reached,
        ),
        (
            vec![path("host/h", tcp, Verdict::Down, Some(60))],
            PathSign::Down,
        ),
        // The connection stands, and nothing answers on it.
        (
            vec![
                path("host/h", tcp, Verdict::Up, None),
                path("host/h", http, Verdict::Down, Some(60)),
            ],
            PathSign::Down,
        ),
        (
            vec![
                path("host/h", tcp, Verdict::Up, None),
                path("host/g", tcp, Verdict::Down, Some(60)),
            ],
            PathSign::Split,
        ),
        (
            vec![path("host/h", tcp, Verdict::Suspect, None)],
            PathSign::Unwatched,
        ),
    ] {
        let judgement = said(&judge, &view(now, paths.clone()), now);
        assert_eq!(of(&judgement, "a").signs.path, sign, "{paths:?}");
    }
    // Traffic stopped when the path died: 20 s suffice, and the checks' own finding speaks.
    let paths = vec![path("host/h", tcp, Verdict::Down, Some(60))];
    let judgement = said(&judge, &view(now, paths), now);
    assert_eq!(of(&judgement, "a").signs.public, PublicSign::Stopped);
    assert_eq!(of(&judgement, "a").verdict, TrafficVerdict::Blackhole);
    assert!(judgement.diagnoses.is_empty());
}

#[test]
fn an_excused_endpoint_is_told_of_and_blamed_for_nothing() {
    let now = at(160);
    let window = |from: u64, until: u64| Maintenance {
        scope: Scope::Account(account("a")),
        from: at(from).wall,
        until: at(until).wall,
        reason: "work".into(),
    };
    for (maintenance, excuse, found) in [
        (vec![window(100, 200)], None, 1),
        (vec![window(100, 160)], None, 2),
        (Vec::new(), Some(200), 1),
        (Vec::new(), Some(160), 2),
    ] {
        let mut view = view(now, Vec::new());
        view.targets[0].target.excuse = excuse.map(|until| Excuse {
            reason: "draining".into(),
            until: at(until).wall,
        });
        let judgement = said(&judge(maintenance, 160), &view, now);
        assert_eq!(judgement.diagnoses.len(), found, "{excuse:?}");
        assert_eq!(of(&judgement, "a").verdict, TrafficVerdict::Blackhole);
    }
}

#[test]
fn a_gap_in_the_numbers_keeps_what_was_found_and_fresh_numbers_end_it() {
    let mut judge = judge(Vec::new(), 160);
    let mut seen = view(at(160), Vec::new());
    let first = said(&judge, &seen, at(160)).diagnoses.remove(0);
    let mut findings =
        pnwatch_core::findings::Findings::new(seen.cluster.clone(), Duration::from_secs(5));
    let standing = |_: &Finding, _| pnwatch_core::findings::Standing::Clear;
    findings.update(vec![first.clone()], at(160), standing);
    // The pods answer no more: nothing is known of a, b or c.
    let gap = at(400);
    seen.at = gap.wall;
    assert!(said(&judge, &seen, gap).diagnoses.is_empty());
    seen.open = findings.open().cloned().collect();
    let held = said(&judge, &seen, gap);
    assert_eq!(of(&held, "a").verdict, TrafficVerdict::Unknown);
    assert_eq!(held.diagnoses, [first]);
    assert_eq!(held.diagnoses[0].blame, Blame::Account);
    for second in (405..=500).step_by(5) {
        judge.apply(sample("a", second, second * 10));
    }
    seen.at = at(500).wall;
    let after = said(&judge, &seen, at(500));
    assert_eq!(of(&after, "a").verdict, TrafficVerdict::Flowing);
    assert!(after.diagnoses.is_empty());
}
