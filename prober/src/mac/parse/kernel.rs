//! Structures of macOS' kernel, read from bytes: BPF records, `tcp_connection_info`, and a
//! boot's name.

use core::time::Duration;

use pnwatch_core::time::Timestamp;

/// One captured frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The frame, as far as it was captured.
    pub frame: &'a [u8],
    /// When the kernel took it in.
    pub stamp: Option<Timestamp>,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// The records of one read from a BPF device (bpf(4)): `struct bpf_hdr` with a 32-bit time, each
/// record aligned to 4 bytes (`BPF_WORDALIGN`). Ends at the first that does not fit.
pub fn records(buffer: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = buffer;
    core::iter::from_fn(move || {
        let (seconds, micros) = (word(rest, 0)?, word(rest, 4)?);
        let captured = usize::try_from(word(rest, 8)?).ok()?;
        let header = rest.get(16..18)?;
        let header = usize::from(u16::from_ne_bytes(header.try_into().ok()?));
        // Shorter than its own fields: not a header, and maybe no progress.
        if header < 18 {
            return None;
        }
        let end = header.checked_add(captured)?;
        let frame = rest.get(header..end)?;
        let next = end.checked_next_multiple_of(4)?;
        rest = rest.get(next..).unwrap_or_default();
        let nanos = u64::from(seconds) * 1_000_000_000 + u64::from(micros) * 1000;
        let stamp = (micros < 1_000_000).then(|| Timestamp::from_unix_nanos(nanos));
        Some(Record { frame, stamp })
    })
}

/// The smoothed round trip of `struct tcp_connection_info` (netinet/tcp.h): `tcpi_srtt` in
/// milliseconds at offset 44. Zero until the first measurement.
pub fn connection_rtt(info: &[u8]) -> Option<Duration> {
    Some(Duration::from_millis(word(info, 44)?.into()))
}

/// The name of the machine's boot, of `sysctl -n kern.bootsessionuuid`.
pub fn boot_session(text: &str) -> Option<String> {
    let id = text.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    ((8..=64).contains(&id.len()) && id.bytes().all(plain)).then(|| id.to_owned())
}
