//! The public routes, and the faults that live in HTTP.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};

use crate::Shared;
use crate::fault::Fault;
use crate::metrics::{Identity, is_public};

/// The tenant that a stand-in names under [`Fault::WrongTenant`].
const OTHER_TENANT: &str = "somebody-else";
/// What a cache read answers with, over and over until it is as large as was ordered: the stand-in
/// has no cache.
pub(crate) const ARTIFACT: &[u8] = b"stand-in artifact\n";

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/up", get(up))
        .route("/ready", get(ready))
        .route("/status/rollout", get(rollout))
        .route("/metrics", get(metrics))
        .route("/api/cache/module/start", any(artifact))
        .route("/api/cache/module/{id}", any(artifact))
        .route("/api/cache/cas/{id}", any(artifact))
        .route("/api/cache/keyvalue/{cas_id}", any(artifact))
        // Peers use another port with mutual TLS; on this one these paths do not exist.
        .route("/_internal/{*rest}", any(not_found))
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), observe))
        .with_state(shared)
}

/// Applies the fault, counts the answer.
async fn observe(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = route_label(request.uri().path());
    let fault = shared.faults.current();
    if !fault.delay().is_zero() {
        tokio::time::sleep(fault.delay()).await;
    }
    let response = match fault {
        Fault::Http500 => (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response(),
        Fault::Shed if is_public(&route) => {
            shared.counters.record_shed();
            (StatusCode::SERVICE_UNAVAILABLE, "shedding load\n").into_response()
        }
        _ => next.run(request).await,
    };
    let status = response.status().as_u16();
    shared
        .counters
        .record(&route, status, 1, Some(started.elapsed()));
    response
}

/// The route's pattern, as the cache labels it; internal paths keep their own name, bounded,
/// because the path is the client's.
fn route_label(path: &str) -> String {
    const PATTERNS: [(&str, &str); 3] = [
        ("/api/cache/module/", "/api/cache/module/{id}"),
        ("/api/cache/cas/", "/api/cache/cas/{id}"),
        ("/api/cache/keyvalue/", "/api/cache/keyvalue/{cas_id}"),
    ];
    match path {
        "/up" | "/ready" | "/status/rollout" | "/metrics" | "/api/cache/module/start" => {
            return path.to_owned();
        }
        _ if path.starts_with("/_internal/") => return path.chars().take(64).collect(),
        _ => {}
    }
    let pattern = PATTERNS.iter().find(|(prefix, _)| {
        path.strip_prefix(prefix)
            .is_some_and(|id| !id.is_empty() && !id.contains('/'))
    });
    pattern
        .map_or("/_unmatched", |(_, pattern)| pattern)
        .to_owned()
}

fn tenant(shared: &Shared) -> &str {
    match shared.faults.current() {
        Fault::WrongTenant => OTHER_TENANT,
        _ => &shared.config.tenant,
    }
}

fn draining(shared: &Shared) -> bool {
    shared.faults.current() == Fault::Draining
}

async fn up(State(shared): State<Arc<Shared>>) -> Response {
    let (tenant, region) = (tenant(&shared), &shared.config.region);
    let node = |region: &str| {
        format!(
            "https://kura-{tenant}-{region}-0.kura-{tenant}-{region}-headless.kura.svc.cluster.local:7443"
        )
    };
    json_answer(
        StatusCode::OK,
        &json!({
            "status": "ok", "generation": 41, "tenant_id": tenant, "region": region, "node": region,
            "node_url": node(region), "connected_nodes": [node("eu-central-1")], "ring_members": 2,
            "members": ["a", "b"], "regions": ["eu-central-1", region], "nodes": ["a", "b"],
        }),
    )
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let draining = draining(&shared);
    let (status, word, state, reasons) = if draining {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            "draining",
            json!(["draining"]),
        )
    } else {
        (StatusCode::OK, "ready", "serving", json!([]))
    };
    json_answer(
        status,
        &json!({
            "status": word, "generation": 42, "state": state, "ready": !draining,
            "draining": draining, "writer_lock_owned": true, "initial_discovery_completed": true,
            "known_peers": 1, "bootstrapped_peers": 1, "bootstrap_inflight_peers": 0,
            "http_inflight_requests": 0, "grpc_inflight_requests": 0, "reasons": reasons,
        }),
    )
}

async fn rollout(State(shared): State<Arc<Shared>>) -> Response {
    json_answer(
        StatusCode::OK,
        &json!({ "generation": 41, "draining": draining(&shared) }),
    )
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let body = shared.counters.render(Identity {
        tenant: tenant(&shared),
        region: &shared.config.region,
        ready: !draining(&shared),
        at_least: shared.config.metrics_bytes,
    });
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        body,
    )
        .into_response()
}

async fn artifact(State(shared): State<Arc<Shared>>) -> Response {
    let bytes = shared.artifact_bytes.load(Ordering::Relaxed);
    shared.counters.record_egress(bytes as u64);
    let mut body = ARTIFACT.repeat(bytes.div_ceil(ARTIFACT.len()));
    body.truncate(bytes);
    ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response()
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::route_label;

    #[test]
    fn paths_have_the_labels_of_the_cache() {
        for (path, label) in [
            ("/up", "/up"),
            ("/api/cache/module/start", "/api/cache/module/start"),
            ("/api/cache/module/abc", "/api/cache/module/{id}"),
            ("/api/cache/cas/1", "/api/cache/cas/{id}"),
            ("/api/cache/keyvalue/1", "/api/cache/keyvalue/{cas_id}"),
            ("/api/cache/module/", "/_unmatched"),
            ("/api/cache/module/a/b", "/_unmatched"),
            ("/_internal/status", "/_internal/status"),
            ("/", "/_unmatched"),
        ] {
            assert_eq!(route_label(path), label, "{path}");
        }
    }
}
