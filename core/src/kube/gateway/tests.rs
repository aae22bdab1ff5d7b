//! What a look at a gateway means, by table.

use super::*;
use crate::name::Account;
use crate::time::Timestamp;

fn gateway(account: &str) -> Gateway {
    Gateway {
        account: Account::new(account).unwrap(),
        instance: Instance::new(format!("kura-{account}")).unwrap(),
        node: Node::new("n1").unwrap(),
        host: format!("{account}.kura.example.dev"),
        port: 443,
        address: [172, 16, 0, 2].into(),
    }
}

fn look(addresses: &[&str], answer: Option<Answer>) -> Look {
    Look {
        name: Resolved::To(addresses.iter().map(|a| a.parse().unwrap()).collect()),
        answer,
    }
}

fn unresolved() -> Look {
    Look {
        name: Resolved::Nothing("no such\nname".into()),
        answer: None,
    }
}

/// An answer of `code` over a chain that ends in so many days.
fn days(code: u16, days: u64) -> Answer {
    Answer::Status {
        code,
        valid_for: Some(Duration::from_hours(days * 24)),
    }
}

fn at(seconds: u64) -> Now {
    Now {
        tick: Tick::from_millis(seconds * 1000),
        wall: Timestamp::from_unix_seconds(1_790_000_000 + seconds),
    }
}

#[test]
fn what_is_wrong_by_what_a_look_brings() {
    let right = "172.16.0.2";
    let expired = "invalid peer certificate: Expired";
    let rows = [
        (look(&[right], None), None),
        (look(&[right, right], Some(days(200, 60))), None),
        (look(&[right, "2001:db8::1"], Some(days(404, 14))), None),
        (look(&[], None), Some("resolves to no IPv4 address")),
        (look(&["2001:db8::1"], None), Some("no IPv4 address")),
        (
            look(&["172.16.0.9"], Some(days(200, 60))),
            Some("resolves to 172.16.0.9, status.nodeAddress is 172.16.0.2"),
        ),
        (
            look(&[right, "172.16.0.9"], None),
            Some("172.16.0.2, 172.16.0.9"),
        ),
        (
            look(&[right], Some(days(502, 1))),
            Some("answers /up with 502"),
        ),
        (
            look(&[right], Some(Answer::Refused(expired.into()))),
            Some("shows a certificate that does not fit: invalid peer certificate: Expired"),
        ),
        (
            look(&[right], Some(Answer::Silent("filtered".into()))),
            Some("gives no answer: filtered"),
        ),
        (
            look(&[right], Some(days(200, 13))),
            Some("shows a certificate that ends in 13 d"),
        ),
        (unresolved(), Some("does not resolve: no such name")),
    ];
    for (look, expected) in rows {
        let said = trouble(&gateway("acme"), &look).map(|(_, text)| text);
        match (said, expected) {
            (Some(said), Some(expected)) => assert!(said.contains(expected), "{said}"),
            (said, expected) => assert_eq!(said.is_some(), expected.is_some(), "{look:?}"),
        }
    }
}

#[test]
fn two_bad_looks_are_told_with_the_time_of_the_first_and_a_good_one_ends_it() {
    let (mut all, acme) = (Gateways::default(), gateway("acme"));
    let bad = look(&["172.16.0.9"], None);
    all.take(&acme, &bad, at(10).tick);
    assert_eq!(all.diagnoses(at(10)), []);
    all.take(&acme, &bad, at(25).tick);
    let told = all.diagnoses(at(25));
    assert_eq!((told.len(), told[0].since), (1, at(10).tick));
    assert_eq!(told[0].blame, Blame::Account);
    assert!(
        told[0]
            .summary
            .contains("acme.kura.example.dev:443 resolves")
    );
    all.take(&acme, &look(&["172.16.0.2"], None), at(40).tick);
    assert_eq!(all.diagnoses(at(40)), []);
    all.take(&acme, &bad, at(50).tick);
    all.take(&acme, &bad, at(60).tick);
    all.keep(&[]);
    assert_eq!(all.diagnoses(at(60)), []);
}

#[test]
fn when_no_gateway_of_a_node_answers_it_is_the_nodes() {
    let mut all = Gateways::default();
    let silent = look(&["172.16.0.2"], Some(Answer::Silent("timed out".into())));
    let astray = look(&["172.16.0.9"], None);
    for second in [0, 15] {
        all.take(&gateway("a"), &silent, at(second).tick);
        all.take(&gateway("b"), &silent, at(second).tick);
    }
    let told = all.diagnoses(at(15));
    assert_eq!((told.len(), told[0].blame), (1, Blame::Node));
    assert_eq!(told[0].accounts.len(), 2);
    // A name that leads astray is its account's, whatever the others do.
    all.take(&gateway("b"), &astray, at(30).tick);
    let blames: Vec<Blame> = all.diagnoses(at(30)).iter().map(|d| d.blame).collect();
    assert_eq!(blames, [Blame::Account, Blame::Account]);
}

#[test]
fn a_chain_that_ends_warns_for_days_before_it_pages() {
    for (left, severity) in [
        (13, Severity::Warning),
        (2, Severity::Warning),
        (1, Severity::Critical),
    ] {
        let mut all = Gateways::default();
        let ending = look(&["172.16.0.2"], Some(days(200, left)));
        for second in [0, 15] {
            all.take(&gateway("a"), &ending, at(second).tick);
            all.take(&gateway("b"), &ending, at(second).tick);
        }
        let told = all.diagnoses(at(15));
        // Certificates are each their account's, however many end at once.
        assert_eq!(told.len(), 2, "{left} d");
        assert!(
            told.iter()
                .all(|d| d.blame == Blame::Account && d.severity == severity)
        );
    }
}

#[test]
fn a_resolver_that_cannot_say_accuses_nobody() {
    let mut all = Gateways::default();
    let unasked = Look {
        name: Resolved::Unasked("Temporary failure in name resolution".into()),
        answer: None,
    };
    for second in [0, 15, 30] {
        all.take(&gateway("a"), &unasked, at(second).tick);
    }
    assert_eq!(all.diagnoses(at(30)), []);
    // What was known before stays known.
    for second in [45, 60] {
        all.take(&gateway("a"), &look(&["172.16.0.9"], None), at(second).tick);
    }
    all.take(&gateway("a"), &unasked, at(75).tick);
    assert_eq!(all.diagnoses(at(75)).len(), 1);
}

#[test]
fn when_no_name_exists_the_resolver_serves_another_horizon() {
    let mut all = Gateways::default();
    for second in [0, 15] {
        all.take(&gateway("a"), &unresolved(), at(second).tick);
        all.take(&gateway("b"), &unresolved(), at(second).tick);
    }
    assert_eq!(all.diagnoses(at(15)), []);
    // One that exists proves that the resolver knows the zone.
    all.take(&gateway("b"), &look(&["172.16.0.2"], None), at(30).tick);
    let told = all.diagnoses(at(30));
    assert_eq!((told.len(), told[0].subject.as_str()), (1, "a"));
}
