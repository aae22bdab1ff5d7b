//! The prober's own page on loopback: `/livez`, `/readyz`, `/metrics`.
//!
//! Alive while the loop turns; ready as soon as it does, whatever the checks say: a pod that is
//! not Ready for a broken network would block every deploy.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;

use crate::counters::Counters;

/// A loop that has not turned for this long is stuck.
const STUCK: Duration = Duration::from_secs(10);

/// What the loop tells the page.
#[derive(Debug, Clone, Default)]
pub struct Status {
    inner: Arc<Mutex<Option<(Tick, Counters)>>>,
}

impl Status {
    /// The loop turned at `now`.
    pub fn turned(&self, now: Tick, counters: Counters) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, counters));
    }

    fn last(&self) -> Option<(Tick, Counters)> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The page.
pub fn router(status: Status, clock: SharedClock) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state((status, clock))
}

type Shared = State<(Status, SharedClock)>;

async fn livez(State((status, clock)): Shared) -> (StatusCode, String) {
    match status.last() {
        Some((at, _)) if clock.now().tick.since(at) < STUCK => (StatusCode::OK, "ok\n".into()),
        Some((at, _)) => {
            let ago = pnwatch_core::time::spoken(clock.now().tick.since(at));
            let text = format!("the loop has not turned for {ago}; restart the prober\n");
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()),
    }
}

async fn readyz(State((status, _)): Shared) -> (StatusCode, &'static str) {
    match status.last() {
        Some(_) => (StatusCode::OK, "ok\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
    }
}

async fn metrics(State((status, _)): Shared) -> impl IntoResponse {
    let text = status.last().map(|(_, counters)| counters.text());
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4")],
        text.unwrap_or_default(),
    )
}
