//! Who looks, and what cannot be seen.

use std::collections::{BTreeMap, BTreeSet};

use pnwatch_core::link::DeviceState;
use pnwatch_core::name::{Vantage, VantageKind};
use pnwatch_core::outcome::{Blind, Layer, Outcome};
use pnwatch_core::time::spoken;
use pnwatch_core::view::{VantageView, View};

use super::markup::Html;
use super::words::{self, ago};

/// Most silent vantages in the brief list.
const MAX_BRIEF: usize = 12;
/// Reporting vantages that are still named one by one.
const FEW: usize = 6;
/// Most sentences of what cannot be seen.
const MAX_SENTENCES: usize = 40;

/// Everything that pnwatch cannot see right now, one sentence each.
pub(super) fn blind_spots(view: &View) -> Vec<String> {
    let mut told = Vec::new();
    silent(view, &mut told);
    unmeasured(view, &mut told);
    unwitnessed(view, &mut told);
    for finding in &view.open {
        if let Some(since) = finding.blind_since {
            told.push(format!(
                "Whether {} {} has recovered: no evidence either way for {}.",
                finding.identity.blame,
                finding.identity.subject,
                spoken(view.at.since(since))
            ));
        }
    }
    kinds(view, &mut told);
    told
}

fn silent(view: &View, told: &mut Vec<String>) {
    for seen in view.vantages.iter().filter(|v| !v.reporting) {
        let vantage = &seen.vantage;
        told.push(match (seen.stopping, seen.last_report) {
            (true, _) => format!("What {vantage} sees: it said that it stops."),
            (false, Some(last)) => format!(
                "What {vantage} sees: it has not reported for {}.",
                spoken(view.at.since(last))
            ),
            (false, None) => format!("What {vantage} sees: it has never reported."),
        });
    }
}

/// Checks that could not be made, by vantage, layer and reason.
fn unmeasured(view: &View, told: &mut Vec<String>) {
    let mut counts: BTreeMap<(&Vantage, Layer, Blind), usize> = BTreeMap::new();
    for path in &view.paths {
        if let Some(Outcome::Unmeasured(why)) = path.last_outcome {
            let key = (&path.key.vantage, path.key.layer, why);
            *counts.entry(key).or_default() += 1;
        }
    }
    for ((vantage, layer, why), count) in counts {
        told.push(format!(
            "{} of {vantage}: {} not measured ({}).",
            layer.as_label().to_uppercase(),
            words::count(count, "path", "paths"),
            why.as_label().replace('_', " ")
        ));
    }
}

fn unwitnessed(view: &View, told: &mut Vec<String>) {
    let unseen: BTreeSet<&str> = view
        .targets
        .iter()
        .filter(|t| t.witnesses == 0)
        .map(|t| t.target.account.as_str())
        .collect();
    match unseen.len() {
        0 => {}
        n if n == view.targets.len() && n > 1 => {
            told.push(format!(
                "All {n} accounts: no host or VM has fresh evidence of them."
            ));
        }
        n => {
            let names: Vec<&str> = unseen.iter().take(6).copied().collect();
            let more = if n > 6 {
                format!(" and {} more", n - 6)
            } else {
                String::new()
            };
            told.push(format!(
                "{} {}{more}: no host or VM has fresh evidence.",
                if n == 1 { "Account" } else { "Accounts" },
                names.join(", ")
            ));
        }
    }
}

/// Kinds of witness that nobody has set up.
fn kinds(view: &View, told: &mut Vec<String>) {
    let has = |kind| view.vantages.iter().any(|v| v.vantage.kind() == kind);
    if !has(VantageKind::Vm) {
        told.push("What VMs see: no VM is a vantage; it is inferred from their hosts.".to_owned());
    }
    if !has(VantageKind::Node) {
        told.push(
            "The nodes' own interfaces, addresses and leases: no prober runs on a node.".to_owned(),
        );
    }
    let layers: BTreeSet<Layer> = view
        .paths
        .iter()
        .filter(|p| p.last_outcome == Some(Outcome::NotApplicable))
        .map(|p| p.key.layer)
        .collect();
    for layer in layers {
        told.push(format!(
            "{}: has no meaning on some interfaces here (not applicable); nothing is inferred from it.",
            layer.as_label().to_uppercase()
        ));
    }
}

/// The section of what cannot be seen.
pub(super) fn limits(page: &mut Html, view: &View) {
    page.raw("<section aria-labelledby=\"limits-title\">")
        .raw("<h2 id=\"limits-title\">What pnwatch cannot see right now</h2><ul class=\"limits\">");
    let told = blind_spots(view);
    for sentence in told.iter().take(MAX_SENTENCES) {
        page.element("li", "", sentence);
    }
    if told.len() > MAX_SENTENCES {
        page.element(
            "li",
            "",
            format!("And {} more.", told.len() - MAX_SENTENCES),
        );
    }
    if told.is_empty() {
        page.element(
            "li",
            "",
            "Nothing is hidden: every expected vantage reports, every check was made.",
        );
    }
    page.raw("</ul></section>");
}

/// The vantages, those first that do not report.
pub(super) fn vantages(page: &mut Html, view: &View) {
    page.raw("<section aria-labelledby=\"vantages-title\">")
        .raw("<h2 id=\"vantages-title\">Vantages</h2>");
    if view.vantages.is_empty() {
        page.element("p", "empty", "None is expected, and none reports.")
            .raw("</section>");
        return;
    }
    let (well, ill): (Vec<&VantageView>, Vec<_>) = view.vantages.iter().partition(|v| v.reporting);
    page.raw("<ul class=\"vantages\">");
    for seen in ill.iter().take(MAX_BRIEF) {
        vantage(page, seen, view);
    }
    if well.len() > FEW {
        let slowest = well.iter().filter_map(|v| v.last_report).min();
        page.raw("<li class=\"up\"><span class=\"mark\" aria-hidden=\"true\">✓</span><span class=\"name\">")
            .text(words::count(well.len(), "vantage reports", "vantages report"))
            .raw("</span><span class=\"state\"></span><span class=\"leg quiet\">");
        if let Some(last) = slowest {
            page.text(format!("the slowest {}", ago(last, view.at)));
        }
        page.raw("</span></li>");
    } else {
        for seen in &well {
            vantage(page, seen, view);
        }
    }
    page.raw("</ul>");
    if ill.len() > MAX_BRIEF || well.len() > FEW {
        page.raw("<p class=\"more\"><a href=\"/vantages\">Show all ")
            .text(view.vantages.len())
            .raw("</a></p>");
    }
    page.raw("</section>");
}

/// One vantage: whether it reports, since when not, its own leg.
pub(super) fn vantage(page: &mut Html, seen: &VantageView, view: &View) {
    let (class, sign, word) = match (seen.reporting, seen.stopping, seen.last_report) {
        (_, true, _) => ("unknown", "–", "stopping"),
        (true, ..) => ("up", "✓", "reports"),
        (false, _, None) => ("unknown", "?", "never heard"),
        (false, ..) => ("down", "✕", "silent"),
    };
    page.raw("<li class=\"")
        .raw(class)
        .raw("\"><span class=\"mark\" aria-hidden=\"true\">");
    page.raw(sign).raw("</span><span class=\"name\">");
    page.link("/vantages/", &seen.vantage.to_string(), &seen.vantage);
    page.raw("</span><span class=\"state\">").raw(word);
    if let Some(last) = seen.last_report {
        page.raw(" <span class=\"quiet\">")
            .text(ago(last, view.at))
            .raw("</span>");
    }
    page.raw("</span><span class=\"leg quiet\">");
    match &seen.link {
        Some(link) => {
            let state = match link.state {
                DeviceState::Absent => "absent",
                DeviceState::AdminDown => "down",
                DeviceState::NoCarrier => "no carrier",
                DeviceState::Up => "up",
            };
            page.text(format!("{} {state}", link.device));
            match seen.address {
                Some(address) => page.text(format!(" · {address}")),
                None => page.text(" · no PN address"),
            };
        }
        None => {
            page.text("its own interface is not known");
        }
    }
    if !seen.expected {
        page.text(" · not in the inventory");
    }
    page.raw("</span></li>");
}
