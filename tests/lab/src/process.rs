//! The lab's children: started inside a namespace, ended by their own id, never by a name.
//!
//! Every child dies with the lab even if the lab is killed (`setpriv --pdeathsig`), which holds as
//! long as the thread that started it lives: children are started by the main thread only.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::{IP, SETPRIV};
use crate::net::Namespace;
use crate::wait;

/// How long a child may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How much of a log an error quotes.
const TAIL_BYTES: u64 = 1200;

/// A child's id and the kernel's start time of it (`/proc/PID/stat` field 22): together they
/// identify a process even when the id has been given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: i32,
    /// Clock ticks between boot and its start.
    pub started: u64,
}

impl ProcessId {
    /// The calling process.
    pub fn own() -> Option<Self> {
        Self::of(i32::try_from(std::process::id()).ok()?)
    }

    /// The process `pid`, if there is one.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        start_time(&stat).map(|started| Self { pid, started })
    }

    /// Whether that very process still exists (a zombie counts as gone).
    pub fn is_alive(self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        start_time(&stat) == Some(self.started) && !is_zombie(&stat)
    }

    /// Sends a signal to that very process, if it still exists.
    pub fn signal(self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        let pid =
            Pid::from_raw(self.pid).ok_or_else(|| anyhow!("{} is no process id", self.pid))?;
        kill_process(pid, signal).with_context(|| format!("cannot signal process {}", self.pid))
    }
}

/// Field 22 of `/proc/PID/stat`; the second field may hold spaces and parentheses (proc(5)).
fn start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

fn is_zombie(stat: &str) -> bool {
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[derive(Debug)]
struct Running {
    child: Child,
    id: ProcessId,
    log: PathBuf,
}

/// All children of one lab by name; killed and reaped on drop.
#[derive(Debug)]
pub struct Processes {
    running: BTreeMap<String, Running>,
    logs: PathBuf,
}

impl Processes {
    /// None yet; what children print goes to `logs/NAME.log`.
    pub fn new(logs: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(Self {
            running: BTreeMap::new(),
            logs,
        })
    }

    /// Starts `program` inside `namespace` under `name`, which must be free.
    pub fn start<S: AsRef<str>>(
        &mut self,
        name: &str,
        namespace: &Namespace,
        program: &Path,
        arguments: &[S],
    ) -> Result<ProcessId> {
        if self.running.contains_key(name) {
            return Err(anyhow!("{name} is running already"));
        }
        let log = self.log(name);
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = Command::new(SETPRIV.require()?)
            .args(["--pdeathsig", "KILL"])
            .arg(IP.require()?)
            .args(["netns", "exec", namespace.name()])
            .arg(program)
            .args(arguments.iter().map(AsRef::as_ref))
            .env("TZ", "UTC")
            // The machine's: as in two Pods, no two children share a name.
            .env_remove("HOSTNAME")
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("cannot share the log")?)
            .stderr(out)
            // The terminal's ctrl-C is for the lab alone.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let id = i32::try_from(child.id())
            .ok()
            .and_then(ProcessId::of)
            .ok_or_else(|| anyhow!("{name} has no entry in /proc"))?;
        self.running
            .insert(name.to_owned(), Running { child, id, log });
        Ok(id)
    }

    /// The ids of all children.
    pub fn ids(&self) -> BTreeMap<String, ProcessId> {
        let ids = self.running.iter();
        ids.map(|(name, running)| (name.clone(), running.id))
            .collect()
    }

    /// Whether `name` was started and not ended by the lab.
    pub fn has(&self, name: &str) -> bool {
        self.running.contains_key(name)
    }

    /// An error if `name` ended by itself, with the end of its log.
    pub fn check(&mut self, name: &str) -> Result<()> {
        let Some(running) = self.running.get_mut(name) else {
            return Err(anyhow!("{name} is not running"));
        };
        match running.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(ended(name, status, &running.log)),
            Err(error) => Err(error).with_context(|| format!("cannot ask for the state of {name}")),
        }
    }

    /// An error if any child ended by itself.
    pub fn check_all(&mut self) -> Result<()> {
        let names: Vec<String> = self.running.keys().cloned().collect();
        names.iter().try_for_each(|name| self.check(name))
    }

    /// Kills `name` without a chance to say goodbye; not running is fine.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let Some(mut running) = self.running.remove(name) else {
            return Ok(());
        };
        running.id.signal(Signal::KILL)?;
        running
            .child
            .wait()
            .with_context(|| format!("cannot reap {name}"))?;
        Ok(())
    }

    /// Asks `name` to end (SIGTERM), kills it if it does not.
    pub fn terminate(&mut self, name: &str) -> Result<()> {
        let Some(running) = self.running.get_mut(name) else {
            return Ok(());
        };
        running.id.signal(Signal::TERM)?;
        let ended = wait::polled(GRACE, || Ok(running.child.try_wait()?.map(|_| ())))?;
        if ended.is_some() {
            self.running.remove(name);
            return Ok(());
        }
        eprintln!("pnwatch-lab: {name} did not end within {GRACE:?} of SIGTERM; killed");
        self.kill(name)
    }

    /// Where a child's output goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for running in self.running.values() {
            let _ = running.id.signal(Signal::KILL);
        }
        for running in self.running.values_mut() {
            let _ = running.child.wait();
        }
    }
}

fn ended(name: &str, status: ExitStatus, log: &Path) -> anyhow::Error {
    anyhow!(
        "{name} ended by itself ({status}); its log {} ends:\n{}",
        log.display(),
        tail(log)
    )
}

fn tail(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot read it: {error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "4242 (a (b) c) S 1 4242 4242 0 -1 4194304 100 0 0 0 1 2 3 4 20 0 1 0 987654 1000 200";

    #[test]
    fn the_start_time_survives_odd_names() {
        assert_eq!(start_time(STAT), Some(987_654));
        assert_eq!(start_time(""), None);
        assert_eq!(start_time("1 (x) S"), None);
    }

    #[test]
    fn a_process_is_known_by_id_and_start() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive());
        let other = ProcessId {
            started: own.started + 1,
            ..own
        };
        assert!(!other.is_alive());
        // Must not signal: the id belongs to another process now.
        other.signal(Signal::KILL).unwrap();
    }
}
