//! Verdicts on traffic, budgets and the ledger as metric families.

use std::collections::{BTreeMap, BTreeSet};

use pnwatch_core::burn::window_label;
use pnwatch_core::correlate::{Correlation, TrafficVerdict};
use pnwatch_core::metric;

use super::Exposition;
use crate::ledger::{Line, Statement};

/// Six series per watched account: all verdicts, so that a change is no gap.
pub(super) fn traffic(out: &mut Exposition, verdicts: &[Correlation]) {
    let mut by_account: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for seen in verdicts {
        let verdicts = by_account.entry(seen.account.as_str()).or_default();
        verdicts.insert(seen.verdict.as_label());
    }
    out.add(&metric::TRAFFIC_VERDICT, |f| {
        for (account, current) in &by_account {
            for verdict in TrafficVerdict::ALL {
                let label = verdict.as_label();
                let value = f64::from(u8::from(current.contains(label)));
                f.push(&[account, label], value);
            }
        }
    });
}

/// One series per account and node whose pods are scraped.
pub(super) fn egress(out: &mut Exposition, verdicts: &[Correlation]) {
    let mut by_account: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for seen in verdicts {
        if let (Some(node), Some(egress)) = (&seen.node, seen.egress) {
            *by_account
                .entry((seen.account.as_str(), node.as_str()))
                .or_default() += egress;
        }
    }
    out.add(&metric::ACCOUNT_EGRESS, |f| {
        for ((account, node), rate) in &by_account {
            f.push(&[account, node], *rate);
        }
    });
}

/// At most sixteen series per account and kind of client vantage.
pub(super) fn books(out: &mut Exposition, books: &Statement) {
    out.add(&metric::SLO_OBJECTIVE, |f| {
        for (measure, ratio) in &books.objectives {
            f.push(&[measure.as_label()], *ratio);
        }
    });
    let labels = |line: &Line| {
        let account = line.account.to_string();
        (account, line.kind.as_label(), line.measure.as_label())
    };
    out.add(&metric::SLO_BURN_RATE, |f| {
        for line in books.lines.iter() {
            let (account, kind, slo) = labels(line);
            for (window, rate) in &line.burn {
                f.push(&[&account, kind, slo, &window_label(*window)], *rate);
            }
        }
    });
    out.add(&metric::SLO_BUDGET_REMAINING, |f| {
        for line in books.lines.iter() {
            if let Some(left) = line.budget.remaining {
                let (account, kind, slo) = labels(line);
                f.push(&[&account, kind, slo], left);
            }
        }
    });
    let status = &books.status;
    out.add(&metric::LEDGER_LAST_SUCCESS, |f| {
        let at = status.last_written.unwrap_or_default();
        f.push(&[], at.as_unix_seconds_f64());
    });
    out.add(&metric::LEDGER_WRITES, |f| {
        f.push(&["written"], status.written as f64);
        f.push(&["failed"], status.failed as f64);
    });
    out.add(&metric::LEDGER_VOLATILE, |f| {
        f.push(&[], f64::from(u8::from(status.volatile.is_some())));
    });
}
