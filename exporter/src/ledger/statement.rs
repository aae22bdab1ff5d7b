//! What the ledger tells: budgets, burn rates, and how it is itself.

use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::name::{Account, VantageKind};
use pnwatch_core::slo::{
    Bad, Book, Budget, LEAST_EVENTS, Measure, Policy, SeriesKey, budget, burn_rate,
};
use pnwatch_core::time::Now;

use super::Status;

/// What the ledger tells, at one instant.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    /// How the ledger is.
    pub status: Status,
    /// What is promised of what, as a ratio.
    pub objectives: Vec<(Measure, f64)>,
    /// One line per account, kind of client vantage and promise.
    pub lines: Arc<[Line]>,
}

/// One budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Whose.
    pub account: Account,
    /// Seen from where.
    pub kind: VantageKind,
    /// Of what.
    pub measure: Measure,
    /// What is left.
    pub budget: Budget,
    /// Burn rate by unexplained bad events per window; a window without enough events is not
    /// there.
    pub burn: Vec<(Duration, f64)>,
}

/// The budgets of `book`, seen from client vantages.
pub(super) fn lines(book: &Book, policy: &Policy, now: Now) -> Vec<Line> {
    let line = |key: &SeriesKey| {
        let SeriesKey::Account {
            account,
            kind,
            measure,
        } = key
        else {
            return None;
        };
        // Checks from cluster nodes take another policy path: they prove nothing.
        if !kind.is_client() {
            return None;
        }
        let rate = |window: Duration| {
            // What is too little to page is too little for a rule that pages.
            if book.window(key, window, now).measured() < LEAST_EVENTS {
                return None;
            }
            let rate = burn_rate(book, policy, key, (window, Bad::Unexplained), now)?;
            Some((window, rate))
        };
        Some(Line {
            account: account.clone(),
            kind: *kind,
            measure: *measure,
            budget: budget(book, policy, key, now)?,
            burn: policy
                .table
                .windows()
                .into_iter()
                .filter_map(rate)
                .collect(),
        })
    };
    book.keys().filter_map(line).collect()
}
