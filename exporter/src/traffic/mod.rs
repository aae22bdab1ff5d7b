//! Traffic of the cache pods: where the numbers come from, and what they are joined into.
//!
//! ```text
//! targets (watch) ─► Scraper | Prometheus ─► Sample (mpsc) ─► Pods ─► PodSight ─► correlate
//! ```
//! [`Scraper`] asks each pod itself, over the overlay, so that its success is evidence too
//! (pod alive, path dead). [`Prometheus`] asks a Prometheus or Mimir, which also knows pods
//! elsewhere and may know demand. Both run as one task each with at most
//! [`CONCURRENT`] requests under way; dropping them cancels those. [`Pods`] is plain state,
//! owned by the [`Judge`], which the [`Watcher`]'s task owns beside the sources.

mod judge;
mod pods;
pub(crate) mod promql;
mod scraper;
mod task;

use pnwatch_core::name::{Account, Instance, Node};
use pnwatch_core::time::Tick;
use pnwatch_core::traffic::Scrape;

pub use judge::{Judge, Judgement};
pub use pods::Pods;
pub use promql::{Demands, Prometheus, PrometheusSettings};
pub use scraper::{Scraper, ScraperSettings};
pub use task::{Verdicts, Watcher};

/// Most requests under way.
pub const CONCURRENT: usize = 16;
/// Most bytes of one pod's metrics that are accepted.
pub const MAX_METRICS: usize = 2 << 20;

/// A cache pod whose traffic is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodTarget {
    /// Whose.
    pub account: Account,
    /// Which instance.
    pub instance: Instance,
    /// Behind which node; `None` = not known, and then it is no witness.
    pub node: Option<Node>,
    /// Where its metrics are, over the overlay; `None` = by a query alone.
    pub url: Option<String>,
}

/// What one look at one pod brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which pod.
    pub instance: Instance,
    /// When the look began.
    pub at: Tick,
    /// What it said; an error is a sentence.
    pub result: Result<Scrape, String>,
}

#[cfg(test)]
mod tests;
