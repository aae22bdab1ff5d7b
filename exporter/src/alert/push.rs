//! One task per Alertmanager: plans, posts, backs off. Nothing is queued: after an absence the
//! Alertmanager is told what is true then, once, with its true times.
//!
//! Dropping the task loses at most the knowledge of the last post, which is then repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use pnwatch_core::time::Timestamp;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::http::Client;
use tokio::sync::broadcast::error::RecvError;

use super::heartbeat::Peer;
use super::plan::{Planned, Sent, Settings, plan};
use super::wire::Alert;
use crate::health::Pulse;
use crate::owner::Handle;
use crate::tally::Tally;

/// Alerts per post: some hundred kilobytes.
const BATCH: usize = 128;
/// Longest pause between two plans, and while vantages are coming back.
const CALM: Duration = Duration::from_secs(5);
const UNSETTLED: Duration = Duration::from_millis(250);
/// First and longest pause after a failed post.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// A number from 0 to 1 for the spread of retries; injected.
pub trait Jitter: Send + Sync + 'static {
    /// The next number.
    fn fraction(&self) -> f64;
}

/// Jitter from the randomness that the standard library seeds its hash maps with.
#[derive(Debug, Default)]
pub struct HashJitter;

impl Jitter for HashJitter {
    fn fraction(&self) -> f64 {
        use std::hash::{BuildHasher as _, RandomState};
        let random = RandomState::new().hash_one(0u8);
        (random >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How one Alertmanager stands, for metrics. Clones share it.
#[derive(Debug, Clone)]
pub struct Standing {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    last_success: AtomicU64,
    accepted: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
}

impl Standing {
    /// Of the Alertmanager at `url`; nothing was posted yet.
    pub fn new(url: &str) -> Self {
        let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
        let name = bare.rsplit('@').next().unwrap_or(bare);
        Self {
            inner: Arc::new(Inner {
                name: name.trim_end_matches('/').to_owned(),
                last_success: AtomicU64::new(0),
                accepted: AtomicU64::new(0),
                failed: AtomicU64::new(0),
                rejected: AtomicU64::new(0),
            }),
        }
    }

    /// Host, port and path prefix.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// When it last accepted a post; the epoch before the first.
    pub fn last_success(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.inner.last_success.load(Relaxed))
    }

    /// Posts accepted and failed.
    pub fn posts(&self) -> (u64, u64) {
        (
            self.inner.accepted.load(Relaxed),
            self.inner.failed.load(Relaxed),
        )
    }

    /// Alerts that it refused one by one.
    pub fn rejected(&self) -> u64 {
        self.inner.rejected.load(Relaxed)
    }
}

/// Everything that one push task works with.
pub struct Push {
    /// `POST` goes here: the base URL and `/api/v2/alerts`.
    pub url: String,
    /// The client with its token, authority and timeout.
    pub client: Arc<Client>,
    /// The engine.
    pub engine: Handle,
    /// How alerts are sent.
    pub settings: Settings,
    /// Time.
    pub clock: SharedClock,
    /// Spread of retries.
    pub jitter: Arc<dyn Jitter>,
    /// How the Alertmanager stands.
    pub standing: Standing,
    /// The exporter's own counters.
    pub tally: Arc<Tally>,
    /// Whether another replica hears hosts or VMs.
    pub peer: Peer,
    /// Ticks as long as the task runs.
    pub pulse: Arc<Pulse>,
}

/// Why a post was not accepted.
enum Failure {
    /// Not now: try again later.
    Later(String),
    /// This content, never.
    Content(String),
}

impl Push {
    /// Runs for ever.
    pub async fn run(self) {
        let mut transitions = self.engine.transitions();
        let mut sent = Sent::default();
        let mut failures = 0u32;
        loop {
            self.pulse.beat(self.clock.now().tick);
            let pause = match self.round(&mut sent).await {
                Ok(unsettled) => {
                    if failures > 0 {
                        tracing::info!(alertmanager = self.standing.name(), "answers again");
                    }
                    failures = 0;
                    // Fine enough that a repetition is not late, and the view is read rarely.
                    let longest = if unsettled { UNSETTLED } else { CALM };
                    (self.settings.resend / 8).clamp(Duration::from_millis(100), longest)
                }
                Err(why) => {
                    if failures == 0 {
                        tracing::error!(
                            alertmanager = self.standing.name(),
                            "alerts wait, trying again: {why}"
                        );
                    }
                    failures = failures.saturating_add(1);
                    self.standing.inner.failed.fetch_add(1, Relaxed);
                    back_off(failures, self.jitter.fraction())
                }
            };
            let wake = tokio::time::sleep(pause);
            if failures > 0 {
                // A transition does not shorten the back-off.
                wake.await;
                continue;
            }
            tokio::select! {
                () = wake => {}
                // Whoever lags behind reads the view all the same.
                next = transitions.recv() => if next == Err(RecvError::Closed) {
                    return;
                },
            }
        }
    }

    /// Plans and posts once; says whether to come again soon.
    async fn round(&self, sent: &mut Sent) -> Result<bool, String> {
        let Ok(snapshot) = self.engine.read().await else {
            // Overloaded or stopping; the engine says so itself.
            return Ok(true);
        };
        let now = self.clock.now();
        let blind = super::plan::is_blind(&snapshot.view);
        let outvoiced = self.peer.is_outvoicing(blind, now.tick);
        let planned = plan(&snapshot.view, sent, now, (&self.settings, outvoiced));
        self.tell(&planned);
        for batch in planned.alerts.chunks(BATCH) {
            self.deliver(batch).await?;
        }
        *sent = planned.sent;
        Ok(planned.unsettled)
    }

    fn tell(&self, planned: &Planned) {
        if self.tally.set_silent(planned.silent) != planned.silent {
            if planned.silent {
                tracing::warn!(
                    "no vantage reports to this replica: it repeats no alert and resolves none until one does"
                );
            } else {
                tracing::info!("vantages report again: alerts are sent again");
            }
        }
        for finding in &planned.lapsed {
            tracing::warn!(%finding, "the finding is gone without a recovery; its alert ends by itself");
        }
    }

    /// Posts a batch; where its content is refused, halves it until the bad alert stands alone.
    async fn deliver(&self, batch: &[Alert]) -> Result<(), String> {
        let mut waiting = vec![batch];
        while let Some(alerts) = waiting.pop() {
            match self.post(alerts).await {
                Ok(()) => {
                    self.standing.inner.accepted.fetch_add(1, Relaxed);
                    let now = self.clock.now().wall.as_unix_nanos();
                    self.standing.inner.last_success.store(now, Relaxed);
                }
                Err(Failure::Later(why)) => return Err(why),
                Err(Failure::Content(why)) => match alerts {
                    [] => {}
                    [alert] => {
                        self.standing.inner.rejected.fetch_add(1, Relaxed);
                        tracing::error!(
                            alertmanager = self.standing.name(),
                            alertname = alert.labels.get("alertname"),
                            subject = alert.labels.get("subject"),
                            "Alertmanager refuses this alert: {why}"
                        );
                    }
                    _ => {
                        let (first, second) = alerts.split_at(alerts.len() / 2);
                        waiting.extend([second, first]);
                    }
                },
            }
        }
        Ok(())
    }

    async fn post(&self, alerts: &[Alert]) -> Result<(), Failure> {
        // Alerts of plain strings always serialize.
        let body = Bytes::from(serde_json::to_vec(alerts).unwrap_or_default());
        let answer = self
            .client
            .post(&self.url, "application/json", None, body)
            .await
            .map_err(|error| Failure::Later(error.to_string()))?;
        let said = || format!("{} ({})", answer.status, answer.first_line());
        match answer.status {
            200..300 => Ok(()),
            // Alertmanager has taken the valid ones of such a batch, or none: both are repeated.
            400 | 413 | 422 => Err(Failure::Content(said())),
            401 | 403 => Err(Failure::Later(format!(
                "{}; check serve.alertmanager.token_file",
                said()
            ))),
            404 => Err(Failure::Later(format!(
                "{}; check the path prefix in serve.alertmanager.urls",
                said()
            ))),
            _ => Err(Failure::Later(said())),
        }
    }
}

/// Full jitter: anything from nothing to a doubling bound, so that replicas do not come together.
fn back_off(failures: u32, fraction: f64) -> Duration {
    let (first, longest) = BACK_OFF;
    let bound = first
        .saturating_mul(
            1u32.checked_shl(failures.saturating_sub(1))
                .unwrap_or(u32::MAX),
        )
        .min(longest);
    bound.mul_f64(fraction.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_to_a_bound_and_spreads() {
        let bounds: Vec<u128> = (1..=8).map(|n| back_off(n, 1.0).as_millis()).collect();
        assert_eq!(bounds, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
        assert_eq!(back_off(u32::MAX, 1.0), BACK_OFF.1);
        assert_eq!(back_off(4, 0.0), Duration::ZERO);
        assert!((0.0..1.0).contains(&HashJitter.fraction()));
    }

    #[test]
    fn a_standing_is_named_without_scheme_and_credentials() {
        for (url, name) in [
            ("http://127.0.0.1:9093", "127.0.0.1:9093"),
            (
                "https://user:secret@am.example/prefix/",
                "am.example/prefix",
            ),
        ] {
            assert_eq!(Standing::new(url).name(), name);
        }
    }
}
