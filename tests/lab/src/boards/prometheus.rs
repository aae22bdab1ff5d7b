//! Questions to the lab's Prometheus by its HTTP API, as Grafana asks them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::http;
use crate::monitoring::PROMETHEUS_ADDRESS;
use crate::net::Namespace;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// When a range begins and ends, and the time between two of its points; Unix seconds.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// Its begin.
    pub from: f64,
    /// Its end.
    pub to: f64,
    /// From point to point.
    pub step: u64,
}

/// What came back: `data` of the answer, or why Prometheus refuses the question.
pub type Said = std::result::Result<Value, String>;

/// The value of `expr` at one instant.
pub fn instant(namespace: &Namespace, expr: &str, at: f64) -> Result<Said> {
    let query = encoded(expr);
    ask(
        namespace,
        &format!("/api/v1/query?query={query}&time={at:.3}"),
    )
}

/// The values of `expr` over a range.
pub fn range(namespace: &Namespace, expr: &str, range: Range) -> Result<Said> {
    let Range { from, to, step } = range;
    let query = encoded(expr);
    ask(
        namespace,
        &format!("/api/v1/query_range?query={query}&start={from:.3}&end={to:.3}&step={step}"),
    )
}

/// The values that `label` has in the series of `selector`.
pub fn label_values(
    namespace: &Namespace,
    (selector, label): (&str, &str),
    range: Range,
) -> Result<std::result::Result<BTreeSet<String>, String>> {
    let (matching, label) = (encoded(selector), encoded(label));
    let Range { from, to, .. } = range;
    let said = ask(
        namespace,
        &format!("/api/v1/label/{label}/values?match[]={matching}&start={from:.3}&end={to:.3}"),
    )?;
    Ok(said.map(|data| {
        let values = data.as_array().into_iter().flatten();
        values
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    }))
}

fn ask(namespace: &Namespace, path: &str) -> Result<Said> {
    let answer = http::request(
        namespace,
        "GET",
        PROMETHEUS_ADDRESS,
        path,
        "",
        REQUEST_TIMEOUT,
    )?;
    let json: Value = serde_json::from_slice(&answer.body)
        .with_context(|| format!("Prometheus answers {} without JSON", answer.status))?;
    if json["status"] == "success" {
        return Ok(Ok(json["data"].clone()));
    }
    Ok(Err(json["error"]
        .as_str()
        .unwrap_or("no reason")
        .to_owned()))
}

/// Percent-encoding of a component of a query (RFC 3986, section 2).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn a_query_survives_its_way() {
        assert_eq!(encoded("a_b{c=~\".*\"}"), "a_b%7Bc%3D~%22.%2A%22%7D");
        assert_eq!(encoded("ü&+ "), "%C3%BC%26%2B%20");
    }
}
