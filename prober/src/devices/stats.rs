//! All devices' counters by one question to the kernel (rtnetlink(7), `RTM_GETSTATS`): 50
//! devices cost one dump instead of 250 files.
//!
//! What comes is read with checks at every step; a message that does not read is left out.

use std::io::{self, Read as _};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::counted::{DeviceCounters, Reading};

/// `linux/rtnetlink.h`.
const RTM_NEWSTATS: u16 = 92;
const RTM_GETSTATS: u16 = 94;
/// `linux/if_link.h`: the counters of 64 bits.
const IFLA_STATS_LINK_64: u16 = 1;
/// Longest that the kernel may take: it holds its lock while a driver is slow.
const PATIENCE: Duration = Duration::from_millis(500);
/// What the kernel sends at once in a dump (`linux/netlink.h`: `NLMSG_GOODSIZE` and above).
const BUFFER: usize = 32 << 10;
/// Bytes of `nlmsghdr` and of `if_stats_msg`.
const HEADER: usize = 16;
const STATS_HEADER: usize = 12;

/// Asks the kernel; keeps its socket.
#[derive(Debug, Default)]
pub struct Reader {
    socket: Option<Socket>,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Reader {
    /// The counters of every device, and the indexes of those that are named, in their order;
    /// `None` = there is no device of that name.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or does not answer in time; the next reading asks on a new socket.
    pub fn read(&mut self, names: &[&str]) -> io::Result<(Reading, Vec<Option<u32>>)> {
        let read = self.ask(names);
        if read.is_err() {
            self.socket = None;
        }
        read
    }

    fn ask(&mut self, names: &[&str]) -> io::Result<(Reading, Vec<Option<u32>>)> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open()?,
        };
        self.sequence = self.sequence.wrapping_add(1);
        socket.send(&question(self.sequence))?;
        self.buffer.resize(BUFFER, 0);
        let mut reading = Reading::new();
        loop {
            let length = (&socket).read(&mut self.buffer)?;
            let answer = self.buffer.get(..length).unwrap_or_default();
            if take(answer, self.sequence, &mut reading)? {
                break;
            }
        }
        let index = |name: &&str| rustix::net::netdevice::name_to_index(&socket, name).ok();
        let indexes = names.iter().map(index).collect();
        self.socket = Some(socket);
        Ok((reading, indexes))
    }
}

fn open() -> io::Result<Socket> {
    let route = Protocol::from(libc::NETLINK_ROUTE);
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(route))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn question(sequence: u32) -> Vec<u8> {
    let length = (HEADER + STATS_HEADER) as u32;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut message = Vec::with_capacity(HEADER + STATS_HEADER);
    message.extend(length.to_ne_bytes());
    message.extend(RTM_GETSTATS.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    // The kernel's own port; family, padding and index: all devices.
    message.extend([0; 4 + 8]);
    message.extend((1u32 << (IFLA_STATS_LINK_64 - 1)).to_ne_bytes());
    message
}

/// Takes the messages of one answer in; `true` = it was the last.
fn take(mut answer: &[u8], sequence: u32, reading: &mut Reading) -> io::Result<bool> {
    while let Some(length) = u32_at(answer, 0).map(|length| length as usize) {
        let Some(message) = answer.get(..length).filter(|m| m.len() >= HEADER) else {
            break;
        };
        // An answer to a question before, that came too late.
        let is_ours = u32_at(message, 8) == Some(sequence);
        match u16_at(message, 4).filter(|_| is_ours).map(i32::from) {
            Some(libc::NLMSG_DONE) => return Ok(true),
            Some(libc::NLMSG_ERROR) => {
                let code = u32_at(message, HEADER).unwrap_or(0).cast_signed();
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            Some(kind) if kind == i32::from(RTM_NEWSTATS) => {
                if let Some((index, counters)) = stats(message) {
                    reading.insert(index, counters);
                }
            }
            _ => {}
        }
        answer = answer.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

/// Index and counters of one `RTM_NEWSTATS`.
fn stats(message: &[u8]) -> Option<(u32, DeviceCounters)> {
    let index = u32_at(message, HEADER + 4)?;
    let mut rest = message.get(HEADER + STATS_HEADER..)?;
    loop {
        let length = usize::from(u16_at(rest, 0)?);
        let attribute = rest.get(4..length)?;
        if u16_at(rest, 2)? == IFLA_STATS_LINK_64 {
            return Some((index, counters(attribute)?));
        }
        rest = rest.get(aligned(length)..)?;
    }
}

/// `rtnl_link_stats64`: packets, bytes, errors and drops, received before sent.
fn counters(stats: &[u8]) -> Option<DeviceCounters> {
    let number = |n: usize| {
        let bytes = stats.get(n * 8..n * 8 + 8)?;
        bytes.try_into().ok().map(u64::from_ne_bytes)
    };
    Some(DeviceCounters {
        receive_packets: number(0)?,
        transmit_packets: number(1)?,
        receive: number(2)?,
        transmit: number(3)?,
        receive_errors: number(4)?,
        transmit_errors: number(5)?,
        receive_drops: number(6)?,
        transmit_drops: number(7)?,
    })
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernel_tells_of_every_device() {
        let mut reader = Reader::default();
        let (first, indexes) = reader.read(&["lo", "no-such-device"]).unwrap();
        assert_eq!(indexes.len(), 2);
        let (lo, none) = (indexes[0].unwrap(), indexes[1]);
        assert_eq!(none, None);
        assert!(first.contains_key(&lo));
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(&[0; 1_000], peer.local_addr().unwrap())
            .unwrap();
        let (second, _) = reader.read(&[]).unwrap();
        let went = second[&lo].receive - first[&lo].receive;
        assert!(went >= 1_000, "{went}");
        assert!(second[&lo].receive_packets > first[&lo].receive_packets);
    }

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend([0; 2]);
        message.extend(sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        message
    }

    #[test]
    fn a_refusal_and_a_late_answer_are_told_apart() {
        let mut reading = Reading::new();
        let error = message(2, 5, &(-95i32).to_ne_bytes());
        assert!(!take(&error, 6, &mut reading).unwrap());
        let refused = take(&error, 5, &mut reading).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(95));
        assert!(take(&message(3, 5, &[0; 4]), 5, &mut reading).unwrap());
        // A length of 0 ends the answer instead of going round for ever.
        assert!(!take(&[0; 64], 5, &mut reading).unwrap());
        assert!(reading.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), ours in any::<bool>()) {
            if ours && bytes.len() >= HEADER {
                let length = bytes.len() as u32;
                bytes[..4].copy_from_slice(&length.to_ne_bytes());
                bytes[4..6].copy_from_slice(&RTM_NEWSTATS.to_ne_bytes());
                bytes[8..12].copy_from_slice(&7u32.to_ne_bytes());
            }
            let _ = take(&bytes, 7, &mut Reading::new());
        }
    }
}
