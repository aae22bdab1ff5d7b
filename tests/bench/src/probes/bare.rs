//! The bare loop: what the same checks cost as system calls and nothing else.
//!
//! One thread, one check after another, blocking, each at its slot: sleep, socket, connect, send,
//! read to the end, close; for ARP send and receive on one packet socket. It measures nothing,
//! reports nothing and follows nothing. Whoever does, costs more.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use pnwatch_core::link::Mac;
use pnwatch_prober::engine::frame::{FRAME, reply, request};
use pnwatch_prober::engine::socket::open_arp;
use rustix::time::{ClockId, Timespec, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

use super::wire::{DEVICE, End, MAC, NEAR, Wire};

/// What the loop does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// TCP handshake and `GET /up` on it.
    Http,
    /// ARP request and reply.
    Arp,
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    /// Checks that were answered.
    pub(super) checks: u64,
    /// Slots that had passed when their turn came.
    pub(super) missed: u64,
    /// CPU of the thread, user and system.
    pub(super) cpu: Duration,
}

/// Checks `targets` in turn, one each `every`, for `lasting`.
pub(super) fn run(
    wire: &Wire,
    kind: Kind,
    targets: Vec<(Ipv4Addr, u16)>,
    (every, lasting): (Duration, Duration),
) -> anyhow::Result<Done> {
    let thread = wire.inside(End::Near, move || {
        let slots = lasting.as_nanos() / every.as_nanos().max(1);
        let mut packets = match kind {
            Kind::Arp => Some(Packets::open()?),
            Kind::Http => None,
        };
        let mut done = Done {
            checks: 0,
            missed: 0,
            cpu: Duration::ZERO,
        };
        let (cpu, start) = (clock(ClockId::ThreadCPUTime), clock(ClockId::Monotonic));
        let mut slot = 0u128;
        while slot < slots {
            let at = start + every * u32::try_from(slot).unwrap_or(u32::MAX);
            let now = clock(ClockId::Monotonic);
            if now < at {
                std::thread::sleep(at.saturating_sub(now));
            } else {
                // As a schedule does: what has passed is missed, the newest is made.
                let late = now.saturating_sub(at).as_nanos() / every.as_nanos().max(1);
                done.missed += late as u64;
                slot += late;
            }
            let (address, port) = targets[usize::try_from(slot).unwrap_or(0) % targets.len()];
            let answered = match &mut packets {
                None => http(address, port).is_ok(),
                Some(packets) => packets.ask(address).is_ok(),
            };
            done.checks += u64::from(answered);
            slot += 1;
        }
        done.cpu = clock(ClockId::ThreadCPUTime).saturating_sub(cpu);
        Ok(done)
    });
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("the bare loop panicked"))?
}

fn clock(id: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
    Duration::new(
        tv_sec.try_into().unwrap_or(0),
        tv_nsec.try_into().unwrap_or(0),
    )
}

fn http(address: Ipv4Addr, port: u16) -> std::io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect(&SocketAddr::from((address, port)).into())?;
    socket.send(b"GET /up HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0u8; 4096];
    let mut length = 0;
    loop {
        match std::io::Read::read(&mut &socket, &mut answer[length..])? {
            0 => break,
            count => length += count,
        }
    }
    if answer.starts_with(b"HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(std::io::ErrorKind::InvalidData.into())
    }
}

struct Packets {
    socket: Socket,
    own: Mac,
}

impl Packets {
    fn open() -> anyhow::Result<Self> {
        let asking = std::net::UdpSocket::bind("127.0.0.1:0")?;
        let index = rustix::net::netdevice::name_to_index(&asking, DEVICE)?;
        let socket = open_arp(index)?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(Duration::from_millis(300)))?;
        let own = MAC.parse()?;
        Ok(Self { socket, own })
    }

    fn ask(&mut self, target: Ipv4Addr) -> std::io::Result<()> {
        let mut frame = [0u8; FRAME];
        request(&mut frame, self.own, NEAR, target, None);
        self.socket.send(&frame)?;
        let mut buffer = [0u8; 128];
        loop {
            let length = std::io::Read::read(&mut &self.socket, &mut buffer)?;
            if reply(&buffer[..length]).is_some_and(|r| r.address == target) {
                return Ok(());
            }
        }
    }
}
