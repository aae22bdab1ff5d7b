//! One set for all sockets of an engine: epoll(7) or kqueue(2), edge-triggered, by way of mio.
//!
//! Owns the set; waits never block (the owner waits for the set itself to become readable).

#![allow(
    unsafe_code,
    reason = "a registration of tokio's whose descriptor must outlive it"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Poll, Token};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Events taken in one call.
const ROUND: usize = 256;

/// A set of sockets.
#[derive(Debug)]
pub struct Poller {
    set: Poll,
    events: Events,
}

impl Poller {
    /// A new, empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            set: Poll::new()?,
            events: Events::with_capacity(ROUND),
        })
    }

    /// Watches a connection under `token` until it is closed.
    pub fn add(&self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.watch(
            socket,
            token,
            mio::Interest::READABLE | mio::Interest::WRITABLE,
        )
    }

    /// Watches what is only ever read from.
    pub fn add_reader(&self, source: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.watch(source, token, mio::Interest::READABLE)
    }

    fn watch(&self, fd: BorrowedFd<'_>, token: u64, what: mio::Interest) -> io::Result<()> {
        let token = usize::try_from(token).map_err(io::Error::other)?;
        let registry = self.set.registry();
        registry.register(&mut SourceFd(&fd.as_raw_fd()), Token(token), what)
    }

    /// Appends the tokens of sockets with news; whether there may be more.
    pub fn poll(&mut self, tokens: &mut Vec<u64>) -> io::Result<bool> {
        self.set.poll(&mut self.events, Some(Duration::ZERO))?;
        let before = tokens.len();
        tokens.extend(self.events.iter().map(|event| event.token().0 as u64));
        Ok(tokens.len() - before == ROUND)
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.registry().as_fd()
    }
}

/// Waits for a descriptor to become readable, inside a tokio runtime.
#[derive(Debug)]
pub struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Waits on a duplicate of `fd` (dup(2)), which stays open as long as this value.
    pub fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let own = fd.try_clone_to_owned()?;
        // SAFETY: the duplicate is owned by the registration, never exposed and closed only
        // together with it, so it names the same open file for as long as it is registered.
        let registered = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) };
        Ok(Self(registered?))
    }

    /// Returns when there is news since the last return. Cancel-safe.
    pub async fn news(&self) -> io::Result<()> {
        // Cleared before the owner reads: what comes meanwhile is news again.
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
