use core::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::fault::{Alert, Blame, Confidence, Fault};
use crate::finding::Identity;
use crate::inventory::AccountTarget;
use crate::name::{Account, Cluster, Host, Instance, Node, Vantage};
use crate::path;
use crate::subject::{PathKey, TargetKind};
use crate::view::{PathView, VantageView};

pub(super) const NOW: Timestamp = Timestamp::from_unix_seconds(1_782_119_670);

pub(super) fn target(account: &str) -> TargetView {
    TargetView {
        target: AccountTarget {
            account: Account::new(account).unwrap(),
            tenant: None,
            instance: Instance::new(format!("kura-{account}")).unwrap(),
            kind: TargetKind::Nodeport,
            node: Node::new("n1").unwrap(),
            address: Ipv4Addr::LOCALHOST,
            port: 30815,
            excuse: None,
            metrics: None,
            egress_cap: None,
        },
        verdict: path::Verdict::Up,
        witnesses: 2,
        reached_by: 2,
        newest_age: Some(Duration::from_millis(300)),
        reached_since: Some(NOW.before(Duration::from_mins(1))),
    }
}

pub(super) fn view(targets: Vec<TargetView>) -> View {
    let host = |name: &str| VantageView {
        vantage: Vantage::Host(Host::new(name).unwrap()),
        expected: true,
        reporting: true,
        stopping: false,
        last_report: Some(NOW),
        address: None,
        link: None,
        counters: Vec::new(),
        devices: Vec::new(),
    };
    View {
        cluster: Cluster::new("test").unwrap(),
        at: NOW,
        started_at: NOW.before(Duration::from_mins(10)),
        open: Vec::new(),
        closed: Vec::new(),
        nodes: Vec::new(),
        targets,
        vantages: vec![host("a"), host("b")],
        paths: Vec::new(),
    }
}

fn finding(blame: Blame, severity: Severity, accounts: &[&str]) -> Finding {
    Finding {
        id: "f".into(),
        identity: Identity {
            cluster: Cluster::new("test").unwrap(),
            blame,
            subject: "x".into(),
        },
        fault: Fault::PodDead,
        severity,
        alertname: Some(Alert::AccountUnreachable),
        confidence: Confidence::High,
        started_at: NOW,
        opened_at: NOW,
        sharpened_at: NOW,
        clearing_since: None,
        closed_at: None,
        blind_since: None,
        summary: "account a: dead".into(),
        evidence: Vec::new(),
        missing: Vec::new(),
        node: None,
        host: None,
        account: None,
        address: None,
        accounts: accounts.iter().map(|a| Account::new(*a).unwrap()).collect(),
        vantages: Vec::new(),
        repair: None,
    }
}

pub(super) fn ask(text: &str) -> Query {
    let pairs: Vec<(&str, &str)> = text.split('&').filter_map(|p| p.split_once('=')).collect();
    Query::from_parameters(pairs).unwrap()
}

#[test]
fn three_valued_logic_is_kleenes() {
    for a in Truth::ALL {
        for b in Truth::ALL {
            assert_eq!(a.and(*b), a.negated().or(b.negated()).negated());
            assert_eq!(a.and(*b), b.and(*a));
        }
        assert_eq!(a.and(Truth::False), Truth::False);
        assert_eq!(a.or(Truth::True), Truth::True);
        assert_eq!(a.and(Truth::True), *a);
    }
}

type Case = (
    &'static str,
    &'static str,
    fn(&mut View),
    Verdict,
    Option<Rule>,
);

fn closed(view: &mut View, clear_s: u64, closed_s: u64) {
    let mut f = finding(Blame::Account, Severity::Critical, &["a"]);
    f.clearing_since = Some(NOW.before(Duration::from_secs(clear_s)));
    f.closed_at = Some(NOW.before(Duration::from_secs(closed_s)));
    view.closed.push(f);
}

/// `for=` counts from when it was well again, not from the end of the hold-down.
const LATELY: &[Case] = &[
    (
        "well for longer than asked, closed just now",
        "all=1&for=30s",
        |v| closed(v, 31, 1),
        Verdict::Open,
        None,
    ),
    (
        "well for less than asked",
        "all=1&for=30s",
        |v| closed(v, 29, 1),
        Verdict::Unknown,
        Some(Rule::HeldFor),
    ),
];

fn drain(view: &mut View, account: &str) {
    let mut f = finding(Blame::Account, Severity::Info, &[account]);
    f.fault = Fault::Draining;
    view.open.push(f);
    view.targets[0].verdict = path::Verdict::Down;
}

/// A drain that the cache itself told of is no verdict; another account's is none of our business.
const DRAINS: &[Case] = &[
    (
        "drains",
        "all=1",
        |v| drain(v, "a"),
        Verdict::Unknown,
        Some(Rule::Reached),
    ),
    (
        "another account drains",
        "all=1",
        |v| drain(v, "b"),
        Verdict::Closed,
        Some(Rule::Reached),
    ),
];

#[test]
fn the_table_of_answers() {
    let cases: &[Case] = &[
        ("healthy", "all=1", |_| {}, Verdict::Open, None),
        ("one account", "account=a", |_| {}, Verdict::Open, None),
        (
            "no accounts",
            "all=1",
            |v| v.targets.clear(),
            Verdict::Unknown,
            Some(Rule::Selected),
        ),
        (
            "unknown account",
            "account=zz",
            |_| {},
            Verdict::Unknown,
            Some(Rule::Selected),
        ),
        (
            "no vantages",
            "all=1",
            |v| v.vantages.clear(),
            Verdict::Unknown,
            Some(Rule::Vantages),
        ),
        (
            "too few vantages",
            "all=1&min_vantages=3",
            |_| {},
            Verdict::Unknown,
            Some(Rule::Vantages),
        ),
        (
            "old evidence",
            "all=1",
            |v| v.targets[0].newest_age = Some(Duration::from_secs(11)),
            Verdict::Unknown,
            Some(Rule::Coverage),
        ),
        (
            "no evidence",
            "all=1",
            |v| v.targets[0].newest_age = None,
            Verdict::Unknown,
            Some(Rule::Coverage),
        ),
        (
            "half is enough",
            "all=1&coverage=0.5",
            |v| v.targets[0].newest_age = None,
            Verdict::Open,
            None,
        ),
        (
            "down",
            "all=1",
            |v| v.targets[1].verdict = path::Verdict::Down,
            Verdict::Closed,
            Some(Rule::Reached),
        ),
        (
            "suspect",
            "all=1",
            |v| v.targets[1].verdict = path::Verdict::Suspect,
            Verdict::Closed,
            Some(Rule::Reached),
        ),
        (
            "no verdict yet",
            "all=1",
            |v| v.targets[1].verdict = path::Verdict::Unknown,
            Verdict::Unknown,
            Some(Rule::Reached),
        ),
        (
            "one witness of a failure is enough to close",
            "all=1&min_vantages=2&coverage=0.5",
            |v| {
                v.targets[1].witnesses = 1;
                v.targets[1].verdict = path::Verdict::Down;
            },
            Verdict::Closed,
            Some(Rule::Reached),
        ),
        (
            "an old failure is no evidence",
            "all=1&coverage=0.5",
            |v| {
                v.targets[1].newest_age = Some(Duration::from_secs(11));
                v.targets[1].verdict = path::Verdict::Down;
            },
            Verdict::Open,
            None,
        ),
        (
            "degraded carries traffic",
            "all=1",
            |v| v.targets[1].verdict = path::Verdict::Degraded,
            Verdict::Open,
            None,
        ),
        (
            "another account is down",
            "account=a",
            |v| v.targets[1].verdict = path::Verdict::Down,
            Verdict::Open,
            None,
        ),
        (
            "not for long enough",
            "all=1&for=2m",
            |_| {},
            Verdict::Unknown,
            Some(Rule::HeldFor),
        ),
        (
            "since when is not known",
            "all=1",
            |v| v.targets[0].reached_since = None,
            Verdict::Unknown,
            Some(Rule::HeldFor),
        ),
        (
            "newer than the deploy",
            "all=1&since=2026-06-22T09:14:29Z",
            |_| {},
            Verdict::Open,
            None,
        ),
        (
            "older than the deploy",
            "all=1&since=2026-06-22T09:14:30Z",
            |_| {},
            Verdict::Unknown,
            Some(Rule::Since),
        ),
        (
            "a critical finding",
            "all=1",
            |v| {
                v.open
                    .push(finding(Blame::Account, Severity::Critical, &["a"]));
            },
            Verdict::Closed,
            Some(Rule::Findings),
        ),
        (
            "a warning",
            "all=1",
            |v| {
                v.open
                    .push(finding(Blame::Account, Severity::Warning, &["a"]));
            },
            Verdict::Open,
            None,
        ),
        (
            "another's finding",
            "account=b",
            |v| {
                v.open
                    .push(finding(Blame::Account, Severity::Critical, &["a"]));
            },
            Verdict::Open,
            None,
        ),
        (
            "the network",
            "account=b",
            |v| {
                v.open
                    .push(finding(Blame::Network, Severity::Critical, &[]));
            },
            Verdict::Closed,
            Some(Rule::Findings),
        ),
        (
            "the monitor is blind",
            "all=1",
            |v| v.open.push(finding(Blame::Monitor, Severity::Warning, &[])),
            Verdict::Unknown,
            Some(Rule::Monitor),
        ),
        (
            "closed just now",
            "all=1&for=30s",
            |v| {
                let mut f = finding(Blame::Account, Severity::Critical, &["a"]);
                f.closed_at = Some(NOW.before(Duration::from_secs(10)));
                v.closed.push(f);
            },
            Verdict::Unknown,
            Some(Rule::HeldFor),
        ),
    ];
    for (name, query, change, verdict, rule) in cases.iter().chain(LATELY).chain(DRAINS) {
        let mut view = view(vec![target("a"), target("b")]);
        change(&mut view);
        let answer = judge(&ask(query), &Grounds::of(&view));
        assert_eq!(answer.verdict, *verdict, "{name}: {answer:?}");
        assert_eq!(answer.ok, *verdict == Verdict::Open, "{name}");
        assert_eq!(
            answer.reasons.first().map(|r| r.rule),
            *rule,
            "{name}: {answer:?}"
        );
    }
}

#[test]
fn wrong_questions_are_refused_by_name() {
    for (text, says) in [
        ("", "select something"),
        ("all=0", "select something"),
        ("al=1", "unknown parameter \"al\""),
        ("all=1&for=30", "for=\"30\" does not read"),
        ("all=1&for=1s&for=2s", "for is given twice"),
        ("all=1&coverage=1.5", "coverage"),
        ("all=1&coverage=NaN", "coverage"),
        ("all=1&min_vantages=0", "min_vantages"),
        ("all=1&since=yesterday", "RFC 3339"),
        ("all=1&wait=1h", "at most 10m"),
        ("all=yes", "write 1 or 0"),
        ("all=1&budget=0", "a share of the budget"),
        ("all=1&budget=1", "a share of the budget"),
        ("all=1&budget=10%", "a share of the budget"),
        ("all=1&baseline=now", "RFC 3339"),
        ("all=1&active=soon", "write 1 or 0"),
        ("all=1&asked_at=2026-06-22T09:14:30Z", "unknown parameter"),
        ("all=1&override= ", "a reason of 1 to 200 characters"),
        ("all=1&override=a\nb", "on one line"),
        ("account=a b", "letters, digits"),
    ] {
        let pairs: Vec<(&str, &str)> = text.split('&').filter_map(|p| p.split_once('=')).collect();
        let error = Query::from_parameters(pairs).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn what_was_asked_for_must_answer() {
    let path = |account: &str, vantage: &str, layer, age| PathView {
        key: PathKey {
            vantage: vantage.parse().unwrap(),
            subject: target(account).target.subject(),
            layer,
        },
        verdict: path::Verdict::Up,
        down_since: None,
        last_outcome: None,
        newest_age: Some(Duration::from_millis(age)),
        mac: None,
        rtt_us: None,
        failures: Vec::new(),
    };
    let mut view = view(vec![target("a"), target("b")]);
    let mut query = ask("account=a&active=1&min_vantages=2");
    // The parameter alone changes nothing: who asks the vantages says when.
    assert!(query.active && judge(&query, &Grounds::of(&view)).ok);
    query.asked_at = Some(NOW.before(Duration::from_secs(2)));
    view.paths = vec![
        path("a", "host/a", Layer::Http, 1_999),
        path("a", "host/a", Layer::Tcp, 1_000),
        path("a", "host/b", Layer::Tcp, 2_000),
        path("a", "node/n1", Layer::Tcp, 100),
        path("b", "host/c", Layer::Tcp, 100),
        path("a", "host/d", Layer::Arp, 100),
        path("a", "vm/a/0", Layer::Http, 100),
    ];
    let answer = judge(&query, &Grounds::of(&view));
    assert_eq!(answer.verdict, Verdict::Unknown);
    assert!(awaits_burst(&answer), "{answer:?}");
    view.paths.push(path("a", "host/e", Layer::Http, 1_500));
    let answer = judge(&query, &Grounds::of(&view));
    assert!(answer.ok && !awaits_burst(&answer), "{answer:?}");
    // A failure needs no burst to be believed.
    view.paths.clear();
    view.targets[0].verdict = path::Verdict::Down;
    assert_eq!(judge(&query, &Grounds::of(&view)).verdict, Verdict::Closed);
}

#[test]
fn delivery_is_no_part_of_the_condition() {
    let plain = ask("account=a&account=b&for=3s");
    let other =
        ask("account=b&account=a&account=b&for=3s&wait=9s&strict=1&active=1&override=because");
    assert_eq!(other.overridden.as_deref(), Some("because"));
    assert_eq!(plain.condition(), other.condition());
    assert_ne!(plain.condition(), ask("account=a&for=3s").condition());
    // What the override says never changes what the gate says.
    let empty = view(Vec::new());
    assert_eq!(
        judge(&other.condition(), &Grounds::of(&empty)),
        judge(&plain.condition(), &Grounds::of(&empty))
    );
    assert!(!judge(&other, &Grounds::of(&empty)).ok);
}

proptest! {
    /// No input without fresh, sufficient evidence opens the gate.
    #[test]
    fn never_open_for_want_of_data(
        ages in prop::collection::vec(prop::option::of(0u64..30), 0..6),
        witnesses in prop::collection::vec(0usize..4, 6),
        verdicts in prop::collection::vec(0usize..5, 6),
        reporting in 0usize..3,
        min_vantages in 1usize..4,
        held in 0u64..90,
    ) {
        let targets: Vec<TargetView> = ages.iter().enumerate().map(|(i, age)| {
            let mut t = target(&format!("a{i}"));
            t.newest_age = age.map(Duration::from_secs);
            t.witnesses = witnesses[i];
            t.verdict = path::Verdict::ALL[verdicts[i]];
            t
        }).collect();
        let mut view = view(targets);
        view.vantages.truncate(reporting);
        let query = Query {
            selector: Selector { all: true, ..Selector::default() },
            min_vantages,
            held_for: Duration::from_secs(held),
            ..Query::default()
        };
        let answer = judge(&query, &Grounds::of(&view));
        let sufficient = !view.targets.is_empty()
            && view.vantages.len() >= min_vantages
            && held <= 60
            && view.targets.iter().all(|t| {
                t.witnesses >= min_vantages
                    && t.newest_age.is_some_and(|a| a <= query.fresh)
                    && t.verdict.is_reached()
            });
        prop_assert_eq!(answer.ok, sufficient);
    }

    #[test]
    fn no_question_panics(pairs in prop::collection::vec((".{0,12}", ".{0,24}"), 0..8)) {
        let _ = Query::from_parameters(pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())));
    }

    /// What almost reads: known names with values of every kind, among noise. Whatever is
    /// accepted never opens on nothing, and its canonical form is stable.
    #[test]
    fn what_almost_reads_opens_nothing(
        pairs in prop::collection::vec((
            prop_oneof![
                8 => prop::sample::select(vec![
                    "all", "account", "node", "for", "min_vantages", "coverage", "fresh", "since",
                    "budget", "baseline", "active", "wait", "strict", "override",
                ]).prop_map(str::to_owned),
                1 => "[a-z_]{0,14}",
                1 => ".{0,8}",
            ],
            prop_oneof![
                "[01]|true|false|1e-?[0-9]{1,3}|-?[0-9]{1,22}(\\.[0-9]{0,4})?|NaN|inf",
                "[0-9]{1,20}(ms|s|m|min|h|d)?",
                "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,12})?(Z|[+-][0-9]{2}:[0-9]{2})",
                "[A-Za-z0-9._-]{0,300}",
                ".{0,24}",
            ],
        ), 0..6),
    ) {
        let pairs = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str()));
        if let Ok(query) = Query::from_parameters(pairs) {
            let empty = view(Vec::new());
            prop_assert!(!judge(&query, &Grounds::of(&empty)).ok);
            prop_assert_eq!(query.condition().condition(), query.condition());
            let _ = judge(&query, &Grounds::of(&view(vec![target("a")])));
        }
    }
}
