//! The metrics listener: `/metrics`, projected from the view at scrape time.

mod devices;
mod family;
mod judged;
mod project;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pnwatch_core::bandwidth::Limits;
use tokio::sync::watch;

pub use self::family::{Exposition, Family};
pub use self::project::project;
use crate::alert::Standing;
use crate::answer::{Refusal, not_found};
use crate::bandwidth::Learned;
use crate::ledger::Statement;
use crate::owner::Handle;
use crate::tally::Tally;
use crate::traffic::Verdicts;

/// What `/metrics` is made from.
pub struct Metrics {
    /// The engine.
    pub engine: Handle,
    /// The exporter's own counters.
    pub tally: Arc<Tally>,
    /// How each Alertmanager stands.
    pub standings: Vec<Standing>,
    /// Verdicts on traffic.
    pub verdicts: watch::Receiver<Verdicts>,
    /// What is configured of caps, cards and links.
    pub limits: Limits,
    /// Where nodes were held down.
    pub learned: watch::Receiver<Learned>,
    /// Budgets, and how the ledger is.
    pub books: watch::Receiver<Arc<Statement>>,
}

impl Metrics {
    /// The route.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/metrics", get(scrape))
            .fallback(not_found)
            .with_state(Arc::new(self))
    }
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> Result<Response, Refusal> {
    let snapshot = metrics.engine.read().await?;
    // Tens of milliseconds at the largest size: not on a thread that serves reports.
    let encoded = tokio::task::spawn_blocking(move || {
        let mut out = project(&snapshot, &metrics.tally, &metrics.standings);
        judged::traffic(&mut out, &metrics.verdicts.borrow().clone());
        judged::egress(&mut out, &metrics.verdicts.borrow().clone());
        let learned = metrics.learned.borrow().clone();
        devices::capacity(&mut out, &snapshot.view, metrics.limits, &learned);
        judged::books(&mut out, &metrics.books.borrow().clone());
        out.encode()
    })
    .await;
    match encoded {
        Ok(Ok(text)) => {
            let kind = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
            Ok((kind, text).into_response())
        }
        Ok(Err(error)) => Err(broken(&error.to_string())),
        Err(error) => Err(broken(&error.to_string())),
    }
}

fn broken(error: &str) -> Refusal {
    tracing::error!("writing /metrics failed: {error}");
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "writing the metrics failed; this is a fault of the exporter, its log says more",
    )
}
