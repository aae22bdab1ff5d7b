//! Byte counters of network devices, once a second, with the peaks of trailing windows.
//!
//! A ten-second burst vanishes in a scrape every 30 s and a `rate[5m]`; a one-second maximum
//! does not. [`Peaks`] is pure; the counters come from [`crate::os`].

#[cfg(target_os = "linux")]
pub mod sysfs;

use core::time::Duration;
use std::collections::VecDeque;

use pnwatch_core::bandwidth::Detector;
use pnwatch_core::time::Tick;
use pnwatch_core::wire::{DeviceReport, Peak};

/// The trailing windows in seconds.
pub const WINDOWS: [u32; 3] = [15, 30, 60];

/// How often the default route is looked up.
const ROUTE_EVERY: Duration = Duration::from_secs(10);

/// The counters of one device at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Tick,
    /// Bytes received.
    pub receive: u64,
    /// Bytes sent.
    pub transmit: u64,
}

/// One-second throughputs of the last minute.
#[derive(Debug, Default)]
pub struct Peaks {
    last: Option<Sample>,
    /// (end, receive, transmit) in bytes per second.
    rates: VecDeque<(Tick, u64, u64)>,
    received: Detector,
    sent: Detector,
}

impl Peaks {
    /// Takes a sample in. Counters that went back belong to a new device: no rate.
    pub fn observe(&mut self, sample: Sample) {
        let longest = Duration::from_secs(WINDOWS.iter().copied().max().unwrap_or(60).into());
        while self
            .rates
            .front()
            .is_some_and(|(at, ..)| sample.at.since(*at) >= longest)
        {
            self.rates.pop_front();
        }
        let last = self.last.replace(sample);
        let Some(last) = last.filter(|last| last.at < sample.at) else {
            return;
        };
        let seconds = sample.at.since(last.at).as_secs_f64();
        let rate = |old: u64, new: u64| Some((new.checked_sub(old)? as f64 / seconds) as u64);
        if let (Some(receive), Some(transmit)) = (
            rate(last.receive, sample.receive),
            rate(last.transmit, sample.transmit),
        ) {
            self.rates.push_back((sample.at, receive, transmit));
            self.received.observe(sample.at, receive);
            self.sent.observe(sample.at, transmit);
        } else {
            self.received.reset();
            self.sent.reset();
        }
    }

    /// The highest rates of each window as of `now`.
    pub fn peaks(&self, now: Tick) -> Vec<Peak> {
        let of = |window: u32| {
            let span = Duration::from_secs(window.into());
            let inside = self.rates.iter().filter(|(at, ..)| now.since(*at) < span);
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

/// The counters of one device as the system gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceCounters {
    /// Bytes received since the device exists.
    pub receive: u64,
    /// Bytes sent since the device exists.
    pub transmit: u64,
    /// Packets dropped on receive.
    pub receive_drops: u64,
    /// Packets dropped on transmit.
    pub transmit_drops: u64,
    /// Link speed in bits per second, where the driver tells.
    pub speed_bps: Option<u64>,
}

/// The devices of one vantage, sampled by [`Devices::sample`] once a second.
#[derive(Debug)]
pub struct Devices {
    pn: String,
    pn_peaks: Peaks,
    public: Option<(String, Peaks)>,
    /// When the default route was last looked up.
    looked: Option<Tick>,
}

impl Devices {
    /// Nothing sampled yet.
    pub fn new(pn: &str) -> Self {
        Self {
            pn: pn.to_owned(),
            pn_peaks: Peaks::default(),
            public: None,
            looked: None,
        }
    }

    /// Reads the counters.
    pub fn sample(&mut self, now: Tick) -> Vec<DeviceReport> {
        let mut reports = Vec::new();
        reports.extend(observed(&self.pn, "pn", &mut self.pn_peaks, now));
        // It moves with a cable or a VPN, and asking is a command on some systems.
        if self.looked.is_none_or(|at| now.since(at) >= ROUTE_EVERY) {
            self.looked = Some(now);
            let device = crate::os::default_route_device().filter(|device| *device != self.pn);
            if self.public.as_ref().map(|(name, _)| name) != device.as_ref() {
                self.public = device.map(|name| (name, Peaks::default()));
            }
        }
        if let Some((name, peaks)) = &mut self.public {
            reports.extend(observed(name, "public", peaks, now));
        }
        reports
    }
}

fn observed(device: &str, plane: &str, peaks: &mut Peaks, now: Tick) -> Option<DeviceReport> {
    let counters = crate::os::device_counters(device)?;
    peaks.observe(Sample {
        at: now,
        receive: counters.receive,
        transmit: counters.transmit,
    });
    Some(DeviceReport {
        device: device.to_owned(),
        plane: plane.to_owned(),
        receive_bytes: counters.receive,
        transmit_bytes: counters.transmit,
        receive_drops: counters.receive_drops,
        transmit_drops: counters.transmit_drops,
        speed_bps: counters.speed_bps,
        transmit_plateau: peaks.sent.plateau(now),
        receive_plateau: peaks.received.plateau(now),
        peaks: peaks.peaks(now),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64, receive: u64) -> Sample {
        Sample {
            at: Tick::from_millis(second * 1000),
            receive,
            transmit: 0,
        }
    }

    #[test]
    fn a_burst_stays_in_its_windows() {
        let mut peaks = Peaks::default();
        let mut total = 0;
        for second in 0..100 {
            total += if second == 40 { 5_000 } else { 100 };
            peaks.observe(sample(second, total));
        }
        let at = |second: u64| -> Vec<u64> {
            let now = Tick::from_millis(second * 1000);
            peaks.peaks(now).iter().map(|p| p.receive).collect()
        };
        assert_eq!(at(99), [100, 100, 5_000]);
        assert!(peaks.rates.len() <= 60);
    }

    #[test]
    fn a_device_that_was_made_anew_shows_no_rate() {
        let mut peaks = Peaks::default();
        for (second, total) in [(1, 1_000_000), (2, 10), (3, 30)] {
            peaks.observe(sample(second, total));
        }
        assert_eq!(peaks.peaks(Tick::from_millis(3000))[0].receive, 20);
    }
}
