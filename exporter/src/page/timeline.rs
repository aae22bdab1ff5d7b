//! The last hours: one row per subject, one bar per finding. The same stands in words beside
//! each bar, for those who cannot see it.

use std::collections::BTreeMap;
use std::time::Duration;

use pnwatch_core::finding::{Finding, Identity};
use pnwatch_core::time::{Timestamp, spoken};
use pnwatch_core::view::View;

use super::headline::phrase;
use super::markup::Html;
use super::words;

/// How far back it goes.
pub(super) const SPAN: Duration = Duration::from_hours(6);
/// Most rows; older subjects are among those that closed lately.
const MAX_ROWS: usize = 20;
/// Width of the drawing: two units a minute.
const WIDTH: f64 = 720.0;
/// No bar is thinner: half a minute's worth must be seen.
const THINNEST: f64 = 4.0;

/// The last hours, the newest trouble first.
pub(super) fn write(page: &mut Html, view: &View) {
    let from = view.at.before(SPAN);
    let mut rows: BTreeMap<&Identity, Vec<&Finding>> = BTreeMap::new();
    for finding in view.open.iter().chain(&view.closed) {
        if finding.closed_at.is_none_or(|closed| closed > from) {
            rows.entry(&finding.identity).or_default().push(finding);
        }
    }
    page.raw(
        "<section aria-labelledby=\"timeline-title\"><h2 id=\"timeline-title\">Last six hours</h2>",
    );
    if rows.is_empty() {
        page.raw("<p class=\"empty\">No finding");
        if view.started_at > from {
            page.raw(" since this exporter began at ")
                .time(view.started_at, words::clock(view.started_at))
                .raw(" UTC");
        }
        page.raw(".</p></section>");
        return;
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by_key(|findings| std::cmp::Reverse(newest(findings, view.at)));
    page.raw("<ol class=\"timeline\">");
    for findings in rows.iter().take(MAX_ROWS) {
        row(page, findings, from, view.at);
    }
    page.raw("</ol><p class=\"axis quiet\" aria-hidden=\"true\"><span>")
        .text(words::clock(from))
        .raw("</span><span>")
        .text(words::clock(view.at.before(SPAN / 2)))
        .raw("</span><span>")
        .text(words::clock(view.at))
        .raw(" UTC</span></p></section>");
}

fn newest(findings: &[&Finding], now: Timestamp) -> Timestamp {
    let ends = findings.iter().map(|f| f.closed_at.unwrap_or(now));
    ends.max().unwrap_or(now)
}

fn row(page: &mut Html, findings: &[&Finding], from: Timestamp, now: Timestamp) {
    let latest = findings.iter().max_by_key(|finding| finding.started_at);
    let Some(latest) = latest else { return };
    page.raw("<li><span class=\"what\">");
    page.link("/findings/", &latest.id, phrase(latest));
    page.raw("</span><svg class=\"bars\" viewBox=\"0 0 720 12\" preserveAspectRatio=\"none\" aria-hidden=\"true\">")
        .raw("<rect class=\"well\" width=\"720\" height=\"12\"/>");
    let mut lasted = Duration::ZERO;
    for finding in findings {
        let until = finding.closed_at.unwrap_or(now);
        lasted += until.since(finding.started_at.max(from));
        let begin = place(finding.started_at, from);
        let wide = (place(until, from) - begin).max(THINNEST);
        let (class, _) = words::severity(finding.severity);
        page.raw("<rect class=\"fill ")
            .raw(class)
            .raw("\" height=\"12\" x=\"")
            .text(format!("{:.1}", begin.min(WIDTH - wide)))
            .raw("\" width=\"")
            .text(format!("{wide:.1}"))
            .raw("\"/>");
    }
    page.raw("</svg><span class=\"quiet\">");
    if findings.len() > 1 {
        page.text(format!("{} times, ", findings.len()));
    }
    page.text(spoken(lasted));
    if findings.iter().any(|finding| finding.closed_at.is_none()) {
        page.raw(", still open");
    }
    page.raw("</span></li>");
}

fn place(at: Timestamp, from: Timestamp) -> f64 {
    (at.since(from).as_secs_f64() / SPAN.as_secs_f64()).min(1.0) * WIDTH
}
