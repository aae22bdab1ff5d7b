//! What probers talk to: `POST /v1/report`, `GET /v1/plan?have=ID&wait=30s`.
//!
//! The token, or the client's certificate, decides who speaks before a byte of the body is looked at. A request is one task of the
//! listener; dropping it loses nothing but its answer.

pub(crate) mod body;
mod certificate;
mod plans;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use pnwatch_core::board::Applied;
use pnwatch_core::name::{Cluster, Vantage};
use pnwatch_core::plan::{PLAN_POLL, PlanId};
use pnwatch_core::reply::Reply;
use pnwatch_core::wire::Report;
use pnwatch_edge::shutdown::Shutdown;
use pnwatch_edge::tls::PeerNames;
use tokio::time::Instant;

pub use self::body::MAX_TAKEN;
pub use self::plans::Plans;
pub(crate) use self::token::bearer;
pub use self::token::{TokenError, Tokens};
use crate::answer::{Refusal, not_found};
use crate::kube::{IdentityError, Reviewer};
use crate::owner::{Handle, Unserved};
use crate::tally::{Ingested, PlanAnswer, Tally};
use crate::wishes::Wishes;

/// What the ingest listener works with.
pub struct Ingest {
    /// The one private network that reports may be about.
    pub cluster: Cluster,
    /// Who may speak.
    pub tokens: Arc<Tokens>,
    /// Who else may: Pods' service accounts, as the Kubernetes API says.
    pub reviewer: Option<Arc<Reviewer>>,
    /// What they are told to check.
    pub plans: Plans,
    /// The engine.
    pub engine: Handle,
    /// What they are asked to check now.
    pub wishes: Arc<Wishes>,
    /// What became of requests.
    pub tally: Arc<Tally>,
    /// Ends long-polls.
    pub shutdown: Shutdown,
}

impl Ingest {
    /// The routes of the listener.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/v1/report", post(report))
            .route("/v1/plan", get(plan))
            .fallback(not_found)
            .with_state(Arc::new(self))
    }

    /// Whom the request speaks for, by its token (of a file, or a service account's), or else by
    /// the certificate that its client showed.
    async fn speaker(
        &self,
        headers: &HeaderMap,
        names: Option<&PeerNames>,
    ) -> Result<Vantage, Refusal> {
        if let Some(names) = names
            && !headers.contains_key(header::AUTHORIZATION)
        {
            return certificate::vantage(names);
        }
        let refused = match self.tokens.vantage(headers) {
            Ok(vantage) => return Ok(vantage),
            Err(refused) => refused,
        };
        let token = bearer(headers).and_then(|t| std::str::from_utf8(t).ok());
        let (Some(reviewer), Some(token)) = (&self.reviewer, token) else {
            return Err(refused);
        };
        match reviewer.vantage(token).await {
            Ok(vantage) => Ok(vantage),
            Err(IdentityError::Refused(why)) => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                format!("{}; as a service account's: {why}", refused.message),
            )),
            Err(unavailable @ IdentityError::Unavailable(_)) => {
                Err(Refusal::busy(unavailable.to_string()))
            }
        }
    }

    async fn take(
        &self,
        headers: &HeaderMap,
        names: Option<&PeerNames>,
        body: Body,
    ) -> Result<Vantage, Refusal> {
        let speaker = match self.speaker(headers, names).await {
            Ok(speaker) => speaker,
            Err(refusal) => {
                body::discard(body).await;
                return Err(refusal);
            }
        };
        let report = body::report(headers, body).await?;
        self.admit(&report, &speaker)?;
        let seen = match self.engine.report(report).await {
            Ok(Applied::Fresh) => Ingested::Fresh,
            Ok(Applied::Duplicate) => Ingested::Duplicate,
            Ok(Applied::History) => Ingested::History,
            Ok(Applied::WrongCluster) => return Err(self.wrong_cluster(&self.cluster)),
            Err(unserved) => return Err(unserved.into()),
        };
        self.tally.ingested(seen);
        Ok(speaker)
    }

    fn admit(&self, report: &Report, speaker: &Vantage) -> Result<(), Refusal> {
        if &report.vantage != speaker {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "wrong_vantage",
                format!(
                    "the token or certificate belongs to {speaker}, the report says {}; check probe.vantage and token_file on that machine",
                    report.vantage
                ),
            ));
        }
        if matches!(speaker, Vantage::Vm(..)) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "wrong_vantage",
                format!(
                    "{speaker} is a VM: it tells its host's relay, and only the host reports; remove its token from serve.tokens"
                ),
            ));
        }
        if report.cluster != self.cluster {
            return Err(self.wrong_cluster(&report.cluster));
        }
        Ok(())
    }

    fn wrong_cluster(&self, said: &Cluster) -> Refusal {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "wrong_cluster",
            format!(
                "the report is about cluster {said}, this exporter watches {}; check `cluster` and probe.exporters in the prober's config",
                self.cluster
            ),
        )
    }
}

impl From<Unserved> for Refusal {
    fn from(unserved: Unserved) -> Self {
        Self::busy(format!("{unserved}; send again in a second"))
    }
}

async fn report(
    State(ingest): State<Arc<Ingest>>,
    names: Option<Extension<PeerNames>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let names = names.as_ref().map(|Extension(names)| names);
    match ingest.take(&headers, names, body).await {
        Ok(vantage) => {
            let plan_id = ingest.plans.id(&vantage).await;
            let burst = ingest.wishes.tell(&vantage);
            Json(Reply { plan_id, burst }).into_response()
        }
        Err(refusal) => {
            ingest.tally.ingested(match refusal.code {
                "unauthorized" => Ingested::Unauthorized,
                "wrong_vantage" => Ingested::Forbidden,
                "too_large" => Ingested::TooLarge,
                "wrong_version" => Ingested::WrongVersion,
                "wrong_cluster" => Ingested::WrongCluster,
                "overloaded" => Ingested::Overloaded,
                _ => Ingested::Malformed,
            });
            refusal.into_response()
        }
    }
}

async fn plan(
    State(ingest): State<Arc<Ingest>>,
    RawQuery(query): RawQuery,
    names: Option<Extension<PeerNames>>,
    headers: HeaderMap,
) -> Response {
    let asked = ingest
        .speaker(&headers, names.as_ref().map(|Extension(names)| names))
        .await
        .and_then(|vantage| Ok((vantage, Asked::read(query.as_deref().unwrap_or_default())?)));
    let (vantage, asked) = match asked {
        Ok(asked) => asked,
        Err(refusal) => {
            ingest.tally.plan(PlanAnswer::Refused);
            return refusal.into_response();
        }
    };
    let mut changes = ingest.plans.changes();
    let until = Instant::now() + asked.wait;
    loop {
        changes.mark_unchanged();
        let id = ingest.plans.id(&vantage).await;
        if asked.have.as_ref() != Some(&id) {
            let (id, json) = ingest.plans.content(&vantage).await;
            ingest.tally.plan(PlanAnswer::Given);
            let kind: (HeaderName, HeaderValue) = (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            return ([kind, etag(&id)], json).into_response();
        }
        let changed = tokio::select! {
            changed = changes.changed() => changed.is_ok(),
            () = tokio::time::sleep_until(until) => false,
            () = ingest.shutdown.requested() => false,
        };
        if !changed {
            ingest.tally.plan(PlanAnswer::Unchanged);
            return (StatusCode::NOT_MODIFIED, [etag(&id)]).into_response();
        }
    }
}

fn etag(id: &PlanId) -> (HeaderName, HeaderValue) {
    let quoted = HeaderValue::try_from(format!("\"{id}\""));
    let value = quoted.unwrap_or(HeaderValue::from_static("\"\""));
    (header::ETAG, value)
}

/// What a plan request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) have: Option<PlanId>,
    pub(crate) wait: Duration,
}

impl Asked {
    pub(crate) fn read(query: &str) -> Result<Self, Refusal> {
        let refuse = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "query", message);
        let mut asked = Self {
            have: None,
            wait: Duration::ZERO,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "have" => asked.have = (!value.is_empty()).then(|| PlanId::from_wire(value)),
                "wait" => {
                    let seconds = value.parse().map(Duration::from_secs);
                    let wait = seconds
                        .or_else(|_| humantime::parse_duration(value))
                        .map_err(|_| {
                            let value: String = value.chars().take(32).collect();
                            refuse(format!("wait={value:?} is no duration; write 30s"))
                        })?;
                    asked.wait = wait.min(PLAN_POLL);
                }
                other => {
                    let other: String = other.chars().take(32).collect();
                    return Err(refuse(format!(
                        "the parameter {other:?} is not known here; `have` and `wait` are"
                    )));
                }
            }
        }
        Ok(asked)
    }
}
