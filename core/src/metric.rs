//! The metrics that pnwatch publishes: one descriptor each, the contract of rules and boards.
//!
//! Everything that leaves `/metrics` is described here and nowhere else; a golden file
//! (`exporter/tests/golden/metrics.txt`) makes a change of the contract visible in review.
//! `cluster` is the first label of every metric. Labels hold validated names or words of closed
//! enums, never an error text; an address appears only where it is what the metric is about.

/// What a metric's samples mean (Prometheus data model).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, until a restart.
    Counter,
    /// Any value.
    Gauge,
    /// Counts of observations below bounds.
    Histogram,
}

impl MetricKind {
    /// The word after `# TYPE name`.
    pub fn as_word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric's value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// 0 or 1.
    Flag,
    /// A code that the help text explains.
    State,
    /// Seconds.
    Seconds,
    /// Seconds since the Unix epoch.
    Time,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// A share, or how many times.
    Ratio,
}

impl Unit {
    /// The word in docs and golden file.
    pub fn as_word(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Flag => "flag",
            Self::State => "state",
            Self::Seconds => "seconds",
            Self::Time => "unix seconds",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes/second",
            Self::Ratio => "ratio",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Its name.
    pub name: &'static str,
    /// What its samples mean.
    pub kind: MetricKind,
    /// What its value counts.
    pub unit: Unit,
    /// Its labels in order, after `cluster`.
    pub labels: &'static [&'static str],
    /// One sentence for `# HELP`.
    pub help: &'static str,
}

/// The label that comes first on every metric.
pub const CLUSTER_LABEL: &str = "cluster";

/// Prefix of the probers' own metrics, which travel in their reports.
pub const PROBER_PREFIX: &str = "pnwatch_prober_";

/// Upper bounds in seconds of the duration histograms. A healthy check on a private network
/// takes 50 µs to 1 ms; one SYN retransmit takes 1 s; 3.2 s is where a check is abandoned.
pub const DURATION_BUCKETS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 1.3, 3.2,
];

/// Above this many paths `pnwatch_path_state` is left out: sums and states say enough.
pub const MAX_PATH_SERIES: usize = 5_000;

macro_rules! metrics {
    ($($id:ident = $name:literal $kind:ident $unit:ident [$($label:literal),*] $help:literal;)+) => {
        $(#[doc = $help] pub const $id: Descriptor = Descriptor {
            name: $name,
            kind: MetricKind::$kind,
            unit: Unit::$unit,
            labels: &[$($label),*],
            help: $help,
        };)+
        /// Every metric, in the order of `/metrics`.
        pub const ALL: &[Descriptor] = &[$($id),+];
    };
}

metrics! {
    BUILD_INFO = "pnwatch_build_info" Gauge Flag ["version"]
        "The version that runs; always 1.";
    START_TIME = "pnwatch_start_time_seconds" Gauge Time []
        "When this exporter began to judge.";
    CHECKS = "pnwatch_checks_total" Counter Count ["vantage_kind", "account", "node", "layer", "outcome"]
        "Checks by what they saw; account is empty for checks of a node, both are empty for control checks.";
    CHECK_FAILURES = "pnwatch_check_failures_total" Counter Count ["vantage_kind", "account", "node", "layer", "cause"]
        "Checks that did not reach their target, by cause; a cause appears with its first failure.";
    CHECK_DURATION = "pnwatch_check_duration_seconds" Histogram Seconds ["vantage_kind", "account", "layer"]
        "Round trips of successful checks by the prober's own clock.";
    CHECK_KERNEL_RTT = "pnwatch_check_kernel_rtt_seconds" Histogram Seconds ["vantage_kind", "account", "layer"]
        "Round trips by the kernel's clock, which a starved prober cannot distort.";
    PATHS = "pnwatch_paths" Gauge Count []
        "Paths that have evidence.";
    PATH_STATE = "pnwatch_path_state" Gauge State ["vantage", "account", "kura_instance", "kind", "node", "layer"]
        "One vantage's view of one target: 0 unknown, 1 up, 2 degraded, 3 suspect, 4 down; left out above 5000 paths.";
    TARGET_EXPECTED = "pnwatch_target_expected" Gauge Flag ["account", "kura_instance", "kind", "node"]
        "1 for every account target of the inventory.";
    TARGET_STATE = "pnwatch_target_state" Gauge State ["account", "kura_instance", "kind", "node"]
        "What client vantages find of an account target: 0 unknown, 1 up, 2 degraded, 3 suspect, 4 down.";
    NODE_STATE = "pnwatch_node_state" Gauge State ["node"]
        "What client vantages find of a node's PN address: 0 unknown, 1 up, 2 degraded, 3 suspect, 4 down.";
    FINDING_ACTIVE = "pnwatch_finding_active" Gauge Flag ["blame", "subject", "fault", "severity", "node", "host", "account"]
        "1 for every open finding.";
    FINDINGS_OPEN = "pnwatch_findings_open" Gauge Count ["blame", "severity"]
        "Open findings; always there, also at 0.";
    TRAFFIC_VERDICT = "pnwatch_traffic_verdict" Gauge Flag ["account", "verdict"]
        "1 for the verdict on the public traffic of the account's pods, 0 for the others; two can be 1 where an account has two instances.";
    ACCOUNT_EGRESS = "pnwatch_account_egress_bytes_per_second" Gauge BytesPerSecond ["account", "node"]
        "What the account's pods on the node send to clients, by their own counters; absent where they are not scraped.";
    ACCOUNT_EGRESS_CAP = "pnwatch_account_egress_cap_bytes_per_second" Gauge BytesPerSecond ["account", "node"]
        "What the account's pods on the node may send: by the annotation kubernetes.io/egress-bandwidth, else as configured.";
    NODE_OVERSUBSCRIPTION = "pnwatch_node_oversubscription_ratio" Gauge Ratio ["node"]
        "Sum of the egress caps of the node's accounts against what its PN device carries; absent where nobody knows that.";
    SLO_OBJECTIVE = "pnwatch_slo_objective_ratio" Gauge Ratio ["slo"]
        "Share of good checks that is promised.";
    SLO_BURN_RATE = "pnwatch_slo_burn_rate" Gauge Ratio ["account", "vantage_kind", "slo", "window"]
        "How many times too fast bad checks that no finding explains spend the error budget; absent where too few were measured.";
    SLO_BUDGET_REMAINING = "pnwatch_slo_error_budget_remaining_ratio" Gauge Ratio ["account", "vantage_kind", "slo"]
        "What is left of the period's error budget, explained checks included; negative where it is overspent.";
    LEDGER_LAST_SUCCESS = "pnwatch_ledger_last_success_timestamp_seconds" Gauge Time []
        "When budgets and open findings were last written to disk; 0 before the first.";
    LEDGER_WRITES = "pnwatch_ledger_writes_total" Counter Count ["result"]
        "Transactions of the ledger.";
    LEDGER_VOLATILE = "pnwatch_ledger_volatile" Gauge Flag []
        "1 while budgets and open findings are in memory alone and would not survive a restart.";
    VANTAGE_EXPECTED = "pnwatch_vantage_expected" Gauge Flag ["vantage", "vantage_kind"]
        "1 for every vantage of the inventory.";
    VANTAGE_REPORTING = "pnwatch_vantage_reporting" Gauge Flag ["vantage", "vantage_kind"]
        "Whether the vantage reports.";
    VANTAGE_LAST_REPORT = "pnwatch_vantage_last_report_timestamp_seconds" Gauge Time ["vantage", "vantage_kind"]
        "When the vantage's last report came.";
    LINK_UP = "pnwatch_link_up" Gauge Flag ["vantage", "device"]
        "Whether the vantage's PN device is there and running.";
    LINK_ADDRESS_INFO = "pnwatch_link_address_info" Gauge Flag ["vantage", "device", "address"]
        "1 for every IPv4 address that the PN device holds.";
    LINK_LEASE_REMAINING = "pnwatch_link_lease_remaining_seconds" Gauge Seconds ["vantage", "device"]
        "What is left of the PN address's lease; absent for an address without a lifetime.";
    LINK_LEASE_DURATION = "pnwatch_link_lease_duration_seconds" Gauge Seconds ["vantage", "device"]
        "The PN address's lease as it was granted.";
    NETWORK_RECEIVE = "pnwatch_node_network_receive_bytes_total" Counter Bytes ["node", "device", "plane"]
        "Bytes that the node's device received.";
    NETWORK_TRANSMIT = "pnwatch_node_network_transmit_bytes_total" Counter Bytes ["node", "device", "plane"]
        "Bytes that the node's device sent.";
    NETWORK_RECEIVE_DROPS = "pnwatch_node_network_receive_drop_total" Counter Count ["node", "device", "plane"]
        "Packets that the node's device dropped on receive.";
    NETWORK_TRANSMIT_DROPS = "pnwatch_node_network_transmit_drop_total" Counter Count ["node", "device", "plane"]
        "Packets that the node's device dropped on transmit.";
    NETWORK_RECEIVE_ERRORS = "pnwatch_node_network_receive_errs_total" Counter Count ["node", "device", "plane"]
        "Packets that came broken over the node's device.";
    NETWORK_TRANSMIT_ERRORS = "pnwatch_node_network_transmit_errs_total" Counter Count ["node", "device", "plane"]
        "Packets that the node's device could not send for an error of its link.";
    NETWORK_PEAK = "pnwatch_node_network_peak_bytes_per_second" Gauge BytesPerSecond ["node", "device", "plane", "direction", "window"]
        "Highest throughput of any one second in the trailing window.";
    NETWORK_THROUGHPUT = "pnwatch_node_network_throughput_bytes_per_second" Histogram BytesPerSecond ["node", "device", "plane", "direction"]
        "Seconds by their throughput since the node's prober began; the sum is bytes, those of a device that was made anew included.";
    NETWORK_PLATEAU = "pnwatch_node_network_plateau_bytes_per_second" Gauge BytesPerSecond ["node", "device", "plane", "direction"]
        "Flat level that followed a burst, while it holds; whether something is in the way is told by pnwatch_finding_active{fault=\"saturated\"}.";
    NETWORK_CAPACITY = "pnwatch_node_network_capacity_bytes_per_second" Gauge BytesPerSecond ["node", "device", "plane"]
        "Link speed: of the PN device as configured, else as the driver tells it.";
    NETWORK_CLAMP = "pnwatch_node_network_clamp_bytes_per_second" Gauge BytesPerSecond ["node", "device", "direction"]
        "Level of the last clamp of the PN device since the exporter began: its learned capacity; whether it holds now is told by pnwatch_finding_active{fault=\"saturated\"}.";
    INGEST_REPORTS = "pnwatch_ingest_reports_total" Counter Count ["result"]
        "Reports that came, by what became of them.";
    PLAN_REQUESTS = "pnwatch_plan_requests_total" Counter Count ["result"]
        "Plan requests, by how they were answered.";
    PAGE_REFUSALS = "pnwatch_page_requests_refused_total" Counter Count ["reason"]
        "Requests that the page listener refused, by reason: another name, too many, no reader.";
    GATE_ANSWERS = "pnwatch_gate_answers_total" Counter Count ["result"]
        "Questions to the gate, by what it said; refused = the question does not read, or no room to wait.";
    GATE_OVERRIDES = "pnwatch_gate_overrides_total" Counter Count []
        "Questions whose asker goes on whatever the gate says; the log has the reasons.";
    GATE_WAITING = "pnwatch_gate_waiting" Gauge Count []
        "Questions that wait for the gate to open now.";
    TOKEN_FILES_UNREADABLE = "pnwatch_token_files_unreadable" Gauge Count []
        "Vantage token files that cannot be read now; their last content stays in use.";
    CONFIG_LOAD_SUCCESS = "pnwatch_config_last_reload_success" Gauge Flag []
        "Whether the configuration could be used when it was last read again (SIGHUP); on 0 the one before stays in use.";
    TLS_LOAD_SUCCESS = "pnwatch_tls_last_load_success" Gauge Flag []
        "Whether the listeners' certificate as it is now could be used; on 0 the one before stays in use.";
    INVENTORY_LOAD_SUCCESS = "pnwatch_inventory_last_load_success" Gauge Flag []
        "Whether the inventory file as it is now could be used; on 0 the one before stays in use.";
    INVENTORY_LOAD_TIME = "pnwatch_inventory_last_load_success_timestamp_seconds" Gauge Time []
        "When the inventory in use was read.";
    INVENTORY_STALE_SINCE = "pnwatch_inventory_stale_since_timestamp_seconds" Gauge Time []
        "Since when the cluster's objects cannot all be followed and what was last known is used; 0 while they can.";
    ALERTMANAGER_LAST_SUCCESS = "pnwatch_alertmanager_last_success_timestamp_seconds" Gauge Time ["alertmanager"]
        "When the Alertmanager last accepted a post; 0 before the first.";
    ALERTMANAGER_POSTS = "pnwatch_alertmanager_posts_total" Counter Count ["alertmanager", "result"]
        "Posts to the Alertmanager.";
    ALERTMANAGER_REJECTED = "pnwatch_alertmanager_alerts_rejected_total" Counter Count ["alertmanager"]
        "Alerts that the Alertmanager refused one by one.";
    ALERTMANAGER_SILENT = "pnwatch_alertmanager_silent" Gauge Flag []
        "1 while this replica sends no alerts of the network because no vantage reports to it.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Prometheus naming practices: base units, `_total` for counters and only for them.
    #[test]
    fn names_follow_the_conventions_of_the_field() {
        let mut names = BTreeSet::new();
        for metric in ALL {
            let name = metric.name;
            assert!(names.insert(name), "{name} twice");
            assert!(name.starts_with("pnwatch_"), "{name}");
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert_eq!(
                name.ends_with("_total"),
                metric.kind == MetricKind::Counter,
                "{name}"
            );
            assert!(!metric.labels.contains(&CLUSTER_LABEL), "{name}");
            let labels: BTreeSet<_> = metric.labels.iter().collect();
            assert_eq!(labels.len(), metric.labels.len(), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
            match metric.unit {
                Unit::Seconds | Unit::Time => assert!(name.ends_with("_seconds"), "{name}"),
                Unit::BytesPerSecond => assert!(name.ends_with("_bytes_per_second"), "{name}"),
                Unit::Bytes => assert!(name.ends_with("_bytes_total"), "{name}"),
                Unit::Count | Unit::Flag | Unit::State | Unit::Ratio => {}
            }
        }
        assert!(DURATION_BUCKETS.is_sorted());
    }
}
