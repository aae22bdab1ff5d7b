//! The page: headline, open findings with evidence and ages, vantages × targets.

use std::collections::{BTreeMap, BTreeSet};

use pnwatch_core::fault::Severity;
use pnwatch_core::finding::Finding;
use pnwatch_core::outcome::Layer;
use pnwatch_core::path::Verdict;
use pnwatch_core::subject::Subject;
use pnwatch_core::time::{Timestamp, spoken};
use pnwatch_core::view::View;

use super::markup::Html;

/// Most columns and rows of the matrix; beyond, the API lists everything.
const MAX_COLUMNS: usize = 60;
const MAX_ROWS: usize = 200;
/// Most closed findings shown.
const MAX_CLOSED: usize = 20;

/// The whole page.
pub fn document(view: &View) -> String {
    let mut page = Html::new();
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
        .raw("<title>")
        .text(title(view))
        .raw("</title><link rel=\"stylesheet\" href=\"/assets/page.css\">")
        .raw("<script src=\"/assets/page.js\" defer></script></head>\n<body>");
    headline(&mut page, view);
    page.raw("<main>");
    open_findings(&mut page, view);
    matrix(&mut page, view);
    vantages(&mut page, view);
    closed_findings(&mut page, view);
    page.raw("</main></body></html>\n");
    page.finish()
}

fn title(view: &View) -> String {
    match view.open.len() {
        0 => format!("{}: all quiet · pnwatch", view.cluster),
        n => format!("({n}) {} · pnwatch", view.cluster),
    }
}

fn headline(page: &mut Html, view: &View) {
    let reporting = view.vantages.iter().filter(|v| v.reporting).count();
    let worst = view.open.iter().map(|f| f.severity).max();
    let blind = reporting == 0 && !view.vantages.is_empty();
    let class = match worst {
        Some(Severity::Critical) => "critical",
        Some(Severity::Warning) => "warning",
        _ if blind => "unknown",
        _ => "fine",
    };
    page.open("header", class).raw("<h1>");
    match view.open.first() {
        Some(finding) => page.text(&finding.summary),
        None if blind => page.text("No vantage reports: nothing is known of the network"),
        None => page.text("No open finding"),
    };
    page.raw("</h1><p>")
        .text(format!(
            "{}: {} open, {reporting} of {} vantages report, {} targets on {} nodes",
            view.cluster,
            view.open.len(),
            view.vantages.len(),
            view.targets.len(),
            view.nodes.len()
        ))
        .raw(" · as of <time id=\"at\">")
        .text(view.at)
        .raw("</time> <span id=\"live\"></span></p></header>");
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", spoken(now.since(at)))
}

fn severity_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "finding critical",
        Severity::Warning => "finding warning",
        Severity::Info => "finding info",
    }
}

fn open_findings(page: &mut Html, view: &View) {
    page.raw("<section id=\"open\"><h2>Open findings</h2>");
    if view.open.is_empty() {
        page.element("p", "quiet", "None.");
    }
    for finding in &view.open {
        open_finding(page, finding, view.at);
    }
    page.raw("</section>");
}

fn open_finding(page: &mut Html, finding: &Finding, now: Timestamp) {
    page.open("article", severity_class(finding.severity));
    page.element("h3", "", &finding.summary);
    page.element(
        "p",
        "meta",
        format!(
            "{} · blame {} {} · {} · confidence {} · since {} ({})",
            finding.severity,
            finding.identity.blame,
            finding.identity.subject,
            finding.fault.title(),
            finding.confidence,
            finding.started_at,
            ago(finding.started_at, now)
        ),
    );
    if let Some(since) = finding.clearing_since {
        page.element("p", "", format!("Recovering since {}.", ago(since, now)));
    }
    if let Some(since) = finding.blind_since {
        let text = format!(
            "No evidence either way for {}; it stays open.",
            spoken(now.since(since))
        );
        page.element("p", "", text);
    }
    page.open("ul", "evidence");
    for evidence in &finding.evidence {
        let text = format!("{} ({})", evidence.text, ago(evidence.seen_at, now));
        page.element("li", "", text);
    }
    for missing in &finding.missing {
        page.element("li", "missing", format!("missing: {missing}"));
    }
    page.close("ul");
    if let Some(repair) = &finding.repair {
        page.element("p", "", format!("Repair {}: {}", repair.place, repair.text));
        if let Some(command) = &repair.command {
            page.element("pre", "", command);
        }
    }
    page.element("p", "meta", &finding.id).close("article");
}

/// The worst reading of a verdict, as class and sign: the sign alone must tell it, too.
fn cell(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Up => ("up", "✓"),
        Verdict::Degraded => ("degraded", "~"),
        Verdict::Suspect => ("suspect", "?"),
        Verdict::Down => ("down", "✗"),
        Verdict::Unknown => ("unknown", "·"),
    }
}

fn matrix(page: &mut Html, view: &View) {
    // The highest layer that says something of a pair wins if it is worse.
    let mut pairs: BTreeMap<(String, String), Verdict> = BTreeMap::new();
    let mut columns: BTreeSet<String> = BTreeSet::new();
    for path in &view.paths {
        let column = match &path.key.subject {
            Subject::Node(node) => format!("node {node}"),
            Subject::Account(account, instance, _) => format!("{account} · {instance}"),
            Subject::Control if path.key.layer == Layer::Control => "control".to_owned(),
            Subject::Control | Subject::Neighbour(_) => continue,
        };
        columns.insert(column.clone());
        let pair = pairs
            .entry((path.key.vantage.to_string(), column))
            .or_insert(Verdict::Unknown);
        *pair = (*pair).max(path.verdict);
    }
    let columns: Vec<&String> = columns.iter().take(MAX_COLUMNS).collect();
    page.raw("<section><h2>Vantages × targets</h2>");
    if columns.is_empty() {
        page.element("p", "quiet", "No check was reported yet.")
            .raw("</section>");
        return;
    }
    page.raw("<div class=\"scroll\"><table><thead><tr><th>vantage</th>");
    for column in &columns {
        page.element("th", "", column);
    }
    page.raw("</tr></thead><tbody>");
    for seen in view.vantages.iter().take(MAX_ROWS) {
        let vantage = seen.vantage.to_string();
        page.raw("<tr>").element("th", "", &vantage);
        for column in &columns {
            let key = (vantage.clone(), (*column).clone());
            match pairs.get(&key) {
                Some(verdict) => {
                    let (class, sign) = cell(*verdict);
                    page.raw("<td class=\"")
                        .raw(class)
                        .raw("\" title=\"")
                        .text(format!("{vantage} → {column}: {verdict}"))
                        .raw("\">")
                        .raw(sign)
                        .raw("</td>");
                }
                None => {
                    page.raw("<td></td>");
                }
            }
        }
        page.raw("</tr>");
    }
    page.raw("</tbody></table></div>");
    if view.vantages.len() > MAX_ROWS || columns.len() == MAX_COLUMNS {
        page.element("p", "meta", "Cut short; /v1/view has everything.");
    }
    page.raw("<p class=\"meta\">✓ up · ~ degraded · ? missing, not yet for long · ✗ down · · unknown</p></section>");
}

fn vantages(page: &mut Html, view: &View) {
    page.raw("<section><h2>Vantages</h2><div class=\"scroll\"><table><thead><tr>")
        .raw("<th>vantage</th><th>reports</th><th>last report</th><th>PN address</th>")
        .raw("</tr></thead><tbody>");
    for seen in view.vantages.iter().take(MAX_ROWS) {
        let (class, state) = match (seen.reporting, seen.stopping) {
            (_, true) => ("unknown", "stopping"),
            (true, false) => ("up", "yes"),
            (false, false) => ("down", "silent"),
        };
        page.raw("<tr>").element("th", "", &seen.vantage);
        page.element("td", class, state);
        match seen.last_report {
            Some(last) => page.element("td", "", ago(last, view.at)),
            None => page.element("td", "", "never"),
        };
        match seen.address {
            Some(address) => page.element("td", "", address),
            None => page.element("td", "", "not known"),
        };
        page.raw("</tr>");
    }
    page.raw("</tbody></table></div></section>");
}

fn closed_findings(page: &mut Html, view: &View) {
    if view.closed.is_empty() {
        return;
    }
    page.raw("<section><h2>Closed lately</h2><ul class=\"closed\">");
    for finding in view.closed.iter().take(MAX_CLOSED) {
        let lasted = finding
            .closed_at
            .map(|at| spoken(at.since(finding.started_at)));
        page.raw("<li>")
            .text(&finding.summary)
            .raw(" <span class=\"meta\">")
            .text(format!(
                "from {}, lasted {}",
                finding.started_at,
                lasted.unwrap_or_default()
            ))
            .raw("</span></li>");
    }
    page.raw("</ul></section>");
}
