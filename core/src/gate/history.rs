//! Conditions on what was: error budgets, and a baseline from before a deploy.
//!
//! `baseline=` is there for what up or down does not show: a deploy after which every twentieth
//! connection fails leaves each path up. It compares shares of failed checks and is silent about
//! differences that chance explains.

use core::time::Duration;

use super::{Grounds, Query, Rule, Said, Truth};
use crate::name::{Account, VantageKind};
use crate::slo::Measure;
use crate::view::TargetView;

/// What is left of one budget, as the ledger says.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetLeft {
    /// Whose.
    pub account: Account,
    /// Seen from where.
    pub kind: VantageKind,
    /// Of what.
    pub measure: Measure,
    /// Share of the budget that is left; negative when overspent, `None` without events.
    pub remaining: Option<f64>,
}

/// Checks of some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// That failed (or were slow), excused ones aside.
    pub bad: u64,
    /// That were measured.
    pub total: u64,
}

impl Sample {
    fn share(self) -> f64 {
        self.bad as f64 / self.total.max(1) as f64
    }
}

/// Checks of one account before and after the instant of `baseline=`.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Whose.
    pub account: Account,
    /// Seen from where.
    pub kind: VantageKind,
    /// Of what.
    pub measure: Measure,
    /// The share of bad checks that the objective allows.
    pub allowed: f64,
    /// The time before, [`BEFORE`] long.
    pub before: Sample,
    /// The time since.
    pub after: Sample,
}

/// How far back the time before reaches.
pub const BEFORE: Duration = Duration::from_mins(30);
/// How old a baseline may be: the ledger keeps ten-second slots for six hours, of which the time
/// before takes half an hour.
pub const MAX_BASELINE_AGE: Duration = Duration::from_hours(5);
/// Checks that each side needs: of fewer, one unlucky one says too much.
pub const LEAST_COMPARED: u64 = 30;
/// How unlikely chance must be, in standard deviations of the pooled two-proportion test: three
/// are one wrong alarm in seven hundred questions.
const DEVIATIONS: f64 = 3.0;

impl Compared {
    /// Whether checks fail more often than before; `None` = too few to tell.
    ///
    /// More often means: by more than the objective allows, and by more than chance explains
    /// (two-proportion z-test with the pooled share, one-sided; NIST/SEMATECH e-Handbook of
    /// Statistical Methods, 7.3.3).
    pub fn is_worse(&self) -> Option<bool> {
        let (before, after) = (self.before, self.after);
        if before.total < LEAST_COMPARED || after.total < LEAST_COMPARED {
            return None;
        }
        let gap = after.share() - before.share();
        if gap <= self.allowed {
            return Some(false);
        }
        let all = (before.total.saturating_add(after.total)) as f64;
        let pooled = (before.bad.saturating_add(after.bad)) as f64 / all;
        let parts = 1.0 / before.total as f64 + 1.0 / after.total as f64;
        let deviation = (pooled * (1.0 - pooled) * parts).max(0.0).sqrt();
        Some(gap > DEVIATIONS * deviation)
    }
}

fn accounts<'a>(selected: &[&'a TargetView]) -> Vec<&'a Account> {
    let mut accounts: Vec<&Account> = selected.iter().map(|t| &t.target.account).collect();
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

/// Enough of every budget of the selected accounts is left.
pub(super) fn budget(selected: &[&TargetView], query: &Query, budgets: &[BudgetLeft]) -> Said {
    let Some(wanted) = query.budget else {
        return Said::holds();
    };
    accounts(selected)
        .into_iter()
        .map(|account| {
            let of = || budgets.iter().filter(move |b| &b.account == account);
            let known = |b: &BudgetLeft| {
                b.measure == Measure::Reachability && b.kind.is_client() && b.remaining.is_some()
            };
            if !of().any(known) {
                return Said::not(
                    Truth::Unknown,
                    Rule::Budget,
                    account.to_string(),
                    "has no error budget on record yet; look at serve.state_dir and at whether \
                     client vantages check it"
                        .into(),
                );
            }
            let spent = |b: &&BudgetLeft| b.remaining.is_some_and(|left| left < wanted);
            of().filter(spent).fold(Said::holds(), |said, b| {
                said.and(Said::not(
                    Truth::False,
                    Rule::Budget,
                    account.to_string(),
                    format!(
                        "has {:.1} % of its {} budget left, seen from {}s; {:.1} % is wanted",
                        b.remaining.unwrap_or_default() * 100.0,
                        b.measure,
                        b.kind.as_label(),
                        wanted * 100.0
                    ),
                ))
            })
        })
        .fold(Said::holds(), Said::and)
}

/// Checks fail no more often than before the instant asked for.
pub(super) fn baseline(selected: &[&TargetView], query: &Query, grounds: &Grounds<'_>) -> Said {
    let Some(baseline) = query.baseline else {
        return Said::holds();
    };
    let unknown =
        |about: String, text: String| Said::not(Truth::Unknown, Rule::Baseline, about, text);
    let age = grounds.view.at.since(baseline);
    if baseline >= grounds.view.at || age > MAX_BASELINE_AGE {
        return unknown(
            String::new(),
            format!(
                "baseline={baseline} is not within the last {} h: give the time at which the \
                 deploy began",
                MAX_BASELINE_AGE.as_secs() / 3600
            ),
        );
    }
    accounts(selected)
        .into_iter()
        .map(|account| {
            let of = || {
                grounds
                    .compared
                    .iter()
                    .filter(move |c| &c.account == account)
            };
            let told = |c: &Compared| {
                c.measure == Measure::Reachability && c.kind.is_client() && c.is_worse().is_some()
            };
            if !of().any(told) {
                return unknown(
                    account.to_string(),
                    format!(
                        "has fewer than {LEAST_COMPARED} checks on record before or after \
                         {baseline}; wait, or ask without baseline="
                    ),
                );
            }
            let worse = |c: &&Compared| c.is_worse() == Some(true);
            of().filter(worse).fold(Said::holds(), |said, c| {
                said.and(Said::not(
                    Truth::False,
                    Rule::Baseline,
                    account.to_string(),
                    format!(
                        "is worse than before {baseline}: {} fails for {:.2} % of checks from {}s, \
                         {:.2} % in the half hour before",
                        c.measure,
                        c.after.share() * 100.0,
                        c.kind.as_label(),
                        c.before.share() * 100.0
                    ),
                ))
            })
        })
        .fold(Said::holds(), Said::and)
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
