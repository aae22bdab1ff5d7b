//! The end of a chain, found by asking the verifier.

use pnwatch_core::time::Timestamp;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;

use super::*;

/// 2030-01-01, the end of the certificate in tests/tls/ending.pem.
const END: u64 = 1_893_456_000;
const DAY: u64 = 24 * 3600;
const HOST: &str = "acme.kura.example.dev";

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn pem(bytes: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(bytes).unwrap()
}

fn noting() -> Noting {
    let mut roots = RootCertStore::empty();
    roots
        .add(pem(include_bytes!("../../../tests/tls/ending-ca.pem")))
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    Noting {
        inner,
        expiry: ChainExpiry::default(),
    }
}

fn show(noting: &Noting, host: &'static str, now: u64) -> bool {
    let certificate = pem(include_bytes!("../../../tests/tls/ending.pem"));
    let name = ServerName::try_from(host).unwrap();
    noting
        .verify_server_cert(&certificate, &[], &name, &[], at(now))
        .is_ok()
}

#[test]
fn the_end_is_found_to_the_minute_and_never_too_late() {
    let now = at(1_790_000_000);
    for left in [0, 1, 59, 61, DAY, 14 * DAY, 399 * DAY] {
        let end = 1_790_000_000 + left;
        let found = last_good(now, |then| then.as_secs() <= end)
            .unwrap()
            .as_secs();
        assert!(found <= end && end - found <= 60, "{left}: {found}");
    }
    assert_eq!(last_good(now, |_| true), None);
}

#[test]
fn what_is_left_of_a_chain_shrinks_and_a_refused_chain_says_nothing() {
    let noting = noting();
    let expiry = noting.expiry.clone();
    let left = |now: u64| expiry.left(HOST, Timestamp::from_unix_seconds(now));
    assert_eq!(left(END), None);

    // Long before its end no more is said than that it is far away; then it is said exactly.
    assert!(show(&noting, HOST, END - 500 * DAY));
    assert_eq!(left(END - 500 * DAY), Some(HORIZON));
    for days in [399, 30, 13, 1] {
        assert!(show(&noting, HOST, END - days * DAY));
        let said = left(END - days * DAY).unwrap().as_secs();
        assert!(
            said <= days * DAY && days * DAY - said <= 60,
            "{days} d: {said} s"
        );
    }

    // After its end, and under another name, it is refused and nothing is noted.
    assert!(!show(&noting, HOST, END + 1));
    assert!(!show(&noting, "other.example.dev", END - DAY));
    assert_eq!(left(END + DAY), Some(Duration::ZERO));
    let other = expiry.left("other.example.dev", Timestamp::from_unix_seconds(END));
    assert_eq!(other, None);
}
