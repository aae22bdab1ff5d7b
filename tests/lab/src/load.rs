//! Builds: real requests from inside a namespace, at a steady rate, counted.
//!
//! One thread per load, inside its namespace, ends when the load is dropped. As builds do, each
//! request opens a connection of its own; unlike theirs, it gives up after [`PATIENCE`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::MissedTickBehavior;

use crate::http;
use crate::net::Namespace;

/// How long one request may take: longer than one retransmit of its SYN.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a build asks the cache for.
pub const BUILD: &[&str] = &[
    "/api/cache/module/5f2c",
    "/api/cache/cas/91d0",
    "/api/cache/keyvalue/77ab",
];
/// What a peer asks the cache for.
pub const PEER: &[&str] = &["/_internal/replicate/artifact"];

#[derive(Debug, Default)]
struct Counts {
    answered: AtomicU64,
    failed: AtomicU64,
}

/// Requests that go on until this is dropped.
#[derive(Debug)]
pub struct Load {
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Asks `address` for one path of `paths` after the other, `per_second` times a second.
    pub fn start(
        namespace: &Namespace,
        address: &str,
        paths: &'static [&'static str],
        per_second: u32,
    ) -> Result<Self> {
        let (counts, stop) = (
            Arc::new(Counts::default()),
            Arc::new(AtomicBool::new(false)),
        );
        let (thread_counts, thread_stop) = (Arc::clone(&counts), Arc::clone(&stop));
        let (namespace, address) = (namespace.clone(), address.to_owned());
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                let every = Duration::from_secs(1) / per_second.max(1);
                if let Err(error) = ask(
                    (&namespace, &address),
                    (paths, every),
                    &thread_counts,
                    &thread_stop,
                ) {
                    eprintln!("pnwatch-lab: the load on {address} ended: {error:#}");
                }
            })
            .context("cannot start a thread")?;
        Ok(Self {
            counts,
            stop,
            thread: Some(thread),
        })
    }

    /// How many requests were answered, whatever their status.
    pub fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::SeqCst)
    }

    /// How many were not.
    pub fn failed(&self) -> u64 {
        self.counts.failed.load(Ordering::SeqCst)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It has reported its own error.
            let _ = thread.join();
        }
    }
}

fn ask(
    (namespace, address): (&Namespace, &str),
    (paths, every): (&'static [&'static str], Duration),
    counts: &Arc<Counts>,
    stop: &AtomicBool,
) -> Result<()> {
    namespace.enter()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for path in paths.iter().cycle() {
            ticks.tick().await;
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let (address, counts) = (address.to_owned(), Arc::clone(counts));
            // At most PATIENCE × rate are under way.
            tokio::spawn(async move {
                let asked = http::exchange("GET", &address, path, "");
                let answered = matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(_)));
                let count = if answered {
                    &counts.answered
                } else {
                    &counts.failed
                };
                count.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    Ok(())
}
