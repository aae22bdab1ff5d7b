//! Planned work: bad events within it are excused, and it ends by itself.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::inventory::Excuse;
use crate::name::{Account, Node};
use crate::time::Timestamp;

/// Longest window: who needs more, renews it.
pub const LONGEST: Duration = Duration::from_hours(24);

/// What is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    All,
    /// A node and what it serves.
    Node(Node),
    /// An account.
    Account(Account),
}

/// Planned work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// What is worked on.
    pub scope: Scope,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// Why a maintenance window is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaintenanceError {
    /// It ends before it begins.
    #[error("the maintenance window ends at {until}, before it begins at {from}; swap the two")]
    Backwards {
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// It is too long.
    #[error(
        "the maintenance window from {from} lasts more than 24 h; \
         shorten it, and renew it while the work goes on"
    )]
    TooLong {
        /// From when.
        from: Timestamp,
    },
}

impl Maintenance {
    /// Whether the window may be used.
    pub fn validate(&self) -> Result<(), MaintenanceError> {
        let (from, until) = (self.from, self.until);
        if until <= from {
            return Err(MaintenanceError::Backwards { from, until });
        }
        if until.since(from) > LONGEST {
            return Err(MaintenanceError::TooLong { from });
        }
        Ok(())
    }

    /// Whether it covers `account` behind `node` at `at`.
    pub fn covers(&self, account: &Account, node: &Node, at: Timestamp) -> bool {
        let about = match &self.scope {
            Scope::All => true,
            Scope::Node(name) => name == node,
            Scope::Account(name) => name == account,
        };
        about && self.validate().is_ok() && self.from <= at && at < self.until
    }

    /// As an excuse of a target.
    pub fn excuse(&self) -> Excuse {
        Excuse {
            reason: format!("maintenance: {}", self.reason),
            until: self.until,
        }
    }
}
