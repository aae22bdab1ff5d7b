//! `GET /v1/findings`, `GET /v1/view` and `GET /v1/explain` as JSON. Fields are added, never renamed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use pnwatch_core::diagnosis::explain::{AboutError, Explanation};
use pnwatch_core::outcome::Layer;
use pnwatch_core::path::Verdict;
use pnwatch_core::view::{PathView, View};
use serde_json::{Value, json};

use super::{Page, judged};
use crate::answer::Refusal;

/// Above this many paths they are counted, not listed.
const MAX_PATHS: usize = 5_000;

pub(super) async fn findings(State(page): State<Arc<Page>>) -> Result<Json<Value>, Refusal> {
    Ok(Json(findings_json(&page.engine.read().await?.view)))
}

pub(super) async fn view(State(page): State<Arc<Page>>) -> Result<Json<Value>, Refusal> {
    let mut view = view_json(&page.engine.read().await?.view);
    let (verdicts, books) = (page.verdicts.borrow().clone(), page.books.borrow().clone());
    view["traffic"] = judged::traffic(&verdicts).into();
    view["budgets"] = judged::budgets(&books).into();
    view["ledger"] = judged::ledger(&books);
    Ok(Json(view))
}

/// What an explanation is asked about.
#[derive(serde::Deserialize)]
pub(super) struct Asked {
    about: String,
}

pub(super) async fn explain(
    State(page): State<Arc<Page>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Explanation>, Refusal> {
    let Query(asked) = asked.map_err(|error| {
        let message = format!(
            "{}; write ?about=node/NAME; see docs/api.md",
            error.body_text()
        );
        Refusal::new(StatusCode::BAD_REQUEST, "parameters", message)
    })?;
    let unknown = |message| Refusal::new(StatusCode::NOT_FOUND, "unknown", message);
    let shown: String = asked.about.chars().take(100).collect();
    match page.engine.explain(asked.about).await? {
        Ok(Some(explanation)) => Ok(Json(*explanation)),
        Ok(None) => Err(unknown(AboutError::Unknown(shown).to_string())),
        Err(error @ AboutError::Unknown(_)) => Err(unknown(error.to_string())),
        Err(error @ AboutError::Form(_)) => {
            let message = error.to_string();
            Err(Refusal::new(StatusCode::BAD_REQUEST, "parameters", message))
        }
    }
}

/// `{"cluster","at","data":[open],"closed":[…]}`.
pub fn findings_json(view: &View) -> Value {
    json!({
        "cluster": view.cluster,
        "at": view.at,
        "data": view.open,
        "closed": view.closed,
    })
}

/// Nodes, targets, vantages and paths. Durations are seconds.
pub fn view_json(view: &View) -> Value {
    let targets: Vec<Value> = view
        .targets
        .iter()
        .map(|seen| {
            json!({
                "target": seen.target,
                "verdict": seen.verdict,
                "witnesses": seen.witnesses,
                "reached_by": seen.reached_by,
                "newest_age_s": seen.newest_age.map(|age| age.as_secs_f64()),
            })
        })
        .collect();
    let mut counts: BTreeMap<(Layer, Verdict), usize> = BTreeMap::new();
    for path in &view.paths {
        *counts.entry((path.key.layer, path.verdict)).or_default() += 1;
    }
    let counts: Vec<Value> = counts
        .into_iter()
        .map(|((layer, verdict), count)| {
            json!({ "layer": layer, "verdict": verdict, "count": count })
        })
        .collect();
    let listed: Option<Vec<Value>> =
        (view.paths.len() <= MAX_PATHS).then(|| view.paths.iter().map(path_json).collect());
    json!({
        "cluster": view.cluster,
        "at": view.at,
        "started_at": view.started_at,
        "findings_open": view.open.len(),
        "nodes": view.nodes,
        "targets": targets,
        "vantages": view.vantages,
        "path_counts": counts,
        "paths": listed,
    })
}

fn path_json(path: &PathView) -> Value {
    json!({
        "vantage": path.key.vantage,
        "subject": path.key.subject,
        "layer": path.key.layer,
        "verdict": path.verdict,
        "outcome": path.last_outcome,
        "newest_age_s": path.newest_age.map(|age| age.as_secs_f64()),
        "mac": path.mac,
        "rtt_us": path.rtt_us,
        "failures": path.failures,
    })
}
