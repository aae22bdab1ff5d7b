//! Who watches the watcher: the dead man's switch, a missing exporter, blind vantages, failing
//! pushes and unreadable inputs.

use core::time::Duration;

use super::{Alerting, Form, Group, Role, Settings, board, findings};
use crate::fault::{Alert, Severity};
use crate::metric;

const MINUTE: Duration = Duration::from_mins(1);

struct Watch {
    name: &'static str,
    expr: String,
    hold: Duration,
    severity: Severity,
    summary: &'static str,
    description: &'static str,
}

impl Watch {
    fn alerting(self, settings: &Settings, role: Role, variables: &[&str]) -> Alerting {
        let runbook = Alert::MonitorBlind;
        Alerting {
            name: self.name.to_owned(),
            expr: self.expr,
            hold: self.hold,
            severity: Some(self.severity),
            role,
            runbook,
            annotations: [
                ("summary", self.summary.to_owned()),
                ("description", self.description.to_owned()),
                ("runbook_url", settings.runbook_at(runbook, Some(self.name))),
                ("dashboard_url", settings.board(board::MONITOR, variables)),
            ]
            .into(),
        }
    }
}

fn watchdog() -> Watch {
    Watch {
        name: "PNWatchdog",
        expr: "vector(1)".to_owned(),
        hold: Duration::ZERO,
        severity: Severity::Info,
        summary: "The path from rules to people works",
        description: "This alert always fires. Send it to a dead man's switch that pages when it stops: \
                      then Prometheus, its rules or Alertmanager are broken, and no other page will come.",
    }
}

fn absent() -> Watch {
    Watch {
        name: "PNMonitorAbsent",
        expr: format!("absent(max_over_time({}[1d]))", metric::BUILD_INFO.name),
        hold: 5 * MINUTE,
        severity: Severity::Critical,
        summary: "No pnwatch exporter is scraped",
        description: "No pnwatch exporter was scraped for a day, or ever: nobody watches the private network. \
                      Type: kubectl get pods,servicemonitors -A -l app.kubernetes.io/name=pnwatch, and look for the target in Prometheus.",
    }
}

fn gone() -> Watch {
    let info = metric::BUILD_INFO.name;
    Watch {
        name: "PNMonitorGone",
        expr: format!(
            "max by (cluster) (max without (pod, instance) (max_over_time({info}[1d])))\n\
             unless on (cluster)\n  max by (cluster) (max without (pod, instance) ({info}))"
        ),
        hold: 5 * MINUTE,
        severity: Severity::Critical,
        summary: "The pnwatch exporter of a cluster is gone",
        description: "The exporter of {{ $labels.cluster }} was scraped within the last day and is not now: nobody watches its private network. \
                      Type: kubectl get pods -A -l app.kubernetes.io/name=pnwatch, then kubectl logs of that pod.",
    }
}

/// Hosts and VMs are the client vantages: absent VMs alone are no blindness.
fn silent(severity: Severity, hold: Duration) -> Watch {
    Watch {
        name: "PNVantagesSilent",
        expr: format!(
            "sum by (cluster) (max without (pod, instance) \
             (last_over_time({}{{vantage_kind=~\"host|vm\"}}[3m]))) == 0",
            metric::VANTAGE_REPORTING.name
        ),
        hold,
        severity,
        summary: "No host or VM reports to pnwatch",
        description: "None of the client vantages of {{ $labels.cluster }} reports, so nothing that a build would see is measured. \
                      Type: pnwatch status; then on one Mac, tail -n 50 /var/log/tuist-pnwatch.log.",
    }
}

fn unmeasured() -> Watch {
    let by = "cluster, account, kind, node";
    Watch {
        name: "PNTargetsUnmeasured",
        expr: format!(
            "count by (cluster) (\n  \
             max by ({by}) (max without (pod, instance) (max_over_time({}[3m]))) == 1\n  \
             unless on ({by})\n  \
             max by ({by}) (max without (pod, instance) (max_over_time({}[3m]))) > 0\n) > 0",
            metric::TARGET_EXPECTED.name,
            metric::TARGET_STATE.name
        ),
        hold: 10 * MINUTE,
        severity: Severity::Warning,
        summary: "Cache endpoints are expected, but not measured",
        description: "{{ $value }} endpoints of {{ $labels.cluster }} have had no verdict for 10 minutes: if one broke, nobody would be told. \
                      Type: pnwatch status, and look for unknown.",
    }
}

fn push_failing(form: Form) -> Watch {
    Watch {
        name: "PNPushFailing",
        expr: format!(
            "{} > 180\nand on (cluster)\n  max by (cluster) ({}) == 1",
            findings::push_age().read(form, ""),
            findings::open().read(form, "")
        ),
        hold: Duration::ZERO,
        severity: Severity::Warning,
        summary: "pnwatch has findings, but cannot push them to Alertmanager",
        description: "No exporter of {{ $labels.cluster }} has reached Alertmanager {{ if gt $value 1e9 }}since it started{{ else }}for {{ $value | humanizeDuration }}{{ end }}: pages come late, through the back-up rules; no build suffers by it. \
                      Type: kubectl logs of the exporter, and look for alertmanager.",
    }
}

fn inventory_unreadable() -> Watch {
    Watch {
        name: "PNInventoryUnreadable",
        expr: format!(
            "min by (cluster) (min without (pod, instance) (last_over_time({}[3m]))) == 0",
            metric::INVENTORY_LOAD_SUCCESS.name
        ),
        hold: 10 * MINUTE,
        severity: Severity::Warning,
        summary: "The inventory file cannot be used",
        description: "An exporter of {{ $labels.cluster }} goes on with an old inventory: new accounts and nodes are not watched, and nobody is told when their builds hang. \
                      Type: pnwatch check --config FILE, and read the exporter's log for the line that is wrong.",
    }
}

fn tokens_unreadable() -> Watch {
    Watch {
        name: "PNTokensUnreadable",
        expr: format!(
            "max by (cluster) (max without (pod, instance) (last_over_time({}[3m]))) > 0",
            metric::TOKEN_FILES_UNREADABLE.name
        ),
        hold: 10 * MINUTE,
        severity: Severity::Warning,
        summary: "Token files of vantages cannot be read",
        description: "{{ $value }} token files of an exporter in {{ $labels.cluster }} cannot be read: after its next restart these vantages are refused, and nobody sees what their builds see. \
                      Type: kubectl describe pod of the exporter, and look at the mounted secrets.",
    }
}

/// The rules about pnwatch itself.
pub(super) fn group(settings: &Settings, form: Form) -> Group {
    let watches = [
        absent(),
        gone(),
        silent(Severity::Warning, MINUTE),
        silent(Severity::Critical, 10 * MINUTE),
        unmeasured(),
        push_failing(form),
        inventory_unreadable(),
        tokens_unreadable(),
    ];
    let mut alerts = vec![watchdog().alerting(settings, Role::Heartbeat, &[])];
    alerts.extend(watches.map(|watch| {
        let variables: &[&str] = if watch.name == "PNMonitorAbsent" {
            &[]
        } else {
            &["cluster"]
        };
        watch.alerting(settings, Role::Monitor, variables)
    }));
    Group::new("pnwatch-monitor", form, Vec::new(), alerts)
}
