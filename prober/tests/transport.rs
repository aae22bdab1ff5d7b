//! The HTTP way to an exporter: what goes over the wire, and what the answers mean.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use pnwatch_core::plan::Pace;
use pnwatch_core::wire::Report;
use pnwatch_edge::config::{BaseUrl, ExporterEndpoint};
use pnwatch_prober::transport::{HttpTransport, Transport, TransportError};

#[derive(Clone, Default)]
struct Seen {
    status: Arc<Mutex<u16>>,
    reports: Arc<Mutex<Vec<(HeaderMap, Report)>>>,
    queries: Arc<Mutex<Vec<String>>>,
}

async fn take(State(seen): State<Seen>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(&body[..])
        .read_to_end(&mut json)
        .expect("gzip");
    let report = Report::from_json(&json).expect("acceptable");
    seen.reports.lock().unwrap().push((headers, report));
    StatusCode::from_u16(*seen.status.lock().unwrap()).unwrap()
}

async fn hand_out(
    State(seen): State<Seen>,
    Query(query): Query<std::collections::BTreeMap<String, String>>,
) -> Response {
    seen.queries.lock().unwrap().push(format!("{query:?}"));
    let plan = support::plan(
        "127.0.0.0/8",
        &["127.0.0.1:1".parse().unwrap()],
        Pace::default(),
    );
    if query.get("have") == Some(&plan.id.to_string()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    axum::Json(plan).into_response()
}

fn report() -> Report {
    let json = serde_json::json!({"version": 1, "cluster": "test", "vantage": "host/a",
        "boot_id": "b", "seq": 1, "sent_at": "2026-06-22T09:14:30.123Z"});
    Report::from_json(json.to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn reports_go_out_and_plans_come_in() {
    let seen = Seen::default();
    *seen.status.lock().unwrap() = 200;
    let router = axum::Router::new()
        .route("/v1/report", post(take))
        .route("/v1/plan", get(hand_out))
        .with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "s3cret\n").unwrap();
    let transport = HttpTransport::new(&ExporterEndpoint {
        url: BaseUrl::new(&url).unwrap(),
        token_file: Some(token_file),
        ca_file: None,
        identity: None,
        proxy: None,
    })
    .unwrap();

    transport.report(&report()).await.unwrap();
    {
        let taken = seen.reports.lock().unwrap();
        let (headers, told) = &taken[0];
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(*told, report());
    }
    for (status, passing, says) in [
        (401, true, "token_file"),
        (403, true, "token_file"),
        (413, false, "refused the report"),
        (400, false, "refused the report"),
        (503, true, "HTTP 503"),
        (429, true, "HTTP 429"),
    ] {
        *seen.status.lock().unwrap() = status;
        let error = transport.report(&report()).await.unwrap_err();
        assert_eq!(error.is_passing(), passing, "{status}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.to_string().contains("s3cret"));
    }

    let plan = transport
        .plan(None, Duration::ZERO)
        .await
        .unwrap()
        .expect("a plan");
    assert_eq!(plan.targets.len(), 1);
    let none = transport
        .plan(Some(&plan.id), Duration::from_secs(25))
        .await
        .unwrap();
    assert_eq!(none, None);
    let queries = seen.queries.lock().unwrap().join(" ");
    assert!(queries.contains(r#""wait": "25""#), "{queries}");
}

#[tokio::test]
async fn nobody_there_is_a_passing_trouble() {
    let address = support::free_port().await;
    let transport = HttpTransport::new(&ExporterEndpoint {
        url: BaseUrl::new(&format!("http://{address}")).unwrap(),
        token_file: None,
        ca_file: None,
        identity: None,
        proxy: None,
    })
    .unwrap();
    let error = transport.report(&report()).await.unwrap_err();
    assert!(
        matches!(error, TransportError::Call(_)) && error.is_passing(),
        "{error}"
    );
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
