//! What survives a restart of the exporter.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use common::{Setup, healthy, until};
use pnwatch_core::name::{Account, VantageKind};
use pnwatch_core::slo::SeriesKey;
use pnwatch_edge::clock::{Clock as _, SystemClock};
use pnwatch_exporter::ledger::{FILE_NAME, Ledger};

#[tokio::test(flavor = "multi_thread")]
async fn open_findings_and_budgets_survive_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let start = async || {
        let mut setup = Setup::new();
        setup.serve().state_dir = Some(state.path().to_owned());
        setup.start().await
    };
    let it = start().await;
    it.report(&healthy("host/mini-1", 1)).await;
    let before = it.lose_the_node(2).await;
    it.stop().await;

    let file = state.path().join(FILE_NAME);
    let (ledger, stored) = Ledger::open(Some(&file), SystemClock::shared());
    assert_eq!(ledger.status().volatile, None);
    assert_eq!(stored.findings.len(), 1, "one node, one finding");
    let key = SeriesKey::reachability(Account::new("acme").unwrap(), VantageKind::Host);
    let now = SystemClock::new().now();
    let counts = stored
        .book
        .window(&key, std::time::Duration::from_hours(1), now);
    assert!(
        counts.good > 0 && counts.bad + counts.explained > 0,
        "{counts:?}"
    );
    drop(ledger);

    let it = start().await;
    // Before any report: what was open is open, with its own times.
    let after = until("the finding", async || {
        let all = it.json("/v1/findings").await;
        all["data"].as_array()?.first().cloned()
    })
    .await;
    for field in ["id", "started_at", "opened_at", "blame", "subject"] {
        assert_eq!(before[field], after[field], "{field}: {before} {after}");
    }
    it.stop().await;
}
