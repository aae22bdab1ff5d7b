//! `GET /v1/gate` (or POST, for webhooks that can do nothing else): may a pipeline go on?
//!
//! What the gate says is decided by [`pnwatch_core::gate`] from the same view as everything
//! else; here it is asked for and delivered. `wait=` holds the answer until it is open
//! ([`waiting`]); a wait that ends otherwise gets the last answer, never an open one. Reading
//! changes nothing, and a handler may be dropped at any time.

mod waiting;

use std::sync::Arc;

use axum::extract::{Query as Parameters, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use pnwatch_core::gate::{Answer, Query, Verdict, judge};
use pnwatch_edge::shutdown::Shutdown;
use serde_json::json;

use self::waiting::Waiting;
pub use self::waiting::{MAX_QUESTIONS, MAX_WAITING, TICK};
use crate::answer::Refusal;
use crate::owner::Handle;
use crate::tally::{GateAnswer, Tally};

/// What the gate works with.
pub struct Gate {
    engine: Handle,
    tally: Arc<Tally>,
    waiting: Arc<Waiting>,
}

impl Gate {
    /// A gate over `engine`; waits end with the shutdown.
    pub fn new(engine: Handle, tally: Arc<Tally>, shutdown: Shutdown) -> Self {
        let waiting = Waiting::new(engine.clone(), Arc::clone(&tally), shutdown);
        Self {
            engine,
            tally,
            waiting,
        }
    }

    /// The route.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/v1/gate", get(answer).post(answer))
            .with_state(Arc::new(self))
    }

    async fn ask(&self, query: &Query) -> Result<Response, Refusal> {
        let snapshot = self.engine.read().await?;
        let cluster = snapshot.view.cluster.clone();
        let mut answer = Arc::new(judge(query, &snapshot.view));
        // A wait must not keep an old view alive.
        drop(snapshot);
        if !answer.ok && !query.wait.is_zero() {
            answer = self.waiting.until_open(query, answer).await?;
        }
        self.count(query, &answer);
        let status = if query.strict && !answer.ok {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        let body = json!({ "cluster": cluster, "data": *answer });
        Ok((status, Json(body)).into_response())
    }

    fn count(&self, query: &Query, answer: &Answer) {
        self.tally.gate(match answer.verdict {
            Verdict::Open => GateAnswer::Open,
            Verdict::Closed => GateAnswer::Closed,
            Verdict::Unknown => GateAnswer::Unknown,
        });
        if let Some(reason) = &query.overridden {
            self.tally.gate_overridden();
            tracing::warn!(
                selection = %query.selector,
                verdict = %answer.verdict,
                reason,
                "gate overridden: the pipeline goes on whatever the gate says"
            );
        }
    }
}

async fn answer(State(gate): State<Arc<Gate>>, uri: Uri) -> Result<Response, Refusal> {
    let answered = match read(&uri) {
        Ok(query) => gate.ask(&query).await,
        Err(refusal) => Err(refusal),
    };
    if answered.is_err() {
        gate.tally.gate(GateAnswer::Refused);
    }
    answered
}

fn read(uri: &Uri) -> Result<Query, Refusal> {
    let refuse = |message: String| {
        let message = format!("{message}; see docs/gate.md");
        Refusal::new(StatusCode::BAD_REQUEST, "parameters", message)
    };
    let Parameters(pairs) = Parameters::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|error| refuse(error.body_text()))?;
    let pairs = pairs
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    Query::from_parameters(pairs).map_err(|error| refuse(error.to_string()))
}
