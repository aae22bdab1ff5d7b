//! The task that owns the engine: everything that changes or reads it is a command.
//!
//! One task, one bounded queue. A report that finds no room is refused, never dropped silently.
//! After commands, and whenever the engine asks for it, the engine judges; only then are their
//! answers given, so that who reads after a report sees its verdict. A judgement that took long
//! is followed by a pause in which commands gather for the next: judging takes a quarter of one
//! CPU, or half of it where one judgement takes longer than the pause may last.
//!
//! Readers get a [`Snapshot`] computed at the read: at most one each [`SNAPSHOT_AGE`] while
//! nothing transitions, shared by all who read meanwhile, so that many readers cost one
//! projection. Transitions go out on a broadcast at once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::board::Applied;
use pnwatch_core::diagnosis::Diagnosis;
use pnwatch_core::diagnosis::explain::{About, AboutError, Explanation};
use pnwatch_core::engine::Engine;
use pnwatch_core::finding::{Change, Transition};
use pnwatch_core::inventory::Inventory;
use pnwatch_core::link::Cidr;
use pnwatch_core::name::Vantage;
use pnwatch_core::time::{Now, Tick};
use pnwatch_core::view::View;
use pnwatch_core::wire::Report;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::shutdown::Shutdown;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::checks::Checks;
use crate::health::Pulse;

/// Commands that may wait. At 200 reports a second this is a second's worth.
const QUEUE: usize = 256;
/// Commands taken between two judgements.
const BATCH: usize = 64;
/// Between two judgements, as a multiple of what the last one took.
const PAUSE: u32 = 3;
/// The longest pause, unless the judgement itself took longer: a report waits for it.
const LONGEST_PAUSE: Duration = Duration::from_millis(40);
/// Transitions that a slow reader may fall behind; it then reads the view anew.
const TRANSITIONS: usize = 256;
/// How old a snapshot may be for another reader.
pub const SNAPSHOT_AGE: Duration = Duration::from_millis(100);
/// The task beats at least this often.
const BEAT: Duration = Duration::from_secs(1);
/// How long a command may wait for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The engine and its counts, at one instant.
#[derive(Debug)]
pub struct Snapshot {
    /// Everything that is known.
    pub view: View,
    /// What was counted.
    pub checks: Checks,
    /// The PN's address range.
    pub pn_cidr: Cidr,
}

/// What plans are made of; a new value for every change.
#[derive(Debug)]
pub struct Basis {
    /// Counts up with every change.
    pub generation: u64,
    /// Counts up with every change of the inventory.
    pub inventory_generation: u64,
    /// What should exist; the same value as long as it says the same.
    pub inventory: Arc<Inventory>,
    /// The PN addresses that vantages report.
    pub addresses: BTreeMap<Vantage, Ipv4Addr>,
}

/// The engine had no room, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unserved {
    /// The queue is full, or the answer took longer than five seconds.
    #[error("the exporter is overloaded: its engine has no room for another command")]
    Overloaded,
    /// The exporter is stopping.
    #[error("the exporter is stopping")]
    Stopping,
}

enum Command {
    Report(Box<Report>, oneshot::Sender<Applied>),
    Inventory(Box<Inventory>, oneshot::Sender<()>),
    External(&'static str, Vec<Diagnosis>),
    Read(oneshot::Sender<Arc<Snapshot>>),
    Explain(String, oneshot::Sender<Explained>),
}

/// Why something is judged as it is; `None` if nothing of that name is known.
pub type Explained = Result<Option<Box<Explanation>>, AboutError>;

/// What was asked, and whom to tell after the judgement.
enum Answer {
    Applied(oneshot::Sender<Applied>, Applied),
    Done(oneshot::Sender<()>),
    Read(oneshot::Sender<Arc<Snapshot>>),
    Explain(oneshot::Sender<Explained>, String),
}

/// How the other tasks speak to the engine. Cheap to clone; every call is cancel-safe.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    transitions: broadcast::Sender<Arc<Transition>>,
    basis: watch::Receiver<Arc<Basis>>,
}

impl Handle {
    /// Gives a report to the engine and waits until it was judged. Never waits for room.
    pub async fn report(&self, report: Report) -> Result<Applied, Unserved> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .try_send(Command::Report(Box::new(report), answer))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Unserved::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Unserved::Stopping,
            })?;
        wait(answered).await
    }

    /// Replaces the inventory.
    pub async fn set_inventory(&self, inventory: Inventory) -> Result<(), Unserved> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Inventory(Box::new(inventory), answer))
            .await?;
        wait(answered).await
    }

    /// Replaces what another judge has found.
    pub async fn set_external(
        &self,
        source: &'static str,
        diagnoses: Vec<Diagnosis>,
    ) -> Result<(), Unserved> {
        self.send(Command::External(source, diagnoses)).await
    }

    /// Everything that is known, at most [`SNAPSHOT_AGE`] old.
    pub async fn read(&self) -> Result<Arc<Snapshot>, Unserved> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Read(answer)).await?;
        wait(answered).await
    }

    /// Why `about` is judged as it is now.
    pub async fn explain(&self, about: String) -> Result<Explained, Unserved> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Explain(about, answer)).await?;
        wait(answered).await
    }

    /// Transitions from now on.
    pub fn transitions(&self) -> broadcast::Receiver<Arc<Transition>> {
        self.transitions.subscribe()
    }

    /// What plans are made of, as it changes.
    pub fn basis(&self) -> watch::Receiver<Arc<Basis>> {
        self.basis.clone()
    }

    async fn send(&self, command: Command) -> Result<(), Unserved> {
        match tokio::time::timeout(PATIENCE, self.commands.send(command)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Unserved::Stopping),
            Err(_) => Err(Unserved::Overloaded),
        }
    }
}

async fn wait<T>(answered: oneshot::Receiver<T>) -> Result<T, Unserved> {
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(Unserved::Stopping),
        Err(_) => Err(Unserved::Overloaded),
    }
}

/// The engine with its queue, before it runs.
pub struct Owner {
    engine: Engine,
    checks: Checks,
    clock: SharedClock,
    pulse: Arc<Pulse>,
    commands: mpsc::Receiver<Command>,
    transitions: broadcast::Sender<Arc<Transition>>,
    basis: watch::Sender<Arc<Basis>>,
    snapshot: Option<(Tick, Arc<Snapshot>)>,
    tap: Option<mpsc::Sender<Arc<Report>>>,
    /// Commands were applied that no judgement has seen.
    changed: bool,
    /// Not judged again before this, unless many wait.
    not_before: Tick,
    /// Given after the next judgement.
    answers: Vec<Answer>,
}

impl Owner {
    /// Takes the engine; `pulse` beats as long as the task runs.
    pub fn new(engine: Engine, clock: SharedClock, pulse: Arc<Pulse>) -> (Self, Handle) {
        let (sender, commands) = mpsc::channel(QUEUE);
        let (transitions, _) = broadcast::channel(TRANSITIONS);
        let (basis, published) = watch::channel(Arc::new(Basis {
            generation: 0,
            inventory_generation: 0,
            inventory: Arc::clone(engine.inventory()),
            addresses: engine.addresses(),
        }));
        let handle = Handle {
            commands: sender,
            transitions: transitions.clone(),
            basis: published,
        };
        let owner = Self {
            engine,
            checks: Checks::default(),
            clock,
            pulse,
            commands,
            transitions,
            basis,
            snapshot: None,
            tap: None,
            changed: false,
            not_before: Tick::default(),
            answers: Vec::new(),
        };
        (owner, handle)
    }

    /// Every report that the engine takes from now on, for who counts its events. A reader
    /// that falls [`QUEUE`] reports behind misses some: judging never waits for counting.
    pub fn tap(&mut self) -> mpsc::Receiver<Arc<Report>> {
        let (tap, reports) = mpsc::channel(QUEUE);
        self.tap = Some(tap);
        reports
    }

    /// Runs until the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let now = self.clock.now();
            self.pulse.beat(now.tick);
            let due = self.engine.next_deadline(now.tick);
            let due = if self.changed { now.tick } else { due };
            let wait = due.max(self.not_before).since(now.tick);
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                taken = self.commands.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                }
                // Never zero: a deadline that stays in the past must not spin.
                () = tokio::time::sleep(wait.clamp(Duration::from_millis(1), BEAT)) => {}
            }
            self.turn(&mut batch);
        }
    }

    /// Applies a batch, judges, publishes, answers.
    fn turn(&mut self, batch: &mut Vec<Command>) {
        let now = self.clock.now();
        for command in batch.drain(..) {
            let answer = self.apply(command, now);
            self.answers.extend(answer);
        }
        let may = now.tick >= self.not_before || self.answers.len() >= QUEUE;
        let due = self.changed || self.engine.next_deadline(now.tick) <= now.tick;
        if due && may {
            self.judge(now);
        }
        if self.changed {
            return;
        }
        for answer in core::mem::take(&mut self.answers) {
            // Who asked may have gone.
            match answer {
                Answer::Applied(to, applied) => drop(to.send(applied)),
                Answer::Done(to) => drop(to.send(())),
                Answer::Read(to) => drop(to.send(self.snapshot(now))),
                Answer::Explain(to, about) => drop(to.send(self.explain(&about, now))),
            }
        }
    }

    fn judge(&mut self, now: Now) {
        let transitions = self.engine.evaluate(now);
        if !transitions.is_empty() {
            self.snapshot = None;
        }
        for transition in transitions {
            log(&transition);
            // Nobody may be listening.
            let _ = self.transitions.send(Arc::new(transition));
        }
        self.publish();
        self.changed = false;
        let after = self.clock.now().tick;
        let took = after.since(now.tick);
        self.not_before = after.after((took * PAUSE).min(LONGEST_PAUSE.max(took)));
    }

    fn apply(&mut self, command: Command, now: Now) -> Option<Answer> {
        match command {
            Command::Read(to) => return Some(Answer::Read(to)),
            Command::Explain(about, to) => return Some(Answer::Explain(to, about)),
            Command::Report(report, to) => {
                let applied = self.engine.apply(&report, now);
                if matches!(applied, Applied::Fresh | Applied::History) {
                    self.checks.add(&report, self.engine.inventory());
                    // VMs are counted and never charged: no budget is theirs to spend.
                    for vm in report.vm_reports() {
                        self.checks.add(&vm, self.engine.inventory());
                    }
                    if let Some(tap) = &self.tap
                        && tap.try_send(Arc::new(*report)).is_err()
                    {
                        tracing::warn!("a report is missing from the budgets: too many at once");
                    }
                }
                self.changed = true;
                return Some(Answer::Applied(to, applied));
            }
            Command::Inventory(inventory, to) => {
                self.checks.retain(&inventory);
                self.engine.set_inventory(*inventory);
                self.snapshot = None;
                self.changed = true;
                return Some(Answer::Done(to));
            }
            Command::External(source, diagnoses) => {
                self.engine.set_external(source, diagnoses);
                self.changed = true;
            }
        }
        None
    }

    fn explain(&self, about: &str, now: Now) -> Explained {
        let about = About::read(about, self.engine.inventory())?;
        Ok(self.engine.explain(&about, now).map(Box::new))
    }

    fn publish(&mut self) {
        let addresses = self.engine.addresses();
        let inventory = self.engine.inventory();
        self.basis.send_if_modified(|basis| {
            let same = Arc::ptr_eq(&basis.inventory, inventory);
            if same && basis.addresses == addresses {
                return false;
            }
            let as_before = same || basis.inventory == *inventory;
            let equal = as_before && basis.addresses == addresses;
            *basis = Arc::new(Basis {
                generation: basis.generation + u64::from(!equal),
                inventory_generation: basis.inventory_generation + u64::from(!as_before),
                inventory: Arc::clone(inventory),
                addresses,
            });
            !equal
        });
    }

    fn snapshot(&mut self, now: Now) -> Arc<Snapshot> {
        if let Some((at, snapshot)) = &self.snapshot
            && now.tick.since(*at) < SNAPSHOT_AGE
        {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(Snapshot {
            view: self.engine.view(now),
            checks: self.checks.clone(),
            pn_cidr: self.engine.inventory().pn_cidr,
        });
        self.snapshot = Some((now.tick, Arc::clone(&snapshot)));
        snapshot
    }
}

/// One line per transition, with the finding's id.
fn log(transition: &Transition) {
    let finding = &transition.finding;
    let change = match transition.change {
        Change::Opened => "opened",
        Change::Sharpened => "sharpened",
        Change::Closed => "closed",
    };
    tracing::info!(
        finding = %finding.id,
        blame = %finding.identity.blame,
        subject = %finding.identity.subject,
        fault = %finding.fault,
        severity = %finding.severity,
        confidence = %finding.confidence,
        since = %finding.started_at,
        "finding {change}: {}",
        finding.summary
    );
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
