//! The one place where the operating system is chosen: what the agent asks of its kernel, by
//! the same names and plain types on each. Linux is in the rooms that use it, macOS in
//! [`crate::mac`], whose parsers are pure and tested everywhere.

#[cfg(target_os = "linux")]
mod chosen {
    pub use crate::devices::stats::Reader as DeviceReader;
    pub use crate::devices::sysfs::{default_route_device, lower_devices, speed as device_speed};
    pub use crate::engine::socket::{
        CAN_DENY_LOCAL_NETWORK, Packets, SENT_NOTHING, bind_device, error_queue, set_ip_options,
        stream_socket, tcp_facts,
    };
    pub use crate::link::netlink::{follow, interface_names};
    pub use crate::witness::follow as follow_witness;

    /// Names this boot of the machine (random(4)).
    pub fn machine_boot() -> Option<String> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    }

    /// Resident memory in bytes (`proc_pid_status(5)`).
    pub fn resident_bytes() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        kib.saturating_mul(1024)
    }
}

#[cfg(target_os = "macos")]
mod chosen {
    pub use crate::mac::live::devices::{
        DeviceReader, default_route_device, device_speed, lower_devices, machine_boot,
        resident_bytes,
    };
    pub use crate::mac::live::follow::{follow, interface_names};
    pub use crate::mac::live::packets::Packets;
    pub use crate::mac::live::socket::{
        CAN_DENY_LOCAL_NETWORK, SENT_NOTHING, bind_device, error_queue, set_ip_options,
        stream_socket, tcp_facts,
    };

    /// No receiver's witness yet: nothing is counted, and nothing is said.
    pub async fn follow_witness(
        _: tokio::sync::watch::Receiver<Option<crate::link::Leg>>,
        _: pnwatch_edge::clock::SharedClock,
        _: tokio::sync::watch::Sender<Option<crate::witness::Snapshot>>,
    ) {
    }
}

pub use chosen::*;
