//! Questions that wait for the gate to open.
//!
//! However many wait, each distinct question is judged once per [`TICK`] and once per transition:
//! one task judges for all, runs only while somebody waits, and holds one view at a time. Who
//! waits holds a receiver; dropping it is how a wait ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use pnwatch_core::gate::{Answer, Query};
use pnwatch_edge::shutdown::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::sources::{History, Sources};
use crate::answer::Refusal;
use crate::owner::Unserved;
use crate::tally::Tally;

/// How often a waiting question is judged at least: `for=` passes without a transition.
pub const TICK: Duration = Duration::from_millis(250);
/// Most questions that may wait at once, below the listener's connections, so that the page
/// still answers when they all wait.
pub const MAX_WAITING: usize = 1_000;
/// Most distinct questions among them: this bounds the work per tick.
pub const MAX_QUESTIONS: usize = 200;

/// Who waits.
pub(super) struct Waiting {
    sources: Sources,
    tally: Arc<Tally>,
    shutdown: Shutdown,
    free: Arc<Semaphore>,
    rooms: Mutex<Rooms>,
}

#[derive(Default)]
struct Rooms {
    open: Vec<Room>,
    /// The judging task runs.
    judging: bool,
}

/// All who ask the same.
struct Room {
    condition: Query,
    tell: watch::Sender<Arc<Answer>>,
}

/// A place among the waiting; gives itself back.
struct Place<'a> {
    waiting: &'a Waiting,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.waiting.publish();
    }
}

impl Waiting {
    pub(super) fn new(sources: Sources, tally: Arc<Tally>, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self {
            sources,
            tally,
            shutdown,
            free: Arc::new(Semaphore::new(MAX_WAITING)),
            rooms: Mutex::default(),
        })
    }

    /// Waits until the answer to `query` is one that `ends` the wait, at most until `deadline`.
    /// `first` is what the gate says now.
    pub(super) async fn until(
        self: &Arc<Self>,
        query: &Query,
        first: Arc<Answer>,
        ends: impl Fn(&Answer) -> bool,
        deadline: Instant,
    ) -> Result<Arc<Answer>, Refusal> {
        let _place = self.place()?;
        let mut told = self.join(query.condition(), first)?;
        // The room may know already what this wait ends with.
        told.mark_changed();
        let ended = async {
            loop {
                told.changed().await.map_err(|_| Unserved::Stopping)?;
                let answer = Arc::clone(&told.borrow_and_update());
                if ends(&answer) {
                    return Ok(answer);
                }
            }
        };
        let shutdown = self.shutdown.clone();
        let ended: Result<Arc<Answer>, Unserved> = tokio::select! {
            () = shutdown.requested() => Err(Unserved::Stopping),
            ended = ended => ended,
            () = tokio::time::sleep_until(deadline) => Ok(Arc::clone(&told.borrow())),
        };
        Ok(ended?)
    }

    fn place(&self) -> Result<Place<'_>, Refusal> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok();
        if permit.is_none() {
            return Err(no_room(&format!("{MAX_WAITING} questions wait already")));
        }
        self.publish();
        Ok(Place {
            waiting: self,
            permit,
        })
    }

    fn publish(&self) {
        let waiting = MAX_WAITING - self.free.available_permits();
        self.tally.set_gate_waiting(waiting);
    }

    fn join(
        self: &Arc<Self>,
        condition: Query,
        first: Arc<Answer>,
    ) -> Result<watch::Receiver<Arc<Answer>>, Refusal> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.open.iter().find(|room| room.condition == condition) {
            return Ok(room.tell.subscribe());
        }
        rooms.open.retain(|room| room.tell.receiver_count() > 0);
        if rooms.open.len() >= MAX_QUESTIONS {
            let what = format!("{MAX_QUESTIONS} different questions wait already");
            return Err(no_room(&what));
        }
        let (tell, told) = watch::channel(first);
        rooms.open.push(Room { condition, tell });
        if !std::mem::replace(&mut rooms.judging, true) {
            let waiting = Arc::clone(self);
            tokio::spawn(async move { waiting.judge_for_all().await });
        }
        Ok(told)
    }

    async fn judge_for_all(&self) {
        let mut transitions = self.sources.engine.transitions();
        let mut history = History::default();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.shutdown.requested() => break,
                _ = tick.tick() => {}
                // Whether one came or too many: the view knows.
                _ = transitions.recv() => while transitions.try_recv().is_ok() {},
            }
            match self.turn(&mut history).await {
                Ok(false) => return,
                // Without an answer the last ones stand, and none of them is open.
                Ok(true) | Err(Unserved::Overloaded) => {}
                Err(Unserved::Stopping) => break,
            }
        }
        // Without their senders those who wait learn that there is nothing to wait for.
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        *rooms = Rooms::default();
    }

    /// Judges every question that somebody waits for; false = nobody does.
    async fn turn(&self, history: &mut History) -> Result<bool, Unserved> {
        let snapshot = self.sources.engine.read().await?;
        let view = &snapshot.view;
        let asked = self.conditions();
        history.follow(&self.sources, asked.iter(), view.at).await?;
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.open.retain(|room| room.tell.receiver_count() > 0);
        rooms.judging = !rooms.open.is_empty();
        for room in &rooms.open {
            // Who came in between is judged in the next turn, when its history is known.
            if !asked.contains(&room.condition) {
                continue;
            }
            let answer = history.judge(&room.condition, view);
            room.tell.send_if_modified(|last| {
                let changed = **last != answer;
                if changed {
                    *last = Arc::new(answer);
                }
                changed
            });
        }
        Ok(rooms.judging)
    }

    /// The questions that somebody waits for.
    fn conditions(&self) -> Vec<Query> {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = rooms.open.iter().filter(|r| r.tell.receiver_count() > 0);
        waited.map(|room| room.condition.clone()).collect()
    }
}

fn no_room(what: &str) -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no_room_to_wait",
        format!("{what}; ask again in a second, or without wait="),
    )
}
