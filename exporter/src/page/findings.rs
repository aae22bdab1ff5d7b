//! Open findings in full, and those that closed lately.

use pnwatch_core::finding::{Evidence, Finding};
use pnwatch_core::time::{Timestamp, spoken};
use pnwatch_core::view::View;

use super::headline::phrase;
use super::markdown::markdown;
use super::markup::Html;
use super::scene::{Links, Scene};
use super::words::{self, ago};

/// Most open findings shown in full; the API lists everything.
const MAX_OPEN: usize = 50;
/// Most closed findings shown.
const MAX_CLOSED: usize = 20;
/// Most names in a list of who suffers.
const MAX_NAMES: usize = 12;
/// Most lines of evidence.
const MAX_LINES: usize = 24;

/// All open findings.
pub(super) fn open(page: &mut Html, scene: Scene<'_>) {
    let view = scene.view;
    page.raw(
        "<section id=\"open\" aria-labelledby=\"open-title\"><h2 id=\"open-title\">Open findings",
    )
    .raw(" <span class=\"tally\">")
    .text(view.open.len())
    .raw("</span></h2>");
    if view.open.is_empty() {
        let sees = view.vantages.iter().any(|v| v.reporting);
        page.element(
            "p",
            "empty",
            if sees {
                "Nothing is wrong that pnwatch can see. What it cannot see stands beside."
            } else {
                "None; but nobody reports, so that means nothing."
            },
        );
    }
    for finding in view.open.iter().take(MAX_OPEN) {
        one(page, finding, scene.links, view.at);
    }
    if view.open.len() > MAX_OPEN {
        page.raw("<p class=\"empty\">")
            .text(format!("{} more at ", view.open.len() - MAX_OPEN))
            .raw("<a href=\"/v1/findings\">/v1/findings</a></p>");
    }
    page.raw("</section>");
}

/// One finding in full, open or closed.
pub(super) fn one(page: &mut Html, finding: &Finding, links: &Links, now: Timestamp) {
    let (class, word) = words::severity(finding.severity);
    page.raw("<article class=\"finding ").raw(class);
    if finding.closed_at.is_some() {
        page.raw(" closed");
    }
    page.raw("\" id=\"finding-").text(&finding.id).raw("\">");
    page.raw("<header><p class=\"badges\"><span class=\"badge\">")
        .raw(word)
        .raw("</span>");
    page.element("span", "fault", finding.fault);
    page.raw("</p><h3>");
    page.link("/findings/", &finding.id, phrase(finding));
    page.raw("</h3>");
    page.element("p", "summary", &finding.summary)
        .raw("</header>");
    life(page, finding, now);
    suffering(page, finding);
    evidence(page, finding, now);
    repair(page, finding, links);
    page.raw("<details class=\"markdown\"><summary>As Markdown, for a ticket or a chat</summary>")
        .raw("<div class=\"command\"><pre tabindex=\"0\" aria-label=\"Markdown\"><code>")
        .text(markdown(finding, now))
        .raw("</code></pre><button type=\"button\" class=\"copy\">Copy</button></div></details>");
    page.raw("</article>");
}

fn life(page: &mut Html, finding: &Finding, now: Timestamp) {
    page.raw("<dl class=\"facts\"><div><dt>Since</dt><dd>")
        .time(finding.started_at, words::clock(finding.started_at))
        .raw(" UTC ")
        .raw("<span class=\"quiet\">")
        .text(ago(finding.started_at, now))
        .raw("</span></dd></div>");
    page.raw("<div><dt>Confirmed after</dt><dd>")
        .text(spoken(finding.opened_at.since(finding.started_at)))
        .raw("</dd></div><div><dt>Blame</dt><dd>")
        .text(finding.identity.blame.as_label().replace('_', " "))
        .raw("</dd></div><div><dt>Confidence</dt><dd>")
        .text(finding.confidence)
        .raw("</dd></div></dl>");
    if let Some(closed) = finding.closed_at {
        page.raw("<p class=\"note\">Closed at ")
            .time(closed, words::clock(closed))
            .text(format!(
                " UTC, after {}.",
                spoken(closed.since(finding.started_at))
            ))
            .raw("</p>");
    } else if let Some(since) = finding.clearing_since {
        page.element(
            "p",
            "note good",
            format!(
                "Recovering: reached again for {}. It closes once that has held.",
                spoken(now.since(since))
            ),
        );
    }
    if let Some(since) = finding.blind_since {
        page.element(
            "p",
            "note",
            format!(
                "No evidence either way for {}: it stays open until there is fresh success.",
                spoken(now.since(since))
            ),
        );
    }
}

fn suffering(page: &mut Html, finding: &Finding) {
    if finding.accounts.is_empty() && finding.vantages.is_empty() {
        return;
    }
    page.raw("<dl class=\"who\">");
    if !finding.accounts.is_empty() {
        page.raw("<div><dt>")
            .text(words::count(finding.accounts.len(), "account", "accounts"))
            .raw("</dt><dd>");
        for account in finding.accounts.iter().take(MAX_NAMES) {
            page.link("/accounts/", account.as_str(), account).raw(" ");
        }
        rest(page, finding.accounts.len());
        page.raw("</dd></div>");
    }
    if !finding.vantages.is_empty() {
        page.raw("<div><dt>")
            .text(words::count(finding.vantages.len(), "vantage", "vantages"))
            .raw("</dt><dd>");
        for vantage in finding.vantages.iter().take(MAX_NAMES) {
            page.link("/vantages/", &vantage.to_string(), vantage)
                .raw(" ");
        }
        rest(page, finding.vantages.len());
        page.raw("</dd></div>");
    }
    page.raw("</dl>");
}

fn rest(page: &mut Html, all: usize) {
    if all > MAX_NAMES {
        page.text(format!("and {} more", all - MAX_NAMES));
    }
}

fn evidence(page: &mut Html, finding: &Finding, now: Timestamp) {
    if !finding.evidence.is_empty() {
        page.raw("<table class=\"evidence\"><caption>Evidence</caption><thead><tr>")
            .raw("<th scope=\"col\">Layer</th><th scope=\"col\">What was seen</th>")
            .raw("<th scope=\"col\">Age</th></tr></thead><tbody>");
        for line in finding.evidence.iter().take(MAX_LINES) {
            evidence_line(page, line, now);
        }
        page.raw("</tbody></table>");
    }
    if !finding.missing.is_empty() {
        page.raw("<div class=\"missing\"><h4>Missing to be surer</h4><ul>");
        for missing in finding.missing.iter().take(MAX_LINES) {
            page.element("li", "", missing);
        }
        page.raw("</ul></div>");
    }
}

fn evidence_line(page: &mut Html, line: &Evidence, now: Timestamp) {
    page.raw("<tr><th scope=\"row\">")
        .text(line.layer.map_or("–", |layer| layer.as_label()))
        .raw("</th><td>")
        .text(&line.text);
    if let Some(vantage) = &line.vantage
        && !line.text.contains(&vantage.to_string())
    {
        page.raw(" <span class=\"quiet\">seen by ")
            .text(vantage)
            .raw("</span>");
    }
    page.raw("</td><td class=\"age\">")
        .time(line.seen_at, spoken(now.since(line.seen_at)))
        .raw("</td></tr>");
}

fn repair(page: &mut Html, finding: &Finding, links: &Links) {
    page.raw("<div class=\"next\"><h4>What to do</h4>");
    if let Some(repair) = &finding.repair {
        page.raw("<p><b class=\"place\">")
            .text(&repair.place)
            .raw("</b> ");
        page.spans(&repair.text).raw("</p>");
        if let Some(command) = &repair.command {
            page.raw("<div class=\"command\"><pre tabindex=\"0\" aria-label=\"Command\"><code>")
                .text(command)
                .raw("</code></pre><button type=\"button\" class=\"copy\">Copy</button></div>");
        }
    }
    page.raw("<p class=\"links\">");
    if let Some(alert) = finding.alertname {
        page.raw("<a href=\"/runbooks/")
            .text(alert)
            .raw("#")
            .text(finding.fault)
            .raw("\">Runbook ")
            .text(alert)
            .raw("</a> ");
        if let Some(link) = links.silence(finding) {
            page.raw("<a rel=\"noreferrer\" href=\"")
                .text(link)
                .raw("\">Silence in Alertmanager</a> ");
        }
    } else {
        page.raw("<span class=\"quiet\">This never pages.</span> ");
    }
    page.element("span", "id", &finding.id).raw("</p></div>");
}

/// What closed lately.
pub(super) fn closed(page: &mut Html, view: &View) {
    page.raw(
        "<section aria-labelledby=\"closed-title\"><h2 id=\"closed-title\">Closed lately</h2>",
    );
    if view.closed.is_empty() {
        page.raw("<p class=\"empty\">Nothing since this exporter began at ")
            .time(view.started_at, words::clock(view.started_at))
            .raw(" UTC.</p></section>");
        return;
    }
    page.raw("<ol class=\"closed\">");
    for finding in view.closed.iter().take(MAX_CLOSED) {
        let closed = finding.closed_at.unwrap_or(finding.opened_at);
        page.raw("<li>");
        page.link("/findings/", &finding.id, phrase(finding));
        page.raw("<span class=\"quiet\">")
            .time(finding.started_at, words::clock(finding.started_at))
            .text(format!(
                " UTC for {}, closed {}",
                spoken(closed.since(finding.started_at)),
                ago(closed, view.at)
            ))
            .raw("</span></li>");
    }
    page.raw("</ol>");
    if view.closed.len() > MAX_CLOSED {
        page.raw("<p class=\"empty\">Older ones at <a href=\"/v1/findings\">/v1/findings</a></p>");
    }
    page.raw("</section>");
}
