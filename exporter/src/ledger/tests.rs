use std::io::{BufRead as _, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pnwatch_core::fault::{Blame, Confidence, Fault, Severity};
use pnwatch_core::finding::Identity;
use pnwatch_core::name::{Account, Cluster, VantageKind};
use pnwatch_core::slo::{Event, SeriesKey};
use pnwatch_core::time::{Now, Tick};
use pnwatch_edge::clock::{Clock as _, ManualClock};
use redb::{Database, TableDefinition};

use super::schema::{META, migrate};
use super::*;

#[path = "released_tests.rs"]
mod released;

const EPOCH: u64 = 1_780_000_000;
const PATIENCE: Duration = Duration::from_mins(1);
/// The path that the writer program of this file writes to.
const CHILD: &str = "PNWATCH_LEDGER_TEST_CHILD";
/// How many series the writer program fills.
const CHILD_SERIES: &str = "PNWATCH_LEDGER_TEST_SERIES";

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Now {
        tick: Tick::from_millis(1000),
        wall: Timestamp::from_unix_seconds(EPOCH),
    }))
}

fn key(name: &str) -> SeriesKey {
    SeriesKey::reachability(Account::new(name).unwrap(), VantageKind::Host)
}

pub(super) fn finding(number: u64) -> Finding {
    let at = Timestamp::from_unix_seconds(EPOCH + number);
    Finding {
        id: format!("node-n-{number}"),
        identity: Identity {
            cluster: Cluster::new("test").unwrap(),
            blame: Blame::Node,
            subject: "n".into(),
        },
        fault: Fault::AddressLost,
        severity: Severity::Critical,
        alertname: Fault::AddressLost.alert(Blame::Node),
        confidence: Confidence::High,
        started_at: at,
        opened_at: at,
        sharpened_at: at,
        clearing_since: None,
        closed_at: None,
        blind_since: None,
        summary: "node n: pn0 lost its address".into(),
        evidence: Vec::new(),
        missing: Vec::new(),
        node: None,
        host: None,
        account: None,
        address: None,
        accounts: Vec::new(),
        vantages: Vec::new(),
        repair: None,
    }
}

fn open(path: &Path, clock: &Arc<ManualClock>) -> (Ledger, Restored) {
    Ledger::open(Some(path), clock.clone())
}

fn save(ledger: &Ledger, book: &mut Book, now: Now, findings: Option<Vec<Finding>>) {
    ledger.save(Save {
        changes: book.take_changes(now),
        findings,
    });
}

fn wait_for(ledger: &Ledger, what: impl Fn(&Status) -> bool) -> Status {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = ledger.status();
        if what(&status) {
            return status;
        }
        assert!(Instant::now() < until, "never came: {status:?}");
        std::thread::yield_now();
    }
}

#[test]
fn budgets_and_open_findings_come_back_with_their_times() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state").join(FILE_NAME);
    let clock = clock();
    let (ledger, mut restored) = open(&path, &clock);
    assert_eq!(ledger.status(), Status::default());
    let book = &mut restored.book;
    book.record(&key("a"), Event::Good, 7, clock.now());
    save(
        &ledger,
        book,
        clock.now(),
        Some(vec![finding(1), finding(2)]),
    );
    clock.advance(Duration::from_secs(30));
    book.record(&key("b"), Event::Bad, 5, clock.now());
    save(&ledger, book, clock.now(), Some(vec![finding(2)]));
    drop(ledger);

    let (_ledger, restored) = open(&path, &clock);
    let hour = Duration::from_hours(1);
    assert_eq!(restored.book.window(&key("a"), hour, clock.now()).good, 7);
    assert_eq!(restored.book.window(&key("b"), hour, clock.now()).bad, 5);
    assert_eq!(restored.findings, [finding(2)]);
}

#[test]
fn a_file_beyond_use_is_kept_aside_and_monitoring_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let clock = clock();
    let (ledger, mut restored) = open(&path, &clock);
    for n in 0..200 {
        restored
            .book
            .record(&key(&format!("a{n}")), Event::Good, 1, clock.now());
    }
    save(&ledger, &mut restored.book, clock.now(), None);
    drop(ledger);
    let whole = std::fs::read(&path).unwrap();
    let damages: [fn(&mut Vec<u8>); 5] = [
        |bytes| bytes.clear(),
        |bytes| bytes.truncate(5000),
        |bytes| bytes[..64].fill(0x55),
        |bytes| bytes[64..320].fill(0),
        |bytes| {
            let from = bytes.len().min(4096);
            bytes[from..].fill(0xa5);
        },
    ];
    for (n, damage) in damages.iter().enumerate() {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        let empty = bytes.is_empty();
        std::fs::write(&path, &bytes).unwrap();
        clock.advance(Duration::from_mins(1));
        let (ledger, mut restored) = open(&path, &clock);
        let status = ledger.status();
        assert_eq!(status.volatile, None, "damage {n}");
        // An empty file is a file not yet begun: nothing is worth keeping.
        assert_eq!(status.kept_aside.is_none(), empty, "damage {n}: {status:?}");
        restored
            .book
            .record(&key("new"), Event::Good, 3, clock.now());
        save(&ledger, &mut restored.book, clock.now(), None);
        assert!(ledger.flush(PATIENCE));
        drop(ledger);
        let (_ledger, restored) = open(&path, &clock);
        let seen = restored
            .book
            .window(&key("new"), Duration::from_hours(1), clock.now());
        assert_eq!(seen.good, 3, "damage {n}");
    }
    let kept = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(kept, 1 + 3, "the newest three of four are kept aside");
}

#[test]
fn a_file_that_cannot_be_written_stays_in_memory_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the directory should be.
    let blocker = dir.path().join("state");
    std::fs::write(&blocker, "x").unwrap();
    let path = blocker.join(FILE_NAME);
    let clock = clock();
    let (ledger, mut restored) = open(&path, &clock);
    let why = ledger.status().volatile.unwrap().why;
    assert!(
        why.contains("stay in memory") && why.contains("serve.state_dir"),
        "{why}"
    );
    restored.book.record(&key("a"), Event::Good, 7, clock.now());
    save(
        &ledger,
        &mut restored.book,
        clock.now(),
        Some(vec![finding(1)]),
    );
    wait_for(&ledger, |status| status.failed > 0);
    std::fs::remove_file(&blocker).unwrap();
    assert!(ledger.flush(PATIENCE));
    let status = ledger.status();
    assert_eq!(status.volatile, None);
    assert!(status.wants_everything, "{status:?}");
    drop(ledger);
    let (_ledger, restored) = open(&path, &clock);
    let seen = restored
        .book
        .window(&key("a"), Duration::from_hours(1), clock.now());
    assert_eq!((seen.good, restored.findings.len()), (7, 1));
}

#[test]
fn two_exporters_never_share_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let clock = clock();
    let (first, _) = open(&path, &clock);
    let (second, _) = open(&path, &clock);
    let why = second.status().volatile.unwrap().why;
    assert!(why.contains("another process"), "{why}");
    assert_eq!(first.status().volatile, None);
    assert_eq!(first.status().kept_aside, None);
}

#[test]
fn without_a_directory_everything_stays_in_memory_and_says_so() {
    let (ledger, _) = Ledger::open(None, clock());
    ledger.save(Save::default());
    assert!(
        ledger
            .status()
            .volatile
            .unwrap()
            .why
            .contains("serve.state_dir")
    );
    assert!(!ledger.flush(Duration::ZERO));
}

#[test]
fn older_schemas_are_migrated_step_by_step_and_newer_ones_kept_aside() {
    const MARK: TableDefinition<'_, &str, u64> = TableDefinition::new("mark");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let clock = clock();
    drop(open(&path, &clock));
    let step = |to: u64| match to {
        2 => |t: &redb::WriteTransaction| -> Result<(), redb::Error> {
            t.open_table(MARK)?.insert("step", 2)?;
            Ok(())
        },
        _ => |t: &redb::WriteTransaction| -> Result<(), redb::Error> {
            let mut table = t.open_table(MARK)?;
            let before = table.remove("step")?.map_or(0, |v| v.value());
            table.insert("step", before * 10 + 3)?;
            Ok(())
        },
    };
    let database = Database::open(&path).unwrap();
    for (steps, mark) in [(vec![step(2)], 2), (vec![step(2), step(3)], 23)] {
        let transaction = database.begin_write().unwrap();
        assert_eq!(migrate(&transaction, &steps).unwrap(), Ok(()));
        assert_eq!(
            transaction
                .open_table(MARK)
                .unwrap()
                .remove("step")
                .unwrap()
                .unwrap()
                .value(),
            mark
        );
        transaction
            .open_table(MARK)
            .unwrap()
            .insert("step", mark)
            .unwrap();
        let version = transaction
            .open_table(META)
            .unwrap()
            .remove("schema")
            .unwrap()
            .unwrap()
            .value();
        assert_eq!(version, steps.len() as u64 + 1);
        transaction
            .open_table(META)
            .unwrap()
            .insert("schema", version)
            .unwrap();
        transaction.commit().unwrap();
    }
    drop(database);
    let (ledger, _) = open(&path, &clock);
    assert!(
        ledger.status().kept_aside.is_some(),
        "schema 3 is newer than ours"
    );
}

/// The writer program: ten events a second of its own clock, saved each second; says the
/// second once it is on disk. Ends after `seconds`, or never.
fn write_ledger(path: &Path, series: usize, seconds: u64, mut say: impl Write) {
    let clock = clock();
    let (ledger, mut restored) = open(path, &clock);
    let keys: Vec<_> = (0..series).map(|n| key(&format!("a{n}"))).collect();
    for second in 1..=seconds {
        for _ in 0..10 {
            clock.advance(Duration::from_millis(if series > 1 { 10_000 } else { 100 }));
            for key in &keys {
                restored.book.record(key, Event::Good, 1, clock.now());
            }
        }
        save(
            &ledger,
            &mut restored.book,
            clock.now(),
            Some(vec![finding(second)]),
        );
        // While the file cannot be written this returns at once; the program goes on.
        let patience = if ledger.status().volatile.is_some() {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let mut written = false;
        let until = Instant::now() + patience;
        while !written && ledger.status().volatile.is_none() && Instant::now() < until {
            written = ledger.flush(Duration::from_millis(50));
        }
        let word = if written { "saved" } else { "volatile" };
        writeln!(say, "{word} {second}").unwrap();
        say.flush().unwrap();
    }
}

/// Run by itself it is a short run of the writer program; with [`CHILD`] set it is the
/// process that the tests below kill.
#[test]
fn writer_program() {
    if let Ok(path) = std::env::var(CHILD) {
        let series = std::env::var(CHILD_SERIES).unwrap().parse().unwrap();
        write_ledger(Path::new(&path), series, 100_000, std::io::stdout());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let mut said = Vec::new();
    write_ledger(&path, 1, 3, &mut said);
    assert_eq!(
        String::from_utf8(said).unwrap(),
        "saved 1\nsaved 2\nsaved 3\n"
    );
    assert_eq!(recovered(&path), (30, 3));
}

/// Events and the number of the open finding in the file.
fn recovered(path: &Path) -> (u64, u64) {
    let clock = clock();
    let (ledger, restored) = open(path, &clock);
    let status = ledger.status();
    assert_eq!((status.volatile, status.kept_aside), (None, None));
    let counts = restored
        .book
        .window(&key("a0"), Duration::from_hours(28 * 24), clock.now());
    let number = restored
        .findings
        .first()
        .map_or(0, |f| f.id.rsplit('-').next().unwrap().parse().unwrap());
    assert!(restored.findings.len() <= 1);
    (counts.good, number)
}

fn child(command: &mut Command, path: &Path, series: usize) -> Child {
    command
        .args(["--exact", "ledger::tests::writer_program", "--nocapture"])
        .env(CHILD, path)
        .env(CHILD_SERIES, series.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The second of the next `saved` or `volatile` line.
fn heard(lines: &mut impl Iterator<Item = std::io::Result<String>>, word: &str) -> Option<u64> {
    for line in lines {
        // The test harness's own words come on the same stream.
        let line = line.unwrap();
        let Some((_, number)) = line.rsplit_once(word) else {
            continue;
        };
        return number.trim().parse().ok();
    }
    None
}

/// `PNWATCH_LEDGER_KILLS` raises the number for the long run.
#[test]
fn a_hundred_times_kill_9_loses_at_most_the_last_second_and_corrupts_nothing() {
    let kills = std::env::var("PNWATCH_LEDGER_KILLS").map_or(100, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut seed = 0x5eed_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let program = std::env::current_exe().unwrap();
    let (mut most_lost, mut earlier) = (0, 0);
    for kill in 0..kills {
        // Every tenth begins a new file; the others go on with one that was killed before.
        let path = dir.path().join(format!("{}.redb", kill / 10));
        if kill % 10 == 0 {
            earlier = 0;
        }
        let mut writer = child(&mut Command::new(&program), &path, 1);
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut said = 0;
        for _ in 0..=random(6) {
            said = heard(&mut lines, "saved ").expect("the writer lives until it is killed");
        }
        let until = Instant::now() + Duration::from_micros(random(4000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        while let Some(last) = heard(&mut lines, "saved ") {
            said = last;
        }
        let (events, number) = recovered(&path);
        let events = events - earlier;
        assert!(
            events >= said * 10,
            "kill {kill}: {events} events, {said} s were saved"
        );
        assert!(number >= said, "kill {kill}: finding {number} of {said}");
        // At most one more second can have been on its way.
        assert!(
            events <= said * 10 + 10,
            "kill {kill}: {events} events of {said} s"
        );
        most_lost = most_lost.max(said * 10 + 10 - events);
        earlier += events;
    }
    println!(
        "{kills} kills, never corrupt, at most {most_lost} of 10 events of the last second lost"
    );
}

#[test]
fn a_full_disk_stops_nothing_and_what_was_saved_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    // A limit on the file's size is a disk that is full for this process alone; an ignored
    // SIGXFSZ stays ignored through exec, and the write fails with EFBIG (setrlimit(2)).
    let mut limited = Command::new("/bin/sh");
    limited
        .args(["-c", "ulimit -f 8192; trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap());
    let mut writer = child(&mut limited, &path, 2000);
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut saved = 0;
    let full = loop {
        let line = lines
            .next()
            .expect("the writer goes on when the disk is full")
            .unwrap();
        if let Some((_, second)) = line.rsplit_once("saved ") {
            saved = second.trim().parse().unwrap();
        } else if let Some((_, second)) = line.rsplit_once("volatile ") {
            break second.trim().parse::<u64>().unwrap();
        }
    };
    assert!(saved > 0, "some of it fitted");
    let later = heard(&mut lines, "volatile ").expect("still running");
    assert!(later > full);
    writer.kill().unwrap();
    writer.wait().unwrap();
    let (events, number) = recovered(&path);
    assert!(
        events >= saved * 10 && number >= saved,
        "{events} events of {saved} s"
    );
}
