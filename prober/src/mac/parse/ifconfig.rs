//! `ifconfig DEVICE` (ifconfig(8) of macOS).

use core::net::Ipv4Addr;

use pnwatch_core::link::{DeviceState, MAX_ADDRESSES, Mac};

use super::{after, device, lines};

/// One interface as `ifconfig` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// `UP`.
    pub up: bool,
    /// `RUNNING`.
    pub running: bool,
    /// ARP has a meaning: no `LOOPBACK`, `POINTOPOINT` or `NOARP`.
    pub arp: bool,
    /// `ether`.
    pub mac: Option<Mac>,
    /// `inet`, with the length of the netmask.
    pub addresses: Vec<(Ipv4Addr, u8)>,
    /// The VLAN tag.
    pub vlan: Option<u16>,
    /// The device below a VLAN; `None` with a tag means that it is detached.
    pub parent: Option<String>,
    /// `status: active`.
    pub active: Option<bool>,
}

impl Interface {
    /// What the flags mean.
    pub fn state(&self) -> DeviceState {
        let detached = self.vlan.is_some() && self.parent.is_none();
        if !self.up {
            DeviceState::AdminDown
        } else if !self.running || self.active == Some(false) || detached {
            DeviceState::NoCarrier
        } else {
            DeviceState::Up
        }
    }
}

/// The interface `name`, if the output shows it whole enough to be believed.
pub fn interface(text: &str, name: &str) -> Option<Interface> {
    let mut found: Option<Interface> = None;
    for line in lines(text) {
        let indented = line.starts_with([' ', '\t']);
        match (&mut found, indented) {
            (None, false) => found = header(line, name),
            (None, true) => {}
            // The next interface.
            (Some(_), false) if !line.trim().is_empty() => break,
            (Some(interface), _) => detail(interface, line.trim()),
        }
    }
    found
}

/// `vlan0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500`
fn header(line: &str, name: &str) -> Option<Interface> {
    let rest = line.strip_prefix(name)?.strip_prefix(": flags=")?;
    let (_, names) = rest.split_once('<')?;
    // Without its end the list may lack `RUNNING`: better nothing than a wrong state.
    let (names, _) = names.split_once('>')?;
    let has = |flag: &str| names.split(',').any(|name| name == flag);
    Some(Interface {
        up: has("UP"),
        running: has("RUNNING"),
        arp: !has("LOOPBACK") && !has("POINTOPOINT") && !has("NOARP"),
        ..Interface::default()
    })
}

fn detail(interface: &mut Interface, line: &str) {
    let mut words = line.split_whitespace();
    match words.next() {
        Some("ether") => interface.mac = words.next().and_then(|mac| mac.parse().ok()),
        Some("inet") if interface.addresses.len() < MAX_ADDRESSES => {
            interface.addresses.extend(inet(words));
        }
        Some("vlan:") => {
            interface.vlan = words.next().and_then(|tag| tag.parse().ok());
            let parent = line.split_once("parent interface:");
            interface.parent = parent.and_then(|(_, name)| device(name.trim()));
        }
        Some("status:") => {
            interface.active = match after(line, "status") {
                Some("active") => Some(true),
                Some("inactive" | "no carrier") => Some(false),
                _ => None,
            };
        }
        _ => {}
    }
}

/// `172.16.0.11 netmask 0xfffffc00 broadcast …`, `10.0.0.1 --> 10.0.0.2 netmask …`, or
/// `172.16.0.11/22 …` (`-f inet:cidr`).
fn inet<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<(Ipv4Addr, u8)> {
    let first = words.next()?;
    if let Some((address, length)) = first.split_once('/') {
        let length: u8 = length.parse().ok().filter(|length| *length <= 32)?;
        return Some((address.parse().ok()?, length));
    }
    let address = first.parse().ok()?;
    let mask = words.skip_while(|word| *word != "netmask").nth(1)?;
    let mask = match mask.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => mask.parse::<Ipv4Addr>().ok()?.into(),
    };
    // Only a mask without holes has a length.
    (mask.leading_ones() + mask.trailing_zeros() == 32 || mask == 0)
        .then(|| (address, mask.leading_ones() as u8))
}
