//! The prober's own counters: they travel in its reports, and stand on its own page. Pure,
//! but for [`Usage::read`].

use core::fmt::Write as _;
use core::time::Duration;

use pnwatch_core::outcome::Outcome;
use pnwatch_core::wire::Counter;

use crate::relay::RelayState;
use crate::rounds::LATE;

/// Names of [`LATE`]: a name holds no digits.
const LATER_THAN: [&str; LATE.len()] = [
    "checks_late_tick_total",
    "checks_late_fifty_ms_total",
    "checks_late_fifth_second_total",
    "checks_late_second_total",
];

/// What the prober says of itself.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Checks handed to the engine.
    pub checks: u64,
    /// Slots that passed without a check.
    pub missed_slots: u64,
    /// Checks that were later than each bound of [`crate::rounds::LATE`].
    pub later_than: [u64; LATE.len()],
    /// Latest slot of the last minute.
    pub late: Duration,
    /// Reports that were not accepted.
    pub report_failures: u64,
    /// Reports that were.
    pub reports: u64,
    /// Outcomes given up for want of room.
    pub outcomes_dropped: u64,
    /// Checks under way.
    pub in_flight: usize,
    /// Checks that are scheduled.
    pub scheduled: usize,
    /// Whether ARP can be sent; `None` where it was never tried.
    pub arp_available: Option<bool>,
    /// Times the machine slept.
    pub suspends: u64,
    /// Times the wall clock was set.
    pub clock_steps: u64,
    /// What the process uses.
    pub usage: Usage,
    /// How the relay is, where there is one.
    pub relay: Option<RelayState>,
    /// Jobs that could use the endpoint that they were handed.
    pub handed_reached: u64,
    /// Jobs that could not.
    pub handed_unreached: u64,
    /// Jobs that could not tell.
    pub handed_unmeasured: u64,
    /// Jobs whose endpoint is in no plan: nobody checks it, or it is another one's.
    pub handed_unknown: u64,
}

/// What the process uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// User and system time.
    pub cpu: Duration,
}

impl Usage {
    /// Reads it from the kernel (memory by [`crate::os`], `CLOCK_PROCESS_CPUTIME_ID`).
    pub fn read() -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let seconds = Duration::from_secs(cpu.tv_sec.try_into().unwrap_or(0));
        Self {
            rss_bytes: crate::os::resident_bytes(),
            cpu: seconds + Duration::from_nanos(cpu.tv_nsec.try_into().unwrap_or(0)),
        }
    }
}

impl Counters {
    /// A job told what came of its endpoint, and whether the plan knows it.
    pub fn handed(&mut self, outcome: Outcome, known: bool) {
        let count = match outcome {
            Outcome::Reached => &mut self.handed_reached,
            Outcome::Unreached(_) => &mut self.handed_unreached,
            Outcome::Unmeasured(_) | Outcome::NotApplicable => &mut self.handed_unmeasured,
        };
        *count = count.saturating_add(1);
        self.handed_unknown = self.handed_unknown.saturating_add(u64::from(!known));
    }

    /// What the relay counts, where there is one.
    fn relay(&self) -> Vec<(&'static str, f64)> {
        let Some(relay) = self.relay else {
            return Vec::new();
        };
        let flag = |on: bool| f64::from(u8::from(on));
        vec![
            ("relay_open", flag(relay.open)),
            ("relay_vms", relay.vms as f64),
            ("relay_slots_shared", flag(relay.shared)),
            ("relay_refused_total", relay.refused as f64),
            ("relay_dropped_total", relay.dropped as f64),
            ("relay_parsers_ended_total", relay.parsers_ended as f64),
            ("job_endpoint_reached_total", self.handed_reached as f64),
            ("job_endpoint_unreached_total", self.handed_unreached as f64),
            (
                "job_endpoint_unmeasured_total",
                self.handed_unmeasured as f64,
            ),
            ("job_endpoint_unknown_total", self.handed_unknown as f64),
        ]
    }

    /// As they travel.
    pub fn wire(&self) -> Vec<Counter> {
        let mut counters = vec![
            ("checks_total", self.checks as f64),
            ("missed_slots_total", self.missed_slots as f64),
            ("lateness_max_ms", self.late.as_secs_f64() * 1e3),
            ("report_failures_total", self.report_failures as f64),
            ("reports_total", self.reports as f64),
            ("outcomes_dropped_total", self.outcomes_dropped as f64),
            ("in_flight", self.in_flight as f64),
            ("scheduled", self.scheduled as f64),
            ("suspends_total", self.suspends as f64),
            ("clock_steps_total", self.clock_steps as f64),
            ("resident_memory_bytes", self.usage.rss_bytes as f64),
            ("cpu_seconds_total", self.usage.cpu.as_secs_f64()),
        ];
        let later = LATER_THAN.into_iter().zip(self.later_than);
        counters.extend(later.map(|(name, count)| (name, count as f64)));
        if let Some(available) = self.arp_available {
            counters.push(("arp_available", f64::from(u8::from(available))));
        }
        counters.extend(self.relay());
        counters
            .into_iter()
            .map(|(name, value)| Counter {
                name: name.to_owned(),
                value,
            })
            .collect()
    }

    /// As text for Prometheus (text format 0.0.4).
    pub fn text(&self) -> String {
        self.wire().iter().fold(String::new(), |mut text, counter| {
            let kind = if counter.name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            let name = &counter.name;
            let value = counter.value;
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "# TYPE pnwatch_prober_{name} {kind}\npnwatch_prober_{name} {value}\n"
            );
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_and_shown() {
        let counters = Counters {
            checks: 7,
            arp_available: Some(true),
            usage: Usage::read(),
            ..Counters::default()
        };
        assert!(counters.usage.rss_bytes > 1 << 20);
        let text = counters.text();
        assert!(text.contains(
            "# TYPE pnwatch_prober_checks_total counter\npnwatch_prober_checks_total 7\n"
        ));
        assert!(text.contains("pnwatch_prober_arp_available 1\n"));
        for counter in counters.wire() {
            assert!(counter.name.len() <= 64);
            assert!(
                counter
                    .name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
        }
    }
}
