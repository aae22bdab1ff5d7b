//! The correlation in `PromQL` alone, for those who scrape the cache, but not pnwatch: public traffic
//! of an instance is zero while its internal traffic flows and the same account is busy elsewhere.
//!
//! Judged per instance (tenant and region), never per pod: a standby pod has internal traffic and
//! no public one by design. Witnesses are other regions of the same account: pods behind the same
//! node fall silent together. Correlation alone only warns: a quiet region looks the same.

use core::time::Duration;

use super::{Alerting, CACHE_FAMILIES, Form, Group, Recording, Role, Settings, board};
use crate::fault::{Alert, Severity};

/// Requests per second elsewhere that prove the account is at work (6 in 5 minutes; the real
/// outages had thousands in hours).
const BUSY: &str = "0.02";

/// Internal requests per second that prove the instance is alive.
const ALIVE: &str = "0.1";

/// Routes that clients use: everything but probes and the peers' own.
const PUBLIC: &str = "route!~\"/_internal/.*|/up|/ready|/status/rollout|/metrics|/_unmatched\"";

const INTERNAL: &str = "route=~\"/_internal/.*\"";

/// What names an instance of an account's cache.
const INSTANCE: &str = "cluster, env, tenant_id, region";

/// Requests per second by instance. The counter's name has a doubled suffix in one generation of
/// the cache's metrics library and a single one in another.
fn requests(name: &'static str, fixed: &'static str, also: &str) -> Recording {
    let pod = "cluster, env, namespace, pod";
    let [doubled, single, info] = CACHE_FAMILIES;
    Recording {
        name,
        template: format!(
            "sum by ({INSTANCE}{also}) (\n  \
             sum by ({pod}{also}) (rate({doubled}%[5m]) or rate({single}%[5m]))\n  \
             * on ({pod}) group_left (tenant_id, region)\n  \
             max by ({pod}, tenant_id, region) ({info})\n)"
        ),
        fixed,
    }
}

fn public() -> Recording {
    requests("tenant_region:kura_public_requests:rate5m", PUBLIC, "")
}

fn internal() -> Recording {
    requests("tenant_region:kura_internal_requests:rate5m", INTERNAL, "")
}

fn shed() -> Recording {
    requests(
        "tenant_region:kura_shed_requests:rate5m",
        "route!~\"/_internal/.*|/up|/ready|/status/rollout|/metrics|/_unmatched\",status=~\"503|429\"",
        "",
    )
}

fn by_route() -> Recording {
    requests(
        "tenant_region_route:kura_public_requests:rate5m",
        PUBLIC,
        ", route",
    )
}

struct Twin {
    name: &'static str,
    expr: String,
    hold: Duration,
    runbook: Alert,
    summary: &'static str,
    description: &'static str,
}

fn silent(form: Form) -> Twin {
    Twin {
        name: "PNCacheSilent",
        expr: format!(
            "(\n    {} > {ALIVE}\n    unless on ({INSTANCE})\n    {} > 0\n  )\n  \
             and on (env, tenant_id)\n  sum by (env, tenant_id) ({}) > {BUSY}",
            internal().read(form, ""),
            public().read(form, ""),
            public().read(form, "")
        ),
        hold: Duration::from_mins(10),
        runbook: Alert::TrafficSilent,
        summary: "Nobody reaches an account's cache, while the same account is busy elsewhere",
        description: "Cache of {{ $labels.tenant_id }} in {{ $labels.region }} ({{ $labels.cluster }}): no public request for 10 minutes, {{ $value | humanize }} internal ones a second, and the same account is served elsewhere. \
                      Its builds probably hang; this is only a warning because no vantage confirms it. \
                      Type on a build host: curl -m 2 -sS http://NODE_PN_ADDRESS:NODEPORT/up",
    }
}

fn route_silent(form: Form) -> Twin {
    Twin {
        name: "PNCacheRouteSilent",
        expr: format!(
            "(\n    {route} == 0\n    and on ({INSTANCE})\n    {} > {BUSY}\n  )\n  \
             and on (env, tenant_id, route)\n  sum by (env, tenant_id, route) ({route}) > {BUSY}",
            public().read(form, ""),
            route = by_route().read(form, "")
        ),
        hold: Duration::from_mins(30),
        runbook: Alert::EndpointNotDispatched,
        summary: "One kind of client stopped using an account's cache",
        description: "Cache of {{ $labels.tenant_id }} in {{ $labels.region }} ({{ $labels.cluster }}): nobody has asked for {{ $labels.route }} for 30 minutes, while its other routes are busy and this one is busy elsewhere. \
                      One client may not know the endpoint: its builds run without the near cache. Type in a job of that client: echo $TUIST_CACHE_ENDPOINT",
    }
}

fn shedding(form: Form) -> Twin {
    Twin {
        name: "PNCacheShedding",
        expr: format!(
            "{} / {public} > 0.05\n  and\n  {public} > {ALIVE}",
            shed().read(form, ""),
            public = public().read(form, "")
        ),
        hold: Duration::from_mins(5),
        runbook: Alert::Degraded,
        summary: "An account's cache sheds load",
        description: "Cache of {{ $labels.tenant_id }} in {{ $labels.region }} ({{ $labels.cluster }}) answers {{ $value | humanizePercentage }} of its requests with 503 or 429: builds retry and are slow. \
                      Type: kubectl -n kura top pods, and look at its CPU, memory and disk.",
    }
}

impl Twin {
    fn alerting(self, settings: &Settings) -> Alerting {
        Alerting {
            name: self.name.to_owned(),
            // The label that pushed alerts carry, so that they can inhibit this.
            expr: format!(
                "label_replace(\n  {},\n  \"account\", \"$1\", \"tenant_id\", \"(.+)\"\n)",
                self.expr
            ),
            hold: self.hold,
            severity: Some(Severity::Warning),
            role: Role::Twin,
            runbook: self.runbook,
            annotations: [
                ("summary", self.summary.to_owned()),
                ("description", self.description.to_owned()),
                (
                    "runbook_url",
                    settings.runbook_at(self.runbook, Some(self.name)),
                ),
                (
                    "dashboard_url",
                    settings.board(board::ACCOUNT, &["cluster", "account"]),
                ),
            ]
            .into(),
        }
    }
}

/// The correlation in `PromQL` alone.
pub(super) fn group(settings: &Settings, form: Form) -> Group {
    let twins = [silent(form), route_silent(form), shedding(form)];
    Group::new(
        "pnwatch-cache",
        form,
        vec![public(), internal(), shed(), by_route()],
        twins.map(|twin| twin.alerting(settings)).to_vec(),
    )
}
