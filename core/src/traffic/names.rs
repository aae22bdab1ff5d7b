//! Names of metric families, labels and routes: all configurable, the cache's as default.

/// What a route is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteClass {
    /// What a build asks for.
    Public,
    /// Between cache pods.
    Internal,
    /// Probes, scrapes and paths that match nothing: never counted as traffic.
    Probe,
}

/// Names of metric families, labels and routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Counter of requests per route and status. The same name with another `_total` is
    /// accepted too: the cache's client library appends one.
    pub requests: String,
    /// Histogram of public requests only (its `_count` is read).
    pub latency: String,
    /// Info series that carries tenant and region.
    pub node_info: String,
    /// Gauge: start of the process, Unix seconds.
    pub started: String,
    /// Counter of bytes sent to clients, with or without another `_total`.
    pub egress: String,
    /// Label of the route.
    pub route_label: String,
    /// Label of the HTTP status.
    pub status_label: String,
    /// Label of the tenant on [`Names::node_info`].
    pub tenant_label: String,
    /// Label of the region on [`Names::node_info`].
    pub region_label: String,
    /// Prefix of routes between cache pods.
    pub internal_prefix: String,
    /// Routes that probes and scrapers use, exactly.
    pub probe_routes: Vec<String>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            requests: "kura_http_requests_total".into(),
            latency: "kura_public_request_latency_seconds".into(),
            node_info: "kura_node_info".into(),
            started: "kura_process_start_time_seconds".into(),
            egress: "kura_artifact_egress_bytes_total".into(),
            route_label: "route".into(),
            status_label: "status".into(),
            tenant_label: "tenant_id".into(),
            region_label: "region".into(),
            internal_prefix: "/_internal/".into(),
            probe_routes: [
                "/up",
                "/ready",
                "/status/rollout",
                "/metrics",
                "/_unmatched",
            ]
            .map(String::from)
            .to_vec(),
        }
    }
}

impl Names {
    /// What `route` is used for.
    pub fn classify(&self, route: &str) -> RouteClass {
        if route.starts_with(&self.internal_prefix) {
            RouteClass::Internal
        } else if self.probe_routes.iter().any(|probe| probe == route) {
            RouteClass::Probe
        } else {
            RouteClass::Public
        }
    }
}
