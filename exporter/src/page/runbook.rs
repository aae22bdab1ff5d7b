//! The runbooks, served beside the findings that they are about: at 3 a.m. nothing else may be
//! up. They are compiled in; their Markdown is shown block by block, as it was written.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Html as Answer;
use pnwatch_core::fault::Alert;

use super::document::still;
use super::markup::Html;
use crate::answer::Refusal;

macro_rules! runbooks {
    ($($alert:ident => $name:literal,)+) => {
        fn text(alert: Alert) -> &'static str {
            match alert {
                $(Alert::$alert => include_str!(concat!("../../../alerts/runbooks/", $name, ".md")),)+
            }
        }
    };
}

runbooks! {
    NodeUnreachable => "PNNodeUnreachable",
    LeaseNotRenewed => "PNLeaseNotRenewed",
    HostPathBroken => "PNHostPathBroken",
    EndpointNotDispatched => "PNEndpointNotDispatched",
    VantageSilent => "PNVantageSilent",
    AccountUnreachable => "PNAccountUnreachable",
    Degraded => "PNDegraded",
    ControlPlaneStale => "PNControlPlaneStale",
    AddressConflict => "PNAddressConflict",
    WrongTenant => "PNWrongTenant",
    Saturated => "PNSaturated",
    NetworkDown => "PNNetworkDown",
    MonitorBlind => "PNMonitorBlind",
    TrafficSilent => "PNTrafficSilent",
    BudgetBurn => "PNBudgetBurn",
}

/// `GET /runbooks`.
pub(super) async fn list() -> Answer<String> {
    Answer(still("Runbooks · pnwatch", |page| {
        page.element("h1", "plain", "Runbooks")
            .raw("<ul class=\"runbooks\">");
        for alert in Alert::ALL {
            page.raw("<li>").link("/runbooks/", alert.as_label(), alert);
            let first = text(*alert).lines().find(|line| line.starts_with("**"));
            page.raw(" <span class=\"quiet\">")
                .text(first.unwrap_or_default().trim_matches('*'))
                .raw("</span></li>");
        }
        page.raw("</ul>");
    }))
}

/// `GET /runbooks/ALERT`.
pub(super) async fn one(Path(name): Path<String>) -> Result<Answer<String>, Refusal> {
    // With and without the ending: `runbook_url` of rules and pages names the file.
    let Some(alert) = Alert::from_label(name.strip_suffix(".md").unwrap_or(&name)) else {
        let name: String = name.chars().take(80).collect();
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no runbook {name:?}; /runbooks lists them"),
        ));
    };
    let title = format!("{alert} · runbook · pnwatch");
    Ok(Answer(still(&title, |page| blocks(page, text(alert)))))
}

/// Headings with anchors, fenced code, lists and paragraphs; everything else as text.
fn blocks(page: &mut Html, text: &str) {
    page.raw("<article class=\"runbook\">");
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            page.raw("<div class=\"command\"><pre tabindex=\"0\"><code>");
            for code in lines.by_ref().take_while(|line| !line.starts_with("```")) {
                page.text(code).raw("\n");
            }
            page.raw("</code></pre><button type=\"button\" class=\"copy\">Copy</button></div>");
        } else if let Some(title) = line.strip_prefix("# ") {
            page.element("h1", "plain", title);
        } else if let Some(title) = line.strip_prefix("## ") {
            page.raw("<h2 id=\"")
                .text(title)
                .raw("\">")
                .text(title)
                .raw("</h2>");
        } else if line.starts_with("- ") {
            page.raw("<ul><li>");
            page.spans(line.trim_start_matches("- "));
            while let Some(item) = lines.next_if(|line| line.starts_with("- ")) {
                page.raw("</li><li>");
                page.spans(item.trim_start_matches("- "));
            }
            page.raw("</li></ul>");
        } else if !line.is_empty() {
            page.raw("<p>");
            page.spans(line);
            while let Some(more) = lines.next_if(|line| is_plain(line)) {
                page.raw(" ");
                page.spans(more);
            }
            page.raw("</p>");
        }
    }
    page.raw("</article>");
}

fn is_plain(line: &str) -> bool {
    !line.is_empty()
        && !["```", "#", "- "]
            .iter()
            .any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runbook_is_there_and_becomes_blocks() {
        for alert in Alert::ALL {
            let text = text(*alert);
            assert!(text.starts_with(&format!("# {alert}\n")), "{alert}");
            let mut page = Html::new();
            blocks(&mut page, text);
            let html = page.finish();
            assert!(!html.contains("```") && !html.contains("<p>#"), "{alert}");
            for heading in text.lines().filter_map(|line| line.strip_prefix("## ")) {
                assert!(
                    html.contains(&format!("<h2 id=\"{heading}\">")),
                    "{heading}"
                );
            }
        }
    }

    #[test]
    fn marks_become_elements_and_text_stays_text() {
        let mut page = Html::new();
        blocks(
            &mut page,
            "# A\n**b** `c<` d\ne\n- f\n- g\n```sh\nh & i\n```\n",
        );
        assert_eq!(
            page.finish(),
            "<article class=\"runbook\"><h1 class=\"plain\">A</h1><p><strong>b</strong> <code>c&lt;</code> d e</p>\
             <ul><li>f</li><li>g</li></ul><div class=\"command\"><pre tabindex=\"0\"><code>h &amp; i\n</code></pre>\
             <button type=\"button\" class=\"copy\">Copy</button></div></article>"
        );
    }
}
