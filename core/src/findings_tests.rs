use super::*;
use crate::diagnosis::table::Named;
use crate::fault::{Blame, Severity};
use crate::time::Timestamp;

fn now(ms: u64) -> Now {
    Now {
        tick: Tick::from_millis(1_000_000 + ms),
        wall: Timestamp::from_unix_seconds(1_789_372_800).after(Duration::from_millis(ms)),
    }
}

fn findings() -> Findings {
    Findings::new(Cluster::new("production").unwrap(), Duration::from_secs(5))
}

fn seen(fault: Fault, severity: Severity, confidence: Confidence, ms: u64) -> Diagnosis {
    let named = Named {
        fault,
        severity,
        confidence,
    };
    Diagnosis::new(Blame::Node, "node-1", named, now(ms).tick)
}

fn critical(fault: Fault, confidence: Confidence, ms: u64) -> Diagnosis {
    seen(fault, Severity::Critical, confidence, ms)
}

/// Feeds one instant; gives what changed, and the fault's name after it.
fn feed(
    findings: &mut Findings,
    ms: u64,
    diagnoses: Vec<Diagnosis>,
    standing: Standing,
) -> Vec<(Change, Fault)> {
    findings
        .update(diagnoses, now(ms), |_, _| standing)
        .into_iter()
        .map(|t| (t.change, t.finding.fault))
        .collect()
}

#[test]
fn one_fault_is_one_finding_that_sharpens_in_place() {
    use Confidence::{High, Medium};
    let mut all = findings();
    let blunt = || critical(Fault::NodeUnreachable, Medium, 0);
    let sharp = || critical(Fault::AddressLost, High, 0);
    let clear = Standing::Clear;
    assert_eq!(
        feed(&mut all, 1300, vec![blunt()], clear),
        [(Change::Opened, Fault::NodeUnreachable)]
    );
    let id = all.open().next().unwrap().id.clone();
    assert_eq!(feed(&mut all, 1400, vec![blunt()], clear), []);
    assert_eq!(
        feed(&mut all, 2000, vec![sharp()], clear),
        [(Change::Sharpened, Fault::AddressLost)]
    );
    // A blunt name never replaces a sharp one.
    assert_eq!(feed(&mut all, 2100, vec![blunt()], clear), []);
    let open = all.open().next().unwrap();
    assert_eq!((open.fault, &open.id), (Fault::AddressLost, &id));
    assert_eq!(open.opened_at, now(1300).wall);
    assert_eq!(open.started_at, now(0).wall);
    assert_eq!(open.sharpened_at, now(2000).wall);
}

#[test]
fn the_worse_of_two_rows_speaks() {
    let mut all = findings();
    let lease = seen(
        Fault::LeaseNotRenewed,
        Severity::Warning,
        Confidence::High,
        0,
    );
    let lost = critical(Fault::AddressLost, Confidence::High, 0);
    assert_eq!(
        feed(&mut all, 0, vec![lease, lost], Standing::Clear),
        [(Change::Opened, Fault::AddressLost)]
    );
}

#[test]
fn a_lease_that_runs_out_goes_on_as_the_outage() {
    let mut all = findings();
    let lease = |severity| seen(Fault::LeaseNotRenewed, severity, Confidence::High, 0);
    feed(
        &mut all,
        0,
        vec![lease(Severity::Critical)],
        Standing::Clear,
    );
    let before = all.open().next().unwrap().alertname;
    // Even a blunt name of the outage is more than the lease's.
    let lost = critical(Fault::NodeUnreachable, Confidence::Medium, 900);
    assert_eq!(
        feed(&mut all, 1000, vec![lost], Standing::Clear),
        [(Change::Sharpened, Fault::NodeUnreachable)]
    );
    let open = all.open().next().unwrap();
    assert_ne!(open.alertname, before);
    // What is told now began when the address went, not when the lease was due.
    assert_eq!(open.started_at, now(900).wall);
    // Back with an overdue lease: the outage closes first, then the lease warns.
    let warning = || vec![lease(Severity::Warning)];
    assert_eq!(feed(&mut all, 2000, warning(), Standing::Clear), []);
    assert!(all.is_clearing());
    assert_eq!(
        feed(&mut all, 7000, warning(), Standing::Clear),
        [
            (Change::Closed, Fault::NodeUnreachable),
            (Change::Opened, Fault::LeaseNotRenewed)
        ]
    );
}

#[test]
fn a_page_is_not_taken_back_in_place_while_its_fault_heals() {
    for fault in [Fault::FilterStale, Fault::VmNetworkDead] {
        let mut all = findings();
        let filter = || {
            vec![seen(
                Fault::FilterStale,
                Severity::Warning,
                Confidence::High,
                0,
            )]
        };
        feed(
            &mut all,
            0,
            vec![critical(fault, Confidence::High, 0)],
            Standing::Clear,
        );
        // Nobody misses the rules any more, and whoever reads them has not looked again.
        assert_eq!(feed(&mut all, 1000, filter(), Standing::Clear), []);
        assert!(all.is_clearing());
        let open = all.open().next().unwrap();
        assert_eq!((open.fault, open.severity), (fault, Severity::Critical));
        assert_eq!(
            feed(&mut all, 6000, Vec::new(), Standing::Clear),
            [(Change::Closed, fault)]
        );
        // Were they still missing then, that would be a warning of its own.
        assert_eq!(
            feed(&mut all, 7000, filter(), Standing::Clear),
            [(Change::Opened, Fault::FilterStale)]
        );
    }
}

#[test]
fn a_drain_without_end_pages_in_place() {
    let mut all = findings();
    let drain = seen(Fault::Draining, Severity::Info, Confidence::High, 0);
    feed(&mut all, 0, vec![drain], Standing::Against);
    let dead = || critical(Fault::AccountUnreachable, Confidence::Medium, 0);
    // That the excuse is over may also be its good end: that has its seconds.
    let against = Standing::Against;
    assert_eq!(feed(&mut all, 300_000, vec![dead()], against), []);
    assert_eq!(
        feed(&mut all, 308_000, vec![dead()], against),
        [(Change::Sharpened, Fault::AccountUnreachable)]
    );
}

#[test]
fn it_closes_on_success_that_holds_and_on_nothing_else() {
    let mut all = findings();
    let lost = || critical(Fault::AddressLost, Confidence::High, 0);
    feed(&mut all, 0, vec![lost()], Standing::Clear);
    assert_eq!(feed(&mut all, 60_000, vec![], Standing::Against), []);
    // Without evidence it stays open and says since when it is blind.
    assert_eq!(feed(&mut all, 120_000, vec![], Standing::Blind), []);
    assert_eq!(
        all.open().next().unwrap().blind_since,
        Some(now(120_000).wall)
    );
    assert_eq!(feed(&mut all, 130_000, vec![], Standing::Clear), []);
    let open = all.open().next().unwrap();
    assert_eq!(open.blind_since, None);
    assert_eq!(open.clearing_since, Some(now(130_000).wall));
    // A relapse while it clears starts its hold-down anew.
    assert_eq!(feed(&mut all, 133_000, vec![lost()], Standing::Clear), []);
    assert_eq!(feed(&mut all, 134_000, vec![], Standing::Clear), []);
    assert_eq!(feed(&mut all, 138_999, vec![], Standing::Clear), []);
    assert_eq!(
        feed(&mut all, 139_000, vec![], Standing::Clear),
        [(Change::Closed, Fault::AddressLost)]
    );
    assert_eq!(all.open().count(), 0);
    assert_eq!(
        all.closed().next().unwrap().closed_at,
        Some(now(134_000).wall)
    );
}

#[test]
fn hold_down_doubles_per_relapse_up_to_five_minutes_and_is_forgiven() {
    let mut all = findings();
    let mut at = 0;
    let mut held = Vec::new();
    for _ in 0..8 {
        feed(
            &mut all,
            at,
            vec![critical(Fault::AddressLost, Confidence::High, at)],
            Standing::Clear,
        );
        at += 1000;
        let from = at;
        while feed(&mut all, at, vec![], Standing::Clear).is_empty() {
            at += 1000;
        }
        held.push((at - from) / 1000);
        at += 1000;
    }
    assert_eq!(held, [5, 10, 20, 40, 80, 160, 300, 300]);
    at += 601_000;
    feed(&mut all, at, vec![], Standing::Clear);
    feed(
        &mut all,
        at,
        vec![critical(Fault::AddressLost, Confidence::High, at)],
        Standing::Clear,
    );
    feed(&mut all, at + 1000, vec![], Standing::Clear);
    assert_eq!(feed(&mut all, at + 6000, vec![], Standing::Clear).len(), 1);
}

#[test]
fn what_was_open_before_a_restart_lives_on() {
    let mut before = findings();
    feed(
        &mut before,
        0,
        vec![critical(Fault::AddressLost, Confidence::High, 0)],
        Standing::Clear,
    );
    let kept: Vec<_> = before.open().cloned().collect();
    let mut after = findings();
    after.restore(kept.clone());
    assert_eq!(feed(&mut after, 5000, vec![], Standing::Blind), []);
    let again = critical(Fault::AddressLost, Confidence::High, 4000);
    assert_eq!(feed(&mut after, 6000, vec![again], Standing::Blind), []);
    let open = after.open().next().unwrap();
    assert_eq!(
        (&open.id, open.started_at),
        (&kept[0].id, kept[0].started_at)
    );
    feed(&mut after, 7000, vec![], Standing::Clear);
    assert_eq!(feed(&mut after, 12_000, vec![], Standing::Clear).len(), 1);
}

#[test]
fn those_who_suffered_stay_on_record() {
    let mut all = findings();
    let with = |names: &[&str]| {
        let mut seen = critical(Fault::PortFiltered, Confidence::Medium, 0);
        seen.accounts = names.iter().map(|n| n.parse().unwrap()).collect();
        seen
    };
    feed(&mut all, 0, vec![with(&["a", "b"])], Standing::Clear);
    feed(&mut all, 1000, vec![with(&["b", "c"])], Standing::Clear);
    let accounts: Vec<String> = all
        .open()
        .next()
        .unwrap()
        .accounts
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(accounts, ["a", "b", "c"]);
}

#[test]
fn of_a_flood_every_recovery_is_remembered_until_it_was_told() {
    let mut all = findings();
    let flood = || {
        let one = |n| {
            let mut one = critical(Fault::NodeUnreachable, Confidence::High, 0);
            one.subject = format!("node-{n}");
            one
        };
        (0..10_000).map(one).collect::<Vec<_>>()
    };
    assert_eq!(
        all.update(flood(), now(1000), |_, _| Standing::Clear).len(),
        10_000
    );
    feed(&mut all, 10_000, Vec::new(), Standing::Clear);
    let closed = feed(&mut all, 15_000, Vec::new(), Standing::Clear);
    assert_eq!((closed.len(), all.closed().count()), (10_000, 10_000));
    // Much later one more closes, and what is old goes.
    let later = 1_000_000;
    feed(
        &mut all,
        later,
        vec![critical(Fault::NodeDown, Confidence::High, later)],
        Standing::Clear,
    );
    feed(&mut all, later + 1000, Vec::new(), Standing::Clear);
    feed(&mut all, later + 60_000, Vec::new(), Standing::Clear);
    assert_eq!(all.closed().count(), MAX_CLOSED);
    assert_eq!(all.closed().next().unwrap().fault, Fault::NodeDown);
}

#[test]
fn what_the_end_of_a_drain_leaves_for_seconds_wakes_nobody_and_what_stays_does() {
    let mut all = findings();
    let drains = || seen(Fault::Draining, Severity::Info, Confidence::High, 0);
    let dead = |fault| critical(fault, Confidence::High, 0);
    let against = Standing::Against;
    feed(&mut all, 1000, vec![drains()], against);
    assert_eq!(feed(&mut all, 60_000, vec![drains()], against), []);
    // It said ready; the next checks have not come. Which of its names is seen matters not.
    for (ms, fault) in [
        (60_100, Fault::AccountUnreachable),
        (62_000, Fault::PodDead),
        (68_000, Fault::AccountUnreachable),
    ] {
        assert_eq!(feed(&mut all, ms, vec![dead(fault)], against), [], "{ms}");
    }
    // Draining again, its time begins anew.
    assert_eq!(feed(&mut all, 68_050, vec![drains()], against), []);
    assert_eq!(
        feed(&mut all, 76_000, vec![dead(Fault::PodDead)], against),
        []
    );
    assert_eq!(
        feed(&mut all, 84_000, vec![dead(Fault::PodDead)], against),
        [(Change::Sharpened, Fault::PodDead)]
    );
}
