//! What `pnwatch explain` says of every row of the fault table, as committed text.

use std::path::Path;

use anyhow::{Context as _, Result};
use pnwatch_core::diagnosis::explain::{Explanation, render};

use crate::rows::{ROWS, Row};
use crate::scenario::Scenario;

/// The explanation of `row` at the instant at which its scenario shows it.
pub fn explanation(scenarios: &Path, row: &Row) -> Result<Explanation> {
    let path = scenarios.join(format!("{}.toml", row.scenario));
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let scenario = Scenario::parse(&text).with_context(|| path.display().to_string())?;
    scenario
        .explanation("account/account-1")
        .with_context(|| row.scenario.to_owned())
}

/// Writes all of them, one file each.
pub fn write(scenarios: &Path, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for row in ROWS {
        let text = render(&explanation(scenarios, row)?);
        std::fs::write(folder.join(format!("{}.txt", row.id)), text)?;
    }
    Ok(())
}
