//! `netstat -rn -f inet` and `netstat -bdnI DEVICE` (netstat(1) of macOS).

use super::{device, lines};
use crate::devices::counted::DeviceCounters;

/// Most routes kept.
const MAX_ROUTES: usize = 1024;

/// One line of the routing table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteLine {
    /// `default`, `172.16/22`, `172.16.0.2`, …
    pub destination: String,
    /// A gateway's address, a MAC or `link#12`.
    pub gateway: String,
    /// As letters.
    pub flags: String,
    /// By which device.
    pub device: String,
}

/// The IPv4 part of the routing table. Versions differ in their columns: the heading says
/// where the device stands.
pub fn routes(text: &str) -> Vec<RouteLine> {
    let mut routes = Vec::new();
    let mut at = None;
    for line in lines(text) {
        let words: Vec<&str> = line.split_whitespace().take(12).collect();
        match words.first() {
            Some(&"Internet6:") => at = None,
            Some(&"Destination") => {
                // With `%scope` in the destinations the heading is the same.
                at = words.iter().position(|word| *word == "Netif");
            }
            Some(_) if routes.len() < MAX_ROUTES => {
                routes.extend(at.and_then(|at| route(&words, at)));
            }
            _ => {}
        }
        if words.first() == Some(&"Internet6:") {
            break;
        }
    }
    routes
}

fn route(words: &[&str], at: usize) -> Option<RouteLine> {
    let text = |n: usize| words.get(n).filter(|word| word.len() <= 64);
    Some(RouteLine {
        destination: (*text(0)?).to_owned(),
        gateway: (*text(1)?).to_owned(),
        flags: (*text(2)?).to_owned(),
        device: device(words.get(at)?)?,
    })
}

/// The device of the default route: the first that is not bound to a scope (`I` among the
/// flags), which only sockets bound to its device use.
pub fn default_device(text: &str) -> Option<String> {
    let routes = routes(text);
    let mut defaults = routes.iter().filter(|route| route.destination == "default");
    let chosen = defaults.find(|route| !route.flags.contains('I'))?;
    Some(chosen.device.clone())
}

/// Index and counters of the device `name`: its `<Link#…>` line counts everything.
///
/// `Name Mtu Network Address Ipkts Ierrs Ibytes Opkts Oerrs Obytes Coll [Drop]`, where the
/// address is left out of devices without one.
pub fn device_counters(text: &str, name: &str) -> Option<(u32, DeviceCounters)> {
    let line = lines(text).find(|line| {
        let mut words = line.split_whitespace();
        // A device that is down has a star behind its name.
        let named = words.next().map(|word| word.trim_end_matches('*'));
        named == Some(name) && line.contains("<Link#")
    })?;
    let words: Vec<&str> = line.split_whitespace().take(16).collect();
    let link = words.iter().position(|word| word.starts_with("<Link#"))?;
    let index = words.get(link)?.strip_prefix("<Link#")?;
    let index = index.strip_suffix('>')?.parse().ok()?;
    let numbers: Vec<u64> = words
        .get(link + 1..)?
        .iter()
        // The address; a counter that overflowed its column is no number either.
        .skip_while(|word| word.contains([':', '.']))
        .map_while(|word| word.parse().ok())
        .collect();
    let counters = DeviceCounters {
        receive_packets: *numbers.first()?,
        receive_errors: *numbers.get(1)?,
        receive: *numbers.get(2)?,
        transmit_packets: *numbers.get(3)?,
        transmit_errors: *numbers.get(4)?,
        transmit: *numbers.get(5)?,
        receive_drops: 0,
        // `-d`, on sending.
        transmit_drops: numbers.get(7).copied().unwrap_or(0),
    };
    Some((index, counters))
}
