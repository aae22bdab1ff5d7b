//! The one-second throughputs of one device: peaks of trailing windows, flat levels, and seconds
//! by their throughput. Pure.

use core::time::Duration;
use std::collections::VecDeque;

use pnwatch_core::bandwidth::{Detector, Throughput};
use pnwatch_core::time::Tick;
use pnwatch_core::wire::{DeviceReport, Peak};

use super::counted::Passed;

/// The trailing windows in seconds.
pub const WINDOWS: [u32; 3] = [15, 30, 60];

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Meter {
    /// (end, receive, transmit) in bytes per second, of the longest window.
    rates: VecDeque<(Tick, u64, u64)>,
    received: Direction,
    sent: Direction,
}

/// What is kept of one direction.
#[derive(Debug, Default)]
struct Direction {
    detector: Detector,
    throughput: Throughput,
}

impl Direction {
    /// Takes in what went in the time that ended at `now`; returns bytes per second.
    fn observe(&mut self, now: Tick, bytes: u64, within: Duration) -> u64 {
        let seconds = within.as_secs_f64();
        let rate = (bytes as f64 / seconds) as u64;
        self.detector.observe(now, rate);
        self.throughput.observe(bytes, seconds);
        rate
    }
}

impl Meter {
    /// Takes in what went over the device in the time that ended at `now`; `None` = nobody can
    /// say. A device that was made anew begins without a level that it could be held down at.
    pub fn observe(&mut self, now: Tick, passed: Option<Passed>) {
        let longest = Duration::from_secs(WINDOWS.iter().copied().max().unwrap_or(60).into());
        while self
            .rates
            .front()
            .is_some_and(|(at, ..)| now.since(*at) >= longest)
        {
            self.rates.pop_front();
        }
        if passed.is_none_or(|passed| passed.anew) {
            self.received.detector.reset();
            self.sent.detector.reset();
        }
        if let Some(passed) = passed {
            let receive = self.received.observe(now, passed.receive, passed.within);
            let transmit = self.sent.observe(now, passed.transmit, passed.within);
            self.rates.push_back((now, receive, transmit));
        }
    }

    /// What is told of it, beside its counters.
    pub fn report(&self, now: Tick) -> DeviceReport {
        let seen = |direction: &Direction| {
            let throughput = direction.throughput.clone();
            throughput.is_readable().then_some(throughput)
        };
        DeviceReport {
            transmit_plateau: self.sent.detector.plateau(now),
            receive_plateau: self.received.detector.plateau(now),
            peaks: self.peaks(now),
            receive_throughput: seen(&self.received),
            transmit_throughput: seen(&self.sent),
            ..DeviceReport::default()
        }
    }

    /// The highest rates of each window as of `now`.
    fn peaks(&self, now: Tick) -> Vec<Peak> {
        let of = |window: u32| {
            let span = Duration::from_secs(window.into());
            // The newest are at the end.
            let inside = self.rates.iter().rev();
            let inside = inside.take_while(|(at, ..)| now.since(*at) < span);
            let start = Peak {
                window_s: window,
                receive: 0,
                transmit: 0,
            };
            inside.fold(start, |peak, (_, receive, transmit)| Peak {
                receive: peak.receive.max(*receive),
                transmit: peak.transmit.max(*transmit),
                ..peak
            })
        };
        WINDOWS.map(of).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(receive: u64, anew: bool) -> Passed {
        Passed {
            receive,
            transmit: 0,
            within: Duration::from_secs(1),
            anew,
        }
    }

    fn at(second: u64) -> Tick {
        Tick::from_millis(second * 1_000)
    }

    #[test]
    fn a_burst_stays_in_its_windows() {
        let mut meter = Meter::default();
        for second in 0..100 {
            let bytes = if second == 40 { 5_000_000 } else { 100 };
            meter.observe(at(second), Some(passed(bytes, false)));
        }
        let told: Vec<u64> = meter.peaks(at(99)).iter().map(|p| p.receive).collect();
        assert_eq!(told, [100, 100, 5_000_000]);
        assert!(meter.rates.len() <= 60);
        let seconds = meter.report(at(99)).receive_throughput.unwrap();
        assert_eq!((seconds.seconds[0], seconds.seconds[1]), (99, 1));
        assert_eq!(seconds.bytes, 5_000_000 + 99 * 100);
    }

    #[test]
    fn a_device_that_nobody_measured_yet_tells_no_seconds() {
        let mut meter = Meter::default();
        meter.observe(at(1), None);
        let report = meter.report(at(1));
        assert_eq!(report.receive_throughput, None);
        assert_eq!(report.peaks[0].receive, 0);
    }

    /// Slower after it was made anew is no step down to a level.
    #[test]
    fn a_level_does_not_outlive_its_device() {
        let run = |anew_at: u64| {
            let mut meter = Meter::default();
            for second in 0..30 {
                let bytes = if second < 10 { 100_000_000 } else { 25_000_000 };
                meter.observe(at(second), Some(passed(bytes, second == anew_at)));
            }
            meter.report(at(29)).receive_plateau.map(|p| p.level)
        };
        assert_eq!(run(99), Some(25_000_000));
        assert_eq!(run(10), None);
    }
}
