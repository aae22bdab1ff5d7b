use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::engine::{Engine, Settings};
use pnwatch_core::inventory::InventoryFile;
use pnwatch_core::name::Cluster;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_edge::clock::{RuntimeClock, SharedClock};
use pnwatch_edge::shutdown::Shutdown;
use serde_json::json;

use super::*;

fn report(seq: u64) -> Report {
    let json = json!({
        "version": 1, "cluster": "staging", "vantage": "host/mini-1", "boot_id": "boot",
        "seq": seq, "sent_at": "2026-06-22T09:14:30Z",
    });
    Report::from_json(json.to_string().as_bytes()).unwrap()
}

fn owner() -> (Owner, Handle, Arc<Pulse>, SharedClock) {
    let file: InventoryFile = serde_json::from_value(json!({
        "pn_cidr": "172.16.0.0/22", "vantages": [{ "vantage": "host/mini-1" }],
    }))
    .unwrap();
    let inventory = file.into_inventory(Cluster::new("staging").unwrap());
    let start = Now {
        tick: Tick::from_millis(5_000),
        wall: Timestamp::from_unix_seconds(1_782_000_000),
    };
    let clock: SharedClock = Arc::new(RuntimeClock::starting_at(start));
    let engine = Engine::new(inventory.unwrap(), Settings::default(), start);
    let pulse = Pulse::new("engine", start.tick);
    let (owner, handle) = Owner::new(engine, Arc::clone(&clock), Arc::clone(&pulse));
    (owner, handle, pulse, clock)
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_loses_nothing_that_it_took() {
    // Not running yet: a hanging engine.
    let (owner, handle, ..) = owner();
    let taken: Vec<_> = (0..QUEUE as u64)
        .map(|seq| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.report(report(seq)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    while handle.commands.capacity() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        handle.report(report(9_999)).await,
        Err(Unserved::Overloaded)
    );
    let (_trigger, shutdown) = Shutdown::manual();
    tokio::spawn(owner.run(shutdown));
    for answer in taken {
        assert_eq!(answer.await.unwrap(), Ok(Applied::Fresh));
    }
    assert_eq!(handle.report(report(9_999)).await, Ok(Applied::Fresh));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_hanging_engine_is_told_after_a_while() {
    let (_owner, handle, ..) = owner();
    assert_eq!(handle.report(report(1)).await, Err(Unserved::Overloaded));
    assert!(handle.read().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_loop_beats_each_second_and_ends_with_the_shutdown() {
    let (owner, handle, pulse, clock) = owner();
    let (trigger, shutdown) = Shutdown::manual();
    let running = tokio::spawn(owner.run(shutdown));
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let health = crate::health::Health::new(Arc::clone(&clock), vec![Arc::clone(&pulse)]);
        assert!(health.is_alive(), "{:?}", clock.now());
    }
    trigger.request();
    running.await.unwrap();
    assert_eq!(handle.report(report(1)).await, Err(Unserved::Stopping));
    assert_eq!(handle.read().await.unwrap_err(), Unserved::Stopping);
}

#[tokio::test(start_paused = true)]
async fn readers_share_a_snapshot_for_a_tenth_of_a_second() {
    let (owner, handle, ..) = owner();
    let (_trigger, shutdown) = Shutdown::manual();
    tokio::spawn(owner.run(shutdown));
    let first = handle.read().await.unwrap();
    assert!(Arc::ptr_eq(&first, &handle.read().await.unwrap()));
    tokio::time::sleep(SNAPSHOT_AGE).await;
    assert!(!Arc::ptr_eq(&first, &handle.read().await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn plans_learn_of_a_new_inventory() {
    let (owner, handle, ..) = owner();
    let (_trigger, shutdown) = Shutdown::manual();
    tokio::spawn(owner.run(shutdown));
    let mut basis = handle.basis();
    let before = basis.borrow_and_update().generation;
    let same = (*basis.borrow().inventory).clone();
    handle.set_inventory(same.clone()).await.unwrap();
    assert!(!basis.has_changed().unwrap(), "the same is no news");
    let mut other = same;
    other.vantages.clear();
    handle.set_inventory(other).await.unwrap();
    assert!(basis.has_changed().unwrap());
    assert_eq!(basis.borrow().generation, before + 1);
}
