//! `GET /v1/gate` (or POST, for webhooks that can do nothing else): may a pipeline go on?
//!
//! What the gate says is decided by [`pnwatch_core::gate`] from the same view as everything
//! else; here it is asked for and delivered. `wait=` holds the answer until it is open
//! ([`waiting`]); a wait that ends otherwise gets the last answer, never an open one. Reading
//! changes nothing, and a handler may be dropped at any time.
//!
//! `active=1` does change something: it wishes for a burst of checks ([`crate::wishes`]). So it
//! needs a token of its own (`serve.gate.token_file`).

mod sources;
mod waiting;

use std::sync::Arc;

use axum::extract::{Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use pnwatch_core::gate::{Answer, BURST_WAIT, Query, Verdict, awaits_burst};
use pnwatch_core::subject::Subject;
use pnwatch_core::view::View;
use pnwatch_edge::secret::SecretFile;
use pnwatch_edge::shutdown::Shutdown;
use serde_json::json;
use tokio::time::Instant;

pub use self::sources::Sources;
use self::waiting::Waiting;
pub use self::waiting::{MAX_QUESTIONS, MAX_WAITING, TICK};
use crate::answer::Refusal;
use crate::ingest::bearer;
use crate::tally::{GateAnswer, Tally};
use crate::wishes::{MAX_WISHED, Wishes};

/// What the gate works with.
pub struct Gate {
    sources: Sources,
    tally: Arc<Tally>,
    waiting: Arc<Waiting>,
    wishes: Arc<Wishes>,
    token: Option<Arc<SecretFile>>,
}

impl Gate {
    /// A gate over `sources`; waits end with the shutdown. Whoever has the `token` may wish for
    /// bursts.
    pub fn new(
        sources: Sources,
        tally: Arc<Tally>,
        wishes: Arc<Wishes>,
        token: Option<SecretFile>,
        shutdown: Shutdown,
    ) -> Self {
        let waiting = Waiting::new(sources.clone(), Arc::clone(&tally), shutdown);
        Self {
            sources,
            tally,
            waiting,
            wishes,
            token: token.map(Arc::new),
        }
    }

    /// The route.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/v1/gate", get(answer).post(answer))
            .with_state(Arc::new(self))
    }

    async fn ask(&self, mut query: Query, headers: &HeaderMap) -> Result<Response, Refusal> {
        let asked = Instant::now();
        if query.active {
            self.authorise(headers).await?;
        }
        let snapshot = self.sources.engine.read().await?;
        if query.active {
            query.asked_at = Some(self.wishes.wish(wished(&query, &snapshot.view)?));
        }
        let cluster = snapshot.view.cluster.clone();
        let mut answer = Arc::new(self.sources.judge(&query, &snapshot.view).await?);
        // A wait must not keep an old view alive.
        drop(snapshot);
        if awaits_burst(&answer) {
            let until = asked + BURST_WAIT.max(query.wait);
            let told = |answer: &Answer| !awaits_burst(answer);
            answer = self.waiting.until(&query, answer, told, until).await?;
        }
        if !answer.ok && !query.wait.is_zero() {
            let until = asked + query.wait;
            let opens = |answer: &Answer| answer.ok;
            answer = self.waiting.until(&query, answer, opens, until).await?;
        }
        self.count(&query, &answer);
        let status = if query.strict && !answer.ok {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        let body = json!({ "cluster": cluster, "data": *answer });
        Ok((status, Json(body)).into_response())
    }

    /// Whether the request may wish for a burst.
    async fn authorise(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(file) = self.token.clone() else {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "active_forbidden",
                "active=1 asks machines for work, and nobody may do that here; set \
                 serve.gate.token_file, or ask without active=1",
            ));
        };
        // The file may have changed since it was read last.
        let secret = tokio::task::spawn_blocking(move || file.current()).await;
        let secret = secret.ok().and_then(Result::ok).ok_or_else(|| {
            Refusal::busy(
                "serve.gate.token_file cannot be read; ask without active=1, or repair it",
            )
        })?;
        if bearer(headers).is_some_and(|offered| secret.matches(offered)) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "active=1 needs the token of serve.gate.token_file: `Authorization: Bearer TOKEN` \
             (pnwatch gate --token-file)",
        ))
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

/// What `query` wants checked now.
fn wished(query: &Query, view: &View) -> Result<Vec<Subject>, Refusal> {
    let targets = view.targets.iter();
    let subjects: Vec<Subject> = targets
        .filter(|t| query.selector.selects(&t.target))
        .map(|t| t.target.subject())
        .collect();
    if subjects.len() > MAX_WISHED {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "parameters",
            format!(
                "active=1 is for at most {MAX_WISHED} targets, and {} are selected; select the \
                 accounts that were deployed; see docs/gate.md",
                subjects.len()
            ),
        ));
    }
    Ok(subjects)
}

async fn answer(
    State(gate): State<Arc<Gate>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let answered = match read(&uri) {
        Ok(query) => gate.ask(query, &headers).await,
        Err(refusal) => Err(refusal),
    };
    if answered.is_err() {
        gate.tally.gate(GateAnswer::Refused);
    }
    answered
}

pub(crate) fn read(uri: &Uri) -> Result<Query, Refusal> {
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
