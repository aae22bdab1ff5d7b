//! What stands in files: link speed and lower devices (sysfs-class-net), and the default route
//! (`proc_pid_net(5)`).

use std::fs;
use std::path::Path;

/// Where the devices stand.
const NET: &str = "/sys/class/net";
/// Most lower devices of one: the legs of a bond.
const MAX_LOWER: usize = 8;

/// Link speed of `device` in bits per second. Virtual devices say -1, or nothing while the link
/// is down.
pub fn speed(device: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new(NET).join(device).join("speed")).ok()?;
    let megabits = text.trim().parse::<u64>().ok();
    megabits
        .filter(|m| *m > 0 && *m < 1_000_000)
        .map(|m| m * 1_000_000)
}

/// The devices that `device` lies on, in the order of their names: the parent of a VLAN.
pub fn lower_devices(device: &str) -> Vec<String> {
    lower_in(&Path::new(NET).join(device))
}

fn lower_in(device: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(device) else {
        return Vec::new();
    };
    let mut lower: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix("lower_").map(str::to_owned)
        })
        .collect();
    lower.sort();
    lower.truncate(MAX_LOWER);
    lower
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
    fn loopback_has_no_speed_and_lies_on_nothing() {
        assert_eq!(speed("lo"), None);
        assert_eq!(speed("no-such-device"), None);
        assert_eq!(lower_devices("lo"), Vec::<String>::new());
    }

    #[test]
    fn the_parents_of_a_device_are_its_lower_entries() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["lower_eth1", "lower_eth0", "upper_br0", "speed", "lower"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(lower_in(folder.path()), ["eth0", "eth1"]);
        assert_eq!(lower_in(&folder.path().join("none")), Vec::<String>::new());
    }
}
