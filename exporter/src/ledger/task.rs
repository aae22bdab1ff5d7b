//! The task that keeps the books: reports in, saves and burning budgets out.
//!
//! One task beside the ledger's writer thread. It turns once a second and at every transition,
//! so that an opened finding is on disk before the next second ends. Ends with the shutdown
//! after a last turn.

use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::finding::Finding;
use pnwatch_core::wire::Report;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::shutdown::Shutdown;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::{Inquiry, Keeper, Ledger, Statement};
use crate::owner::Handle;

/// Between two saves.
const SAVE: Duration = Duration::from_secs(1);
/// Between two statements: half of the finest slot.
const STATEMENT: Duration = Duration::from_secs(5);
/// How long the last save may take at shutdown.
const LAST: Duration = Duration::from_secs(5);

/// The keeper, its ledger, and who is told of both.
pub type Books = (Keeper, Ledger, watch::Sender<Arc<Statement>>);

/// What the keeper hears.
pub struct Inputs {
    /// Reports that the engine took ([`crate::owner::Owner::tap`]).
    pub reports: mpsc::Receiver<Arc<Report>>,
    /// Questions about what was.
    pub inquiries: mpsc::Receiver<Inquiry>,
}

/// Keeps the books until the shutdown.
pub async fn keep(
    (mut keeper, ledger, told): Books,
    mut inputs: Inputs,
    engine: Handle,
    clock: SharedClock,
    shutdown: Shutdown,
) {
    let basis = engine.basis();
    let mut transitions = engine.transitions();
    let mut ticks = tokio::time::interval(SAVE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open: Vec<Finding> = Vec::new();
    let mut stated = None;
    loop {
        let mut last = false;
        tokio::select! {
            biased;
            () = shutdown.requested() => last = true,
            Some(report) = inputs.reports.recv() => {
                keeper.report(&report, &basis.borrow().inventory, clock.now());
                continue;
            }
            Some(inquiry) = inputs.inquiries.recv() => {
                // Who asked may have gone.
                let _ = inquiry.answer.send(keeper.compared(inquiry.baseline, clock.now()));
                continue;
            }
            seen = transitions.recv() => {
                if matches!(seen, Err(broadcast::error::RecvError::Closed)) {
                    last = true;
                }
                // What came with it is seen by the same turn.
                while transitions.try_recv().is_ok() {}
            }
            _ = ticks.tick() => {}
        }
        // An engine that does not answer in time leaves the findings as they were.
        if let Ok(snapshot) = engine.read().await {
            open.clone_from(&snapshot.view.open);
        }
        let now = clock.now();
        let everything = ledger
            .take_wants_everything()
            .then(|| keeper.everything(&open, now));
        let turn = keeper.turn(&open, &basis.borrow().inventory.clone(), now);
        ledger.save(everything.unwrap_or_default());
        ledger.save(turn.save);
        let due = stated.is_none_or(|at| now.tick.since(at) >= STATEMENT);
        let lines = due.then(|| keeper.lines(now).into());
        if due {
            stated = Some(now.tick);
        }
        told.send_modify(|statement| {
            let lines = lines.unwrap_or_else(|| Arc::clone(&statement.lines));
            *statement = Arc::new(Statement {
                status: ledger.status(),
                objectives: keeper.objectives(),
                lines,
            });
        });
        if last {
            break;
        }
        // Refused only when the engine is overloaded or stopping; the next second tells again.
        let _ = engine.set_external("budget", turn.burning).await;
    }
    // Said already, with its reason, where nothing is being written.
    let said = ledger.status().volatile.is_some();
    // The writer blocks; the runtime must not.
    let flushed = tokio::task::spawn_blocking(move || ledger.flush(LAST)).await;
    if !said && !matches!(flushed, Ok(true)) {
        tracing::warn!("the ledger's last second is not on disk");
    }
}
