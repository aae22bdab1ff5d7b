//! Tells the engine who is saturated, once a second.

use std::time::Duration;

use pnwatch_core::bandwidth::{Egress, Limits, saturated};
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::owner::Handle;
use crate::traffic::Verdicts;

/// How often.
const TURN: Duration = Duration::from_secs(1);

/// Runs until the shutdown; dropping it leaves what was found as it was.
pub(crate) async fn watch(
    engine: Handle,
    verdicts: watch::Receiver<Verdicts>,
    limits: Limits,
    clock: SharedClock,
    shutdown: Shutdown,
) {
    let mut turns = tokio::time::interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            _ = turns.tick() => {}
        }
        // An engine that has no room now is asked again at the next turn.
        let Ok(snapshot) = engine.read().await else {
            continue;
        };
        let egress: Vec<Egress> = verdicts
            .borrow()
            .iter()
            .filter_map(|seen| {
                Some(Egress {
                    account: seen.account.clone(),
                    node: seen.node.clone(),
                    rate: seen.egress?,
                })
            })
            .collect();
        let found = saturated(&snapshot.view, &egress, limits, clock.now());
        drop(snapshot);
        let _ = engine.set_external("bandwidth", found).await;
    }
}
