//! The exporters as the loop sees them, and the tasks that talk to them.
//!
//! A sender task per exporter, one report at a time; it holds nothing that matters: what it was
//! given stays in the [`Outbox`] until it says that it arrived.

use std::sync::Arc;

use pnwatch_core::name::{Cluster, Vantage};
use pnwatch_core::plan::{Plan, PlanDiff};
use pnwatch_core::subject::Subject;
use pnwatch_core::time::Tick;
use pnwatch_core::wire::Report;
use tokio::sync::mpsc;

use crate::outbox::Outbox;
use crate::plans;
use crate::transport::Transport;

/// What the small tasks tell the loop.
#[derive(Debug)]
pub enum News {
    /// An exporter's plan.
    Plan {
        /// The number of the exporter.
        from: usize,
        /// Its plan, validated.
        plan: Box<Plan>,
    },
    /// A report arrived, or did not.
    Sent {
        /// The number of the exporter.
        to: usize,
        /// Whether to send it again.
        keep: bool,
        /// Why it did not arrive.
        error: Option<String>,
        /// What the exporter wants checked now.
        asked: Vec<Subject>,
    },
    /// The oldest report of the spool; `None` = nothing waits there.
    Spooled {
        /// The number of the exporter.
        to: usize,
        /// The report.
        report: Option<Box<Report>>,
    },
}

/// One exporter as the loop sees it.
pub struct Exporter {
    /// The way there.
    pub transport: Arc<dyn Transport>,
    /// What it has not got yet.
    pub outbox: Outbox,
    /// To its sender task.
    pub line: mpsc::Sender<Report>,
    /// What it wants checked.
    pub plan: Option<Plan>,
    said: Option<String>,
    /// What of the spool goes next.
    pub replay: Replay,
}

/// How far an exporter is with what is on disk for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Something may be there.
    Due,
    /// The spool was asked.
    Asked,
    /// A report of it is under way.
    UnderWay,
    /// Nothing is there.
    Nothing,
}

/// Beyond this many targets a change is logged without counting what differs.
const COUNTED: usize = 2000;

impl Exporter {
    /// Spawns the sender and the plan task of exporter number `number`.
    pub fn open(
        number: usize,
        transport: Arc<dyn Transport>,
        cluster: &Cluster,
        vantage: &Vantage,
        tell: &mpsc::Sender<News>,
    ) -> Self {
        let (line, reports) = mpsc::channel(1);
        tokio::spawn(send(number, transport.clone(), reports, tell.clone()));
        tokio::spawn(plans::follow(
            number,
            transport.clone(),
            cluster.clone(),
            vantage.clone(),
            tell.clone(),
        ));
        Self {
            transport,
            outbox: Outbox::default(),
            line,
            plan: None,
            said: None,
            // The last run may have left something.
            replay: Replay::Due,
        }
    }

    /// It has a new plan; `fallback` is what was followed without one.
    pub fn planned(&mut self, plan: Plan, fallback: Option<&Plan>) {
        let old = self.plan.as_ref().or(fallback);
        let old = old.filter(|old| old.targets.len().max(plan.targets.len()) <= COUNTED);
        let diff = old.map(|old| PlanDiff::between(old, &plan));
        tracing::info!(
            exporter = self.transport.name(),
            id = %plan.id,
            targets = plan.targets.len(),
            nodes = plan.nodes.len(),
            neighbours = plan.neighbours.len(),
            added = diff.map(|diff| diff.added),
            removed = diff.map(|diff| diff.removed),
            "plan"
        );
        self.plan = Some(plan);
    }

    /// Whether the line is free for what is on disk: all that is newer has arrived.
    pub fn may_replay(&self) -> bool {
        self.replay == Replay::Due && self.outbox.is_empty() && self.said.is_none()
    }

    /// What is on disk waits until something newer is accepted.
    pub fn hold(&mut self, error: Option<String>) {
        self.said = self.said.take().or(error);
    }

    /// The report under way arrived, or not; whether it did. Trouble is said once.
    pub fn sent(&mut self, keep: bool, error: Option<String>, retry_at: Tick) -> bool {
        let name = self.transport.name();
        let Some(error) = error else {
            self.outbox.done(false, retry_at);
            if self.said.take().is_some() {
                tracing::info!(exporter = name, "reports arrive again");
            }
            return true;
        };
        if keep {
            self.outbox.done(true, retry_at);
        } else {
            self.outbox.give_up();
        }
        if self.said.as_ref() != Some(&error) {
            tracing::warn!(exporter = name, "report not delivered: {error}");
            self.said = Some(error);
        }
        false
    }
}

/// Delivers one report after another; ends with the loop.
async fn send(
    to: usize,
    transport: Arc<dyn Transport>,
    mut reports: mpsc::Receiver<Report>,
    news: mpsc::Sender<News>,
) {
    while let Some(report) = reports.recv().await {
        let (keep, error, asked) = match transport.report(&report).await {
            Ok(asked) => (false, None, asked),
            Err(error) => (error.is_passing(), Some(error.to_string()), Vec::new()),
        };
        let sent = News::Sent {
            to,
            keep,
            error,
            asked,
        };
        if news.send(sent).await.is_err() {
            return;
        }
    }
}
