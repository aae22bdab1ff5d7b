//! How much went over a device between two readings, whatever became of it in between. Pure.
//!
//! A device is known by its index, not by its name: renamed, it is still the same one and its
//! counters go on; made anew it has another index, and everything that it has counted went over
//! it since the last reading. What is lost are the bytes between the last reading and the end of
//! the old device, which nobody could see.

use core::time::Duration;
use std::collections::BTreeMap;

use pnwatch_core::time::Tick;

/// What a device has counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceCounters {
    /// Bytes received.
    pub receive: u64,
    /// Bytes sent.
    pub transmit: u64,
    /// Packets received.
    pub receive_packets: u64,
    /// Packets sent.
    pub transmit_packets: u64,
    /// Packets dropped on receive.
    pub receive_drops: u64,
    /// Packets dropped on transmit.
    pub transmit_drops: u64,
    /// Packets that came broken.
    pub receive_errors: u64,
    /// Packets that could not be sent for an error of the link.
    pub transmit_errors: u64,
}

/// One reading: every device that could be read, by its index.
pub type Reading = BTreeMap<u32, DeviceCounters>;

/// What went over a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Passed {
    /// Bytes received.
    pub receive: u64,
    /// Bytes sent.
    pub transmit: u64,
    /// In what time.
    pub within: Duration,
    /// The device, or its counting, began anew in that time.
    pub anew: bool,
}

/// Above this many bytes per second a counter that was never seen before was not counted here:
/// a device that comes from another network namespace brings its counters along.
const FASTEST: f64 = 50e9;
/// How long a device that is gone is remembered: a reading may miss one, and it may come back.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Most devices that are remembered.
const MOST: usize = 4096;

/// The last reading of every device.
#[derive(Debug, Default)]
pub struct Odometer {
    read_at: Option<Tick>,
    counted: BTreeMap<u32, (Tick, DeviceCounters)>,
}

impl Odometer {
    /// What went over the device `index`, which has counted `stands`, since it was last read;
    /// `None` = nobody can say. `speed` in bits per second, where it is known.
    pub fn passed(
        &self,
        index: u32,
        stands: &DeviceCounters,
        speed: Option<u64>,
        now: Tick,
    ) -> Option<Passed> {
        let known = self.counted.get(&index);
        let since = known.map(|(at, _)| *at).or(self.read_at)?;
        let within = now.since(since);
        if within.is_zero() {
            return None;
        }
        let whole = Passed {
            receive: stands.receive,
            transmit: stands.transmit,
            within,
            anew: true,
        };
        let Some((_, stood)) = known else {
            let most = speed.map_or(FASTEST, |bits| bits as f64 / 8.0) * 1.1;
            let rate = stands.receive.max(stands.transmit) as f64 / within.as_secs_f64();
            return (rate <= most).then_some(whole);
        };
        let receive = Way {
            bytes: (stood.receive, stands.receive),
            packets: (stood.receive_packets, stands.receive_packets),
        };
        let transmit = Way {
            bytes: (stood.transmit, stands.transmit),
            packets: (stood.transmit_packets, stands.transmit_packets),
        };
        if receive.began_anew() || transmit.began_anew() {
            return Some(whole);
        }
        Some(Passed {
            receive: receive.passed()?,
            transmit: transmit.passed()?,
            within,
            anew: false,
        })
    }

    /// Takes a reading in.
    pub fn turn(&mut self, now: Tick, reading: &Reading) {
        self.read_at = Some(now);
        self.counted
            .retain(|_, (at, _)| now.since(*at) < REMEMBERED);
        for (index, counters) in reading {
            if self.counted.len() < MOST || self.counted.contains_key(index) {
                self.counted.insert(*index, (now, *counters));
            }
        }
    }
}

/// One direction, before and now.
struct Way {
    bytes: (u64, u64),
    packets: (u64, u64),
}

impl Way {
    /// Bytes and packets went back together: they are counted from 0 again.
    fn began_anew(&self) -> bool {
        self.bytes.1 < self.bytes.0 && self.packets.1 < self.packets.0
    }

    /// Bytes alone went back: a counter of 32 bits ran over. A longer one was set right by its
    /// driver, and says nothing.
    fn passed(&self) -> Option<u64> {
        let (before, now) = self.bytes;
        if now >= before {
            return Some(now - before);
        }
        let range = 1u64 << 32;
        (before < range).then(|| now + range - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counters(receive: u64, receive_packets: u64) -> DeviceCounters {
        DeviceCounters {
            receive,
            receive_packets,
            ..DeviceCounters::default()
        }
    }

    fn at(second: u64) -> Tick {
        Tick::from_millis(second * 1_000)
    }

    fn after(readings: &[(u64, Reading)]) -> Odometer {
        let mut odometer = Odometer::default();
        for (second, reading) in readings {
            odometer.turn(at(*second), reading);
        }
        odometer
    }

    #[test]
    fn only_bytes_that_nobody_could_see_are_lost() {
        let eth = (7, counters(5_000_000_000, 4_000_000));
        let before = [(1, Reading::from([eth, (9, counters(1_000, 10))]))];
        // (what became of it, index and counters a second later, bytes told, began anew)
        for (what, index, stands, told) in [
            ("it went on", 9, counters(1_700, 12), Some((700, false))),
            ("nothing went", 9, counters(1_000, 10), Some((0, false))),
            (
                "made anew, with another index",
                10,
                counters(600, 5),
                Some((600, true)),
            ),
            (
                "made anew, busier than the old one ever was",
                10,
                counters(9_000, 90),
                Some((9_000, true)),
            ),
            (
                "made anew with the same index",
                9,
                counters(300, 2),
                Some((300, true)),
            ),
            (
                "its counters were set to 0",
                9,
                counters(0, 0),
                Some((0, true)),
            ),
            (
                "the other device took its name",
                7,
                counters(5_000_000_800, 4_000_001),
                Some((800, false)),
            ),
            (
                "brought along from another namespace",
                11,
                counters(1 << 40, 1 << 20),
                None,
            ),
        ] {
            let passed = after(&before).passed(index, &stands, None, at(2));
            let found = passed.map(|p| (p.receive, p.anew));
            assert_eq!(found, told, "{what}");
            assert!(passed.is_none_or(|p| p.within == Duration::from_secs(1)));
        }
    }

    #[test]
    fn a_counter_of_32_bits_runs_over() {
        let full = u64::from(u32::MAX) - 99;
        let before = [(1, Reading::from([(9, counters(full, 10))]))];
        let passed = after(&before).passed(9, &counters(400, 15), None, at(2));
        assert_eq!(passed.map(|p| (p.receive, p.anew)), Some((500, false)));
        // The same counters with packets that went back as well are another device's.
        let passed = after(&before).passed(9, &counters(400, 3), None, at(2));
        assert_eq!(passed.map(|p| (p.receive, p.anew)), Some((400, true)));
        // A longer counter does not run over.
        let before = [(1, Reading::from([(9, counters(1 << 40, 10))]))];
        assert_eq!(
            after(&before).passed(9, &counters(400, 15), None, at(2)),
            None
        );
    }

    #[test]
    fn what_was_there_before_the_first_reading_is_not_counted() {
        let odometer = Odometer::default();
        assert_eq!(odometer.passed(9, &counters(500, 5), None, at(1)), None);
        let odometer = after(&[(1, Reading::from([(9, counters(500, 5))]))]);
        // Twice within one moment.
        assert_eq!(odometer.passed(9, &counters(500, 5), None, at(1)), None);
    }

    #[test]
    fn a_device_that_was_gone_for_a_while_counts_on() {
        let seen = Reading::from([(9, counters(1_000, 10))]);
        let gone = [(1, seen), (2, Reading::new()), (3, Reading::new())];
        let passed = after(&gone).passed(9, &counters(1_300, 11), None, at(4));
        let passed = passed.unwrap();
        assert_eq!(
            (passed.receive, passed.within),
            (300, Duration::from_secs(3))
        );
        // Made while nobody was there: a second is all that it can have had.
        let passed = after(&gone).passed(10, &counters(1_300, 11), None, at(4));
        assert_eq!(passed.unwrap().within, Duration::from_secs(1));
    }

    #[test]
    fn a_device_is_no_faster_than_its_link() {
        let odometer = after(&[(1, Reading::new())]);
        let gigabit = Some(1_000_000_000);
        let full = counters(125_000_000, 90_000);
        assert!(odometer.passed(9, &full, gigabit, at(2)).is_some());
        let more = counters(160_000_000, 90_000);
        assert!(odometer.passed(9, &more, gigabit, at(2)).is_none());
        assert!(odometer.passed(9, &more, None, at(2)).is_some());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_remembered_is_bounded(
            readings in prop::collection::vec(prop::collection::btree_map(any::<u32>(), any::<[u64; 4]>(), 0..20), 0..20),
            step in 0u64..100_000,
        ) {
            let mut odometer = Odometer::default();
            for (turn, reading) in readings.iter().enumerate() {
                let now = Tick::from_millis(turn as u64 * step);
                let reading: Reading = reading
                    .iter()
                    .map(|(index, [receive, transmit, receive_packets, transmit_packets])| {
                        (index % 8, DeviceCounters {
                            receive: *receive,
                            transmit: *transmit,
                            receive_packets: *receive_packets,
                            transmit_packets: *transmit_packets,
                            ..DeviceCounters::default()
                        })
                    })
                    .collect();
                for (index, counters) in &reading {
                    let _ = odometer.passed(*index, counters, None, now);
                }
                odometer.turn(now, &reading);
                prop_assert!(odometer.counted.len() <= 8);
            }
        }
    }
}
