//! Burn rates and leases, judged from plain gauges: what pages when nobody found a culprit, and
//! what warns before anything breaks.

use core::time::Duration;

use super::{Alerting, BURN_RATE, Form, Group, Recording, Role, Settings, board};
use crate::burn::{Tier, window_label};
use crate::fault::{Alert, Severity};
use crate::metric;

/// A lease warns when this share of it is left, in thousandths (F2a).
pub const LEASE_WARNING_PERMILLE: u32 = 300;

/// A lease pages when this share of it is left, in thousandths (F2a).
pub const LEASE_CRITICAL_PERMILLE: u32 = 125;

/// A lease also pages when this is left, where that is under the warning's share of it (F2a).
pub const LEASE_CRITICAL_REMAINING: Duration = Duration::from_mins(30);

/// Burn rate of bad events that no finding explains, per account, kind of vantage and window.
fn burn_rate() -> Recording {
    Recording::new(
        "account:pnwatch_slo_burn_rate:max3m",
        format!("max without (pod, instance) (last_over_time({BURN_RATE}%[3m]))"),
    )
}

/// Checks as plain sums: what boards read where cost control keeps only sums.
fn checks() -> Recording {
    Recording::new(
        "account:pnwatch_checks:rate5m",
        format!(
            "sum by (cluster, vantage_kind, account, layer, outcome) (max without (pod, instance) (rate({}%[5m])))",
            metric::CHECKS.name
        ),
    )
}

fn lease_remaining() -> Recording {
    lease(
        "vantage:pnwatch_link_lease_remaining_seconds:max3m",
        &metric::LINK_LEASE_REMAINING,
    )
}

fn lease_duration() -> Recording {
    lease(
        "vantage:pnwatch_link_lease_duration_seconds:max3m",
        &metric::LINK_LEASE_DURATION,
    )
}

fn lease(name: &'static str, metric: &metric::Descriptor) -> Recording {
    Recording::new(
        name,
        format!(
            "max by (cluster, vantage, device) (max without (pod, instance) (last_over_time({}%[3m])))",
            metric.name
        ),
    )
}

/// A number as `PromQL`, without the noise of binary fractions.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn tier_expr(tier: &Tier, settings: &Settings, form: Form) -> String {
    let factor = number(tier.factor(settings.burn.period()));
    let read = |window| {
        let matcher = format!("window=\"{}\"", window_label(window));
        burn_rate().read(form, &matcher)
    };
    format!(
        "(\n    {} > {factor}\n    and ignoring (window)\n    {} > {factor}\n  )",
        read(tier.long),
        read(tier.short)
    )
}

fn burn(settings: &Settings, form: Form, severity: Severity, name: &str) -> Option<Alerting> {
    let tiers: Vec<&Tier> = settings
        .burn
        .tiers()
        .iter()
        .filter(|tier| tier.severity == severity)
        .collect();
    let parts: Vec<String> = tiers
        .iter()
        .map(|tier| tier_expr(tier, settings, form))
        .collect();
    let shares: Vec<String> = tiers
        .iter()
        .map(|tier| {
            let percent = number(f64::from(tier.share_permille) / 10.0);
            format!("{percent} % in {}", window_label(tier.long))
        })
        .collect();
    let runbook = Alert::BudgetBurn;
    (!tiers.is_empty()).then(|| Alerting {
        name: name.to_owned(),
        // Which window fires must not be part of the alert's identity.
        expr: format!(
            "max by (cluster, account, vantage_kind, slo) (\n  {}\n)",
            parts.join("\n  or ignoring (window)\n  ")
        ),
        hold: Duration::ZERO,
        severity: Some(severity),
        role: Role::Judge,
        runbook,
        annotations: [
            (
                "summary",
                "An account's error budget burns, and no known fault explains it".to_owned(),
            ),
            (
                "description",
                format!(
                    "Account {{{{ $labels.account }}}} in {{{{ $labels.cluster }}}}, seen from {{{{ $labels.vantage_kind }}}}s: its {{{{ $labels.slo }}}} budget burns {{{{ $value | humanize }}}} times too fast \
                     (limit: {} of the {}-day budget). Builds of this account fail to reach the cache now and then. \
                     Type: pnwatch explain {{{{ $labels.account }}}}",
                    shares.join(", or "),
                    settings.burn.period().as_secs() / 86_400
                ),
            ),
            ("runbook_url", settings.runbook(runbook, None)),
            ("dashboard_url", settings.board(board::ACCOUNT, &["cluster", "account"])),
        ]
        .into(),
    })
}

fn lease_low(settings: &Settings, form: Form, severity: Severity) -> Alerting {
    let (remaining, duration) = (
        lease_remaining().read(form, ""),
        lease_duration().read(form, ""),
    );
    let below = |permille: u32| {
        let share = number(f64::from(permille) / 1000.0);
        format!("{remaining} / {duration} < {share}")
    };
    let condition = if severity == Severity::Critical {
        let remaining_low = LEASE_CRITICAL_REMAINING.as_secs();
        // In a shorter lease the half hour is more than the warning's share: it says nothing.
        let long_lease = remaining_low * 1000 / u64::from(LEASE_WARNING_PERMILLE);
        format!(
            "(\n    {}\n    or\n    ({} and {remaining} < {remaining_low} and {duration} > {long_lease})\n  )",
            below(LEASE_CRITICAL_PERMILLE),
            below(LEASE_WARNING_PERMILLE),
        )
    } else {
        below(LEASE_WARNING_PERMILLE)
    };
    let runbook = Alert::LeaseNotRenewed;
    Alerting {
        name: "PNLeaseLow".to_owned(),
        // The name of the machine, as findings name it, so that a pushed alert can inhibit this.
        expr: format!(
            "label_replace(\n  {condition},\n  \"subject\", \"$1\", \"vantage\", \"[a-z]+/(.+)\"\n)"
        ),
        hold: Duration::from_mins(1),
        severity: Some(severity),
        role: Role::Judge,
        runbook,
        annotations: [
            (
                "summary",
                "A DHCP lease on the private network is not renewed".to_owned(),
            ),
            (
                "description",
                "{{ $labels.vantage }} in {{ $labels.cluster }}: {{ $value | humanizePercentage }} of the lease on {{ $labels.device }} is left, and nobody renews it. \
                 Nobody suffers yet; when it runs out, everything behind that address goes dark. \
                 Type on that machine: ip -4 addr show dev {{ $labels.device }} (Mac: ipconfig getpacket {{ $labels.device }}), then look at the DHCP client's log."
                    .to_owned(),
            ),
            ("runbook_url", settings.runbook_at(runbook, Some("lease_not_renewed"))),
            ("dashboard_url", settings.board(board::FLEET, &["cluster"])),
        ]
        .into(),
    }
}

/// Burn rates and leases.
pub(super) fn group(settings: &Settings, form: Form) -> Group {
    let burns = [
        burn(settings, form, Severity::Critical, "PNBudgetBurnFast"),
        burn(settings, form, Severity::Warning, "PNBudgetBurnSlow"),
    ];
    let mut alerts: Vec<Alerting> = burns.into_iter().flatten().collect();
    alerts.push(lease_low(settings, form, Severity::Critical));
    alerts.push(lease_low(settings, form, Severity::Warning));
    Group::new(
        "pnwatch-budget",
        form,
        vec![burn_rate(), checks(), lease_remaining(), lease_duration()],
        alerts,
    )
}
