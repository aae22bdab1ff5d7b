//! Device counters and the default route, from netstat(1); memory and the boot's name from the
//! kernel.

use std::io;
use std::process::{Command, Stdio};

use crate::devices::counted::{DeviceCounters, Reading};
use crate::mac::parse::{ifconfig, kernel, netstat};

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

/// Asks netstat(1), one command a device.
#[derive(Debug, Default)]
pub struct DeviceReader;

impl DeviceReader {
    /// The counters of the devices that are named, and their indexes in the same order; `None` =
    /// there is no device of that name.
    ///
    /// # Errors
    ///
    /// None here: a command that fails tells of no device.
    pub fn read(&mut self, names: &[&str]) -> io::Result<(Reading, Vec<Option<u32>>)> {
        let mut reading = Reading::new();
        let mut read = |name: &&str| {
            let device = netstat::device_counters(&netstat(&["-bdnI", *name])?, name)?;
            let (index, counters): (u32, DeviceCounters) = device;
            reading.insert(index, counters);
            Some(index)
        };
        let indexes = names.iter().map(&mut read).collect();
        Ok((reading, indexes))
    }
}

/// Drivers tell no speed in a form that holds from one macOS to the next.
pub fn device_speed(_: &str) -> Option<u64> {
    None
}

/// The device that a VLAN lies on.
pub fn lower_devices(device: &str) -> Vec<String> {
    let said = said("/sbin/ifconfig", &[device]).unwrap_or_default();
    let interface = ifconfig::interface(&said, device);
    interface
        .and_then(|found| found.parent)
        .into_iter()
        .collect()
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
