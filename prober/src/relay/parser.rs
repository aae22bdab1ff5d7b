//! The parser: everything that a VM sends is read here, in a process without rights.
//!
//! `pnwatch relay-parser`, started by the prober with the listening socket as its input and one
//! end of a socket pair as its output. It opens nothing, and ends when the prober does. What it
//! lets through are lines of checked numbers ([`FromParser`]); the host stamps them with a slot.
//!
//! Nothing in it is faster than it has to be: connections are accepted in small batches at a
//! fixed pace, requests wait for their turn, and whoever wants more waits in the kernel's queue.
//! So a flood costs its sender, and an agent's connection that is kept open is served in between.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use pnwatch_core::link::Cidr;
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::listen::{Limits, serve_one};
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};

use super::pace::Bucket;
use super::talk::{FromParser, HANDED, Handed, MAX_BODY, MAX_LINE, TELL, TalkError, Told, line};
use crate::unprivileged;

/// Connections that are accepted at all, turned away ones included.
const PER_ACCEPT: Duration = Duration::from_millis(4);
/// They are accepted in batches: a wake-up costs more than an accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Connections of one source.
const PER_CONNECT: Duration = Duration::from_millis(250);
const CONNECT_BURST: u32 = 12;
/// Connections of one source at once, and of all.
const OPEN_PER_SOURCE: u32 = 4;
const OPEN: u32 = 24;
/// Requests of one source: an agent makes two a second.
const PER_REQUEST: Duration = Duration::from_millis(125);
const REQUEST_BURST: u32 = 16;
/// Sources that are remembered.
const SOURCES: usize = 64;
/// How often the host is told what was turned away.
const TELL_REFUSED: Duration = Duration::from_secs(1);

const LIMITS: Limits = Limits {
    connections: OPEN as usize,
    header_timeout: Duration::from_secs(5),
    request_timeout: Duration::from_secs(3),
    body_bytes: MAX_BODY,
    grace: Duration::ZERO,
};

#[derive(Debug)]
struct Source {
    connects: Bucket,
    requests: Bucket,
    open: u32,
}

#[derive(Debug, Default)]
struct Door {
    sources: BTreeMap<Ipv4Addr, Source>,
    open: u32,
    refused: u64,
}

/// What connections share.
#[derive(Clone)]
struct Shared {
    clock: SharedClock,
    door: Arc<Mutex<Door>>,
    brief: watch::Receiver<Bytes>,
    out: mpsc::Sender<FromParser>,
}

/// Why the parser cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ParserError {
    /// It was started by hand, or by a prober that could not lower its rights.
    #[error(
        "the parser of the relay must not run as root; the prober starts it with the rights of nobody"
    )]
    Root,
    /// Something it was given is not what it should be.
    #[error("the parser of the relay cannot run: {0}; it is started by `pnwatch probe` alone")]
    System(#[from] io::Error),
}

/// Gives up what an attacker might want, then serves until the prober goes. Standard input is the
/// listening socket, standard output the line to the prober.
pub async fn run(vms: Cidr, clock: SharedClock) -> Result<(), ParserError> {
    if unprivileged::is_root() {
        return Err(ParserError::Root);
    }
    unprivileged::confine()?;
    let listener: std::net::TcpListener = taken(io::stdin().as_fd())?.into();
    let pipe: std::os::unix::net::UnixStream = taken(io::stdout().as_fd())?.into();
    listener.set_nonblocking(true)?;
    pipe.set_nonblocking(true)?;
    serve(
        TcpListener::from_std(listener)?,
        UnixStream::from_std(pipe)?,
        vms,
        clock,
    )
    .await;
    Ok(())
}

fn taken(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

/// Serves until the other end of the pipe closes.
pub async fn serve(listener: TcpListener, pipe: UnixStream, vms: Cidr, clock: SharedClock) {
    let (from_host, mut to_host) = pipe.into_split();
    let (brief_tell, brief) = watch::channel(Bytes::new());
    let (out, mut lines) = mpsc::channel::<FromParser>(32);
    let shared = Shared {
        clock,
        door: Arc::default(),
        brief,
        out,
    };
    let tell = async {
        while let Some(message) = lines.recv().await {
            // A host that does not read holds everything up, which is as it should be.
            if to_host.write_all(&line(&message)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = listen_to_host(from_host, brief_tell) => {}
        () = tell => {}
        () = accept(&listener, vms, &shared) => {}
        () = tell_refused(&shared) => {}
    }
}

/// Takes briefs over; ends with the prober.
async fn listen_to_host(from_host: OwnedReadHalf, tell: watch::Sender<Bytes>) {
    let mut lines = BufReader::with_capacity(MAX_LINE, from_host);
    let mut text = Vec::new();
    loop {
        text.clear();
        match lines.read_until(b'\n', &mut text).await {
            Ok(0) | Err(_) => return,
            Ok(_) => tell.send_replace(Bytes::copy_from_slice(&text)),
        };
    }
}

async fn tell_refused(shared: &Shared) {
    loop {
        tokio::time::sleep(TELL_REFUSED).await;
        let count = core::mem::take(&mut shared.door().refused);
        if count > 0
            && shared
                .out
                .send(FromParser::Refused { count })
                .await
                .is_err()
        {
            return;
        }
    }
}

async fn accept(listener: &TcpListener, vms: Cidr, shared: &Shared) {
    let burst = u32::try_from(ACCEPT_PAUSE.as_millis() / PER_ACCEPT.as_millis()).unwrap_or(1);
    let mut pace = Bucket::new(PER_ACCEPT, 4 * burst, shared.clock.now().tick);
    let router = Router::new()
        .route(TELL, post(told))
        .route(HANDED, post(handed))
        .with_state(shared.clone());
    loop {
        if pace.take(shared.clock.now().tick).is_err() {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Some(guard) = shared.admit(peer, vms) {
                    let router = router.clone();
                    tokio::spawn(async move {
                        let _ = stream.set_nodelay(true);
                        serve_one(stream, peer, router, LIMITS).await;
                        drop(guard);
                    });
                } else {
                    turn_away(&stream);
                }
            }
            // Of one connection, or out of descriptors: others must end first.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Ends it with RST: nothing lingers on this side.
fn turn_away(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Counts a connection for as long as it is open.
struct Guard {
    door: Arc<Mutex<Door>>,
    source: Ipv4Addr,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        door.open = door.open.saturating_sub(1);
        if let Some(source) = door.sources.get_mut(&self.source) {
            source.open = source.open.saturating_sub(1);
        }
    }
}

impl Shared {
    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in if its source may have one.
    fn admit(&self, peer: SocketAddr, vms: Cidr) -> Option<Guard> {
        let now = self.clock.now().tick;
        let mut door = self.door();
        let admitted = match peer.ip() {
            IpAddr::V4(source) if vms.contains(source) => door.enter(source, now),
            _ => None,
        };
        door.refused += u64::from(admitted.is_none());
        drop(door);
        admitted.map(|source| Guard {
            door: self.door.clone(),
            source,
        })
    }

    /// Waits until the source may have its next request answered.
    async fn pace(&self, source: Ipv4Addr) {
        loop {
            let turn = {
                let mut door = self.door();
                let now = self.clock.now().tick;
                door.sources
                    .get_mut(&source)
                    .map_or(Ok(()), |source| source.requests.take(now))
            };
            match turn {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }
}

impl Door {
    fn enter(&mut self, source: Ipv4Addr, now: Tick) -> Option<Ipv4Addr> {
        if !self.sources.contains_key(&source) {
            if self.sources.len() >= SOURCES {
                self.sources
                    .retain(|_, s| s.open > 0 || !s.connects.is_full(now));
            }
            if self.sources.len() >= SOURCES {
                return None;
            }
        }
        let known = self.sources.entry(source).or_insert_with(|| Source {
            connects: Bucket::new(PER_CONNECT, CONNECT_BURST, now),
            requests: Bucket::new(PER_REQUEST, REQUEST_BURST, now),
            open: 0,
        });
        let free = self.open < OPEN && known.open < OPEN_PER_SOURCE;
        if !free || known.connects.take(now).is_err() {
            return None;
        }
        known.open += 1;
        self.open += 1;
        Some(source)
    }
}

fn source(peer: SocketAddr) -> Option<Ipv4Addr> {
    match peer.ip() {
        IpAddr::V4(source) => Some(source),
        IpAddr::V6(_) => None,
    }
}

fn refuse(error: &TalkError) -> Response {
    (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
}

/// A VM tells what it saw, and hears what to do.
async fn told(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Response {
    let Some(peer) = source(peer) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    shared.pace(peer).await;
    let told = match Told::from_json(&body) {
        Ok(told) => told,
        Err(error) => return refuse(&error),
    };
    if shared
        .out
        .send(FromParser::Told { peer, told })
        .await
        .is_err()
    {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let brief = shared.brief.borrow().clone();
    if brief.is_empty() {
        let wait = "this host has no plan yet; ask again in a second\n";
        return (StatusCode::SERVICE_UNAVAILABLE, wait).into_response();
    }
    ([(CONTENT_TYPE, "application/json")], brief).into_response()
}

/// A job tells what it was handed.
async fn handed(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Response {
    let Some(peer) = source(peer) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    shared.pace(peer).await;
    match Handed::from_json(&body) {
        Ok(handed) => {
            let sent = shared.out.send(FromParser::Handed { peer, handed }).await;
            match sent {
                Ok(()) => StatusCode::NO_CONTENT.into_response(),
                Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
        }
        Err(error) => refuse(&error),
    }
}
