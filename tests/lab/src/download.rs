//! Builds that take artifacts as fast as they may: so many bytes a second, and no more under way
//! than a build has workers. What is in their way makes them slower, and nothing is given up.
//!
//! One thread, inside its namespace, ends when this is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::http;
use crate::load::BUILD;
use crate::net::Namespace;

/// How many artifacts one build takes at a time.
const WORKERS: u32 = 6;
/// How long an artifact may take before it is asked for again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a worker waits after it was not answered.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Artifacts are taken until this is dropped.
#[derive(Debug)]
pub struct Download {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Download {
    /// Takes at most `megabits` a second from the cache at `address`.
    pub fn start(namespace: &Namespace, address: &str, megabits: u32) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread_stop = Arc::clone(&stop);
        let (namespace, address) = (namespace.clone(), address.to_owned());
        let thread = std::thread::Builder::new()
            .name("download".to_owned())
            .spawn(move || {
                if let Err(error) = take(&namespace, &address, megabits, &thread_stop) {
                    eprintln!("pnwatch-lab: the download from {address} ended: {error:#}");
                }
            })
            .context("cannot start a thread")?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It has reported its own error.
            let _ = thread.join();
        }
    }
}

fn take(namespace: &Namespace, address: &str, megabits: u32, stop: &AtomicBool) -> Result<()> {
    namespace.enter()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let share = f64::from(megabits) * 125_000.0 / f64::from(WORKERS);
    runtime.block_on(async {
        for _ in 0..WORKERS {
            tokio::spawn(work(address.to_owned(), share));
        }
        while !stop.load(Ordering::SeqCst) {
            tokio::time::sleep(LOOK).await;
        }
    });
    Ok(())
}

/// One artifact after the other, at most `share` bytes a second. Time that was lost is not made
/// up for.
async fn work(address: String, share: f64) {
    let mut due = Instant::now();
    for path in BUILD.iter().cycle() {
        let asked = http::exchange("GET", &address, path, "");
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => {
                due += Duration::from_secs_f64(answer.body.len() as f64 / share);
                due = due.max(Instant::now());
                tokio::time::sleep_until(due.into()).await;
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}
