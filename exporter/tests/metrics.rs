//! The contract of `/metrics`: descriptors against a golden file, real output against descriptors.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use common::{ACCOUNT, NODE, Setup, healthy, node_lost, path, report};
use pnwatch_core::metric::{ALL, CLUSTER_LABEL, MetricKind, PROBER_PREFIX};
use serde_json::json;

/// Golden files are rewritten with `PNWATCH_BLESS=1`.
fn golden(name: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("PNWATCH_BLESS").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == text,
        "{name} changed. Rules and boards rely on it: if it is meant, run with PNWATCH_BLESS=1.\n{text}"
    );
}

#[test]
fn the_descriptors_are_the_golden_file() {
    let mut text = String::new();
    for metric in ALL {
        let labels: Vec<&str> = [CLUSTER_LABEL]
            .into_iter()
            .chain(metric.labels.iter().copied())
            .collect();
        writeln!(
            text,
            "{}{{{}}} {} [{}]\n    {}",
            metric.name,
            labels.join(","),
            metric.kind.as_word(),
            metric.unit.as_word(),
            metric.help
        )
        .unwrap();
    }
    writeln!(
        text,
        "{PROBER_PREFIX}*{{{CLUSTER_LABEL},vantage}} counter if *_total, else gauge\n    As the vantage's prober reports it of itself."
    )
    .unwrap();
    golden("metrics.txt", &text);
}

/// One sample: name, labels, value. A strict reader of the text format 0.0.4.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

fn parse(line: &str) -> Sample {
    let (name, mut rest) = line.split_once('{').unwrap_or_else(|| panic!("{line}"));
    let mut labels = BTreeMap::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            let value = after.trim().parse().unwrap_or_else(|_| panic!("{line}"));
            return Sample {
                name: name.to_owned(),
                labels,
                value,
            };
        }
        rest = rest.strip_prefix(',').unwrap_or(rest);
        let (label, quoted) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        let mut text = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("{line}")) {
                (_, '\\') => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some(c @ ('\\' | '"')) => text.push(c),
                    _ => panic!("bad escape: {line}"),
                },
                (at, '"') => break at + 1,
                (_, c) => text.push(c),
            }
        };
        assert!(
            labels.insert(label.to_owned(), text).is_none(),
            "label twice: {line}"
        );
        rest = &quoted[end..];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_said_is_declared() {
    let mut setup = Setup::new();
    let pod = pnwatch_standin::Standin::start(pnwatch_standin::StandinConfig::loopback("acme"))
        .await
        .unwrap();
    let watched = common::INVENTORY.replace(
        "port: 30815",
        &format!(
            "port: 30815, egress_cap: 300M, metrics: \"http://{}/metrics\"",
            pod.address()
        ),
    );
    common::replace(&setup.dir.path().join("inventory.yaml"), &watched);
    setup.serve().traffic.interval = std::time::Duration::from_secs(1);
    setup.serve().state_dir = Some(setup.dir.path().join("state"));
    let it = setup
        .alertmanagers(
            &["http://127.0.0.1:1".to_owned()],
            std::time::Duration::from_mins(1),
        )
        .start()
        .await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    let mut node = report("node/kura-fleet-1", 1, &[]);
    node["link"] = json!({ "held_us": 1_000_000, "facts": {
        "device": "pn0", "state": "up", "addresses": [
            { "address": "172.16.0.2", "prefix_len": 22, "valid_for_s": 40, "renewed_ago_s": 20 },
        ],
    }});
    node["counters"] = json!([
        { "name": "late_checks_total", "value": 3.0 }, { "name": "plan_age_seconds", "value": 1.5 },
    ]);
    node["devices"] = json!([{
        "device": "pn0", "plane": "pn", "receive_bytes": 1000, "transmit_bytes": 2000,
        "receive_drops": 1, "speed_bps": 10_000_000_000u64,
        "transmit_plateau": { "level": 25_000_000, "burst": 100_000_000, "held_ms": 7_000 },
        "peaks": [{ "window_s": 15, "receive": 100, "transmit": 200 }],
        "receive_throughput": {
            "seconds": [5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], "bytes": 9_000_000_000u64,
        },
        // Counted by bounds that this exporter does not know.
        "transmit_throughput": { "seconds": [5, 1], "bytes": 100 },
    }]);
    it.report(&node).await;
    it.lose_the_node(2).await;
    // The ledger tells of itself every few seconds, and of a burn rate once enough was measured.
    let mut seq = 1_000;
    let text = loop {
        it.report(&node_lost("host/mini-1", seq)).await;
        it.report(&node_lost("host/mini-2", seq)).await;
        seq += 1;
        let text = it.metrics().await;
        if text.contains("\npnwatch_slo_burn_rate{")
            && text.contains("\npnwatch_traffic_verdict{")
            && text.contains("\npnwatch_account_egress_bytes_per_second{")
            && text.contains("\npnwatch_node_network_clamp_bytes_per_second{")
        {
            break text;
        }
        assert!(seq < 1_200, "no burn rate: {text}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let mut kinds = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut series = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none());
        }
        if line.starts_with('#') {
            continue;
        }
        let sample = parse(line);
        assert!(sample.value.is_finite(), "{line}");
        assert!(
            series.insert(line.rsplit_once(' ').unwrap().0.to_owned()),
            "twice: {line}"
        );
        assert_eq!(sample.labels[CLUSTER_LABEL], "staging", "{line}");
        if sample.name.starts_with(PROBER_PREFIX) {
            continue;
        }
        let declared = ALL.iter().find(|d| {
            sample.name == d.name
                || d.kind == MetricKind::Histogram
                    && ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|end| sample.name.strip_suffix(end) == Some(d.name))
        });
        let Some(declared) = declared else {
            panic!("not declared: {line}");
        };
        seen.insert(declared.name);
        assert_eq!(kinds[declared.name], declared.kind.as_word(), "{line}");
        let mut expected: BTreeSet<&str> = declared.labels.iter().copied().collect();
        expected.insert(CLUSTER_LABEL);
        if sample.name.ends_with("_bucket") {
            expected.insert("le");
        }
        let has: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
        assert_eq!(has, expected, "{line}");
    }
    let unseen: Vec<&str> = ALL
        .iter()
        .map(|d| d.name)
        .filter(|n| !seen.contains(n))
        .collect();
    assert_eq!(
        unseen,
        Vec::<&str>::new(),
        "declared, but this exporter never says it"
    );
    let view = it.json("/v1/view").await;
    let budget = &view["budgets"][0];
    assert_eq!(
        (&budget["account"], &budget["slo"]),
        (&json!("acme"), &json!("reachability"))
    );
    assert!(budget["burn"]["5m"].is_number(), "{budget}");
    assert!(view["ledger"]["volatile_since"].is_null(), "{view}");
    for (line, value) in [
        (
            "pnwatch_checks_total{cluster=\"staging\",vantage_kind=\"host\",account=\"acme\",node=\"kura-fleet-1\",layer=\"http\",outcome=\"reached\"}",
            20.0,
        ),
        (
            "pnwatch_checks_total{cluster=\"staging\",vantage_kind=\"host\",account=\"acme\",node=\"kura-fleet-1\",layer=\"http\",outcome=\"unreached\"}",
            0.0,
        ),
        (
            "pnwatch_check_duration_seconds_bucket{cluster=\"staging\",vantage_kind=\"host\",account=\"acme\",layer=\"http\",le=\"0.00025\"}",
            0.0,
        ),
        (
            "pnwatch_check_duration_seconds_bucket{cluster=\"staging\",vantage_kind=\"host\",account=\"acme\",layer=\"http\",le=\"0.0005\"}",
            4.0,
        ),
        (
            "pnwatch_check_duration_seconds_count{cluster=\"staging\",vantage_kind=\"host\",account=\"acme\",layer=\"http\"}",
            4.0,
        ),
        (
            "pnwatch_check_kernel_rtt_seconds_bucket{cluster=\"staging\",vantage_kind=\"host\",account=\"acme\",layer=\"http\",le=\"0.0001\"}",
            2.0,
        ),
        (
            "pnwatch_link_lease_duration_seconds{cluster=\"staging\",vantage=\"node/kura-fleet-1\",device=\"pn0\"}",
            60.0,
        ),
        (
            "pnwatch_node_network_peak_bytes_per_second{cluster=\"staging\",node=\"kura-fleet-1\",device=\"pn0\",plane=\"pn\",direction=\"transmit\",window=\"15s\"}",
            200.0,
        ),
        (
            "pnwatch_node_network_capacity_bytes_per_second{cluster=\"staging\",node=\"kura-fleet-1\",device=\"pn0\",plane=\"pn\"}",
            1.25e9,
        ),
        (
            "pnwatch_account_egress_cap_bytes_per_second{cluster=\"staging\",account=\"acme\",node=\"kura-fleet-1\"}",
            37.5e6,
        ),
        (
            // 300 Mbit/s of caps against a clamp at 200 Mbit/s.
            "pnwatch_node_oversubscription_ratio{cluster=\"staging\",node=\"kura-fleet-1\"}",
            1.5,
        ),
        (
            "pnwatch_node_network_clamp_bytes_per_second{cluster=\"staging\",node=\"kura-fleet-1\",device=\"pn0\",direction=\"transmit\"}",
            25e6,
        ),
        (
            "pnwatch_node_network_throughput_bytes_per_second_bucket{cluster=\"staging\",node=\"kura-fleet-1\",device=\"pn0\",plane=\"pn\",direction=\"receive\",le=\"3125000000\"}",
            6.0,
        ),
        (
            "pnwatch_node_network_throughput_bytes_per_second_count{cluster=\"staging\",node=\"kura-fleet-1\",device=\"pn0\",plane=\"pn\",direction=\"receive\"}",
            8.0,
        ),
        (
            "pnwatch_node_network_throughput_bytes_per_second_sum{cluster=\"staging\",node=\"kura-fleet-1\",device=\"pn0\",plane=\"pn\",direction=\"receive\"}",
            9e9,
        ),
        (
            "pnwatch_prober_late_checks_total{cluster=\"staging\",vantage=\"node/kura-fleet-1\"}",
            3.0,
        ),
        (
            "pnwatch_findings_open{cluster=\"staging\",blame=\"node\",severity=\"critical\"}",
            1.0,
        ),
        (
            "pnwatch_findings_open{cluster=\"staging\",blame=\"account\",severity=\"critical\"}",
            0.0,
        ),
        (
            "pnwatch_alertmanager_last_success_timestamp_seconds{cluster=\"staging\",alertmanager=\"127.0.0.1:1\"}",
            0.0,
        ),
    ] {
        let found = text
            .lines()
            .find_map(|l| l.strip_prefix(line))
            .map(|v| v.trim().parse::<f64>().unwrap());
        assert_eq!(found, Some(value), "{line}");
    }
    assert_eq!(kinds["pnwatch_prober_late_checks_total"], "counter");
    assert_eq!(kinds["pnwatch_prober_plan_age_seconds"], "gauge");
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_that_heard_nobody_yet_answers_a_scrape() {
    let it = Setup::new().start().await;
    let text = it.metrics().await;
    assert!(text.contains("pnwatch_target_expected{cluster=\"staging\",account=\"acme\""));
    assert!(!text.contains("pnwatch_check_failures_total"));
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_report_invents_makes_no_series() {
    let it = Setup::new().start().await;
    let invented: Vec<_> = (0..500)
        .map(|n| {
            path(
                &format!("account:a{n}/i{n}/nodeport"),
                "tcp",
                "reached",
                900,
                10,
            )
        })
        .chain([
            path(NODE, "arp", "reached", 900, 10),
            path(ACCOUNT, "tcp", "reached", 900, 10),
        ])
        .collect();
    it.report(&report("host/mini-1", 1, &invented)).await;
    // A scrape may be answered from a snapshot of up to 100 ms ago.
    let names = common::until("the report in /metrics", async || {
        let text = it.metrics().await;
        let names: BTreeSet<String> = text
            .lines()
            .filter(|line| line.starts_with("pnwatch_checks_total"))
            .map(|line| parse(line).labels["account"].clone())
            .collect();
        (!names.is_empty()).then_some(names)
    })
    .await;
    assert_eq!(names, [String::new(), "acme".to_owned()].into());
    it.stop().await;
}
