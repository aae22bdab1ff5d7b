//! What a pipeline asks: parameters of `GET /v1/gate`, each bounded; unknown ones are errors.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use super::MAX_WAIT;
use crate::inventory::AccountTarget;
use crate::name::{Account, Node};
use crate::time::Timestamp;

/// Which targets a question is about. Several selectors select what any of them selects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// `all=1`.
    pub all: bool,
    /// `account=NAME`, repeatable.
    pub accounts: Vec<Account>,
    /// `node=NAME`, repeatable.
    pub nodes: Vec<Node>,
}

impl Selector {
    /// Whether `target` is selected.
    pub fn selects(&self, target: &AccountTarget) -> bool {
        self.all || self.accounts.contains(&target.account) || self.nodes.contains(&target.node)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        if self.all {
            parts.push("all".into());
        }
        parts.extend(self.accounts.iter().map(|a| format!("account={a}")));
        parts.extend(self.nodes.iter().map(|n| format!("node={n}")));
        f.write_str(&parts.join(" or "))
    }
}

/// A question to the gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// About which targets.
    pub selector: Selector,
    /// `for=30s`: reached without a break for this long.
    pub held_for: Duration,
    /// `min_vantages=1`: client vantages with fresh evidence per target.
    pub min_vantages: usize,
    /// `coverage=1.0`: share of selected targets that must be measured.
    pub coverage: f64,
    /// `fresh=10s`: greatest age of evidence.
    pub fresh: Duration,
    /// `since=2026-06-22T09:14:30Z`: evidence must be newer than this.
    pub since: Option<Timestamp>,
    /// `budget=0.1`: share of every error budget of the selected accounts that must be left.
    pub budget: Option<f64>,
    /// `baseline=2026-06-22T09:14:30Z`: since then the accounts' checks fail no more often than
    /// in the half hour before.
    pub baseline: Option<Timestamp>,
    /// `active=1`: ask the vantages for a burst first, and judge by what came of it.
    pub active: bool,
    /// When that burst was asked for: evidence must be newer. Set by who asks the vantages,
    /// never a parameter.
    pub asked_at: Option<Timestamp>,
    /// `wait=60s`: hold the answer until it is open, at most this long.
    pub wait: Duration,
    /// `strict=1`: answer 503 instead of 200 unless open.
    pub strict: bool,
    /// `override=REASON`: whoever asks goes on whatever the answer is, and says why. The answer
    /// does not change by it; the exporter logs and counts it.
    pub overridden: Option<String>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            selector: Selector::default(),
            held_for: Duration::ZERO,
            min_vantages: 1,
            coverage: 1.0,
            fresh: Duration::from_secs(10),
            since: None,
            budget: None,
            baseline: None,
            active: false,
            asked_at: None,
            wait: Duration::ZERO,
            strict: false,
            overridden: None,
        }
    }
}

/// Why a question is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A parameter that the gate does not know.
    #[error(
        "unknown parameter {0:?}; known are all, account, node, for, min_vantages, coverage, \
         fresh, since, budget, baseline, active, wait, strict, override"
    )]
    Unknown(String),
    /// A parameter given twice that may be given once.
    #[error("{0} is given twice; give it once")]
    Twice(&'static str),
    /// A value that does not read.
    #[error("{name}={value:?} does not read: {want}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// The start of what was given.
        value: String,
        /// What is wanted.
        want: String,
    },
    /// Nothing is selected.
    #[error("select something: all=1, account=NAME or node=NAME")]
    NothingSelected,
    /// Too many parameters.
    #[error("more than {MAX_PARAMETERS} parameters")]
    TooMany,
}

/// Most characters of an override's reason.
pub const MAX_REASON: usize = 200;

/// Most parameters of one question.
pub const MAX_PARAMETERS: usize = 256;

fn value<T>(
    name: &'static str,
    value: &str,
    read: Option<T>,
    want: impl Into<String>,
) -> Result<T, QueryError> {
    read.ok_or_else(|| QueryError::Value {
        name,
        value: value.chars().take(64).collect(),
        want: want.into(),
    })
}

/// A duration as `500ms`, `30s`, `5m` or `1h`; a bare number is refused.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let millis = match text.get(digits..)? {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let millis = number.checked_mul(millis)?;
    (millis <= 7 * 86_400_000).then(|| Duration::from_millis(millis))
}

/// A share above 0, up to 1.
fn share(text: &str) -> Option<f64> {
    let read = text.parse::<f64>().ok();
    read.filter(|share| share.is_finite() && *share > 0.0 && *share <= 1.0)
}

fn instant(name: &'static str, text: &str) -> Result<Timestamp, QueryError> {
    let read = serde_json::from_value(serde_json::Value::String(text.to_owned())).ok();
    value(
        name,
        text,
        read,
        "write RFC 3339, like 2026-06-22T09:14:30Z",
    )
}

/// What [`reason`] wants.
const WANT_REASON: &str = "give a reason of 1 to 200 characters on one line";

/// A reason for an override: one line that says something, trimmed.
pub fn reason(text: &str) -> Option<&str> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= MAX_REASON;
    (fits && !text.chars().any(char::is_control)).then_some(text)
}

impl Query {
    /// What is asked, in one canonical form: questions that must always get the same answer from
    /// the same view have the same. How it is delivered (`wait`, `strict`) is no part of it.
    #[must_use]
    pub fn condition(&self) -> Self {
        let mut asked = self.clone();
        asked.active = false;
        asked.selector.accounts.sort();
        asked.selector.accounts.dedup();
        asked.selector.nodes.sort();
        asked.selector.nodes.dedup();
        (asked.wait, asked.strict, asked.overridden) = (Duration::ZERO, false, None);
        asked
    }

    /// Reads decoded parameters in their order.
    pub fn from_parameters<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, QueryError> {
        let mut query = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (n, (name, text)) in parameters.into_iter().enumerate() {
            if n >= MAX_PARAMETERS {
                return Err(QueryError::TooMany);
            }
            let known = query.set(name, text)?;
            if !matches!(known, "account" | "node") && seen.iter().any(|s| s == known) {
                return Err(QueryError::Twice(known));
            }
            seen.push(known.to_owned());
        }
        let selector = &query.selector;
        if !selector.all && selector.accounts.is_empty() && selector.nodes.is_empty() {
            return Err(QueryError::NothingSelected);
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, text: &str) -> Result<&'static str, QueryError> {
        const LENGTH: &str = "write a duration like 500ms, 30s or 5m";
        let flag = |known| match text {
            "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => value(known, text, None, "write 1 or 0"),
        };
        Ok(match name {
            "all" => {
                self.selector.all = flag("all")?;
                "all"
            }
            "strict" => {
                self.strict = flag("strict")?;
                "strict"
            }
            "account" => {
                let read = Account::from_str(text);
                let want = read.as_ref().err().map(ToString::to_string);
                self.selector.accounts.push(value(
                    "account",
                    text,
                    read.ok(),
                    want.unwrap_or_default(),
                )?);
                "account"
            }
            "node" => {
                let read = Node::from_str(text);
                let want = read.as_ref().err().map(ToString::to_string);
                self.selector
                    .nodes
                    .push(value("node", text, read.ok(), want.unwrap_or_default())?);
                "node"
            }
            "for" => {
                self.held_for = value("for", text, duration(text), LENGTH)?;
                "for"
            }
            "fresh" => {
                let read = duration(text).filter(|d| !d.is_zero());
                self.fresh = value("fresh", text, read, LENGTH)?;
                "fresh"
            }
            "wait" => {
                let read = duration(text).filter(|d| *d <= MAX_WAIT);
                self.wait = value("wait", text, read, "write a duration of at most 10m")?;
                "wait"
            }
            "min_vantages" => {
                let read = text.parse().ok().filter(|n| (1..=10_000).contains(n));
                self.min_vantages = value("min_vantages", text, read, "write a number from 1")?;
                "min_vantages"
            }
            "coverage" => {
                self.coverage = value(
                    "coverage",
                    text,
                    share(text),
                    "write a share above 0, up to 1",
                )?;
                "coverage"
            }
            "since" => {
                self.since = Some(instant("since", text)?);
                "since"
            }
            "baseline" => {
                self.baseline = Some(instant("baseline", text)?);
                "baseline"
            }
            "active" => {
                self.active = flag("active")?;
                "active"
            }
            "budget" => {
                let read = share(text).filter(|share| *share < 1.0);
                let want = "write a share of the budget above 0 and below 1, like 0.1";
                self.budget = Some(value("budget", text, read, want)?);
                "budget"
            }
            "override" => {
                let read = reason(text).map(ToOwned::to_owned);
                self.overridden = Some(value("override", text, read, WANT_REASON)?);
                "override"
            }
            other => {
                return Err(QueryError::Unknown(other.chars().take(64).collect()));
            }
        })
    }
}
