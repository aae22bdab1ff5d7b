use super::{BitRate, Caps, Egress, Limits, Plateau, capacities, clamps, saturated};
use crate::name::Vantage;
use crate::path::Verdict;
use crate::time::{Now, Tick, Timestamp};
use crate::view::{TargetView, VantageView, View};
use crate::wire::DeviceReport;

const LIMITS: Limits = Limits {
    account_cap: 93_750_000,
    client_card: 117_000_000,
    node_capacity: None,
};

fn view(level: Option<u64>) -> View {
    let plateau = level.map(|level| Plateau {
        level,
        burst: level * 3,
        held_ms: 7_000,
    });
    let device = DeviceReport {
        device: "pn0".to_owned(),
        plane: "pn".to_owned(),
        transmit_plateau: plateau,
        ..DeviceReport::default()
    };
    let node: Vantage = "node/kura-fleet-1".parse().unwrap();
    View {
        cluster: crate::name::Cluster::new("staging").unwrap(),
        at: Timestamp::from_unix_seconds(1_000),
        started_at: Timestamp::from_unix_seconds(0),
        open: Vec::new(),
        closed: Vec::new(),
        nodes: Vec::new(),
        targets: Vec::new(),
        vantages: vec![VantageView {
            vantage: node,
            expected: true,
            reporting: true,
            stopping: false,
            last_report: None,
            address: None,
            link: None,
            counters: Vec::new(),
            devices: vec![device],
        }],
        paths: Vec::new(),
    }
}

fn egress(account: &str, megabits: f64) -> Egress {
    Egress {
        account: account.parse().unwrap(),
        instance: format!("kura-{account}").parse().unwrap(),
        node: Some("kura-fleet-1".parse().unwrap()),
        rate: megabits * 125_000.0,
    }
}

/// An account with a target on the node, and the cap that its objects name.
fn capped(account: &str, cap: Option<&str>) -> TargetView {
    let target = serde_json::from_value(serde_json::json!({
        "account": account, "instance": format!("kura-{account}"), "node": "kura-fleet-1",
        "address": "172.16.0.2", "port": 30_815, "egress_cap": cap,
    }));
    TargetView {
        target: target.unwrap(),
        verdict: Verdict::Up,
        witnesses: 0,
        reached_by: 0,
        newest_age: None,
        reached_since: None,
    }
}

fn told(level: Option<u64>, egress: &[Egress]) -> Vec<(String, String)> {
    said(&view(level), egress)
}

fn said(view: &View, egress: &[Egress]) -> Vec<(String, String)> {
    let now = Now {
        tick: Tick::from_millis(100_000),
        wall: Timestamp::from_unix_seconds(1_000),
    };
    let clamps = clamps(view, egress, LIMITS);
    saturated(view, egress, LIMITS, &clamps, now)
        .into_iter()
        .map(|d| (format!("{}/{}", d.blame, d.subject), d.summary))
        .collect()
}

#[test]
fn a_level_that_nothing_explains_is_the_nodes() {
    let found = told(Some(25_000_000), &[]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "node/kura-fleet-1");
    assert!(
        found[0]
            .1
            .contains("pn0 sends flat at 200 Mbit/s for 7.0 s after 600 Mbit/s"),
        "{}",
        found[0].1
    );
}

#[test]
fn caps_of_active_accounts_and_cards_are_no_clamp() {
    let two = [egress("a", 700.0), egress("b", 600.0), egress("c", 3.0)];
    assert_eq!(told(Some(2 * 93_750_000), &two), []);
    assert_eq!(told(Some(117_000_000), &two), []);
    // Three caps, but only two accounts are active.
    assert_eq!(told(Some(3 * 93_750_000), &two).len(), 1);
    assert_eq!(told(None, &two), []);
}

#[test]
fn an_account_at_its_cap_is_its_own() {
    let found = told(None, &[egress("a", 748.0), egress("b", 700.0)]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "account/a");
}

#[test]
fn the_caps_that_objects_name_explain_a_level_and_no_other() {
    // Two accounts with caps of their own, one with the usual 750 Mbit/s.
    let targets = || {
        vec![
            capped("a", Some("300M")),
            capped("b", Some("500M")),
            capped("c", None),
        ]
    };
    let busy = [egress("a", 280.0), egress("b", 480.0), egress("c", 2.0)];
    for (megabits, counted, is_clamp) in [
        // One of them, both, and the sums that only the usual cap would make.
        (300, &busy[..], false),
        (500, &busy[..], false),
        (800, &busy[..], false),
        (750, &busy[..], true),
        (1_500, &busy[..], true),
        // Nobody counts: all three may be active.
        (750, &[], false),
        (1_050, &[], false),
        (1_550, &[], false),
        (1_500, &[], true),
        (600, &[], true),
    ] {
        let mut view = view(Some(megabits * 125_000));
        view.targets = targets();
        let found = said(&view, counted);
        let clamped = found.iter().any(|(who, _)| who == "node/kura-fleet-1");
        assert_eq!(clamped, is_clamp, "{megabits} Mbit/s: {found:?}");
    }
}

#[test]
fn an_account_is_held_to_the_cap_that_its_objects_name() {
    let mut view = view(None);
    view.targets = vec![capped("a", Some("300M")), capped("b", None)];
    let found = said(&view, &[egress("a", 297.0), egress("b", 600.0)]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "account/a");
    assert!(
        found[0].1.contains("297 Mbit/s of a cap of 300 Mbit/s"),
        "{}",
        found[0].1
    );
    // Raised, it is not at its cap any more.
    view.targets = vec![capped("a", Some("2G")), capped("b", None)];
    assert_eq!(said(&view, &[egress("a", 900.0)]), []);
}

#[test]
fn caps_add_up_to_what_a_node_may_be_asked_for() {
    let mut view = view(Some(25_000_000));
    // The gateway of an instance is the same instance.
    let mut gateway = capped("a", Some("300M"));
    gateway.target.kind = crate::subject::TargetKind::Gateway;
    let mut second = capped("a", Some("100M"));
    second.target.instance = "kura-a-2".parse().unwrap();
    view.targets = vec![
        capped("a", Some("300M")),
        gateway,
        second,
        capped("b", None),
    ];
    let caps = Caps::of(&view, LIMITS);
    let accounts: Vec<(String, u64)> = caps
        .accounts()
        .into_iter()
        .map(|((account, _), cap)| (account.to_string(), cap / 125_000))
        .collect();
    assert_eq!(accounts, [("a".to_owned(), 400), ("b".to_owned(), 750)]);
    let nodes: Vec<u64> = caps.nodes().map(|(_, cap)| cap / 125_000).collect();
    assert_eq!(nodes, [1_150]);
    assert_eq!(
        caps.instance(&"kura-nobody".parse().unwrap()),
        LIMITS.account_cap
    );

    // Nobody knows what the device carries; then its driver does, then somebody says it, and
    // least of all counts where it is held down.
    let capacity = |view: &View, limits, clamps: &[_]| {
        capacities(view, limits, clamps)
            .values()
            .next()
            .map(|c| c / 125_000)
    };
    assert_eq!(capacity(&view, LIMITS, &[]), None);
    view.vantages[0].devices[0].speed_bps = Some(10_000_000_000);
    assert_eq!(capacity(&view, LIMITS, &[]), Some(10_000));
    let configured = Limits {
        node_capacity: BitRate::parse("5G").map(BitRate::bytes),
        ..LIMITS
    };
    assert_eq!(capacity(&view, configured, &[]), Some(5_000));
    let found = clamps(&view, &[], LIMITS);
    assert_eq!(capacity(&view, configured, &found), Some(200));
}
