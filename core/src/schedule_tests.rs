use proptest::prelude::*;

use super::*;

fn vantage() -> Vantage {
    "host/mini-1".parse().unwrap()
}

fn planned(id: u32, every_ms: u64, overlap: u32) -> Planned {
    Planned {
        id: CheckId(id),
        subject: format!("node:n{id}").parse().unwrap(),
        probe: Probe::Arp,
        every: Duration::from_millis(every_ms),
        overlap,
    }
}

fn ms(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

/// Runs `schedule` in steps of `step`; every check ends at once.
fn slots(schedule: &mut Schedule, from: u64, to: u64, step: usize) -> Vec<(CheckId, Tick)> {
    let mut batch = Batch::default();
    let mut seen = Vec::new();
    for now in (from..=to).step_by(step) {
        schedule.due(ms(now), &mut batch);
        assert!(batch.skipped.is_empty(), "{batch:?}");
        for due in &batch.due {
            seen.push((due.id, due.slot));
            schedule.finished(due.id);
        }
    }
    seen
}

#[test]
fn the_phase_is_stable_and_spread() {
    let subject: Subject = "node:kura-fleet-1".parse().unwrap();
    let every = Duration::from_secs(1);
    // By another implementation of the hash. Changing this number moves every check of every fleet at an upgrade.
    assert_eq!(
        phase("host/mini-1", &subject, Probe::Arp, every),
        970_546_339
    );
    let mut buckets = [0u32; 10];
    for host in 0..1000 {
        let at = phase(&format!("host/mini-{host}"), &subject, Probe::Arp, every);
        buckets[(at / 100_000_000) as usize] += 1;
    }
    assert!(buckets.iter().all(|n| (60..140).contains(n)), "{buckets:?}");
}

#[test]
fn a_plan_change_moves_nothing_that_stays() {
    let mut alone = Schedule::new(&vantage());
    alone.set([planned(1, 1000, 1)], ms(0));
    let expected = slots(&mut alone, 0, 5000, 1);

    let mut changed = Schedule::new(&vantage());
    changed.set([planned(1, 1000, 1), planned(2, 1000, 1)], ms(0));
    let mut seen = slots(&mut changed, 0, 2500, 1);
    changed.set([planned(3, 500, 1), planned(1, 1000, 1)], ms(2500));
    seen.extend(slots(&mut changed, 2501, 5000, 1));
    seen.retain(|(id, _)| *id == CheckId(1));
    assert_eq!(seen, expected);
    assert_eq!(seen.len(), 5);
}

#[test]
fn a_check_under_way_skips_the_slot() {
    let mut schedule = Schedule::new(&vantage());
    schedule.set([planned(1, 1000, 1)], ms(0));
    let mut batch = Batch::default();
    schedule.due(ms(1000), &mut batch);
    assert_eq!(batch.due.len(), 1);
    let slot = batch.due[0].slot;
    schedule.due(ms(2000), &mut batch);
    assert_eq!(batch.due, []);
    assert_eq!(batch.skipped.len(), 1);
    assert_eq!(batch.skipped[0].first, slot.after(Duration::from_secs(1)));
    assert!(!batch.skipped[0].late, "a check is under way");
    schedule.finished(CheckId(1));
    schedule.due(ms(3000), &mut batch);
    assert_eq!(batch.due.len(), 1);
}

#[test]
fn a_late_loop_checks_the_newest_slot_and_owns_up_to_the_rest() {
    let mut schedule = Schedule::new(&vantage());
    schedule.set([planned(1, 1000, 1)], ms(0));
    let mut batch = Batch::default();
    // Eight hours of sleep are two values.
    schedule.due(ms(8 * 3_600_000), &mut batch);
    assert_eq!((batch.due.len(), batch.skipped.len()), (1, 1));
    assert_eq!(batch.skipped[0].count, 8 * 3600 - 1);
    assert!(batch.skipped[0].late, "nobody came");
    assert!(batch.late < Duration::from_secs(1));
}

#[test]
fn a_burst_starts_at_once_and_ends_on_the_grid() {
    let mut schedule = Schedule::new(&vantage());
    schedule.set([planned(1, 1000, 1)], ms(0));
    let grid = slots(&mut schedule, 0, 1000, 1)[0].1;
    let from = grid.as_nanos() / 1_000_000 + 10;
    schedule.hasten(CheckId(1), Duration::from_millis(100), 3, ms(from));
    let burst = slots(&mut schedule, from, from + 450, 1);
    let expected: Vec<_> = (0..5).map(|i| (CheckId(1), ms(from + 100 * i))).collect();
    assert_eq!(burst, expected);
    schedule.relax(CheckId(1), ms(from + 450));
    let after = slots(&mut schedule, from + 451, from + 2000, 1);
    assert_eq!(after[0].1, grid.after(Duration::from_secs(1)));
}

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Finish(usize),
    Hasten(u32, u64),
    Relax(u32),
    Once(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u64..3_000).prop_map(Step::Pass),
        1 => (0u64..100_000_000).prop_map(Step::Pass),
        5 => (0usize..8).prop_map(Step::Finish),
        1 => (0u32..5, 0u64..400).prop_map(|(id, every)| Step::Hasten(id, every)),
        1 => (0u32..5).prop_map(Step::Relax),
        1 => (0u32..5).prop_map(Step::Once),
    ]
}

proptest! {
    /// No slot is lost, doubled or out of order, whatever the loop and the network do.
    #[test]
    fn every_slot_ends_exactly_once(steps in prop::collection::vec(step(), 1..200)) {
        let mut schedule = Schedule::new(&vantage());
        schedule.set((0..4).map(|i| planned(i, 250 * (u64::from(i) + 1), 1 + i % 2)), ms(0));
        let (mut now, mut batch) = (0u64, Batch::default());
        let mut under_way: Vec<CheckId> = Vec::new();
        let mut last: BTreeMap<CheckId, Tick> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Pass(by) => now += by,
                Step::Finish(at) if at < under_way.len() => {
                    schedule.finished(under_way.swap_remove(at));
                }
                Step::Finish(_) => {}
                Step::Hasten(id, every) => {
                    schedule.hasten(CheckId(id), Duration::from_millis(every), 3, ms(now));
                }
                Step::Relax(id) => schedule.relax(CheckId(id), ms(now)),
                Step::Once(id) => schedule.once(CheckId(id), ms(now)),
            }
            let expected: BTreeMap<CheckId, (Tick, u64)> = schedule.entries.iter()
                .filter(|(_, e)| e.next <= ms(now))
                .map(|(id, e)| (*id, (e.next, ms(now).since(e.next).as_nanos() as u64 / nanos(e.every()) + 1)))
                .collect();
            schedule.due(ms(now), &mut batch);
            let mut ended: BTreeMap<CheckId, u64> = BTreeMap::new();
            for skipped in &batch.skipped {
                prop_assert!(skipped.first <= skipped.last && skipped.last <= ms(now));
                prop_assert_eq!(skipped.first, expected[&skipped.id].0);
                *ended.entry(skipped.id).or_default() += skipped.count;
                last.insert(skipped.id, skipped.last);
            }
            for due in &batch.due {
                prop_assert!(last.get(&due.id).is_none_or(|l| *l <= due.slot));
                *ended.entry(due.id).or_default() += 1;
                last.insert(due.id, due.slot);
                under_way.push(due.id);
            }
            for (id, (_, count)) in &expected {
                prop_assert_eq!(ended.get(id), Some(count));
            }
            prop_assert_eq!(ended.len(), expected.len());
            prop_assert_eq!(schedule.under_way(), under_way.len() as u64);
            prop_assert!(schedule.entries.values().all(|e| e.next > ms(now)));
        }
    }
}
