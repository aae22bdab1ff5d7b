//! Plans per vantage, made once per change of what they are made of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use pnwatch_core::name::Vantage;
use pnwatch_core::plan::{Pace, Plan, PlanDiff, PlanId};
use tokio::sync::watch;

use crate::owner::Basis;

/// A plan ready to be sent.
#[derive(Debug)]
pub struct Ready {
    /// Its id.
    pub id: PlanId,
    /// As JSON.
    pub json: Bytes,
    plan: Plan,
    generation: u64,
}

/// The plans of all vantages that asked. Bounded by the vantages that have a token.
#[derive(Debug)]
pub struct Plans {
    basis: watch::Receiver<Arc<Basis>>,
    pace: Pace,
    made: Mutex<BTreeMap<Vantage, Arc<Ready>>>,
}

impl Plans {
    /// Plans from `basis` as it changes.
    pub fn new(basis: watch::Receiver<Arc<Basis>>, pace: Pace) -> Self {
        Self {
            basis,
            pace,
            made: Mutex::new(BTreeMap::new()),
        }
    }

    /// The plan of `vantage` now.
    pub fn of(&self, vantage: &Vantage) -> Arc<Ready> {
        let basis = Arc::clone(&self.basis.borrow());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let old = made.get(vantage);
        if let Some(ready) = old.filter(|r| r.generation == basis.generation) {
            return Arc::clone(ready);
        }
        let plan = Plan::for_vantage(&basis.inventory, vantage, &basis.addresses, self.pace);
        if let Some(old) = old.filter(|old| old.id != plan.id) {
            let PlanDiff { added, removed } = PlanDiff::between(&old.plan, &plan);
            tracing::info!(%vantage, plan = %plan.id, added, removed, "plan changed");
        }
        let ready = Arc::new(Ready {
            id: plan.id.clone(),
            // A plan of plain strings and numbers always serializes.
            json: serde_json::to_vec(&plan).unwrap_or_default().into(),
            plan,
            generation: basis.generation,
        });
        made.insert(vantage.clone(), Arc::clone(&ready));
        ready
    }

    /// To be told of changes.
    pub fn changes(&self) -> watch::Receiver<Arc<Basis>> {
        self.basis.clone()
    }
}
