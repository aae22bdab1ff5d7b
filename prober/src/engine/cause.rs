//! What a failed connection means: errno, ICMP origin, retransmits, time → [`Cause`].
//!
//! Pure. The facts are those of tcp(7), ip(7) (`IP_RECVERR`) and of measurements on veth pairs,
//! Linux 6.18; `tests/sockets.rs` repeats them.

use core::net::Ipv4Addr;
use core::time::Duration;

use pnwatch_core::outcome::{Blind, Cause, Outcome};

/// Who says that a packet failed (`ee_origin`, ip(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This machine, without an ICMP message.
    Local,
    /// An ICMP message.
    Icmp {
        /// Its type (RFC 792).
        kind: u8,
        /// Its code.
        code: u8,
        /// Who sent it.
        offender: Option<Ipv4Addr>,
    },
    /// Something else.
    Other,
}

/// One entry of a socket's error queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Its errno.
    pub errno: i32,
    /// Who said it.
    pub origin: Origin,
}

/// What the kernel knows of a connection.
#[derive(Debug, Clone, Copy)]
pub struct TcpFacts {
    /// Segments sent again, SYNs included; `None` where SYNs are not counted.
    pub retransmits: Option<u32>,
    /// Smoothed round trip by the kernel's clock.
    pub rtt: Duration,
}

/// Everything that is known of a connection that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// The socket's error.
    pub errno: i32,
    /// From the start to the error.
    pub after: Duration,
    /// `tcpi_total_retrans`: zero when no SYN ever left twice; `None` where the kernel does not
    /// count SYNs (macOS).
    pub retransmits: Option<u32>,
    /// The newest entry of its error queue.
    pub queued: Option<Queued>,
    /// The address it was sent from.
    pub source: Option<Ipv4Addr>,
}

/// The first SYN retransmit comes after 1 s (RFC 6298 §2.1); a handshake watched for less than
/// this cannot tell a SYN that never left from one that was lost.
pub const TELLING: Duration = Duration::from_millis(1100);

/// `connect` failed at once, before any packet.
pub fn instant(errno: i32) -> Outcome {
    match errno {
        // Blackhole, prohibit, unreachable and throw routes, no route (fib_props, fib_semantics.c).
        libc::EINVAL | libc::EACCES | libc::EPERM | libc::ENETUNREACH | libc::EHOSTUNREACH => {
            Outcome::Unreached(Cause::RouteMissing)
        }
        // macOS: an ARP that failed is remembered for 20 s, and connects then fail at once.
        libc::EHOSTDOWN => Outcome::Unreached(Cause::NeighbourUnresolved),
        libc::ECONNREFUSED => Outcome::Unreached(Cause::Refused),
        libc::ECONNRESET => Outcome::Unreached(Cause::ConnectionReset),
        // No ephemeral port left to this destination.
        libc::EADDRNOTAVAIL | libc::EAGAIN => Outcome::Unmeasured(Blind::Exhausted),
        other => local(other),
    }
}

/// A local call failed while the socket was being prepared.
pub fn local(errno: i32) -> Outcome {
    Outcome::Unmeasured(match errno {
        libc::EPERM | libc::EACCES => Blind::NoPrivilege,
        libc::ENODEV | libc::ENXIO | libc::ENETDOWN => Blind::NoDevice,
        libc::EADDRNOTAVAIL => Blind::NoSource,
        // EMFILE, ENFILE, ENOBUFS, ENOMEM and whatever else a machine runs out of.
        _ => Blind::Exhausted,
    })
}

/// A handshake ended in an error.
pub fn handshake(failure: &Failure) -> Cause {
    if let Some(cause) = failure.queued.and_then(|queued| icmp(queued, failure)) {
        return cause;
    }
    match failure.errno {
        libc::ECONNREFUSED => Cause::Refused,
        libc::ECONNRESET => Cause::ConnectionReset,
        // The neighbour entry failed: three requests, 1 s apart, and nothing (arp(7)).
        libc::EHOSTUNREACH if failure.retransmits == Some(0) && failure.after >= TELLING => {
            Cause::NeighbourUnresolved
        }
        libc::EHOSTDOWN => Cause::NeighbourUnresolved,
        libc::EHOSTUNREACH | libc::ENETUNREACH if failure.after < Duration::from_millis(1) => {
            Cause::RouteMissing
        }
        libc::EHOSTUNREACH => Cause::HostUnreachable,
        libc::ENETUNREACH => Cause::NetUnreachable,
        libc::EACCES | libc::EPERM | libc::EINVAL => Cause::RouteMissing,
        _ => Cause::SynUnanswered,
    }
}

fn icmp(queued: Queued, failure: &Failure) -> Option<Cause> {
    let Origin::Icmp {
        kind: 3,
        code,
        offender,
    } = queued.origin
    else {
        return None;
    };
    if code == 1 && offender.is_some() && offender == failure.source {
        // Our own kernel tells us so when a neighbour entry fails (ipv4_link_failure).
        return Some(Cause::NeighbourUnresolved);
    }
    // RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1.
    Some(match code {
        0 | 6 | 8 | 11 => Cause::NetUnreachable,
        2 | 3 => Cause::PortUnreachable,
        9 | 10 | 13 => Cause::AdminProhibited,
        _ => Cause::HostUnreachable,
    })
}

/// A handshake was still unanswered after `watched`. `learned` is what an earlier connection of
/// the same path came to know by being kept longer.
pub fn unanswered(retransmits: Option<u32>, watched: Duration, learned: Option<Cause>) -> Cause {
    match learned {
        // An ICMP message is rate-limited: its absence now says nothing.
        Some(cause) if is_icmp(cause) => cause,
        _ if retransmits.is_some_and(|n| n > 0) => Cause::SynUnanswered,
        _ if retransmits == Some(0) && watched >= TELLING => Cause::NeighbourUnresolved,
        Some(cause) => cause,
        None => Cause::SynUnanswered,
    }
}

/// Whether an ICMP message said so.
pub fn is_icmp(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::AdminProhibited
            | Cause::HostUnreachable
            | Cause::NetUnreachable
            | Cause::PortUnreachable
    )
}

/// The status of a probe route that is no success. Redirects count as 4xx: what answers does
/// not serve the route.
pub fn status(status: u16) -> Option<Cause> {
    match status {
        200..300 => None,
        500.. => Some(Cause::Http5xx),
        _ => Some(Cause::Http4xx),
    }
}

/// Reads `struct sock_extended_err` (linux/errqueue.h) with the offender's address behind it.
/// Total: `None` for what is too short.
pub fn decode_extended_error(bytes: &[u8]) -> Option<Queued> {
    let (err, rest) = bytes.split_at_checked(16)?;
    let errno = i32::from_ne_bytes(err.get(..4)?.try_into().ok()?);
    let origin = match err[4] {
        // SO_EE_ORIGIN_LOCAL, SO_EE_ORIGIN_ICMP.
        1 => Origin::Local,
        2 => Origin::Icmp {
            kind: err[5],
            code: err[6],
            offender: offender(rest),
        },
        _ => Origin::Other,
    };
    Some(Queued { errno, origin })
}

/// `struct sockaddr_in` (ip(7)).
fn offender(bytes: &[u8]) -> Option<Ipv4Addr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let address: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    (i32::from(family) == libc::AF_INET).then(|| Ipv4Addr::from(address))
}

#[cfg(test)]
#[path = "cause_tests.rs"]
mod tests;
