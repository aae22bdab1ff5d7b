//! What reads bytes from outside and is private otherwise, for the fuzz targets (`tests/fuzz`).
//! With the feature `fuzzing` alone.

use pnwatch_core::inventory::Inventory;
use pnwatch_core::name::Cluster;

use crate::config::{Problem, inventory};

/// The text of an inventory file, as [`read_inventory`](crate::config::read_inventory) reads it.
pub fn inventory(text: &str, cluster: Cluster) -> Result<Inventory, Problem> {
    inventory::inventory(text, cluster)
}
