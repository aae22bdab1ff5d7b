//! `pnwatch check --host`: is this machine ready to be a vantage?
//!
//! Reads what the prober would read, once, and says each thing in a line with what to do.
//! [`judge`] is pure; [`run`] asks the machine and the exporters. It dials nothing on the PN.

use core::time::Duration;

use pnwatch_core::filter::FilterKind;
use pnwatch_core::link::{Cidr, DeviceState, LinkState};
use pnwatch_core::name::Vantage;
use pnwatch_core::time::spoken;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::Probe;
use tokio::sync::watch;

use crate::link::{Leg, route_target};
use crate::os;
use crate::transport::{HttpTransport, Transport as _};

/// How long reading the machine may take.
const WITHIN: Duration = Duration::from_secs(12);
/// How long another route look-up is waited for.
const ROUTE_WITHIN: Duration = Duration::from_secs(3);
/// How long the packet filter is waited for after the rest is known.
const FILTER_WITHIN: Duration = Duration::from_secs(8);

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As it should.
    Good,
    /// It works, but something should be known.
    Note,
    /// It will not work.
    Bad,
}

impl Standing {
    /// Four letters for the head of a line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "ok  ",
            Self::Note => "note",
            Self::Bad => "FAIL",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// How it stands.
    pub standing: Standing,
    /// What it is about.
    pub what: &'static str,
    /// What was seen, and what to do.
    pub said: String,
}

fn item(standing: Standing, what: &'static str, said: impl Into<String>) -> Item {
    Item {
        standing,
        what,
        said: said.into(),
    }
}

/// What was learned of the machine.
#[derive(Debug)]
pub struct Seen {
    /// The leg; `None` = it could not be read in time.
    pub leg: Option<Leg>,
    /// What opening a packet socket came to; `None` where ARP has no meaning.
    pub packets: Option<Result<(), String>>,
    /// Each exporter by its name, and what it said.
    pub exporters: Vec<(String, Result<(), String>)>,
    /// A Mac or another machine with VMs behind it.
    pub host: bool,
}

/// Reads the machine and asks the exporters for a plan.
pub async fn run(probe: &Probe, clock: SharedClock) -> Vec<Item> {
    let leg = read_leg(probe, clock).await;
    let packets = leg.as_ref().filter(|leg| leg.arp).and_then(|leg| {
        let opened = os::Packets::open(leg, leg.index?);
        Some(opened.map(drop).map_err(|error| error.to_string()))
    });
    let mut exporters = Vec::new();
    for endpoint in &probe.exporters {
        let asked = match HttpTransport::new(endpoint) {
            Ok(transport) => transport
                .plan(None, Duration::ZERO)
                .await
                .map(drop)
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        exporters.push((endpoint.url.to_string(), asked));
    }
    let host = matches!(probe.vantage, Vantage::Host(_));
    judge(
        probe.pn_cidr,
        &Seen {
            leg,
            packets,
            exporters,
            host,
        },
    )
}

async fn read_leg(probe: &Probe, clock: SharedClock) -> Option<Leg> {
    let asked = route_target(probe.pn_cidr, None, &[]);
    let (aim, target) = watch::channel(asked);
    let (tell, mut leg) = watch::channel(None);
    let following = os::follow(probe.interface.clone(), probe.pn_cidr, target, clock, tell);
    let wants_filter = cfg!(target_os = "macos");
    let reading = async {
        let first = leg.wait_for(Option::is_some).await.ok()?.clone();
        // An own address always leads to the loopback: look another one up.
        let own = first.map(|leg| leg.facts.addresses).unwrap_or_default();
        let wanted = route_target(probe.pn_cidr, None, &own);
        if wanted != asked && aim.send(wanted).is_ok() {
            let turned = leg.wait_for(|leg: &Option<Leg>| {
                let route = leg.as_ref().and_then(|leg| leg.facts.route.as_ref());
                route.map(|route| route.to) == wanted
            });
            let _ = tokio::time::timeout(ROUTE_WITHIN, turned).await;
        }
        if wants_filter {
            let filtered = leg.wait_for(|leg: &Option<Leg>| {
                leg.as_ref().is_some_and(|leg| leg.facts.filter.is_some())
            });
            // Without it the rest is still worth saying.
            let _ = tokio::time::timeout(FILTER_WITHIN, filtered).await;
        }
        leg.borrow().clone()
    };
    tokio::select! {
        () = following => None,
        leg = tokio::time::timeout(WITHIN, reading) => leg.ok().flatten(),
    }
}

/// Says how each thing stands.
pub fn judge(pn: Cidr, seen: &Seen) -> Vec<Item> {
    let mut items = Vec::new();
    match &seen.leg {
        None => items.push(item(
            Standing::Bad,
            "device",
            "this machine's network could not be read in time; run it again, as root",
        )),
        Some(leg) => {
            items.push(device(leg));
            if leg.facts.state != DeviceState::Absent {
                items.push(address(leg, pn));
                items.extend(lease(leg, pn));
                items.extend(route(leg, pn));
                items.push(arp(seen));
            }
            if seen.host {
                items.push(filter(leg));
            }
        }
    }
    for (name, said) in &seen.exporters {
        items.push(match said {
            Ok(()) => item(
                Standing::Good,
                "exporter",
                format!("{name} answers and knows the token"),
            ),
            Err(error) => item(Standing::Bad, "exporter", error.clone()),
        });
    }
    if seen.exporters.is_empty() {
        items.push(item(
            Standing::Note,
            "exporter",
            "none is named: the plan comes from a file and nothing is reported",
        ));
    }
    items
}

fn device(leg: &Leg) -> Item {
    let name = &leg.facts.device;
    match leg.facts.state {
        DeviceState::Up => item(Standing::Good, "device", format!("{name} is up")),
        DeviceState::NoCarrier => item(
            Standing::Bad,
            "device",
            format!("{name} has no carrier: look at the cable, the port and the device below it"),
        ),
        DeviceState::AdminDown => item(
            Standing::Bad,
            "device",
            format!("{name} is switched off: bring it up"),
        ),
        DeviceState::Absent => {
            let here = os::interface_names().join(", ");
            item(
                Standing::Bad,
                "device",
                format!(
                    "there is no {name}; this machine has {here}. Create the VLAN (on a Mac: \
                     networksetup -createVLAN pn en0 TAG), or correct `probe.interface`"
                ),
            )
        }
    }
}

fn address(leg: &Leg, pn: Cidr) -> Item {
    let name = &leg.facts.device;
    if let Some(held) = leg.facts.pn_address(pn) {
        let said = format!("{name} holds {}/{}", held.address, held.prefix_len);
        return item(Standing::Good, "address", said);
    }
    let held: Vec<String> = leg
        .facts
        .addresses
        .iter()
        .map(|a| a.address.to_string())
        .collect();
    let held = if held.is_empty() {
        "none".to_owned()
    } else {
        held.join(", ")
    };
    item(
        Standing::Bad,
        "address",
        format!(
            "{name} has no address in {pn} (it holds: {held}): ask DHCP again, or correct \
             `probe.pn_cidr`"
        ),
    )
}

fn lease(leg: &Leg, pn: Cidr) -> Option<Item> {
    leg.facts.pn_address(pn)?;
    let Some(lease) = leg.facts.lease(pn) else {
        return Some(item(
            Standing::Note,
            "lease",
            "no lease is known: the address is held by hand, or its DHCP client does not say",
        ));
    };
    let left = spoken(lease.remaining);
    let granted = spoken(lease.granted);
    // A client renews at half of the lease (RFC 2131 §4.4.5).
    let overdue = lease.remaining.saturating_mul(100) < lease.granted.saturating_mul(45);
    Some(if overdue {
        item(
            Standing::Note,
            "lease",
            format!("only {left} of {granted} are left and it was not renewed: does DHCP answer?"),
        )
    } else {
        item(Standing::Good, "lease", format!("{left} of {granted} left"))
    })
}

fn route(leg: &Leg, pn: Cidr) -> Option<Item> {
    let route = leg
        .facts
        .route
        .as_ref()
        .filter(|route| pn.contains(route.to))?;
    let name = &leg.facts.device;
    let to = route.to;
    Some(match (leg.facts.assess(pn, None), &route.device) {
        (LinkState::RouteWrong, Some(other)) => item(
            Standing::Bad,
            "route",
            format!(
                "packets to {to} leave by {other}, not by {name}: a VPN or a static route takes them"
            ),
        ),
        (LinkState::RouteWrong, None) => item(
            Standing::Bad,
            "route",
            format!("there is no route to {to}; {name} should have one by its address"),
        ),
        _ => {
            let device = route.device.as_deref()?;
            item(
                Standing::Good,
                "route",
                format!("packets to {to} leave by {device}"),
            )
        }
    })
}

fn arp(seen: &Seen) -> Item {
    match &seen.packets {
        None => item(Standing::Note, "arp", "ARP has no meaning on this device"),
        Some(Ok(())) => item(
            Standing::Good,
            "arp",
            "requests can be sent and answers heard",
        ),
        Some(Err(error)) => item(
            Standing::Bad,
            "arp",
            format!(
                "a packet socket cannot be opened ({error}): on macOS run as root, on Linux grant NET_RAW"
            ),
        ),
    }
}

fn filter(leg: &Leg) -> Item {
    let Some(facts) = &leg.facts.filter else {
        return item(
            Standing::Note,
            "filter",
            "the packet filter is not read on this system",
        );
    };
    let flaws = facts.flaws([]);
    match flaws.first() {
        None if facts.enabled.is_none() => item(
            Standing::Note,
            "filter",
            match facts.kind {
                FilterKind::Pf => "pfctl says nothing: it needs root",
                _ => "the packet filter says nothing",
            },
        ),
        None => item(
            Standing::Good,
            "filter",
            "VMs are admitted to the PN and translated on its device",
        ),
        Some(_) => {
            let all: Vec<&str> = flaws.iter().map(|flaw| flaw.title()).collect();
            item(
                Standing::Bad,
                "filter",
                format!("{}: load the host's anchors again", all.join("; ")),
            )
        }
    }
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
