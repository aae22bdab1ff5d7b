use proptest::prelude::*;

use super::*;
use pnwatch_core::digest::salted;
use pnwatch_core::outcome::Cause;

fn told(seen: usize) -> Told {
    let one = VmSeen {
        id: Some(3),
        layer: Layer::Tcp,
        outcome: Outcome::Unreached(Cause::SynUnanswered),
        age_us: 1_300_000,
        rtt_us: None,
        tenant: Some(salted("salt", "acme")),
    };
    Told {
        version: VERSION,
        run: u64::MAX,
        seq: 1,
        brief: 2,
        stopping: false,
        seen: vec![one; seen],
    }
}

#[test]
fn what_is_written_reads_back() {
    let whole = told(MAX_SEEN);
    let bytes = serde_json::to_vec(&whole).unwrap();
    assert!(bytes.len() < MAX_BODY, "{} bytes", bytes.len());
    assert_eq!(Told::from_json(&bytes).unwrap(), whole);
    let peer = Ipv4Addr::new(192, 0, 2, 7);
    let said = FromParser::Told { peer, told: whole };
    let sent = line(&said);
    assert!(sent.len() < MAX_LINE);
    assert_eq!(FromParser::from_line(&sent).unwrap(), said);
}

#[test]
fn what_breaks_a_bound_is_refused_on_both_sides_of_the_pipe() {
    let many = told(MAX_SEEN + 1);
    let bytes = serde_json::to_vec(&many).unwrap();
    assert_eq!(
        Told::from_json(&bytes),
        Err(TalkError::TooMany(MAX_SEEN + 1))
    );
    let peer = Ipv4Addr::new(192, 0, 2, 7);
    assert!(FromParser::from_line(&line(&FromParser::Told { peer, told: many })).is_err());
    let mut named = told(1);
    named.seen[0].tenant = Some("acme-corporation".to_owned());
    assert_eq!(named.check(), Err(TalkError::Digest));
    let mut newer = told(1);
    newer.version = 2;
    assert_eq!(newer.check(), Err(TalkError::Version(2)));
}

#[test]
fn a_name_in_a_message_changes_nothing() {
    let forged =
        br#"{"version":1,"run":1,"seq":1,"brief":1,"vantage":"vm/mini-9/0","host":"mini-9",
        "seen":[{"id":1,"account":"acme","layer":"tcp","outcome":"reached","age_us":1}]}"#;
    let read = Told::from_json(forged).unwrap();
    let again = serde_json::to_string(&read).unwrap();
    assert!(
        !again.contains("mini-9") && !again.contains("acme"),
        "{again}"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Told::from_json(&bytes);
        let _ = Handed::from_json(&bytes);
        let _ = FromParser::from_line(&bytes);
    }
}
