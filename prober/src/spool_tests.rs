use pnwatch_core::outcome::{Layer, Outcome};
use pnwatch_core::wire::{PathReport, REPORT_VERSION, Run};

use super::*;

fn at(second: u64) -> Now {
    Now {
        tick: Tick::from_millis(second * 1000),
        wall: Timestamp::from_unix_seconds(1_000_000 + second),
    }
}

fn report(seq: u64) -> Report {
    Report {
        version: REPORT_VERSION,
        cluster: "test".parse().unwrap(),
        vantage: "host/a".parse().unwrap(),
        boot_id: "b1-spool".into(),
        seq,
        plan_id: None,
        sent_at: at(0).wall,
        stopping: false,
        history: true,
        behind: false,
        paths: vec![PathReport {
            subject: "node:n1".parse().unwrap(),
            layer: Layer::Arp,
            runs: vec![Run {
                outcome: Outcome::Reached,
                count: 10,
                first_age_us: 9_000_000,
                last_age_us: 0,
                rtt_us: Vec::new(),
                kernel_rtt_us: Vec::new(),
            }],
            mac: None,
        }],
        link: None,
        vms: Vec::new(),
        ready: Vec::new(),
        counters: Vec::new(),
        devices: Vec::new(),
        witness: None,
        large: Vec::new(),
    }
}

fn spool(dir: &Path, boot: &str, most: u64) -> Spool {
    Spool::new(dir, "http://127.0.0.1:9760", boot, most)
}

fn drain(spool: &mut Spool, now: Now) -> Vec<(u64, u64)> {
    let mut seen = Vec::new();
    while let Some(report) = spool.next(now, |_| false).unwrap() {
        assert!(report.history);
        seen.push((report.seq, report.paths[0].runs[0].first_age_us / 1_000_000));
        spool.done();
    }
    seen
}

#[test]
fn what_was_kept_comes_back_in_order_with_its_age() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = spool(dir.path(), "m1", MOST);
    first.append(report(10), at(100)).unwrap();
    first.append(report(20), at(110)).unwrap();
    // The same boot of the machine: the wall clock may say what it likes.
    let mut again = spool(dir.path(), "m1", MOST);
    let mut now = at(200);
    now.wall = at(0).wall;
    assert_eq!(drain(&mut again, now), [(10, 109), (20, 99)]);
    // After a reboot the tick says nothing.
    let mut rebooted = spool(dir.path(), "m2", MOST);
    let mut now = at(300);
    now.tick = Tick::from_millis(5);
    assert_eq!(drain(&mut rebooted, now), [(10, 209), (20, 199)]);
    rebooted.clear().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(rebooted.next(now, |_| false).unwrap().is_none());
}

#[test]
fn without_an_acknowledgement_the_same_comes_again_and_the_unwanted_never() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = spool(dir.path(), "m1", MOST);
    for seq in [10, 20, 30] {
        spool.append(report(seq), at(seq)).unwrap();
    }
    let seq = |spool: &mut Spool| {
        let next = spool.next(at(50), |report| report.seq == 20).unwrap();
        next.map(|report| report.seq)
    };
    assert_eq!((seq(&mut spool), seq(&mut spool)), (Some(10), Some(10)));
    spool.done();
    assert_eq!(seq(&mut spool), Some(30));
    spool.done();
    assert_eq!(seq(&mut spool), None);
}

#[test]
fn it_is_bounded_and_the_oldest_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = spool(dir.path(), "m1", 16 << 10);
    for seq in 1..=200 {
        spool.append(report(seq), at(seq)).unwrap();
        let length = std::fs::metadata(&spool.path).unwrap().len();
        assert!(length <= 16 << 10, "{length}");
    }
    let seen: Vec<u64> = drain(&mut spool, at(300))
        .into_iter()
        .map(|s| s.0)
        .collect();
    assert_eq!(seen.last(), Some(&200));
    assert!(
        seen.len() > 10 && seen.windows(2).all(|w| w[0] + 1 == w[1]),
        "{seen:?}"
    );
    assert!(spool.dropped() > 0);
}

#[test]
fn damage_and_impossible_times_cost_their_own_line_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = spool(dir.path(), "m1", MOST);
    first.append(report(1), at(100)).unwrap();
    let mut file = OpenOptions::new().append(true).open(&first.path).unwrap();
    // A power cut in the middle of a line.
    file.write_all(b"{\"boot\":\"m1\",\"tick\":12").unwrap();
    first.append(report(2), at(120)).unwrap();
    // From the future, and from before all budgets.
    first.append(report(3), at(10_000)).unwrap();
    file.write_all(&[0xff, 0xfe, b'\n']).unwrap();
    first.append(report(4), at(130)).unwrap();
    let mut again = spool(dir.path(), "m1", MOST);
    assert_eq!(drain(&mut again, at(200)), [(1, 109), (2, 89), (4, 79)]);
    assert_eq!(again.dropped(), 3);
    let mut late = spool(dir.path(), "m2", MOST);
    let mut now = at(0);
    now.wall = now.wall.after(OLDEST * 2);
    assert_eq!(drain(&mut late, now), []);
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let mut spool = spool(&blocked, "m1", MOST);
    assert!(spool.append(report(1), at(1)).is_err());
    assert!(spool.next(at(2), |_| false).is_err());
}
