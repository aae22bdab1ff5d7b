//! Which machine is behind an address: the kernel's neighbour table, then the lease table.
//!
//! The parsers are pure. On Linux the table is `/proc/net/arp` (proc(5)); on macOS it is what
//! `arp -an` prints. Leases are those of bootpd(8), which serves macOS VMs.

use core::net::Ipv4Addr;
use std::io::Read as _;
use std::path::Path;

use pnwatch_core::link::Mac;

/// Largest table that is read: thousands of neighbours.
const MAX_TABLE: u64 = 1 << 20;

/// The hardware address of `peer`, if anything here knows it. Blocks on the disk.
pub fn mac_of(peer: Ipv4Addr, leases: &Path) -> Option<Mac> {
    in_table(&table(), peer).or_else(|| in_leases(&read(leases), peer))
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // What could not be read tells nothing.
        let _ = file.take(MAX_TABLE).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(target_os = "linux")]
fn table() -> String {
    read(Path::new("/proc/net/arp"))
}

#[cfg(not(target_os = "linux"))]
fn table() -> String {
    let printed = std::process::Command::new("/usr/sbin/arp")
        .arg("-an")
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .output();
    printed.map_or_else(
        |_| String::new(),
        |out| String::from_utf8_lossy(&out.stdout).into_owned(),
    )
}

/// Reads `192.168.64.2 0x1 0x2 02:00:c0:a8:40:00 * bridge100` (Linux) and
/// `? (192.168.64.2) at 5e:3c:6a:0:0:1 on bridge100 ifscope [bridge]` (macOS).
pub(crate) fn in_table(table: &str, peer: Ipv4Addr) -> Option<Mac> {
    let bare = peer.to_string();
    let bracketed = format!("({bare})");
    let is_known = |mac: &Mac| mac.0 != [0; 6];
    table
        .lines()
        .filter(|line| {
            let mut words = line.split_whitespace().take(2);
            words.any(|word| word == bare || word == bracketed)
        })
        .find_map(|line| {
            let mut words = line.split_whitespace();
            words.find_map(|w| w.parse().ok()).filter(is_known)
        })
}

/// The newest lease of `peer`: blocks of `key=value` lines in braces.
pub(crate) fn in_leases(leases: &str, peer: Ipv4Addr) -> Option<Mac> {
    let block = |text: &str| {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
        };
        let address: Ipv4Addr = value("ip_address")?.parse().ok()?;
        // `1,` = Ethernet (RFC 1700).
        let mac: Mac = value("hw_address")?.strip_prefix("1,")?.parse().ok()?;
        let lease = value("lease").and_then(|hex| {
            let digits = hex.strip_prefix("0x")?;
            u64::from_str_radix(digits, 16).ok()
        });
        (address == peer).then_some((lease.unwrap_or(0), mac))
    };
    leases
        .split('}')
        .filter_map(block)
        .max_by_key(|(lease, _)| *lease)
        .map(|(_, mac)| mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 2);

    #[test]
    fn linux_prints_zeros_for_what_it_does_not_know() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
            192.168.64.20    0x1         0x2         02:00:c0:a8:40:14     *        bridge100\n\
            192.168.64.2     0x1         0x2         02:00:c0:a8:40:01     *        bridge100\n\
            192.168.64.3     0x1         0x0         00:00:00:00:00:00     *        bridge100\n";
        let mac = "02:00:c0:a8:40:01".parse().ok();
        assert_eq!(in_table(table, PEER), mac);
        assert_eq!(in_table(table, Ipv4Addr::new(192, 168, 64, 3)), None);
        assert_eq!(in_table(table, Ipv4Addr::new(192, 168, 64, 4)), None);
    }

    #[test]
    fn macos_leaves_out_leading_zeros() {
        let table = "? (192.168.64.2) at 5e:3c:6a:0:9:1 on bridge100 ifscope [bridge]\n\
            ? (192.168.64.3) at (incomplete) on bridge100 ifscope [bridge]\n";
        assert_eq!(in_table(table, PEER), "5e:3c:6a:00:09:01".parse().ok());
        assert_eq!(in_table(table, Ipv4Addr::new(192, 168, 64, 3)), None);
    }

    #[test]
    fn the_newest_lease_of_an_address_counts() {
        let leases = "{\n\tname=runner\n\tip_address=192.168.64.2\n\thw_address=1,5e:3c:6a:0:9:1\n\
            \tidentifier=1,5e:3c:6a:0:9:1\n\tlease=0x66f00001\n}\n\
            {\n\tip_address=192.168.64.2\n\thw_address=1,5e:3c:6a:0:9:2\n\tlease=0x66f00003\n}\n\
            {\n\tip_address=192.168.64.3\n\thw_address=1,5e:3c:6a:0:9:3\n\tlease=0x76f00000\n}\n";
        assert_eq!(in_leases(leases, PEER), "5e:3c:6a:0:9:2".parse().ok());
        for rubbish in ["", "{", "}}}}", "{\nip_address=x\nhw_address=1,\n}"] {
            assert_eq!(in_leases(rubbish, PEER), None);
        }
    }
}
