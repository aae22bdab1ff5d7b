//! Budgets and traffic: what is left, how fast it burns, and what the caches' own counters say.

use std::cmp::Ordering;
use std::time::Duration;

use pnwatch_core::burn::window_label;
use pnwatch_core::correlate::{Correlation, TrafficVerdict};
use pnwatch_core::time::spoken;

use super::markup::Html;
use super::words;
use crate::ledger::{Line, Statement};

/// Budgets of the brief list.
const FEW: usize = 6;
/// Most budgets at all; the API lists everything.
const MOST: usize = 600;
/// Traffic verdicts of the brief list.
const MAX_TRAFFIC: usize = 8;

/// The budgets with the least left.
pub(super) fn brief(page: &mut Html, books: &Statement) {
    let mut lines: Vec<&Line> = books.lines.iter().collect();
    lines.sort_by(|a, b| left(a).partial_cmp(&left(b)).unwrap_or(Ordering::Equal));
    section(page, "Budgets", &lines, FEW, books);
    if lines.len() > FEW {
        page.raw("<p class=\"more\"><a href=\"/budgets\">Show all ")
            .text(lines.len())
            .raw("</a></p>");
    }
}

/// Every budget.
pub(super) fn whole(page: &mut Html, books: &Statement) {
    let mut lines: Vec<&Line> = books.lines.iter().collect();
    lines.sort_by(|a, b| left(a).partial_cmp(&left(b)).unwrap_or(Ordering::Equal));
    section(page, "Budgets", &lines, MOST, books);
}

/// The budgets of one account.
pub(super) fn of_account(page: &mut Html, books: &Statement, account: &str) {
    let own = |line: &&Line| line.account.as_str() == account;
    let lines: Vec<&Line> = books.lines.iter().filter(own).collect();
    section(page, "Budget", &lines, MOST, books);
}

fn left(line: &Line) -> f64 {
    line.budget.remaining.unwrap_or(f64::INFINITY)
}

fn section(page: &mut Html, title: &'static str, lines: &[&Line], most: usize, books: &Statement) {
    page.raw("<section aria-labelledby=\"budgets-title\"><h2 id=\"budgets-title\">")
        .raw(title)
        .raw("</h2>");
    if let Some(volatile) = &books.status.volatile {
        page.raw("<p class=\"note\">")
            .text(format!(
                "Not on disk since {} UTC: {}. A restart would forget what was counted since.",
                words::clock(volatile.since),
                volatile.why
            ))
            .raw("</p>");
    }
    if lines.is_empty() {
        page.element(
            "p",
            "empty",
            "No check by a host or VM has been counted yet.",
        )
        .raw("</section>");
        return;
    }
    page.raw(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"budgets-title\">",
    )
    .raw("<table class=\"budgets\"><thead><tr><th scope=\"col\">Account</th>")
    .raw("<th scope=\"col\">Promise</th><th scope=\"col\">Left</th>")
    .raw(
        "<th scope=\"col\">Unexplained burn</th><th scope=\"col\">Gone in</th></tr></thead><tbody>",
    );
    for line in lines.iter().take(most) {
        row(page, line);
    }
    page.raw("</tbody></table></div></section>");
}

fn row(page: &mut Html, line: &Line) {
    let budget = &line.budget;
    page.raw("<tr><th scope=\"row\">");
    page.link("/accounts/", line.account.as_str(), &line.account)
        .raw("<small>from ")
        .raw(match line.kind {
            pnwatch_core::name::VantageKind::Host => "hosts",
            pnwatch_core::name::VantageKind::Vm => "VMs",
            pnwatch_core::name::VantageKind::Node => "nodes",
        })
        .raw("</small></th><td>")
        .text(format!(
            "{} {} %",
            line.measure.as_label(),
            trimmed(budget.objective * 100.0)
        ))
        .raw("</td>");
    let (class, words) = match budget.remaining {
        None => ("unknown", "nothing measured".to_owned()),
        Some(left) if left <= 0.0 => ("down", format!("{:.0} % overspent", -left * 100.0)),
        Some(left) if left < 0.25 => ("degraded", format!("{:.1} %", left * 100.0)),
        Some(left) => ("up", format!("{:.1} %", left * 100.0)),
    };
    page.raw("<td class=\"").raw(class).raw("\">");
    gauge(page, budget.remaining.unwrap_or(0.0));
    page.text(words).raw("</td><td>");
    burn(page, &line.burn);
    page.raw("</td><td>")
        .text(
            budget
                .exhausted_in
                .map_or_else(|| "never at this pace".to_owned(), spoken),
        )
        .raw("</td></tr>");
}

/// A bar of what is left, as wide as its share; the words stand beside it.
fn gauge(page: &mut Html, share: f64) {
    let width = (share.clamp(0.0, 1.0) * 60.0).round();
    page.raw("<svg class=\"gauge\" viewBox=\"0 0 60 8\" width=\"60\" height=\"8\" aria-hidden=\"true\">")
        .raw("<rect class=\"well\" width=\"60\" height=\"8\" rx=\"3\"/><rect class=\"fill\" height=\"8\" rx=\"3\" width=\"")
        .text(width)
        .raw("\"/></svg> ");
}

/// The fastest burn, with the others on demand.
fn burn(page: &mut Html, burn: &[(Duration, f64)]) {
    let fastest = burn
        .iter()
        .max_by(|a, b| a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal));
    let Some((window, rate)) = fastest else {
        page.raw("<span class=\"quiet\">too little measured</span>");
        return;
    };
    if *rate <= 0.0 {
        page.raw("<span class=\"quiet\">not at all</span>");
        return;
    }
    page.text(format!("{rate:.1} × over {}", window_label(*window)));
}

/// `99.95`, `99`.
fn trimmed(percent: f64) -> String {
    let text = format!("{percent:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Verdicts on traffic that a person should know of.
pub(super) fn traffic_brief(page: &mut Html, verdicts: &[Correlation]) {
    let odd: Vec<&Correlation> = verdicts
        .iter()
        .filter(|seen| !matches!(seen.verdict, TrafficVerdict::Flowing | TrafficVerdict::Idle))
        .collect();
    if odd.is_empty() {
        return;
    }
    traffic(page, &odd);
}

/// What the caches' own counters say of one account.
pub(super) fn traffic_of(page: &mut Html, verdicts: &[Correlation], account: &str) {
    let own: Vec<&Correlation> = verdicts
        .iter()
        .filter(|seen| seen.account.as_str() == account)
        .collect();
    if !own.is_empty() {
        traffic(page, &own);
    }
}

fn traffic(page: &mut Html, verdicts: &[&Correlation]) {
    page.raw("<section aria-labelledby=\"traffic-title\">")
        .raw("<h2 id=\"traffic-title\">Traffic that should be there</h2><ul class=\"traffic\">");
    for seen in verdicts.iter().take(MAX_TRAFFIC) {
        let class = match seen.verdict {
            TrafficVerdict::Flowing | TrafficVerdict::Idle => "up",
            TrafficVerdict::Blackhole => "down",
            TrafficVerdict::NotDispatched | TrafficVerdict::VantageFault => "degraded",
            TrafficVerdict::Unknown => "unknown",
        };
        page.raw("<li class=\"").raw(class).raw("\"><b>");
        page.link("/accounts/", seen.account.as_str(), &seen.account)
            .raw("</b> <span class=\"quiet\">")
            .text(&seen.instance)
            .raw("</span> <span class=\"badge\">")
            .text(seen.verdict.as_label().replace('_', " "))
            .raw("</span><p>")
            .text(&seen.evidence)
            .raw("</p>");
        for missing in &seen.missing {
            page.element("p", "quiet", missing);
        }
        page.raw("</li>");
    }
    page.raw("</ul>");
    if verdicts.len() > MAX_TRAFFIC {
        page.raw("<p class=\"more\">")
            .text(format!("{} more at ", verdicts.len() - MAX_TRAFFIC))
            .raw("<a href=\"/v1/view\">/v1/view</a></p>");
    }
    page.raw("</section>");
}
