//! The agent of a runner VM: checks by numbers, tells its host's relay, knows nothing else.
//!
//! No secret, no name, no state on disk. At most [`PER_SECOND`] checks a second in all, fewer
//! while the machine is busy, none while the relay says that the host's connection states run
//! short. The first outcome is told as soon as it is known.

mod check;
pub(crate) mod line;
mod rotation;

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use pnwatch_core::outcome::{Layer, Outcome};
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::Vm;
use pnwatch_edge::http::ClientError;
use pnwatch_edge::shutdown::Shutdown;
use tokio::task::JoinSet;

use crate::link::micros;
use crate::relay::talk::{Brief, MAX_SEEN, Told, VERSION, VmSeen};
use crate::settings::fresh_boot_id;
use check::{Seen, Work};
use line::Line;
use rotation::Rotation;

/// Most checks a second.
pub const PER_SECOND: u32 = 2;
/// From check to check.
const PACE: Duration = Duration::from_millis(1000 / PER_SECOND as u64);
/// From check to check while the machine is busy.
const QUIET_PACE: Duration = Duration::from_secs(2);
/// An agent that is woken this much too late is on a busy machine.
const LATE: Duration = Duration::from_millis(100);
/// For how long a late wake-up keeps the agent quiet.
const QUIET_FOR: Duration = Duration::from_secs(10);
/// A relay that is not there is looked for at this pace.
const RETRY: Duration = Duration::from_millis(250);
/// Something is told at least this often, so that the host knows that the VM is there.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_millis(300);

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The client cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The kernel refused something basic.
    #[error("the agent cannot run: {0}")]
    System(#[from] std::io::Error),
}

/// Runs until the shutdown, then says goodbye.
pub async fn run(vm: &Vm, clock: SharedClock, shutdown: Shutdown) -> Result<(), VmError> {
    let agent = Agent::new(vm.relay, clock)?;
    agent.run(shutdown).await;
    Ok(())
}

struct Agent {
    clock: SharedClock,
    line: Line,
    run: u64,
    seq: u64,
    brief: Option<Brief>,
    rotation: Rotation,
    waiting: VecDeque<(Tick, VmSeen)>,
    quiet_until: Tick,
    next_check: Tick,
    next_tell: Tick,
    said: Option<String>,
}

impl Agent {
    fn new(relay: SocketAddr, clock: SharedClock) -> Result<Self, VmError> {
        let now = clock.now().tick;
        let run = u64::from_str_radix(&fresh_boot_id()?, 16).unwrap_or_default();
        Ok(Self {
            clock,
            line: Line::new(relay)?,
            run,
            seq: 0,
            brief: None,
            rotation: Rotation::default(),
            waiting: VecDeque::new(),
            quiet_until: now,
            next_check: now,
            next_tell: now,
            said: None,
        })
    }

    async fn run(mut self, shutdown: Shutdown) {
        let mut checks = JoinSet::new();
        loop {
            let now = self.clock.now().tick;
            let due = self.next_check.min(self.next_tell);
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                Some(Ok(seen)) = checks.join_next() => self.take(seen),
                () = tokio::time::sleep(due.since(now)) => self.woken(due),
            }
            let now = self.clock.now().tick;
            if now >= self.next_tell {
                self.tell(false).await;
            }
            if self.clock.now().tick >= self.next_check {
                self.check(&mut checks);
            }
        }
        let _ = tokio::time::timeout(GOODBYE, self.tell(true)).await;
    }

    /// Notes by how much the wake-up was late.
    fn woken(&mut self, due: Tick) {
        let now = self.clock.now().tick;
        if now.since(due) > LATE {
            self.quiet_until = now.after(QUIET_FOR);
        }
    }

    fn check(&mut self, checks: &mut JoinSet<Seen>) {
        let now = self.clock.now().tick;
        let pace = if now < self.quiet_until {
            QUIET_PACE
        } else {
            PACE
        };
        self.next_check = now.after(pace);
        let Some(brief) = self.brief.as_ref().filter(|brief| !brief.hold) else {
            return;
        };
        // A check that hangs is not joined by others without end.
        if checks.len() >= 2 * PER_SECOND as usize {
            return;
        }
        let Some(what) = self.rotation.next(brief) else {
            return;
        };
        let work = Work {
            what,
            brief: brief.number,
            salt: brief.salt.clone(),
            start: now,
        };
        let clock = self.clock.clone();
        checks.spawn(check::check(work, clock));
    }

    fn take(&mut self, seen: Seen) {
        let Some(brief) = &self.brief else { return };
        let now = self.clock.now().tick;
        self.rotation.saw(&seen);
        // What belongs to an older brief may be told under its number only; it has no message
        // of its own any more.
        if seen.brief != brief.number {
            return;
        }
        for outcome in seen.outcomes {
            let urgent = outcome.outcome != Outcome::Reached || outcome.layer == Layer::Control;
            self.waiting.push_back((seen.start, outcome));
            if urgent || self.seq < 4 {
                self.next_tell = self.next_tell.min(now);
            }
        }
        while self.waiting.len() > MAX_SEEN {
            self.waiting.pop_front();
        }
    }

    async fn tell(&mut self, stopping: bool) {
        let now = self.clock.now().tick;
        self.seq += 1;
        let seen = self.waiting.iter().map(|(start, outcome)| VmSeen {
            age_us: micros(now.since(*start)),
            ..outcome.clone()
        });
        let told = Told {
            version: VERSION,
            run: self.run,
            seq: self.seq,
            brief: self.brief.as_ref().map_or(0, |brief| brief.number),
            stopping,
            seen: seen.collect(),
        };
        let answer = self.line.tell(&told).await;
        let now = self.clock.now().tick;
        self.next_tell = now.after(TELL_EVERY);
        match answer {
            Ok(brief) => {
                self.waiting.clear();
                if self.said.take().is_some() {
                    tracing::info!("the relay answers again");
                }
                let first = self.brief.is_none();
                if self.brief.as_ref() != Some(&brief) {
                    self.rotation.keep(&brief);
                    self.brief = Some(brief);
                }
                if first {
                    self.next_check = now;
                }
            }
            Err(why) => {
                if self.brief.is_none() {
                    self.next_tell = now.after(RETRY);
                }
                if self.said.as_ref() != Some(&why) {
                    tracing::warn!("the host's relay does not listen: {why}");
                    self.said = Some(why);
                }
            }
        }
    }
}
