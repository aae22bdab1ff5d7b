//! Who reaches what: vantages × nodes first, accounts × vantages second. Rows that look alike
//! are one row, which names its members on demand; what is wrong comes first.

use std::collections::BTreeSet;

use pnwatch_core::name::{Node, Vantage, VantageKind};
use pnwatch_core::view::{TargetView, View};

use super::markup::Html;
use super::tally::{Cell, Group, Row, Witness, by_account, by_node, grouped};
use super::words::{self, Reading};

/// Most vantages that stand side by side as columns; beyond, their kinds do.
const WIDEST: usize = 6;
/// Most nodes as columns.
const MAX_COLUMNS: usize = 40;
/// Rows that look alike and still stand apart.
const APART: usize = 3;
/// Most rows at all; the API lists everything.
const MAX_ROWS: usize = 500;
/// Most names in a row of many.
const MAX_NAMES: usize = 60;

/// How many rows to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// What looks alike as one row.
    Brief,
    /// Every row.
    Whole,
}

impl Extent {
    fn apart(self) -> usize {
        match self {
            Self::Brief => APART,
            Self::Whole => usize::MAX,
        }
    }
}

/// Vantages × nodes.
pub(super) fn vantages(page: &mut Html, view: &View, extent: Extent) {
    page.raw(
        "<section aria-labelledby=\"nodes-title\"><h2 id=\"nodes-title\">Vantages × nodes</h2>",
    );
    let mut grid = by_node(view);
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
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"nodes-title\">",
    )
    .raw("<table class=\"matrix\"><thead><tr><th scope=\"col\">From</th>");
    for node in view.nodes.iter().take(MAX_COLUMNS) {
        page.raw("<th scope=\"col\">");
        page.link("/nodes/", node.node.as_str(), &node.node);
        page.raw("<small>").text(node.address).raw("</small></th>");
    }
    page.raw("</tr></thead><tbody>");
    let rows = view.vantages.iter().map(|seen| {
        let vantage = &seen.vantage;
        let cells = grid.0.remove(vantage).unwrap_or_default();
        (vantage.kind(), vantage, cells)
    });
    let mut groups = grouped(rows.collect::<Vec<_>>(), extent.apart());
    // What builds feel comes first; a node's own checks prove nothing and say so.
    groups.sort_by_key(|group| !group.key.is_client());
    for group in groups.iter().take(MAX_ROWS) {
        page.raw(if group.key.is_client() {
            "<tr>"
        } else {
            "<tr class=\"aside\">"
        });
        page.raw("<th scope=\"row\">");
        let (one, many) = match group.key {
            VantageKind::Node => ("node", "nodes"),
            VantageKind::Host => ("host", "hosts"),
            VantageKind::Vm => ("VM", "VMs"),
        };
        members(
            page,
            &group.members,
            (one, many),
            |page, vantage: &&Vantage| {
                page.link("/vantages/", &vantage.to_string(), vantage);
            },
        );
        page.raw("</th>");
        row(page, &group.cells, columns.iter());
        page.raw("</tr>");
    }
    page.raw("</tbody></table></div>");
    cut(page, groups.len());
    if groups.iter().any(|group| !group.key.is_client()) {
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
    let mut grid = by_account(view, WIDEST);
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
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"accounts-title\">",
    )
    .raw("<table class=\"matrix\"><thead><tr><th scope=\"col\">Account</th>")
    .raw("<th scope=\"col\">Verdict</th>");
    for column in &columns {
        page.raw("<th scope=\"col\">");
        match column {
            Witness::One(vantage) => page.link("/vantages/", &vantage.to_string(), vantage),
            Witness::Kind(VantageKind::Node) => page.raw("from nodes"),
            Witness::Kind(VantageKind::Host) => page.raw("from hosts"),
            Witness::Kind(VantageKind::Vm) => page.raw("from VMs"),
        };
        page.raw("</th>");
    }
    page.raw("</tr></thead><tbody>");
    let rows = view.targets.iter().map(|seen| {
        let own = Reading::of(seen.verdict, None);
        let cells = grid.0.remove(&seen.target.subject()).unwrap_or_default();
        let excuse = seen
            .target
            .excuse
            .as_ref()
            .map(|excuse| excuse.reason.as_str());
        ((own, &seen.target.node, excuse), seen, cells)
    });
    let mut groups = grouped(rows.collect::<Vec<_>>(), extent.apart());
    groups.sort_by_key(|group| std::cmp::Reverse(group.key.0));
    for group in groups.iter().take(MAX_ROWS) {
        account(page, group);
        row(page, &group.cells, columns.iter());
        page.raw("</tr>");
    }
    page.raw("</tbody></table></div>");
    cut(page, groups.len());
    page.raw("</section>");
}

/// What a row of accounts has in common: verdict, node, excuse.
type Common<'a> = (Reading, &'a Node, Option<&'a str>);

/// The first two cells of a row of accounts.
fn account(page: &mut Html, group: &Group<Common<'_>, &TargetView, Witness<'_>>) {
    let (reading, node, excuse) = group.key;
    page.raw("<tr><th scope=\"row\">");
    members(
        page,
        &group.members,
        ("account", "accounts"),
        |page, seen| {
            let account = &seen.target.account;
            page.link("/accounts/", account.as_str(), account);
        },
    );
    page.raw("<small>");
    match group.members.as_slice() {
        [one] => page.text(format!(
            "{} · {}:{}",
            one.target.instance, one.target.address, one.target.port
        )),
        _ => page.text(format!("on {node}")),
    };
    page.raw("</small></th><td class=\"").raw(reading.class());
    page.raw("\"><span class=\"cell\">");
    sign(page, reading);
    page.raw("<span>").raw(reading.word());
    if let [one] = group.members.as_slice()
        && one.witnesses > 1
    {
        page.text(format!(" by {} of {}", one.reached_by, one.witnesses));
    }
    if let Some(excuse) = excuse {
        page.text(format!(" · {excuse}"));
    }
    page.raw("</span></span></td>");
}

/// The one member, or how many they are with their names on demand.
fn members<T>(
    page: &mut Html,
    members: &[T],
    (one, many): (&'static str, &'static str),
    name: impl Fn(&mut Html, &T),
) {
    if let [single] = members {
        name(page, single);
        return;
    }
    page.raw("<details><summary>")
        .text(words::count(members.len(), one, many))
        .raw("</summary><p class=\"names\">");
    for member in members.iter().take(MAX_NAMES) {
        name(page, member);
        page.raw(" ");
    }
    if members.len() > MAX_NAMES {
        page.text(format!("and {} more", members.len() - MAX_NAMES));
    }
    page.raw("</p></details>");
}

/// The cells of a row.
fn row<'a, C: Ord + 'a>(page: &mut Html, cells: &Row<C>, columns: impl Iterator<Item = &'a C>) {
    for column in columns {
        match cells.get(column) {
            Some(cell) => layered(page, cell),
            None => nothing(page),
        }
    }
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
    page.raw("<td class=\"blank\"><span class=\"rtt\">no check</span></td>");
}

fn cut(page: &mut Html, rows: usize) {
    if rows > MAX_ROWS {
        page.raw("<p class=\"more\">")
            .text(format!("{} more rows: ", rows - MAX_ROWS))
            .raw("<a href=\"/v1/view\">/v1/view</a></p>");
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
