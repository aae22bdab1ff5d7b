//! docs/faults.md is what the code says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test: a fault ends it

use std::path::Path;

#[test]
fn the_page_is_fresh_and_every_driven_row_has_a_scenario() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let now = pnwatch_fleet::page::page(&root.join("tests/scenarios")).unwrap();
    let committed = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let mut lines = now.lines().zip(committed.lines());
    let first = lines.find(|(now, committed)| now != committed);
    assert!(
        now == committed,
        "docs/faults.md is stale: run `cargo run -p pnwatch-fleet -- --page docs/faults.md`; first: {first:?}"
    );
    for row in [
        "F1", "F2", "F2a", "F3", "F7", "F8", "F10", "F11", "F12", "F13", "F17", "F20", "F21",
        "F23", "F24", "F29", "F30", "F31", "F32", "F40",
    ] {
        let line = now
            .lines()
            .find(|l| l.starts_with(&format!("| {row} |")))
            .unwrap();
        assert!(!line.ends_with("| – |"), "{row} has no scenario");
    }
}
