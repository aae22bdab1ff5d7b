//! One check in a VM: a connect and `GET /up`, or a connect off the PN.
//!
//! Plain sockets without a privilege: the VM's one way out is its default route. A connection
//! ends with RST, so that it leaves no state behind here, and the shortest in the host's filter.

use core::time::Duration;
use std::io;
use std::net::SocketAddr;

use pnwatch_core::digest::salted;
use pnwatch_core::outcome::{Blind, Cause, Layer, Outcome};
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::rotation::What;
use crate::engine::cause;
use crate::engine::response::{self, Progress, Response};
use crate::link::micros;
use crate::relay::talk::VmSeen;
use crate::rounds::PATIENCE;

/// How long the answer may take.
const ANSWER: Duration = Duration::from_millis(1300);
/// A deadline that is noticed this late proves nothing: the machine had no time to look.
const STARVED: Duration = Duration::from_millis(300);
/// Who is asking.
const USER_AGENT: &str = concat!("pnwatch/", env!("CARGO_PKG_VERSION"), " (+vm)");

/// What to check, and for which brief.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) what: What,
    pub(super) brief: u64,
    pub(super) salt: String,
    pub(super) start: Tick,
}

/// What came of it. The ages of the outcomes are filled in when they are told.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) what: What,
    pub(super) brief: u64,
    pub(super) start: Tick,
    pub(super) outcomes: Vec<VmSeen>,
}

/// Checks.
pub(super) async fn check(work: Work, clock: SharedClock) -> Seen {
    let (to, id) = match work.what {
        What::Target(id, at) => (SocketAddr::V4(at), Some(id)),
        What::Control(at) => (at, None),
    };
    let mut outcomes = Vec::with_capacity(2);
    let outcome = |layer, outcome, rtt: Option<Duration>, tenant| VmSeen {
        id,
        layer,
        outcome,
        age_us: 0,
        rtt_us: rtt.map(|rtt| u32::try_from(micros(rtt)).unwrap_or(u32::MAX)),
        tenant,
    };
    let first = if id.is_some() {
        Layer::Tcp
    } else {
        Layer::Control
    };
    match connect(to, &clock).await {
        Err(failed) => outcomes.push(outcome(first, failed, None, None)),
        Ok((stream, rtt)) => {
            outcomes.push(outcome(first, Outcome::Reached, Some(rtt), None));
            if id.is_some() {
                let since = clock.now().tick;
                let (answered, tenant) = ask(stream, to, &clock).await;
                let rtt = clock.now().tick.since(since);
                let rtt = (answered == Outcome::Reached).then_some(rtt);
                let tenant = tenant.map(|tenant| salted(&work.salt, &tenant));
                outcomes.push(outcome(Layer::Http, answered, rtt, tenant));
            }
        }
    }
    Seen {
        what: work.what,
        brief: work.brief,
        start: work.start,
        outcomes,
    }
}

/// What a deadline that has passed means.
fn overdue(since: Tick, within: Duration, clock: &SharedClock, cause: Cause) -> Outcome {
    let late = clock.now().tick.since(since.after(within));
    if late > STARVED {
        Outcome::Unmeasured(Blind::Starved)
    } else {
        Outcome::Unreached(cause)
    }
}

async fn connect(to: SocketAddr, clock: &SharedClock) -> Result<(TcpStream, Duration), Outcome> {
    let since = clock.now().tick;
    let connected = tokio::select! {
        // What came in time counts, even if this process was late to look.
        biased;
        connected = TcpStream::connect(to) => connected,
        () = tokio::time::sleep(PATIENCE) => {
            return Err(overdue(since, PATIENCE, clock, Cause::SynUnanswered));
        }
    };
    let after = clock.now().tick.since(since);
    match connected {
        Ok(stream) => {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            Ok((stream, after))
        }
        Err(error) => Err(refused(&error, after)),
    }
}

fn refused(error: &io::Error, after: Duration) -> Outcome {
    let errno = error.raw_os_error().unwrap_or_default();
    match errno {
        libc::ETIMEDOUT => Outcome::Unreached(Cause::SynUnanswered),
        libc::ECONNREFUSED => Outcome::Unreached(Cause::Refused),
        libc::ECONNRESET => Outcome::Unreached(Cause::ConnectionReset),
        libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL => {
            Outcome::Unmeasured(Blind::Exhausted)
        }
        // A VM whose own network is not up, yet or any more.
        _ if after < Duration::from_millis(1) => Outcome::Unmeasured(Blind::NoSource),
        _ => Outcome::Unreached(cause::handshake(&cause::Failure {
            errno,
            after,
            retransmits: Some(1),
            queued: None,
            source: None,
        })),
    }
}

async fn ask(stream: TcpStream, to: SocketAddr, clock: &SharedClock) -> (Outcome, Option<String>) {
    let since = clock.now().tick;
    tokio::select! {
        biased;
        answered = exchange(stream, to) => answered,
        () = tokio::time::sleep(ANSWER) => {
            (overdue(since, ANSWER, clock, Cause::NoFirstByte), None)
        }
    }
}

async fn exchange(mut stream: TcpStream, to: SocketAddr) -> (Outcome, Option<String>) {
    let failed = |cause| (Outcome::Unreached(cause), None);
    let request = format!(
        "GET /up HTTP/1.1\r\nHost: {to}\r\nUser-Agent: {USER_AGENT}\r\n\
         Accept: application/json\r\nConnection: close\r\n\r\n"
    );
    if let Err(error) = stream.write_all(request.as_bytes()).await {
        return failed(broken(&error));
    }
    let mut answer = Response::default();
    let mut buffer = [0; 4096];
    loop {
        let progress = match stream.read(&mut buffer).await {
            Ok(0) => match answer.end() {
                Progress::Nothing | Progress::Began => return failed(Cause::ConnectionClosed),
                ended => ended,
            },
            Ok(count) => answer.feed(&buffer[..count]),
            Err(error) => return failed(broken(&error)),
        };
        match progress {
            Progress::Nothing | Progress::Began => {}
            Progress::NotHttp => return failed(Cause::NotHttp),
            Progress::Whole { status } => {
                let outcome = match cause::status(status) {
                    Some(cause) => Outcome::Unreached(cause),
                    None => Outcome::Reached,
                };
                return (
                    outcome,
                    response::tenant(answer.body()).map(std::borrow::Cow::into_owned),
                );
            }
        }
    }
}

fn broken(error: &io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Cause::ConnectionReset,
        _ => Cause::ConnectionClosed,
    }
}
