//! The socket calls of macOS that no library wraps. Thin; what the answers mean is decided
//! elsewhere.

#![allow(
    unsafe_code,
    reason = "getsockopt and proc_pidinfo with buffers of ours"
)]

use core::mem::{MaybeUninit, size_of};
use core::num::NonZeroU32;
use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

use crate::engine::cause::{Queued, TcpFacts};
use crate::link::Leg;
use crate::mac::parse::kernel;

/// macOS 15 denies programs the local network one by one (Apple TN3179).
pub const CAN_DENY_LOCAL_NETWORK: bool = true;
/// macOS counts the packets that it sends again, but not SYNs: nothing is known.
pub const SENT_NOTHING: Option<u32> = None;

/// A TCP socket that never blocks and is closed on exec.
pub fn stream_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Binds to the PN device (`IP_BOUND_IF`, ip(4)).
pub fn bind_device(socket: &Socket, leg: &Leg) -> io::Result<()> {
    let index = leg.index.and_then(NonZeroU32::new);
    let index = index.ok_or_else(|| io::Error::from_raw_os_error(libc::ENXIO))?;
    socket.bind_device_by_index_v4(Some(index))
}

/// Nothing to set: macOS has no error queue, and shares ports among destinations by itself.
#[expect(clippy::unnecessary_wraps, reason = "the same shape on every system")]
pub fn set_ip_options(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// macOS has no error queue.
pub fn error_queue(_: &Socket) -> Option<Queued> {
    None
}

/// Reads `TCP_CONNECTION_INFO` (netinet/tcp.h).
pub fn tcp_facts(socket: &Socket) -> Option<TcpFacts> {
    let mut info = [0u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `info`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_CONNECTION_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return None;
    }
    let info = info.get(..length as usize)?;
    Some(TcpFacts {
        retransmits: None,
        rtt: kernel::connection_rtt(info)?,
    })
}

/// Resident memory of this process (`PROC_PIDTASKINFO`, libproc.h).
pub(crate) fn task_resident_bytes() -> Option<u64> {
    let mut info = MaybeUninit::<libc::proc_taskinfo>::zeroed();
    let size = size_of::<libc::proc_taskinfo>() as libc::c_int;
    // SAFETY: the kernel writes at most `size` bytes into `info`.
    let written = unsafe {
        libc::proc_pidinfo(
            libc::getpid(),
            libc::PROC_PIDTASKINFO,
            0,
            info.as_mut_ptr().cast(),
            size,
        )
    };
    // SAFETY: every field is an integer; what was not written stays zero.
    (written == size).then(|| unsafe { info.assume_init() }.pti_resident_size)
}
