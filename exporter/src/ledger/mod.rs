//! What survives a restart: budgets and open findings, in one embedded database file.
//!
//! Owns one writer thread; it alone writes the file. [`Ledger::save`] never waits: what is
//! saved while the writer is busy is merged and written next. **fsync policy**: every
//! transaction is fsynced before it counts as saved (redb's `Durability::Immediate`); saved is
//! once a second and at every transition of a finding, so a crash of process or machine loses
//! at most the last second.
//!
//! The file never stops monitoring. One that is corrupt, or of a newer schema, is kept aside
//! (`NAME.broken-UNIXSECONDS`) and a new one begun. One that cannot be written (disk full,
//! read-only, no right, held by another process) leaves the ledger in memory; the writer tries
//! again every ten seconds and then writes everything that is missing. Both are said loudly
//! ([`Status`]).

mod inquiry;
mod keeper;
mod pending;
mod schema;
mod statement;
mod store;
mod task;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pnwatch_core::finding::Finding;
use pnwatch_core::slo::{Book, Changes};
use pnwatch_core::time::Timestamp;
use pnwatch_edge::clock::SharedClock;

pub use self::inquiry::{Inquiries, Inquiry};
pub use self::keeper::{Keeper, Turn};
use self::pending::{Mailbox, Pending};
pub use self::statement::{Line, Statement};
use self::store::{OpenError, Store};
pub use self::task::{Books, Inputs, keep};
use self::writer::Writer;

/// Name of the file in `serve.state_dir`.
pub const FILE_NAME: &str = "ledger.redb";

/// What is to be kept.
#[derive(Debug, Default)]
pub struct Save {
    /// What changed in the book ([`Book::take_changes`]).
    pub changes: Changes,
    /// All open findings, if that set changed; it replaces the one before.
    pub findings: Option<Vec<Finding>>,
}

/// What was kept.
#[derive(Debug)]
pub struct Restored {
    /// Budgets.
    pub book: Book,
    /// Findings that were open.
    pub findings: Vec<Finding>,
}

/// How the ledger is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Why nothing is being written, since when; `None` = what is saved is on disk.
    pub volatile: Option<Volatile>,
    /// Where a file that could not be read was kept.
    pub kept_aside: Option<PathBuf>,
    /// Transactions written and fsynced.
    pub written: u64,
    /// Transactions that failed.
    pub failed: u64,
    /// When the last one was written.
    pub last_written: Option<Timestamp>,
    /// A new file was begun after the start: save [`Book::everything`] and all open findings.
    pub wants_everything: bool,
}

/// Why what is saved stays in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volatile {
    /// What happened, and what to do.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// The running ledger. Dropping it writes what is pending and ends the writer.
#[derive(Debug)]
pub struct Ledger {
    mailbox: Arc<Mailbox>,
    writer: Option<JoinHandle<()>>,
}

impl Ledger {
    /// Opens the file at `path`, or begins it; without a path everything stays in memory.
    /// Never fails: what is wrong is in [`Ledger::status`].
    pub fn open(path: Option<&Path>, clock: SharedClock) -> (Self, Restored) {
        let now = clock.now();
        let empty = || Restored {
            book: Book::new(now),
            findings: Vec::new(),
        };
        let mut status = Status::default();
        let Some(path) = path else {
            status.volatile = Some(Volatile {
                why: "no serve.state_dir is configured: budgets and open findings are lost \
                      with this process"
                    .into(),
                since: now.wall,
            });
            return (Self::without_writer(status), empty());
        };
        let (store, restored) = match open_or_begin(path, &clock, &mut status) {
            Ok((store, restored)) => (Some(store), restored),
            Err(error) => {
                status.volatile = Some(told(path, &error, now.wall));
                (None, empty())
            }
        };
        let mailbox = Arc::new(Mailbox::new(status));
        let writer = Writer {
            path: path.to_owned(),
            store,
            clock,
            mailbox: Arc::clone(&mailbox),
        };
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.run());
        let writer = match thread {
            Ok(handle) => Some(handle),
            Err(error) => {
                mailbox.status(|status| {
                    status.volatile = Some(Volatile {
                        why: format!(
                            "no thread for the ledger's writer ({error}): raise the limit on tasks"
                        ),
                        since: now.wall,
                    });
                });
                None
            }
        };
        (Self { mailbox, writer }, restored)
    }

    fn without_writer(status: Status) -> Self {
        Self {
            mailbox: Arc::new(Mailbox::new(status)),
            writer: None,
        }
    }

    /// Has `save` written. Never waits, never fails; merged with what is still pending.
    pub fn save(&self, save: Save) {
        if self.writer.is_some() {
            self.mailbox.put(Pending::of(save));
        }
    }

    /// How the ledger is.
    pub fn status(&self) -> Status {
        self.mailbox.status(|status| status.clone())
    }

    /// Whether everything has to be saved anew; says so once.
    pub fn take_wants_everything(&self) -> bool {
        self.mailbox
            .status(|status| std::mem::take(&mut status.wants_everything))
    }

    /// Waits until all that was saved is on disk; `false` if it was not within `patience`.
    /// Blocks: call it from a blocking thread.
    pub fn flush(&self, patience: Duration) -> bool {
        self.writer.is_some() && self.mailbox.wait_until_written(patience)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.mailbox.close();
        if let Some(writer) = self.writer.take() {
            // The writer catches its own panics; there is nothing to be done about another.
            drop(writer.join());
        }
    }
}

/// Opens, and if the file is beyond use, keeps it aside and begins a new one.
fn open_or_begin(
    path: &Path,
    clock: &SharedClock,
    status: &mut Status,
) -> Result<(Store, Restored), OpenError> {
    let now = clock.now();
    match Store::open(path, now) {
        Err(error) if error.is_beyond_use() => {
            let aside = store::keep_aside(path, now.wall)?;
            tracing::error!(
                file = %path.display(),
                kept_as = %aside.display(),
                "the ledger cannot be used ({error}); budgets begin anew, monitoring goes on"
            );
            status.kept_aside = Some(aside);
            Store::open(path, now)
        }
        other => other,
    }
}

fn told(path: &Path, error: &OpenError, since: Timestamp) -> Volatile {
    let why = format!(
        "{}: {error}; budgets and open findings stay in memory until it can be written",
        path.display()
    );
    tracing::error!("ledger: {why}");
    Volatile { why, since }
}

#[cfg(test)]
mod tests;
