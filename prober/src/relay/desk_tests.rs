use super::*;
use crate::relay::talk::VmSeen;

const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn at(ms: u64) -> Tick {
    Tick::from_millis(ms)
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn desk(ports: &[u16]) -> Desk {
    let mut desk = Desk::new("boot", Vec::new(), || "salt".to_owned(), at(0));
    let inventory = crate::samples::inventory(ports);
    let targets: Vec<AccountTarget> = inventory.targets.values().cloned().collect();
    assert!(desk.set_targets(&targets));
    assert!(!desk.set_targets(&targets));
    desk
}

fn seen(id: Option<u32>, layer: Layer, outcome: Outcome) -> VmSeen {
    VmSeen {
        id,
        layer,
        outcome,
        age_us: 1000,
        rtt_us: Some(300),
        tenant: None,
    }
}

fn told(brief: u64, seq: u64, seen: Vec<VmSeen>) -> Told {
    Told {
        version: VERSION,
        run: 7,
        seq,
        brief,
        stopping: false,
        seen,
    }
}

fn missed() -> Outcome {
    Outcome::Unreached(Cause::SynUnanswered)
}

#[test]
fn numbers_become_targets_and_invented_ones_nothing() {
    let mut desk = desk(&[30001, 30002]);
    let brief = desk.brief();
    assert_eq!(brief.targets.len(), 2);
    let id = brief.targets[0].id;
    let words = vec![
        seen(Some(id), Layer::Tcp, missed()),
        seen(Some(999), Layer::Tcp, missed()),
        seen(Some(id), Layer::Arp, missed()),
        seen(Some(id), Layer::Link, missed()),
        seen(None, Layer::Tcp, missed()),
        seen(Some(id), Layer::Control, missed()),
        seen(None, Layer::Control, Outcome::Reached),
    ];
    let heard = desk
        .hear(PEER, Some(mac(1)), &told(brief.number, 1, words), at(5000))
        .unwrap();
    assert_eq!(heard.slot.as_str(), "0");
    let layers: Vec<Layer> = heard.items.iter().map(|item| item.layer).collect();
    assert_eq!(layers, [Layer::Tcp, Layer::Control]);
    assert_eq!(heard.items[0].start, at(4999));
    assert_eq!(desk.dropped, 5);
}

#[test]
fn a_replayed_message_and_an_old_brief_are_dropped() {
    let mut desk = desk(&[30001]);
    let first = desk.brief();
    let word = || vec![seen(Some(first.targets[0].id), Layer::Tcp, missed())];
    let message = told(first.number, 4, word());
    assert!(desk.hear(PEER, Some(mac(1)), &message, at(10)).is_some());
    assert!(desk.hear(PEER, Some(mac(1)), &message, at(20)).is_none());
    let earlier = told(first.number, 3, word());
    assert!(desk.hear(PEER, Some(mac(1)), &earlier, at(30)).is_none());
    desk.brief();
    // One brief back is what an agent may not have heard of yet.
    let late = told(first.number, 5, word());
    assert_eq!(
        desk.hear(PEER, Some(mac(1)), &late, at(40))
            .unwrap()
            .items
            .len(),
        1
    );
    desk.brief();
    let stale = told(first.number, 6, word());
    assert!(
        desk.hear(PEER, Some(mac(1)), &stale, at(50))
            .unwrap()
            .items
            .is_empty()
    );
    // Nothing is as old as that when it is told.
    let number = desk.brief().number;
    let mut ancient = word();
    ancient[0].age_us = MAX_AGE_US + 1;
    let ancient = told(number, 7, ancient);
    assert!(
        desk.hear(PEER, Some(mac(1)), &ancient, at(60))
            .unwrap()
            .items
            .is_empty()
    );
}

#[test]
fn the_host_compares_the_tenant() {
    let mut desk = desk(&[30001]);
    let expected = desk.targets[0].tenant.clone().unwrap();
    let brief = desk.brief();
    let outcome = |desk: &mut Desk, seq, tenant: Option<String>, outcome| {
        let mut word = seen(Some(brief.targets[0].id), Layer::Http, outcome);
        word.tenant = tenant;
        let heard = desk.hear(
            PEER,
            Some(mac(1)),
            &told(brief.number, seq, vec![word]),
            at(seq * 1000),
        );
        heard.unwrap().items[0].outcome
    };
    let right = Some(salted(&brief.salt, &expected));
    let other = Some(salted(&brief.salt, "somebody-else"));
    let wrong = Outcome::Unreached(Cause::WrongTenant);
    assert_eq!(
        outcome(&mut desk, 1, right, Outcome::Reached),
        Outcome::Reached
    );
    assert_eq!(outcome(&mut desk, 2, other, Outcome::Reached), wrong);
    assert_eq!(
        outcome(&mut desk, 3, None, Outcome::Reached),
        Outcome::Reached
    );
    assert_eq!(
        outcome(&mut desk, 4, None, wrong),
        Outcome::Unmeasured(Blind::Unrecognised)
    );
}

#[test]
fn a_slot_has_its_pace_whatever_it_says() {
    let mut desk = desk(&[30001]);
    let brief = desk.brief();
    let mut taken = 0;
    for seq in 1..=1000 {
        let words = vec![seen(Some(brief.targets[0].id), Layer::Tcp, missed()); 32];
        let mut message = told(brief.number, seq, words);
        // A new agent each time is no way around it.
        message.run = seq;
        let heard = desk.hear(PEER, Some(mac(1)), &message, at(seq)).unwrap();
        taken += heard.items.len();
    }
    assert!(
        (BURST as usize..=BURST as usize + 9).contains(&taken),
        "{taken}"
    );
    // Another slot is not held up.
    let other = Ipv4Addr::new(192, 0, 2, 3);
    let words = vec![seen(Some(brief.targets[0].id), Layer::Tcp, missed()); 8];
    let heard = desk.hear(other, Some(mac(2)), &told(brief.number, 1, words), at(1000));
    assert_eq!(heard.unwrap().items.len(), 8);
}

#[test]
fn what_a_shared_slot_misses_proves_nothing() {
    let mut desk = desk(&[30001]);
    let brief = desk.brief();
    let words = vec![
        seen(Some(brief.targets[0].id), Layer::Tcp, missed()),
        seen(None, Layer::Control, Outcome::Reached),
    ];
    let heard = desk
        .hear(PEER, None, &told(brief.number, 1, words), at(10))
        .unwrap();
    assert_eq!(heard.slot.as_str(), crate::relay::slots::SHARED);
    assert_eq!(heard.items[0].outcome, Outcome::Unmeasured(Blind::NoSource));
    assert_eq!(heard.items[1].outcome, Outcome::Reached);
    assert_eq!(desk.count(at(10)), (1, true));
}

#[test]
fn many_targets_take_turns_and_keep_their_numbers() {
    let ports: Vec<u16> = (30001..30011).collect();
    let mut desk = desk(&ports);
    let first = desk.brief();
    assert_eq!(first.targets.len(), MAX_TARGETS);
    assert!(!desk.turn(at(1000)));
    assert!(desk.turn(at(31_000)));
    assert!(!desk.turn(at(32_000)));
    let second = desk.brief();
    let kept = second.targets.iter().filter(|t| first.targets.contains(t));
    assert_eq!(kept.count(), MAX_TARGETS - 1);
    assert_eq!(second.number, first.number + 1);
}

#[test]
fn what_a_job_was_handed_is_known_or_not() {
    let mut desk = desk(&[30001]);
    let at_target = desk.targets[0].at;
    let handed = |at| Handed {
        version: VERSION,
        at,
        outcome: missed(),
    };
    assert_eq!(
        desk.handed(&handed(Some(at_target)), at(0)),
        Some((missed(), true))
    );
    assert_eq!(desk.handed(&handed(None), at(0)), Some((missed(), false)));
    for _ in 0..8 {
        assert!(desk.handed(&handed(None), at(0)).is_some());
    }
    assert_eq!(desk.handed(&handed(None), at(0)), None);
}
