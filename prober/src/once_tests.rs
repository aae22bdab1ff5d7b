#![allow(clippy::unwrap_used, reason = "a test ends by failing")]

use proptest::prelude::*;

use super::*;

#[test]
fn endpoints_are_read_and_written() {
    for (given, reads) in [
        ("http://127.0.0.1:30815", "http://127.0.0.1:30815"),
        (" 127.0.0.1:30815\n", "http://127.0.0.1:30815"),
        ("http://127.0.0.1:30815/cache?x", "http://127.0.0.1:30815"),
        ("https://cache.example", "https://cache.example:443"),
        ("http://[::1]:80/", "http://[::1]:80"),
        ("http://user:secret@127.0.0.1:1", "http://127.0.0.1:1"),
    ] {
        assert_eq!(given.parse::<Endpoint>().unwrap().to_string(), reads);
    }
    for bad in [
        "",
        "http://",
        "ftp://127.0.0.1",
        "127.0.0.1:0",
        "a b",
        "127.0.0.1:99999",
    ] {
        let error = bad.parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.contains("http://192.0.2.7:30815"), "{bad}: {error}");
    }
}

#[test]
fn what_the_system_says_is_told_exactly_or_not_at_all() {
    let fast = Duration::from_micros(200);
    let slow = Duration::from_secs(3);
    for (errno, after, outcome) in [
        (libc::ECONNREFUSED, fast, Outcome::Unreached(Cause::Refused)),
        (
            libc::EHOSTUNREACH,
            fast,
            Outcome::Unreached(Cause::RouteMissing),
        ),
        (
            libc::EHOSTUNREACH,
            slow,
            Outcome::Unreached(Cause::NoAnswer),
        ),
        (libc::ETIMEDOUT, slow, Outcome::Unreached(Cause::NoAnswer)),
        (libc::EMFILE, fast, Outcome::Unmeasured(Blind::Exhausted)),
        (
            libc::EADDRNOTAVAIL,
            fast,
            Outcome::Unmeasured(Blind::Exhausted),
        ),
    ] {
        let error = io::Error::from_raw_os_error(errno);
        assert_eq!(refused(&error, after), outcome, "{error}");
    }
}

#[test]
fn a_starved_process_proves_nothing() {
    let budget = Duration::from_millis(500);
    assert!(!is_starved(budget + Duration::from_millis(50), budget));
    assert!(is_starved(budget * 2, budget));
    assert!(!is_starved(
        Duration::from_millis(150),
        Duration::from_millis(60)
    ));
}

fn question(tenant: Option<&str>) -> Question {
    Question {
        endpoint: "127.0.0.1:1".parse().unwrap(),
        budget: Duration::from_millis(500),
        tenant: tenant.map(ToOwned::to_owned),
    }
}

#[test]
fn the_tenant_must_not_be_contradicted() {
    let up = br#"{"status":"ok","tenant_id":"acme"}"#;
    for (expected, body, outcome) in [
        (Some("acme"), &up[..], Outcome::Reached),
        (None, &up[..], Outcome::Reached),
        (Some("acme"), b"{}", Outcome::Reached),
        (
            Some("other"),
            &up[..],
            Outcome::Unreached(Cause::WrongTenant),
        ),
    ] {
        assert_eq!(judge(200, body, &question(expected)), outcome);
    }
    let failing = judge(503, up, &question(Some("other")));
    assert_eq!(failing, Outcome::Unreached(Cause::Http5xx));
}

proptest! {
    #[test]
    fn no_endpoint_panics(text in ".{0,80}") {
        let _ = text.parse::<Endpoint>();
    }
}
