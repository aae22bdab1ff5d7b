//! What the peer's end of the wire saw, by the kernel's own stamps: every SYN and SYN-ACK.
//!
//! From it come lateness and the network's true round trip, measured in the same way for
//! everybody, whatever they say of themselves.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pnwatch_core::time::Timestamp;
use pnwatch_prober::engine::socket::{open_packets, receive_stamped};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use socket2::SockFilter;

use super::wire::{DEVICE, End, Wire};

/// One handshake as seen at the peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handshake {
    /// When its SYN came.
    pub(super) syn: Timestamp,
    /// From SYN to SYN-ACK: the peer's own time.
    pub(super) answered: Option<Duration>,
}

/// By (address, port) of the target, in the order of their SYNs.
pub(super) type Handshakes = BTreeMap<(Ipv4Addr, u16), Vec<Handshake>>;

/// Watches until it is told to stop.
pub(super) struct Stamps {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<anyhow::Result<Handshakes>>,
}

impl Stamps {
    pub(super) fn start(wire: &Wire) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = wire.inside(End::Far, move || watch(&stopped));
        Self { stop, thread }
    }

    /// What was seen.
    pub(super) fn stop(self) -> anyhow::Result<Handshakes> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join();
        seen.map_err(|_| anyhow::anyhow!("the watcher of the wire panicked"))?
    }
}

/// TCP over IPv4 with the SYN bit, in both directions (bpf(4) classic form).
fn syn_only() -> [SockFilter; 8] {
    let step = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    let (load_half, load_byte) = (
        libc::BPF_LD | libc::BPF_H | libc::BPF_ABS,
        libc::BPF_LD | libc::BPF_B | libc::BPF_ABS,
    );
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let set = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    [
        step(load_half, 0, 0, 12),
        step(equal, 0, 5, libc::ETH_P_IP as u32),
        step(load_byte, 0, 0, 23),
        step(equal, 0, 3, libc::IPPROTO_TCP as u32),
        // Linux sends no IP options here: the flags are at 14 + 20 + 13.
        step(load_byte, 0, 0, 47),
        step(set, 0, 1, 0x02),
        step(give, 0, 0, 96),
        step(give, 0, 0, 0),
    ]
}

fn watch(stop: &AtomicBool) -> anyhow::Result<Handshakes> {
    let asking = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let index = rustix::net::netdevice::name_to_index(&asking, DEVICE)?;
    let socket = open_packets(index, libc::ETH_P_ALL as u16, &syn_only())?;
    socket.set_recv_buffer_size(16 << 20)?;
    let mut seen = Handshakes::new();
    let mut buffer = [0u8; 128];
    while !stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(&socket, PollFlags::IN)];
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        poll(&mut ready, Some(&wait))?;
        while let Ok((length, stamp)) = receive_stamped(&socket, &mut buffer) {
            if let Some(stamp) = stamp {
                note(&mut seen, &buffer[..length.min(128)], stamp);
            }
        }
    }
    Ok(seen)
}

fn note(seen: &mut Handshakes, frame: &[u8], stamp: Timestamp) {
    let Some(packet) = frame.get(14..).filter(|p| p.len() >= 34) else {
        return;
    };
    let address =
        |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let flags = packet[33];
    match (flags & 0x02 != 0, flags & 0x10 != 0) {
        (true, false) => {
            let list = seen.entry((address(16), port(22))).or_default();
            list.push(Handshake {
                syn: stamp,
                answered: None,
            });
        }
        (true, true) => {
            let last = seen
                .get_mut(&(address(12), port(20)))
                .and_then(|l| l.last_mut());
            if let Some(last) = last.filter(|last| last.answered.is_none()) {
                last.answered = Some(stamp.since(last.syn));
            }
        }
        _ => {}
    }
}

/// How late each check was against the grid of its own target: the earliest is on time. What else
/// dials the target (`/ready`, the read of many segments) has a grid of its own: of each slot the
/// nearest dial counts.
pub(super) fn lateness(seen: &Handshakes, every: Duration) -> Vec<Duration> {
    let every = i64::try_from(every.as_nanos()).unwrap_or(i64::MAX).max(1);
    let mut late = Vec::new();
    for list in seen.values().filter(|list| list.len() > 1) {
        let start = list[0].syn;
        let at: Vec<i64> = list
            .iter()
            .map(|h| i64::try_from(h.syn.since(start).as_nanos()).unwrap_or(i64::MAX))
            .collect();
        // Signed distance from `from` to the nearest slot of a grid through `to`.
        let off = |from: i64, to: i64| {
            let past = (from - to).rem_euclid(every);
            if past > every / 2 { past - every } else { past }
        };
        // The dial that most others share their grid with.
        let far = |to: &&i64| at.iter().map(|from| off(*from, **to).abs()).sum::<i64>();
        let Some(grid) = at.iter().min_by_key(far).copied() else {
            continue;
        };
        let mut slots: BTreeMap<i64, i64> = BTreeMap::new();
        for from in &at {
            let off = off(*from, grid);
            let nearest = slots.entry((from - off - grid) / every).or_insert(off);
            if off.abs() < nearest.abs() {
                *nearest = off;
            }
        }
        let first = slots.values().copied().min().unwrap_or(0);
        late.extend(
            slots
                .values()
                .map(|at| Duration::from_nanos((at - first).unsigned_abs())),
        );
    }
    late.sort_unstable();
    late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_counted_from_the_earliest() {
        let at = |ms: u64| Handshake {
            syn: Timestamp::from_unix_nanos(1_000_000_000_000 + ms * 1_000_000),
            answered: None,
        };
        let mut seen = Handshakes::new();
        seen.insert(
            (Ipv4Addr::LOCALHOST, 1),
            vec![at(7), at(1000), at(2003), at(4010)],
        );
        let late = lateness(&seen, Duration::from_secs(1));
        let ms: Vec<u128> = late.iter().map(Duration::as_millis).collect();
        assert_eq!(ms, [0, 3, 7, 10]);
        // Two more dials in between are no checks.
        seen.insert(
            (Ipv4Addr::LOCALHOST, 1),
            vec![at(7), at(600), at(1000), at(1610), at(2003), at(4010)],
        );
        assert_eq!(lateness(&seen, Duration::from_secs(1)), late);
    }
}
