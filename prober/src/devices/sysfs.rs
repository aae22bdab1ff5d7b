//! Counters from sysfs (sysfs-class-net-statistics) and the default route from procfs.

use std::fs;
use std::path::Path;

use super::DeviceCounters;

/// The counters of `device`; `None` while it does not exist.
pub fn read(device: &str) -> Option<DeviceCounters> {
    let base = Path::new("/sys/class/net").join(device);
    let number = |name: &str| {
        let text = fs::read_to_string(base.join("statistics").join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    // Virtual devices say -1, or nothing while the link is down.
    let megabits = fs::read_to_string(base.join("speed")).ok();
    let megabits = megabits.and_then(|text| text.trim().parse::<u64>().ok());
    Some(DeviceCounters {
        receive: number("rx_bytes")?,
        transmit: number("tx_bytes")?,
        receive_drops: number("rx_dropped").unwrap_or(0),
        transmit_drops: number("tx_dropped").unwrap_or(0),
        speed_bps: megabits
            .filter(|m| *m > 0 && *m < 1_000_000)
            .map(|m| m * 1_000_000),
    })
}

/// The device of the default route, which carries everything but the PN (`proc_pid_net(5)`).
pub fn default_route_device() -> Option<String> {
    parse_default_route(&fs::read_to_string("/proc/net/route").ok()?)
}

pub(crate) fn parse_default_route(table: &str) -> Option<String> {
    table.lines().skip(1).take(10_000).find_map(|line| {
        let mut fields = line.split_whitespace();
        let device = fields.next()?;
        let destination = fields.next()?;
        let mask = fields.nth(5)?;
        (destination == "00000000" && mask == "00000000").then(|| device.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(read("lo").unwrap().speed_bps, None);
        assert_eq!(read("no-such-device"), None);
    }
}
