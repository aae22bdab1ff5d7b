//! Tells the engine who is saturated, once a second, and remembers where nodes were held down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::bandwidth::{BitRate, Clamp, Egress, Limits, clamps, saturated};
use pnwatch_core::name::{Node, Vantage};
use pnwatch_core::view::View;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::Bandwidth;
use pnwatch_edge::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::owner::Handle;
use crate::traffic::Verdicts;

/// How often.
const TURN: Duration = Duration::from_secs(1);

/// The last clamp of each device and direction since the exporter began.
pub type Learned = Arc<Vec<Clamp>>;

/// What the task hears and tells.
pub(crate) struct Ends {
    /// What accounts send.
    pub(crate) verdicts: watch::Receiver<Verdicts>,
    /// Where nodes were held down.
    pub(crate) learned: watch::Sender<Learned>,
}

/// Runs until the shutdown; dropping it leaves what was found as it was.
pub(crate) async fn watch(
    engine: Handle,
    ends: Ends,
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
        let egress: Vec<Egress> = ends
            .verdicts
            .borrow()
            .iter()
            .filter_map(|seen| {
                Some(Egress {
                    account: seen.account.clone(),
                    instance: seen.instance.clone(),
                    node: seen.node.clone(),
                    rate: seen.egress?,
                })
            })
            .collect();
        let now = clamps(&snapshot.view, &egress, limits);
        let found = saturated(&snapshot.view, &egress, limits, &now, clock.now());
        ends.learned.send_if_modified(|learned| {
            let known = learn(learned, now, &snapshot.view);
            let is_news = **learned != known;
            *learned = Arc::new(known);
            is_news
        });
        drop(snapshot);
        let _ = engine.set_external("bandwidth", found).await;
    }
}

/// What is configured, in bytes per second.
pub(crate) fn limits(config: &Bandwidth) -> Limits {
    Limits {
        account_cap: config.account_cap.bytes(),
        client_card: config.client_card.bytes(),
        node_capacity: config.node_capacity.map(BitRate::bytes),
    }
}

/// What was known with what is seen now; a node that is gone is forgotten.
fn learn(known: &[Clamp], seen: Vec<Clamp>, view: &View) -> Vec<Clamp> {
    let key = |clamp: &Clamp| (clamp.node.clone(), clamp.device.clone(), clamp.sends);
    let there = |node: &Node| {
        let mut vantages = view.vantages.iter();
        vantages.any(|seen| matches!(&seen.vantage, Vantage::Node(name) if name == node))
    };
    let known = known.iter().filter(|clamp| there(&clamp.node)).cloned();
    let by_device: BTreeMap<_, Clamp> = known.chain(seen).map(|c| (key(&c), c)).collect();
    by_device.into_values().collect()
}
