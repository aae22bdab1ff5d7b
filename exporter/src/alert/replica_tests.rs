//! Two replicas, one Alertmanager: how often is a person told? All offsets of the replicas to
//! one another, to Alertmanager's flushes and to their own repetition are tried.

use pnwatch_core::fault::Fault;
use pnwatch_core::finding::Finding;

use super::model::Alertmanager;
use super::plan::{Sent, plan};
use super::plan_tests::{at, closed, finding, settings, view, wall};

/// A fault as an engine judges it, in milliseconds of the test.
#[derive(Clone, Copy)]
struct Outage {
    missed: u64,
    opened: u64,
    sharpened: Option<u64>,
    clearing: u64,
    closed: u64,
}

impl Outage {
    const fn new(missed: u64, clearing: u64) -> Self {
        Self {
            missed,
            opened: missed + 1_000,
            sharpened: None,
            clearing,
            closed: clearing + 5_000,
        }
    }

    fn at(&self, ms: u64) -> Option<Finding> {
        let mut seen = finding(self.missed);
        if ms < self.opened {
            return None;
        }
        if let Some(sharpened) = self.sharpened.filter(|s| *s <= ms) {
            seen.fault = Fault::InterfaceMissing;
            seen.sharpened_at = wall(sharpened);
        }
        seen.clearing_since = (ms >= self.clearing).then(|| wall(self.clearing));
        Some(if ms >= self.closed {
            closed(seen, self.closed)
        } else {
            seen
        })
    }
}

struct Replica {
    sent: Sent,
    lag: u64,
    /// How much longer it holds a finding down: it saw relapses that the other did not.
    holds: u64,
    /// When it hears its vantages, and when it runs at all.
    hears: fn(u64) -> bool,
    runs: fn(u64) -> bool,
}

impl Replica {
    fn new(lag: u64) -> Self {
        Self {
            sent: Sent::default(),
            lag,
            holds: 0,
            hears: |_| true,
            runs: |_| true,
        }
    }

    fn turn(&mut self, ms: u64, faults: &[Outage], to: &mut Alertmanager) {
        if !(self.runs)(ms) {
            self.sent = Sent::default();
            return;
        }
        let now = at(ms);
        let all = faults.iter().filter_map(|fault| {
            let mut fault = *fault;
            fault.closed += self.holds;
            fault.at(ms.checked_sub(self.lag)?)
        });
        let (closed, open) = all.partition(|f| f.closed_at.is_some());
        let view = view(now, open, closed, (self.hears)(ms));
        let planned = plan(&view, &self.sent, now, (&settings(), false));
        self.sent = planned.sent;
        if !planned.alerts.is_empty() {
            to.post(&planned.alerts, now.wall);
        }
    }
}

fn told(replicas: &mut [Replica], faults: &[Outage], until: u64) -> Alertmanager {
    let mut alertmanager = Alertmanager::default();
    // A plan each 200 ms is at once for the purpose.
    for ms in (0..until).step_by(200) {
        for replica in replicas.iter_mut() {
            replica.turn(ms, faults, &mut alertmanager);
        }
        alertmanager.run(wall(ms));
    }
    alertmanager
}

/// Lags of the second replica: probers report to both within a second.
const LAGS: [u64; 4] = [0, 200, 600, 1_000];

#[test]
fn one_fault_is_told_once_and_its_end_once() {
    for lag in LAGS {
        // The end sweeps over repetition and flush instants.
        for clearing in (55_000..70_000).step_by(1_700) {
            let mut fault = Outage::new(2_000, clearing);
            fault.sharpened = Some(4_000);
            let mut replicas = [Replica::new(0), Replica::new(lag)];
            let told = told(&mut replicas, &[fault], 150_000);
            assert_eq!(told.counts(), (1, 1), "lag {lag}, clearing {clearing}");
        }
    }
}

#[test]
fn a_long_fault_is_told_once() {
    for lag in LAGS {
        let fault = Outage::new(2_000, 1_500_000);
        let mut replicas = [Replica::new(0), Replica::new(lag)];
        let told = told(&mut replicas, &[fault], 1_600_000);
        assert_eq!(told.counts(), (1, 1), "lag {lag}");
    }
}

#[test]
fn flapping_tells_of_no_more_than_one_fault_and_one_end_per_finding() {
    for lag in [0, 400, 1_000] {
        // Each recurs 10 to 40 s after the end of the one before.
        for pause in (10_000..40_000).step_by(7_300) {
            let faults: Vec<Outage> = (0..4)
                .scan(2_000, |missed, _| {
                    let fault = Outage::new(*missed, *missed + 20_000);
                    *missed = fault.closed + pause;
                    Some(fault)
                })
                .collect();
            let mut replicas = [Replica::new(0), Replica::new(lag)];
            let told = told(&mut replicas, &faults, 400_000);
            assert_eq!(told.counts(), (4, 4), "lag {lag}, pause {pause}");
        }
    }
}

#[test]
fn a_replica_that_loses_all_reporters_changes_nothing() {
    for lag in LAGS {
        let fault = Outage::new(2_000, 300_000);
        let mut second = Replica::new(lag);
        second.hears = |ms| !(30_000..400_000).contains(&ms);
        let mut replicas = [Replica::new(0), second];
        let told = told(&mut replicas, &[fault], 600_000);
        assert_eq!(told.counts(), (1, 1), "lag {lag}");
    }
}

#[test]
fn a_replica_that_dies_or_restarts_changes_nothing() {
    let down: [fn(u64) -> bool; 3] = [
        |ms| ms < 30_000,
        |ms| !(30_000..90_000).contains(&ms),
        |ms| ms > 50_000,
    ];
    for runs in down {
        for lag in LAGS {
            let fault = Outage::new(2_000, 150_000);
            let mut second = Replica::new(lag);
            second.runs = runs;
            let mut replicas = [Replica::new(0), second];
            let told = told(&mut replicas, &[fault], 400_000);
            assert_eq!(told.counts(), (1, 1), "lag {lag}");
        }
    }
}

#[test]
fn a_lone_exporter_that_restarts_in_mid_fault_tells_once() {
    let fault = Outage::new(2_000, 150_000);
    let mut only = Replica::new(0);
    only.runs = |ms| !(30_000..90_000).contains(&ms);
    let told = told(&mut [only], &[fault], 400_000);
    assert_eq!(told.counts(), (1, 1));
}

#[test]
fn a_replica_that_holds_down_for_longer_does_not_fire_again() {
    for lag in [0, 1_000] {
        for holds in [5_000, 35_000, 75_000, 155_000, 295_000] {
            for clearing in (50_000..62_000).step_by(3_900) {
                let fault = Outage::new(2_000, clearing);
                let mut second = Replica::new(lag);
                second.holds = holds;
                let mut replicas = [Replica::new(0), second];
                let told = told(&mut replicas, &[fault], 420_000);
                assert_eq!(
                    told.counts(),
                    (1, 1),
                    "lag {lag}, holds {holds}, clearing {clearing}: {:?}",
                    told.told
                );
            }
        }
    }
}
