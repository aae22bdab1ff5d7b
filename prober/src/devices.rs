//! Byte counters of network devices, once a second, with the peaks of trailing windows.
//!
//! A ten-second burst vanishes in a scrape every 30 s and a `rate[5m]`; a one-second maximum
//! does not. What goes over a device between two readings is [`counted`], what is kept of it is
//! a [`meter`]: both pure. The counters come from [`crate::os`].
//! One task, [`follow`], cancel-safe: dropping it closes its socket.

pub mod counted;
pub mod meter;
#[cfg(target_os = "linux")]
pub mod stats;
#[cfg(target_os = "linux")]
pub mod sysfs;

use core::time::Duration;
use std::collections::BTreeMap;

use pnwatch_core::time::Tick;
use pnwatch_core::wire::{DeviceReport, MAX_DEVICES};
use pnwatch_edge::clock::SharedClock;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use counted::{DeviceCounters, Odometer};
use meter::Meter;

/// How often the counters are read.
const EVERY: Duration = Duration::from_secs(1);
/// How often the default route, parents and link speeds are looked up: they move with a cable or
/// a VPN, and asking is a command on some systems.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Samples for ever: the PN device, the device of the default route, what the PN device lies on,
/// and those that `also` names.
pub async fn follow(
    pn: String,
    also: Vec<String>,
    clock: SharedClock,
    tell: watch::Sender<Vec<DeviceReport>>,
) {
    let mut devices = Devices::new(&pn, &also);
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let now = clock.now().tick;
        // The kernel's lock, or a command: not on the threads that the checks run on.
        let sampled = tokio::task::spawn_blocking(move || {
            let reports = devices.sample(now);
            (devices, reports)
        });
        let Ok((again, reports)) = sampled.await else {
            return;
        };
        devices = again;
        tell.send_replace(reports);
    }
}

/// The devices of one vantage, sampled by [`Devices::sample`] once a second.
#[derive(Debug)]
pub struct Devices {
    pn: String,
    also: Vec<String>,
    reader: crate::os::DeviceReader,
    odometer: Odometer,
    watched: Vec<Watched>,
    /// When routes, parents and speeds were last looked up.
    looked: Option<Tick>,
    /// Whether the last reading failed, so that it is said once.
    failing: bool,
}

#[derive(Debug)]
struct Watched {
    name: String,
    plane: &'static str,
    speed_bps: Option<u64>,
    index: Option<u32>,
    meter: Meter,
}

impl Devices {
    /// Nothing sampled yet.
    pub fn new(pn: &str, also: &[String]) -> Self {
        Self {
            pn: pn.to_owned(),
            also: also.to_vec(),
            reader: crate::os::DeviceReader::default(),
            odometer: Odometer::default(),
            watched: Vec::new(),
            looked: None,
            failing: false,
        }
    }

    /// Reads the counters: a report of each device that exists.
    pub fn sample(&mut self, now: Tick) -> Vec<DeviceReport> {
        if self.looked.is_none_or(|at| now.since(at) >= LOOK_EVERY) {
            self.looked = Some(now);
            self.look();
        }
        let names: Vec<&str> = self.watched.iter().map(|w| w.name.as_str()).collect();
        let (reading, indexes) = match self.reader.read(&names) {
            Ok(read) => read,
            Err(error) => {
                if !self.failing {
                    tracing::warn!(%error, "the counters of the network devices cannot be read: bandwidth is not told until they can");
                }
                self.failing = true;
                return Vec::new();
            }
        };
        self.failing = false;
        let mut reports = Vec::new();
        for (watched, index) in self.watched.iter_mut().zip(indexes) {
            let counters = index.and_then(|index| Some((index, reading.get(&index)?)));
            if watched.index != index {
                // Another device: its speed may be another one too.
                self.looked = None;
                watched.index = index;
            }
            let Some((index, counters)) = counters else {
                watched.meter.observe(now, None);
                continue;
            };
            let speed = watched.speed_bps;
            let passed = self.odometer.passed(index, counters, speed, now);
            watched.meter.observe(now, passed);
            reports.push(watched.report(counters, now));
        }
        self.odometer.turn(now, &reading);
        reports
    }

    /// Which devices there are to watch now, and how fast they are.
    fn look(&mut self) {
        let mut before: BTreeMap<String, Watched> = self
            .watched
            .drain(..)
            .map(|watched| (watched.name.clone(), watched))
            .collect();
        for (name, plane) in chosen(
            &self.pn,
            crate::os::default_route_device(),
            crate::os::lower_devices(&self.pn),
            &self.also,
        ) {
            let speed_bps = crate::os::device_speed(&name);
            let held = before.remove(&name);
            let (index, meter) = held.map_or_else(Default::default, |w| (w.index, w.meter));
            self.watched.push(Watched {
                name,
                plane,
                speed_bps,
                index,
                meter,
            });
        }
    }
}

/// The devices to watch with their planes, each once.
fn chosen(
    pn: &str,
    public: Option<String>,
    parents: Vec<String>,
    also: &[String],
) -> Vec<(String, &'static str)> {
    let mut chosen = vec![(pn.to_owned(), "pn")];
    let public = public.into_iter().map(|name| (name, "public"));
    let parents = parents.into_iter().map(|name| (name, "parent"));
    let also = also.iter().map(|name| (name.clone(), "other"));
    for (name, plane) in public.chain(parents).chain(also) {
        if chosen.len() < MAX_DEVICES && chosen.iter().all(|(other, _)| *other != name) {
            chosen.push((name, plane));
        }
    }
    chosen
}

impl Watched {
    fn report(&self, counters: &DeviceCounters, now: Tick) -> DeviceReport {
        DeviceReport {
            device: self.name.clone(),
            plane: self.plane.to_owned(),
            receive_bytes: counters.receive,
            transmit_bytes: counters.transmit,
            receive_drops: counters.receive_drops,
            transmit_drops: counters.transmit_drops,
            receive_errors: counters.receive_errors,
            transmit_errors: counters.transmit_errors,
            speed_bps: self.speed_bps,
            ..self.meter.report(now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn every_device_is_watched_once() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        for (public, parents, also, expected) in [
            (None, vec![], vec![], "pn0 pn"),
            // A VLAN on the card that also carries the default route.
            (Some("eth0"), vec!["eth0"], vec![], "pn0 pn, eth0 public"),
            (
                Some("eth0"),
                vec!["eth1", "eth2"],
                vec!["eth1", "lxc1"],
                "pn0 pn, eth0 public, eth1 parent, eth2 parent, lxc1 other",
            ),
            (Some("pn0"), vec![], vec!["pn0"], "pn0 pn"),
        ] {
            let found = chosen(
                "pn0",
                public.map(str::to_owned),
                names(&parents),
                &names(&also),
            );
            let found: Vec<String> = found.iter().map(|(n, p)| format!("{n} {p}")).collect();
            assert_eq!(found.join(", "), expected);
        }
        let many: Vec<String> = (0..100).map(|n| format!("d{n}")).collect();
        assert_eq!(chosen("pn0", None, Vec::new(), &many).len(), 64);
    }
}
