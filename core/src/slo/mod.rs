//! Budgets: events counted per account and kind of vantage, never averages of ratios.
//!
//! The [`Book`] holds three rings per series (10 s for 6 h, 5 min for 3 days, 1 h for 28
//! days). Every event goes into all three, a query reads the finest that reaches back far
//! enough. A bad event is entered at once as unexplained; while it is young, an open finding
//! may claim it ([`Book::claim`]): it is then charged to that finding's subject. Pages read
//! the unexplained rest, budgets everything.
//!
//! A young ledger, a gap or a VM that comes and goes leaves part of a window uncovered. That
//! part is taken to have had as many events, all good: ten bad seconds are ten bad seconds,
//! whether five minutes or a day are on record. Who is down for good burns all the same.
//!
//! Time within a run is the machine's own ([`crate::time::Tick`]) on top of one anchor, so a
//! step of the wall clock neither doubles nor loses an event. Pure; one owner.

mod book;
mod change;
mod compare;
mod key;
mod maintenance;
mod ring;

use core::fmt::Write as _;
use core::time::Duration;

pub use book::{Book, Charge, MAX_PENDING, MAX_SERIES, PendingBad};
pub use change::{Changes, MAX_ROW, RestoreError, SlotRow};
pub use compare::compared;
pub use key::{KeyError, Measure, SeriesKey};
pub use maintenance::{LONGEST, Maintenance, MaintenanceError, Scope};
pub use ring::{Counts, RingId};

use crate::burn::{Objective, Table, window_label};
use crate::fault::Severity;
use crate::outcome::Outcome;
use crate::time::{Now, spoken};

/// Events in the short window of a tier below which no burn rate pages: one bad check of two
/// is no burn.
pub const LEAST_EVENTS: u64 = 30;

/// What one check counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Reached, or fast enough.
    Good,
    /// Not reached, or too slow.
    Bad,
    /// Not reached, with an excuse that still holds.
    Excused,
    /// Nothing was measured.
    Unmeasured,
}

impl Event {
    /// What `outcome` counts as; `None` if it does not count at all. An excuse turns bad into
    /// excused, never good into anything.
    pub fn of(outcome: Outcome, excused: bool) -> Option<Self> {
        match outcome {
            Outcome::Reached => Some(Self::Good),
            Outcome::Unreached(_) if excused => Some(Self::Excused),
            Outcome::Unreached(_) => Some(Self::Bad),
            Outcome::Unmeasured(_) => Some(Self::Unmeasured),
            Outcome::NotApplicable => None,
        }
    }
}

/// What is promised, and when its breach is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Share of checks that reach the endpoint.
    pub reachability: Objective,
    /// Share of `/up` answers within [`Policy::fast`], from hosts.
    pub latency: Objective,
    /// What is fast.
    pub fast: Duration,
    /// Period and burn windows.
    pub table: Table,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            reachability: Objective::REACHABILITY,
            latency: Objective::LATENCY,
            fast: Duration::from_millis(10),
            table: Table::default(),
        }
    }
}

impl Policy {
    /// The objective of what `measure` measures.
    pub fn objective(&self, measure: Measure) -> Objective {
        match measure {
            Measure::Reachability => self.reachability,
            Measure::Latency => self.latency,
        }
    }
}

/// What is left of one budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Share of good events that is promised, 0 to 1.
    pub objective: f64,
    /// Events over the period.
    pub counts: Counts,
    /// Share of the budget that is left; negative when overspent, `None` without events.
    pub remaining: Option<f64>,
    /// When it is gone at the pace of the last hour; `None` = never at that pace.
    pub exhausted_in: Option<Duration>,
}

/// A budget that burns.
#[derive(Debug, Clone, PartialEq)]
pub struct Burning {
    /// How loudly it is told.
    pub severity: Severity,
    /// The rates and the rest, as a sentence.
    pub evidence: String,
}

/// Which bad events a burn rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// Those that no finding explains: what pages.
    Unexplained,
    /// All: what budgets show.
    All,
}

impl Bad {
    fn of(self, counts: &Counts) -> u64 {
        match self {
            Self::Unexplained => counts.bad,
            Self::All => counts.bad.saturating_add(counts.explained),
        }
    }
}

/// Burn rate of `key` over `window`; `None` when nothing was measured or `key` is a charge.
pub fn burn_rate(
    book: &Book,
    policy: &Policy,
    key: &SeriesKey,
    (window, bad): (Duration, Bad),
    now: Now,
) -> Option<f64> {
    let objective = policy.objective(key.measure()?);
    let counts = book.window(key, window, now);
    objective.burn_rate(bad.of(&counts), counts.expected(window))
}

/// What is left of the budget of `key`; `None` for charges.
pub fn budget(book: &Book, policy: &Policy, key: &SeriesKey, now: Now) -> Option<Budget> {
    let objective = policy.objective(key.measure()?);
    let period = policy.table.period();
    let counts = book.window(key, period, now);
    let spent = objective.burn_rate(Bad::All.of(&counts), counts.expected(period));
    let remaining = spent.map(|spent| 1.0 - spent);
    let pace = burn_rate(book, policy, key, (Duration::from_hours(1), Bad::All), now);
    let exhausted_in = match (remaining, pace) {
        (Some(left), _) if left <= 0.0 => Some(Duration::ZERO),
        (Some(left), Some(pace)) if pace > 0.0 => {
            Duration::try_from_secs_f64(period.as_secs_f64() * left / pace).ok()
        }
        _ => None,
    };
    Some(Budget {
        objective: objective.ratio(),
        counts,
        remaining,
        exhausted_in,
    })
}

/// Whether the budget of `key` burns by its unexplained bad events.
pub fn burning(book: &Book, policy: &Policy, key: &SeriesKey, now: Now) -> Option<Burning> {
    let objective = policy.objective(key.measure()?);
    let rate = |window| {
        let counts = book.window(key, window, now);
        let enough = counts.measured() >= LEAST_EVENTS;
        // In a young ledger the seconds before a fault is named would burn everything.
        let unexplained = counts.bad.saturating_sub(book.waiting(key));
        enough.then(|| objective.burn_rate(unexplained, counts.expected(window)))?
    };
    let severity = policy.table.judge(rate)?;
    let rates: Vec<String> = policy
        .table
        .windows()
        .into_iter()
        .filter_map(|w| Some(format!("{:.1} over {}", rate(w)?, window_label(w))))
        .collect();
    let mut evidence = format!("burn rate {}", rates.join(", "));
    if let Some(budget) = budget(book, policy, key, now) {
        if let Some(left) = budget.remaining {
            let _ = write!(
                evidence,
                "; {:.1} % of the {} budget left",
                (left * 100.0).max(0.0),
                window_label(policy.table.period())
            );
        }
        match budget.exhausted_in {
            Some(Duration::ZERO) => evidence += ", spent",
            // Writing to a String cannot fail.
            Some(time) => {
                let _ = write!(evidence, ", gone in {}", spoken(time));
            }
            None => {}
        }
    }
    Some(Burning { severity, evidence })
}

#[cfg(test)]
mod tests;
