//! The one private network that all targets are about.

use std::sync::LazyLock;

use pnwatch_core::inventory::{Inventory, InventoryFile};
use pnwatch_core::link::Cidr;
use pnwatch_core::name::Cluster;
use pnwatch_core::time::{Now, Tick, Timestamp};

const FILE: &str = r#"{
  "pn_cidr": "172.16.0.0/22",
  "nodes": [
    {"name": "kura-fleet-1", "address": "172.16.0.2"},
    {"name": "kura-fleet-2", "address": "172.16.0.3", "ready": false}
  ],
  "vantages": [
    {"vantage": "host/mini-1", "address": "172.16.0.11"},
    {"vantage": "host/mini-2"},
    {"vantage": "node/kura-fleet-1", "address": "172.16.0.2"}
  ],
  "targets": [
    {"account": "tuist", "tenant": "tuist", "instance": "kura-tuist-scw-fr-par",
     "node": "kura-fleet-1", "address": "172.16.0.2", "port": 30815},
    {"account": "acme", "instance": "kura-acme-scw-fr-par",
     "node": "kura-fleet-2", "address": "172.16.0.3", "port": 30816}
  ]
}"#;

static INVENTORY: LazyLock<Inventory> = LazyLock::new(|| {
    let file: InventoryFile = serde_json::from_str(FILE).expect("the inventory above");
    file.into_inventory(cluster()).expect("the inventory above")
});

pub(crate) fn inventory() -> &'static Inventory {
    &INVENTORY
}

pub(crate) fn cluster() -> Cluster {
    "production".parse().expect("a name")
}

pub(crate) fn pn() -> Cidr {
    "172.16.0.0/22".parse().expect("a network")
}

/// Noon of 2026-11-20, on a machine that has been up for 100,000 seconds.
pub(crate) fn now() -> Now {
    at(0)
}

/// So many milliseconds after [`now`].
pub(crate) fn at(millis: u64) -> Now {
    Now {
        tick: Tick::from_millis(100_000_000 + millis),
        wall: Timestamp::from_unix_nanos((1_795_177_200_000 + millis) * 1_000_000),
    }
}

/// Whether `text` may stand on one line of a log or a terminal.
pub(crate) fn is_one_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
