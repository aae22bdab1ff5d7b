//! How the story is told: prose for people, JSON lines for programs.

use std::io::Write as _;

use pnwatch_core::finding::{Change, Transition};
use pnwatch_core::time::spoken;
use serde_json::json;

use super::story::Act;

/// Tells the story on standard output.
pub(super) struct Teller {
    json: bool,
}

impl Teller {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    fn line(text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that went away ends nothing: the page is still there.
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    pub(super) fn say(&self, text: &str) {
        if self.json {
            Self::line(&json!({ "event": "note", "text": text }).to_string());
        } else {
            Self::line(text);
        }
    }

    /// Where the page is.
    pub(super) fn page(&self, address: std::net::SocketAddr) {
        let url = format!("http://{address}/");
        if self.json {
            Self::line(&json!({ "event": "page", "url": url }).to_string());
        } else {
            Self::line(&format!("page: {url}"));
        }
    }

    pub(super) fn breaking(&self, act: Act, account: &str) {
        self.deed(
            "break",
            act,
            account,
            &format!("\n✂ account {account}: {}", act.deed()),
        );
    }

    pub(super) fn mending(&self, act: Act, account: &str) {
        self.deed(
            "mend",
            act,
            account,
            &format!("✚ account {account}: mended"),
        );
    }

    fn deed(&self, event: &str, act: Act, account: &str, prose: &str) {
        if self.json {
            let expected = act.expected();
            Self::line(
                &json!({ "event": event, "account": account, "expected": expected }).to_string(),
            );
        } else {
            Self::line(prose);
        }
    }

    pub(super) fn transition(&self, transition: &Transition) {
        let finding = &transition.finding;
        if self.json {
            let line = json!({ "event": transition.change, "finding": finding });
            Self::line(&line.to_string());
            return;
        }
        match transition.change {
            Change::Opened => {
                Self::line(&format!(
                    "▲ FOUND {} ({}, {} confidence) {} after the first miss",
                    finding.fault,
                    finding.severity,
                    finding.confidence,
                    spoken(finding.opened_at.since(finding.started_at))
                ));
                Self::line(&format!("    {}", finding.summary));
                for evidence in &finding.evidence {
                    let layer = evidence.layer.map_or("", |layer| layer.as_label());
                    Self::line(&format!("    {layer:>4}  {}", evidence.text));
                }
                if let Some(repair) = &finding.repair {
                    let command = repair.command.as_deref().unwrap_or(&repair.text);
                    Self::line(&format!("    next  {}: {command}", repair.place));
                }
            }
            Change::Sharpened => Self::line(&format!("▲ SHARPER {}", finding.summary)),
            Change::Closed => {
                let closed = finding.closed_at.unwrap_or(finding.opened_at);
                Self::line(&format!(
                    "▼ CLOSED {} of {} after {}",
                    finding.fault,
                    finding.identity.subject,
                    spoken(closed.since(finding.started_at))
                ));
            }
        }
    }
}
