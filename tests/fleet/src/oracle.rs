//! The oracle: it knows what was injected, and so what must be found, by whom not to be blamed.

use core::fmt;
use core::time::Duration;

use pnwatch_core::fault::{Blame, Fault};
use pnwatch_core::finding::Finding;
use pnwatch_core::name::Vantage;

use crate::fault::{Break, Target};
use crate::timeline::{Breaks, Injected};
use crate::world::World;

macro_rules! rows {
    ($($row:ident $name:literal: $breaks:expr, $blame:ident $faults:expr, $within:literal ms;)+) => {
        /// Rows of the fault table as random timelines draw them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "they are the rows of docs/faults.md")]
        pub enum Row { $($row,)+ }

        impl Row {
            /// Every row.
            pub const ALL: &'static [Self] = &[$(Self::$row,)+];

            /// What is broken.
            pub fn breaks(self) -> Breaks {
                match self { $(Self::$row => $breaks,)+ }
            }

            fn verdict(self) -> (Blame, &'static [Fault], Duration) {
                match self {
                    $(Self::$row => (Blame::$blame, $faults, Duration::from_millis($within)),)+
                }
            }
        }

        impl fmt::Display for Row {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$row => $name,)+ })
            }
        }
    };
}

// Within: thrice the goal for its kind, so that a slow name is a miss and a busy one is none.
rows! {
    F1 "F1": &[(Break::InterfaceGone, 0)], Node &[Fault::InterfaceMissing], 2700 ms;
    F2 "F2": &[(Break::AddressGone, 0)], Node &[Fault::AddressLost], 2700 ms;
    F2a "F2a (node)": &[(Break::LeaseStuck, 1000)], Node &[Fault::LeaseNotRenewed], 6000 ms;
    F2ah "F2a (host)": &[(Break::LeaseStuck, 1000)], Host &[Fault::LeaseNotRenewed], 6000 ms;
    F4 "F4": &[(Break::FilterStale, 0)], Host &[Fault::FilterStale], 12000 ms;
    F3 "F3": &[(Break::VmNatGone, 0)], Host &[Fault::VmNatMissing], 6000 ms;
    F7 "F7": &[(Break::VmNetworkDead, 0)], Host &[Fault::VmNetworkDead], 6000 ms;
    F8 "F8": &[(Break::ReportsLost, 0)], Vantage &[Fault::VantageSilent], 18000 ms;
    F10 "F10": &[(Break::InterfaceGone, 0)], Host &[Fault::InterfaceMissing], 2700 ms;
    F11 "F11": &[(Break::AddressGone, 0)], Host &[Fault::AddressLost], 2700 ms;
    F12 "F12": &[(Break::PortsFiltered, 0)], Host &[Fault::PortFiltered], 6000 ms;
    F12a "F12 (one port)": &[(Break::PortDropped, 0)], Account &[Fault::AccountUnreachable], 6000 ms;
    F13 "F13": &[(Break::LocalNetworkDenied, 0)], Vantage &[Fault::LocalNetworkDenied], 6000 ms;
    F14 "F14 (silent)": &[(Break::PublicDip, 0)], Network &[], 0 ms;
    F15 "F15 (silent)": &[(Break::PolicyDropsNode, 0)], Node &[], 0 ms;
    F17 "F17": &[(Break::PodHung, 0)], Account &[Fault::PodDead], 6000 ms;
    F17e "F17 (5xx)": &[(Break::PodErrors, 0)], Account &[Fault::PodDead], 6000 ms;
    F21 "F21": &[(Break::AddressWrong, 0)], Node &[Fault::AddressWrong], 2700 ms;
    F22 "F22": &[(Break::AddressConflict, 0)], Node &[Fault::AddressConflict], 6000 ms;
    F23 "F23": &[(Break::WrongTenant, 0)], Account &[Fault::WrongTenant], 6000 ms;
    F24 "F24": &[(Break::MachineDead, 0)], Vantage &[Fault::VantageLost], 18000 ms;
    F25 "F25": &[(Break::Clamped, 1200)], Node &[Fault::Saturated], 15000 ms;
    F29 "F29": &[(Break::MachineDead, 0)], Node &[Fault::NodeDown, Fault::NodeUnreachable], 4000 ms;
    F30 "F30": &[(Break::PortsNotServed, 0)], Node &[Fault::NodeportNotServed], 6000 ms;
    F31 "F31": &[(Break::Down, 0)], Network &[Fault::NetworkDown], 4000 ms;
    F32 "F32 (node)": &[(Break::Isolated, 0)], Node &[Fault::L2Isolated], 4000 ms;
    F32h "F32 (host)": &[(Break::Isolated, 0)], Host &[Fault::L2Isolated], 4000 ms;
    F34 "F34": &[(Break::AnsweredByOther, 0)], Node &[Fault::AnsweredByOther], 6000 ms;
    F35 "F35": &[(Break::Loss, 30)], Host &[Fault::Lossy], 30000 ms;
    F36 "F36 (node)": &[(Break::LargeLost, 0)], Node &[Fault::LargePacketsLost], 6000 ms;
    F36h "F36 (host)": &[(Break::LargeLost, 0)], Host &[Fault::LargePacketsLost], 6000 ms;
    F37 "F37 (node)": &[(Break::StatesFull, 0)], Node &[Fault::StateExhausted], 6000 ms;
    F37h "F37 (host)": &[(Break::StatesFull, 0)], Host &[Fault::StateExhausted], 6000 ms;
    F38 "F38 (node)": &[(Break::RouteWrong, 0)], Node &[Fault::RouteWrong], 6000 ms;
    F38h "F38 (host)": &[(Break::RouteWrong, 0)], Host &[Fault::RouteWrong], 6000 ms;
    Loss "5 % loss (silent)": &[(Break::Loss, 5)], Host &[], 0 ms;
    Restart "restart (silent)": &[(Break::ProberKilled, 0)], Vantage &[], 0 ms;
    Stall "stall (silent)": &[(Break::ProberStalled, 0)], Vantage &[], 0 ms;
}

/// How long a fault of `row` lasts at least.
pub fn lasts(row: Row) -> Duration {
    Duration::from_secs(match row {
        Row::F8 | Row::F24 => 22,
        // Short enough that nobody is missed yet.
        Row::Restart | Row::Stall => 2,
        Row::F4 | Row::F14 | Row::F15 | Row::Loss | Row::F25 => 20,
        Row::F35 => 45,
        _ => 10,
    })
}

/// How long it takes at most until all is closed again: loss is counted over 64 checks.
pub fn closes(row: Row) -> Duration {
    Duration::from_secs(if row == Row::F35 { 110 } else { 22 })
}

/// To whom `row` can be done in `world`.
pub fn targets(row: Row, world: &World) -> Vec<Target> {
    let machines = |pick: fn(&Vantage) -> bool| {
        let all = world.vantages.iter().filter(|v| pick(v)).cloned();
        all.map(Target::Machine).collect()
    };
    match row {
        Row::F14 | Row::F31 => vec![Target::Network],
        Row::Restart | Row::Stall => machines(|_| true),
        _ => match row.verdict().0 {
            Blame::Node => machines(|v| matches!(v, Vantage::Node(_))),
            Blame::Host | Blame::Vantage => machines(|v| matches!(v, Vantage::Host(_))),
            _ => world.accounts().into_iter().map(Target::Account).collect(),
        },
    }
}

/// What must be found of one fault.
#[derive(Debug, Clone)]
pub struct Wanted {
    blame: Blame,
    subject: String,
    also: Vec<(Blame, String)>,
    /// The right classes.
    pub faults: &'static [Fault],
    /// From fault to finding.
    pub within: Duration,
    /// It touches no client path: nothing may be found.
    pub silent: bool,
    /// Somebody may be woken for it.
    pub pages: bool,
}

impl Wanted {
    /// Whether blame and subject are right.
    pub fn is(&self, finding: &Finding) -> bool {
        let id = &finding.identity;
        let same = |blame, subject: &str| id.blame == blame && id.subject == subject;
        same(self.blame, &self.subject) || self.also.iter().any(|(b, s)| same(*b, s))
    }

    /// Whether it may be open besides.
    pub fn allows(&self, finding: &Finding) -> bool {
        let id = &finding.identity;
        // A machine that is blamed may besides have fallen silent.
        self.also
            .iter()
            .any(|(b, s)| id.blame == *b && id.subject == *s)
    }
}

/// What must be found of `fault`.
pub fn wanted(fault: &Injected, world: &World) -> Wanted {
    let (blame, faults, within) = fault.row.verdict();
    let mut wanted = Wanted {
        blame,
        subject: subject(blame, &fault.target),
        also: Vec::new(),
        faults,
        within,
        silent: faults.is_empty(),
        pages: blame != Blame::Vantage && !matches!(fault.row, Row::F4 | Row::F25 | Row::F35),
    };
    // All ports of a node that has one are that one account's.
    if let (Row::F30, Some(node)) = (fault.row, fault.target.node()) {
        let mut of_node = world.inventory.targets_of(node);
        if let (Some((_, only)), None) = (of_node.next(), of_node.next()) {
            wanted.blame = Blame::Account;
            wanted.subject = only.account.to_string();
            wanted.faults = &[Fault::AccountUnreachable];
        }
        wanted.silent = world.inventory.targets_of(node).next().is_none();
    }
    // Without a port nobody connects, and nobody reads.
    if let (Row::F36 | Row::F37 | Row::F38, Some(node)) = (fault.row, fault.target.node()) {
        wanted.silent = world.inventory.targets_of(node).next().is_none();
    }
    // Without VMs nothing is felt; but a host tells that its rule is gone, before one starts.
    if !world.vantages.iter().any(|v| matches!(v, Vantage::Vm(..))) {
        match fault.row {
            Row::F3 => (wanted.faults, wanted.pages) = (&[Fault::FilterStale], false),
            Row::F7 => wanted.silent = true,
            _ => {}
        }
    }
    wanted
}

fn subject(blame: Blame, target: &Target) -> String {
    match (blame, target) {
        (Blame::Network, _) => "PN".into(),
        (Blame::Vantage, Target::Machine(vantage)) => vantage.to_string(),
        (_, Target::Machine(Vantage::Node(node))) => node.to_string(),
        (_, Target::Machine(Vantage::Host(host) | Vantage::Vm(host, _))) => host.to_string(),
        (_, Target::Account(account)) => account.to_string(),
        (_, other) => other.to_string(),
    }
}

/// Whether two faults can both be seen: neither hides the other, and enough witnesses are left.
pub fn are_apart(one: &Injected, other: &Injected, world: &World) -> bool {
    let quiet = |row: Row| row.verdict().1.is_empty();
    let all = world.vantages.iter();
    let hosts = all.filter(|v| matches!(v, Vantage::Host(_))).count();
    if one.target == other.target || one.row == Row::F31 || other.row == Row::F31 {
        return false;
    }
    // Two overdue leases are the DHCP server's.
    let lease = |row| matches!(row, Row::F2a | Row::F2ah);
    if lease(one.row) && lease(other.row) {
        return false;
    }
    if quiet(one.row) || quiet(other.row) {
        // A prober that is away for seconds is one witness less: two hosts more must be left.
        return hosts > 2 || quiet(one.row) && quiet(other.row);
    }
    let node_of = |target: &Target| match target {
        Target::Account(account) => {
            let mut all = world.inventory.targets.values();
            all.find(|t| t.account == *account).map(|t| t.node.clone())
        }
        other => other.node().cloned(),
    };
    let host_of = |target: &Target| target.host().cloned();
    let (a, b) = (&one.target, &other.target);
    let same_node = node_of(a).is_some() && node_of(a) == node_of(b);
    let both_hosts = host_of(a).is_some() && host_of(b).is_some();
    // What only connections show needs a node that answers.
    let felt = |row: Row| {
        matches!(
            row,
            Row::F3 | Row::F7 | Row::F12 | Row::F36h | Row::F37h | Row::F38h
        )
    };
    let node_dead = |row: Row| row.verdict().0 == Blame::Node;
    let hidden = felt(one.row) && node_dead(other.row) || felt(other.row) && node_dead(one.row);
    let dead = [&one.target, &other.target];
    let served = |n: &Target| {
        let mut targets = world.inventory.targets.values();
        n.node().is_some() && targets.any(|t| Some(&t.node) != n.node())
    };
    if hidden && !dead.into_iter().any(served) {
        return false;
    }
    // What only connections and reads show needs an account that answers.
    let ill = |row: Row| row.verdict().0 == Blame::Account;
    let unread = felt(one.row) && ill(other.row) || felt(other.row) && ill(one.row);
    if unread && world.accounts().len() < 2 {
        return false;
    }
    // What every node has is the network's.
    if one.row == Row::F36 && other.row == Row::F36 && world.inventory.nodes.len() < 3 {
        return false;
    }
    // With one host gone, two more must be left to compare.
    !same_node && !both_hosts && hosts >= 3
}
