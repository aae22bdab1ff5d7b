//! The page listener: the page at `/`, the API under `/v1/`, both read-only.
//!
//! - [`api`]: JSON of findings and view.
//! - [`events`]: the same as it changes (server-sent events).
//! - [`html`]: the page, written by plain functions over the escaping [`markup::Html`].
//! - `assets/`: style and script, compiled in; the page loads nothing from elsewhere.
//!
//! Every answer carries the headers of [`guard`]: a strict content security policy, no framing,
//! no caching, and on a loopback listener a check of `Host`, so that a foreign web page cannot
//! read it by rebinding a name (DNS rebinding).

mod api;
mod events;
mod guard;
mod html;
mod markup;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use pnwatch_edge::shutdown::Shutdown;

pub use self::api::{findings_json, view_json};
pub use self::html::document;
use crate::answer::{Refusal, not_found};
use crate::owner::Handle;

/// What the page listener works with.
pub struct Page {
    /// The engine.
    pub engine: Handle,
    /// Ends event streams.
    pub shutdown: Shutdown,
    /// The listener is bound to loopback: only local names may be asked for.
    pub local: bool,
}

impl Page {
    /// The routes of the listener; `health` are those that every listener has.
    pub fn routes(self, health: Router) -> Router {
        let local = self.local;
        let pages = Router::new()
            .route("/", get(page))
            .route("/v1/findings", get(api::findings))
            .route("/v1/view", get(api::view))
            .route("/v1/events", get(events::stream))
            .route("/assets/page.css", get(style))
            .route("/assets/page.js", get(script))
            .fallback(not_found)
            .with_state(Arc::new(self));
        guard::protect(pages.merge(health), local)
    }
}

async fn page(State(page): State<Arc<Page>>) -> Result<impl IntoResponse, Refusal> {
    let snapshot = page.engine.read().await?;
    Ok(Html(document(&snapshot.view)))
}

async fn style() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, include_str!("assets/page.css"))
}

async fn script() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, include_str!("assets/page.js"))
}
