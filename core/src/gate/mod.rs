//! The gate that a pipeline asks: conditions over three values, and never "open" for want of
//! data.
//!
//! A question selects targets and says what it wants of each. Every condition answers true,
//! false or unknown (Kleene's strong three-valued logic); the gate opens only on true.

mod history;
mod query;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use history::{BEFORE, BudgetLeft, Compared, LEAST_COMPARED, MAX_BASELINE_AGE, Sample};
pub use query::{MAX_PARAMETERS, MAX_REASON, Query, QueryError, Selector, duration, reason};

use crate::fault::{Fault, Severity};
use crate::finding::Finding;
use crate::name::Vantage;
use crate::outcome::{Layer, labels};
use crate::path;
use crate::subject::Subject;
use crate::time::{Timestamp, spoken};
use crate::view::{TargetView, View};

labels!(
    /// What a condition says.
    Truth {
        /// It holds.
        True => "true",
        /// It does not hold.
        False => "false",
        /// It cannot be told.
        Unknown => "unknown",
    }
);

impl Truth {
    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            _ => Self::Unknown,
        }
    }

    /// Either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::False, Self::False) => Self::False,
            _ => Self::Unknown,
        }
    }

    /// The contrary; unknown stays unknown.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

labels!(
    /// What the gate says.
    Verdict {
        /// Go on.
        Open => "open",
        /// Stop: something is wrong.
        Closed => "closed",
        /// Stop: it cannot be told.
        Unknown => "unknown",
    }
);

impl Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_label())
    }
}

labels!(
    /// Which condition a reason belongs to: stable words for scripts.
    Rule {
        /// The selection names at least one target.
        Selected => "selected",
        /// Enough client vantages have fresh evidence.
        Vantages => "vantages",
        /// Enough of the selected targets have fresh evidence.
        Coverage => "coverage",
        /// Every measured target is reached.
        Reached => "reached",
        /// It has been so for long enough.
        HeldFor => "held_for",
        /// The evidence is newer than the deploy.
        Since => "since",
        /// What the burst that was asked for has shown.
        Active => "active",
        /// Enough of the error budgets is left.
        Budget => "budget",
        /// Checks fail no more often than before.
        Baseline => "baseline",
        /// No open critical finding touches the selection.
        Findings => "findings",
        /// The monitor itself sees.
        Monitor => "monitor",
    }
);

impl Serialize for Rule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_label())
    }
}

/// Why the gate does not open, or what it looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Which condition.
    pub rule: Rule,
    /// About what: a target, finding or vantage; empty for the whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What is the matter, as a sentence.
    pub text: String,
}

/// What the gate says, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// `verdict == open`.
    pub ok: bool,
    /// What it says.
    pub verdict: Verdict,
    /// Why not open; empty if open.
    pub reasons: Vec<Reason>,
    /// Targets that the question selects.
    pub targets: usize,
    /// Of these, with fresh evidence by enough vantages.
    pub measured: usize,
}

/// Most reasons told.
pub const MAX_REASONS: usize = 50;

/// One condition's truth with its reasons.
struct Said {
    truth: Truth,
    reasons: Vec<Reason>,
}

impl Said {
    fn holds() -> Self {
        Self {
            truth: Truth::True,
            reasons: Vec::new(),
        }
    }

    fn not(truth: Truth, rule: Rule, about: impl Into<String>, text: String) -> Self {
        Self {
            truth,
            reasons: vec![Reason {
                rule,
                about: about.into(),
                text,
            }],
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.truth = self.truth.and(other.truth);
        self.reasons.extend(other.reasons);
        self
    }
}

/// What the gate judges by.
#[derive(Debug, Clone, Copy)]
pub struct Grounds<'a> {
    /// What is known now.
    pub view: &'a View,
    /// What the ledger says is left; read only where `budget=` is asked.
    pub budgets: &'a [BudgetLeft],
    /// Before and after `baseline=`; read only where that is asked.
    pub compared: &'a [Compared],
}

impl<'a> Grounds<'a> {
    /// What is known now, without any history.
    pub fn of(view: &'a View) -> Self {
        Self {
            view,
            budgets: &[],
            compared: &[],
        }
    }
}

/// Answers `query` from `grounds`.
pub fn judge(query: &Query, grounds: &Grounds<'_>) -> Answer {
    let view = grounds.view;
    let selected: Vec<&TargetView> = view
        .targets
        .iter()
        .filter(|t| query.selector.selects(&t.target))
        .collect();
    let measured = selected.iter().filter(|t| is_measured(t, query)).count();
    let said = selection(&selected, query)
        .and(monitor(view))
        .and(vantages(view, query))
        .and(coverage(selected.len(), measured, query))
        .and(
            selected
                .iter()
                .map(|t| target(t, query, view))
                .fold(Said::holds(), Said::and),
        )
        .and(active(view, &selected, query))
        .and(findings(view, &selected, query))
        .and(history::budget(&selected, query, grounds.budgets))
        .and(history::baseline(&selected, query, grounds));
    let verdict = match said.truth {
        Truth::True => Verdict::Open,
        Truth::False => Verdict::Closed,
        Truth::Unknown => Verdict::Unknown,
    };
    let mut reasons = said.reasons;
    if verdict == Verdict::Open {
        reasons.clear();
    }
    reasons.truncate(MAX_REASONS);
    Answer {
        ok: verdict == Verdict::Open,
        verdict,
        reasons,
        targets: selected.len(),
        measured,
    }
}

fn is_measured(target: &TargetView, query: &Query) -> bool {
    target.witnesses >= query.min_vantages
        && target.newest_age.is_some_and(|age| age <= query.fresh)
}

fn selection(selected: &[&TargetView], query: &Query) -> Said {
    if selected.is_empty() {
        return Said::not(
            Truth::Unknown,
            Rule::Selected,
            "",
            format!(
                "no target matches {}: no accounts is no verdict; check the names against \
                 `pnwatch status` or the inventory",
                query.selector
            ),
        );
    }
    Said::holds()
}

fn monitor(view: &View) -> Said {
    let blind = view
        .open
        .iter()
        .find(|f| f.identity.blame == crate::fault::Blame::Monitor);
    match blind {
        Some(finding) => Said::not(
            Truth::Unknown,
            Rule::Monitor,
            finding.id.clone(),
            finding.summary.clone(),
        ),
        None => Said::holds(),
    }
}

fn vantages(view: &View, query: &Query) -> Said {
    let reporting = view
        .vantages
        .iter()
        .filter(|v| v.vantage.is_witness() && v.reporting)
        .count();
    if reporting < query.min_vantages {
        return Said::not(
            Truth::Unknown,
            Rule::Vantages,
            "",
            format!(
                "{reporting} of at least {} client vantages report; see `pnwatch serve`'s ingest \
                 and the hosts' probers",
                query.min_vantages
            ),
        );
    }
    Said::holds()
}

fn coverage(selected: usize, measured: usize, query: &Query) -> Said {
    let share = measured as f64 / selected.max(1) as f64;
    if selected > 0 && share < query.coverage {
        return Said::not(
            Truth::Unknown,
            Rule::Coverage,
            "",
            format!(
                "{measured} of {selected} selected targets have fresh evidence by {} client \
                 vantage(s); {:.0} % are wanted",
                query.min_vantages,
                query.coverage * 100.0
            ),
        );
    }
    Said::holds()
}

/// Everything about one target. What is not measured is left to [`coverage`], but fresh evidence
/// of a failure counts even where it is too little to open.
fn target(target: &TargetView, query: &Query, view: &View) -> Said {
    let now = view.at;
    let enough = is_measured(target, query);
    let fails = matches!(target.verdict, path::Verdict::Down | path::Verdict::Suspect);
    let seen = target.witnesses > 0 && target.newest_age.is_some_and(|age| age <= query.fresh);
    if !(enough || fails && seen) {
        return Said::holds();
    }
    let name = target.target.subject().to_string();
    let drains =
        |f: &Finding| f.fault == Fault::Draining && f.accounts.contains(&target.target.account);
    let excused = target.target.excuse.as_ref().is_some_and(|e| now < e.until)
        || view.open.iter().any(drains);
    if !target.verdict.is_reached() {
        if excused {
            return Said::not(
                Truth::Unknown,
                Rule::Reached,
                name,
                "is not reached, which is excused now; ask again with wait=".into(),
            );
        }
        let truth = if fails { Truth::False } else { Truth::Unknown };
        return Said::not(
            truth,
            Rule::Reached,
            name,
            format!(
                "is {} from {} client vantage(s)",
                target.verdict, target.witnesses
            ),
        );
    }
    let Some(since) = target.reached_since else {
        return Said::not(
            Truth::Unknown,
            Rule::HeldFor,
            name,
            "since when it is reached is not known yet".into(),
        );
    };
    let held = now.since(since);
    if held < query.held_for {
        return Said::not(
            Truth::Unknown,
            Rule::HeldFor,
            name,
            format!(
                "is reached for {}, {} is wanted",
                spoken(held),
                spoken(query.held_for)
            ),
        );
    }
    newer_than(target, query, now, name)
}

fn newer_than(target: &TargetView, query: &Query, now: Timestamp, name: String) -> Said {
    let Some(since) = query.since else {
        return Said::holds();
    };
    let newest = target.newest_age.map(|age| now.before(age));
    if newest.is_some_and(|newest| newest > since) {
        return Said::holds();
    }
    Said::not(
        Truth::Unknown,
        Rule::Since,
        name,
        format!("has no evidence newer than {since}"),
    )
}

/// Evidence from after the burst was asked for, by enough hosts for every target that
/// counts as measured.
fn active(view: &View, selected: &[&TargetView], query: &Query) -> Said {
    let Some(asked_at) = query.asked_at else {
        return Said::holds();
    };
    let mut newer: BTreeMap<&Subject, BTreeSet<&Vantage>> = BTreeMap::new();
    for path in &view.paths {
        let newest = path.newest_age.map(|age| view.at.before(age));
        let proves = matches!(path.key.layer, Layer::Tcp | Layer::Http);
        // Hosts alone: what customers' code in a VM says opens no gate.
        let host = matches!(path.key.vantage, Vantage::Host(_));
        if proves && host && newest.is_some_and(|at| at > asked_at) {
            let by = newer.entry(&path.key.subject).or_default();
            by.insert(&path.key.vantage);
        }
    }
    let short = |target: &&&TargetView| {
        let by = newer.get(&target.target.subject()).map_or(0, BTreeSet::len);
        is_measured(target, query) && by < query.min_vantages
    };
    selected
        .iter()
        .filter(short)
        .fold(Said::holds(), |said, t| {
            said.and(Said::not(
                Truth::Unknown,
                Rule::Active,
                t.target.subject().to_string(),
                format!(
                    "has no answer yet to the burst asked for at {asked_at}, from {} host(s); \
                 ask again with wait=",
                    query.min_vantages
                ),
            ))
        })
}

fn findings(view: &View, selected: &[&TargetView], query: &Query) -> Said {
    let touches = |finding: &&Finding| {
        finding.severity == Severity::Critical
            && selected.iter().any(|t| {
                finding.accounts.contains(&t.target.account)
                    || finding.node.as_ref() == Some(&t.target.node)
                    || finding.identity.blame == crate::fault::Blame::Network
            })
    };
    let mut said = Said::holds();
    for finding in view.open.iter().filter(touches) {
        let text = match finding.clearing_since {
            Some(since) => format!("{}; clear since {since}, not closed yet", finding.summary),
            None => finding.summary.clone(),
        };
        said = said.and(Said::not(
            Truth::False,
            Rule::Findings,
            finding.id.clone(),
            text,
        ));
    }
    // Since when it is well again; that it is closed says the hold-down has passed besides.
    let lately = |f: &&Finding| {
        let well = f.clearing_since.or(f.closed_at);
        well.is_some_and(|at| view.at.since(at) < query.held_for)
    };
    for finding in view.closed.iter().filter(lately).filter(touches) {
        said = said.and(Said::not(
            Truth::Unknown,
            Rule::HeldFor,
            finding.id.clone(),
            format!(
                "well for less than {}: {}",
                spoken(query.held_for),
                finding.summary
            ),
        ));
    }
    said
}

/// Whether `answer` still waits for what a burst shows.
pub fn awaits_burst(answer: &Answer) -> bool {
    answer.reasons.iter().any(|r| r.rule == Rule::Active)
}

/// How long an answer is held for a burst's evidence where nothing longer is asked: a report's
/// second, the burst, and the report that tells of it, twice.
pub const BURST_WAIT: Duration = Duration::from_secs(6);

/// The longest a gate may be asked to wait.
pub const MAX_WAIT: Duration = Duration::from_mins(10);
