use std::time::Duration;

use pnwatch_core::fault::{Blame, Confidence, Fault, Severity};
use pnwatch_core::finding::{Evidence, Finding, Identity, Repair};
use pnwatch_core::findings::MAX_HOLD_DOWN;
use pnwatch_core::name::{Cluster, Host, Node, Vantage};
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::view::{VantageView, View};

use super::plan::{CLEARING_FOR, GRACE, Planned, RESOLVED_FOR, SETTLE, Sent, Settings, plan};
use super::wire::Alert;

const MINUTE: Duration = Duration::from_mins(1);

pub(super) fn settings() -> Settings {
    Settings {
        resend: MINUTE,
        runbooks: Some("https://runbooks.example/".to_owned()),
        grafana: Some("https://grafana.example".to_owned()),
    }
}

/// Both clocks, `ms` after the start of the test.
pub(super) fn at(ms: u64) -> Now {
    Now {
        tick: Tick::from_millis(1_000_000 + ms),
        wall: wall(ms),
    }
}

pub(super) fn wall(ms: u64) -> Timestamp {
    Timestamp::from_unix_seconds(1_782_000_000).after(Duration::from_millis(ms))
}

/// A node finding that was missed at `ms` and opened a second later.
pub(super) fn finding(ms: u64) -> Finding {
    let node = Node::new("kura-fleet-1").unwrap();
    Finding {
        id: format!("node-{node}-{ms}"),
        identity: Identity {
            cluster: Cluster::new("staging").unwrap(),
            blame: Blame::Node,
            subject: node.to_string(),
        },
        fault: Fault::NodeUnreachable,
        severity: Severity::Critical,
        alertname: Fault::NodeUnreachable.alert(Blame::Node),
        confidence: Confidence::Low,
        started_at: wall(ms),
        opened_at: wall(ms + 1_000),
        sharpened_at: wall(ms + 1_000),
        clearing_since: None,
        closed_at: None,
        blind_since: None,
        summary: "node kura-fleet-1: unreachable".into(),
        evidence: vec![Evidence {
            layer: None,
            vantage: None,
            text: "2 hosts hear no ARP reply".into(),
            seen_at: wall(ms),
        }],
        missing: Vec::new(),
        node: Some(node),
        host: None,
        account: None,
        address: None,
        accounts: Vec::new(),
        vantages: Vec::new(),
        repair: Some(Repair {
            place: "on node kura-fleet-1".into(),
            command: Some("ip -br address show pn0".into()),
            text: "look at pn0".into(),
        }),
    }
}

pub(super) fn closed(mut finding: Finding, ms: u64) -> Finding {
    finding.closed_at = Some(wall(ms));
    finding
}

pub(super) fn view(now: Now, open: Vec<Finding>, closed: Vec<Finding>, reporting: bool) -> View {
    View {
        cluster: Cluster::new("staging").unwrap(),
        at: now.wall,
        started_at: wall(0),
        open,
        closed,
        nodes: Vec::new(),
        targets: Vec::new(),
        vantages: vec![VantageView {
            vantage: Vantage::Host(Host::new("mini-1").unwrap()),
            expected: true,
            reporting,
            stopping: false,
            last_report: None,
            address: None,
            link: None,
            counters: Vec::new(),
            devices: Vec::new(),
        }],
        paths: Vec::new(),
    }
}

/// One replica against an Alertmanager that accepts everything.
struct Replica {
    sent: Sent,
    outvoiced: bool,
}

impl Default for Replica {
    /// One that has heard its vantages for a while.
    fn default() -> Self {
        let mut before = at(0);
        before.tick = before.tick.before(MINUTE);
        let quiet = view(before, Vec::new(), Vec::new(), true);
        let sent = plan(&quiet, &Sent::default(), before, (&settings(), false)).sent;
        Self {
            sent,
            outvoiced: false,
        }
    }
}

impl Replica {
    fn told(&mut self, ms: u64, open: &[Finding], closed: &[Finding]) -> Vec<Alert> {
        self.round(ms, open, closed, true).alerts
    }

    fn round(&mut self, ms: u64, open: &[Finding], closed: &[Finding], heard: bool) -> Planned {
        let now = at(ms);
        let view = view(now, open.to_vec(), closed.to_vec(), heard);
        let planned = plan(&view, &self.sent, now, (&settings(), self.outvoiced));
        self.sent = planned.sent.clone();
        planned
    }
}

#[test]
fn an_alert_says_who_what_since_when_and_what_to_do() {
    let alerts = Replica::default().told(2_000, &[finding(500)], &[]);
    let [alert] = alerts.as_slice() else {
        panic!("{alerts:?}");
    };
    let json = serde_json::to_value(alert).unwrap();
    assert_eq!(
        json["labels"],
        serde_json::json!({
            "alertname": "PNNodeUnreachable", "cluster": "staging", "blame": "node",
            "subject": "kura-fleet-1", "severity": "critical", "node": "kura-fleet-1",
        })
    );
    assert_eq!(json["startsAt"], wall(500).to_string());
    assert_eq!(json["endsAt"], wall(2_000 + 240_000).to_string());
    let text = json["annotations"]["description"].as_str().unwrap();
    for part in [
        "2 hosts hear no ARP reply",
        "on node kura-fleet-1",
        "ip -br address",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(
        json["annotations"]["runbook_url"],
        "https://runbooks.example/PNNodeUnreachable.md#node_unreachable"
    );
}

#[test]
fn a_finding_fires_at_once_and_then_each_resend() {
    let mut replica = Replica::default();
    let open = [finding(0)];
    assert_eq!(replica.told(1_000, &open, &[]).len(), 1);
    assert_eq!(replica.told(1_100, &open, &[]).len(), 0);
    assert_eq!(replica.told(60_900, &open, &[]).len(), 0);
    let again = replica.told(61_000, &open, &[]);
    assert_eq!(again[0].ends_at, wall(61_000 + 240_000));
    assert_eq!(again[0].starts_at, wall(0));
}

#[test]
fn sharpening_is_told_at_once_under_the_same_labels() {
    let mut replica = Replica::default();
    let first = replica.told(1_000, &[finding(0)], &[]);
    let mut sharp = finding(0);
    sharp.fault = Fault::InterfaceMissing;
    sharp.sharpened_at = wall(2_000);
    // Evidence may bring names that were not known: the identity must not change by it.
    sharp.host = Some(Host::new("mini-9").unwrap());
    sharp.node = None;
    let second = replica.told(2_000, &[sharp], &[]);
    assert_eq!(second.len(), 1);
    assert_eq!(first[0].labels, second[0].labels);
    assert_eq!(second[0].annotations["fault"], "interface_missing");
}

#[test]
fn a_new_severity_or_name_ends_the_old_alert_in_the_same_post() {
    type Edit = fn(&mut Finding);
    let edits: [Edit; 2] = [
        |f| f.severity = Severity::Warning,
        |f| f.alertname = Fault::AddressConflict.alert(Blame::Node),
    ];
    for edit in edits {
        let mut replica = Replica::default();
        let first = replica.told(1_000, &[finding(0)], &[]);
        let mut changed = finding(0);
        edit(&mut changed);
        let both = replica.told(9_000, std::slice::from_ref(&changed), &[]);
        assert_eq!(both.len(), 2);
        assert_eq!(both[0].labels, first[0].labels);
        assert_eq!(both[0].ends_at, wall(9_000));
        assert_eq!(both[1].starts_at, wall(0));
        assert!(both[1].ends_at > wall(9_000));
        // The end is repeated like every end, and a change back takes it back.
        let later = replica.told(70_000, &[changed], &[]);
        assert_eq!(later.len(), 2);
        let back = replica.told(80_000, &[finding(0)], &[]);
        let ended: Vec<_> = back.iter().filter(|a| a.ends_at <= wall(80_000)).collect();
        assert_eq!(ended.len(), 1);
        assert_ne!(ended[0].labels, first[0].labels);
    }
}

#[test]
fn resolved_is_told_for_a_quarter_of_an_hour_and_then_forgotten() {
    let mut replica = Replica::default();
    replica.told(1_000, &[finding(0)], &[]);
    let gone = [closed(finding(0), 30_000)];
    let first = replica.told(30_000, &[], &gone);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].ends_at, wall(30_000));
    assert_eq!(first[0].starts_at, wall(0));
    assert_eq!(replica.told(31_000, &[], &gone).len(), 0);
    assert_eq!(replica.told(90_000, &[], &gone).len(), 1);
    let end = 30_000 + u64::try_from(RESOLVED_FOR.as_millis()).unwrap();
    assert_eq!(replica.told(end, &[], &gone).len(), 1);
    assert_eq!(replica.told(end + 60_000, &[], &gone).len(), 0);
    let forgotten = Sent::default();
    let heard = replica.sent.clone();
    assert_ne!(heard, forgotten, "knows since when it hears");
    assert!(replica.round(end + 60_001, &[], &[], false).sent == forgotten);
}

#[test]
fn a_recovery_that_this_replica_saw_is_told_even_if_it_never_fired_here() {
    let gone = [closed(finding(0), 30_000)];
    assert_eq!(Replica::default().told(31_000, &[], &gone).len(), 1);
    // After a restart the list of closed findings is empty: nothing to tell.
    assert_eq!(Replica::default().told(31_000, &[], &[]).len(), 0);
}

#[test]
fn a_finding_that_vanishes_without_recovery_is_not_resolved() {
    let mut replica = Replica::default();
    replica.told(1_000, &[finding(0)], &[]);
    let planned = replica.round(2_000, &[], &[], true);
    assert_eq!(planned.alerts, []);
    assert_eq!(planned.lapsed, [finding(0).id]);
    assert!(replica.round(2_100, &[], &[], true).lapsed.is_empty());
}

#[test]
fn an_end_is_never_told_while_a_later_finding_of_the_same_identity_is_open() {
    let mut replica = Replica::default();
    replica.told(1_000, &[finding(0)], &[]);
    let gone = [closed(finding(0), 30_000)];
    replica.told(30_000, &[], &gone);
    for ms in [40_000, 95_000, 155_000] {
        let told = replica.told(ms, &[finding(39_000)], &gone);
        assert!(told.iter().all(|a| a.ends_at > wall(ms)), "{told:?}");
    }
    // Not even while the later one may not be told yet (blind after a restart).
    let mut blind = finding(39_000);
    blind.blind_since = Some(wall(39_500));
    let mut fresh = Replica {
        sent: Sent::default(),
        outvoiced: false,
    };
    assert_eq!(fresh.told(40_000, &[blind], &gone), []);
}

#[test]
fn of_two_ends_of_one_identity_the_newer_is_told() {
    let old = closed(finding(0), 30_000);
    let new = closed(finding(40_000), 50_000);
    for order in [[old.clone(), new.clone()], [new, old]] {
        let told = Replica::default().told(51_000, &[], &order);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].ends_at, wall(50_000));
    }
}

#[test]
fn clearing_is_told_once_with_an_end_beyond_every_hold_down() {
    let mut replica = Replica::default();
    replica.told(0, &[finding(0)], &[]);
    let mut clearing = finding(0);
    clearing.clearing_since = Some(wall(50_000));
    let open = [clearing];
    let told = replica.told(50_000, &open, &[]);
    assert_eq!(told[0].ends_at, wall(50_000).after(CLEARING_FOR));
    assert!(CLEARING_FOR >= MAX_HOLD_DOWN + MINUTE);
    for ms in (50_500..340_000).step_by(20_000) {
        assert_eq!(replica.told(ms, &open, &[]), [], "{ms}");
    }
    // It was not over after all: repeated as before, and told anew when it clears again.
    assert_eq!(replica.told(341_000, &[finding(0)], &[]).len(), 1);
    let mut again = finding(0);
    again.clearing_since = Some(wall(342_000));
    assert_eq!(replica.told(342_000, &[again], &[]).len(), 1);
    // What ended by itself does not start again because it is about to close.
    assert_eq!(replica.told(900_000, &open, &[]).len(), 0);
    assert_eq!(Replica::default().told(60_000, &open, &[]).len(), 0);
}

#[test]
fn without_reporters_nothing_is_repeated_nor_resolved_but_the_monitor_speaks() {
    let mut replica = Replica::default();
    replica.told(1_000, &[finding(0)], &[closed(finding(0), 500)]);
    let mut blind = finding(200_000);
    blind.identity.blame = Blame::Monitor;
    blind.fault = Fault::MonitorBlind;
    blind.alertname = Fault::MonitorBlind.alert(Blame::Monitor);
    let open = [finding(0), blind.clone()];
    let gone = [closed(finding(100_000), 150_000)];
    let planned = replica.round(210_000, &open, &gone, false);
    assert!(planned.silent);
    assert_eq!(planned.alerts.len(), 1);
    assert_eq!(planned.alerts[0].labels.get("blame"), Some("monitor"));
    assert!(planned.lapsed.is_empty());
    // Another replica hears vantages: this one is cut off, and knows nothing of the cluster.
    replica.outvoiced = true;
    let planned = replica.round(211_000, &open, &gone, false);
    assert!(planned.silent);
    assert_eq!(planned.alerts, []);
    replica.outvoiced = false;
    // Heard again, with evidence: as soon as all had time to report. What Alertmanager still
    // counts as firing need not wait.
    let planned = replica.round(220_000, &open, &[], true);
    assert!(!planned.silent && planned.unsettled);
    assert_eq!(planned.alerts.len(), 1);
    assert_eq!(planned.alerts[0].labels.get("blame"), Some("node"));
}

#[test]
fn what_ended_by_itself_in_a_silence_fires_again_only_on_evidence_or_after_grace() {
    let mut replica = Replica::default();
    replica.told(0, &[finding(0)], &[]);
    let mut blind = finding(0);
    blind.blind_since = Some(wall(10_000));
    let open = [blind.clone()];
    assert_eq!(replica.round(20_000, &open, &[], false).alerts.len(), 0);
    let back = 600_000;
    let grace = u64::try_from(GRACE.as_millis()).unwrap();
    assert_eq!(replica.told(back, &open, &[]).len(), 0);
    assert_eq!(replica.told(back + grace - 1, &open, &[]).len(), 0);
    let mut seen = Replica {
        sent: replica.sent.clone(),
        outvoiced: false,
    };
    let settle = u64::try_from(SETTLE.as_millis()).unwrap();
    assert_eq!(seen.told(back + settle - 1, &[finding(0)], &[]).len(), 0);
    assert_eq!(seen.told(back + settle, &[finding(0)], &[]).len(), 1);
    assert_eq!(replica.told(back + grace, &open, &[]).len(), 1);
}

#[test]
fn blindness_in_mid_life_does_not_stop_the_repetition() {
    let mut replica = Replica::default();
    replica.told(0, &[finding(0)], &[]);
    let mut blind = finding(0);
    blind.blind_since = Some(wall(10_000));
    assert_eq!(replica.told(60_000, &[blind], &[]).len(), 1);
}

#[test]
fn what_never_alerts_is_not_told_and_what_stops_alerting_is_ended() {
    let mut drain = finding(0);
    drain.alertname = None;
    let mut replica = Replica::default();
    assert_eq!(replica.told(1_000, std::slice::from_ref(&drain), &[]), []);
    replica.told(2_000, &[finding(0)], &[]);
    let ended = replica.told(3_000, &[drain], &[]);
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].ends_at, wall(3_000));
}

#[test]
fn a_clock_that_was_set_back_makes_no_end_before_the_start() {
    let told = Replica::default().told(900, &[], &[closed(finding(1_000), 800)]);
    assert_eq!(told[0].ends_at, told[0].starts_at);
}

#[test]
fn texts_are_bounded() {
    let mut long = finding(0);
    long.evidence = vec![long.evidence[0].clone(); 500];
    long.summary = "ä".repeat(9_000);
    let told = Replica::default().told(1_000, &[long], &[]);
    assert!(told[0].annotations.values().all(|text| text.len() < 4_100));
    assert!(told[0].annotations["description"].contains("488 more"));
}

#[test]
fn what_opens_while_the_vantages_come_back_waits_for_all_of_them() {
    let mut replica = Replica::default();
    replica.round(0, &[], &[], false);
    // The first report makes the other host look lost; its own comes a moment later.
    let lost = finding(10_000);
    let told = replica.told(10_000, std::slice::from_ref(&lost), &[]);
    assert_eq!(told, []);
    let mut back = lost.clone();
    back.clearing_since = Some(wall(10_400));
    assert_eq!(replica.told(10_400, std::slice::from_ref(&back), &[]), []);
    assert_eq!(replica.told(13_500, &[back], &[]), []);
    // One that stays lost is told.
    let settle = u64::try_from(SETTLE.as_millis()).unwrap();
    let told = replica.round(10_000 + settle, &[lost], &[], true);
    assert!(!told.unsettled);
    assert_eq!(told.alerts.len(), 1);
}
