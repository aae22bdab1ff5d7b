use proptest::prelude::*;

use super::*;

const OWN: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 11);
const PEER: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);

fn icmp_of(code: u8, offender: Ipv4Addr) -> Queued {
    Queued {
        errno: libc::EHOSTUNREACH,
        origin: Origin::Icmp {
            kind: 3,
            code,
            offender: Some(offender),
        },
    }
}

#[test]
fn the_table_of_handshake_errors() {
    use libc::{ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};
    for (errno, after_us, retransmits, queued, means) in [
        (ECONNREFUSED, 130, 0, None, Cause::Refused),
        (
            ECONNREFUSED,
            130,
            0,
            Some(icmp_of(3, PEER)),
            Cause::PortUnreachable,
        ),
        (
            EHOSTUNREACH,
            200,
            0,
            Some(icmp_of(1, PEER)),
            Cause::HostUnreachable,
        ),
        (
            EHOSTUNREACH,
            200,
            0,
            Some(icmp_of(13, PEER)),
            Cause::AdminProhibited,
        ),
        (
            EHOSTUNREACH,
            200,
            0,
            Some(icmp_of(10, PEER)),
            Cause::AdminProhibited,
        ),
        (
            ENETUNREACH,
            200,
            0,
            Some(icmp_of(0, PEER)),
            Cause::NetUnreachable,
        ),
        (EHOSTUNREACH, 3_060_000, 0, None, Cause::NeighbourUnresolved),
        (
            EHOSTUNREACH,
            40_000,
            0,
            Some(icmp_of(1, OWN)),
            Cause::NeighbourUnresolved,
        ),
        (EHOSTUNREACH, 20, 0, None, Cause::RouteMissing),
        (ETIMEDOUT, 3_200_000, 2, None, Cause::SynUnanswered),
    ] {
        let failure = Failure {
            errno,
            after: Duration::from_micros(after_us),
            retransmits: Some(retransmits),
            queued,
            source: Some(OWN),
        };
        assert_eq!(handshake(&failure), means, "{failure:?}");
    }
}

#[test]
fn silence_is_told_apart_by_retransmits_and_patience() {
    let long = Duration::from_millis(1300);
    let short = Duration::from_millis(950);
    for (retransmits, watched, learned, means) in [
        (1, long, None, Cause::SynUnanswered),
        (0, long, None, Cause::NeighbourUnresolved),
        (0, short, None, Cause::SynUnanswered),
        (
            0,
            short,
            Some(Cause::NeighbourUnresolved),
            Cause::NeighbourUnresolved,
        ),
        (
            1,
            long,
            Some(Cause::NeighbourUnresolved),
            Cause::SynUnanswered,
        ),
        (
            1,
            long,
            Some(Cause::AdminProhibited),
            Cause::AdminProhibited,
        ),
    ] {
        assert_eq!(unanswered(Some(retransmits), watched, learned), means);
    }
}

#[test]
fn a_failure_here_is_not_a_failure_there() {
    assert_eq!(
        instant(libc::EINVAL),
        Outcome::Unreached(Cause::RouteMissing)
    );
    assert_eq!(instant(libc::EMFILE), Outcome::Unmeasured(Blind::Exhausted));
    assert_eq!(
        instant(libc::EADDRNOTAVAIL),
        Outcome::Unmeasured(Blind::Exhausted)
    );
    assert_eq!(
        local(libc::EADDRNOTAVAIL),
        Outcome::Unmeasured(Blind::NoSource)
    );
    assert_eq!(local(libc::ENODEV), Outcome::Unmeasured(Blind::NoDevice));
    assert_eq!(local(libc::EPERM), Outcome::Unmeasured(Blind::NoPrivilege));
}

#[test]
fn the_error_queue_reads_as_the_kernel_writes_it() {
    let mut bytes = libc::EHOSTUNREACH.to_ne_bytes().to_vec();
    bytes.extend([2, 3, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend((libc::AF_INET as u16).to_ne_bytes());
    bytes.extend([0, 0, 172, 16, 0, 2]);
    assert_eq!(decode_extended_error(&bytes), Some(icmp_of(13, PEER)));
}

proptest! {
    #[test]
    fn any_bytes_decode_or_do_not(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert_eq!(decode_extended_error(&bytes).is_some(), bytes.len() >= 16);
    }

    #[test]
    fn any_failure_has_a_cause(errno in 0i32..140, after in any::<u32>(), retransmits in 0u32..9,
                               kind in any::<u8>(), code in any::<u8>()) {
        let failure = Failure {
            errno, retransmits: (retransmits > 0).then_some(retransmits),
            after: Duration::from_micros(after.into()),
            queued: Some(Queued { errno, origin: Origin::Icmp { kind, code, offender: None } }),
            source: None,
        };
        let _cause: Cause = handshake(&failure);
        let _outcome: Outcome = instant(errno);
    }
}
