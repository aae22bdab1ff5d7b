//! Pages about one thing: an account, a node, a vantage, a finding; and the whole lists.

use pnwatch_core::finding::Finding;
use pnwatch_core::subject::Subject;
use pnwatch_core::time::spoken;
use pnwatch_core::view::{PathView, View};

use super::bandwidth;
use super::books;
use super::findings;
use super::markup::Html;
use super::matrix::{self, Extent};
use super::scene::Scene;
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
    /// Every budget.
    Budgets,
    /// One path, as `VANTAGE/LAYER/SUBJECT`.
    Path(String),
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
            Self::Budgets => "Budgets".to_owned(),
            Self::Path(name) => format!("Path {name}"),
            Self::Account(name) => format!("Account {name}"),
            Self::Node(name) => format!("Node {name}"),
            Self::Vantage(name) => format!("Vantage {name}"),
            Self::Finding(_) => "Finding".to_owned(),
        })
    }

    /// Whether `view` knows of it.
    pub fn exists(&self, view: &View) -> bool {
        match self {
            Self::Home | Self::Vantages | Self::Accounts | Self::Budgets => true,
            Self::Path(name) => view.paths.iter().any(|p| address(p) == *name),
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
            Self::Home | Self::Vantages | Self::Accounts | Self::Budgets | Self::Path(_) => false,
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
            Self::Home | Self::Vantages | Self::Accounts | Self::Budgets | Self::Finding(_) => {
                false
            }
            Self::Path(name) => address(path) == *name,
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

/// A path's place under `/paths/`: `host/mini-1/tcp/account:acme/…`.
fn address(path: &PathView) -> String {
    let key = &path.key;
    format!("{}/{}/{}", key.vantage, key.layer.as_label(), key.subject)
}

/// The content of a page other than the first.
pub(super) fn write(page: &mut Html, place: &Place, scene: Scene<'_>) {
    let view = scene.view;
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
        Place::Budgets => books::whole(page, scene.books),
        Place::Path(_) => {
            paths(page, place, view);
            failures(page, place, view);
        }
        Place::Account(_) | Place::Node(_) | Place::Vantage(_) | Place::Finding(_) => {
            let mut any = false;
            page.raw("<section id=\"open\" aria-labelledby=\"open-title\"><h2 id=\"open-title\" class=\"unseen\">Findings</h2>");
            for finding in place.findings(view) {
                findings::one(page, finding, scene.links, view.at);
                any = true;
            }
            if !any {
                page.element("p", "empty", "No finding is about this.");
            }
            page.raw("</section>");
            if !matches!(place, Place::Finding(_)) {
                beside(page, place, scene);
                paths(page, place, view);
            }
        }
    }
}

/// What else is known of an account, a node or a vantage.
fn beside(page: &mut Html, place: &Place, scene: Scene<'_>) {
    match place {
        Place::Account(name) => {
            books::traffic_of(page, scene.verdicts, name);
            books::of_account(page, scene.books, name);
        }
        Place::Node(name) | Place::Vantage(name) => {
            for seen in &scene.view.vantages {
                let own = seen.vantage.to_string();
                if own == *name || own.strip_prefix("node/") == Some(name) {
                    bandwidth::of(page, seen);
                }
            }
        }
        _ => {}
    }
}

/// What a path's checks failed of lately, whatever has followed.
fn failures(page: &mut Html, place: &Place, view: &View) {
    page.raw(
        "<section aria-labelledby=\"failures-title\"><h2 id=\"failures-title\">Last failures</h2>",
    );
    let mut any = false;
    for path in view.paths.iter().filter(|p| place.has(p, view)) {
        for failure in &path.failures {
            page.raw(if any {
                "<li>"
            } else {
                "<ol class=\"closed\"><li>"
            })
            .text(failure.cause.as_label().replace('_', " "))
            .raw("<span class=\"quiet\">")
            .time(failure.from, words::clock(failure.from))
            .text(format!(
                " UTC, {} over {}, the last {}",
                words::count(failure.misses as usize, "check", "checks"),
                spoken(failure.until.since(failure.from)),
                words::ago(failure.until, view.at)
            ))
            .raw("</span></li>");
            any = true;
        }
    }
    if any {
        page.raw("</ol>");
    } else {
        page.element(
            "p",
            "empty",
            "No check of it has failed since this exporter began.",
        );
    }
    page.raw("</section>");
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
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"paths-title\">",
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
        page.raw("</span> ");
        page.link("/paths/", &address(path), reading.word());
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
