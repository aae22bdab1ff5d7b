use pnwatch_core::inventory::InventoryFile;
use pnwatch_core::name::{Account, Cluster, Vantage};
use pnwatch_core::wire::{REPORT_VERSION, ReadyReport, Run};

use super::*;
use crate::ledger::tests::finding;

fn at(second: u64) -> Now {
    Now {
        tick: Tick::from_millis((1000 + second) * 1000),
        wall: Timestamp::from_unix_seconds(1_780_000_000 + second),
    }
}

fn inventory() -> Inventory {
    let file: InventoryFile = serde_json::from_value(serde_json::json!({
        "pn_cidr": "172.16.0.0/22",
        "nodes": [{ "name": "n", "address": "172.16.0.2" }],
        "targets": [{ "account": "a", "instance": "kura-a", "node": "n", "address": "172.16.0.2", "port": 30001 }]
    }))
    .unwrap();
    file.into_inventory(Cluster::new("test").unwrap()).unwrap()
}

fn subject() -> Subject {
    "account:a/kura-a/nodeport".parse().unwrap()
}

fn path(layer: Layer, outcome: &str, count: u32) -> PathReport {
    PathReport {
        subject: subject(),
        layer,
        runs: vec![Run {
            outcome: Outcome::from_word(outcome),
            count,
            first_age_us: 0,
            last_age_us: 0,
            rtt_us: Vec::new(),
            kernel_rtt_us: Vec::new(),
        }],
        mac: None,
    }
}

fn report(vantage: &str, paths: Vec<PathReport>) -> Report {
    Report {
        vms: Vec::new(),
        version: REPORT_VERSION,
        cluster: Cluster::new("test").unwrap(),
        vantage: vantage.parse().unwrap(),
        boot_id: "b".into(),
        seq: 1,
        plan_id: None,
        sent_at: Timestamp::default(),
        stopping: false,
        history: false,
        behind: false,
        paths,
        link: None,
        ready: Vec::new(),
        counters: Vec::new(),
        devices: Vec::new(),
        witness: None,
        large: Vec::new(),
    }
}

fn keeper() -> Keeper {
    Keeper::new(Book::new(at(0)), Policy::default(), Vec::new())
}

fn counts(keeper: &Keeper, kind: VantageKind, now: Now) -> (u64, u64, u64, u64, u64) {
    let key = SeriesKey::reachability(Account::new("a").unwrap(), kind);
    let c = keeper.book.window(&key, Duration::from_hours(1), now);
    (c.good, c.bad, c.explained, c.excused, c.unmeasured)
}

#[test]
fn one_check_is_one_event_in_whichever_layer_it_is_told() {
    let (tcp, http) = (Layer::Tcp, Layer::Http);
    for (paths, good, bad, unmeasured) in [
        (
            vec![path(tcp, "reached", 5), path(http, "reached", 5)],
            5,
            0,
            0,
        ),
        (vec![path(tcp, "reached", 5)], 5, 0, 0),
        (vec![path(tcp, "unreached:syn_unanswered", 5)], 0, 5, 0),
        (
            vec![
                path(tcp, "unreached:syn_unanswered", 5),
                path(http, "unreached:syn_unanswered", 5),
            ],
            0,
            5,
            0,
        ),
        (
            vec![
                path(tcp, "unreached:refused", 5),
                path(http, "not_applicable", 5),
            ],
            0,
            5,
            0,
        ),
        (
            vec![path(tcp, "reached", 5), path(http, "unreached:http_5xx", 5)],
            0,
            5,
            0,
        ),
        (
            vec![
                path(tcp, "unmeasured:overrun", 2),
                path(http, "unmeasured:overrun", 2),
            ],
            0,
            0,
            2,
        ),
    ] {
        let mut keeper = keeper();
        keeper.report(&report("host/m", paths.clone()), &inventory(), at(0));
        let expected = (good, bad, 0, 0, unmeasured);
        assert_eq!(
            counts(&keeper, VantageKind::Host, at(0)),
            expected,
            "{paths:?}"
        );
    }
}

fn explaining(blame: Blame, vantage: &str) -> Finding {
    let vantage: Vantage = vantage.parse().unwrap();
    let mut open = finding(0);
    open.identity.blame = blame;
    open.started_at = at(0).wall;
    open.host = vantage.host().cloned();
    open.vantages = vec![vantage];
    open.accounts = vec![Account::new("a").unwrap()];
    open
}

#[test]
fn a_hosts_fault_is_charged_to_the_host_alone() {
    let mut keeper = keeper();
    let bad = || vec![path(Layer::Tcp, "unreached:syn_unanswered", 4)];
    for vantage in ["vm/mini-1/0", "vm/mini-2/0"] {
        keeper.report(&report(vantage, bad()), &inventory(), at(1));
    }
    keeper.turn(&[], &inventory(), at(2));
    assert_eq!(counts(&keeper, VantageKind::Vm, at(2)), (0, 8, 0, 0, 0));
    let mut burn = explaining(Blame::Host, "vm/mini-1/0");
    burn.fault = Fault::BudgetBurn;
    keeper.turn(&[burn], &inventory(), at(3));
    assert_eq!(counts(&keeper, VantageKind::Vm, at(3)), (0, 8, 0, 0, 0));
    let open = [explaining(Blame::Host, "vm/mini-1/0")];
    keeper.turn(&open, &inventory(), at(4));
    assert_eq!(counts(&keeper, VantageKind::Vm, at(4)), (0, 4, 4, 0, 0));
}

#[test]
fn a_drain_is_excused_until_its_deadline() {
    let mut keeper = keeper();
    let mut said = report("host/m", Vec::new());
    said.ready = vec![ReadyReport {
        subject: subject(),
        ready: false,
        draining: true,
        age_us: 0,
    }];
    let refused = || report("host/m", vec![path(Layer::Tcp, "unreached:refused", 1)]);
    for second in 0..300 {
        // Saying it again and again makes it no longer.
        keeper.report(&said, &inventory(), at(second));
        keeper.report(&refused(), &inventory(), at(second));
    }
    assert_eq!(
        counts(&keeper, VantageKind::Host, at(300)),
        (0, 40, 0, 260, 0)
    );
}

/// A report is a second's worth: the last refusals come with the answer that ends the drain.
#[test]
fn what_was_refused_before_a_drain_ended_is_excused_and_the_next_drain_is_another() {
    let mut keeper = keeper();
    let ready = |ready, age_us| ReadyReport {
        subject: subject(),
        ready,
        draining: !ready,
        age_us,
    };
    let told = |ready: ReadyReport, refused_age_us| {
        let mut paths = vec![path(Layer::Tcp, "unreached:refused", 1)];
        for run in &mut paths[0].runs {
            (run.first_age_us, run.last_age_us) = (refused_age_us, refused_age_us);
        }
        let answered = path(Layer::Tcp, "reached", 1).runs;
        paths[0].runs.extend(answered);
        let mut told = report("host/m", paths);
        told.ready = vec![ready];
        told
    };
    keeper.report(&told(ready(false, 900_000), 0), &inventory(), at(10));
    // Refused 0.8 s ago, ready 0.2 s ago.
    keeper.report(&told(ready(true, 200_000), 800_000), &inventory(), at(50));
    let host = VantageKind::Host;
    assert_eq!(counts(&keeper, host, at(50)), (2, 0, 0, 2, 0));
    // After the end nothing is excused, also if it is told again that it is ready.
    keeper.report(&told(ready(true, 0), 0), &inventory(), at(52));
    assert_eq!(counts(&keeper, host, at(52)), (3, 1, 0, 2, 0));
    // An hour later another drain has its own time.
    for second in 0..60 {
        keeper.turn(&[], &inventory(), at(60 + second * 60));
    }
    keeper.report(&told(ready(false, 0), 0), &inventory(), at(3700));
    keeper.report(&told(ready(false, 0), 0), &inventory(), at(3800));
    assert_eq!(counts(&keeper, host, at(3800)).3, 2);
}

#[test]
fn findings_are_saved_when_they_change_and_a_dead_account_burns() {
    let mut keeper = keeper();
    let open = [explaining(Blame::Host, "vm/other/0")];
    assert!(
        keeper
            .turn(&open, &inventory(), at(0))
            .save
            .findings
            .is_some()
    );
    assert!(
        keeper
            .turn(&open, &inventory(), at(1))
            .save
            .findings
            .is_none()
    );
    for second in 0..60 {
        let paths = vec![path(Layer::Tcp, "unreached:syn_unanswered", 1)];
        keeper.report(&report("host/m", paths), &inventory(), at(second));
    }
    let turn = keeper.turn(&open, &inventory(), at(60));
    assert_eq!(turn.burning.len(), 1);
    assert_eq!(turn.burning[0].severity, Severity::Critical);
    // Beside the finding that the account is unreachable, never in its place.
    assert_eq!(turn.burning[0].subject, "a/budget");
    let since = turn.burning[0].since;
    let again = keeper.turn(&open, &inventory(), at(61));
    assert_eq!(again.burning[0].since, since, "it began when it began");
    assert!(
        turn.burning[0]
            .summary
            .starts_with("account a: the error budget burns")
    );
    assert!(!keeper.everything(&open, at(61)).changes.slots.is_empty());
}

/// Twenty minutes of sleep and steps of an hour each way, over the whole chain of budgets.
#[test]
fn sleep_and_steps_of_the_wall_clock_cost_no_budget() {
    let mut keeper = keeper();
    let (tcp, hour) = (Layer::Tcp, Duration::from_hours(1));
    let told = |keeper: &mut Keeper, outcome: &str, count: u32, now: Now| {
        let seen = report("host/m", vec![path(tcp, outcome, count)]);
        keeper.report(&seen, &inventory(), now);
        let turn = keeper.turn(&[], &inventory(), now);
        assert!(turn.burning.is_empty(), "{outcome}: {:?}", turn.burning);
    };
    for second in 0..60 {
        told(&mut keeper, "reached", 1, at(second));
    }
    let awake = at(60 + 20 * 60);
    told(&mut keeper, "unmeasured:suspended", 1200, awake);
    for (number, off) in [(1, true), (2, false)] {
        let mut stepped = at(60 + 20 * 60 + number * 60);
        stepped.wall = if off {
            stepped.wall.after(hour)
        } else {
            stepped.wall.before(hour)
        };
        told(&mut keeper, "unmeasured:clock_step", 4, stepped);
        stepped.tick = stepped.tick.after(Duration::from_secs(1));
        told(&mut keeper, "reached", 1, stepped);
    }
    let now = at(60 + 20 * 60 + 200);
    assert_eq!(counts(&keeper, VantageKind::Host, now), (62, 0, 0, 0, 1208));
}

/// What a spool brings back waits for its finding as long as what is fresh.
#[test]
fn a_miss_that_arrives_late_is_still_explained_by_the_finding_that_follows() {
    let mut keeper = keeper();
    let mut late = report(
        "host/m",
        vec![path(Layer::Tcp, "unreached:syn_unanswered", 5)],
    );
    for run in &mut late.paths[0].runs {
        (run.first_age_us, run.last_age_us) = (50_000_000, 45_000_000);
    }
    keeper.report(&late, &inventory(), at(60));
    keeper.turn(&[], &inventory(), at(60));
    let mut finding = explaining(Blame::Node, "host/m");
    finding.started_at = at(10).wall;
    keeper.turn(&[finding], &inventory(), at(62));
    assert_eq!(counts(&keeper, VantageKind::Host, at(62)), (0, 0, 5, 0, 0));
}
