//! From correlations to diagnoses: what traffic alone may say, and how loudly.
//!
//! A black hole that checks confirm has its own finding, with a better name; the correlation
//! adds none. What no client vantage confirms is a warning and says why.

use super::table::{PathSign, TrafficVerdict};
use super::{Correlation, Settings};
use crate::diagnosis::Diagnosis;
use crate::diagnosis::table::Named;
use crate::fault::{Blame, Confidence, Fault, Severity};
use crate::finding::Evidence;
use crate::time::Now;

/// What `seen` amounts to; excused targets must not come here.
pub fn diagnoses(seen: &Correlation, settings: &Settings, now: Now) -> Vec<Diagnosis> {
    let account = &seen.account;
    let mut found = Vec::new();
    let mut say = |fault, blame, confidence, since, summary: String, evidence: String| {
        let named = Named {
            fault,
            severity: Severity::Warning,
            confidence,
        };
        let mut diagnosis = Diagnosis::new(blame, account.as_str(), named, since);
        diagnosis.summary = summary;
        diagnosis.evidence = vec![Evidence {
            layer: None,
            vantage: None,
            text: evidence,
            seen_at: now.wall,
        }];
        diagnosis.missing.clone_from(&seen.missing);
        diagnosis.node.clone_from(&seen.node);
        diagnosis.account = Some(account.clone());
        diagnosis.accounts = vec![account.clone()];
        found.push(diagnosis);
    };
    let since = seen.silent_since.unwrap_or(now.tick);
    match (seen.verdict, seen.signs.path) {
        (TrafficVerdict::Blackhole, PathSign::Unwatched) => say(
            Fault::TrafficSilent,
            Blame::Account,
            Confidence::Low,
            since,
            format!(
                "account {account}: public traffic stopped; {}",
                seen.evidence
            ),
            seen.evidence.clone(),
        ),
        (TrafficVerdict::NotDispatched, _) => say(
            Fault::NotDispatched,
            Blame::ControlPlane,
            Confidence::Medium,
            since,
            format!(
                "account {account}: the endpoint works, but nobody uses it; {}",
                seen.evidence
            ),
            seen.evidence.clone(),
        ),
        _ => {}
    }
    if let Some(route) = seen.routes.first() {
        let text = format!(
            "route {}: none here, {:.1}/s elsewhere for the same account; {:.1}/s on other routes",
            route.route, route.elsewhere, route.others_here
        );
        let since = now
            .tick
            .before(route.lasted.unwrap_or(settings.dispatch_after));
        say(
            Fault::NotDispatched,
            Blame::ControlPlane,
            Confidence::Low,
            since,
            format!("account {account}: one client never learned the endpoint; {text}"),
            text,
        );
    }
    if let Some(worst) = seen
        .shedding
        .iter()
        .max_by(|a, b| a.share.total_cmp(&b.share))
    {
        let text = format!(
            "route {}: {:.0} % answered 429 or 503 ({:.0} in {} s)",
            worst.route,
            worst.share * 100.0,
            worst.shed,
            settings.traffic.window.as_secs()
        );
        say(
            Fault::Shedding,
            Blame::Account,
            Confidence::High,
            now.tick.before(settings.traffic.window),
            format!("account {account}: the cache sheds load; {text}"),
            text,
        );
    }
    found
}
