#![allow(clippy::float_cmp, reason = "ratios of small whole numbers")]

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fault::Blame;
use crate::name::{Account, Node, Vantage, VantageKind};
use crate::outcome::{Blind, Cause};
use crate::time::{Tick, Timestamp};

const EPOCH: u64 = 1_780_000_000;

fn at(second: u64) -> Now {
    Now {
        tick: Tick::from_millis(second * 1000),
        wall: Timestamp::from_unix_seconds(EPOCH + second),
    }
}

fn key(name: &str) -> SeriesKey {
    SeriesKey::reachability(Account::new(name).unwrap(), VantageKind::Host)
}

fn host(name: &str) -> Vantage {
    format!("host/{name}").parse().unwrap()
}

fn hours(n: u64) -> Duration {
    Duration::from_hours(n)
}

/// Ten checks per ten seconds and account, from `from` to `to`.
fn run(book: &mut Book, keys: &[SeriesKey], event: Event, from: u64, to: u64) {
    for second in (from..to).step_by(10) {
        for key in keys {
            book.record(key, event, 10, at(second));
        }
    }
}

#[test]
fn outcomes_count_as_the_table_says() {
    let unreached = Outcome::Unreached(Cause::SynUnanswered);
    for (outcome, excused, event) in [
        (Outcome::Reached, false, Some(Event::Good)),
        (Outcome::Reached, true, Some(Event::Good)),
        (unreached, false, Some(Event::Bad)),
        (unreached, true, Some(Event::Excused)),
        (
            Outcome::Unmeasured(Blind::Suspended),
            false,
            Some(Event::Unmeasured),
        ),
        (
            Outcome::Unmeasured(Blind::ClockStep),
            true,
            Some(Event::Unmeasured),
        ),
        (Outcome::NotApplicable, false, None),
    ] {
        assert_eq!(Event::of(outcome, excused), event, "{outcome:?} {excused}");
    }
}

#[test]
fn one_dead_account_of_twenty_burns_its_own_budget_after_six_clean_hours() {
    let keys: Vec<_> = (0..20).map(|n| key(&format!("a{n}"))).collect();
    let policy = Policy::default();
    let mut book = Book::new(at(0));
    run(&mut book, &keys, Event::Good, 0, 6 * 3600);
    assert!(
        keys.iter()
            .all(|k| burning(&book, &policy, k, at(6 * 3600)).is_none())
    );
    let (dead, living) = keys.split_first().unwrap();
    let mut paged = None;
    for second in (6 * 3600..6 * 3600 + 120).step_by(10) {
        run(&mut book, living, Event::Good, second, second + 10);
        run(
            &mut book,
            core::slice::from_ref(dead),
            Event::Bad,
            second,
            second + 10,
        );
        let burn = burning(&book, &policy, dead, at(second));
        if let (None, Some(burn)) = (&paged, burn) {
            paged = Some((second - 6 * 3600, burn));
        }
        assert!(
            living
                .iter()
                .all(|k| burning(&book, &policy, k, at(second)).is_none())
        );
    }
    let (after, burn) = paged.expect("a dead account pages by burn rate alone");
    assert!(after <= 40, "paged after {after} s");
    assert_eq!(burn.severity, crate::fault::Severity::Critical);
    assert!(burn.evidence.contains("over 1h"), "{}", burn.evidence);
    // One objective over the whole fleet would have stayed silent.
    let now = at(6 * 3600 + after);
    let sum = |window| {
        keys.iter().fold((0, 0), |(bad, all), key| {
            let counts = book.window(key, window, now);
            (bad + counts.bad, all + counts.measured())
        })
    };
    let fleet = policy.table.judge(|window| {
        let (bad, all) = sum(window);
        policy.reachability.burn_rate(bad, all)
    });
    assert_eq!(fleet, None);
}

#[test]
fn a_young_ledger_pages_for_a_dead_account_and_not_for_a_blip() {
    let policy = Policy::default();
    for (bad_s, pages) in [(10, false), (60, true)] {
        let mut book = Book::new(at(0));
        let one = [key("a")];
        run(&mut book, &one, Event::Good, 0, 240);
        run(&mut book, &one, Event::Bad, 240, 240 + bad_s);
        let burn = burning(&book, &policy, &one[0], at(239 + bad_s));
        assert_eq!(burn.is_some(), pages, "{bad_s} s: {burn:?}");
    }
}

/// What a finding may still claim wakes nobody; what none claimed in time does.
#[test]
fn misses_that_wait_for_their_finding_burn_nothing_yet() {
    let (policy, one, hold) = (Policy::default(), key("a"), Duration::from_secs(15));
    let host = "host/m".parse().unwrap();
    let mut book = Book::new(at(0));
    run(&mut book, core::slice::from_ref(&one), Event::Good, 0, 30);
    for second in 30..42 {
        book.record_bad(&one, &host, 5, at(second));
        book.claim(at(second), hold, |_| None);
        assert_eq!(burning(&book, &policy, &one, at(second)), None, "{second}");
    }
    assert_eq!(book.waiting(&one), 60);
    book.claim(at(70), hold, |_| None);
    assert_eq!(book.waiting(&one), 0);
    assert!(burning(&book, &policy, &one, at(70)).is_some());
}

/// Seconds after its first event a ledger must not take a coarse slot for an hour of evidence.
#[test]
fn a_ledger_of_seconds_judges_no_long_window_by_them() {
    for start in [0, 3599, 12_345, 86_399] {
        let mut book = Book::new(at(start));
        let policy = Policy::default();
        let one = [key("one")];
        run(&mut book, &one, Event::Good, start, start + 20);
        run(&mut book, &one, Event::Bad, start + 20, start + 38);
        let now = at(start + 38);
        assert_eq!(burning(&book, &policy, &one[0], now), None, "from {start}");
        let day = book.window(&one[0], hours(24), now);
        assert!(day.covered_s <= 50, "{} s are covered", day.covered_s);
    }
}

#[test]
fn what_a_finding_explains_burns_no_account_page_but_the_budget() {
    let policy = Policy::default();
    let account = key("tuist");
    let vm = SeriesKey::reachability(Account::new("tuist").unwrap(), VantageKind::Vm);
    let mut book = Book::new(at(0));
    run(
        &mut book,
        &[account.clone(), vm.clone()],
        Event::Good,
        0,
        6 * 3600,
    );
    for second in 6 * 3600..6 * 3600 + 120 {
        // The VMs of one host fail; its finding is confirmed after two seconds.
        book.record_bad(&vm, &"vm/mini-1/0".parse().unwrap(), 1, at(second));
        book.record_bad(&account, &host("mini-2"), 1, at(second));
        let known = second >= 6 * 3600 + 2;
        book.claim(at(second), Duration::from_secs(15), |bad| {
            let blamed = bad.vantage.host().is_some_and(|h| h.as_str() == "mini-1");
            (known && blamed).then(|| Charge {
                blame: Blame::Host,
                subject: "mini-1".into(),
            })
        });
    }
    let now = at(6 * 3600 + 120);
    let counts = book.window(&vm, hours(1), now);
    assert_eq!((counts.bad, counts.explained), (0, 120));
    assert_eq!(burning(&book, &policy, &vm, now), None);
    assert!(budget(&book, &policy, &vm, now).unwrap().remaining.unwrap() < 0.91);
    // Nobody explains the other account: it pages.
    assert!(burning(&book, &policy, &account, now).is_some());
    let charged = SeriesKey::Charged {
        blame: Blame::Host,
        subject: "mini-1".into(),
    };
    assert_eq!(book.window(&charged, hours(1), now).explained, 120);
    assert_eq!(budget(&book, &policy, &charged, now), None);
}

#[test]
fn a_claim_comes_in_time_or_never() {
    let mut book = Book::new(at(0));
    let (account, charge) = (
        key("a"),
        Charge {
            blame: Blame::Node,
            subject: "n".into(),
        },
    );
    book.record_bad(&account, &host("m"), 3, at(0));
    let hold = Duration::from_secs(15);
    assert_eq!(book.claim(at(15), hold, |_| None), 0);
    assert_eq!(book.claim(at(16), hold, |_| None), 0);
    assert_eq!(book.claim(at(17), hold, |_| Some(charge.clone())), 0);
    assert_eq!(book.window(&account, hours(1), at(17)).bad, 3);
}

#[test]
fn a_legal_drain_is_excused_and_a_rollout_of_all_pods_pages_nobody() {
    let keys: Vec<_> = (0..20).map(|n| key(&format!("a{n}"))).collect();
    let policy = Policy::default();
    let mut book = Book::new(at(0));
    run(&mut book, &keys, Event::Good, 0, 3600);
    for (n, one) in keys.iter().enumerate() {
        let start = 3600 + 300 * n as u64;
        let others: Vec<_> = keys.iter().filter(|k| *k != one).cloned().collect();
        run(&mut book, &others, Event::Good, start, start + 300);
        for second in (start..start + 300).step_by(10) {
            let draining = second < start + 260;
            let seen = if draining {
                Outcome::Unreached(Cause::Refused)
            } else {
                Outcome::Reached
            };
            book.record(one, Event::of(seen, draining).unwrap(), 10, at(second));
            assert!(
                keys.iter()
                    .all(|k| burning(&book, &policy, k, at(second)).is_none())
            );
        }
    }
    let now = at(3600 + 300 * 20);
    for key in &keys {
        let budget = budget(&book, &policy, key, now).unwrap();
        assert_eq!((budget.remaining, budget.counts.excused), (Some(1.0), 260));
    }
}

#[test]
fn budgets_run_out_when_they_say() {
    let policy = Policy::default();
    let mut book = Book::new(at(0));
    let one = key("a");
    run(&mut book, core::slice::from_ref(&one), Event::Good, 0, 3000);
    book.record(&one, Event::Bad, 1, at(3000));
    let budget = budget(&book, &policy, &one, at(3000)).unwrap();
    // 1 bad of 3001 against 1 in 2000, in 3010 s of the 672 hours of the period.
    let spent = 2000.0 / 3001.0 * 3010.0 / (672.0 * 3600.0);
    assert!((budget.remaining.unwrap() - (1.0 - spent)).abs() < 1e-6);
    // The last hour spent 1 of 3001 within 3010 of 3600 s.
    let pace = 2000.0 / 3001.0 * 3010.0 / 3600.0;
    let days = budget.exhausted_in.unwrap().as_secs_f64() / 86_400.0;
    assert!((days - 28.0 * (1.0 - spent) / pace).abs() < 0.01, "{days}");
    assert_eq!(
        super::budget(&book, &policy, &key("never"), at(0))
            .unwrap()
            .remaining,
        None
    );
}

#[test]
fn rings_reach_as_far_as_they_say() {
    let mut book = Book::new(at(0));
    let one = key("a");
    let day = 86_400;
    run(
        &mut book,
        core::slice::from_ref(&one),
        Event::Good,
        0,
        30 * day,
    );
    let now = at(30 * day - 1);
    for (window, slot) in [
        (300, 10),
        (3600, 10),
        (6 * 3600, 10),
        (day, 300),
        (3 * day, 300),
        (28 * day, 3600),
    ] {
        let seen = book.window(&one, Duration::from_secs(window), now).good;
        assert!(
            seen <= window && seen >= window - slot,
            "{window} s: {seen}"
        );
    }
    // What is older than a ring is gone, and nothing is counted twice after a long pause.
    let later = at(80 * day);
    assert_eq!(book.window(&one, hours(28 * 24), later), Counts::default());
    book.record(&one, Event::Good, 1, later);
    assert_eq!(book.window(&one, hours(28 * 24), later).good, 1);
}

#[test]
fn steps_of_the_wall_clock_neither_double_nor_lose() {
    for step in [3600_i64, -3600] {
        let mut book = Book::new(at(0));
        let one = key("a");
        run(&mut book, core::slice::from_ref(&one), Event::Good, 0, 600);
        for second in 600..1200 {
            let mut now = at(second);
            now.wall = Timestamp::from_unix_seconds((EPOCH + second).saturating_add_signed(step));
            book.record(&one, Event::Good, 1, now);
        }
        let mut now = at(1199);
        now.wall = Timestamp::from_unix_seconds((EPOCH + 1199).saturating_add_signed(step));
        assert_eq!(book.window(&one, Duration::from_mins(5), now).good, 300);
        assert_eq!(book.window(&one, hours(1), now).good, 1200);
        assert_eq!(book.window(&one, hours(1), now).covered_s, 1200);
        // After a restart with a clock that went back, time goes on from what is stored.
        let changes = book.take_changes(now);
        let mut back = at(0);
        back.wall = Timestamp::from_unix_seconds(EPOCH - 7200);
        let book = Book::restore(&changes, back).unwrap();
        assert_eq!(book.window(&one, hours(1), back).good, 1200);
    }
}

#[test]
fn maintenance_ends_by_itself() {
    let (account, node) = (Account::new("a").unwrap(), Node::new("n").unwrap());
    let window = Maintenance {
        scope: Scope::Node(node.clone()),
        from: at(0).wall,
        until: at(3600).wall,
        reason: "switch".into(),
    };
    assert_eq!(window.validate(), Ok(()));
    for (second, covers) in [(0, true), (3599, true), (3600, false)] {
        assert_eq!(window.covers(&account, &node, at(second).wall), covers);
    }
    assert!(!window.covers(&account, &Node::new("m").unwrap(), at(1).wall));
    let long = Maintenance {
        until: at(25 * 3600).wall,
        ..window.clone()
    };
    assert!(long.validate().is_err() && !long.covers(&account, &node, at(1).wall));
    assert_eq!(window.excuse().until, at(3600).wall);
}

#[test]
fn series_are_bounded_and_forgotten_ones_make_room() {
    let mut book = Book::new(at(0));
    for n in 0..MAX_SERIES {
        book.record(&key(&format!("a{n}")), Event::Good, 1, at(0));
    }
    book.record(&key("more"), Event::Good, 1, at(1));
    assert_eq!((book.refused(), book.keys().count()), (1, MAX_SERIES));
    let later = at(29 * 86_400);
    book.record(&key("more"), Event::Good, 1, later);
    assert_eq!(book.window(&key("more"), hours(1), later).good, 1);
    let restored = Book::restore(&book.take_changes(later), later).unwrap();
    assert_eq!(restored.window(&key("more"), hours(1), later).good, 1);
}

#[test]
fn stored_nonsense_is_refused() {
    let mut book = Book::new(at(0));
    book.record(&key("a"), Event::Good, 1, at(0));
    let good = book.take_changes(at(0));
    assert!(Book::restore(&good, at(0)).is_ok());
    let with = |change: fn(&mut Changes)| {
        let mut changes = good.clone();
        change(&mut changes);
        Book::restore(&changes, at(0)).map(|_| ())
    };
    assert!(with(|c| c.slots[0].data.push(0x80)).is_err());
    assert!(with(|c| c.slots[0].data = vec![9, 1, 1]).is_err());
    assert!(with(|c| c.series[0].0 = 7).is_err());
    assert!(with(|c| c.series = vec![c.series[0].clone(), (1, c.series[0].1.clone())]).is_err());
}

#[test]
fn keys_read_back_as_written() {
    for text in [
        "account/tuist/host/reachability",
        "account/tuist/vm/latency",
        "charged/vantage/vm/mini-1/0",
    ] {
        assert_eq!(text.parse::<SeriesKey>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "account/a/host",
        "account/a b/host/latency",
        "charged/x/y",
        "charged/node/",
    ] {
        assert!(text.parse::<SeriesKey>().is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn what_is_restored_answers_like_what_was_saved(
        events in prop::collection::vec((0_u64..4, 0_u64..7200, 0_usize..4, 1_u32..400), 1..200),
    ) {
        let mut book = Book::new(at(0));
        let mut second = 0;
        for (n, gap, event, count) in events {
            second += gap;
            let event = [Event::Good, Event::Bad, Event::Excused, Event::Unmeasured][event];
            book.record(&key(&format!("a{n}")), event, count, at(second));
        }
        let now = at(second);
        let changes = book.take_changes(now);
        prop_assert!(book.take_changes(now).slots.is_empty());
        let restored = Book::restore(&changes, now).unwrap();
        for n in 0..4 {
            for window in [Duration::from_mins(5), hours(6), hours(72), hours(28 * 24)] {
                let key = key(&format!("a{n}"));
                prop_assert_eq!(book.window(&key, window, now), restored.window(&key, window, now));
            }
        }
    }

    #[test]
    fn any_row_is_read_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..200), index in any::<u64>()) {
        let changes = Changes {
            series: vec![(0, key("a"))],
            slots: vec![SlotRow { ring: RingId::Coarse, index, data }],
            oldest: [0; 3],
        };
        if let Ok(book) = Book::restore(&changes, at(0)) {
            let _ = book.window(&key("a"), hours(672), at(0));
        }
    }
}
