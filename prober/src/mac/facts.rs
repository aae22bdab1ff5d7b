//! From command outputs to the facts that travel. Pure: outputs and the time in, facts out.

use core::net::Ipv4Addr;
use core::time::Duration;

use pnwatch_core::filter::{FilterFacts, FilterKind, MAX_PORT_SPANS, PortSpan};
use pnwatch_core::link::{Cidr, DeviceState, HeldAddress, LinkFacts, RouteFact};
use pnwatch_core::time::{Now, Timestamp};

use super::parse::{ifconfig, ipconfig, pf, route};
use crate::link::Leg;

/// How far two clocks of one machine may differ: the DHCP client writes whole seconds.
const SLACK: Duration = Duration::from_mins(1);

/// What was said of the PN device; empty where a command failed.
#[derive(Debug, Clone, Copy, Default)]
pub struct LegOutputs<'a> {
    /// `ifconfig DEVICE`.
    pub ifconfig: &'a str,
    /// The address that was looked up, and `route -n get ADDRESS`.
    pub route: Option<(Ipv4Addr, &'a str)>,
    /// `ipconfig getsummary DEVICE`, run with `TZ=UTC`.
    pub summary: &'a str,
    /// The DHCP client's lease file of the device.
    pub lease_file: &'a str,
}

/// The PN leg.
pub fn leg(
    (device, index): (&str, Option<u32>),
    pn: Cidr,
    outputs: &LegOutputs<'_>,
    now: Now,
) -> Leg {
    let interface = ifconfig::interface(outputs.ifconfig, device);
    let mut facts = LinkFacts {
        device: device.to_owned(),
        state: DeviceState::Absent,
        mac: None,
        addresses: Vec::new(),
        route: outputs.route.map(|(to, said)| route_fact(to, said)),
        filter: None,
    };
    let arp = interface.as_ref().is_some_and(|interface| interface.arp);
    if let Some(interface) = &interface {
        facts.state = interface.state();
        facts.mac = interface.mac;
        facts.addresses = interface
            .addresses
            .iter()
            .map(|(address, prefix_len)| {
                let lease = lease(outputs, *address, now.wall);
                HeldAddress {
                    address: *address,
                    prefix_len: *prefix_len,
                    valid_for_s: lease.map(|(left, _)| left),
                    renewed_ago_s: lease.map(|(_, age)| age),
                }
            })
            .collect();
    }
    let source = facts.pn_address(pn).map(|held| held.address);
    Leg {
        facts,
        index: index.filter(|_| interface.is_some()),
        arp,
        source,
        read_at: now.tick,
        since: now.tick,
    }
}

fn route_fact(to: Ipv4Addr, said: &str) -> RouteFact {
    let route = route::get(said).filter(|route| !route.refuses);
    RouteFact {
        to,
        via_gateway: route.as_ref().is_some_and(|r| r.gateway.is_some()),
        device: route.and_then(|route| route.device),
    }
}

/// What is left of the lease of `address`, and its age, in seconds; `None` where it has no
/// lease or what was said of it contradicts itself.
fn lease(outputs: &LegOutputs<'_>, address: Ipv4Addr, now: Timestamp) -> Option<(u64, u64)> {
    let kept = ipconfig::lease_file(outputs.lease_file)
        .filter(|file| file.address == address)
        .and_then(|file| running(file.start, Duration::from_secs(file.length_s), now));
    kept.or_else(|| {
        let summary = ipconfig::summary(outputs.summary);
        let length = Duration::from_secs(summary.packet.lease_s?);
        let (start, end) = (summary.start?, summary.end?);
        let whole = start.after(length);
        // Written with another zone, or of another lease.
        let agree = end.since(whole).max(whole.since(end)) <= SLACK;
        (summary.packet.address == Some(address) && agree)
            .then(|| running(start, length, now))
            .flatten()
    })
}

fn running(start: Timestamp, length: Duration, now: Timestamp) -> Option<(u64, u64)> {
    if start.since(now) > SLACK {
        return None;
    }
    let age = now.since(start);
    // A lease that ended long ago is not the one that the address is held by.
    (age <= length.saturating_add(SLACK)).then(|| {
        let left = length.saturating_sub(age);
        (left.as_secs(), age.as_secs())
    })
}

/// Where a host's VM rules stand in pf.
#[derive(Debug, Clone, Copy)]
pub struct Anchors<'a> {
    /// The anchor of the rules that admit VMs.
    pub rules: &'a str,
    /// The sub-anchor of the PN leg's NAT.
    pub nat: &'a str,
    /// The table of VM sources.
    pub sources: &'a str,
}

impl Default for Anchors<'_> {
    fn default() -> Self {
        Self {
            rules: "tuist.runners",
            nat: "com.apple/tuist.vmnat",
            sources: "vm_sources",
        }
    }
}

/// What `pfctl` said; `None` where the command could not be run at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct PfOutputs<'a> {
    /// `pfctl -s info`.
    pub info: Option<&'a str>,
    /// `pfctl -s memory`.
    pub memory: Option<&'a str>,
    /// `pfctl -s rules`.
    pub main: Option<&'a str>,
    /// `pfctl -a RULES -s rules`.
    pub rules: Option<&'a str>,
    /// `pfctl -a RULES -t SOURCES -T show`.
    pub sources: Option<&'a str>,
    /// `pfctl -a NAT -s nat`.
    pub nat: Option<&'a str>,
    /// Standard error of all of them, one after the other.
    pub errors: &'a str,
}

/// What pf does for this host's VMs. Without the privilege to ask nothing is known.
pub fn filter(
    outputs: &PfOutputs<'_>,
    anchors: Anchors<'_>,
    pn: Cidr,
    device: &str,
) -> FilterFacts {
    let mut facts = FilterFacts {
        kind: FilterKind::Pf,
        load_failed: pf::complaint(outputs.errors) == Some(pf::Complaint::Busy),
        ..FilterFacts::default()
    };
    let info = outputs.info.map(pf::info).unwrap_or_default();
    facts.enabled = info.enabled;
    // Nothing that pfctl did not say counts, and an answer without a status is none.
    if info.enabled.is_none() {
        return facts;
    }
    facts.states = info.states;
    facts.states_limit = outputs.memory.and_then(pf::states_limit);
    if let (Some(main), Some(rules)) = (outputs.main, outputs.rules) {
        let calls = pf::anchor_calls(main, anchors.rules);
        let admissions = pf::admissions(rules, pn);
        facts.admits_vms = Some(calls > 0 && !admissions.is_empty());
        let seen_before = |n: usize| admissions[..n].contains(&admissions[n]);
        let twice = (1..admissions.len()).any(seen_before);
        facts.duplicate = calls > 1 || twice;
        facts.ports = spans(&admissions);
        let named = admissions
            .iter()
            .any(|a| a.table.as_deref() == Some(anchors.sources));
        facts.sources = outputs.sources.filter(|_| named).map(pf::entries);
    }
    if let Some(said) = outputs.nat {
        let nats = pf::nats(said, pn);
        let right = |nat: &&pf::Nat| nat.translates && nat.device.as_deref() == Some(device);
        let count = nats.iter().filter(right).count();
        facts.nat_rule = Some(count > 0);
        facts.duplicate |= count > 1;
        let elsewhere = nats
            .iter()
            .find(|nat| nat.device.as_deref() != Some(device));
        facts.nat_device = elsewhere
            .filter(|_| count == 0)
            .and_then(|nat| nat.device.clone());
    }
    facts
}

fn spans(admissions: &[pf::Admission]) -> Vec<PortSpan> {
    let every = PortSpan {
        first: 1,
        last: u16::MAX,
    };
    if admissions.iter().any(|a| a.ports.is_empty()) {
        return vec![every];
    }
    let mut spans: Vec<PortSpan> = admissions.iter().flat_map(|a| a.ports.clone()).collect();
    spans.sort_unstable();
    spans.dedup();
    spans.truncate(MAX_PORT_SPANS);
    spans
}
