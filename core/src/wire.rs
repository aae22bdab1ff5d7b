//! Wire v1: what a prober tells an exporter (JSON, gzip), bounded and total.
//!
//! Times are ages in microseconds at the moment of sending, so that no two clocks are ever
//! compared. Unknown fields are ignored; unknown outcomes read as `Unmeasured(Unrecognised)`.

use serde::{Deserialize, Serialize};

use crate::bandwidth::{Plateau, Throughput};
use crate::link::{LinkFacts, Mac};
use crate::name::{Cluster, Slot, Vantage};
use crate::outcome::{Layer, Outcome};
use crate::plan::PlanId;
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::witness::{LargeRead, MAX_CLAIMS, MAX_FLOWS, WitnessReport};

/// Version of the report format.
pub const REPORT_VERSION: u32 = 1;
/// Most bytes of a report after decompression.
pub const MAX_REPORT_BYTES: usize = 4 << 20;
/// Most bytes of a report as sent.
pub const MAX_REPORT_BODY: usize = 1 << 20;
/// Most paths in one report.
pub const MAX_PATHS: usize = 150_000;
/// Most runs per path in one report.
pub const MAX_RUNS: usize = 256;
/// Most round-trip samples per run.
pub const MAX_SAMPLES: usize = 64;
/// Most buckets of a histogram of throughput in a report.
pub const MAX_BUCKETS: usize = 32;
/// Most devices in a report.
pub const MAX_DEVICES: usize = 64;
/// Most VMs of one host in one report.
pub const MAX_VMS: usize = 8;
/// Most paths of one VM in one report.
pub const MAX_VM_PATHS: usize = 256;
/// Most counters in one report.
pub const MAX_COUNTERS: usize = 512;

/// One report of one vantage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Format version.
    pub version: u32,
    /// Which network.
    pub cluster: Cluster,
    /// Who reports.
    pub vantage: Vantage,
    /// Changes with every start of the prober: sequence numbers count within it.
    pub boot_id: String,
    /// Counts up by one per report.
    pub seq: u64,
    /// The plan that was followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// The sender's wall clock, told and never trusted.
    pub sent_at: Timestamp,
    /// The prober is going away on purpose; its silence is expected.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stopping: bool,
    /// Evidence from before this boot, or spooled for too long: counted, never judged by.
    #[serde(default, skip_serializing_if = "is_false")]
    pub history: bool,
    /// Evidence that is newer by seconds waits behind this: counted and remembered, judged by
    /// once the rest has come. What it tells may be over already.
    #[serde(default, skip_serializing_if = "is_false")]
    pub behind: bool,
    /// What the checks saw since the last report.
    #[serde(default)]
    pub paths: Vec<PathReport>,
    /// The vantage's own PN leg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkReport>,
    /// What `/ready` said, where it was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<ReadyReport>,
    /// The prober's own counters (`pnwatch_prober_*`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<Counter>,
    /// Byte counters and peaks of network devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceReport>,
    /// What the machine's own packet socket and kernel tables say (nodes and hosts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<WitnessReport>,
    /// Reads of many segments since the last report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub large: Vec<LargeRead>,
    /// What the VMs of a host told its relay. VMs hold no credential and never report by
    /// themselves: the host that stamps them with their slot vouches for nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vms: Vec<VmReport>,
}

/// What one VM told its host's relay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmReport {
    /// Where it runs, stamped by the host. A slot outlives its VMs.
    pub slot: Slot,
    /// Changes with every VM in the slot, given by the host: what an earlier one saw is no
    /// evidence about this one.
    pub boot_id: String,
    /// It said that it ends.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stopping: bool,
    /// What its checks saw since the host's last report.
    #[serde(default)]
    pub paths: Vec<PathReport>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What one path saw, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathReport {
    /// What the checks were about.
    pub subject: Subject,
    /// The layer they exercised.
    pub layer: Layer,
    /// Runs of equal outcomes, oldest first.
    pub runs: Vec<Run>,
    /// The MAC that answered last (ARP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
}

/// Consecutive checks with the same outcome. Ages are of the checks' *starts*.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What they saw.
    pub outcome: Outcome,
    /// How many.
    pub count: u32,
    /// Age of the first start, microseconds.
    pub first_age_us: u64,
    /// Age of the last start, microseconds; at most `first_age_us`.
    pub last_age_us: u64,
    /// Round trips by the program's clock, microseconds, at most [`MAX_SAMPLES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rtt_us: Vec<u32>,
    /// Round trips by the kernel's clock (`tcpi_rtt`, tcp(7)), microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_rtt_us: Vec<u32>,
}

/// The vantage's own PN leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkReport {
    /// The facts now.
    pub facts: LinkFacts,
    /// For how long they have held, microseconds.
    pub held_us: u64,
}

/// What `/ready` said of an account target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyReport {
    /// The account target.
    pub subject: Subject,
    /// Whether it said ready.
    pub ready: bool,
    /// Whether it said draining.
    pub draining: bool,
    /// Age of the answer, microseconds.
    pub age_us: u64,
}

/// One of the prober's own counters or gauges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counter {
    /// Name without the prefix `pnwatch_prober_`; `[a-z_]`, at most 64 bytes.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// One network device's counters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Device name.
    pub device: String,
    /// `pn`, `public` (the default route's device), `parent` (what the PN device lies on, where
    /// that is not the public one) or `other` (named by `probe.devices`).
    pub plane: String,
    /// Bytes received since the device exists.
    pub receive_bytes: u64,
    /// Bytes sent since the device exists.
    pub transmit_bytes: u64,
    /// Packets dropped on receive.
    #[serde(default)]
    pub receive_drops: u64,
    /// Packets dropped on transmit.
    #[serde(default)]
    pub transmit_drops: u64,
    /// Packets that came broken.
    #[serde(default)]
    pub receive_errors: u64,
    /// Packets that could not be sent for an error of the link.
    #[serde(default)]
    pub transmit_errors: u64,
    /// Link speed in bits per second, where the driver tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_bps: Option<u64>,
    /// A flat level of what is sent that followed a burst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit_plateau: Option<Plateau>,
    /// The same of what is received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_plateau: Option<Plateau>,
    /// Highest one-second throughput per trailing window, bytes per second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peaks: Vec<Peak>,
    /// Seconds by what was received in them, since the prober began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_throughput: Option<Throughput>,
    /// The same of what was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit_throughput: Option<Throughput>,
}

/// The highest one-second throughput of a trailing window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Window in seconds: 15, 30 or 60.
    pub window_s: u32,
    /// Received, bytes per second.
    pub receive: u64,
    /// Sent, bytes per second.
    pub transmit: u64,
}

/// Why a report is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Not JSON of this shape.
    #[error("the report is not valid: {0}")]
    Json(String),
    /// Another format version.
    #[error(
        "the report has version {0}, this exporter reads version {REPORT_VERSION}; update the older side"
    )]
    Version(u32),
    /// A list is longer than its bound.
    #[error("{field} has {count} entries, at most {bound} are accepted")]
    TooMany {
        /// Which list.
        field: &'static str,
        /// How many came.
        count: usize,
        /// How many are accepted.
        bound: usize,
    },
    /// A text is longer than its bound or has forbidden characters.
    #[error("{field} is not acceptable: {text:?}")]
    Text {
        /// Which field.
        field: &'static str,
        /// The start of it.
        text: String,
    },
    /// `last_age_us` above `first_age_us`, or a count of zero.
    #[error(
        "a run of {subject} contradicts itself: count, first_age_us and last_age_us must agree"
    )]
    Run {
        /// Of which path.
        subject: String,
    },
}

impl Report {
    /// Reads and checks a report. Total: every input gives a report or an error.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReportError> {
        let report: Self = serde_json::from_slice(bytes)
            .map_err(|e| ReportError::Json(e.to_string().chars().take(200).collect()))?;
        report.check()?;
        Ok(report)
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        // Plain strings, numbers and lists always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The reports of the VMs in a host's report, each as if it had come by itself. A VM speaks
    /// of account targets and its control alone; anything else is left out.
    pub fn vm_reports(&self) -> impl Iterator<Item = Self> + '_ {
        let host = match &self.vantage {
            Vantage::Host(host) => Some(host),
            Vantage::Node(_) | Vantage::Vm(..) => None,
        };
        let vms = host.into_iter().flat_map(|host| {
            let stamped = self.vms.iter();
            stamped.map(move |vm| (Vantage::Vm(host.clone(), vm.slot.clone()), vm))
        });
        vms.map(|(vantage, vm)| Self {
            version: self.version,
            cluster: self.cluster.clone(),
            vantage,
            boot_id: vm.boot_id.clone(),
            seq: self.seq,
            plan_id: self.plan_id.clone(),
            sent_at: self.sent_at,
            stopping: vm.stopping,
            history: self.history,
            behind: self.behind,
            paths: vm.paths.iter().filter(|p| may_tell(p)).cloned().collect(),
            link: None,
            ready: Vec::new(),
            counters: Vec::new(),
            devices: Vec::new(),
            witness: None,
            large: Vec::new(),
            vms: Vec::new(),
        })
    }

    fn check(&self) -> Result<(), ReportError> {
        if self.version != REPORT_VERSION {
            return Err(ReportError::Version(self.version));
        }
        bound("paths", self.paths.len(), MAX_PATHS)?;
        bound("ready", self.ready.len(), MAX_PATHS)?;
        bound("counters", self.counters.len(), MAX_COUNTERS)?;
        bound("devices", self.devices.len(), MAX_DEVICES)?;
        bound("large", self.large.len(), MAX_PATHS)?;
        if let Some(witness) = &self.witness {
            bound("witness.flows", witness.flows.len(), MAX_FLOWS)?;
            bound("witness.claims", witness.claims.len(), MAX_CLAIMS)?;
        }
        boot_id("boot_id", &self.boot_id)?;
        bound("vms", self.vms.len(), MAX_VMS)?;
        for vm in &self.vms {
            boot_id("vms.boot_id", &vm.boot_id)?;
            bound("vms.paths", vm.paths.len(), MAX_VM_PATHS)?;
        }
        let of_vms = self.vms.iter().flat_map(|vm| &vm.paths);
        self.paths.iter().chain(of_vms).try_for_each(check_path)?;
        for counter in &self.counters {
            text("counters.name", &counter.name, 64, |c| {
                c.is_ascii_lowercase() || c == '_'
            })?;
        }
        for device in &self.devices {
            text("devices.device", &device.device, 16, device_character)?;
            text("devices.plane", &device.plane, 16, |c| {
                c.is_ascii_lowercase()
            })?;
            bound("devices.peaks", device.peaks.len(), 8)?;
            let throughputs = [&device.receive_throughput, &device.transmit_throughput];
            for seen in throughputs.into_iter().flatten() {
                bound("devices.throughput", seen.seconds.len(), MAX_BUCKETS)?;
            }
        }
        if let Some(link) = &self.link {
            text(
                "link.facts.device",
                &link.facts.device,
                16,
                device_character,
            )?;
            bound(
                "link.facts.addresses",
                link.facts.addresses.len(),
                crate::link::MAX_ADDRESSES,
            )?;
            if let Some(device) = link.facts.route.as_ref().and_then(|r| r.device.as_ref()) {
                text("link.facts.route.device", device, 16, device_character)?;
            }
            if let Some(filter) = &link.facts.filter {
                bound(
                    "link.facts.filter.ports",
                    filter.ports.len(),
                    crate::filter::MAX_PORT_SPANS,
                )?;
                if let Some(device) = &filter.nat_device {
                    text("link.facts.filter.nat_device", device, 16, device_character)?;
                }
            }
        }
        Ok(())
    }
}

/// What a VM can know of: it has no ARP, no names, and no neighbours.
fn may_tell(path: &PathReport) -> bool {
    match path.subject {
        Subject::Account(..) => matches!(path.layer, Layer::Tcp | Layer::Http),
        Subject::Control => path.layer == Layer::Control,
        Subject::Node(_) | Subject::Neighbour(_) => false,
    }
}

fn boot_id(field: &'static str, value: &str) -> Result<(), ReportError> {
    text(field, value, 64, |c| c.is_ascii_alphanumeric() || c == '-')
}

fn check_path(path: &PathReport) -> Result<(), ReportError> {
    bound("runs", path.runs.len(), MAX_RUNS)?;
    for run in &path.runs {
        bound("rtt_us", run.rtt_us.len(), MAX_SAMPLES)?;
        bound("kernel_rtt_us", run.kernel_rtt_us.len(), MAX_SAMPLES)?;
        if run.count == 0 || run.last_age_us > run.first_age_us {
            return Err(ReportError::Run {
                subject: path.subject.to_string(),
            });
        }
    }
    Ok(())
}

fn device_character(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '/' | '<' | '>' | '&' | '`' | '$')
}

fn bound(field: &'static str, count: usize, bound: usize) -> Result<(), ReportError> {
    if count > bound {
        return Err(ReportError::TooMany {
            field,
            count,
            bound,
        });
    }
    Ok(())
}

fn text(
    field: &'static str,
    value: &str,
    longest: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<(), ReportError> {
    if value.is_empty() || value.len() > longest || !value.chars().all(allowed) {
        return Err(ReportError::Text {
            field,
            text: value.chars().take(32).collect(),
        });
    }
    Ok(())
}
