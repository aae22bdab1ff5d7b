//! Device counters and the default route, from netstat(1); memory and the boot's name from the
//! kernel.

use std::process::{Command, Stdio};

use crate::devices::DeviceCounters;
use crate::mac::parse::{kernel, netstat};

fn netstat(arguments: &[&str]) -> Option<String> {
    said("/usr/sbin/netstat", arguments)
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The counters of `device`; `None` while it does not exist.
pub fn device_counters(device: &str) -> Option<DeviceCounters> {
    let said = netstat(&["-bdnI", device])?;
    let bytes = netstat::bytes(&said, device)?;
    Some(DeviceCounters {
        receive: bytes.receive,
        transmit: bytes.transmit,
        transmit_drops: bytes.drops,
        ..DeviceCounters::default()
    })
}

/// The device of the default route, which carries everything but the PN.
pub fn default_route_device() -> Option<String> {
    netstat::default_device(&netstat(&["-rn", "-f", "inet"])?)
}

/// Names this boot of the machine: `kern.bootsessionuuid`, another UUID with every boot.
pub fn machine_boot() -> Option<String> {
    kernel::boot_session(&said("/usr/sbin/sysctl", &["-n", "kern.bootsessionuuid"])?)
}

/// Resident memory in bytes.
pub fn resident_bytes() -> u64 {
    super::socket::task_resident_bytes().unwrap_or(0)
}
