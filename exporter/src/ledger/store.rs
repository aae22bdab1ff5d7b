//! The database file: opened, read whole, written in transactions, kept aside.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use pnwatch_core::finding::Finding;
use pnwatch_core::slo::{Book, Changes, RestoreError, RingId, SlotRow};
use pnwatch_core::time::{Now, Timestamp};
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError};

use super::Restored;
use super::pending::Pending;
use super::schema::{FINDINGS, MIGRATIONS, Newer, SERIES, SLOTS, migrate};

/// Bytes that the database may cache; the rings are held in memory anyway.
const CACHE: usize = 16 << 20;
/// Files kept aside; older ones go, so that a broken disk is not filled by its own debris.
const KEPT_ASIDE: usize = 3;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The content is damaged.
    #[error("the file is damaged ({0})")]
    Damaged(String),
    /// Written by a newer program.
    #[error("the file has schema {0}, newer than this program knows; run the newer one again")]
    Newer(u64),
    /// Another process holds it.
    #[error("another process holds the file; give every exporter its own serve.state_dir")]
    Held,
    /// The system refuses.
    #[error("{0}; check the disk's free space and the rights of serve.state_dir")]
    System(String),
}

impl OpenError {
    /// Whether only a new file helps.
    pub(super) fn is_beyond_use(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::Newer(_))
    }
}

impl From<redb::Error> for OpenError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::from(error),
            redb::Error::DatabaseAlreadyOpen => Self::Held,
            // After an I/O error the database refuses all until it is opened again.
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                Self::System("an earlier write failed".into())
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // What redb says of a file that is none of its own, or ends too early.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Damaged(error.to_string())
            }
            _ => Self::System(error.to_string()),
        }
    }
}

impl From<DatabaseError> for OpenError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(StorageError::Io(error)) => Self::from(error),
            DatabaseError::DatabaseAlreadyOpen => Self::Held,
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<RestoreError> for OpenError {
    fn from(error: RestoreError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
}

impl Store {
    /// Opens or begins the file and reads it whole.
    pub(super) fn open(path: &Path, now: Now) -> Result<(Self, Restored), OpenError> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        // A damaged file may trip an assertion inside the database.
        caught(|| {
            let database = Database::builder().set_cache_size(CACHE).create(path)?;
            let store = Self { database };
            store.migrate()?;
            let restored = store.read(now)?;
            Ok((store, restored))
        })
    }

    fn migrate(&self) -> Result<(), OpenError> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        if let Err(Newer(version)) = migrate(&transaction, MIGRATIONS)? {
            return Err(OpenError::Newer(version));
        }
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    fn read(&self, now: Now) -> Result<Restored, OpenError> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let mut changes = Changes::default();
        let series = transaction.open_table(SERIES).map_err(redb::Error::from)?;
        for row in series.iter().map_err(redb::Error::from)? {
            let (number, key) = row.map_err(redb::Error::from)?;
            let key = key.value().parse().map_err(|error| {
                OpenError::Damaged(format!("series {}: {error}", number.value()))
            })?;
            changes.series.push((number.value(), key));
        }
        let slots = transaction.open_table(SLOTS).map_err(redb::Error::from)?;
        for row in slots.iter().map_err(redb::Error::from)? {
            let (at, data) = row.map_err(redb::Error::from)?;
            let (ring, index) = at.value();
            let ring = RingId::from_number(ring)
                .ok_or_else(|| OpenError::Damaged(format!("there is no ring {ring}")))?;
            changes.slots.push(SlotRow {
                ring,
                index,
                data: data.value().to_vec(),
            });
        }
        let findings = transaction
            .open_table(FINDINGS)
            .map_err(redb::Error::from)?;
        let mut open = Vec::new();
        for row in findings.iter().map_err(redb::Error::from)? {
            let (id, json) = row.map_err(redb::Error::from)?;
            match serde_json::from_slice::<Finding>(json.value()) {
                Ok(finding) => open.push(finding),
                Err(error) => tracing::warn!(
                    finding = id.value(),
                    "a stored finding does not read ({error}); it opens anew if it lasts"
                ),
            }
        }
        Ok(Restored {
            book: Book::restore(&changes, now)?,
            findings: open,
        })
    }

    /// Writes and fsyncs.
    pub(super) fn write(&self, pending: &Pending) -> Result<(), OpenError> {
        caught(|| self.transact(pending).map_err(OpenError::from))
    }

    fn transact(&self, pending: &Pending) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut series = transaction.open_table(SERIES)?;
            for (number, key) in &pending.series {
                series.insert(number, key.to_string().as_str())?;
            }
            let mut slots = transaction.open_table(SLOTS)?;
            for (at, data) in &pending.slots {
                slots.insert(at, data.as_slice())?;
            }
            for (ring, oldest) in pending.prune() {
                slots.retain_in((ring, 0)..(ring, oldest), |_, _| false)?;
            }
            if let Some(open) = &pending.findings {
                let mut findings = transaction.open_table(FINDINGS)?;
                findings.retain(|_, _| false)?;
                for finding in open {
                    // A finding of plain strings and numbers always serializes.
                    let json = serde_json::to_vec(finding).unwrap_or_default();
                    findings.insert(finding.id.as_str(), json.as_slice())?;
                }
            }
        }
        // Durability::Immediate is the default: fsync before this returns.
        transaction.commit()?;
        Ok(())
    }
}

fn caught<T>(work: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no word".into());
        Err(OpenError::Damaged(format!("the database gave up: {said}")))
    })
}

/// Renames the file to `NAME.broken-UNIXSECONDS` and drops the oldest of those beyond three.
pub(super) fn keep_aside(path: &Path, now: Timestamp) -> Result<PathBuf, OpenError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!("{name}.broken-");
    let seconds = now.as_unix_nanos() / 1_000_000_000;
    let aside = path.with_file_name(format!("{prefix}{seconds:012}"));
    std::fs::rename(path, &aside)?;
    if let Some(dir) = path.parent() {
        let mut kept: Vec<PathBuf> = std::fs::read_dir(dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|p| {
                p.file_name()
                    .is_some_and(|n| n.to_string_lossy().starts_with(&prefix))
            })
            .collect();
        kept.sort();
        let surplus = kept.len().saturating_sub(KEPT_ASIDE);
        for old in kept.into_iter().take(surplus) {
            std::fs::remove_file(old)?;
        }
    }
    Ok(aside)
}
