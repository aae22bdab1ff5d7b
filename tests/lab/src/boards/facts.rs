//! What the lab knows better than any query.

use super::query::{Board, Query};

/// What one panel must say in a state.
pub(super) struct Fact {
    pub(super) board: &'static str,
    /// The panel's title, or a part of what it asks.
    pub(super) asked: &'static str,
    pub(super) state: &'static str,
    pub(super) words: &'static str,
    pub(super) holds: fn(&[f64]) -> bool,
}

const fn fact(
    (board, asked, state): (&'static str, &'static str, &'static str),
    words: &'static str,
    holds: fn(&[f64]) -> bool,
) -> Fact {
    Fact {
        board,
        asked,
        state,
        words,
        holds,
    }
}

const FLEET: &str = "pnwatch-fleet";
const CRITICAL: &str = "Open critical findings";
const CLIENTS: &str = "Client vantages that report";
const REACHED: &str = "Accounts reached";
const BANDWIDTH: &str = "pnwatch-node-bandwidth";
const DROPPED: &str = "increase(pnwatch_node_network_receive_drop_total";

/// Nobody is down, one of three hosts is silent, packets are dropped.
pub(super) const FACTS: [Fact; 8] = [
    fact((FLEET, CRITICAL, "healthy"), "0", |v| only(v, 0.0)),
    fact((FLEET, CRITICAL, "outage"), "at least 1", |v| {
        v.iter().all(|v| *v >= 1.0)
    }),
    fact((FLEET, CLIENTS, "healthy"), "3 of 3", |v| only(v, 1.0)),
    fact((FLEET, CLIENTS, "hung"), "2 of 3", |v| only(v, 2.0 / 3.0)),
    fact((FLEET, REACHED, "healthy"), "3 of 3", |v| only(v, 1.0)),
    fact(
        (FLEET, REACHED, "outage"),
        "1 of 3, the one on the other node",
        |v| only(v, 1.0 / 3.0),
    ),
    fact((BANDWIDTH, DROPPED, "healthy"), "0 everywhere", |v| {
        only(v, 0.0)
    }),
    fact((BANDWIDTH, DROPPED, "clamp"), "drops of one node", |v| {
        v.iter().any(|v| *v > 0.0)
    }),
];

impl Fact {
    pub(super) fn is_of(&self, board: &Board, query: &Query) -> bool {
        let asks = self.asked == query.panel || query.expr.contains(self.asked);
        self.board == board.uid && asks
    }
}

fn only(values: &[f64], wanted: f64) -> bool {
    values.iter().all(|value| (value - wanted).abs() < 0.01)
}
