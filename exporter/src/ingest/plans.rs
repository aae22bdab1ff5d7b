//! Plans per vantage: their ids at every report, their content only for who has another one.
//!
//! An id is remembered as long as what it is made of stays the same, so that a report costs no
//! hash; no plan is kept, so that memory does not grow with vantages times targets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use pnwatch_core::assign::Sparse;
use pnwatch_core::name::Vantage;
use pnwatch_core::plan::{Pace, Plan, PlanId, PlannedNeighbour, neighbours};
use tokio::sync::{Semaphore, watch};

use crate::owner::Basis;

/// Plans made at once: one may have 50,000 targets.
const AT_ONCE: usize = 2;

/// Vantages whose plan's id is remembered.
const REMEMBERED: usize = 2048;

/// A plan's id and what it stands for.
#[derive(Debug)]
struct Known {
    id: PlanId,
    /// Of the basis that was looked at last.
    generation: u64,
    inventory_generation: u64,
    neighbours: Vec<PlannedNeighbour>,
}

/// The plans of all vantages that ask.
#[derive(Debug)]
pub struct Plans {
    basis: watch::Receiver<Arc<Basis>>,
    pace: Pace,
    sparse: Sparse,
    known: Mutex<BTreeMap<Vantage, Known>>,
    making: Semaphore,
}

impl Plans {
    /// Plans from `basis` as it changes.
    pub fn new(basis: watch::Receiver<Arc<Basis>>, pace: Pace, sparse: Sparse) -> Self {
        Self {
            basis,
            pace,
            sparse,
            known: Mutex::new(BTreeMap::new()),
            making: Semaphore::new(AT_ONCE),
        }
    }

    /// The id of the plan of `vantage` now.
    pub async fn id(&self, vantage: &Vantage) -> PlanId {
        let basis = Arc::clone(&self.basis.borrow());
        if let Some(id) = self.recall(vantage, &basis) {
            return id;
        }
        self.make(vantage).await.0
    }

    /// The plan of `vantage` now: its id and its JSON.
    pub async fn content(&self, vantage: &Vantage) -> (PlanId, Bytes) {
        let (id, plan) = self.make(vantage).await;
        // A plan of plain strings and numbers always serializes.
        let json = run(move || serde_json::to_vec(&plan).unwrap_or_default()).await;
        (id, json.into())
    }

    async fn make(&self, vantage: &Vantage) -> (PlanId, Plan) {
        // Never closed.
        let _permit = self.making.acquire().await;
        let basis = Arc::clone(&self.basis.borrow());
        let (made_of, made_for) = (Arc::clone(&basis), vantage.clone());
        let how = (self.pace, self.sparse);
        let plan =
            run(move || Plan::shared_out(&made_of.inventory, &made_for, &made_of.addresses, how))
                .await;
        self.remember(vantage, &basis, &plan);
        (plan.id.clone(), plan)
    }

    /// The id, if nothing that the plan is made of has changed since it was made.
    fn recall(&self, vantage: &Vantage, basis: &Arc<Basis>) -> Option<PlanId> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_mut(vantage)?;
        if known.generation != basis.generation {
            let same = known.inventory_generation == basis.inventory_generation
                && known.neighbours == neighbours(&basis.inventory, vantage, &basis.addresses);
            if !same {
                return None;
            }
            known.generation = basis.generation;
        }
        Some(known.id.clone())
    }

    fn remember(&self, vantage: &Vantage, basis: &Arc<Basis>, plan: &Plan) {
        let fresh = Known {
            id: plan.id.clone(),
            generation: basis.generation,
            inventory_generation: basis.inventory_generation,
            neighbours: plan.neighbours.clone(),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            // Who has not asked since the last change makes room, and costs a hash if it returns.
            known.retain(|_, known| known.generation == basis.generation);
        }
        let old = known.insert(vantage.clone(), fresh);
        if old.is_some_and(|old| old.id != plan.id) {
            let (targets, nodes) = (plan.targets.len(), plan.nodes.len());
            let neighbours = plan.neighbours.len();
            tracing::info!(%vantage, plan = %plan.id, targets, nodes, neighbours, "plan changed");
        }
    }

    /// To be told of changes.
    pub fn changes(&self) -> watch::Receiver<Arc<Basis>> {
        self.basis.clone()
    }
}

/// Runs what takes long for a large plan off the threads that serve requests.
async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(made) => made,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody aborts it: the runtime is going, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
