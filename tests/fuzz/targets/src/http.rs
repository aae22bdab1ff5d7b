//! What HTTP peers say: answers of caches, metrics, queries.

use std::sync::LazyLock;

use http::Uri;
use pnwatch_core::gate::{MAX_PARAMETERS, MAX_REASON, MAX_WAIT, duration};
use pnwatch_core::plan::PLAN_POLL;
use pnwatch_core::traffic::{MAX_ROUTE_BYTES, MAX_ROUTES, Names, Parser, Scrape};
use pnwatch_exporter::answer::Refusal;
use pnwatch_exporter::fuzzing;
use pnwatch_prober::engine::response::{MAX_ANSWER, Progress, Response, readiness, tenant};

use crate::site::is_one_line;

/// The answer of a cache, whole and in pieces. The first byte is the size of the pieces.
pub(crate) fn response(bytes: &[u8]) -> bool {
    let Some((size, bytes)) = bytes.split_first() else {
        return false;
    };
    let mut whole = Response::default();
    let first = whole.feed(bytes);
    let mut pieces = Response::default();
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        pieces.feed(piece);
    }
    // More at once than is kept of an answer is not what the prober feeds.
    if bytes.len() < MAX_ANSWER {
        assert_eq!(first, pieces.progress());
        assert_eq!(whole.body(), pieces.body());
    }
    assert!(whole.body().len() <= MAX_ANSWER);
    let ended = whole.end();
    assert!(
        first == Progress::Began || first == ended,
        "{first:?} {ended:?}"
    );
    if let Progress::Whole { status } = ended {
        assert!((200..600).contains(&status) || status == 101);
        judged(status, whole.body());
    }
    whole.clear();
    assert_eq!(whole.progress(), Progress::Nothing);
    assert!(whole.body().is_empty());
    matches!(ended, Progress::Whole { .. })
}

/// What is read of a body agrees with a reader of all JSON.
fn judged(status: u16, body: &[u8]) {
    let (ready, _) = readiness(status, body);
    assert!(!ready || status == 200);
    if let Some(named) = tenant(body) {
        let value: serde_json::Value = serde_json::from_slice(body).expect("an object");
        assert_eq!(value["tenant_id"], *named);
    }
}

/// A body of `/metrics`, whole and in pieces. The first byte is the size of the pieces.
pub(crate) fn metrics(bytes: &[u8]) -> bool {
    static NAMES: LazyLock<Names> = LazyLock::new(Names::default);
    let Some((size, bytes)) = bytes.split_first() else {
        return false;
    };
    let mut whole = Parser::new(&NAMES);
    whole.push(bytes);
    let mut pieces = Parser::new(&NAMES);
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        pieces.push(piece);
    }
    let (whole, pieces) = (whole.finish(), pieces.finish());
    assert_eq!(whole, pieces);
    is_sound(&whole);
    whole.has_requests
}

/// The numbers that everything after the parser counts on.
pub(crate) fn is_sound(scrape: &Scrape) {
    assert!(scrape.routes.len() <= MAX_ROUTES);
    for (route, count) in &scrape.routes {
        assert!(route.len() <= MAX_ROUTE_BYTES && is_one_line(route));
        assert!(count.total.is_finite() && count.shed <= count.total);
    }
    let some = [scrape.latency_count, scrape.egress, scrape.started];
    let sums = [scrape.public, scrape.internal, scrape.unclassified];
    for number in some.into_iter().flatten().chain(sums) {
        assert!(number.is_finite() && number >= 0.0, "{scrape:?}");
    }
    for text in [&scrape.tenant, &scrape.region].into_iter().flatten() {
        assert!(is_one_line(text));
    }
}

/// The query of a request to the gate.
pub(crate) fn gate_query(bytes: &[u8]) -> bool {
    // What hyper lets through: no URI, no question.
    let Some(uri) = uri("/v1/gate", bytes) else {
        return false;
    };
    let query = match fuzzing::gate_query(&uri) {
        Ok(query) => query,
        Err(refusal) => {
            is_a_sentence(&refusal);
            return false;
        }
    };
    assert!(query.wait <= MAX_WAIT);
    assert!(query.coverage > 0.0 && query.coverage <= 1.0);
    assert!((1..=10_000).contains(&query.min_vantages));
    assert!(query.budget.is_none_or(|share| share > 0.0 && share < 1.0));
    assert_eq!(query.asked_at, None);
    let selector = &query.selector;
    let named = selector.accounts.len() + selector.nodes.len();
    assert!(selector.all || (1..=MAX_PARAMETERS).contains(&named));
    if let Some(reason) = &query.overridden {
        assert!(is_one_line(reason) && (1..=MAX_REASON).contains(&reason.chars().count()));
    }
    assert_eq!(query.condition().condition(), query.condition());
    let _ = selector.to_string();
    true
}

/// The query of a request for a plan.
pub(crate) fn plan_query(bytes: &[u8]) -> bool {
    let Some(uri) = uri("/v1/plan", bytes) else {
        return false;
    };
    let asked = fuzzing::plan_query(uri.query().unwrap_or_default());
    let read = asked.is_ok();
    match asked {
        Ok((have, wait)) => {
            assert!(wait <= PLAN_POLL);
            assert!(have.is_none_or(|id| id.to_string().chars().count() <= 64));
        }
        Err(refusal) => is_a_sentence(&refusal),
    }
    if let Ok(text) = core::str::from_utf8(bytes) {
        let week = core::time::Duration::from_hours(7 * 24);
        assert!(duration(text).is_none_or(|read| read <= week));
    }
    read
}

fn uri(path: &str, query: &[u8]) -> Option<Uri> {
    let query = core::str::from_utf8(query).ok()?;
    format!("{path}?{query}").parse().ok()
}

/// A refusal is short, on one line, and says what is wrong.
pub(crate) fn is_a_sentence(refusal: &Refusal) {
    assert!(refusal.status.is_client_error(), "{refusal:?}");
    assert!((8..2048).contains(&refusal.message.len()), "{refusal:?}");
    assert!(is_one_line(&refusal.message), "{refusal:?}");
}
