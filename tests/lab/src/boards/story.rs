//! The states that the lab goes through while the boards are asked: well, without the node's
//! device, clamped while two accounts compete and frames are dropped, with a hung pod and a
//! silent host, with one replica gone, and well again.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::daemons::{Setup, exporter_name};
use crate::download::Download;
use crate::faults::bandwidth::{shape, unshape};
use crate::faults::{fault, path};
use crate::lab::Lab;
use crate::net::Namespace;
use crate::topology::{NODE, NODE_ADDRESS, NODE_DEVICE, PODS, host_address, host_vantage};
use crate::wait;

/// The cap of one account, Mbit/s: small, so that the machine is not what is in the way.
const CAP: u64 = 160;
/// The same for the exporters.
const LIMITS: &str = "  bandwidth: { account_cap: 160M }\n";
/// The level of the bucket before the node's PN device, Mbit/s.
const LEVEL: u64 = 96;
/// Five seconds of what both accounts ask above the level.
const BUCKET: &str = "95mb";
/// What both accounts ask on a usual day, and while they compete, Mbit/s. The first would take
/// more than its cap.
const USUAL: [u32; 2] = [48, 24];
const COMPETING: [u32; 2] = [240, 88];
/// An artifact of the pods.
const ARTIFACT: usize = 512 << 10;
/// A frame of so many bytes may leave the node but fits no port of the switch.
const OVERSIZE: usize = 1_560;
/// The greatest packet of the node's device while it sends such frames, and usually.
const MTU: (u32, u32) = (1_600, 1_500);
/// Between two of them.
const OVERSIZE_EVERY: Duration = Duration::from_millis(50);
/// The host that falls silent.
const SILENT: usize = 1;
/// By when a fault must be told, and by when all must have ended.
const TOLD: Duration = Duration::from_mins(1);
const ENDED: Duration = Duration::from_mins(2);
/// Scrapes until a rate has a whole window.
const SCRAPES: Duration = Duration::from_secs(25);

/// One state.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Its name.
    pub name: &'static str,
    /// What is so, for whoever looks at a picture of it.
    pub about: &'static str,
    /// Whether nothing is wrong in it.
    pub healthy: bool,
    /// Exporters that it needs.
    pub exporters: usize,
    /// Brings it about, stays in it for a phase, and leaves the lab in it.
    pub enter: fn(&mut Stage, &mut Lab, Duration) -> Result<()>,
    /// Undoes it.
    pub leave: fn(&mut Stage, &mut Lab) -> Result<()>,
}

/// All of them, in their order.
pub const STATES: [State; 6] = [
    State {
        name: "healthy",
        about: "two accounts send to builds at a usual pace",
        healthy: true,
        exporters: 1,
        enter: be_well,
        leave: nothing,
    },
    State {
        name: "outage",
        about: "the PN device of the first cache node is deleted (F1)",
        healthy: false,
        exporters: 1,
        enter: lose_device,
        leave: give_device_back,
    },
    State {
        name: "clamp",
        about: "both accounts ask for more, a token bucket of 12 MB/s lies before the node's PN \
                device (F25), and frames that the wire does not take are dropped",
        healthy: false,
        exporters: 1,
        enter: clamp,
        leave: unclamp,
    },
    State {
        name: "hung",
        about: "the first account's pod hangs (F17) and a host is silent (F8)",
        healthy: false,
        exporters: 1,
        enter: hang,
        leave: unhang,
    },
    State {
        name: "well-again",
        about: "everything is healed",
        healthy: true,
        exporters: 1,
        enter: be_well_again,
        leave: nothing,
    },
    State {
        name: "one-replica",
        about: "one of the two exporters is gone",
        healthy: true,
        exporters: 2,
        enter: lose_replica,
        leave: give_replica_back,
    },
];

/// What runs beside the lab.
#[derive(Debug, Default)]
pub struct Stage {
    downloads: Vec<Download>,
    oversize: Option<Oversize>,
}

impl Stage {
    /// Exporters that know the cap, every pod behind its own, and both accounts at their usual
    /// pace.
    pub fn set(lab: &mut Lab) -> Result<Self> {
        lab.set_up(Setup {
            serve: LIMITS.to_owned(),
            ..Setup::default()
        });
        lab.discover()?;
        for (index, pod) in lab.network.node.pods.iter().enumerate() {
            // What the bandwidth plugin does for a pod with an annotation.
            shape(pod, "eth0", (CAP, "256kb"))?;
            lab.network.set_pod_artifact(index, ARTIFACT)?;
        }
        lab.start_daemons()?;
        let mut stage = Self::default();
        stage.ask_for(lab, USUAL)?;
        Ok(stage)
    }

    fn ask_for(&mut self, lab: &Lab, megabits: [u32; 2]) -> Result<()> {
        self.downloads.clear();
        for ((pod, host), megabits) in PODS.iter().zip(&lab.network.hosts).zip(megabits) {
            let address = format!("{NODE_ADDRESS}:{}", pod.node_port);
            let download = Download::start(&host.vm, &address, megabits)?;
            self.downloads.push(download);
        }
        Ok(())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "has the type of a step")]
fn nothing(_: &mut Stage, _: &mut Lab) -> Result<()> {
    Ok(())
}

fn be_well(_: &mut Stage, lab: &mut Lab, phase: Duration) -> Result<()> {
    wait::pass(SCRAPES.max(phase))?;
    all_is_well(lab)
}

fn lose_device(_: &mut Stage, lab: &mut Lab, phase: Duration) -> Result<()> {
    (fault("F1")?.inject)(lab)?;
    told(lab, "interface_missing", NODE)?;
    wait::pass(phase)
}

fn give_device_back(_: &mut Stage, lab: &mut Lab) -> Result<()> {
    (fault("F1")?.heal)(lab)
}

fn clamp(stage: &mut Stage, lab: &mut Lab, phase: Duration) -> Result<()> {
    shape(&lab.network.node.namespace, NODE_DEVICE, (LEVEL, BUCKET))?;
    stage.ask_for(lab, COMPETING)?;
    told(lab, "saturated", NODE)?;
    wait::pass(phase / 2)?;
    let node = &lab.network.node.namespace;
    set_mtu(node, MTU.0)?;
    stage.oversize = Some(Oversize::start(node)?);
    wait::until("dropped frames in the exporter's metrics", TOLD, || {
        let daemons = lab.daemons.as_ref().context("no pnwatch")?;
        Ok(has_dropped(&daemons.metrics()?).then_some(()))
    })?;
    // They rise between two scrapes.
    wait::pass(SCRAPES.max(phase / 2))
}

/// Whether the first cache node's devices have dropped what they were to send.
fn has_dropped(metrics: &str) -> bool {
    let dropped = "pnwatch_node_network_transmit_drop_total{";
    let mut lines = metrics.lines().filter(|line| line.starts_with(dropped));
    lines.any(|line| line.contains(NODE) && !line.ends_with(" 0"))
}

fn unclamp(stage: &mut Stage, lab: &mut Lab) -> Result<()> {
    stage.oversize = None;
    set_mtu(&lab.network.node.namespace, MTU.1)?;
    stage.ask_for(lab, USUAL)?;
    unshape(&lab.network.node.namespace, NODE_DEVICE)
}

fn set_mtu(node: &Namespace, mtu: u32) -> Result<()> {
    node.ip(&format!("link set {NODE_DEVICE} mtu {mtu}"))
        .map(drop)
}

fn hang(_: &mut Stage, lab: &mut Lab, phase: Duration) -> Result<()> {
    path::kill_host_prober(lab)?;
    path::hang_pod(lab)?;
    told(lab, "", PODS[0].account)?;
    told(lab, "", &host_vantage(SILENT))?;
    wait::pass(phase)
}

fn unhang(_: &mut Stage, lab: &mut Lab) -> Result<()> {
    path::heal_pod(lab)?;
    path::start_host_prober(lab)
}

fn be_well_again(_: &mut Stage, lab: &mut Lab, phase: Duration) -> Result<()> {
    wait::until("the end of all findings", ENDED, || {
        Ok(lab.findings()?.open()?.is_empty().then_some(()))
    })?;
    wait::pass(SCRAPES.max(phase))?;
    all_is_well(lab)
}

fn lose_replica(_: &mut Stage, lab: &mut Lab, phase: Duration) -> Result<()> {
    lab.processes.kill(&exporter_name(1))?;
    // Its series end with the first scrape that fails.
    wait::pass(phase)?;
    all_is_well(lab)
}

fn give_replica_back(_: &mut Stage, lab: &mut Lab) -> Result<()> {
    let daemons = lab.daemons.as_ref().context("no pnwatch")?;
    daemons.start_exporter(&mut lab.processes, 1)?;
    daemons.wait_exporter(&mut lab.processes, 1)
}

fn all_is_well(lab: &mut Lab) -> Result<()> {
    lab.processes.check_all()?;
    let open = lab.findings()?.open()?;
    anyhow::ensure!(open.is_empty(), "this should be well: {open:?}");
    Ok(())
}

/// Waits until a finding on `subject` is open; an empty `kind` is any fault.
fn told(lab: &mut Lab, kind: &str, subject: &str) -> Result<()> {
    let what = format!("a finding {kind} on {subject}");
    wait::until(&what, TOLD, || {
        let open = lab.findings()?.open()?;
        let mut of_subject = open.iter().filter(|f| f.subject == subject);
        let found = of_subject.any(|f| kind.is_empty() || f.fault == kind);
        Ok(found.then_some(()))
    })
}

/// Frames that the switch's port does not take; the node's driver counts them as dropped.
#[derive(Debug)]
struct Oversize {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Oversize {
    fn start(node: &Namespace) -> Result<Self> {
        let socket = node.inside(|| UdpSocket::bind("0.0.0.0:0"))??;
        let stop = Arc::new(AtomicBool::new(false));
        let thread_stop = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("oversize".to_owned())
            .spawn(move || {
                // Discard (RFC 863); it never arrives.
                let to = (host_address(SILENT), 9);
                while !thread_stop.load(Ordering::SeqCst) {
                    // A queue that is full is what this is for.
                    let _ = socket.send_to(&[0; OVERSIZE], to);
                    std::thread::sleep(OVERSIZE_EVERY);
                }
            })
            .context("cannot start a thread")?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Oversize {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::has_dropped;

    #[test]
    fn only_a_risen_counter_of_the_node_counts() {
        let line = |node, value| {
            format!(
                "pnwatch_node_network_transmit_drop_total{{node=\"{node}\",plane=\"pn\"}} {value}"
            )
        };
        let own = crate::topology::NODE;
        assert!(!has_dropped(&line(own, "0")));
        assert!(!has_dropped(&line("another", "7")));
        assert!(has_dropped(&format!(
            "{}\n{}",
            line("another", "0"),
            line(own, "20")
        )));
    }
}
