//! The request to stop, and the request to read files again.
//!
//! One small task per process listens for signals; everything here is cancel-safe.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

/// Told to every task; clones see the same request.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
}

/// Requests the shutdown. Dropping it requests it too: nobody is left to ask later.
#[derive(Debug, Clone)]
pub struct Trigger {
    requested: watch::Sender<bool>,
}

impl Trigger {
    /// Asks every holder of the [`Shutdown`] to stop.
    pub fn request(&self) {
        self.requested.send_replace(true);
    }
}

impl Shutdown {
    /// A shutdown that the returned trigger requests.
    pub fn manual() -> (Trigger, Self) {
        let (sender, requested) = watch::channel(false);
        (Trigger { requested: sender }, Self { requested })
    }

    /// Returns once the shutdown is requested. Cancel-safe.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        // An error says that the trigger is gone.
        let _ = requested.wait_for(|requested| *requested).await;
    }

    /// Whether it is requested.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow() || self.requested.has_changed().is_err()
    }
}

/// `timeout(1)` and some supervisors signal a process and then its group: two signals within
/// milliseconds are one wish.
const ONE_WISH: Duration = Duration::from_secs(1);

/// A shutdown that SIGTERM or SIGINT requests; another one more than a second later ends the
/// process at once with 128 + the signal's number, so that a person is never held by a slow
/// goodbye.
/// Must be called inside a tokio runtime.
pub fn on_signals() -> io::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (trigger, shutdown) = Shutdown::manual();
    tokio::spawn(async move {
        let first = either(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = first.1, "stopping");
        trigger.request();
        let asked = Instant::now();
        let (number, name) = loop {
            let again = either(&mut terminate, &mut interrupt).await;
            if asked.elapsed() >= ONE_WISH {
                break again;
            }
        };
        tracing::warn!(signal = name, "stopping at once: asked a second time");
        std::process::exit(128 + number);
    });
    Ok(shutdown)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> (i32, &'static str) {
    tokio::select! {
        _ = terminate.recv() => (SignalKind::terminate().as_raw_value(), "SIGTERM"),
        _ = interrupt.recv() => (SignalKind::interrupt().as_raw_value(), "SIGINT"),
    }
}

/// The stream of SIGHUPs: each asks to read configuration and certificates again.
#[derive(Debug)]
pub struct Reloads {
    signals: Signal,
}

impl Reloads {
    /// Listens for SIGHUP from now on; without it the signal would end the process.
    /// Must be called inside a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        Ok(Self {
            signals: signal(SignalKind::hangup())?,
        })
    }

    /// Returns at the next SIGHUP; several that come together count once. Cancel-safe.
    pub async fn next(&mut self) {
        if self.signals.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_the_request() {
        let (trigger, shutdown) = Shutdown::manual();
        let other = shutdown.clone();
        assert!(!shutdown.is_requested());
        let waiting = tokio::spawn(async move { other.requested().await });
        trigger.request();
        waiting.await.unwrap();
        assert!(shutdown.is_requested());
        shutdown.requested().await;
    }

    #[tokio::test]
    async fn a_lost_trigger_is_a_request() {
        let (trigger, shutdown) = Shutdown::manual();
        drop(trigger);
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}
