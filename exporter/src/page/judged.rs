//! Verdicts on traffic, budgets and the ledger as JSON, with their evidence. Fields are added,
//! never renamed. Durations are seconds.

use std::collections::BTreeMap;

use pnwatch_core::burn::window_label;
use pnwatch_core::correlate::Correlation;
use serde_json::{Value, json};

use crate::ledger::{Line, Statement};

/// One entry per watched instance: the verdict, the numbers behind it, and what is missing.
pub(super) fn traffic(verdicts: &[Correlation]) -> Vec<Value> {
    let one = |seen: &Correlation| {
        let signs = &seen.signs;
        json!({
            "account": seen.account,
            "instance": seen.instance,
            "node": seen.node,
            "verdict": seen.verdict.as_label(),
            "evidence": seen.evidence,
            "missing": seen.missing,
            "signs": {
                "path": signs.path.as_label(),
                "public": signs.public.as_label(),
                "internal": signs.internal.as_label(),
                "witness": signs.witness.as_label(),
                "demand": signs.demand.as_label(),
            },
        })
    };
    verdicts.iter().map(one).collect()
}

/// One entry per account, kind of client vantage and promise.
pub(super) fn budgets(books: &Statement) -> Vec<Value> {
    let one = |line: &Line| {
        let (budget, counts) = (&line.budget, &line.budget.counts);
        let burn: BTreeMap<String, f64> = line
            .burn
            .iter()
            .map(|(window, rate)| (window_label(*window), *rate))
            .collect();
        json!({
            "account": line.account,
            "vantage_kind": line.kind,
            "slo": line.measure.as_label(),
            "objective": budget.objective,
            "remaining": budget.remaining,
            "exhausted_in_s": budget.exhausted_in.map(|left| left.as_secs_f64()),
            "checks": {
                "good": counts.good,
                "bad": counts.bad,
                "explained": counts.explained,
                "excused": counts.excused,
                "unmeasured": counts.unmeasured,
            },
            "burn": burn,
        })
    };
    books.lines.iter().map(one).collect()
}

/// Whether what is counted would survive a restart.
pub(super) fn ledger(books: &Statement) -> Value {
    let status = &books.status;
    json!({
        "last_written": status.last_written,
        "written": status.written,
        "failed": status.failed,
        "volatile_since": status.volatile.as_ref().map(|v| v.since),
        "why": status.volatile.as_ref().map(|v| v.why.as_str()),
    })
}
