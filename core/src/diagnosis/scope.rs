//! The walk: network, nodes, hosts, VMs, accounts, vantages. A cause hides its consequences.

use core::time::Duration;
use std::collections::BTreeMap;

use super::rule::InForce;
use super::table::Flaw;
use super::trace::{Hold, Trace};
use super::{Diagnosis, account, filter, host, lease, network, node, quality, vantage, vms};
use crate::board::{Board, Path, Tally};
use crate::inventory::{AccountTarget, Inventory};
use crate::name::{Account, Host, Node, Vantage};
use crate::outcome::Layer;
use crate::subject::Subject;
use crate::time::{Now, Tick};

/// When evidence counts, and for how long names may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long node or host link evidence must have held.
    pub link_hold: Duration,
    /// How long naming may wait for undecided witnesses after the first `Down`.
    pub naming_wait: Duration,
    /// Silence after which a vantage is silent.
    pub vantage_silent_after: Duration,
    /// How long a vantage that said goodbye may be away.
    pub stopping_grace: Duration,
    /// How long `/ready` may excuse a drain (FACTS: 260 s is a legal drain).
    pub drain_excuse: Duration,
    /// Blindness that pages.
    pub blind_critical_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            link_hold: Duration::from_millis(500),
            naming_wait: Duration::from_millis(500),
            vantage_silent_after: Duration::from_secs(15),
            stopping_grace: Duration::from_mins(2),
            drain_excuse: Duration::from_secs(280),
            blind_critical_after: Duration::from_mins(10),
        }
    }
}

/// Everything a diagnosis looks at.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What should exist.
    pub inventory: &'a Inventory,
    /// What was seen.
    pub board: &'a Board,
    /// How patient to be.
    pub patience: &'a Patience,
    /// What is still blamed by open findings: their consequences stay theirs until they close.
    pub blamed: &'a Blamed,
    /// Since when this engine has been judging.
    pub started: Tick,
    /// Since when some client vantage has been heard without a break.
    pub sighted: Tick,
    /// The instant.
    pub now: Now,
    /// The rules that count.
    pub force: InForce,
    /// Where to note what was asked, if somebody wants to know.
    pub trace: Option<&'a Trace>,
}

/// Which failures a cause explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of them: it goes on.
    All,
    /// Those that began by then: it is clearing since.
    Before(Tick),
}

impl Extent {
    /// Whether it explains a failure that began at `onset`.
    pub fn explains(self, onset: Tick) -> bool {
        match self {
            Self::All => true,
            Self::Before(clear) => onset <= clear,
        }
    }
}

/// What is reached badly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ill {
    /// Almost everything.
    Network,
    /// A node, and with it its accounts.
    Node(Node),
    /// A host.
    Host(Host),
    /// One account.
    Account(Account),
}

/// What carries blame already, and how much each explains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blamed {
    /// The network itself.
    pub network: Option<Extent>,
    /// The DHCP server is open for blame: its leases stay its own until it closes.
    pub dhcp: bool,
    /// Nodes.
    pub nodes: BTreeMap<Node, Extent>,
    /// Ports that a node's filter is blamed for.
    pub ports: BTreeMap<Subject, Extent>,
    /// Hosts.
    pub hosts: BTreeMap<Host, Extent>,
    /// Hosts lost as vantages, without harm to builds that would be known.
    pub lost: BTreeMap<Host, Extent>,
    /// Hosts whose VMs alone suffer.
    pub vms: BTreeMap<Host, Extent>,
    /// Accounts: no host is to blame for not reaching them.
    pub accounts: BTreeMap<Account, Extent>,
    /// What is reached badly: who reaches that badly is not to blame.
    pub badly: BTreeMap<(Flaw, Ill), Extent>,
}

/// Takes over what open findings explain and no diagnosis of this instant asserts.
fn linger<K: Ord + Clone>(blamed: &mut BTreeMap<K, Extent>, open: &BTreeMap<K, Extent>) {
    for (key, extent) in open {
        blamed.entry(key.clone()).or_insert(*extent);
    }
}

impl Case<'_> {
    /// Whether what `vantage` says of a path may be believed: it is a witness, reports, and its
    /// host is not itself to blame. A success is believed unless its host is cut off now.
    pub fn credible(&self, blamed: &Blamed, vantage: &Vantage, path: &Path) -> bool {
        let onset = path.state.missing_since();
        let onset = onset.unwrap_or(Tick::from_nanos(u64::MAX));
        !self.holds(Hold::NodeVantage, vantage, !vantage.is_witness())
            && !self.holds(
                Hold::SilentVantage,
                vantage,
                !self.board.is_reporting(vantage, self.now.tick),
            )
            && !self.discredits(blamed, vantage, onset)
    }

    /// Whether a failure to reach `subject` that began at `onset` is explained by the network,
    /// or by what the subject stands on.
    pub fn explained(&self, blamed: &Blamed, subject: &Subject, onset: Tick) -> bool {
        let by = |extent: Option<&Extent>| extent.is_some_and(|e| e.explains(onset));
        let held = |hold, extent: Option<&Extent>| self.holds(hold, subject, by(extent));
        held(Hold::NetworkDown, blamed.network.as_ref())
            || match subject {
                Subject::Node(node) => held(Hold::NodeDown, blamed.nodes.get(node)),
                Subject::Account(..) => {
                    let node = self.inventory.targets.get(subject).map(|t| &t.node);
                    held(Hold::NodeDown, node.and_then(|n| blamed.nodes.get(n)))
                        || held(Hold::NodeFilter, blamed.ports.get(subject))
                }
                Subject::Neighbour(v) => {
                    let host = v.host().and_then(|h| blamed.hosts.get(h));
                    held(Hold::BlamedHost, host)
                }
                Subject::Control => false,
            }
    }

    /// Whether the failures of `vantage` that began at `onset` are its own host's.
    pub fn discredits(&self, blamed: &Blamed, vantage: &Vantage, onset: Tick) -> bool {
        let explains = |extent: Option<&Extent>| extent.is_some_and(|e| e.explains(onset));
        let Some(host) = vantage.host() else {
            return false;
        };
        let by = explains(blamed.hosts.get(host))
            || explains(blamed.lost.get(host))
            || matches!(vantage, Vantage::Vm(..)) && explains(blamed.vms.get(host));
        self.holds(Hold::BlamedHost, vantage, by)
    }

    /// Whether `vantage` cannot be blamed for missing `subject` since `onset`.
    pub fn is_innocent(&self, blamed: &Blamed, subject: &Subject, onset: Tick) -> bool {
        let account = match subject {
            Subject::Account(account, ..) => self.blamed.accounts.get(account),
            _ => None,
        };
        self.explained(blamed, subject, onset)
            || self.holds(
                Hold::AccountDown,
                subject,
                account.is_some_and(|e| e.explains(onset)),
            )
            || self.holds(
                Hold::LossyTarget,
                subject,
                self.is_lost_on_the_way(subject, onset),
            )
    }

    /// Whether an open finding says that packets to `subject` get lost for everybody.
    fn is_lost_on_the_way(&self, subject: &Subject, onset: Tick) -> bool {
        let by = |ill| self.ails(Flaw::Lossy, ill, onset);
        match subject {
            Subject::Node(node) => by(Ill::Node(node.clone())),
            Subject::Account(account, ..) => {
                let node = self.inventory.targets.get(subject).map(|t| t.node.clone());
                by(Ill::Account(account.clone())) || node.is_some_and(|n| by(Ill::Node(n)))
            }
            Subject::Neighbour(_) | Subject::Control => false,
        }
    }

    /// Whether an open finding says that `ill` is reached badly, and explains what began at `onset`.
    pub(super) fn ails(&self, flaw: Flaw, ill: Ill, onset: Tick) -> bool {
        let extent = self.blamed.badly.get(&(flaw, ill));
        extent.is_some_and(|e| e.explains(onset))
    }

    /// Whether failures of an account target are excused now: a drain, a rollout, maintenance.
    pub fn is_excused(&self, subject: &Subject, target: &AccountTarget) -> bool {
        let drains = self
            .board
            .ready(subject, self.now.tick, self.patience.drain_excuse)
            .is_some_and(|r| r.draining);
        let excuse = target.excuse.as_ref();
        let excused = drains || excuse.is_some_and(|e| self.now.wall < e.until);
        self.holds(Hold::Excuse, subject, excused)
    }

    /// Whether naming has to wait: some witnesses are quiet, and it is not too late.
    pub fn must_wait(&self, about: &Subject, tally: &Tally) -> bool {
        let waits = !tally.quiet.is_empty()
            && tally
                .down_seen
                .is_some_and(|seen| self.now.tick.since(seen) < self.patience.naming_wait);
        self.holds(Hold::NamingWait, about, waits)
    }

    /// The connect tallies of every account target of `node`.
    pub fn ports_of(
        &self,
        node: &Node,
        since: Option<Tick>,
        blamed: &Blamed,
    ) -> BTreeMap<Subject, Tally> {
        self.inventory
            .targets_of(node)
            .map(|(subject, _)| {
                let tally = self
                    .board
                    .tally(subject, Layer::Tcp, since, self.now.tick, |v, p| {
                        self.credible(blamed, v, p)
                    });
                (subject.clone(), tally)
            })
            .collect()
    }
}

/// Judges everything, as of `case.now`.
pub fn diagnose(case: &Case<'_>) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    let mut blamed = Blamed::default();
    found.extend(vantage::monitor_blind(case));

    // Hosts first by their own word, so that a blind host accuses nobody.
    host::by_own_link(case, &mut blamed, &mut found);
    linger(&mut blamed.hosts, &case.blamed.hosts);
    linger(&mut blamed.lost, &case.blamed.lost);
    linger(&mut blamed.vms, &case.blamed.vms);
    let network = network::diagnose(case, &blamed);
    let undecided = matches!(network, network::Word::Wait);
    let undecided = case.holds(Hold::NetworkUndecided, &"PN", undecided);
    blamed.network = case.blamed.network;
    if let network::Word::Down(diagnosis) = network {
        blamed.network = Some(Extent::All);
        found.push(*diagnosis);
    }
    node::diagnose(case, undecided, &mut blamed, &mut found);
    linger(&mut blamed.nodes, &case.blamed.nodes);
    if undecided {
        // Whoever is named now might only suffer from the network.
        lease::diagnose(case, &blamed, &mut found);
        return found;
    }
    filter::diagnose(case, &mut blamed, &mut found);
    linger(&mut blamed.ports, &case.blamed.ports);
    host::by_comparison(case, &mut blamed, &mut found);
    vms::diagnose(case, &mut blamed, &mut found);
    account::diagnose(case, &blamed, &mut found);
    vantage::silent(case, &blamed, &mut found);
    lease::diagnose(case, &blamed, &mut found);
    quality::diagnose(case, &blamed, &mut found);
    found
}
