//! Tables and their version.

use redb::{ReadableTable as _, TableDefinition, WriteTransaction};

/// `schema` → version.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Series number → key as text.
pub(super) const SERIES: TableDefinition<'_, u32, &str> = TableDefinition::new("series");
/// (ring, slot index) → series and counts.
pub(super) const SLOTS: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("slots");
/// Finding id → finding as JSON.
pub(super) const FINDINGS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("findings");

const VERSION_KEY: &str = "schema";

/// One step from a version to the next.
pub(super) type Migration = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// Step `n` leads from version `n + 1` to `n + 2`; the current version is one more than there
/// are steps. Never change a step that was released: add one.
pub(super) const MIGRATIONS: &[Migration] = &[];

/// A file of a newer program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newer(pub(super) u64);

/// Brings an open file to the version that `steps` lead to, within one transaction.
pub(super) fn migrate(
    transaction: &WriteTransaction,
    steps: &[Migration],
) -> Result<Result<(), Newer>, redb::Error> {
    let current = steps.len() as u64 + 1;
    let found = transaction
        .open_table(META)?
        .get(VERSION_KEY)?
        .map(|version| version.value());
    match found {
        Some(version) if version > current => return Ok(Err(Newer(version))),
        // A new file begins at the current version.
        None => {}
        Some(version) => {
            let done = usize::try_from(version.saturating_sub(1)).unwrap_or(usize::MAX);
            for step in steps.iter().skip(done) {
                step(transaction)?;
            }
        }
    }
    transaction.open_table(META)?.insert(VERSION_KEY, current)?;
    transaction.open_table(SERIES)?;
    transaction.open_table(SLOTS)?;
    transaction.open_table(FINDINGS)?;
    Ok(Ok(()))
}
