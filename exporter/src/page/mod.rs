//! The page listener: the page at `/`, the API under `/v1/`, both read-only.
//!
//! - [`api`]: JSON of findings and view.
//! - [`events`]: the same as it changes (server-sent events).
//! - [`document`]: the pages, rendered here and nowhere else: the script only fetches the live
//!   part again (`?live`) on every transition and heartbeat and puts it in place.
//!   [`headline`], [`findings`] (with [`markdown`]), [`matrix`] (over [`tally`]), [`timeline`],
//!   [`books`], [`bandwidth`], [`sight`] and [`detail`] each write one part of the [`scene`], as plain functions over the escaping [`markup::Html`].
//! - [`runbook`]: the runbooks, so that a finding's next step needs no other server.
//! - `assets/`: style and script, compiled in; the page loads nothing from elsewhere.
//!
//! Every answer carries the headers of [`guard`]: a strict content security policy, no framing,
//! no caching, and on a loopback listener a check of `Host`, so that a foreign web page cannot
//! read it by rebinding a name (DNS rebinding). Where [`reader`]s are configured only they read.

mod api;
mod bandwidth;
mod books;
mod detail;
mod document;
mod events;
mod findings;
mod guard;
mod headline;
mod judged;
mod markdown;
mod markup;
mod matrix;
mod rate;
mod reader;
mod runbook;
mod scene;
mod sight;
mod tally;
mod timeline;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::shutdown::Shutdown;
use tokio::sync::watch;

pub use self::api::{findings_json, view_json};
pub use self::detail::Place;
pub use self::document::{document, live};
pub use self::reader::{ReaderError, Readers};
pub use self::scene::{Links, Scene};
use crate::answer::{Refusal, not_found};
use crate::ledger::Statement;
use crate::owner::Handle;
use crate::tally::Tally;
use crate::traffic::Verdicts;

/// What the page listener works with.
pub struct Page {
    /// The engine.
    pub engine: Handle,
    /// Ends event streams.
    pub shutdown: Shutdown,
    /// Verdicts on traffic.
    pub verdicts: watch::Receiver<Verdicts>,
    /// Budgets, and how the ledger is.
    pub books: watch::Receiver<Arc<Statement>>,
    /// The listener is bound to loopback: only local names may be asked for.
    pub local: bool,
    /// Where else to go.
    pub links: Links,
    /// Who may read.
    pub readers: Arc<Readers>,
    /// Counts refusals.
    pub tally: Arc<Tally>,
    /// How fast a source asks is measured by it.
    pub clock: SharedClock,
}

type Shared = State<Arc<Page>>;

impl Page {
    /// The routes of the listener; `health` are those that every listener has.
    pub fn routes(self, health: Router) -> Router {
        let guard = guard::Guard {
            local: self.local,
            readers: Arc::clone(&self.readers),
            rate: rate::Rate::default(),
            clock: Arc::clone(&self.clock),
            tally: Arc::clone(&self.tally),
        };
        let pages = Router::new()
            .route(
                "/",
                get(async |page, live| show(page, live, Place::Home).await),
            )
            .route(
                "/vantages",
                get(async |page, live| show(page, live, Place::Vantages).await),
            )
            .route(
                "/accounts",
                get(async |page, live| show(page, live, Place::Accounts).await),
            )
            .route(
                "/budgets",
                get(async |page, live| show(page, live, Place::Budgets).await),
            )
            .route("/paths/{*name}", get(path))
            .route("/vantages/{*name}", get(vantage))
            .route("/accounts/{name}", get(account))
            .route("/nodes/{name}", get(node))
            .route("/findings/{*id}", get(finding))
            .route("/runbooks", get(runbook::list))
            .route("/runbooks/{name}", get(runbook::one))
            .route("/v1/findings", get(api::findings))
            .route("/v1/view", get(api::view))
            .route("/v1/explain", get(api::explain))
            .route("/v1/events", get(events::stream))
            .route("/assets/page.css", get(style))
            .route("/assets/page.js", get(script))
            .route("/assets/icon.svg", get(icon))
            .fallback(not_found)
            .with_state(Arc::new(self));
        guard::protect(pages.merge(health), guard)
    }
}

async fn vantage(page: Shared, live: RawQuery, Path(name): Path<String>) -> Shown {
    show(page, live, Place::Vantage(name)).await
}

async fn account(page: Shared, live: RawQuery, Path(name): Path<String>) -> Shown {
    show(page, live, Place::Account(name)).await
}

async fn node(page: Shared, live: RawQuery, Path(name): Path<String>) -> Shown {
    show(page, live, Place::Node(name)).await
}

async fn path(page: Shared, live: RawQuery, Path(name): Path<String>) -> Shown {
    show(page, live, Place::Path(name)).await
}

async fn finding(page: Shared, live: RawQuery, Path(id): Path<String>) -> Shown {
    show(page, live, Place::Finding(id)).await
}

type Shown = Result<Response, Refusal>;

/// The page of `place`, or its live part alone where `?live` asks for that.
async fn show(State(page): Shared, RawQuery(query): RawQuery, place: Place) -> Shown {
    let snapshot = page.engine.read().await?;
    let view = &snapshot.view;
    let status = if place.exists(view) {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    };
    let (verdicts, books) = (page.verdicts.borrow().clone(), page.books.borrow().clone());
    let scene = Scene {
        view,
        books: &books,
        verdicts: &verdicts,
        links: &page.links,
    };
    let text = if query.as_deref() == Some("live") {
        live(scene, &place)
    } else {
        document(scene, &place)
    };
    Ok((status, Html(text)).into_response())
}

async fn style() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, include_str!("assets/page.css"))
}

async fn script() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, include_str!("assets/page.js"))
}

async fn icon() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "image/svg+xml")];
    (kind, include_str!("assets/icon.svg"))
}
