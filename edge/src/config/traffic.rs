//! `serve.traffic`: where the numbers of the cache pods' own traffic come from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pnwatch_core::traffic::Names;

use super::section::{Findings, FromNode, FromSection, Place, Section};
use super::serve::{between, headers};
use super::tree::Node;
use super::value::{BaseUrl, word};

/// Where the numbers of the cache pods' own traffic come from, and when silence means anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// Who is asked.
    pub source: TrafficSource,
    /// Between two looks at one pod; with `promql` the interval at which Prometheus scrapes.
    pub interval: Duration,
    /// Span over which rates are taken, and the least silence that means anything.
    pub window: Duration,
    /// Silence on a path that works that means anything.
    pub dispatch_after: Duration,
    /// The Prometheus or Mimir to ask.
    pub prometheus: Option<PrometheusSource>,
    /// How demand is proven; `None` = it is not known.
    pub demand: Option<DemandQuery>,
    /// Names of families, labels and routes.
    pub names: Names,
}

/// Who is asked for the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficSource {
    /// The pods whose metrics URL the inventory knows; nobody where it knows none.
    #[default]
    Auto,
    /// The pods; that the inventory knows no URL is told.
    Scrape,
    /// A Prometheus or Mimir.
    Promql,
    /// Nobody: no traffic is judged.
    None,
}

/// A Prometheus or Mimir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusSource {
    /// Its base URL, with the path prefix if it has one.
    pub url: BaseUrl,
    /// How long one query may take.
    pub timeout: Duration,
    /// A bearer token.
    pub token_file: Option<PathBuf>,
    /// The certificate authority of its certificate; `None` = the system's.
    pub ca_file: Option<PathBuf>,
    /// More request headers: basic authorization, `X-Scope-OrgID`.
    pub headers: BTreeMap<String, String>,
    /// Selector of the cache pods' series, without braces.
    pub selector: String,
    /// Label of the pod's name.
    pub pod_label: String,
}

/// A query of running jobs per account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemandQuery {
    /// The query.
    pub query: String,
    /// Label of the account in the answer.
    pub account_label: String,
    /// An account that is not in a non-empty answer has no demand. Off: it is unknown.
    pub absent_is_none: bool,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            source: TrafficSource::Auto,
            interval: Duration::from_secs(5),
            window: Duration::from_mins(1),
            dispatch_after: Duration::from_mins(15),
            prometheus: None,
            demand: None,
            names: Names::default(),
        }
    }
}

impl FromSection for Traffic {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let source = section.or("source", TrafficSource::Auto);
        let seconds = if source == TrafficSource::Promql {
            60
        } else {
            5
        };
        let interval = between(section, "interval", seconds, 1, 300);
        // Three looks at least: a rate over fewer is none.
        let least = interval.as_secs().saturating_mul(3).max(10);
        let window = between(section, "window", least.max(60), least, 3600);
        let dispatch_after = between(section, "dispatch_after", 900, 60, 86_400);
        let prometheus = section.optional("prometheus");
        let demand = section.optional("demand");
        let lacks = "a `prometheus` section is required for that; add it beside this key";
        if !section.has("prometheus") {
            if source == TrafficSource::Promql {
                section.refuse("source", lacks);
            }
            if section.has("demand") {
                section.refuse("demand", lacks);
            }
        }
        Some(Self {
            source,
            interval,
            window,
            dispatch_after,
            prometheus,
            demand,
            names: section.or("names", Names::default()),
        })
    }
}

impl FromNode for TrafficSource {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let words = &[
            ("auto", Self::Auto),
            ("scrape", Self::Scrape),
            ("promql", Self::Promql),
            ("none", Self::None),
        ];
        word(node, place, findings, words)
    }
}

impl FromSection for PrometheusSource {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let url = section.required("url", "http://ADDRESS:9090");
        let timeout = between(section, "timeout", 10, 1, 60);
        let token_file = section.optional("token_file");
        let ca_file = section.optional("ca_file");
        let headers = headers(section);
        let selector: String = section.or("selector", "job=\"kura\"".to_owned());
        if selector.contains(['{', '}']) {
            section.refuse(
                "selector",
                "write the matchers without braces, like job=\"kura\"",
            );
        }
        Some(Self {
            url: url?,
            timeout,
            token_file,
            ca_file,
            headers,
            selector,
            pod_label: section.or("pod_label", "pod".to_owned()),
        })
    }
}

impl FromSection for DemandQuery {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let query = section.required("query", "sum by (account) (running_jobs)");
        let account_label = section.or("account_label", "account".to_owned());
        let absent_is_none = section.or("absent_is_none", false);
        Some(Self {
            query: query?,
            account_label,
            absent_is_none,
        })
    }
}

impl FromSection for Names {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let d = Self::default();
        Some(Self {
            requests: section.or("requests", d.requests),
            latency: section.or("latency", d.latency),
            node_info: section.or("node_info", d.node_info),
            started: section.or("started", d.started),
            egress: section.or("egress", d.egress),
            route_label: section.or("route_label", d.route_label),
            status_label: section.or("status_label", d.status_label),
            tenant_label: section.or("tenant_label", d.tenant_label),
            region_label: section.or("region_label", d.region_label),
            internal_prefix: section.or("internal_prefix", d.internal_prefix),
            probe_routes: section.or("probe_routes", d.probe_routes),
        })
    }
}
