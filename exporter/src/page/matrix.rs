//! Who reaches what: vantages × nodes first, accounts × vantages second. What is healthy is
//! folded into a line with a link once it would be long; what is not comes first, always in full.

use std::collections::BTreeSet;

use pnwatch_core::name::{Node, Vantage};
use pnwatch_core::subject::Subject;
use pnwatch_core::view::{TargetView, View};

use super::markup::Html;
use super::tally::{Cell, Grid, Witness, by_account, by_node};
use super::words::{self, Reading};

/// Most vantages that stand side by side as columns; beyond, their kinds do.
const WIDEST: usize = 6;
/// Most nodes as columns.
const MAX_COLUMNS: usize = 40;
/// Healthy rows shown on the first page; the rest is one line.
const CALM_ROWS: usize = 8;
/// Most rows at all; the API lists everything.
const MAX_ROWS: usize = 1_000;

/// How many rows to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// What is wrong, and a few of what is not.
    Brief,
    /// Everything, up to a bound.
    Whole,
}

impl Extent {
    /// The rows to show, worst first, and how many healthy ones are left out.
    fn rows<T>(self, mut rows: Vec<(Reading, T)>) -> (Vec<T>, usize) {
        // Stable: within one reading the order of names stays.
        rows.sort_by_key(|(reading, _)| std::cmp::Reverse(*reading));
        let bad = rows.iter().filter(|(r, _)| *r > Reading::Up).count();
        let most = match self {
            Self::Brief => (bad + CALM_ROWS).min(MAX_ROWS),
            Self::Whole => MAX_ROWS,
        };
        let left = rows.len().saturating_sub(most);
        (
            rows.into_iter().take(most).map(|(_, row)| row).collect(),
            left,
        )
    }
}

/// Vantages × nodes.
pub(super) fn vantages(page: &mut Html, view: &View, extent: Extent) {
    page.raw(
        "<section aria-labelledby=\"nodes-title\"><h2 id=\"nodes-title\">Vantages × nodes</h2>",
    );
    let grid = by_node(view);
    let columns: Vec<&Node> = view
        .nodes
        .iter()
        .map(|n| &n.node)
        .take(MAX_COLUMNS)
        .collect();
    if columns.is_empty() || grid.0.is_empty() {
        page.element("p", "empty", "No check was reported yet.")
            .raw("</section>");
        return;
    }
    page.raw(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"nodes-title\">",
    )
    .raw("<table class=\"matrix\"><thead><tr><th scope=\"col\">From</th>");
    for node in view.nodes.iter().take(MAX_COLUMNS) {
        page.raw("<th scope=\"col\">");
        page.link("/nodes/", node.node.as_str(), &node.node);
        page.raw("<small>").text(node.address).raw("</small></th>");
    }
    page.raw("</tr></thead><tbody>");
    // What builds feel comes first; a node's own checks prove nothing and say so.
    let (clients, others): (Vec<_>, Vec<_>) = view
        .vantages
        .iter()
        .map(|seen| &seen.vantage)
        .partition(|vantage| vantage.is_client());
    let rated = |all: Vec<&'_ Vantage>| {
        let rows = all.into_iter().map(|v| (grid.row(&v), v.clone())).collect();
        extent.rows(rows)
    };
    let (clients, clients_left) = rated(clients);
    let (others, others_left) = rated(others);
    for vantage in clients.iter().chain(&others) {
        page.raw(if vantage.is_client() {
            "<tr>"
        } else {
            "<tr class=\"aside\">"
        });
        page.raw("<th scope=\"row\">");
        page.link("/vantages/", &vantage.to_string(), vantage);
        page.raw("</th>");
        for column in &columns {
            match grid.0.get(&vantage).and_then(|row| row.get(column)) {
                Some(cell) => layered(page, cell),
                None => nothing(page),
            }
        }
        page.raw("</tr>");
    }
    page.raw("</tbody></table></div>");
    left(
        page,
        clients_left + others_left,
        "vantages",
        "<a href=\"/vantages\">show all</a>",
    );
    if !others.is_empty() {
        page.element(
            "p",
            "legend",
            "Checks that start on a cluster node (node/…) take another way than a build's and never page by themselves.",
        );
    }
    legend(page);
    page.raw("</section>");
}

/// Accounts × vantages.
pub(super) fn accounts(page: &mut Html, view: &View, extent: Extent) {
    page.raw("<section aria-labelledby=\"accounts-title\">")
        .raw("<h2 id=\"accounts-title\">Accounts × vantages</h2>");
    let grid = by_account(view, WIDEST);
    if view.targets.is_empty() {
        page.element("p", "empty", "The inventory names no account.")
            .raw("</section>");
        return;
    }
    let columns: BTreeSet<Witness<'_>> = grid
        .0
        .values()
        .flat_map(|row| row.keys().copied())
        .collect();
    page.raw(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"accounts-title\">",
    )
    .raw("<table class=\"matrix\"><thead><tr><th scope=\"col\">Account</th>")
    .raw("<th scope=\"col\">Verdict</th>");
    for column in &columns {
        page.raw("<th scope=\"col\">");
        match column {
            Witness::One(vantage) => page.link("/vantages/", &vantage.to_string(), vantage),
            Witness::Kind(kind) => page.text(format!("all of kind {}", kind.as_label())),
        };
        page.raw("</th>");
    }
    page.raw("</tr></thead><tbody>");
    let rows = view
        .targets
        .iter()
        .map(|seen| {
            let subject = seen.target.subject();
            let own = Reading::of(seen.verdict, None);
            ((own.max(grid.row(&&subject))), (subject, seen))
        })
        .collect();
    let (rows, more) = extent.rows(rows);
    for (subject, seen) in &rows {
        account(page, &grid, (subject, seen), &columns);
    }
    page.raw("</tbody></table></div>");
    left(
        page,
        more,
        "accounts' targets",
        "<a href=\"/accounts\">show all</a>",
    );
    page.raw("</section>");
}

fn account(
    page: &mut Html,
    grid: &Grid<&Subject, Witness<'_>>,
    (subject, seen): (&Subject, &TargetView),
    columns: &BTreeSet<Witness<'_>>,
) {
    let target = &seen.target;
    page.raw("<tr><th scope=\"row\">");
    page.link("/accounts/", target.account.as_str(), &target.account);
    page.raw("<small>")
        .text(format!(
            "{} · {}:{}",
            target.instance, target.address, target.port
        ))
        .raw("</small></th>");
    let reading = Reading::of(seen.verdict, None);
    page.raw("<td class=\"")
        .raw(reading.class())
        .raw("\"><span class=\"cell\">");
    sign(page, reading);
    page.raw("<span>").raw(reading.word());
    if seen.witnesses > 1 {
        page.text(format!(" by {} of {}", seen.reached_by, seen.witnesses));
    }
    if let Some(excuse) = &target.excuse {
        page.text(format!(" · {}", excuse.reason));
    }
    page.raw("</span></span></td>");
    for column in columns {
        match grid.0.get(subject).and_then(|row| row.get(column)) {
            Some(cell) => layered(page, cell),
            None => nothing(page),
        }
    }
    page.raw("</tr>");
}

fn sign(page: &mut Html, reading: Reading) {
    page.raw("<span class=\"mark\" aria-hidden=\"true\">")
        .raw(reading.sign())
        .raw("</span>");
}

/// A cell layer by layer: `ARP ✓  TCP 11/11  HTTP 10/11`.
fn layered(page: &mut Html, cell: &Cell) {
    page.raw("<td class=\"")
        .raw(cell.reading().class())
        .raw("\"><ul class=\"layers\">");
    for (layer, share) in &cell.layers {
        let reading = share.reading();
        page.raw("<li class=\"").raw(reading.class()).raw("\">");
        page.element("abbr", "", layer.as_label().to_uppercase())
            .raw(" ");
        sign(page, reading);
        page.raw("<span class=\"unseen\">")
            .raw(reading.word())
            .raw("</span>");
        if share.all > 1 {
            page.text(format!(" {}/{}", share.up, share.all));
        } else if let (Some(rtt), Reading::Up | Reading::Degraded) = (share.rtt_us, reading) {
            page.raw(" <span class=\"rtt\">")
                .text(words::rtt(rtt))
                .raw("</span>");
        } else if reading == Reading::NotApplicable {
            page.raw(" <span class=\"rtt\">n/a</span>");
        }
        page.raw("</li>");
    }
    page.raw("</ul></td>");
}

fn nothing(page: &mut Html) {
    page.raw("<td class=\"blank\"><span class=\"unseen\">no check</span></td>");
}

fn left(page: &mut Html, more: usize, what: &'static str, link: &'static str) {
    if more > 0 {
        page.raw("<p class=\"more\">")
            .text(format!("{more} more {what}, all reached: "))
            .raw(link)
            .raw("</p>");
    }
}

fn legend(page: &mut Html) {
    page.raw("<ul class=\"legend\" aria-label=\"Signs\">");
    for (reading, meaning) in Reading::LEGEND {
        page.raw("<li class=\"").raw(reading.class()).raw("\">");
        sign(page, reading);
        page.raw(" ").raw(meaning).raw("</li>");
    }
    page.raw("</ul>");
}
