//! What changed since the last save, as bytes that a database can keep; and back.

use super::key::SeriesKey;
use super::ring::{RingId, Slot};

/// Most bytes of one slot row that are accepted back.
pub const MAX_ROW: usize = 1 << 20;

/// One slot of one ring, with every series that counted something in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRow {
    /// Which ring.
    pub ring: RingId,
    /// Slot index: Unix seconds by the length of a slot.
    pub index: u64,
    /// Series and counts.
    pub data: Vec<u8>,
}

/// What changed since the last save.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// New series by number.
    pub series: Vec<(u32, SeriesKey)>,
    /// Changed slots.
    pub slots: Vec<SlotRow>,
    /// Slots with a lower index need not be kept, per ring.
    pub oldest: [u64; 3],
}

/// Why what was stored cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A row does not decode.
    #[error("slot {index} of ring {ring:?} does not decode")]
    Row {
        /// Which ring.
        ring: RingId,
        /// Which slot.
        index: u64,
    },
    /// Series numbers have a gap, or one series is stored twice.
    #[error("series {0} is stored out of order")]
    Numbering(u32),
    /// There are more series than are kept.
    #[error("more than {} series are stored", super::MAX_SERIES)]
    TooMany,
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Series in rising order: distance to the last number, a bit per field that is not zero,
/// those fields. LEB128 throughout.
pub(super) fn encode<'s>(slots: impl Iterator<Item = (u32, &'s Slot)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = 0;
    for (series, slot) in slots {
        let mask = slot.iter().enumerate().fold(0_u64, |mask, (n, value)| {
            mask | (u64::from(*value > 0) << n)
        });
        if mask == 0 {
            continue;
        }
        write(&mut bytes, u64::from(series.saturating_sub(last)));
        write(&mut bytes, mask);
        for value in slot.iter().filter(|value| **value > 0) {
            write(&mut bytes, u64::from(*value));
        }
        last = series;
    }
    bytes
}

/// Reads what [`encode`] wrote; total.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<(u32, Slot)>> {
    if bytes.len() > MAX_ROW {
        return None;
    }
    let mut slots = Vec::new();
    let mut last = 0_u32;
    while !bytes.is_empty() {
        let step = u32::try_from(read(&mut bytes)?).ok()?;
        last = last.checked_add(step)?;
        let mask = read(&mut bytes)?;
        if mask == 0 || mask >> 5 != 0 {
            return None;
        }
        let mut slot = Slot::default();
        for (n, value) in slot.iter_mut().enumerate() {
            if mask >> n & 1 == 1 {
                *value = u32::try_from(read(&mut bytes)?).ok()?;
            }
        }
        slots.push((last, slot));
    }
    Some(slots)
}
