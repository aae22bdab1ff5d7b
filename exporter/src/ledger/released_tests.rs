//! Files as released versions wrote them: each is read by every later one. A version that changes
//! the schema adds a file beside the others (`PNWATCH_BLESS=1` writes the current one if it is not
//! there yet) and never touches an older one.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use redb::Database;

use super::super::schema::MIGRATIONS;
use super::super::*;
use super::{clock, finding, key, open, save};
use pnwatch_core::slo::Event;
use pnwatch_edge::clock::Clock as _;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ledgers")
}

/// What every committed file holds: a good and a bad account, one open finding.
fn write(path: &Path) {
    let clock = clock();
    let (ledger, mut restored) = open(path, &clock);
    let book = &mut restored.book;
    book.record(&key("acme"), Event::Good, 7, clock.now());
    book.record(&key("umbrella"), Event::Bad, 5, clock.now());
    save(&ledger, book, clock.now(), Some(vec![finding(1)]));
    drop(ledger);
    // Without it the file keeps the room that it was made with.
    Database::create(path).unwrap().compact().unwrap();
}

#[test]
fn every_released_file_is_read() {
    let current = MIGRATIONS.len() + 1;
    let newest = folder().join(format!("v{current}.redb.gz"));
    let dir = tempfile::tempdir().unwrap();
    if std::env::var_os("PNWATCH_BLESS").is_some() && !newest.exists() {
        let path = dir.path().join("fresh");
        write(&path);
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&std::fs::read(&path).unwrap()).unwrap();
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&newest, packed.finish().unwrap()).unwrap();
    }
    for version in 1..=current {
        let packed = folder().join(format!("v{version}.redb.gz"));
        let packed = std::fs::read(&packed).unwrap_or_else(|error| {
            panic!("{}: {error}; PNWATCH_BLESS=1 writes it", packed.display())
        });
        let mut bytes = Vec::new();
        GzDecoder::new(packed.as_slice())
            .read_to_end(&mut bytes)
            .unwrap();
        let path = dir.path().join(version.to_string());
        std::fs::write(&path, bytes).unwrap();

        let clock = clock();
        let (ledger, restored) = open(&path, &clock);
        assert_eq!(ledger.status(), Status::default(), "version {version}");
        let window = |name| {
            let hour = Duration::from_hours(1);
            restored.book.window(&key(name), hour, clock.now())
        };
        assert_eq!(window("acme").good, 7, "version {version}");
        assert_eq!(window("umbrella").bad, 5, "version {version}");
        assert_eq!(restored.findings, [finding(1)], "version {version}");
    }
}
