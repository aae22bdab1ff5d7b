//! The counters and their text, in the shape that the cache's encoder writes.
//!
//! Its quirks are kept on purpose, because a reader must survive them: the sample of a counter
//! carries `_total` twice while its TYPE line carries it once, `# EOF` ends a body that is served
//! as text 0.0.4, and a family that was never used is absent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Upper bounds of the latency histogram in milliseconds: powers of two from 1 ms to 32.8 s.
const BUCKETS_MS: [u64; 16] = [
    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768,
];

/// A route as the cache names it (its pattern, not the path) and the status of the answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteCount {
    /// E.g. `/api/cache/module/{id}`.
    pub route: String,
    /// The HTTP status.
    pub status: u16,
}

#[derive(Debug, Default)]
struct Latency {
    count: u64,
    sum_seconds: f64,
    buckets: [u64; BUCKETS_MS.len()],
}

#[derive(Debug, Default)]
struct Numbers {
    /// What the label with the route is called; `None` = as the cache calls it.
    route_label: Option<String>,
    requests: BTreeMap<RouteCount, u64>,
    latency: BTreeMap<String, Latency>,
    sheds: u64,
    egress_bytes: u64,
}

/// Everything that the stand-in counts.
#[derive(Debug)]
pub(crate) struct Counters {
    started: SystemTime,
    numbers: Mutex<Numbers>,
}

/// What `/metrics` says beside the counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) region: &'a str,
    pub(crate) ready: bool,
    /// Least size of the body in bytes.
    pub(crate) at_least: usize,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            started: SystemTime::now(),
            numbers: Mutex::new(Numbers::default()),
        }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        // Counters hold no invariant that a panic elsewhere could break.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn requests(&self) -> BTreeMap<RouteCount, u64> {
        self.numbers().requests.clone()
    }

    /// Counts requests. `took` is given for answered public cache requests only: probe and
    /// internal routes are not in the latency histogram.
    pub(crate) fn record(&self, route: &str, status: u16, count: u64, took: Option<Duration>) {
        let mut numbers = self.numbers();
        let key = RouteCount {
            route: route.to_owned(),
            status,
        };
        let requests = numbers.requests.entry(key).or_default();
        *requests = requests.saturating_add(count);
        let took = took.or_else(|| is_public(route).then_some(Duration::from_millis(3)));
        let Some(took) = took.filter(|_| is_public(route) && count > 0) else {
            return;
        };
        let latency = numbers.latency.entry(route.to_owned()).or_default();
        latency.count = latency.count.saturating_add(count);
        latency.sum_seconds += took.as_secs_f64() * count as f64;
        for (bound, bucket) in BUCKETS_MS.iter().zip(&mut latency.buckets) {
            if took <= Duration::from_millis(*bound) {
                *bucket = bucket.saturating_add(count);
            }
        }
    }

    pub(crate) fn record_shed(&self) {
        let mut numbers = self.numbers();
        numbers.sheds = numbers.sheds.saturating_add(1);
    }

    /// From now on the label with the route has another name, as after an upgrade.
    pub(crate) fn name_route(&self, label: &str) {
        self.numbers().route_label = Some(label.to_owned());
    }

    pub(crate) fn record_egress(&self, bytes: u64) {
        let mut numbers = self.numbers();
        numbers.egress_bytes = numbers.egress_bytes.saturating_add(bytes);
    }

    /// The whole `/metrics` body.
    pub(crate) fn render(&self, identity: Identity<'_>) -> String {
        let mut text = String::with_capacity(identity.at_least.max(4096) + 256);
        // Writing to a String cannot fail.
        let _ = self.write(&mut text, identity);
        text
    }

    fn write(&self, text: &mut String, identity: Identity<'_>) -> std::fmt::Result {
        let numbers = self.numbers();
        let label = numbers.route_label.as_deref().unwrap_or("route");
        if !numbers.requests.is_empty() {
            head(
                text,
                "kura_http_requests_total",
                "counter",
                "Total number of HTTP requests.",
            )?;
            for (key, count) in &numbers.requests {
                let (route, status) = (escaped(&key.route), key.status);
                writeln!(
                    text,
                    "kura_http_requests_total_total{{{label}=\"{route}\",status=\"{status}\"}} {count}"
                )?;
            }
        }
        if !numbers.latency.is_empty() {
            head(
                text,
                "kura_public_request_latency_seconds",
                "histogram",
                "Time to first response byte for public cache requests by transport and route.",
            )?;
            for (route, latency) in &numbers.latency {
                write_latency(text, (label, &escaped(route)), latency)?;
            }
        }
        head(text, "kura_node_info", "gauge", "Static node information.")?;
        let (region, tenant) = (escaped(identity.region), escaped(identity.tenant));
        writeln!(
            text,
            "kura_node_info{{region=\"{region}\",tenant_id=\"{tenant}\"}} 1"
        )?;
        if numbers.sheds > 0 {
            head(
                text,
                "kura_capacity_sheds_total",
                "counter",
                "Requests shed by capacity kind.",
            )?;
            let sheds = numbers.sheds;
            writeln!(
                text,
                "kura_capacity_sheds_total_total{{kind=\"multipart_uploads\"}} {sheds}"
            )?;
        }
        head(text, "kura_ready_state", "gauge", "Readiness state.")?;
        writeln!(text, "kura_ready_state {}", u8::from(identity.ready))?;
        head(
            text,
            "kura_artifact_egress_bytes_total",
            "counter",
            "Bytes sent to clients.",
        )?;
        writeln!(
            text,
            "kura_artifact_egress_bytes_total_total {}",
            numbers.egress_bytes
        )?;
        head(
            text,
            "kura_process_start_time_seconds",
            "gauge",
            "Process start time.",
        )?;
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        writeln!(
            text,
            "kura_process_start_time_seconds {}",
            started.as_secs()
        )?;
        write_padding(text, identity.at_least)?;
        text.push_str("# EOF\n");
        Ok(())
    }
}

/// Whether the cache counts `route` among its public cache requests.
pub(crate) fn is_public(route: &str) -> bool {
    !route.starts_with("/_internal/")
        && !matches!(
            route,
            "/up" | "/ready" | "/status/rollout" | "/metrics" | "/_unmatched"
        )
}

fn head(text: &mut String, family: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {family} {help}\n# TYPE {family} {kind}")
}

fn write_latency(
    text: &mut String,
    (label, route): (&str, &str),
    latency: &Latency,
) -> std::fmt::Result {
    let name = "kura_public_request_latency_seconds";
    let labels = format!("transport=\"http\",{label}=\"{route}\"");
    writeln!(text, "{name}_sum{{{labels}}} {}", latency.sum_seconds)?;
    writeln!(text, "{name}_count{{{labels}}} {}", latency.count)?;
    for (bound, bucket) in BUCKETS_MS.iter().zip(latency.buckets) {
        let (seconds, millis) = (bound / 1000, bound % 1000);
        writeln!(
            text,
            "{name}_bucket{{le=\"{seconds}.{millis:03}\",{labels}}} {bucket}"
        )?;
    }
    writeln!(
        text,
        "{name}_bucket{{le=\"+Inf\",{labels}}} {}",
        latency.count
    )
}

/// Fills the body up with a family of its own, so that a read spans many TCP segments.
fn write_padding(text: &mut String, at_least: usize) -> std::fmt::Result {
    if text.len() >= at_least {
        return Ok(());
    }
    head(
        text,
        "standin_padding",
        "gauge",
        "Fills the body up to the size that was asked for.",
    )?;
    let mut line = 0_u32;
    while text.len() < at_least {
        writeln!(text, "standin_padding{{line=\"{line:06}\"}} 0")?;
        line += 1;
    }
    Ok(())
}

/// A label value by the rules of the text format: backslash, quote and newline escaped.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(at_least: usize) -> Identity<'static> {
        Identity {
            tenant: "tuist",
            region: "scw-fr-par-runners",
            ready: true,
            at_least,
        }
    }

    #[test]
    fn families_are_absent_until_used() {
        let counters = Counters::new();
        let text = counters.render(identity(0));
        assert!(!text.contains("kura_http_requests_total"));
        assert!(!text.contains("kura_public_request_latency_seconds"));
        assert!(
            text.contains("kura_node_info{region=\"scw-fr-par-runners\",tenant_id=\"tuist\"} 1\n")
        );
        assert!(text.ends_with("# EOF\n"));

        counters.record("/up", 200, 2, None);
        let text = counters.render(identity(0));
        assert!(text.contains("# TYPE kura_http_requests_total counter\n"));
        assert!(text.contains("kura_http_requests_total_total{route=\"/up\",status=\"200\"} 2\n"));
        assert!(!text.contains("kura_public_request_latency_seconds"));
    }

    #[test]
    fn public_requests_are_in_the_histogram_and_cumulative() {
        let counters = Counters::new();
        let route = "/api/cache/module/{id}";
        counters.record(route, 200, 1, Some(Duration::from_millis(3)));
        counters.record(route, 200, 2, Some(Duration::from_mins(1)));
        counters.record("/_internal/status", 200, 5, Some(Duration::from_millis(1)));
        let text = counters.render(identity(0));
        let series = "transport=\"http\",route=\"/api/cache/module/{id}\"}";
        for (le, count) in [("0.002", 0), ("0.004", 1), ("32.768", 1), ("+Inf", 3)] {
            let line = format!(
                "kura_public_request_latency_seconds_bucket{{le=\"{le}\",{series} {count}\n"
            );
            assert!(text.contains(&line), "{line} missing in\n{text}");
        }
        assert!(!text.contains("route=\"/_internal/status\"}"));
    }

    #[test]
    fn the_body_can_be_large() {
        let text = Counters::new().render(identity(30_000));
        assert!((30_000..31_000).contains(&text.len()));
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn label_values_are_escaped() {
        let counters = Counters::new();
        counters.record("/a\"b\\c\nd", 404, 1, None);
        assert!(
            counters
                .render(identity(0))
                .contains(r#"{route="/a\"b\\c\nd",status="404"}"#)
        );
    }
}
