//! The prober's settings, put together from the configuration.

use core::net::SocketAddr;
use std::io::Read as _;
use std::path::PathBuf;

use pnwatch_core::link::Cidr;
use pnwatch_core::name::{Cluster, Vantage};
use pnwatch_core::plan::Pace;
use pnwatch_edge::config::Probe;

use crate::relay::RelaySettings;

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which network.
    pub cluster: Cluster,
    /// Who this is.
    pub vantage: Vantage,
    /// The PN device.
    pub interface: String,
    /// Other devices whose bandwidth is told.
    pub devices: Vec<String>,
    /// The PN's address range.
    pub pn_cidr: Cidr,
    /// An inventory file instead of exporters.
    pub plan_file: Option<PathBuf>,
    /// Where the last plan survives a restart.
    pub state_dir: Option<PathBuf>,
    /// What must answer when the PN does not.
    pub control: Vec<SocketAddr>,
    /// The prober's own page; `None` = none (embedded).
    pub listen: Option<SocketAddr>,
    /// The pace of a plan from `plan_file`.
    pub pace: Pace,
    /// Changes with every start.
    pub boot_id: String,
    /// The endpoint for the VMs behind this host.
    pub relay: Option<RelaySettings>,
}

impl Settings {
    /// From the configuration. `boot_id` changes with every start.
    pub fn new(cluster: &Cluster, probe: &Probe, boot_id: String) -> Self {
        let relay = |config| RelaySettings::new(config, probe.control.clone(), boot_id.clone());
        let relay = probe.relay.as_ref().map(relay);
        Self {
            cluster: cluster.clone(),
            vantage: probe.vantage.clone(),
            interface: probe.interface.clone(),
            devices: probe.devices.clone(),
            pn_cidr: probe.pn_cidr,
            plan_file: probe.plan_file.clone(),
            state_dir: probe.state_dir.clone(),
            control: probe.control.clone(),
            listen: Some(probe.listen),
            pace: probe.pace,
            boot_id,
            relay,
        }
    }
}

/// A boot id nobody has used: 16 hexadecimal digits from the kernel (random(4)).
pub fn fresh_boot_id() -> std::io::Result<String> {
    let mut bytes = [0u8; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}
