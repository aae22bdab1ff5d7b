//! The socket calls that no library wraps: `TCP_INFO`, the error queue, packet sockets with a
//! filter and kernel stamps. Thin; what the answers mean is decided elsewhere.

#![allow(
    unsafe_code,
    reason = "getsockopt and recvmsg with structures of the kernel"
)]

use core::mem::{MaybeUninit, size_of};
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use pnwatch_core::time::Timestamp;
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use super::cause::{Queued, TcpFacts, decode_extended_error};
use super::privilege::with_net_raw;
use crate::link::Leg;

/// Linux denies no single process the local network.
pub const CAN_DENY_LOCAL_NETWORK: bool = false;
/// Retransmits of a socket without `TCP_INFO`.
pub const SENT_NOTHING: Option<u32> = Some(0);

/// A TCP socket that never blocks and is closed on exec.
pub fn stream_socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking().cloexec(), None)
}

/// Binds to the PN device (`SO_BINDTODEVICE`, socket(7)).
pub fn bind_device(socket: &Socket, leg: &Leg) -> io::Result<()> {
    socket.bind_device(Some(leg.facts.device.as_bytes()))
}

/// Reads `TCP_INFO` (tcp(7)).
pub fn tcp_facts(socket: &Socket) -> Option<TcpFacts> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `info`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return None;
    }
    // SAFETY: every field is an integer; what the kernel left out stays zero.
    let info = unsafe { info.assume_init() };
    Some(TcpFacts {
        retransmits: Some(info.tcpi_total_retrans),
        rtt: Duration::from_micros(info.tcpi_rtt.into()),
    })
}

/// Asks for ICMP errors on the error queue (`IP_RECVERR`, ip(7)) and lets the port be chosen at
/// `connect` (`IP_BIND_ADDRESS_NO_PORT`), so that many destinations share the port range.
pub fn set_ip_options(socket: &Socket) -> io::Result<()> {
    set_flag(socket, libc::IPPROTO_IP, libc::IP_RECVERR)?;
    set_flag(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)
}

fn set_flag(socket: &Socket, level: i32, option: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` outlives the call and has the stated size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Room for the control messages of one packet.
#[repr(align(8))]
struct Control([u8; 256]);

/// Receives one packet with its control messages; `each` sees (level, type, data) of each.
fn receive(
    fd: RawFd,
    buffer: &mut [u8],
    flags: i32,
    mut each: impl FnMut(i32, i32, &[u8]),
) -> io::Result<usize> {
    let mut control = Control([0; 256]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: all pointers in `message` outlive the call and have the stated lengths.
    let received = unsafe { libc::recvmsg(fd, &raw mut message, flags | libc::MSG_DONTWAIT) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel filled `message`; the macros stay within msg_controllen.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(found) = header.as_ref() {
            let head = libc::CMSG_LEN(0) as usize;
            #[allow(clippy::unnecessary_cast, reason = "not usize in every C library")]
            let length = (found.cmsg_len as usize).saturating_sub(head);
            let data = core::slice::from_raw_parts(libc::CMSG_DATA(header), length);
            each(found.cmsg_level, found.cmsg_type, data);
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(received)
}

/// The newest entry of a socket's error queue; the queue is then empty.
pub fn error_queue(socket: &Socket) -> Option<Queued> {
    let mut newest = None;
    let mut payload = [0u8; 64];
    // Bounded: a peer may send faster than we read.
    for _ in 0..16 {
        let result = receive(
            socket.as_raw_fd(),
            &mut payload,
            libc::MSG_ERRQUEUE,
            |level, kind, data| {
                if (level, kind) == (libc::IPPROTO_IP, libc::IP_RECVERR) {
                    newest = decode_extended_error(data).or(newest);
                }
            },
        );
        if result.is_err() {
            break;
        }
    }
    newest
}

/// Everything but ARP is refused in the kernel: the socket costs nothing at line rate.
/// `ldh [12]; jeq #0x806; ret #len; ret #0` (bpf(4) classic form).
fn arp_only() -> [SockFilter; 4] {
    let step = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    let load = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    [
        step(load, 0, 0, 12),
        step(equal, 0, 1, libc::ETH_P_ARP as u32),
        step(give, 0, 0, 1514),
        step(give, 0, 0, 0),
    ]
}

/// Opens a packet socket for ARP on the device `index` (packet(7)). Protocol 0 receives nothing
/// until the filter is in place; binding sets protocol and device.
pub fn open_arp(index: u32) -> io::Result<Socket> {
    open_packets(index, libc::ETH_P_ARP as u16, &arp_only())
}

/// Opens a packet socket for what `filter` lets through of an Ethernet `protocol` on the device
/// `index`; each packet comes with the kernel's stamp ([`receive_stamped`]).
pub fn open_packets(index: u32, protocol: u16, filter: &[SockFilter]) -> io::Result<Socket> {
    let raw = Type::RAW.nonblocking().cloexec();
    let socket = with_net_raw(|| Socket::new(Domain::PACKET, raw, Some(0.into())))?;
    socket.attach_filter(filter)?;
    set_flag(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS)?;
    socket.bind(&link_address(index, protocol)?)?;
    Ok(socket)
}

/// A packet socket for ARP on one device (packet(7)).
#[derive(Debug)]
pub struct Packets(Socket);

impl Packets {
    /// On the device `index`.
    pub fn open(_: &Leg, index: u32) -> io::Result<Self> {
        open_arp(index).map(Self)
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame).map(drop)
    }

    /// Gives the next frame, with the kernel's stamp of its arrival, to `each`.
    pub fn receive(&mut self, each: &mut dyn FnMut(&[u8], Option<Timestamp>)) -> io::Result<()> {
        let mut buffer = [0u8; 128];
        let (length, stamp) = receive_stamped(&self.0, &mut buffer)?;
        each(buffer.get(..length).unwrap_or_default(), stamp);
        Ok(())
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn link_address(index: u32, protocol: u16) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is a socket address type and fits sockaddr_storage.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = protocol.to_be();
    link.sll_ifindex = index;
    // SAFETY: the storage was filled as a sockaddr_ll of exactly this length.
    Ok(unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) })
}

/// Receives one frame and the kernel's stamp of its arrival.
pub fn receive_stamped(
    socket: &Socket,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<Timestamp>)> {
    let mut stamp = None;
    let received = receive(socket.as_raw_fd(), buffer, 0, |level, kind, data| {
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            stamp = timespec(data);
        }
    })?;
    Ok((received, stamp))
}

fn timespec(data: &[u8]) -> Option<Timestamp> {
    let seconds = i64::from_ne_bytes(data.get(..8)?.try_into().ok()?);
    let nanos = i64::from_ne_bytes(data.get(8..16)?.try_into().ok()?);
    let whole = u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?;
    Some(Timestamp::from_unix_nanos(
        whole.checked_add(u64::try_from(nanos).ok()?)?,
    ))
}
