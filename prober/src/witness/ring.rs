//! A packet socket whose packets the kernel puts into a ring of shared memory (packet(7),
//! `TPACKET_V3`), behind a classic BPF filter: what is not counted costs a few instructions in
//! the kernel, what is counted no system call of its own.

#![allow(
    unsafe_code,
    reason = "a ring of shared memory with the kernel, and structures of packet(7)"
)]

use core::mem::size_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering, fence};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use pnwatch_core::link::Mac;
use pnwatch_core::time::Timestamp;
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use crate::engine::privilege::with_net_raw;

/// One block: 372 handshake packets of a snap length, or some hundred milliseconds of 10,000 a
/// second in all.
const BLOCK: usize = 64 * 1024;
/// 1 MiB in all.
const BLOCKS: usize = 16;
/// A block that is not full is handed over after this, milliseconds.
const RETIRE_MS: u32 = 100;
/// Bytes kept of a TCP or ARP packet: the longest IP header and the ports and flags behind it.
const SNAP_TCP: u32 = 80;
/// Bytes kept of a DHCP message: up to its type, which stands first or nearly so.
const SNAP_DHCP: u32 = 400;

/// One packet, from its network header on.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its Ethernet type (`ETH_P_IP`, `ETH_P_ARP`).
    pub protocol: u16,
    /// When the kernel took it.
    pub at: Timestamp,
    /// What was kept of it.
    pub bytes: &'a [u8],
}

/// See the [module](self).
#[derive(Debug)]
pub struct Ring {
    socket: Socket,
    map: NonNull<u8>,
    next: usize,
    index: i32,
}

// SAFETY: the mapping belongs to this value alone; all access is by `&mut self`.
unsafe impl Send for Ring {}

impl Ring {
    /// Opens it on the device with this interface index. Needs `CAP_NET_RAW`.
    pub fn open(index: u32) -> io::Result<Self> {
        let index = i32::try_from(index).map_err(io::Error::other)?;
        let cooked = Type::DGRAM.nonblocking().cloexec();
        // Protocol 0 receives nothing until filter and ring are in place.
        let socket = with_net_raw(|| Socket::new(Domain::PACKET, cooked, Some(0.into())))?;
        socket.attach_filter(&filter())?;
        set(
            &socket,
            libc::PACKET_VERSION,
            &libc::tpacket_versions::TPACKET_V3,
        )?;
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK as u32,
            tp_block_nr: BLOCKS as u32,
            // Blocks are filled without frames of fixed size; the sizes must agree all the same.
            tp_frame_size: 2048,
            tp_frame_nr: (BLOCK / 2048 * BLOCKS) as u32,
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a fresh shared mapping of the socket's ring, of exactly its size; unmapped on drop.
        let map = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                BLOCK * BLOCKS,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let map = NonNull::new(map.cast()).ok_or_else(io::Error::last_os_error)?;
        let ring = Self {
            socket,
            map,
            next: 0,
            index,
        };
        // Outgoing packets are shown to sockets of every protocol only (dev_queue_xmit_nit).
        ring.socket
            .bind(&address(index, libc::ETH_P_ALL as u16, None))?;
        Ok(ring)
    }

    /// Shows every packet of the blocks that the kernel has handed over, at most one round of
    /// the ring, and gives the blocks back.
    pub fn walk(&mut self, mut each: impl FnMut(Frame<'_>)) {
        for _ in 0..BLOCKS {
            // SAFETY: `next` is below BLOCKS, so the block lies inside the mapping.
            let base = unsafe { self.map.as_ptr().add(self.next * BLOCK) };
            // SAFETY: the status word is the kernel's and ours in turn, aligned, and inside the
            // block (struct tpacket_block_desc: version, offset_to_priv, then block_status).
            #[expect(clippy::cast_ptr_alignment, reason = "blocks begin at page boundaries")]
            let status = unsafe { &*base.add(8).cast::<AtomicU32>() };
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return;
            }
            // SAFETY: the block is ours until its status is given back; it lies in the mapping.
            let block = unsafe { core::slice::from_raw_parts(base, BLOCK) };
            show(block, &mut each);
            fence(Ordering::SeqCst);
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % BLOCKS;
        }
    }

    /// How many packets the kernel dropped since the last call, the ring being full.
    pub fn dropped(&self) -> u64 {
        let mut statistics = [0u32; 3];
        let mut length = size_of::<[u32; 3]>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes (struct tpacket_stats_v3).
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                statistics.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result < 0 { 0 } else { statistics[1].into() }
    }

    /// Sends an ARP packet to everybody.
    pub fn send_arp(&self, packet: &[u8]) -> io::Result<()> {
        let to = address(self.index, libc::ETH_P_ARP as u16, Some(Mac([0xff; 6])));
        self.socket.send_to(packet, &to).map(drop)
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped in `open` with this size, and used by nobody any more.
        unsafe {
            libc::munmap(self.map.as_ptr().cast(), BLOCK * BLOCKS);
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_ne_bytes(word)).ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(
        bytes.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

/// Walks one block (`tpacket_hdr_v1`, then a `tpacket3_hdr` with a `sockaddr_ll` for each packet).
fn show(block: &[u8], each: &mut impl FnMut(Frame<'_>)) -> Option<()> {
    let packets = u32_at(block, 12)?;
    let mut at = u32_at(block, 16)?;
    for _ in 0..packets {
        let header = block.get(at..)?;
        let (seconds, nanos) = (u32_at(header, 4)?, u32_at(header, 8)?);
        let (snapped, network) = (u32_at(header, 12)?, usize::from(u16_at(header, 26)?));
        // The address stands behind the 48 bytes of the header: family, then protocol.
        let protocol = u16::from_be(u16_at(header, 50)?);
        let end = network.checked_add(snapped)?;
        // A loopback device shows each packet twice: as it leaves and as it arrives.
        let loops = u16_at(header, 56)? == libc::ARPHRD_LOOPBACK;
        let leaves = *header.get(58)? == libc::PACKET_OUTGOING;
        if !(loops && leaves) {
            each(Frame {
                protocol,
                at: Timestamp::from_unix_nanos(
                    (seconds as u64)
                        .saturating_mul(1_000_000_000)
                        .saturating_add(nanos as u64),
                ),
                bytes: header.get(network..end)?,
            });
        }
        at = at.checked_add(u32_at(header, 0)?)?;
    }
    Some(())
}

fn set<T>(socket: &Socket, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: `value` outlives the call and has the stated size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            core::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn address(index: i32, protocol: u16, to: Option<Mac>) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is a socket address type and fits sockaddr_storage.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = protocol.to_be();
    link.sll_ifindex = index;
    if let Some(Mac(octets)) = to {
        link.sll_halen = 6;
        link.sll_addr[..6].copy_from_slice(&octets);
    }
    // SAFETY: the storage was filled as a sockaddr_ll of exactly this length.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

/// ARP, TCP with SYN, UDP to 67 or 68; from the network header on, first fragments alone
/// (bpf(4) classic form; `SKF_AD_PROTOCOL` is the Ethernet type, linux/filter.h).
fn filter() -> [SockFilter; 18] {
    let step = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    let (byte, half) = (libc::BPF_LD | libc::BPF_B, libc::BPF_LD | libc::BPF_H);
    let (absolute, behind_header) = (libc::BPF_ABS, libc::BPF_IND);
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let any = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    let header_length = libc::BPF_LDX | libc::BPF_MSH | libc::BPF_B;
    let ethernet_type = (-0x1000_i32) as u32;
    [
        step(half | absolute, 0, 0, ethernet_type),
        step(equal, 13, 0, libc::ETH_P_ARP as u32),
        step(equal, 0, 14, libc::ETH_P_IP as u32),
        // 3: a later fragment has no ports.
        step(half | absolute, 0, 0, 6),
        step(any, 12, 0, 0x1fff),
        step(header_length, 0, 0, 0),
        step(byte | absolute, 0, 0, 9),
        step(equal, 0, 3, libc::IPPROTO_TCP as u32),
        // 8: SYN, and neither FIN nor RST.
        step(byte | behind_header, 0, 0, 13),
        step(any, 0, 7, 0x02),
        step(any, 6, 4, 0x05),
        // 11: to a DHCP server or client.
        step(equal, 0, 5, libc::IPPROTO_UDP as u32),
        step(half | behind_header, 0, 0, 2),
        step(equal, 2, 0, 67),
        step(equal, 1, 2, 68),
        // 15 keeps TCP and ARP, 16 DHCP, 17 nothing.
        step(give, 0, 0, SNAP_TCP),
        step(give, 0, 0, SNAP_DHCP),
        step(give, 0, 0, 0),
    ]
}
