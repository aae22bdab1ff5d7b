//! docs/faults.md is what the code says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test: a fault ends it

use std::collections::BTreeSet;
use std::path::Path;

use pnwatch_core::fault;
use pnwatch_fleet::page::{by_row, named};
use pnwatch_fleet::rows::ROWS;

#[test]
fn the_page_is_fresh_and_every_row_has_a_scenario() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let now = pnwatch_fleet::page::page(&root.join("tests/scenarios")).unwrap();
    let committed = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let mut lines = now.lines().zip(committed.lines());
    let first = lines.find(|(now, committed)| now != committed);
    assert!(
        now == committed,
        "docs/faults.md is stale: run `cargo run -p pnwatch-fleet -- --page docs/faults.md`; first: {first:?}"
    );
    let known: BTreeSet<&str> = ROWS.iter().map(|row| row.id).collect();
    let known: BTreeSet<&str> = known
        .into_iter()
        .chain(fault::ROWS.iter().map(named))
        .collect();
    let by_row = by_row(&root.join("tests/scenarios")).unwrap();
    for row in &known {
        assert!(by_row.contains_key(*row), "{row} has no scenario");
    }
    for (row, scenarios) in &by_row {
        assert!(
            known.contains(row.as_str()),
            "{scenarios:?} prove {row:?}, which is no row"
        );
    }
}
