//! Pages about one thing: an account, a node, a vantage, a finding; and the whole lists.

use pnwatch_core::finding::Finding;
use pnwatch_core::subject::Subject;
use pnwatch_core::time::spoken;
use pnwatch_core::view::{PathView, View};

use super::findings;
use super::markup::Html;
use super::matrix::{self, Extent};
use super::sight;
use super::words::{self, Reading};

/// Most paths of one page; the API lists everything.
const MAX_PATHS: usize = 1_000;

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Everything in brief.
    Home,
    /// Every vantage.
    Vantages,
    /// Every account.
    Accounts,
    /// One account, by its handle.
    Account(String),
    /// One node, by its name.
    Node(String),
    /// One vantage, as `host/NAME`.
    Vantage(String),
    /// One finding, by its id.
    Finding(String),
}

impl Place {
    /// Its title; `None` for the first page.
    pub(super) fn title(&self) -> Option<String> {
        Some(match self {
            Self::Home => return None,
            Self::Vantages => "All vantages".to_owned(),
            Self::Accounts => "All accounts".to_owned(),
            Self::Account(name) => format!("Account {name}"),
            Self::Node(name) => format!("Node {name}"),
            Self::Vantage(name) => format!("Vantage {name}"),
            Self::Finding(_) => "Finding".to_owned(),
        })
    }

    /// Whether `view` knows of it.
    pub fn exists(&self, view: &View) -> bool {
        match self {
            Self::Home | Self::Vantages | Self::Accounts => true,
            Self::Account(name) => {
                view.targets
                    .iter()
                    .any(|t| t.target.account.as_str() == name)
                    || self.findings(view).next().is_some()
            }
            Self::Node(name) => {
                view.nodes.iter().any(|n| n.node.as_str() == name)
                    || self.findings(view).next().is_some()
            }
            Self::Vantage(name) => view.vantages.iter().any(|v| v.vantage.to_string() == *name),
            Self::Finding(_) => self.findings(view).next().is_some(),
        }
    }

    fn is_about(&self, finding: &Finding) -> bool {
        match self {
            Self::Home | Self::Vantages | Self::Accounts => false,
            Self::Account(name) => finding.accounts.iter().any(|a| a.as_str() == name),
            Self::Node(name) => finding.node.as_ref().is_some_and(|n| n.as_str() == name),
            Self::Vantage(name) => finding.vantages.iter().any(|v| v.to_string() == *name),
            Self::Finding(id) => finding.id == *id,
        }
    }

    fn findings<'a>(&'a self, view: &'a View) -> impl Iterator<Item = &'a Finding> {
        view.open
            .iter()
            .chain(&view.closed)
            .filter(|finding| self.is_about(finding))
    }

    fn has(&self, path: &PathView, view: &View) -> bool {
        match self {
            Self::Home | Self::Vantages | Self::Accounts | Self::Finding(_) => false,
            Self::Vantage(name) => path.key.vantage.to_string() == *name,
            Self::Account(name) => {
                matches!(&path.key.subject, Subject::Account(a, ..) if a.as_str() == name)
            }
            Self::Node(name) => match &path.key.subject {
                Subject::Node(node) => node.as_str() == name,
                subject @ Subject::Account(..) => view
                    .targets
                    .iter()
                    .any(|t| t.target.node.as_str() == name && t.target.subject() == *subject),
                Subject::Neighbour(_) | Subject::Control => false,
            },
        }
    }
}

/// The content of a page other than the first.
pub(super) fn write(page: &mut Html, place: &Place, view: &View) {
    page.raw("<nav class=\"back\" aria-label=\"Back\"><a href=\"/\">← Overview</a></nav>");
    page.element("h1", "plain", place.title().unwrap_or_default());
    match place {
        Place::Home => {}
        Place::Vantages => {
            page.raw("<section><ul class=\"vantages wide\">");
            for seen in &view.vantages {
                sight::vantage(page, seen, view);
            }
            page.raw("</ul></section>");
            matrix::vantages(page, view, Extent::Whole);
        }
        Place::Accounts => matrix::accounts(page, view, Extent::Whole),
        Place::Account(_) | Place::Node(_) | Place::Vantage(_) | Place::Finding(_) => {
            let mut any = false;
            page.raw("<section id=\"open\" aria-label=\"Findings\">");
            for finding in place.findings(view) {
                findings::one(page, finding, view.at);
                any = true;
            }
            if !any {
                page.element("p", "empty", "No finding is about this.");
            }
            page.raw("</section>");
            if !matches!(place, Place::Finding(_)) {
                paths(page, place, view);
            }
        }
    }
}

fn paths(page: &mut Html, place: &Place, view: &View) {
    let mut rows: Vec<&PathView> = view.paths.iter().filter(|p| place.has(p, view)).collect();
    rows.sort_by_key(|p| std::cmp::Reverse(Reading::of(p.verdict, p.last_outcome)));
    page.raw("<section aria-labelledby=\"paths-title\"><h2 id=\"paths-title\">Paths <span class=\"tally\">")
        .text(rows.len())
        .raw("</span></h2>");
    if rows.is_empty() {
        page.element("p", "empty", "No check of it was reported yet.")
            .raw("</section>");
        return;
    }
    page.raw(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"paths-title\">",
    )
    .raw("<table class=\"paths\"><thead><tr><th scope=\"col\">From</th><th scope=\"col\">To</th>")
    .raw("<th scope=\"col\">Layer</th><th scope=\"col\">Verdict</th>")
    .raw("<th scope=\"col\">Last check</th><th scope=\"col\">Round trip</th>")
    .raw("<th scope=\"col\">Evidence</th></tr></thead><tbody>");
    for path in rows.iter().take(MAX_PATHS) {
        let reading = Reading::of(path.verdict, path.last_outcome);
        page.raw("<tr><th scope=\"row\">");
        page.link(
            "/vantages/",
            &path.key.vantage.to_string(),
            &path.key.vantage,
        );
        page.raw("</th><td>");
        match &path.key.subject {
            Subject::Account(account, instance, _) => page
                .link("/accounts/", account.as_str(), account)
                .raw("<small>")
                .text(instance)
                .raw("</small>"),
            Subject::Node(node) => page.link("/nodes/", node.as_str(), node),
            other => page.text(other),
        };
        page.raw("</td><td>")
            .text(path.key.layer.as_label().to_uppercase());
        page.raw("</td><td class=\"").raw(reading.class());
        page.raw("\"><span class=\"mark\" aria-hidden=\"true\">")
            .raw(reading.sign());
        page.raw("</span> ").raw(reading.word());
        if let Some(since) = path.down_since {
            page.text(format!(" for {}", spoken(view.at.since(since))));
        }
        page.raw("</td><td>")
            .text(words::outcome(path.last_outcome));
        page.raw("</td><td class=\"age\">");
        match path.rtt_us {
            Some(rtt) => page.text(words::rtt(rtt)),
            None => page.text("–"),
        };
        page.raw("</td><td class=\"age\">")
            .text(words::age(path.newest_age));
        page.raw(" old</td></tr>");
    }
    page.raw("</tbody></table></div>");
    if rows.len() > MAX_PATHS {
        page.raw(
            "<p class=\"more\">Cut short; <a href=\"/v1/view\">/v1/view</a> counts everything.</p>",
        );
    }
    page.raw("</section>");
}
