//! The control listener: faults and made-up traffic by HTTP, on a port of its own.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /fault` | `{"kind":"hang"}`, `{"kind":"slow","ms":250}` (see [`Fault`]) | 200 and the fault, once the listener behaves so |
//! | `GET /fault` | | the fault that was ordered last |
//! | `GET /requests` | | `[{"route","status","count"}]` |
//! | `POST /traffic` | `{"route":"/_internal/replicate/artifact","status":200,"count":50}` | 200; counted as if so many requests had come |
//! | `POST /label` | `{"route":"path"}` | 200; what the label with the route is called from then on |
//! | `POST /artifact` | `{"bytes":500000}` | 200; how large what a cache read answers with is from then on |

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Shared;
use crate::fault::Fault;

/// The most requests that one order may add.
const MAX_TRAFFIC: u64 = 1_000_000_000;
/// The largest artifact: it is made anew for each answer.
const MAX_ARTIFACT: usize = 16 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Traffic {
    route: String,
    status: u16,
    count: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    route: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Artifact {
    bytes: usize,
}

pub(crate) async fn serve(
    address: SocketAddr,
    shared: Arc<Shared>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let router = Router::new()
        .route("/fault", post(set_fault).get(fault))
        .route("/requests", get(requests))
        .route("/traffic", post(traffic))
        .route("/label", post(label))
        .route("/artifact", post(artifact))
        .with_state(shared);
    let task = tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok((bound, task))
}

async fn set_fault(State(shared): State<Arc<Shared>>, Json(fault): Json<Fault>) -> Json<Fault> {
    shared.faults.switch_and_confirm(fault).await;
    Json(fault)
}

async fn fault(State(shared): State<Arc<Shared>>) -> Json<Fault> {
    Json(shared.faults.current())
}

async fn requests(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let counts = shared.counters.requests();
    let rows = counts
        .iter()
        .map(|(key, count)| json!({ "route": key.route, "status": key.status, "count": count }));
    Json(rows.collect())
}

async fn traffic(
    State(shared): State<Arc<Shared>>,
    Json(traffic): Json<Traffic>,
) -> (StatusCode, &'static str) {
    if !traffic.route.starts_with('/') || traffic.route.len() > 128 || traffic.count > MAX_TRAFFIC {
        return (
            StatusCode::BAD_REQUEST,
            "route: a path of at most 128 bytes; count: at most 1e9\n",
        );
    }
    shared
        .counters
        .record(&traffic.route, traffic.status, traffic.count, None);
    (StatusCode::OK, "counted\n")
}

async fn label(
    State(shared): State<Arc<Shared>>,
    Json(label): Json<Label>,
) -> (StatusCode, &'static str) {
    let name = label.route;
    let fits = (1..=32).contains(&name.len());
    if !fits || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return (
            StatusCode::BAD_REQUEST,
            "route: a name of 1 to 32 small letters and underscores\n",
        );
    }
    shared.counters.name_route(&name);
    (StatusCode::OK, "named\n")
}

async fn artifact(
    State(shared): State<Arc<Shared>>,
    Json(artifact): Json<Artifact>,
) -> (StatusCode, &'static str) {
    if !(1..=MAX_ARTIFACT).contains(&artifact.bytes) {
        return (
            StatusCode::BAD_REQUEST,
            "bytes: at least 1, at most 16777216\n",
        );
    }
    shared
        .artifact_bytes
        .store(artifact.bytes, Ordering::Relaxed);
    (StatusCode::OK, "so large\n")
}
