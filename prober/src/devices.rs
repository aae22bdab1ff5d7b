//! Byte counters of network devices, once a second, with the peaks of trailing windows.
//!
//! A ten-second burst vanishes in a scrape every 30 s and a `rate[5m]`; a one-second maximum
//! does not. [`Peaks`] is pure; [`read`] takes sysfs' word (sysfs-class-net-statistics).

use core::time::Duration;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use pnwatch_core::bandwidth::Detector;
use pnwatch_core::time::Tick;
use pnwatch_core::wire::{DeviceReport, Peak};

/// The trailing windows in seconds.
pub const WINDOWS: [u32; 3] = [15, 30, 60];

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

/// The counters of `device` without peaks; `None` while it does not exist.
pub fn read(device: &str, plane: &str) -> Option<DeviceReport> {
    let base = Path::new("/sys/class/net").join(device);
    let number = |name: &str| {
        let text = fs::read_to_string(base.join("statistics").join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    // Virtual devices say -1, or nothing while the link is down.
    let megabits = fs::read_to_string(base.join("speed")).ok();
    let megabits = megabits.and_then(|text| text.trim().parse::<u64>().ok());
    Some(DeviceReport {
        device: device.to_owned(),
        plane: plane.to_owned(),
        receive_bytes: number("rx_bytes")?,
        transmit_bytes: number("tx_bytes")?,
        receive_drops: number("rx_dropped").unwrap_or(0),
        transmit_drops: number("tx_dropped").unwrap_or(0),
        speed_bps: megabits
            .filter(|m| *m > 0 && *m < 1_000_000)
            .map(|m| m * 1_000_000),
        transmit_plateau: None,
        receive_plateau: None,
        peaks: Vec::new(),
    })
}

/// The device of the default route, which carries everything but the PN (`proc_pid_net(5)`).
pub fn default_route_device() -> Option<String> {
    parse_default_route(&fs::read_to_string("/proc/net/route").ok()?)
}

fn parse_default_route(table: &str) -> Option<String> {
    table.lines().skip(1).take(10_000).find_map(|line| {
        let mut fields = line.split_whitespace();
        let device = fields.next()?;
        let destination = fields.next()?;
        let mask = fields.nth(5)?;
        (destination == "00000000" && mask == "00000000").then(|| device.to_owned())
    })
}

/// The devices of one vantage, sampled by [`Devices::sample`] once a second.
#[derive(Debug)]
pub struct Devices {
    pn: String,
    pn_peaks: Peaks,
    public: Option<(String, Peaks)>,
}

impl Devices {
    /// Nothing sampled yet.
    pub fn new(pn: &str) -> Self {
        Self {
            pn: pn.to_owned(),
            pn_peaks: Peaks::default(),
            public: None,
        }
    }

    /// Reads the counters.
    pub fn sample(&mut self, now: Tick) -> Vec<DeviceReport> {
        let mut reports = Vec::new();
        reports.extend(observed(&self.pn, "pn", &mut self.pn_peaks, now));
        let device = default_route_device().filter(|device| *device != self.pn);
        if self.public.as_ref().map(|(name, _)| name) != device.as_ref() {
            self.public = device.map(|name| (name, Peaks::default()));
        }
        if let Some((name, peaks)) = &mut self.public {
            reports.extend(observed(name, "public", peaks, now));
        }
        reports
    }
}

fn observed(device: &str, plane: &str, peaks: &mut Peaks, now: Tick) -> Option<DeviceReport> {
    let mut report = read(device, plane)?;
    peaks.observe(Sample {
        at: now,
        receive: report.receive_bytes,
        transmit: report.transmit_bytes,
    });
    report.peaks = peaks.peaks(now);
    report.transmit_plateau = peaks.sent.plateau(now);
    report.receive_plateau = peaks.received.plateau(now);
    Some(report)
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

    #[test]
    fn the_default_route_is_found_or_not() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
            pn0\t000010AC\t00000000\t0001\t0\t0\t0\t00FCFFFF\t0\t0\t0\n\
            eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(parse_default_route(table).as_deref(), Some("eth0"));
        for table in ["", "Iface\n", "x\ny z\n", "a\n\n\n"] {
            assert_eq!(parse_default_route(table), None);
        }
    }

    #[test]
    fn loopback_has_counters() {
        let report = read("lo", "pn").unwrap();
        assert_eq!((report.device.as_str(), report.speed_bps), ("lo", None));
        assert_eq!(read("no-such-device", "pn"), None);
    }
}
