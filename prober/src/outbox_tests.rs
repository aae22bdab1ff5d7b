use pnwatch_core::outcome::{Cause, Layer, Outcome};
use pnwatch_core::schedule::CheckId;

use super::*;
use crate::evidence::{Entry, Gathering};

fn at(second: u64) -> Tick {
    Tick::from_millis(second * 1000)
}

/// One success and one miss at `second`.
fn unit(second: u64) -> Arc<Unit> {
    let subject = Arc::new("node:n1".parse().unwrap());
    let mut gathering = Gathering::default();
    for outcome in [Outcome::Reached, Outcome::Unreached(Cause::ArpUnanswered)] {
        let mut entry = Entry::plain(outcome, at(second));
        entry.rtt = Some(Duration::from_millis(1));
        gathering.add((CheckId(1), Layer::Arp), &subject, entry, None);
    }
    Arc::new(gathering.fold(at(second)))
}

fn filled(seconds: core::ops::RangeInclusive<u64>) -> Outbox {
    let mut outbox = Outbox::default();
    seconds.for_each(|second| outbox.push(unit(second)));
    outbox
}

/// Everything that is delivered at `now`: number and outcomes of each report.
fn deliver(outbox: &mut Outbox, now: Tick) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    while let Some((next, _)) = outbox.take(now) {
        all.push((next.seq, next.unit.outcomes()));
        outbox.done(false, Tick::default());
    }
    all
}

#[test]
fn a_unit_keeps_its_number_until_it_arrives() {
    let mut outbox = filled(1..=1);
    let (first, newest) = outbox.take(at(2)).unwrap();
    assert_eq!((first.seq, newest), (1, true));
    outbox.push(unit(2));
    assert!(outbox.take(at(2)).is_none());
    outbox.done(true, at(3));
    assert!(outbox.take(at(2)).is_none());
    // It may have arrived: nothing joins it.
    let (again, newest) = outbox.take(at(3)).unwrap();
    assert_eq!((again.seq, again.unit.outcomes(), newest), (1, 2, false));
    outbox.done(false, Tick::default());
    let (second, newest) = outbox.take(at(3)).unwrap();
    assert_eq!((second.seq, newest), (2, true));
}

#[test]
fn what_has_waited_goes_ten_at_a_time_and_nothing_is_lost() {
    let mut outbox = filled(1..=25);
    assert_eq!(deliver(&mut outbox, at(30)), [(10, 20), (20, 20), (25, 10)]);
    assert!(outbox.is_empty());
}

#[test]
fn what_is_sent_says_when_newer_evidence_waits_behind_it() {
    let mut outbox = filled(1..=25);
    for (seq, behind) in [(10, true), (20, true), (25, false)] {
        let (next, newest) = outbox.take(at(30)).unwrap();
        assert_eq!(
            (next.seq, newest, outbox.is_behind()),
            (seq, !behind, behind)
        );
        outbox.done(false, Tick::default());
    }
    // What comes while a report is under way makes it no old news.
    let mut outbox = filled(1..=1);
    outbox.take(at(1)).unwrap();
    outbox.push(unit(2));
    outbox.push(unit(3));
    assert!(!outbox.is_behind());
    outbox.push(unit(4));
    assert!(outbox.is_behind());
}

#[test]
fn without_room_samples_go_first_and_then_the_oldest_units() {
    let mut outbox = filled(1..=WHOLE as u64 + 10);
    assert_eq!((outbox.len(), outbox.dropped()), (WHOLE + 10, 0));
    let told = outbox.take(at(1)).unwrap().0.unit.paths(at(1));
    let reached = told[0].runs.iter().find(|r| r.outcome == Outcome::Reached);
    assert!(reached.unwrap().rtt_us.is_empty());
    outbox.done(false, Tick::default());
    let mut outbox = filled(1..=2 * KEPT as u64);
    assert!(outbox.len() <= KEPT, "{}", outbox.len());
    let kept: u64 = deliver(&mut outbox, at(1)).iter().map(|(_, n)| n).sum();
    assert_eq!(kept + outbox.dropped(), 4 * KEPT as u64);
}

#[test]
fn while_a_line_is_down_whole_lines_go_to_the_disk_once() {
    let mut outbox = filled(1..=5);
    assert!(
        outbox.to_spool(at(5), true).is_none(),
        "the line is not down"
    );
    outbox.take(at(5)).unwrap();
    outbox.done(true, at(6));
    (6..=24).for_each(|second| outbox.push(unit(second)));
    assert!(outbox.to_spool(at(15), false).is_none(), "not for long");
    let mut lines = Vec::new();
    while let Some(line) = outbox.to_spool(at(30), false) {
        lines.push((line.seq, line.unit.outcomes()));
    }
    assert_eq!(lines, [(10, 20), (20, 20)]);
    // At the goodbye the rest goes too.
    let rest = outbox.to_spool(at(30), true).unwrap();
    assert_eq!((rest.seq, rest.unit.outcomes()), (24, 8));
    assert!(outbox.to_spool(at(30), true).is_none());
    assert_eq!(outbox.disk_only(), 0);
    // All of it is still in memory, and goes from there.
    let sent: u64 = deliver(&mut outbox, at(31)).iter().map(|(_, n)| n).sum();
    assert_eq!(sent, 48);
}

#[test]
fn what_memory_gives_up_is_on_disk_or_counted_and_never_both() {
    let mut outbox = filled(1..=1);
    outbox.take(at(1)).unwrap();
    outbox.done(true, at(2));
    let mut spooled = 0;
    for second in 2..=KEPT as u64 + 50 {
        outbox.push(unit(second));
        while let Some(line) = outbox.to_spool(at(second), false) {
            spooled = line.seq;
        }
    }
    assert_eq!(outbox.dropped(), 0);
    let gone = outbox.disk_only();
    assert!(gone > 0 && gone.is_multiple_of(JOINED as u64) && gone <= spooled);
    let sent = deliver(&mut outbox, at(9999));
    let sent: u64 = sent.iter().map(|(_, n)| n).sum();
    assert_eq!(sent, 2 * (KEPT as u64 + 50 - gone));
}

/// `paths` paths that all saw `outcome`.
fn large(outcome: Outcome, paths: u32) -> Arc<Unit> {
    let subject = Arc::new("node:n1".parse().unwrap());
    let mut gathering = Gathering::default();
    for id in 0..paths {
        let entry = Entry::plain(outcome, at(1));
        gathering.add((CheckId(id), Layer::Arp), &subject, entry, None);
    }
    Arc::new(gathering.fold(at(1)))
}

#[test]
fn many_targets_are_bounded_by_their_paths() {
    let mut outbox = Outbox::default();
    for _ in 0..30 {
        outbox.push(large(Outcome::Reached, 10_000));
    }
    // Ten gave their successes up, and nothing else was in them.
    assert_eq!((outbox.len(), outbox.dropped()), (30, 100_000));
    for _ in 0..30 {
        let missed = Outcome::Unreached(Cause::ArpUnanswered);
        outbox.push(large(missed, 10_000));
    }
    assert_eq!((outbox.len(), outbox.paths), (20, KEPT_PATHS));
    let (oldest, _) = outbox.take(Tick::default()).unwrap();
    assert_eq!(oldest.unit.len(), 10_000);
}
