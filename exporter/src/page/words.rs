//! Verdicts, outcomes and ages as signs and words: a sign never stands without its word nearby,
//! and neither depends on colour.

use std::time::Duration;

use pnwatch_core::fault::{Blame, Severity};
use pnwatch_core::outcome::Outcome;
use pnwatch_core::path::Verdict;
use pnwatch_core::time::{Timestamp, spoken};

/// What is to be shown of one or of many paths, in rising order of concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reading {
    /// The layer has no meaning here.
    NotApplicable,
    /// Everything is reached.
    Up,
    /// There is no fresh evidence.
    Unknown,
    /// Reached, too often not.
    Degraded,
    /// Missing, not yet for long enough.
    Suspect,
    /// Not reached.
    Down,
}

impl Reading {
    /// What one path says.
    pub(super) fn of(verdict: Verdict, last: Option<Outcome>) -> Self {
        if last == Some(Outcome::NotApplicable) {
            return Self::NotApplicable;
        }
        match verdict {
            Verdict::Up => Self::Up,
            Verdict::Degraded => Self::Degraded,
            Verdict::Suspect => Self::Suspect,
            Verdict::Down => Self::Down,
            Verdict::Unknown => Self::Unknown,
        }
    }

    /// The class of the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::NotApplicable => "none",
            Self::Up => "up",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }

    /// A sign that differs in shape from every other.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::NotApplicable => "–",
            Self::Up => "✓",
            Self::Unknown => "?",
            Self::Degraded => "≈",
            Self::Suspect => "…",
            Self::Down => "✕",
        }
    }

    /// The word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::NotApplicable => "not applicable",
            Self::Up => "reached",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
            Self::Suspect => "missing",
            Self::Down => "down",
        }
    }

    /// Every reading with what it means, for the legend.
    pub(super) const LEGEND: [(Self, &'static str); 6] = [
        (Self::Up, "reached"),
        (Self::Degraded, "degraded: reached, too often not"),
        (Self::Suspect, "missing, not yet for a second"),
        (Self::Down, "down"),
        (Self::Unknown, "unknown: no fresh evidence"),
        (Self::NotApplicable, "not applicable here"),
    ];
}

/// What a check saw, as a person says it.
pub(super) fn outcome(outcome: Option<Outcome>) -> String {
    match outcome {
        None => "nothing yet".to_owned(),
        Some(Outcome::Reached) => "answered".to_owned(),
        Some(Outcome::NotApplicable) => "not applicable".to_owned(),
        Some(Outcome::Unreached(cause)) => cause.as_label().replace('_', " "),
        Some(Outcome::Unmeasured(blind)) => {
            format!("not measured: {}", blind.as_label().replace('_', " "))
        }
    }
}

/// `0.8 s ago`.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", spoken(now.since(at)))
}

/// `0.8 s`, or a dash where nothing is known.
pub(super) fn age(age: Option<Duration>) -> String {
    age.map_or_else(|| "–".to_owned(), spoken)
}

/// A round trip: `0.31 ms`.
pub(super) fn rtt(microseconds: u32) -> String {
    let ms = f64::from(microseconds) / 1000.0;
    if ms < 10.0 {
        format!("{ms:.2} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

/// A rate: `940 Mbit/s`.
pub(super) fn bits(per_second: u64) -> String {
    let rate = per_second as f64;
    for (unit, name) in [(1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")] {
        if rate >= unit {
            let value = rate / unit;
            return if value < 10.0 {
                format!("{value:.2} {name}")
            } else {
                format!("{value:.0} {name}")
            };
        }
    }
    format!("{per_second} bit/s")
}

/// `1 account`, `11 accounts`.
pub(super) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The time of day in UTC, `09:14:30`; the day stands in the `title`.
pub(super) fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

/// Class and word of a severity.
pub(super) fn severity(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Critical => ("critical", "Critical"),
        Severity::Warning => ("warning", "Warning"),
        Severity::Info => ("info", "Info"),
    }
}

/// Whose fault, as the first word of a headline.
pub(super) fn blame(blame: Blame) -> &'static str {
    match blame {
        Blame::Network => "network",
        Blame::Node => "node",
        Blame::Account => "account",
        Blame::Host => "host",
        Blame::Vantage => "vantage",
        Blame::ControlPlane => "control plane:",
        Blame::Monitor => "pnwatch:",
    }
}
