//! `/livez`: do the loops tick? `/readyz`: is it up and serving? Never what checks found.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, response::IntoResponse};
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;

use crate::answer::Refusal;

/// A loop that has not ticked for this long hangs; each ticks at least once a second.
const HANGING: Duration = Duration::from_secs(20);

/// The last tick of one loop.
#[derive(Debug)]
pub struct Pulse {
    name: &'static str,
    last: AtomicU64,
}

impl Pulse {
    /// Of a loop called `name`, as if it had ticked `now`.
    pub fn new(name: &'static str, now: Tick) -> Arc<Self> {
        Arc::new(Self {
            name,
            last: AtomicU64::new(now.as_nanos()),
        })
    }

    /// The loop ticks.
    pub fn beat(&self, now: Tick) {
        self.last.store(now.as_nanos(), Relaxed);
    }

    fn silence(&self, now: Tick) -> Duration {
        now.since(Tick::from_nanos(self.last.load(Relaxed)))
    }
}

/// The loops of one exporter.
#[derive(Clone)]
pub struct Health {
    clock: SharedClock,
    pulses: Arc<[Arc<Pulse>]>,
}

impl Health {
    /// Watches over `pulses`.
    pub fn new(clock: SharedClock, pulses: Vec<Arc<Pulse>>) -> Self {
        Self {
            clock,
            pulses: pulses.into(),
        }
    }

    /// Whether every loop ticks.
    pub fn is_alive(&self) -> bool {
        self.alive().is_ok()
    }

    fn alive(&self) -> Result<(), Refusal> {
        let now = self.clock.now().tick;
        for pulse in self.pulses.iter() {
            let silence = pulse.silence(now);
            if silence > HANGING {
                return Err(Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "hanging",
                    format!(
                        "the {} loop has not ticked for {}; restart the exporter and report this",
                        pulse.name,
                        pnwatch_core::time::spoken(silence)
                    ),
                ));
            }
        }
        Ok(())
    }

    /// `/livez` and `/readyz`.
    pub fn routes(self) -> Router {
        let live = move || {
            let health = self.clone();
            async move { health.alive().map(|()| "ok\n") }
        };
        Router::new()
            .route("/livez", get(live))
            // The listeners are bound before anything is served: who answers is ready.
            .route("/readyz", get(|| async { "ok\n".into_response() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnwatch_core::time::Now;
    use pnwatch_edge::clock::{Clock as _, ManualClock};

    #[test]
    fn a_loop_that_hangs_is_named() {
        let clock = ManualClock::new(Now::default());
        let (engine, push) = (
            Pulse::new("engine", Tick::default()),
            Pulse::new("alertmanager", Tick::default()),
        );
        let health = Health::new(
            Arc::new(clock.clone()),
            vec![Arc::clone(&engine), Arc::clone(&push)],
        );
        clock.advance(HANGING);
        assert!(health.alive().is_ok());
        clock.advance(Duration::from_millis(1));
        engine.beat(clock.now().tick);
        let refusal = health.alive().unwrap_err();
        assert_eq!(refusal.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            refusal.message.contains("alertmanager"),
            "{}",
            refusal.message
        );
        push.beat(clock.now().tick);
        assert!(health.alive().is_ok());
    }
}
