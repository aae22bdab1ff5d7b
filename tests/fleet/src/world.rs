//! What is true, and what a packet finds there.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use pnwatch_core::bandwidth::Plateau;
use pnwatch_core::filter::FilterFacts;
use pnwatch_core::inventory::{AccountTarget, ExpectedVantage, Inventory, NodeTarget};
use pnwatch_core::link::{DeviceState, HeldAddress, LinkFacts, Mac, RouteFact};
use pnwatch_core::name::{Account, Cluster, Host, Instance, Node, Slot, Vantage};
use pnwatch_core::outcome::{Cause, Outcome};
use pnwatch_core::subject::{Subject, TargetKind};
use pnwatch_core::targets::Targets;
use pnwatch_core::time::Tick;
use pnwatch_core::wire::DeviceReport;
use pnwatch_core::witness::{DhcpCount, LargeRead, WitnessReport};

use crate::fault::{Break, Target};
use crate::rng::Rng;

/// How many of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Cache nodes.
    pub nodes: u8,
    /// Mac hosts.
    pub hosts: u8,
    /// VMs on each host.
    pub vms: u8,
    /// Accounts, dealt out over the nodes in turn.
    pub accounts: u16,
    /// Each account has an https gateway besides.
    pub gateways: bool,
}

/// Two reads of many segments in a row, much faster than real ones; thrice that where a pod hangs,
/// which `/up` shows first.
const TWICE: Duration = Duration::from_secs(2);

/// What comes back on a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syn {
    /// SYN-ACK.
    Accepted,
    /// RST.
    Refused,
    /// Nothing.
    Silent,
}

/// What comes back on `GET /up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up {
    /// The right answer.
    Right,
    /// Nothing.
    Silent,
    /// 500.
    Error,
    /// Another tenant.
    WrongTenant,
    /// The name does not lead there.
    Name,
    /// TLS fails.
    Tls,
}

/// Why a vantage cannot send at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cannot {
    /// No PN device.
    NoDevice,
    /// No PN address.
    NoSource,
    /// The operating system denies it.
    Denied,
}

const LEASE: Duration = Duration::from_hours(1);
/// Of a hundred packets that cross the bad link of a bond, each way.
const BOND_LOSS: u64 = 20;

/// The truth.
#[derive(Debug, Clone)]
pub struct World {
    /// What should exist.
    pub inventory: Inventory,
    /// Every vantage, VMs too.
    pub vantages: Vec<Vantage>,
    broken: BTreeMap<(Target, Break), u64>,
    /// When stuck leases run out.
    expiry: BTreeMap<Target, Tick>,
    /// When a lease that was stuck was renewed again; the others are from the beginning.
    renewed: BTreeMap<Target, Tick>,
    /// Since when reads of many segments stall there.
    stalling: BTreeMap<Target, Tick>,
    /// Since when a pod that hung answers again.
    answers: BTreeMap<Target, Tick>,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "callers format the name in place"
)]
fn name<T: core::str::FromStr>(text: String) -> T
where
    T::Err: core::fmt::Debug,
{
    match text.parse() {
        Ok(name) => name,
        Err(error) => panic!("{text}: {error:?}"),
    }
}

fn address(third: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 16, third, last)
}

impl World {
    /// Everything healthy.
    pub fn new(size: Size) -> Self {
        let mut inventory = Inventory {
            cluster: name::<Cluster>("production".into()),
            pn_cidr: name("172.16.0.0/22".into()),
            nodes: BTreeMap::new(),
            vantages: BTreeMap::new(),
            targets: Targets::default(),
        };
        let mut vantages = Vec::new();
        let mut expect = |vantage: Vantage, address| {
            let expected = ExpectedVantage {
                vantage: vantage.clone(),
                address: Some(address),
            };
            inventory.vantages.insert(vantage.clone(), expected);
            vantages.push(vantage);
        };
        for n in 1..=size.nodes {
            let node: Node = name(format!("node-{n}"));
            let address = address(0, 1 + n);
            expect(Vantage::Node(node.clone()), address);
            let target = NodeTarget {
                name: node.clone(),
                address,
                ready: Some(true),
            };
            inventory.nodes.insert(node, target);
        }
        for h in 1..=size.hosts {
            expect(
                Vantage::Host(name::<Host>(format!("mini-{h}"))),
                address(1, h),
            );
        }
        for h in 1..=size.hosts {
            for slot in 0..size.vms {
                let host = name::<Host>(format!("mini-{h}"));
                vantages.push(Vantage::Vm(host, name::<Slot>(slot.to_string())));
            }
        }
        for a in 1..=size.accounts {
            let n = (a - 1) % u16::from(size.nodes) + 1;
            let target = AccountTarget {
                account: name(format!("account-{a}")),
                tenant: Some(name(format!("tenant-{a}"))),
                instance: name::<Instance>(format!("kura-account-{a}")),
                kind: TargetKind::Nodeport,
                node: name(format!("node-{n}")),
                address: address(0, 1 + n as u8),
                port: 30_000 + a,
                excuse: None,
                metrics: None,
                egress_cap: None,
            };
            if size.gateways {
                let gateway = AccountTarget {
                    kind: TargetKind::Gateway,
                    port: 443,
                    ..target.clone()
                };
                inventory.targets.insert(gateway.subject(), gateway);
            }
            inventory.targets.insert(target.subject(), target);
        }
        Self {
            inventory,
            vantages,
            broken: BTreeMap::new(),
            expiry: BTreeMap::new(),
            renewed: BTreeMap::new(),
            stalling: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Breaks something. Gives the time at which a consequence is due of itself, if any.
    pub fn break_it(
        &mut self,
        target: &Target,
        what: Break,
        value: u64,
        now: Tick,
    ) -> Option<Tick> {
        self.broken.insert((target.clone(), what), value);
        if matches!(what, Break::LargeLost | Break::PodHung) {
            self.stalling.insert(target.clone(), now);
        }
        if what == Break::LeaseStuck {
            let expiry = now.after(Duration::from_secs(value));
            self.expiry.insert(target.clone(), expiry);
            return Some(expiry);
        }
        None
    }

    /// Repairs it.
    pub fn repair(&mut self, target: &Target, what: Break, now: Tick) {
        self.broken.remove(&(target.clone(), what));
        if what == Break::PodHung {
            self.answers.insert(target.clone(), now);
        }
        if what == Break::LeaseStuck {
            self.expiry.remove(target);
            self.renewed.insert(target.clone(), now);
        }
    }

    fn value(&self, what: Break, whose: impl Fn(&Target) -> bool) -> Option<u64> {
        let found = self.broken.iter();
        let mut found = found.filter(|((target, broken), _)| *broken == what && whose(target));
        found.next().map(|(_, value)| *value)
    }

    fn is(&self, target: &Target, what: Break) -> bool {
        self.value(what, |t| t == target).is_some()
    }

    fn account_is(&self, account: &Account, what: Break) -> bool {
        self.value(what, |t| matches!(t, Target::Account(a) if a == account))
            .is_some()
    }

    /// `vantage` itself.
    fn vantage_is(&self, vantage: &Vantage, what: Break) -> bool {
        self.value(what, |t| matches!(t, Target::Machine(v) if v == vantage))
            .is_some()
    }

    /// The machine of `vantage`: a VM's is its host.
    fn machine_value(&self, vantage: &Vantage, what: Break) -> Option<u64> {
        self.value(what, |target| match (target, vantage) {
            (Target::Machine(Vantage::Host(h)), Vantage::Vm(own, _)) => h == own,
            (Target::Machine(v), own) => v == own,
            _ => false,
        })
    }

    fn machine_is(&self, vantage: &Vantage, what: Break) -> bool {
        self.machine_value(vantage, what).is_some()
    }

    /// Whether the prober of `vantage` runs at all.
    pub fn prober_runs(&self, vantage: &Vantage) -> bool {
        let gone = [Break::ProberStopped, Break::ProberKilled];
        !gone.iter().any(|what| self.vantage_is(vantage, *what))
            && !self.machine_is(vantage, Break::MachineDead)
    }

    /// Whether it runs, but gets no time.
    pub fn prober_stalls(&self, vantage: &Vantage) -> bool {
        self.vantage_is(vantage, Break::ProberStalled)
            || self.machine_is(vantage, Break::ProberStalled)
    }

    /// Whether its reports get through.
    pub fn reports_pass(&self, vantage: &Vantage) -> bool {
        !self.machine_is(vantage, Break::ReportsLost)
    }

    fn has_address(&self, machine: &Vantage, now: Tick) -> bool {
        let own = |target: &Target| match (target, machine) {
            (Target::Machine(Vantage::Host(h)), Vantage::Vm(host, _)) => h == host,
            (Target::Machine(v), machine) => v == machine,
            _ => false,
        };
        !self.machine_is(machine, Break::AddressGone)
            && !self
                .expiry
                .iter()
                .any(|(t, expiry)| own(t) && now >= *expiry)
    }

    /// Whether a machine is on the PN under its address.
    fn on_pn(&self, machine: &Vantage, now: Tick) -> bool {
        let off = [
            Break::InterfaceGone,
            Break::AddressWrong,
            Break::CarrierLost,
            Break::Isolated,
            Break::MachineDead,
        ];
        !off.iter().any(|what| self.machine_is(machine, *what)) && self.has_address(machine, now)
    }

    /// Why `vantage` cannot send on the PN, if it cannot.
    pub fn cannot_send(&self, vantage: &Vantage, now: Tick) -> Option<Cannot> {
        if matches!(vantage, Vantage::Vm(..)) {
            return None;
        }
        let machine = vantage;
        if self.machine_is(machine, Break::LocalNetworkDenied) {
            Some(Cannot::Denied)
        } else if self.machine_is(machine, Break::InterfaceGone) {
            Some(Cannot::NoDevice)
        } else if !self.has_address(machine, now) {
            Some(Cannot::NoSource)
        } else {
            None
        }
    }

    fn lost(&self, vantage: &Vantage, rng: &mut Rng) -> bool {
        match self.machine_value(vantage, Break::Loss) {
            // There and back.
            Some(percent) => rng.percent(percent) || rng.percent(percent),
            None => false,
        }
    }

    /// Whether `to` lies behind the bad link of a bond that `what` puts `from` on.
    fn on_bad_link(&self, from: &Vantage, to: &Vantage, what: Break) -> bool {
        let node = self.machine_value(from, what);
        node.is_some_and(|number| to.to_string() == format!("node/node-{number}"))
    }

    fn passes(&self, from: &Vantage, to: &Vantage, now: Tick, rng: &mut Rng) -> bool {
        let bad = self.on_bad_link(from, to, Break::BondLoss);
        self.on_pn(from, now)
            && self.on_pn(to, now)
            && !self.is(&Target::Network, Break::Down)
            && !self.lost(from, rng)
            && !self.lost(to, rng)
            && !(bad && (rng.percent(BOND_LOSS) || rng.percent(BOND_LOSS)))
    }

    /// Whether `subject` answers an ARP request of `from`.
    pub fn arp(&self, from: &Vantage, subject: &Subject, now: Tick, rng: &mut Rng) -> bool {
        let to = match subject {
            Subject::Node(node) => Vantage::Node(node.clone()),
            Subject::Neighbour(vantage) => vantage.clone(),
            Subject::Account(..) | Subject::Control => return false,
        };
        self.passes(from, &to, now, rng) && !self.machine_is(from, Break::ArpLost)
    }

    /// What comes back on a SYN from `from` to `target`.
    pub fn syn(&self, from: &Vantage, target: &AccountTarget, now: Tick, rng: &mut Rng) -> Syn {
        let node = Vantage::Node(target.node.clone());
        let account = &target.account;
        let of_host = |what| from.host().is_some() && self.machine_is(from, what);
        let vm = matches!(from, Vantage::Vm(..));
        let silent = (vm && (of_host(Break::VmNatGone) || of_host(Break::VmNetworkDead)))
            || of_host(Break::PortsFiltered)
            || of_host(Break::StatesFull)
            || of_host(Break::RouteWrong)
            || vm
                && self
                    .machine_value(from, Break::FilterStale)
                    .is_some_and(|v| v > 0)
            || self.machine_is(&node, Break::RouteWrong)
            || self.machine_is(&node, Break::StatesFull)
            || target.kind == TargetKind::Gateway
                && self.account_is(account, Break::GatewayFiltered)
            || self.machine_is(&node, Break::PortsNotServed)
            || matches!(from, Vantage::Node(_)) && self.machine_is(from, Break::PolicyDropsNode)
            || self.account_is(account, Break::PortDropped)
            || self.on_bad_link(from, &node, Break::BondDrop);
        // A node that dials itself never leaves the machine.
        let own = *from == node && !self.machine_is(&node, Break::MachineDead);
        if silent || !own && !self.passes(from, &node, now, rng) {
            Syn::Silent
        } else if self.account_is(account, Break::PortRefused) {
            Syn::Refused
        } else {
            Syn::Accepted
        }
    }

    /// What comes back on `GET /up`.
    pub fn up(&self, target: &AccountTarget, rng: &mut Rng) -> Up {
        let account = &target.account;
        let of_account = |t: &Target| matches!(t, Target::Account(a) if a == account);
        let stutters = self.value(Break::PodStutters, of_account);
        let gateway = target.kind == TargetKind::Gateway;
        if gateway && self.account_is(account, Break::GatewayName) {
            Up::Name
        } else if gateway && self.account_is(account, Break::GatewayTls) {
            Up::Tls
        } else if self.account_is(account, Break::PodHung) {
            Up::Silent
        } else if self.account_is(account, Break::PodErrors)
            || stutters.is_some_and(|percent| rng.percent(percent))
        {
            Up::Error
        } else if self.account_is(account, Break::WrongTenant) {
            Up::WrongTenant
        } else {
            Up::Right
        }
    }

    /// Whether `/ready` says draining.
    pub fn drains(&self, account: &Account) -> bool {
        self.account_is(account, Break::Draining)
    }

    /// Whether what lies off the PN answers.
    pub fn control(&self, from: &Vantage) -> bool {
        let vm = matches!(from, Vantage::Vm(..));
        let dead = self.machine_is(from, Break::ControlDead);
        let of_vms = vm && self.machine_is(from, Break::VmNetworkDead);
        !dead && !of_vms
    }

    /// What `vantage` sees of its own PN leg.
    pub fn link(&self, vantage: &Vantage, now: Tick) -> Option<LinkFacts> {
        if matches!(vantage, Vantage::Vm(..)) {
            return None;
        }
        let target = Target::Machine(vantage.clone());
        let device = if matches!(vantage, Vantage::Node(_)) {
            "pn0"
        } else {
            "vlan0"
        };
        let own = self.inventory.vantages.get(vantage)?.address?;
        let holds = if self.is(&target, Break::AddressWrong) {
            address(2, own.octets()[3])
        } else {
            own
        };
        let absent = self.is(&target, Break::InterfaceGone);
        let state = if absent {
            DeviceState::Absent
        } else if self.is(&target, Break::CarrierLost) {
            DeviceState::NoCarrier
        } else {
            DeviceState::Up
        };
        let (valid_for, renewed_ago) = self.lease(&target, now);
        let addresses = if absent || !self.has_address(vantage, now) {
            Vec::new()
        } else {
            vec![HeldAddress {
                address: holds,
                prefix_len: 22,
                valid_for_s: valid_for,
                renewed_ago_s: renewed_ago,
            }]
        };
        let strays = self.is(&target, Break::RouteWrong);
        let route = (!addresses.is_empty()).then(|| RouteFact {
            to: address(0, 254),
            device: Some(if strays { "eth0" } else { device }.into()),
            via_gateway: strays,
        });
        let [.., third, last] = own.octets();
        Some(LinkFacts {
            device: device.into(),
            state,
            mac: Some(Mac([2, 0, 0, 0, third, last])),
            addresses,
            route,
            filter: self.filter(vantage),
        })
    }

    /// What a machine's packet filter looks like.
    fn filter(&self, vantage: &Vantage) -> Option<FilterFacts> {
        let full = self.machine_is(vantage, Break::StatesFull);
        if matches!(vantage, Vantage::Node(_)) && !full {
            return None;
        }
        let limit = 10_000;
        Some(FilterFacts {
            admits_vms: Some(true),
            nat_rule: Some(!self.machine_is(vantage, Break::VmNatGone)),
            duplicate: self.machine_is(vantage, Break::FilterStale),
            load_failed: self.machine_is(vantage, Break::FilterStale),
            states: Some(if full { limit } else { limit / 50 }),
            states_limit: Some(limit),
            ..FilterFacts::default()
        })
    }

    /// What answers an ARP request of `from` in the place of the owner.
    pub fn arp_cause(&self, subject: &Subject) -> Option<Cause> {
        let Subject::Node(node) = subject else {
            return None;
        };
        let node = Vantage::Node(node.clone());
        if self.machine_is(&node, Break::AddressConflict) {
            Some(Cause::AddressConflict)
        } else if self.machine_is(&node, Break::AnsweredByOther) {
            Some(Cause::AnsweredByOther)
        } else {
            None
        }
    }

    /// Whether anything of an account, a machine or the network is broken in that way.
    pub fn fed(&self, target: &Target, what: Break) -> Option<u64> {
        self.value(what, |t| t == target)
    }

    /// What a machine's own packet socket saw.
    pub fn witness(&self, vantage: &Vantage) -> Option<WitnessReport> {
        let stuck = self.machine_is(vantage, Break::LeaseStuck);
        (stuck && !matches!(vantage, Vantage::Vm(..))).then(|| WitnessReport {
            window_us: 10_000_000,
            dhcp: DhcpCount {
                unanswered: 3,
                waiting_us: Some(9_000_000),
                answer_age_us: None,
            },
            ..WitnessReport::default()
        })
    }

    /// What reads of many segments end in.
    pub fn large(&self, vantage: &Vantage, now: Tick) -> Vec<LargeRead> {
        let Vantage::Host(_) = vantage else {
            return Vec::new();
        };
        let read = |(subject, target): (&Subject, &AccountTarget)| {
            let node = Vantage::Node(target.node.clone());
            let passes = self.on_pn(vantage, now) && self.on_pn(&node, now);
            let ends = [
                Target::Machine(node.clone()),
                Target::Machine(vantage.clone()),
                Target::Account(target.account.clone()),
            ];
            let lost = ends
                .into_iter()
                .filter(|end| self.is(end, Break::LargeLost) || self.is(end, Break::PodHung));
            let since = lost.filter_map(|end| self.stalling.get(&end)).min();
            // Whoever stalls twice stalls later than everybody has stalled once.
            let hangs = self.is(&Target::Account(target.account.clone()), Break::PodHung);
            let twice = if hangs { TWICE * 3 } else { TWICE };
            let mut misses = since.map_or(0, |s| if now.since(*s) < twice { 1 } else { 2 });
            // The newest read may have begun while the pod still hung.
            let answers = self.answers.get(&Target::Account(target.account.clone()));
            let lately = answers
                .map(|since| now.since(*since))
                .filter(|d| *d < TWICE);
            let mut age = Duration::ZERO;
            if let (0, Some(lately)) = (misses, lately) {
                (misses, age) = (2, lately + TWICE / 4);
            }
            let lost = misses > 0;
            passes.then(|| LargeRead {
                subject: subject.clone(),
                outcome: if lost {
                    Outcome::Unreached(Cause::TransferStalled)
                } else {
                    Outcome::Reached
                },
                bytes: if lost { 1_400 } else { 60_000 },
                misses,
                age_us: u64::try_from(age.as_micros()).unwrap_or(u64::MAX),
            })
        };
        self.inventory.targets.iter().filter_map(read).collect()
    }

    /// What a node's link carries.
    pub fn devices(&self, vantage: &Vantage) -> Vec<DeviceReport> {
        if !matches!(vantage, Vantage::Node(_)) {
            return Vec::new();
        }
        let clamp = self.machine_value(vantage, Break::Clamped);
        vec![DeviceReport {
            device: "pn0".into(),
            plane: "pn".into(),
            transmit_plateau: clamp.map(|level| Plateau {
                level: level * 125_000,
                burst: 625_000_000,
                held_ms: 20_000,
            }),
            ..DeviceReport::default()
        }]
    }

    fn lease(&self, target: &Target, now: Tick) -> (Option<u64>, Option<u64>) {
        if self.is(target, Break::StaticAddress) {
            return (None, None);
        }
        let left = if let Some(expiry) = self.expiry.get(target) {
            expiry.since(now)
        } else {
            let first = self.renewed.get(target).copied().unwrap_or_default();
            let since = now.since(first).as_nanos() % (LEASE.as_nanos() / 2);
            LEASE.saturating_sub(Duration::from_nanos(since as u64))
        };
        let left = left.as_secs();
        (Some(left), Some(LEASE.as_secs().saturating_sub(left)))
    }

    /// Names of all accounts.
    pub fn accounts(&self) -> BTreeSet<Account> {
        let all = self.inventory.targets.values();
        all.map(|t| t.account.clone()).collect()
    }
}
