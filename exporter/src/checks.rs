//! Counts and histograms of checks, added up from the reports as they arrive.
//!
//! Owned by the engine's task. Keys are bounded by the inventory: what a report says of a thing
//! that is not in it is left out, and what leaves it is forgotten. Checks of neighbours are
//! evidence about the network, not about a target: they are not counted here.

use std::collections::BTreeMap;

use pnwatch_core::inventory::Inventory;
use pnwatch_core::metric::DURATION_BUCKETS;
use pnwatch_core::name::{Account, Node, VantageKind};
use pnwatch_core::outcome::{Cause, Layer, Outcome};
use pnwatch_core::subject::Subject;
use pnwatch_core::wire::{Report, Run};

/// What checks are counted by. Both names absent: control.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckKey {
    /// Kind of the vantage.
    pub vantage_kind: VantageKind,
    /// The account; absent for checks of a node.
    pub account: Option<Account>,
    /// The node of the target.
    pub node: Option<Node>,
    /// The layer.
    pub layer: Layer,
}

/// What round trips are counted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoundTripKey {
    /// Kind of the vantage.
    pub vantage_kind: VantageKind,
    /// The account; absent for checks of a node.
    pub account: Option<Account>,
    /// The layer.
    pub layer: Layer,
}

/// Counts by outcome; what was not applicable is no check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// The target answered.
    pub reached: u64,
    /// It did not.
    pub unreached: u64,
    /// Nothing can be said.
    pub unmeasured: u64,
    /// Of the unreached, by cause.
    pub causes: BTreeMap<Cause, u64>,
}

/// A histogram over [`DURATION_BUCKETS`].
#[derive(Debug, Clone, PartialEq)]
pub struct Durations {
    /// Per bucket, not cumulative; the last is above every bound.
    pub counts: [u64; DURATION_BUCKETS.len() + 1],
    /// Sum in seconds.
    pub sum: f64,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            counts: [0; DURATION_BUCKETS.len() + 1],
            sum: 0.0,
        }
    }
}

impl Durations {
    fn add(&mut self, micros: u32) {
        let seconds = f64::from(micros) / 1e6;
        let bucket = DURATION_BUCKETS.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.sum += seconds;
    }

    /// How many were observed.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }
}

/// Everything that was counted since the exporter started.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// Counts by outcome and cause.
    pub outcomes: BTreeMap<CheckKey, Outcomes>,
    /// Round trips by the prober's clock.
    pub durations: BTreeMap<RoundTripKey, Durations>,
    /// Round trips by the kernel's clock.
    pub kernel: BTreeMap<RoundTripKey, Durations>,
}

impl Checks {
    /// Adds up a report that was not seen before.
    pub fn add(&mut self, report: &Report, inventory: &Inventory) {
        let vantage_kind = report.vantage.kind();
        for path in &report.paths {
            let Some((account, node)) = place(&path.subject, inventory) else {
                continue;
            };
            let key = CheckKey {
                vantage_kind,
                account: account.clone(),
                node,
                layer: path.layer,
            };
            let trip = RoundTripKey {
                vantage_kind,
                account,
                layer: path.layer,
            };
            for run in &path.runs {
                self.run(&key, &trip, run);
            }
        }
    }

    fn run(&mut self, key: &CheckKey, trip: &RoundTripKey, run: &Run) {
        let count = u64::from(run.count);
        let add = |to: &mut u64| *to = to.saturating_add(count);
        match run.outcome {
            Outcome::NotApplicable => return,
            Outcome::Reached => add(&mut self.at(key).reached),
            Outcome::Unmeasured(_) => add(&mut self.at(key).unmeasured),
            Outcome::Unreached(cause) => {
                let outcomes = self.at(key);
                add(&mut outcomes.unreached);
                add(outcomes.causes.entry(cause).or_default());
            }
        }
        if run.outcome == Outcome::Reached {
            for (samples, into) in [
                (&run.rtt_us, &mut self.durations),
                (&run.kernel_rtt_us, &mut self.kernel),
            ] {
                if !samples.is_empty() {
                    let durations = into.entry(trip.clone()).or_default();
                    for micros in samples {
                        durations.add(*micros);
                    }
                }
            }
        }
    }

    fn at(&mut self, key: &CheckKey) -> &mut Outcomes {
        self.outcomes.entry(key.clone()).or_default()
    }

    /// Forgets what is no longer in the inventory.
    pub fn retain(&mut self, inventory: &Inventory) {
        let has_account =
            |account: &Account| inventory.targets.of_account(account).next().is_some();
        let kept = |account: Option<&Account>| account.is_none_or(has_account);
        self.outcomes.retain(|key, _| {
            kept(key.account.as_ref())
                && key
                    .node
                    .as_ref()
                    .is_none_or(|n| inventory.nodes.contains_key(n))
        });
        self.durations.retain(|key, _| kept(key.account.as_ref()));
        self.kernel.retain(|key, _| kept(key.account.as_ref()));
    }
}

/// Account and node that a subject is counted under; `None` = not counted.
fn place(subject: &Subject, inventory: &Inventory) -> Option<(Option<Account>, Option<Node>)> {
    match subject {
        Subject::Node(node) => inventory
            .nodes
            .contains_key(node)
            .then(|| (None, Some(node.clone()))),
        Subject::Account(account, ..) => inventory
            .targets
            .get(subject)
            .map(|target| (Some(account.clone()), Some(target.node.clone()))),
        Subject::Control => Some((None, None)),
        Subject::Neighbour(_) => None,
    }
}
