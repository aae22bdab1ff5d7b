//! What the pages are drawn from, at one instant.

use pnwatch_core::correlate::Correlation;
use pnwatch_core::finding::Finding;
use pnwatch_core::view::View;

use crate::ledger::Statement;

/// What the pages are drawn from, at one instant.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// What checks say.
    pub view: &'a View,
    /// Budgets.
    pub books: &'a Statement,
    /// Verdicts on traffic.
    pub verdicts: &'a [Correlation],
    /// Where else to go.
    pub links: &'a Links,
}

/// Places outside this exporter that the pages link to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Where people open Alertmanager, without a `/` at its end; `None` = nowhere.
    pub alertmanager: Option<String>,
}

impl Links {
    /// Alertmanager's form for a new silence, filled in for `finding` alone
    /// (`#/silences/new?filter={…}`, as its own pages link to it).
    pub(super) fn silence(&self, finding: &Finding) -> Option<String> {
        let base = self.alertmanager.as_deref()?;
        let alert = finding.alertname?;
        let identity = &finding.identity;
        let filter = format!(
            "{{alertname=\"{alert}\",cluster=\"{}\",blame=\"{}\",subject=\"{}\"}}",
            identity.cluster, identity.blame, identity.subject
        );
        let mut link = format!("{base}/#/silences/new?filter=");
        percent(&mut link, &filter);
        Some(link)
    }
}

/// Appends `text` percent-encoded as a component (RFC 3986 §2.3).
fn percent(into: &mut String, text: &str) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing into a string does not fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}
