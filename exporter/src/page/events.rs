//! `GET /v1/events`: server-sent events (WHATWG HTML §9.2).
//!
//! `snapshot` once at the start and whenever the reader fell behind: open findings and counts;
//! `transition` for each change of a finding; `heartbeat` each second with the exporter's time,
//! so that a page that hears nothing for some seconds knows that it shows the past.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_util::Stream;
use pnwatch_core::finding::Transition;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior};

use super::Page;
use crate::answer::Refusal;

/// How often a reader hears from the exporter.
const HEARTBEAT: Duration = Duration::from_secs(1);

struct Reader {
    page: Arc<Page>,
    transitions: Receiver<Arc<Transition>>,
    beat: Interval,
    fresh: bool,
}

pub(super) async fn stream(
    State(page): State<Arc<Page>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    // Subscribed before the snapshot is read: nothing falls between the two.
    let transitions = page.engine.transitions();
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader {
        page,
        transitions,
        beat,
        fresh: true,
    };
    let events = futures_util::stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    Ok(Sse::new(events))
}

impl Reader {
    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.fresh) {
            return self.snapshot().await;
        }
        let shutdown = self.page.shutdown.clone();
        tokio::select! {
            () = shutdown.requested() => None,
            next = self.transitions.recv() => match next {
                Ok(transition) => Some(event("transition", &json!(*transition))),
                Err(RecvError::Lagged(_)) => self.snapshot().await,
                Err(RecvError::Closed) => None,
            },
            _ = self.beat.tick() => self.heartbeat().await,
        }
    }

    async fn heartbeat(&self) -> Option<Event> {
        let snapshot = self.page.engine.read().await.ok()?;
        let view = &snapshot.view;
        let reporting = view.vantages.iter().filter(|v| v.reporting).count();
        Some(event(
            "heartbeat",
            &json!({ "at": view.at, "open": view.open.len(), "reporting": reporting }),
        ))
    }

    async fn snapshot(&self) -> Option<Event> {
        let snapshot = self.page.engine.read().await.ok()?;
        let view = &snapshot.view;
        let reporting = view.vantages.iter().filter(|v| v.reporting).count();
        Some(event(
            "snapshot",
            &json!({
                "cluster": view.cluster,
                "at": view.at,
                "open": view.open,
                "vantages": view.vantages.len(),
                "reporting": reporting,
                "targets": view.targets.len(),
            }),
        ))
    }
}

fn event(name: &str, data: &Value) -> Event {
    // JSON has no raw line breaks, so one `data:` line holds it.
    Event::default().event(name).data(data.to_string())
}
