//! The first line: what is wrong, with whom, for how long; or how much is known to be right.

use std::time::Duration;

use pnwatch_core::fault::{Blame, Fault, Severity};
use pnwatch_core::finding::Finding;
use pnwatch_core::time::spoken;
use pnwatch_core::view::View;

use super::markup::Html;
use super::words::{self, Reading};

/// How the whole looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Fine,
    Info,
    Warning,
    Critical,
    /// Nothing can be said.
    Blind,
}

impl Mood {
    fn class(self) -> &'static str {
        match self {
            Self::Fine => "mood fine",
            Self::Info => "mood info",
            Self::Warning => "mood warning",
            Self::Critical => "mood critical",
            Self::Blind => "mood blind",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Fine => "✓",
            Self::Info => "i",
            Self::Warning => "!",
            Self::Critical => "✕",
            Self::Blind => "?",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Fine => "All well",
            Self::Info => "For information",
            Self::Warning => "Warning",
            Self::Critical => "Critical",
            Self::Blind => "Blind",
        }
    }
}

/// The first line in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Headline {
    pub(super) mood: Mood,
    /// What holds until the next transition: what a screen reader is told.
    pub(super) fact: String,
    /// What ticks: a duration or an age; may be empty.
    pub(super) ticking: String,
}

/// Paths that have a meaning, by reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) all: usize,
    pub(super) up: usize,
    pub(super) unknown: usize,
    /// Degraded, suspect or down.
    pub(super) bad: usize,
    pub(super) newest: Option<Duration>,
}

pub(super) fn counts(view: &View) -> Counts {
    let mut counts = Counts::default();
    for path in &view.paths {
        match Reading::of(path.verdict, path.last_outcome) {
            Reading::NotApplicable => continue,
            Reading::Up => counts.up += 1,
            Reading::Unknown => counts.unknown += 1,
            Reading::Degraded | Reading::Suspect | Reading::Down => counts.bad += 1,
        }
        counts.all += 1;
        counts.newest = match (counts.newest, path.newest_age) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    counts
}

/// What is wrong, in a few words: `node N lost 172.16.0.2`.
pub(super) fn phrase(finding: &Finding) -> String {
    let subject = &finding.identity.subject;
    let who = format!("{} {subject}", words::blame(finding.identity.blame));
    let address = finding.address.map(|a| a.to_string());
    match (finding.fault, address) {
        (Fault::AddressLost, Some(address)) => format!("{who} lost {address}"),
        (Fault::NodeUnreachable | Fault::NodeDown, Some(address)) => {
            format!("{who} is unreachable at {address}")
        }
        (Fault::AccountUnreachable, _) => format!("{who} is unreachable"),
        (Fault::NetworkDown, _) => format!("the private network {subject} is down"),
        (Fault::MonitorBlind, _) => "pnwatch cannot see".to_owned(),
        _ => format!("{who}: {}", finding.fault.title()),
    }
}

fn suffering(finding: &Finding) -> String {
    match finding.accounts.as_slice() {
        [] => String::new(),
        [one]
            if finding.identity.blame == Blame::Account
                && one.as_str() == finding.identity.subject =>
        {
            String::new()
        }
        all => format!(" · {}", words::count(all.len(), "account", "accounts")),
    }
}

/// The first line of `view`.
pub(super) fn headline(view: &View) -> Headline {
    if let Some(worst) = view.open.first() {
        return Headline {
            mood: match worst.severity {
                Severity::Critical => Mood::Critical,
                Severity::Warning => Mood::Warning,
                Severity::Info => Mood::Info,
            },
            fact: format!("{}{}", phrase(worst), suffering(worst)),
            ticking: format!("for {}", spoken(view.at.since(worst.started_at))),
        };
    }
    let blind = |fact: &str| Headline {
        mood: Mood::Blind,
        fact: fact.to_owned(),
        ticking: String::new(),
    };
    if view.targets.is_empty() && view.nodes.is_empty() {
        return blind("nothing to watch: the inventory names no node and no target");
    }
    let heard = view.vantages.iter().any(|v| v.last_report.is_some());
    if !heard {
        return blind("waiting for the first report: no vantage has been heard yet");
    }
    if !view.vantages.iter().any(|v| v.reporting) {
        return blind("nothing is known: no vantage reports any more");
    }
    let counts = counts(view);
    let newest = counts.newest.map_or_else(String::new, |age| {
        format!("newest evidence {} old", spoken(age))
    });
    let fact = match (counts.all, counts.unknown, counts.bad) {
        (0, ..) => return blind("waiting for the first check of a path"),
        (1, 0, 0) => "the one path is healthy".to_owned(),
        (all, 0, 0) => format!("all {all} paths healthy"),
        (all, unknown, 0) => format!("{} of {all} paths healthy, {unknown} unknown", counts.up),
        (all, 0, bad) => format!("{} of {all} paths healthy, {bad} wavering", counts.up),
        (all, unknown, bad) => format!(
            "{} of {all} paths healthy, {bad} wavering, {unknown} unknown",
            counts.up
        ),
    };
    Headline {
        mood: if counts.up == 0 {
            Mood::Blind
        } else {
            Mood::Fine
        },
        fact,
        ticking: newest,
    }
}

/// The headline with the figures below it.
pub(super) fn write(page: &mut Html, view: &View) {
    let headline = headline(view);
    page.open("section", headline.mood.class());
    page.raw("<p class=\"sign\" aria-hidden=\"true\">")
        .raw(headline.mood.sign())
        .raw("</p><div><p class=\"eyebrow\">")
        .raw(headline.mood.word());
    if view.open.len() > 1 {
        page.text(format!(" · first of {} open findings", view.open.len()));
    }
    page.raw("</p><h1 id=\"headline\">").text(&headline.fact);
    if !headline.ticking.is_empty() {
        page.raw(" <span class=\"ticking\"><span class=\"dot\">· </span>")
            .text(&headline.ticking)
            .raw("</span>");
    }
    page.raw("</h1></div></section>");
    // Apart from the h1: what ticks must not be read out each second.
    page.raw("<p id=\"announce\" class=\"unseen\" role=\"status\" aria-live=\"polite\">")
        .raw(headline.mood.word())
        .raw(": ")
        .text(&headline.fact)
        .raw("</p>");
    figures(page, view);
}

fn figures(page: &mut Html, view: &View) {
    let counts = counts(view);
    let reporting = view.vantages.iter().filter(|v| v.reporting).count();
    let reached = view
        .targets
        .iter()
        .filter(|t| t.verdict.is_reached())
        .count();
    page.raw("<dl class=\"figures\">");
    for (name, good, all) in [
        ("Targets reached", reached, view.targets.len()),
        ("Paths healthy", counts.up, counts.all),
        ("Vantages reporting", reporting, view.vantages.len()),
    ] {
        page.raw(if good == all {
            "<div>"
        } else {
            "<div class=\"short\">"
        });
        page.element("dt", "", name)
            .raw("<dd><b>")
            .text(good)
            .raw("</b> of ")
            .text(all)
            .raw("</dd></div>");
    }
    page.raw("<div><dt>Newest evidence</dt><dd><b>")
        .text(words::age(counts.newest))
        .raw(if counts.newest.is_some() {
            "</b> old"
        } else {
            "</b>"
        })
        .raw("</dd></div></dl>");
}

#[cfg(test)]
#[path = "headline_tests.rs"]
mod tests;
