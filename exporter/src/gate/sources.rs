//! Where the gate's grounds come from: the engine's view, and what the ledger remembers.

use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::gate::{Answer, BudgetLeft, Compared, Grounds, MAX_BASELINE_AGE, Query, judge};
use pnwatch_core::time::Timestamp;
use pnwatch_core::view::View;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ledger::{Inquiries, Statement};
use crate::owner::{Handle, Unserved};

/// How long what the ledger remembers is good for those who wait: it counts in slots of ten
/// seconds, and states its budgets as often.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Where the grounds come from. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    /// What is known now.
    pub engine: Handle,
    /// What budgets are left.
    pub books: watch::Receiver<Arc<Statement>>,
    /// How it was.
    pub inquiries: Inquiries,
}

impl Sources {
    /// Answers `query` from `view` and from what it asks besides.
    pub async fn judge(&self, query: &Query, view: &View) -> Result<Answer, Unserved> {
        let mut history = History::default();
        history.follow(self, [query].into_iter(), view.at).await?;
        Ok(history.judge(query, view))
    }

    fn budgets(&self) -> Vec<BudgetLeft> {
        let lines = Arc::clone(&self.books.borrow().lines);
        let left = lines.iter().map(|line| BudgetLeft {
            account: line.account.clone(),
            kind: line.kind,
            measure: line.measure,
            remaining: line.budget.remaining,
        });
        left.collect()
    }
}

/// What the ledger remembers, for a set of questions.
#[derive(Default)]
pub(super) struct History {
    budgets: Vec<BudgetLeft>,
    compared: Vec<(Timestamp, Instant, Vec<Compared>)>,
}

impl History {
    /// Looks up what `queries` need and is not known or too old; forgets the rest.
    pub(super) async fn follow<'q>(
        &mut self,
        sources: &Sources,
        queries: impl Iterator<Item = &'q Query>,
        at: Timestamp,
    ) -> Result<(), Unserved> {
        let (mut budget, mut baselines) = (false, Vec::new());
        for query in queries {
            budget |= query.budget.is_some();
            // Beyond that the gate does not look at it.
            let within = |b: &Timestamp| at.since(*b) <= MAX_BASELINE_AGE;
            baselines.extend(query.baseline.filter(within));
        }
        baselines.sort_unstable();
        baselines.dedup();
        self.budgets = if budget {
            sources.budgets()
        } else {
            Vec::new()
        };
        let now = Instant::now();
        self.compared.retain(|(baseline, since, _)| {
            now.duration_since(*since) < REMEMBERED && baselines.contains(baseline)
        });
        for baseline in baselines {
            if !self.compared.iter().any(|(known, ..)| *known == baseline) {
                let compared = sources.inquiries.compared(baseline).await?;
                self.compared.push((baseline, now, compared));
            }
        }
        Ok(())
    }

    /// Answers `query`, which was among those followed.
    pub(super) fn judge(&self, query: &Query, view: &View) -> Answer {
        let compared = self.compared.iter();
        let compared = compared
            .filter(|(baseline, ..)| query.baseline == Some(*baseline))
            .map(|(_, _, compared)| compared.as_slice())
            .next();
        let grounds = Grounds {
            view,
            budgets: &self.budgets,
            compared: compared.unwrap_or_default(),
        };
        judge(query, &grounds)
    }
}
