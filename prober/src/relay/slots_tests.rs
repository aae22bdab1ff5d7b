use super::*;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn at(ms: u64) -> Tick {
    Tick::from_millis(ms)
}

fn said(slots: &mut Slots, who: u8, run: u64, ms: u64) -> (String, String) {
    let stamped = slots.stamp(ADDRESS, Some(mac(who)), run, at(ms)).unwrap();
    (stamped.slot.to_string(), stamped.boot_id)
}

#[test]
fn a_machine_keeps_its_slot_and_a_second_gets_another() {
    let mut slots = Slots::new("b");
    let other = Ipv4Addr::new(192, 0, 2, 3);
    assert_eq!(said(&mut slots, 1, 7, 0), ("0".into(), "b-1".into()));
    let second = slots.stamp(other, Some(mac(2)), 8, at(10)).unwrap();
    assert_eq!((second.slot.as_str(), second.shared), ("1", false));
    assert_eq!(said(&mut slots, 1, 7, 900), ("0".into(), "b-1".into()));
    assert_eq!(slots.count(at(900)), (2, false));
}

#[test]
fn a_hundred_vms_in_a_row_are_one_slot_and_a_hundred_boots() {
    let mut slots = Slots::new("b");
    let mut boots = std::collections::BTreeSet::new();
    for n in 0..100u8 {
        // One every six seconds: the one before is gone.
        let (slot, boot) = said(&mut slots, n, u64::from(n), u64::from(n) * 6000);
        assert_eq!(slot, "0");
        boots.insert(boot);
    }
    assert_eq!(boots.len(), 100);
}

#[test]
fn vms_that_say_goodbye_leave_at_once() {
    let mut slots = Slots::new("b");
    for n in 0..100u8 {
        let stamped = slots
            .stamp(ADDRESS, Some(mac(n)), u64::from(n), at(u64::from(n) * 50))
            .unwrap();
        assert_eq!((stamped.slot.as_str(), stamped.shared), ("0", false), "{n}");
        slots.release(&stamped);
    }
}

#[test]
fn more_vms_than_slots_are_not_heard() {
    let mut slots = Slots::new("b");
    for n in 0..20u8 {
        let peer = Ipv4Addr::new(192, 0, 2, n);
        let stamped = slots.stamp(peer, Some(mac(n)), 1, at(0));
        assert_eq!(stamped.is_some(), usize::from(n) < MAX_SLOTS);
    }
    // However many addresses it takes on, it is one machine.
    let mut slots = Slots::new("b");
    for n in 0..200u8 {
        let stamped = slots.stamp(Ipv4Addr::new(192, 0, 2, n), Some(mac(1)), 1, at(0));
        assert!(stamped.is_none_or(|s| s.slot.as_str() == "0"));
    }
    assert_eq!(slots.count(at(0)).0, 1);
}

#[test]
fn a_machine_that_boots_anew_is_another_vm() {
    let mut slots = Slots::new("b");
    assert_eq!(said(&mut slots, 1, 7, 0).1, "b-1");
    assert_eq!(said(&mut slots, 1, 8, 100), ("0".into(), "b-2".into()));
}

#[test]
fn two_vms_with_one_address_share_a_slot_until_one_is_left() {
    let mut slots = Slots::new("b");
    said(&mut slots, 1, 7, 0);
    // A successor is not yet a second one.
    assert!(
        !slots
            .stamp(ADDRESS, Some(mac(2)), 8, at(400))
            .unwrap()
            .shared
    );
    for ms in [800, 1200, 1600] {
        let who = if (ms / 400) % 2 == 0 { 1 } else { 2 };
        let stamped = slots
            .stamp(ADDRESS, Some(mac(who)), u64::from(who) + 6, at(ms))
            .unwrap();
        assert_eq!((stamped.slot.as_str(), stamped.shared), (SHARED, true));
    }
    assert!(slots.count(at(1600)).1);
    // The neighbour table may not know the difference: the agents' own numbers do.
    for ms in [2000, 2400, 2800] {
        let run = if (ms / 400) % 2 == 0 { 7 } else { 8 };
        assert!(
            slots
                .stamp(ADDRESS, Some(mac(1)), run, at(ms))
                .unwrap()
                .shared
        );
    }
    for ms in [8000, 13_000] {
        said(&mut slots, 1, 8, ms);
    }
    assert!(
        !slots
            .stamp(ADDRESS, Some(mac(1)), 8, at(13_100))
            .unwrap()
            .shared
    );
}

#[test]
fn without_a_hardware_address_there_is_one_slot() {
    let mut slots = Slots::new("b");
    let stamped = slots.stamp(ADDRESS, None, 1, at(0)).unwrap();
    assert_eq!((stamped.slot.as_str(), stamped.shared), (SHARED, true));
}
