//! The ledger at full size: 200 accounts over 28 days, measured and printed.
#![allow(clippy::unwrap_used, reason = "a test ends by failing")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use pnwatch_core::burn::Table;
use pnwatch_core::name::{Account, VantageKind};
use pnwatch_core::slo::{Book, Event, Measure, SeriesKey};
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_edge::clock::{Clock as _, ManualClock};
use pnwatch_exporter::ledger::{FILE_NAME, Ledger, Save};

const DAY: u64 = 86_400;
const PATIENCE: Duration = Duration::from_mins(5);

/// Reachability from hosts and VMs, latency from hosts.
fn keys() -> Vec<SeriesKey> {
    (0..200)
        .flat_map(|n| {
            let account = Account::new(format!("account-{n}")).unwrap();
            [
                (VantageKind::Host, Measure::Reachability),
                (VantageKind::Vm, Measure::Reachability),
                (VantageKind::Host, Measure::Latency),
            ]
            .map(|(kind, measure)| SeriesKey::Account {
                account: account.clone(),
                kind,
                measure,
            })
        })
        .collect()
}

/// `vantages` checks a second from each kind, some bad, some excused, some unmeasured.
fn step(book: &mut Book, keys: &[SeriesKey], seconds: u64, now: Now) {
    let good = u32::try_from(seconds * 20).unwrap();
    for (n, key) in keys.iter().enumerate() {
        book.record(key, Event::Good, good, now);
        book.record(key, Event::Unmeasured, 3, now);
        if n % 3 == 0 {
            book.record(key, Event::Bad, 2, now);
            book.record(key, Event::Excused, 1, now);
        }
    }
}

#[test]
fn two_hundred_accounts_over_28_days_stay_small_and_quick() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let clock = Arc::new(ManualClock::new(Now {
        tick: Tick::from_millis(0),
        wall: Timestamp::from_unix_seconds(1_780_000_000),
    }));
    let keys = keys();
    let (ledger, mut restored) = Ledger::open(Some(&path), clock.clone());
    let book = &mut restored.book;
    // Every slot of every ring is filled, at the resolution that is kept.
    for (seconds, span) in [(3600, 25 * DAY), (300, 3 * DAY - 21_600), (10, 21_600)] {
        for _ in 0..span / seconds {
            step(book, &keys, seconds, clock.now());
            clock.advance(Duration::from_secs(seconds));
        }
        ledger.save(Save {
            changes: book.take_changes(clock.now()),
            findings: None,
        });
        assert!(ledger.flush(PATIENCE));
    }
    // Then as it runs: a save each second.
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        step(book, &keys, 1, clock.now());
        clock.advance(Duration::from_secs(1));
        let begun = Instant::now();
        ledger.save(Save {
            changes: book.take_changes(clock.now()),
            findings: None,
        });
        slowest = slowest.max(begun.elapsed());
        assert!(ledger.flush(PATIENCE));
    }
    drop(ledger);
    let bytes = std::fs::metadata(&path).unwrap().len();

    let begun = Instant::now();
    let (_ledger, restored) = Ledger::open(Some(&path), clock.clone());
    let opened = begun.elapsed();
    let mut windows = Table::default().windows();
    windows.push(Duration::from_secs(28 * DAY));
    let mut took = Vec::new();
    for key in &keys {
        for window in &windows {
            // The best of three: what the query costs, not what the machine does besides.
            let once = || {
                let begun = Instant::now();
                let counts = restored.book.window(key, *window, clock.now());
                assert!(counts.good > 0);
                begun.elapsed()
            };
            took.push(once().min(once()).min(once()));
        }
    }
    took.sort_unstable();
    let worst = took.last().copied().unwrap();
    println!(
        "ledger: {} series x 28 d = {:.1} MB on disk; opened in {opened:.0?}; {} window queries: \
         median {:.0?}, slowest {worst:.0?}; slowest hand-over of a save {slowest:.0?}",
        keys.len(),
        bytes as f64 / 1e6,
        took.len(),
        took[took.len() / 2],
    );
    assert!(bytes < 100_000_000, "{bytes} bytes");
    assert!(worst < Duration::from_millis(10), "{worst:?}");
}
