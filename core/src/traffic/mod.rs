//! What cache pods say of their own traffic: text in, `Missing`, `Zero` or `Flowing` out.
//!
//! [`Parser`] reads the few families that matter out of a `/metrics` body, chunk by chunk;
//! [`Pod`] turns successive [`Scrape`]s of one pod into [`PodTraffic`]. Counters are
//! cumulative: an unchanged counter of an unchanged process proves silence across a scrape
//! gap, while a scrape that failed, was cut or cannot be classified proves nothing.
//! `Missing` is never zero. Pure: nothing here runs, waits or reads a clock.

mod flow;
mod names;
mod parse;
mod pod;

pub use flow::Flow;
pub use names::{Names, RouteClass};
pub use parse::{MAX_BODY, MAX_LINE, MAX_ROUTE_BYTES, MAX_ROUTES, Parser, RouteCount, Scrape};
pub use pod::{Pod, PodTraffic, RouteTraffic, Settings};

use core::time::Duration;

/// What is known of one stream of requests. Missing is not zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Traffic {
    /// No fresh, whole and classifiable numbers.
    Missing,
    /// The counter stood still.
    Zero {
        /// For how long that is proven: from the last increase seen to the newest scrape.
        lasted: Duration,
    },
    /// The counter rose in the newest step.
    Flowing {
        /// Requests per second over the window.
        rate: f64,
    },
}

impl Traffic {
    /// Requests per second; `None` if nothing is known.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Zero { .. } => Some(0.0),
            Self::Flowing { rate } => Some(rate),
        }
    }
}

#[cfg(test)]
mod tests;
