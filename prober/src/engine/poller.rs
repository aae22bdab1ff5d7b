//! One epoll set for all sockets of an engine (epoll(7)), edge-triggered.
//!
//! Owns the set; waits never block (the owner waits for the set itself to become readable).

#![allow(
    unsafe_code,
    reason = "epoll has no safe wrapper among the dependencies"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Events taken in one call.
const ROUND: u16 = 256;

/// An epoll set.
#[derive(Debug)]
pub struct Poller {
    set: OwnedFd,
}

impl Poller {
    /// A new, empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let set = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { set })
    }

    /// Watches `socket` under `token` until it is closed.
    pub fn add(&self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let flags = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event {
            events: flags as u32,
            u64: token,
        };
        // SAFETY: both descriptors are open, `event` outlives the call.
        let result = unsafe {
            libc::epoll_ctl(
                self.set.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &raw mut event,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Appends the tokens of sockets with news; whether there may be more.
    pub fn poll(&self, tokens: &mut Vec<u64>) -> io::Result<bool> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; ROUND as usize];
        // SAFETY: `events` has room for ROUND entries and outlives the call; no waiting.
        let count = unsafe {
            libc::epoll_wait(
                self.set.as_raw_fd(),
                events.as_mut_ptr(),
                i32::from(ROUND),
                0,
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        tokens.extend(events.iter().take(count).map(|event| event.u64));
        Ok(count == usize::from(ROUND))
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
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
