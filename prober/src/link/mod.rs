//! The vantage's own PN leg: what the kernel says of the device, its addresses and its route.
//!
//! [`Leg`] is plain data, followed by the engine and told to the exporter. Where it comes from
//! is behind [`crate::os::follow`]: rtnetlink on Linux, the routing socket and `ifconfig` on macOS.

#[cfg(target_os = "linux")]
pub mod netlink;

use core::net::Ipv4Addr;
use core::time::Duration;

use pnwatch_core::link::{Cidr, DeviceState, HeldAddress, LinkFacts};
use pnwatch_core::outcome::Blind;
use pnwatch_core::plan::Plan;
use pnwatch_core::time::Tick;
use pnwatch_core::wire::LinkReport;

/// How old a reading may be that is told: it is read at least every thirty seconds, and that may
/// be late on a busy machine.
pub const CURRENT: Duration = Duration::from_secs(45);

/// The PN leg as it was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// What is told to the exporter.
    pub facts: LinkFacts,
    /// Interface index, while the device exists.
    pub index: Option<u32>,
    /// Whether ARP has a meaning on the device (not on loopback, not with `IFF_NOARP`).
    pub arp: bool,
    /// The address that checks are sent from: the first inside the PN.
    pub source: Option<Ipv4Addr>,
    /// When the lifetimes in `facts` were read.
    pub read_at: Tick,
    /// Since when the facts have been what they are (lifetimes apart).
    pub since: Tick,
}

impl Default for Leg {
    fn default() -> Self {
        Self {
            facts: LinkFacts {
                device: String::new(),
                state: DeviceState::Absent,
                mac: None,
                addresses: Vec::new(),
                route: None,
                filter: None,
            },
            index: None,
            arp: false,
            source: None,
            read_at: Tick::default(),
            since: Tick::default(),
        }
    }
}

impl Leg {
    /// Why nothing can be sent over the PN device, if nothing can.
    pub fn blind(&self) -> Option<Blind> {
        match self.facts.state {
            DeviceState::Absent | DeviceState::AdminDown => Some(Blind::NoDevice),
            _ if self.source.is_none() => Some(Blind::NoSource),
            _ => None,
        }
    }

    /// Whether an unbound look-up of a PN address leaves by the PN device; `None` = not known.
    pub fn route_is_right(&self) -> Option<bool> {
        let route = self.facts.route.as_ref()?;
        Some(route.device.as_deref() == Some(self.facts.device.as_str()))
    }

    /// Whether it was read lately enough to be told. A process that slept knows what was true
    /// before: the lease may be renewed since, and what is left of the old one nobody asks for.
    pub fn is_current(&self, now: Tick) -> bool {
        now.since(self.read_at) <= CURRENT
    }

    /// Takes a newer reading; whether anything but the lifetimes changed.
    pub fn update(&mut self, newer: Leg) -> bool {
        let changed = settled(&self.facts) != settled(&newer.facts)
            || (self.index, self.arp, self.source) != (newer.index, newer.arp, newer.source);
        let since = if changed { newer.since } else { self.since };
        *self = Leg { since, ..newer };
        changed
    }

    /// As it is told at `now`: lifetimes go on between readings.
    pub fn report(&self, now: Tick) -> LinkReport {
        let passed = now.since(self.read_at).as_secs();
        let mut facts = self.facts.clone();
        for held in &mut facts.addresses {
            held.valid_for_s = held.valid_for_s.map(|s| s.saturating_sub(passed));
            held.renewed_ago_s = held.renewed_ago_s.map(|s| s.saturating_add(passed));
        }
        LinkReport {
            facts,
            held_us: micros(now.since(self.since)),
        }
    }
}

impl Leg {
    /// One line for people: what the leg is now.
    pub fn say(&self, first: bool) {
        let facts = &self.facts;
        let addresses: Vec<String> = facts
            .addresses
            .iter()
            .map(|held| format!("{}/{}", held.address, held.prefix_len))
            .collect();
        let (device, state) = (&facts.device, facts.state);
        let addresses = addresses.join(",");
        match (self.blind(), self.index) {
            (Some(_), None) => {
                let here = crate::os::interface_names().join(", ");
                tracing::warn!(
                    %device,
                    "there is no device {device}; this machine has {here}. Bring it up, or \
                     correct `probe.interface`"
                );
            }
            (Some(_), _) => {
                tracing::warn!(%device, ?state, %addresses, "the PN device cannot send: bring it up and give it its PN address");
            }
            (None, _) => tracing::info!(%device, ?state, %addresses, first, "PN device"),
        }
    }
}

/// The facts without what changes by itself.
fn settled(facts: &LinkFacts) -> LinkFacts {
    let mut settled = facts.clone();
    for held in &mut settled.addresses {
        held.valid_for_s = held.valid_for_s.map(|_| 0);
        held.renewed_ago_s = held.renewed_ago_s.map(|_| 0);
    }
    // Read at its own pace: what it says is no news of the link.
    settled.filter = None;
    settled
}

/// Whole microseconds, saturating.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The PN address whose route is looked up: a planned one that is not our own, else the first
/// host address of the network that is not our own (an own address always routes to `lo`).
pub fn route_target(pn: Cidr, plan: Option<&Plan>, own: &[HeldAddress]) -> Option<Ipv4Addr> {
    let foreign = |address: &Ipv4Addr| !own.iter().any(|held| held.address == *address);
    let planned = plan.into_iter().flat_map(|plan| {
        let nodes = plan.nodes.iter().map(|n| n.address);
        nodes.chain(plan.neighbours.iter().map(|n| n.address))
    });
    let network = pn.to_string();
    let first = network
        .split('/')
        .next()
        .and_then(|text| text.parse::<Ipv4Addr>().ok())
        .map(u32::from);
    let hosts = first
        .into_iter()
        .flat_map(|first| (1..=17).filter_map(move |n| first.checked_add(n)))
        .map(Ipv4Addr::from);
    planned
        .chain(hosts)
        .filter(|address| pn.contains(*address))
        .find(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(address: [u8; 4]) -> HeldAddress {
        HeldAddress {
            address: address.into(),
            prefix_len: 22,
            valid_for_s: Some(60),
            renewed_ago_s: Some(40),
        }
    }

    fn leg(read_at: u64, valid: u64) -> Leg {
        let mut leg = Leg {
            index: Some(4),
            arp: true,
            source: Some([172, 16, 0, 11].into()),
            read_at: Tick::from_millis(read_at),
            since: Tick::from_millis(read_at),
            ..Leg::default()
        };
        leg.facts.state = DeviceState::Up;
        leg.facts.addresses = vec![held([172, 16, 0, 11])];
        leg.facts.addresses[0].valid_for_s = Some(valid);
        leg
    }

    #[test]
    fn a_lifetime_that_runs_is_no_change() {
        let mut now = leg(1000, 60);
        assert!(!now.update(leg(3000, 58)));
        assert_eq!(now.since, Tick::from_millis(1000));
        assert!(now.is_current(Tick::from_millis(48_000)));
        assert!(!now.is_current(Tick::from_millis(48_001)));
        let report = now.report(Tick::from_millis(8000));
        assert_eq!(report.held_us, 7_000_000);
        assert_eq!(report.facts.addresses[0].valid_for_s, Some(53));
        assert_eq!(report.facts.addresses[0].renewed_ago_s, Some(45));
        let mut lost = leg(9000, 58);
        lost.facts.addresses.clear();
        lost.source = None;
        assert!(now.update(lost));
        assert_eq!(now.since, Tick::from_millis(9000));
        assert_eq!(now.blind(), Some(Blind::NoSource));
    }

    #[test]
    fn the_route_is_looked_up_for_somebody_else() {
        let pn: Cidr = "172.16.0.0/22".parse().unwrap();
        let first = Ipv4Addr::new(172, 16, 0, 1);
        assert_eq!(route_target(pn, None, &[]), Some(first));
        assert_eq!(
            route_target(pn, None, &[held([172, 16, 0, 1])]),
            Some(Ipv4Addr::new(172, 16, 0, 2))
        );
        let tiny: Cidr = "172.16.0.5/32".parse().unwrap();
        assert_eq!(route_target(tiny, None, &[]), None);
        let last: Cidr = "255.255.255.255/32".parse().unwrap();
        assert_eq!(route_target(last, None, &[]), None);
    }
}
