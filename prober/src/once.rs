//! `pnwatch once`: does the endpoint that a job was handed answer, within a budget?
//!
//! Two attempts, at once and [`SECOND`] later, each a connect and a GET `/up`; the first to
//! answer decides, so that one lost SYN does not cost the cache. No privilege, no configuration,
//! no thread of its own; dropping [`check`] closes its sockets.
//!
//! Within half a second there is no SYN retransmit (RFC 6298 §2.1: 1 s) and no ARP error (3 s):
//! silence is [`Cause::NoAnswer`] and nothing finer. What is said sooner is said exactly.

use core::cell::Cell;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};

use axum::http::Uri;
use pnwatch_core::outcome::{Blind, Cause, Outcome};
use pnwatch_edge::http::{CallError, Client, ClientError, ClientSettings, Request};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::engine::cause;
use crate::engine::response::{self, MAX_ANSWER, Progress, Response};

/// When the second attempt starts. A healthy private network answers in a few milliseconds; a
/// first SYN that is still alone by now was probably lost.
pub const SECOND: Duration = Duration::from_millis(150);

/// Who is asking.
const USER_AGENT: &str = concat!("pnwatch/", env!("CARGO_PKG_VERSION"), " (+once)");

/// Where a job's cache is: `http://ADDRESS:PORT`, `https://NAME` or `ADDRESS:PORT`. A path is
/// left out: `/up` is at the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    https: bool,
    host: String,
    port: u16,
}

/// An endpoint that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint {given:?} does not read: {why}; write it like http://192.0.2.7:30815")]
pub struct EndpointError {
    given: String,
    why: &'static str,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let bad = |why| EndpointError {
            given: text.chars().take(100).collect(),
            why,
        };
        let text = text.trim();
        let whole = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let uri: Uri = whole.parse().map_err(|_| bad("it is no URL"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("it is neither http nor https")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| bad("it names no host"))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let place = authority.rsplit('@').next().unwrap_or_default();
        let port = match place.strip_prefix(host).unwrap_or_default() {
            "" if https => 443,
            "" => 80,
            given => given
                .strip_prefix(':')
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(|| bad("its port is none"))?,
        };
        if port == 0 {
            return Err(bad("port 0 cannot be dialed"));
        }
        Ok(Self {
            https,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        })
    }
}

impl Endpoint {
    /// Where it is, if it was handed out as an IPv4 address.
    pub fn address(&self) -> Option<SocketAddrV4> {
        let address = self.host.parse().ok()?;
        Some(SocketAddrV4::new(address, self.port))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whom.
    pub endpoint: Endpoint,
    /// How long everything may take.
    pub budget: Duration,
    /// The tenant that `/up` must not contradict.
    pub tenant: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was seen.
    pub outcome: Outcome,
    /// How long it took.
    pub after: Duration,
    /// More, for a person.
    pub detail: String,
}

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Resolving,
    Connecting,
    Asked,
    Answering,
}

impl Stage {
    fn told(self) -> &'static str {
        match self {
            Self::Resolving => "the name did not resolve in time",
            Self::Connecting => "no connection came about",
            Self::Asked => "it accepted the connection, but did not answer GET /up",
            Self::Answering => "the answer to GET /up began, but did not end",
        }
    }
}

/// Asks. For https the system's certificates are read first, outside the budget.
pub async fn check(question: &Question) -> Result<Answer, ClientError> {
    let tls = if question.endpoint.https {
        Some(Client::new(ClientSettings {
            body_limit: MAX_ANSWER,
            ..ClientSettings::default()
        })?)
    } else {
        None
    };
    let started = Instant::now();
    let stage = Cell::new(Stage::Resolving);
    let asking = ask(question, tls.as_ref(), &stage);
    let ended = tokio::select! {
        // What came in time counts, even if this process was late to look.
        biased;
        ended = asking => Some(ended),
        () = tokio::time::sleep_until(started + question.budget) => None,
    };
    let after = started.elapsed();
    let (outcome, detail) = match ended {
        Some(outcome) => (outcome, String::new()),
        None if is_starved(after, question.budget) => (
            Outcome::Unmeasured(Blind::Starved),
            "this machine was too busy to look in time".to_owned(),
        ),
        None => (
            Outcome::Unreached(Cause::NoAnswer),
            stage.get().told().to_owned(),
        ),
    };
    Ok(Answer {
        outcome,
        after,
        detail,
    })
}

/// Whether the end of the budget was noticed so late that the silence proves nothing.
fn is_starved(after: Duration, budget: Duration) -> bool {
    after > budget + (budget / 2).max(Duration::from_millis(100))
}

async fn ask(question: &Question, tls: Option<&Client>, stage: &Cell<Stage>) -> Outcome {
    let endpoint = &question.endpoint;
    let Some(to) = resolve(endpoint).await else {
        return Outcome::Unreached(Cause::DnsFailed);
    };
    let second = async {
        tokio::time::sleep(SECOND).await;
        attempt(to, question, tls, stage).await
    };
    tokio::select! {
        biased;
        outcome = attempt(to, question, tls, stage) => outcome,
        outcome = second => outcome,
    }
}

async fn resolve(endpoint: &Endpoint) -> Option<SocketAddr> {
    let name = (endpoint.host.as_str(), endpoint.port);
    let all: Vec<SocketAddr> = tokio::net::lookup_host(name).await.ok()?.collect();
    // The private network is IPv4.
    all.iter().find(|a| a.is_ipv4()).or(all.first()).copied()
}

async fn attempt(
    to: SocketAddr,
    question: &Question,
    tls: Option<&Client>,
    stage: &Cell<Stage>,
) -> Outcome {
    let reach = |next| stage.set(stage.get().max(next));
    reach(Stage::Connecting);
    let started = Instant::now();
    let mut stream = match TcpStream::connect(to).await {
        Ok(stream) => stream,
        Err(error) => return refused(&error, started.elapsed()),
    };
    reach(Stage::Asked);
    // Ends with RST: no TIME_WAIT here, and no state that lingers in a packet filter.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    if let Some(client) = tls {
        drop(stream);
        return over_tls(client, question).await;
    }
    let host = question.endpoint.to_string();
    let host = host.trim_start_matches("http://");
    let request = format!(
        "GET /up HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    if let Err(error) = stream.write_all(request.as_bytes()).await {
        return broken(&error);
    }
    let mut answer = Response::default();
    let mut buffer = [0; 4096];
    loop {
        let progress = match stream.read(&mut buffer).await {
            Ok(0) => match answer.end() {
                whole @ Progress::Whole { .. } => whole,
                Progress::NotHttp => Progress::NotHttp,
                _ => return Outcome::Unreached(Cause::ConnectionClosed),
            },
            Ok(count) => answer.feed(&buffer[..count]),
            Err(error) => return broken(&error),
        };
        match progress {
            Progress::Nothing => {}
            Progress::Began => reach(Stage::Answering),
            Progress::NotHttp => return Outcome::Unreached(Cause::NotHttp),
            Progress::Whole { status } => return judge(status, answer.body(), question),
        }
    }
}

/// The same over TLS. The port has just accepted a connection: what fails now is TLS.
async fn over_tls(client: &Client, question: &Question) -> Outcome {
    let request = Request::get(format!("{}/up", question.endpoint)).within(question.budget);
    match client.send(request).await {
        Ok(answer) => judge(answer.status, &answer.body, question),
        Err(CallError::Connect { .. }) => Outcome::Unreached(Cause::TlsFailed),
        Err(CallError::Timeout { .. }) => Outcome::Unreached(Cause::NoAnswer),
        Err(CallError::TooLarge { .. } | CallError::Broken { .. }) => {
            Outcome::Unreached(Cause::NotHttp)
        }
        // Built here from what was read as an endpoint.
        Err(CallError::BadUrl { .. } | CallError::Secret(_)) => {
            Outcome::Unmeasured(Blind::Unrecognised)
        }
    }
}

fn judge(status: u16, body: &[u8], question: &Question) -> Outcome {
    if let Some(cause) = cause::status(status) {
        return Outcome::Unreached(cause);
    }
    let named = response::tenant(body);
    match (&question.tenant, named) {
        (Some(expected), Some(named)) if *expected != named => {
            Outcome::Unreached(Cause::WrongTenant)
        }
        _ => Outcome::Reached,
    }
}

/// A connect that failed.
fn refused(error: &io::Error, after: Duration) -> Outcome {
    let errno = error.raw_os_error().unwrap_or_default();
    match errno {
        libc::EMFILE
        | libc::ENFILE
        | libc::ENOBUFS
        | libc::ENOMEM
        | libc::EADDRNOTAVAIL
        | libc::EAGAIN => Outcome::Unmeasured(Blind::Exhausted),
        libc::ETIMEDOUT => Outcome::Unreached(Cause::NoAnswer),
        // From here on it may be a neighbor that does not resolve or a router that says so.
        libc::EHOSTUNREACH | libc::ENETUNREACH if after >= cause::TELLING => {
            Outcome::Unreached(Cause::NoAnswer)
        }
        _ => Outcome::Unreached(cause::handshake(&cause::Failure {
            errno,
            after,
            retransmits: Some(0),
            queued: None,
            source: None,
        })),
    }
}

/// A connection that failed after it was there.
fn broken(error: &io::Error) -> Outcome {
    Outcome::Unreached(match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Cause::ConnectionReset,
        _ => Cause::ConnectionClosed,
    })
}

#[cfg(test)]
#[path = "once_tests.rs"]
mod tests;
