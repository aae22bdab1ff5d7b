//! What exporters and probers hold while they live: descriptors, threads, memory, disk; weighed
//! every few seconds by a thread of its own, so that a long run shows its slope.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::process::ProcessId;

/// Between two weighings.
const EVERY: Duration = Duration::from_secs(5);
/// Weighings whose median stands for the beginning and for the end: one minute.
const MINUTE: usize = 12;
/// The slope is that of the last hour.
const WINDOW_S: f64 = 3_600.0;

/// What one process held at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Held {
    /// Seconds since the weighing began.
    pub at_s: f64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Anonymous memory in KiB (`RssAnon`, `proc_pid_status(5)`). What is allocated and was
    /// touched is part of it, so no more than this can be live.
    pub memory_kib: u64,
    /// What its state directory holds, KiB.
    pub disk_kib: u64,
}

/// How one process fared: medians of its first and last minute, and its growth. A restart begins
/// another process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fare {
    /// The lab's name for it.
    pub process: String,
    /// Its first minute.
    pub first: Held,
    /// Its last minute.
    pub last: Held,
    /// The time that the slopes are of, seconds: the last hour, or what there was of it.
    pub window_s: f64,
    /// Growth of memory in that window, KiB per hour, by least squares.
    pub memory_kib_per_hour: Option<f64>,
    /// The same of its state directory.
    pub disk_kib_per_hour: Option<f64>,
}

/// A process to weigh, and where it keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// The lab's name for it.
    pub process: String,
    /// Which one it is.
    pub id: ProcessId,
    /// Its state directory.
    pub state: PathBuf,
}

type Series = BTreeMap<(String, i32), Vec<Held>>;

#[derive(Debug, Default)]
struct Shared {
    processes: Vec<Weighed>,
    series: Series,
}

/// The thread that weighs; it ends with this.
#[derive(Debug)]
pub struct Scale {
    shared: Arc<Mutex<Shared>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Scale {
    /// Weighs nothing until it is told what ([`Scale::put`]).
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (stop, stopped) = mpsc::channel();
        let mine = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("scale".to_owned())
            .spawn(move || {
                let began = Instant::now();
                while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    let mut shared = mine.lock().unwrap_or_else(PoisonError::into_inner);
                    weigh(&mut shared, began.elapsed().as_secs_f64());
                }
            })?;
        Ok(Self {
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// From now on weighs these, and no others.
    pub fn put(&self, processes: Vec<Weighed>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.processes = processes;
    }

    /// How each fared until now.
    pub fn fares(&self) -> Vec<Fare> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let series = shared.series.iter();
        series
            .filter_map(|((process, _), held)| fare(process, held))
            .collect()
    }
}

impl Drop for Scale {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn weigh(shared: &mut Shared, at_s: f64) {
    for one in &shared.processes {
        // One that is gone is no news here: the lab itself misses it.
        if let Some(held) = holds(one, at_s) {
            let key = (one.process.clone(), one.id.pid);
            shared.series.entry(key).or_default().push(held);
        }
    }
}

fn holds(one: &Weighed, at_s: f64) -> Option<Held> {
    // Children are started through setpriv, which becomes them: the id is theirs.
    let status = std::fs::read_to_string(format!("/proc/{}/status", one.id.pid)).ok()?;
    if !one.id.is_alive() {
        return None;
    }
    let number = |key: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", one.id.pid)).ok()?;
    Some(Held {
        at_s,
        descriptors: descriptors.count() as u64,
        threads: number("Threads:")?,
        memory_kib: number("RssAnon:")?,
        disk_kib: disk(&one.state).div_ceil(1024),
    })
}

/// Bytes of all files below `folder`; one that goes away meanwhile counts nothing.
fn disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => disk(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

fn fare(process: &str, held: &[Held]) -> Option<Fare> {
    let last_at = held.last()?.at_s;
    let window: Vec<Held> = held
        .iter()
        .filter(|held| held.at_s >= last_at - WINDOW_S)
        .copied()
        .collect();
    let per_hour = |of: fn(&Held) -> u64| slope(&window, of).map(|slope| slope * 3_600.0);
    Some(Fare {
        process: process.to_owned(),
        first: median(&held[..held.len().min(MINUTE)])?,
        last: median(&held[held.len().saturating_sub(MINUTE)..])?,
        window_s: last_at - window.first()?.at_s,
        memory_kib_per_hour: per_hour(|held| held.memory_kib),
        disk_kib_per_hour: per_hour(|held| held.disk_kib),
    })
}

/// Each figure's median, at the time of the middle one.
fn median(held: &[Held]) -> Option<Held> {
    let middle = |of: fn(&Held) -> u64| {
        let mut all: Vec<u64> = held.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    };
    Some(Held {
        at_s: held.get(held.len() / 2)?.at_s,
        descriptors: middle(|held| held.descriptors)?,
        threads: middle(|held| held.threads)?,
        memory_kib: middle(|held| held.memory_kib)?,
        disk_kib: middle(|held| held.disk_kib)?,
    })
}

/// Per second, by least squares; nothing from fewer than three points.
fn slope(held: &[Held], of: fn(&Held) -> u64) -> Option<f64> {
    if held.len() < 3 {
        return None;
    }
    let n = held.len() as f64;
    let mean_x = held.iter().map(|held| held.at_s).sum::<f64>() / n;
    let mean_y = held.iter().map(|held| of(held) as f64).sum::<f64>() / n;
    let (mut above, mut below) = (0.0, 0.0);
    for one in held {
        above += (one.at_s - mean_x) * (of(one) as f64 - mean_y);
        below += (one.at_s - mean_x).powi(2);
    }
    (below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growing(count: u32, kib_per_s: u64) -> Vec<Held> {
        let at = |n: u32| Held {
            at_s: f64::from(n) * 10.0,
            descriptors: 10,
            threads: 2,
            memory_kib: 1_000 + u64::from(n) * 10 * kib_per_s,
            disk_kib: 64,
        };
        (0..count).map(at).collect()
    }

    #[test]
    fn growth_is_a_slope_of_the_last_hour() {
        let held = growing(10, 5);
        assert!((slope(&held, |held| held.memory_kib).unwrap() - 5.0).abs() < 1e-9);
        assert_eq!(slope(&held[..2], |held| held.memory_kib), None);
        // Two hours: the first grows, the second does not, and only that one counts.
        let mut held = growing(360, 3);
        let flat = held[359].memory_kib;
        let first = held[0];
        held.extend((361..722).map(|n| Held {
            at_s: f64::from(n) * 10.0,
            memory_kib: flat,
            ..first
        }));
        let fare = fare("serve-0", &held).unwrap();
        assert!((fare.window_s - 3_600.0).abs() < 1e-9);
        assert!(fare.memory_kib_per_hour.unwrap().abs() < 1e-9);
        assert!(fare.disk_kib_per_hour.unwrap().abs() < 1e-9);
        assert_eq!(fare.first.memory_kib, 1_000 + 6 * 30);
    }

    #[test]
    fn a_living_process_is_weighed_with_its_disk_and_a_dead_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("deep")).unwrap();
        std::fs::write(dir.path().join("deep/file"), [0; 2_049]).unwrap();
        let own = ProcessId::own().unwrap();
        let one = |id| Weighed {
            process: "own".to_owned(),
            id,
            state: dir.path().to_owned(),
        };
        let held = holds(&one(own), 1.0).unwrap();
        assert!(held.descriptors > 0 && held.threads > 0 && held.memory_kib > 0);
        assert_eq!(held.disk_kib, 3);
        let other = ProcessId {
            started: own.started + 1,
            ..own
        };
        assert_eq!(holds(&one(other), 1.0), None);
    }
}
