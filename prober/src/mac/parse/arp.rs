//! `arp -an` (arp(8) of macOS).

use core::net::Ipv4Addr;

use pnwatch_core::link::Mac;

use super::{device, lines};

/// Most neighbours kept.
const MAX: usize = 4096;

/// One entry of the neighbour table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Whose.
    pub address: Ipv4Addr,
    /// The MAC; `None` = nobody answered yet, or any more.
    pub mac: Option<Mac>,
    /// Behind which device.
    pub device: String,
}

/// The table: `? (172.16.0.2) at 2:0:0:0:0:2 on vlan0 ifscope [ethernet]`.
pub fn neighbours(text: &str) -> Vec<Neighbour> {
    lines(text).filter_map(neighbour).take(MAX).collect()
}

fn neighbour(line: &str) -> Option<Neighbour> {
    // A name may stand before the address, even with brackets of its own.
    let (before, rest) = line.split_once(") at ")?;
    let (_, address) = before.rsplit_once('(')?;
    let mut words = rest.split_whitespace();
    let mac = words.next()?;
    let name = words.skip_while(|word| *word != "on").nth(1)?;
    Some(Neighbour {
        address: address.parse().ok()?,
        mac: mac.parse().ok(),
        device: device(name)?,
    })
}
