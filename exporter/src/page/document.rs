//! The shell of every page, and its live part: what the script fetches again and again.

use pnwatch_core::view::View;

use super::bandwidth;
use super::books;
use super::detail::{self, Place};
use super::findings;
use super::headline;
use super::markup::Html;
use super::matrix::{self, Extent};
use super::scene::Scene;
use super::sight;
use super::timeline;
use super::words;

/// A whole page. Without a script it shows the state of its moment, and says so.
pub fn document(scene: Scene<'_>, place: &Place) -> String {
    let view = scene.view;
    let mut page = Html::new();
    head(&mut page, &title(view, place));
    bar(&mut page, Some(view));
    page.raw("<p id=\"stale\" class=\"stale\" role=\"alert\" hidden></p>");
    page.raw("<noscript><p class=\"stale plain\">Without JavaScript this page does not move: it shows the state of ")
        .text(words::clock(view.at))
        .raw(" UTC. Reload it for a newer one.</p></noscript>");
    page.raw("<main id=\"live\">");
    content(&mut page, scene, place);
    page.raw("</main>");
    foot(&mut page);
    page.finish()
}

/// The part that lives: the title in its first line as `<template>`, then the content of `main`.
pub fn live(scene: Scene<'_>, place: &Place) -> String {
    let mut page = Html::new();
    page.raw("<template id=\"title\">")
        .text(title(scene.view, place))
        .raw("</template>");
    content(&mut page, scene, place);
    page.finish()
}

/// A page that is about no state: `body` writes its main part.
pub(super) fn still(title: &str, body: impl FnOnce(&mut Html)) -> String {
    let mut page = Html::new();
    head(&mut page, title);
    bar(&mut page, None);
    page.raw("<main id=\"still\"><nav class=\"back\" aria-label=\"Back\"><a href=\"/\">← Overview</a></nav>");
    body(&mut page);
    page.raw("</main>");
    foot(&mut page);
    page.finish()
}

fn title(view: &View, place: &Place) -> String {
    let headline = headline::headline(view);
    let what = place.title().unwrap_or(headline.fact);
    match view.open.len() {
        0 => format!("{what} · {} · pnwatch", view.cluster),
        n => format!("({n}) {what} · {} · pnwatch", view.cluster),
    }
}

fn head(page: &mut Html, title: &str) {
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
        .raw("<meta name=\"color-scheme\" content=\"light dark\"><title>")
        .text(title)
        .raw("</title><link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">")
        .raw("<link rel=\"stylesheet\" href=\"/assets/page.css\">")
        .raw("<script src=\"/assets/page.js\" defer></script></head>\n<body>");
}

fn bar(page: &mut Html, view: Option<&View>) {
    page.raw(if view.is_some() {
        "<a class=\"skip\" href=\"#live\">Skip to the state</a>"
    } else {
        "<a class=\"skip\" href=\"#still\">Skip to the text</a>"
    })
    .raw("<header class=\"bar\"><a class=\"brand\" href=\"/\"><span aria-hidden=\"true\">◉</span> pnwatch</a>");
    if let Some(view) = view {
        page.element("span", "cluster", &view.cluster);
        page.raw("<span class=\"pulse\" id=\"pulse\"><span class=\"beat\" aria-hidden=\"true\"></span> <span id=\"pulse-word\">as of</span> <span id=\"clock\">")
            .text(words::clock(view.at))
            .raw("</span> UTC<span id=\"here\"></span></span>");
    }
    page.raw("</header>");
}

fn foot(page: &mut Html) {
    page.raw("<footer><nav aria-label=\"More\"><a href=\"/vantages\">All vantages</a> ")
        .raw("<a href=\"/accounts\">All accounts</a> <a href=\"/budgets\">Budgets</a> <a href=\"/runbooks\">Runbooks</a> ")
        .raw("<a href=\"/v1/findings\">Findings as JSON</a> <a href=\"/v1/view\">State as JSON</a></nav>")
        .raw("</footer></body></html>\n");
}

fn content(page: &mut Html, scene: Scene<'_>, place: &Place) {
    let view = scene.view;
    if *place != Place::Home {
        detail::write(page, place, scene);
        return;
    }
    headline::write(page, view);
    page.raw("<div class=\"columns\"><div class=\"first\">");
    findings::open(page, scene);
    matrix::vantages(page, view, Extent::Brief);
    matrix::accounts(page, view, Extent::Brief);
    books::traffic_brief(page, scene.verdicts);
    timeline::write(page, view);
    bandwidth::brief(page, view);
    books::brief(page, scene.books);
    page.raw("</div><aside class=\"second\" aria-label=\"Sight and history\">");
    sight::limits(page, view);
    sight::vantages(page, view);
    findings::closed(page, view);
    page.raw("</aside></div>");
}
