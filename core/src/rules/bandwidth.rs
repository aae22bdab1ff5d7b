//! Nodes' network devices, judged from plain gauges and counters: full, slower than they were,
//! dropping, broken. Slow, never down: nothing here pages.

use core::time::Duration;

use super::{Alerting, Form, Group, Role, Settings, board};
use crate::fault::{Alert, Severity};
use crate::metric::{self, Descriptor};

const MINUTE: Duration = Duration::from_mins(1);

/// A device warns when every quarter of a minute has a second above this share of its capacity.
pub const FULL_SHARE: f64 = 0.9;

/// A device warns when it drops more packets a second than this. A few a second are normal: what
/// nobody on the machine listens to counts as dropped on receive.
pub const DROPS_PER_SECOND: u32 = 100;

/// A device warns when it counts more errors a second than this.
pub const ERRORS_PER_SECOND: u32 = 1;

struct Watch {
    name: &'static str,
    expr: String,
    hold: Duration,
    runbook: Alert,
    summary: &'static str,
    description: &'static str,
}

/// Per device, of however many replicas: `read` is what is read of `metric`.
fn device(metric: &Descriptor, read: impl FnOnce(&str) -> String) -> String {
    format!(
        "max by (cluster, node, device, plane) (max without (pod, instance) ({}))",
        read(metric.name)
    )
}

fn rate(metric: &Descriptor) -> String {
    device(metric, |name| format!("rate({name}[5m])"))
}

fn capacity() -> String {
    device(&metric::NETWORK_CAPACITY, |name| {
        format!("last_over_time({name}[3m])")
    })
}

fn full() -> Watch {
    let peak = device(&metric::NETWORK_PEAK, |name| {
        format!("min_over_time({name}{{window=\"15s\"}}[5m])")
    });
    Watch {
        name: "PNLinkFull",
        expr: format!("{peak}\n/\n{}\n> {FULL_SHARE}", capacity()),
        hold: 5 * MINUTE,
        runbook: Alert::Saturated,
        summary: "A cache node's link is full",
        description: "{{ $labels.device }} ({{ $labels.plane }}) of node {{ $labels.node }} in {{ $labels.cluster }} has reached {{ $value | humanizePercentage }} of its capacity again and again for 10 minutes: builds of all accounts that share it are slow. \
                      Who fills it is on the board. Type on the node: ip -s link show {{ $labels.device }} twice, ten seconds apart.",
    }
}

fn slow() -> Watch {
    let best = device(&metric::NETWORK_CAPACITY, |name| {
        format!("max_over_time({name}[1d])")
    });
    Watch {
        name: "PNLinkSlow",
        expr: format!("{}\n<\n{best}", capacity()),
        hold: 5 * MINUTE,
        runbook: Alert::Saturated,
        summary: "A cache node's link is slower than it was",
        description: "{{ $labels.device }} ({{ $labels.plane }}) of node {{ $labels.node }} in {{ $labels.cluster }} now runs at {{ $value | humanize }}B/s, and was faster within the last day: a cable, a port or a module has fallen back. Builds of all accounts that share it may be slow. \
                      Type on the node: ethtool {{ $labels.device }}, then journalctl -k -n 50.",
    }
}

fn drops() -> Watch {
    Watch {
        name: "PNLinkDrops",
        expr: format!(
            "{}\n+\n{}\n> {DROPS_PER_SECOND}",
            rate(&metric::NETWORK_RECEIVE_DROPS),
            rate(&metric::NETWORK_TRANSMIT_DROPS)
        ),
        hold: 10 * MINUTE,
        runbook: Alert::Saturated,
        summary: "A cache node's device drops packets",
        description: "{{ $labels.device }} ({{ $labels.plane }}) of node {{ $labels.node }} in {{ $labels.cluster }} drops {{ $value | humanize }} packets a second: builds of the accounts on it retry and are slow. \
                      Type on the node: ip -s -s link show {{ $labels.device }}, then ethtool -S {{ $labels.device }}.",
    }
}

fn errors() -> Watch {
    Watch {
        name: "PNLinkErrors",
        expr: format!(
            "{}\n+\n{}\n> {ERRORS_PER_SECOND}",
            rate(&metric::NETWORK_RECEIVE_ERRORS),
            rate(&metric::NETWORK_TRANSMIT_ERRORS)
        ),
        hold: 5 * MINUTE,
        runbook: Alert::Degraded,
        summary: "Packets break on a cache node's link",
        description: "{{ $labels.device }} ({{ $labels.plane }}) of node {{ $labels.node }} in {{ $labels.cluster }} counts {{ $value | humanize }} errors a second: a cable, a port or a module is bad. Builds of the accounts on it retry and are slow. \
                      Type on the node: ip -s -s link show {{ $labels.device }}, then ethtool -S {{ $labels.device }}.",
    }
}

impl Watch {
    fn alerting(self, settings: &Settings) -> Alerting {
        Alerting {
            name: self.name.to_owned(),
            expr: self.expr,
            hold: self.hold,
            severity: Some(Severity::Warning),
            role: Role::Judge,
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
                    settings.board(board::BANDWIDTH, &["cluster", "node"]),
                ),
            ]
            .into(),
        }
    }
}

/// The rules about nodes' devices.
pub(super) fn group(settings: &Settings, form: Form) -> Group {
    let watches = [full(), slow(), drops(), errors()];
    Group::new(
        "pnwatch-bandwidth",
        form,
        Vec::new(),
        watches.map(|watch| watch.alerting(settings)).to_vec(),
    )
}
