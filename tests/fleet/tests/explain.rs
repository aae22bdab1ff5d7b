//! What `pnwatch explain` says of every row of the fault table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test: a fault ends it

use std::path::Path;

use pnwatch_core::diagnosis::explain::{Explanation, render};
use pnwatch_fleet::explanations::explanation;
use pnwatch_fleet::rows::{Loudness, ROWS};

#[test]
fn every_row_is_explained_as_committed() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut stale = Vec::new();
    for row in ROWS {
        let said = explanation(&here.join("../scenarios"), row).unwrap();
        let text = render(&said);
        let committed = here.join(format!("golden/explain/{}.txt", row.id));
        if std::fs::read_to_string(&committed).unwrap_or_default() != text {
            stale.push(row.id);
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", row.id);
        }
        // Everything that the text says is in the JSON, and reads back.
        let json = serde_json::to_string(&said).unwrap();
        let back: Explanation = serde_json::from_str(&json).unwrap();
        assert_eq!(render(&back), text, "{}", row.id);
        assert!(!said.evidence.is_empty(), "{}: no evidence", row.id);
        let silent = row.loudness == Loudness::Silent;
        let names = said.applied.iter().any(|a| a.names.is_some());
        assert_eq!(names, !silent, "{}: {text}", row.id);
        assert_eq!(said.findings.is_empty(), silent, "{}: {text}", row.id);
    }
    assert!(
        stale.is_empty(),
        "{stale:?} differ: run `cargo run -p pnwatch-fleet -- --explain tests/fleet/golden/explain` and read the difference"
    );
}
