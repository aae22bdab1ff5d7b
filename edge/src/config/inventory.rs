//! The inventory file (DESIGN: a plan or an inventory may be a file where there is no cluster).

use std::path::Path;

use pnwatch_core::inventory::{Inventory, InventoryFile};
use pnwatch_core::name::Cluster;

use super::load::{ConfigError, read_bounded};
use super::problem::Problem;
use super::tree;

/// Largest accepted inventory file in bytes: some 50,000 targets.
const MAX_INVENTORY: u64 = 16 << 20;

/// Most values in one inventory: 50,000 targets of seven keys, with room.
const MAX_VALUES: usize = 2_000_000;

/// Reads and validates an inventory file for `cluster`. Strict: an unknown key is an error.
pub fn read_inventory(path: &Path, cluster: Cluster) -> Result<Inventory, ConfigError> {
    let text = read_bounded(path, MAX_INVENTORY)?;
    inventory(&text, cluster).map_err(|problem| ConfigError::Invalid {
        problems: vec![problem.in_file(path)],
    })
}

/// Reads and validates the text of an inventory. Total.
pub(crate) fn inventory(text: &str, cluster: Cluster) -> Result<Inventory, Problem> {
    let file: InventoryFile = serde_saphyr::from_str_with_options(text, tree::options(MAX_VALUES))
        .map_err(|error| tree::yaml_problem(&error))?;
    file.into_inventory(cluster)
        .map_err(|error| Problem::error("", 0, error.to_string()))
}
