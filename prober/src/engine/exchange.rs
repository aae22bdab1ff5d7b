//! One connection: what it is for, how far it is, and the HTTP exchange on it.
//!
//! A handshake is judged by its owner ([`super::connection`]); from the first byte sent to the
//! last byte read everything happens here, without waiting.

use core::net::{SocketAddr, SocketAddrV4};
use std::io;
use std::sync::Arc;

use pnwatch_core::outcome::{Cause, Layer, Outcome};
use pnwatch_core::schedule::CheckId;
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;
use socket2::Socket;

use super::cause;
use super::response::{Progress, Response, readiness, tenant};
use super::{Seen, What};

/// Bytes read at once.
pub(super) const PIECE: usize = 16 * 1024;

#[derive(Debug)]
pub(super) enum Purpose {
    Up(Option<Arc<str>>),
    Ready,
    Large,
    Control,
}

#[derive(Debug)]
pub(super) enum Stage {
    Handshake,
    /// Missed, reported, kept to learn the errno.
    Learning,
    /// Connected; so many bytes of the request are sent.
    Exchange {
        since: Tick,
        sent: usize,
    },
}

pub(super) struct Connection {
    pub(super) socket: Socket,
    pub(super) to: SocketAddr,
    pub(super) id: CheckId,
    pub(super) start: Tick,
    pub(super) deadline: Tick,
    /// When the whole check is over.
    pub(super) end: Tick,
    pub(super) purpose: Purpose,
    pub(super) request: Option<Arc<[u8]>>,
    pub(super) stage: Stage,
    pub(super) response: Response,
    pub(super) generation: u32,
}

/// Sends, reads, judges; whether the connection goes on.
pub(super) fn exchange(
    connection: &mut Connection,
    clock: &SharedClock,
    piece: &mut [u8],
    seen: &mut Vec<Seen>,
) -> bool {
    if let Err(error) = send(connection) {
        let outcome = Outcome::Unreached(broken(&error));
        seen.push(answered(connection, outcome, None));
        return false;
    }
    loop {
        let progress = match io::Read::read(&mut &connection.socket, piece) {
            Ok(0) => match connection.response.end() {
                whole @ Progress::Whole { .. } => whole,
                Progress::NotHttp => Progress::NotHttp,
                Progress::Nothing | Progress::Began => {
                    let outcome = Outcome::Unreached(Cause::ConnectionClosed);
                    seen.push(answered(connection, outcome, None));
                    return false;
                }
            },
            Ok(count) => connection.response.feed(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let outcome = Outcome::Unreached(broken(&error));
                seen.push(answered(connection, outcome, None));
                return false;
            }
        };
        match progress {
            Progress::Nothing | Progress::Began => {}
            Progress::NotHttp => {
                let outcome = Outcome::Unreached(Cause::NotHttp);
                seen.push(answered(connection, outcome, None));
                return false;
            }
            Progress::Whole { status } => {
                let now = clock.now().tick;
                seen.push(whole(connection, status, now));
                return false;
            }
        }
    }
}

fn send(connection: &mut Connection) -> io::Result<()> {
    let (Stage::Exchange { sent, .. }, Some(request)) =
        (&mut connection.stage, &connection.request)
    else {
        return Ok(());
    };
    while let Some(rest) = request.get(*sent..).filter(|rest| !rest.is_empty()) {
        match connection.socket.send_with_flags(rest, libc::MSG_NOSIGNAL) {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A peer that answered and went before it read: its answer decides.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn broken(error: &io::Error) -> Cause {
    match error.raw_os_error().unwrap_or(0) {
        libc::ETIMEDOUT => Cause::NoFirstByte,
        libc::EHOSTUNREACH => Cause::HostUnreachable,
        libc::ENETUNREACH => Cause::NetUnreachable,
        libc::ECONNREFUSED => Cause::PortUnreachable,
        _ => Cause::ConnectionReset,
    }
}

/// The end of a check whose connection never came to be.
pub(super) fn ended(id: CheckId, start: Tick, purpose: &Purpose, outcome: Outcome) -> Seen {
    match purpose {
        Purpose::Up(_) => Seen::plain(id, start, Layer::Tcp, outcome),
        Purpose::Control => Seen::plain(id, start, Layer::Control, outcome),
        Purpose::Ready | Purpose::Large => Seen {
            id,
            start,
            what: What::Nothing,
            done: true,
        },
    }
}

/// The end of an exchange.
pub(super) fn answered(connection: &Connection, outcome: Outcome, now: Option<Tick>) -> Seen {
    if matches!(connection.purpose, Purpose::Ready) {
        return ended(
            connection.id,
            connection.start,
            &connection.purpose,
            outcome,
        );
    }
    if matches!(connection.purpose, Purpose::Large) {
        let bytes = connection.response.body().len() as u64;
        // The first segment of a large answer is large itself.
        let outcome = match outcome {
            Outcome::Unreached(Cause::NoFirstByte) => Outcome::Unreached(Cause::TransferStalled),
            other => other,
        };
        return Seen {
            id: connection.id,
            start: connection.start,
            what: What::Large { outcome, bytes },
            done: true,
        };
    }
    let rtt = match (now, &connection.stage) {
        (Some(now), Stage::Exchange { since, .. }) => Some(now.since(*since)),
        _ => None,
    };
    Seen {
        id: connection.id,
        start: connection.start,
        what: What::Outcome {
            layer: Layer::Http,
            outcome,
            rtt,
            kernel_rtt: None,
            mac: None,
        },
        done: true,
    }
}

fn whole(connection: &Connection, status: u16, now: Tick) -> Seen {
    let body = connection.response.body();
    let outcome = match &connection.purpose {
        Purpose::Ready => {
            let (ready, draining) = readiness(status, body);
            return Seen {
                id: connection.id,
                start: connection.start,
                what: What::Ready { ready, draining },
                done: true,
            };
        }
        Purpose::Up(expected) => match (cause::status(status), expected) {
            (Some(cause), _) => Outcome::Unreached(cause),
            // Only another name is proof: an answer without one may be an older cache.
            (None, Some(expected)) => match tenant(body) {
                Some(named) if named != **expected => Outcome::Unreached(Cause::WrongTenant),
                _ => Outcome::Reached,
            },
            (None, None) => Outcome::Reached,
        },
        // Whatever the route said, many of its bytes came.
        Purpose::Large | Purpose::Control => Outcome::Reached,
    };
    answered(connection, outcome, Some(now))
}

/// A request for a probe route; nothing else is ever asked of a cache.
pub fn request(route: &str, to: SocketAddrV4, agent: &str) -> Arc<[u8]> {
    format!(
        "GET {route} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: {agent}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
    .into()
}
