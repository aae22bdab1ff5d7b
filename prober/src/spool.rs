//! What an exporter could not be told, on disk: one file of lines per exporter, each a report
//! that is history already.
//!
//! Written while an exporter is away (every ten seconds, fsynced) and at the goodbye, so that a
//! crash or a reboot meanwhile loses at most the last ten seconds; replayed once the exporter is
//! there again and has all that is newer. What comes back is counted, never judged by.
//!
//! Times are ages at the moment of writing, with both clocks beside them: within one boot of
//! the machine the elapsed time is the tick's, after a reboot the wall clock's. A line from the
//! future, or older than [`OLDEST`], is dropped: its time is not known. The file is bounded;
//! without room the older half goes. Damage at its end (a power cut) costs the damaged line.
//!
//! One thread owns all files ([`Keeper`]); the loop never waits for a disk.

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::wire::{MAX_REPORT_BYTES, Report};
use serde::{Deserialize, Serialize};

use crate::exporters::News;
use crate::link::micros;
use crate::os;
use crate::settings::fresh_boot_id;

/// Most bytes of one exporter's file.
pub const MOST: u64 = 16 << 20;
/// Budgets look back 28 days; what is older tells nobody anything.
pub const OLDEST: Duration = Duration::from_hours(28 * 24);

/// One line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Which boot of the machine.
    boot: String,
    /// The machine's own time, nanoseconds.
    tick: u64,
    /// Wall time, nanoseconds since the Unix epoch.
    wall: u64,
    report: Report,
}

/// The file of one exporter. Blocks on the disk.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    boot: String,
    most: u64,
    /// Where the next line to be replayed begins, and where it ends once it was read.
    at: u64,
    next: Option<u64>,
    dropped: u64,
}

impl Spool {
    /// The file for the exporter called `name`, in `dir`; `boot` names the machine's boot.
    pub fn new(dir: &Path, name: &str, boot: &str, most: u64) -> Self {
        Self {
            path: dir.join(format!("spool-{:016x}.jsonl", fingerprint(name))),
            boot: boot.to_owned(),
            most,
            at: 0,
            next: None,
            dropped: 0,
        }
    }

    /// Appends one report as it stands at `now`, and waits for the disk.
    pub fn append(&mut self, report: Report, now: Now) -> io::Result<()> {
        let line = Line {
            boot: self.boot.clone(),
            tick: now.tick.as_nanos(),
            wall: now.wall.as_unix_nanos(),
            report,
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        self.make_room(bytes.len() as u64)?;
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&self.path)?;
        // What a power cut has left of the last line must not swallow this one.
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                bytes.insert(0, b'\n');
            }
        }
        file.write_all(&bytes)?;
        file.sync_data()
    }

    /// Drops the older half of what waits when `more` bytes do not fit.
    fn make_room(&mut self, more: u64) -> io::Result<()> {
        let length = match std::fs::metadata(&self.path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if length.saturating_add(more) <= self.most {
            return Ok(());
        }
        let keep_from = self.at.max(length.saturating_sub(self.most / 2));
        let mut file = BufReader::new(File::open(&self.path)?);
        file.seek(SeekFrom::Start(keep_from))?;
        if keep_from > self.at {
            // Into the middle of a line: the rest of it goes too.
            let mut rest = Vec::new();
            file.by_ref().take(LONGEST).read_until(b'\n', &mut rest)?;
            self.dropped += 1;
        }
        let fresh = self.path.with_extension("new");
        let mut kept = File::create(&fresh)?;
        io::copy(&mut file, &mut kept)?;
        kept.sync_data()?;
        std::fs::rename(&fresh, &self.path)?;
        (self.at, self.next) = (0, None);
        Ok(())
    }

    /// The oldest report that waits, its ages brought up to `now`; `skip` says which are not
    /// wanted. `None` = nothing waits.
    pub fn next(&mut self, now: Now, skip: impl Fn(&Report) -> bool) -> io::Result<Option<Report>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut file = BufReader::new(file);
        file.seek(SeekFrom::Start(self.at))?;
        loop {
            let mut bytes = Vec::new();
            let read = file.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)? as u64;
            if read == 0 {
                return Ok(None);
            }
            match self.revive(&bytes, now) {
                Some(report) if !skip(&report) => {
                    self.next = Some(self.at + read);
                    return Ok(Some(report));
                }
                Some(_) => {}
                None => self.dropped += u64::from(bytes.len() > 1),
            }
            self.at += read;
        }
    }

    pub(crate) fn revive(&self, bytes: &[u8], now: Now) -> Option<Report> {
        let line: Line = serde_json::from_slice(bytes).ok()?;
        let (tick, wall) = (
            Tick::from_nanos(line.tick),
            Timestamp::from_unix_nanos(line.wall),
        );
        let future = if line.boot == self.boot {
            tick > now.tick
        } else {
            wall > now.wall
        };
        let passed = if line.boot == self.boot {
            now.tick.since(tick)
        } else {
            now.wall.since(wall)
        };
        if future || passed > OLDEST {
            return None;
        }
        let mut report = line.report;
        let passed = micros(passed);
        let of_vms = report.vms.iter_mut().flat_map(|vm| &mut vm.paths);
        let paths = report.paths.iter_mut().chain(of_vms);
        for run in paths.flat_map(|path| &mut path.runs) {
            run.first_age_us = run.first_age_us.saturating_add(passed);
            run.last_age_us = run.last_age_us.saturating_add(passed);
        }
        report.ready.clear();
        report.large.clear();
        report.history = true;
        report.sent_at = now.wall;
        Some(report)
    }

    /// The report that [`Spool::next`] gave has arrived, or never will.
    pub fn done(&mut self) {
        if let Some(next) = self.next.take() {
            self.at = next;
        }
    }

    /// Everything has arrived: the file goes.
    pub fn clear(&mut self) -> io::Result<()> {
        (self.at, self.next) = (0, None);
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Lines that were given up.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Longest line that is read.
const LONGEST: u64 = MAX_REPORT_BYTES as u64 + 4096;

/// FNV-1a: stable over versions, and no secret.
fn fingerprint(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Names this boot of the machine; where the system has no name for it, this start of ours:
/// then the wall clock tells ages.
pub fn machine_boot() -> String {
    let start = || fresh_boot_id().map(|id| format!("start-{id}"));
    // No random numbers either: at least no other process' of this boot.
    os::machine_boot()
        .or_else(|| start().ok())
        .unwrap_or_else(|| format!("start-{}", std::process::id()))
}

/// What the loop asks of the thread; the number is the exporter's.
#[derive(Debug)]
pub enum Ask {
    /// Keep this report.
    Keep(usize, Box<Report>, Now),
    /// The oldest that waits, by [`News::Spooled`]; of the boot named, only up to the number.
    Next(usize, Now, String, u64),
    /// The one given last has arrived.
    Done(usize),
    /// Say when everything before is on disk.
    Flush(mpsc::Sender<()>),
}

/// The thread that owns the files.
#[derive(Debug)]
pub struct Keeper {
    asks: mpsc::Sender<Ask>,
}

impl Keeper {
    /// Starts the thread for files in `dir`, one per name.
    pub fn start(
        dir: &Path,
        names: &[String],
        news: tokio::sync::mpsc::Sender<News>,
    ) -> io::Result<Self> {
        let boot = machine_boot();
        let files = names.iter().map(|name| Spool::new(dir, name, &boot, MOST));
        let mut files: Vec<Spool> = files.collect();
        let (asks, asked) = mpsc::channel();
        std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || {
                let mut said = None;
                for ask in asked {
                    match answer(&mut files, ask, &news) {
                        Ok(()) => said = None,
                        Err(error) => complain(&mut said, &error),
                    }
                }
            })?;
        Ok(Self { asks })
    }

    /// Asks, and never waits.
    pub fn ask(&self, ask: Ask) {
        // The thread lives as long as this.
        let _ = self.asks.send(ask);
    }

    /// Waits until everything is on disk, at most `patience`.
    pub fn flush(&self, patience: Duration) -> bool {
        let (told, done) = mpsc::channel();
        self.ask(Ask::Flush(told));
        done.recv_timeout(patience).is_ok()
    }
}

fn complain(said: &mut Option<String>, error: &io::Error) {
    let error = error.to_string();
    if said.as_ref() != Some(&error) {
        tracing::warn!(
            "what exporters miss is not kept on disk: {error}; look at `probe.state_dir` (space, rights)"
        );
        *said = Some(error);
    }
}

fn answer(files: &mut [Spool], ask: Ask, news: &tokio::sync::mpsc::Sender<News>) -> io::Result<()> {
    match ask {
        Ask::Keep(number, report, now) => files
            .get_mut(number)
            .map_or(Ok(()), |file| file.append(*report, now)),
        Ask::Next(number, now, own, last) => {
            let Some(file) = files.get_mut(number) else {
                return Ok(());
            };
            let next = file.next(now, |report| report.boot_id == own && report.seq > last);
            let report = match &next {
                Ok(Some(report)) => Some(Box::new(report.clone())),
                _ => None,
            };
            let cleared = match &next {
                Ok(None) => file.clear(),
                _ => Ok(()),
            };
            // The loop may have ended.
            let _ = news.blocking_send(News::Spooled { to: number, report });
            next.map(drop).and(cleared)
        }
        Ask::Done(number) => {
            if let Some(file) = files.get_mut(number) {
                file.done();
            }
            Ok(())
        }
        Ask::Flush(told) => {
            let _ = told.send(());
            Ok(())
        }
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
