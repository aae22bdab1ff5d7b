//! The back-up: open findings whose push failed, read from a plain 0/1 gauge.

use core::fmt::Write as _;
use core::time::Duration;

use super::{Alerting, Form, Group, Recording, Role, Settings, board, words};
use crate::fault::{Alert, Blame, Fault};
use crate::metric;

/// What is added to a pushed alert's name for its back-up.
pub const SUFFIX: &str = "Backup";

/// Labels of a back-up: the finding's identity and whom it names, without the fault, so that a
/// fault that sharpens does not become a second alert.
const IDENTITY: &str = "cluster, blame, subject, severity, node, host, account";

/// Open findings that alert, per fault; the range bridges a missed scrape.
pub(super) fn open() -> Recording {
    Recording {
        name: "fault:pnwatch_finding_active:max3m",
        template: format!(
            "max without (pod, instance) (max_over_time({}%[3m]))",
            metric::FINDING_ACTIVE.name
        ),
        fixed: "severity=~\"critical|warning\"",
    }
}

/// Seconds since any replica last reached any Alertmanager.
pub(super) fn push_age() -> Recording {
    Recording::new(
        "cluster:pnwatch_push_age_seconds:min5m",
        format!(
            "time() - max by (cluster) (max without (pod, instance) (max_over_time({}%[5m])))",
            metric::ALERTMANAGER_LAST_SUCCESS.name
        ),
    )
}

/// Open findings as plain sums, for boards behind cost control.
fn count() -> Recording {
    Recording::new(
        "cluster:pnwatch_findings_open:sum",
        format!(
            "sum by (cluster, severity) (max without (pod, instance) ({}%))",
            metric::FINDINGS_OPEN.name
        ),
    )
}

/// Which findings raise `alert`: faults per blame, `None` = whoever is blamed.
pub fn faults_of(alert: Alert) -> Vec<(Option<Blame>, Vec<Fault>)> {
    let raises = |fault: Fault, blame: Blame| fault.alert(blame) == Some(alert);
    let always = |fault: &Fault| Blame::ALL.iter().all(|blame| raises(*fault, *blame));
    let unscoped: Vec<Fault> = Fault::ALL.iter().copied().filter(always).collect();
    let scoped = Blame::ALL.iter().map(|blame| {
        let faults = Fault::ALL.iter().copied();
        let faults = faults.filter(|fault| raises(*fault, *blame) && !always(fault));
        (Some(*blame), faults.collect::<Vec<_>>())
    });
    core::iter::once((None, unscoped))
        .chain(scoped)
        .filter(|(_, faults)| !faults.is_empty())
        .collect()
}

fn matchers(blame: Option<Blame>, faults: &[Fault]) -> String {
    let faults: Vec<&str> = faults.iter().map(|fault| fault.as_label()).collect();
    let mut text = String::new();
    if let Some(blame) = blame {
        // Writing to a String cannot fail.
        let _ = write!(text, "blame=\"{blame}\",");
    }
    let _ = match faults.as_slice() {
        [one] => write!(text, "fault=\"{one}\""),
        many => write!(text, "fault=~\"{}\"", many.join("|")),
    };
    text
}

fn backup(settings: &Settings, form: Form, alert: Alert) -> Alerting {
    let parts: Vec<String> = faults_of(alert)
        .iter()
        .map(|(blame, faults)| open().read(form, &matchers(*blame, faults)))
        .collect();
    let expr = format!(
        "max by ({IDENTITY}) (\n  {}\n) == 1\nunless on (cluster)\n  {} < {}",
        parts.join("\n  or\n  "),
        push_age().read(form, ""),
        settings.push_healthy.as_secs()
    );
    let words = words::of(alert);
    Alerting {
        name: format!("{alert}{SUFFIX}"),
        expr,
        hold: Duration::ZERO,
        severity: None,
        role: Role::Backup,
        runbook: alert,
        annotations: [
            ("summary", format!("{} (pnwatch could not push this)", words.summary)),
            (
                "description",
                format!(
                    "{{{{ $labels.blame }}}} {{{{ $labels.subject }}}} in {{{{ $labels.cluster }}}}: {}. \
                     {} Type: {} The fault and its evidence: pnwatch status.",
                    words.summary, words.impact, words.command
                ),
            ),
            ("runbook_url", settings.runbook(alert, None)),
            ("dashboard_url", settings.board(board::FLEET, &["cluster"])),
        ]
        .into(),
    }
}

/// One back-up per pushed alert, and what they read.
pub(super) fn group(settings: &Settings, form: Form) -> Group {
    let alerts = Alert::ALL
        .iter()
        .map(|alert| backup(settings, form, *alert))
        .collect();
    Group::new(
        "pnwatch-findings",
        form,
        vec![open(), push_age(), count()],
        alerts,
    )
}
