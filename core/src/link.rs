//! The vantage's own PN interface as plain facts, and what they mean.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::filter::FilterFacts;

/// A 48-bit MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// A text is no MAC address or no CIDR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not six hexadecimal bytes.
    #[error("a MAC address is written 02:00:00:aa:bb:cc, not {0:?}")]
    Mac(String),
    /// Not ADDRESS/LENGTH.
    #[error("a network is written ADDRESS/LENGTH, like 172.16.0.0/22, not {0:?}")]
    Cidr(String),
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.0.iter().enumerate() {
            let colon = if n == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Mac {
    type Err = AddressError;

    /// Accepts one or two digits per byte: macOS leaves out leading zeros (`arp -an`).
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError::Mac(text.chars().take(32).collect());
        let mut bytes = [0u8; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(error)?;
            if part.is_empty() || part.len() > 2 {
                return Err(error());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() {
            return Err(error());
        }
        Ok(Self(bytes))
    }
}

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    network: Ipv4Addr,
    length: u8,
}

impl Cidr {
    /// The network of `length` leading bits around `address`; `None` above 32.
    pub fn new(address: Ipv4Addr, length: u8) -> Option<Self> {
        (length <= 32).then(|| Self {
            network: Ipv4Addr::from(u32::from(address) & Self::mask(length)),
            length,
        })
    }

    fn mask(length: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
    }

    /// Whether `address` lies inside.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & Self::mask(self.length) == u32::from(self.network)
    }

    /// Whether every address of `other` lies inside.
    pub fn covers(&self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

impl FromStr for Cidr {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.split_once('/')
            .and_then(|(address, length)| Self::new(address.parse().ok()?, length.parse().ok()?))
            .ok_or_else(|| AddressError::Cidr(text.chars().take(48).collect()))
    }
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
text_serde!(Mac);
text_serde!(Cidr);

/// State of the PN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// There is no device of that name.
    Absent,
    /// The device is administratively down.
    AdminDown,
    /// Up without carrier (operstate not up).
    NoCarrier,
    /// Up and running.
    Up,
}

/// One IPv4 address on the PN device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// Remaining valid lifetime in seconds; `None` = forever (a static hold).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for_s: Option<u64>,
    /// Seconds since the lifetime was last set (`ifa_cacheinfo.tstamp`, rtnetlink(7));
    /// `valid_for_s + renewed_ago_s` is the lease as it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed_ago_s: Option<u64>,
}

/// Where an unbound route look-up for a PN address leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFact {
    /// The destination that was looked up.
    pub to: Ipv4Addr,
    /// The device it leaves by; `None` = no route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Whether a gateway is in between.
    #[serde(default)]
    pub via_gateway: bool,
}

/// Everything a vantage knows of its own PN leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFacts {
    /// Name of the PN device, as configured.
    pub device: String,
    /// Its state.
    pub state: DeviceState,
    /// Its MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Its IPv4 addresses (also those outside the PN).
    #[serde(default)]
    pub addresses: Vec<HeldAddress>,
    /// Unbound route look-up of a PN address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteFact>,
    /// The packet filter, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterFacts>,
}

/// Most addresses kept per device; more are a sign of something else.
pub const MAX_ADDRESSES: usize = 16;

/// What [`LinkFacts`] mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkState {
    /// Device up, with an address inside the PN (the expected one, where one is expected).
    Fine,
    /// No such device.
    InterfaceMissing,
    /// The device is administratively down.
    AdminDown,
    /// The device has no carrier.
    NoCarrier,
    /// The device has no IPv4 address inside the PN.
    AddressLost,
    /// The device holds another PN address than the label says.
    AddressWrong {
        /// What it holds.
        holds: Ipv4Addr,
    },
    /// The address is right, but PN traffic leaves by another device.
    RouteWrong,
}

impl LinkFacts {
    /// The first address inside `pn`.
    pub fn pn_address(&self, pn: Cidr) -> Option<&HeldAddress> {
        self.addresses.iter().find(|held| pn.contains(held.address))
    }

    /// What the facts mean; `expected` is the address that the control plane hands out.
    pub fn assess(&self, pn: Cidr, expected: Option<Ipv4Addr>) -> LinkState {
        match self.state {
            DeviceState::Absent => return LinkState::InterfaceMissing,
            DeviceState::AdminDown => return LinkState::AdminDown,
            DeviceState::NoCarrier => return LinkState::NoCarrier,
            DeviceState::Up => {}
        }
        let Some(held) = self.pn_address(pn) else {
            return LinkState::AddressLost;
        };
        if let Some(expected) = expected
            && !self.addresses.iter().any(|a| a.address == expected)
        {
            return LinkState::AddressWrong {
                holds: held.address,
            };
        }
        match &self.route {
            Some(route)
                if pn.contains(route.to) && route.device.as_deref() != Some(&self.device) =>
            {
                LinkState::RouteWrong
            }
            _ => LinkState::Fine,
        }
    }

    /// The lease of the PN address, if it has a lifetime.
    pub fn lease(&self, pn: Cidr) -> Option<Lease> {
        let held = self.pn_address(pn)?;
        let remaining = Duration::from_secs(held.valid_for_s?);
        let age = Duration::from_secs(held.renewed_ago_s.unwrap_or(0));
        Some(Lease {
            address: held.address,
            remaining,
            granted: remaining.saturating_add(age),
        })
    }
}

/// A DHCP lease as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The leased address.
    pub address: Ipv4Addr,
    /// What is left of it.
    pub remaining: Duration,
    /// What was granted.
    pub granted: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pn() -> Cidr {
        "172.16.0.0/22".parse().unwrap()
    }

    fn facts(state: DeviceState, addresses: &[&str]) -> LinkFacts {
        LinkFacts {
            device: "pn0".into(),
            state,
            mac: None,
            addresses: addresses
                .iter()
                .map(|a| HeldAddress {
                    address: a.parse().unwrap(),
                    prefix_len: 22,
                    valid_for_s: Some(30),
                    renewed_ago_s: Some(70),
                })
                .collect(),
            route: None,
            filter: None,
        }
    }

    #[test]
    fn the_facts_mean_what_the_table_says() {
        let label = Some(Ipv4Addr::new(172, 16, 0, 2));
        let up = DeviceState::Up;
        for (facts, means) in [
            (facts(up, &["172.16.0.2"]), LinkState::Fine),
            (facts(DeviceState::Absent, &[]), LinkState::InterfaceMissing),
            (
                facts(DeviceState::AdminDown, &["172.16.0.2"]),
                LinkState::AdminDown,
            ),
            (
                facts(DeviceState::NoCarrier, &["172.16.0.2"]),
                LinkState::NoCarrier,
            ),
            (facts(up, &[]), LinkState::AddressLost),
            (facts(up, &["169.254.3.4"]), LinkState::AddressLost),
            (facts(up, &["172.16.0.2", "172.16.0.9"]), LinkState::Fine),
            (
                facts(up, &["172.16.0.9"]),
                LinkState::AddressWrong {
                    holds: Ipv4Addr::new(172, 16, 0, 9),
                },
            ),
        ] {
            assert_eq!(facts.assess(pn(), label), means, "{facts:?}");
        }
        let mut routed = facts(up, &["172.16.0.2"]);
        routed.route = Some(RouteFact {
            to: Ipv4Addr::new(172, 16, 0, 11),
            device: Some("eth0".into()),
            via_gateway: true,
        });
        assert_eq!(routed.assess(pn(), label), LinkState::RouteWrong);
        assert_eq!(
            routed.lease(pn()).unwrap().granted,
            Duration::from_secs(100)
        );
    }

    #[test]
    fn networks_and_macs_read_back() {
        assert_eq!(pn().to_string(), "172.16.0.0/22");
        assert!(pn().contains(Ipv4Addr::new(172, 16, 3, 255)));
        assert!(!pn().contains(Ipv4Addr::new(172, 16, 4, 0)));
        assert!(
            "0.0.0.0/0"
                .parse::<Cidr>()
                .unwrap()
                .contains(Ipv4Addr::BROADCAST)
        );
        for bad in ["", "1.2.3.4", "1.2.3.4/33", "x/8", "1.2.3.4/-1"] {
            assert!(bad.parse::<Cidr>().is_err());
        }
        let mac: Mac = "2:0:0:aa:bb:c".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:00:aa:bb:0c");
        for bad in [
            "",
            "02:00:00:aa:bb",
            "02:00:00:aa:bb:cc:dd",
            "zz:0:0:0:0:0",
            "02:00:00:aa:bb:",
        ] {
            assert!(bad.parse::<Mac>().is_err());
        }
    }
}
