//! What the evidence says of an open finding that no diagnosis names now.
//!
//! Clear means fresh success of the very thing that failed: a check that started after the
//! finding began. Without evidence it is blind, and stays open.

use crate::board::{Board, Path};
use crate::diagnosis::quality;
use crate::diagnosis::table::{self, LeaseSign};
use crate::fault::{Blame, Fault};
use crate::finding::Finding;
use crate::findings::Standing;
use crate::inventory::Inventory;
use crate::name::{Host, Node, Vantage};
use crate::outcome::Layer;
use crate::path::Verdict;
use crate::subject::Subject;
use crate::time::Tick;

/// What is looked at.
pub(super) struct Ground<'a> {
    /// What was seen.
    pub(super) board: &'a Board,
    /// What should exist.
    pub(super) inventory: &'a Inventory,
    /// The instant.
    pub(super) now: Tick,
    /// What should exist is known.
    pub(super) known: bool,
    /// The DHCP server answers nobody: one finding says so for every lease.
    pub(super) dhcp_silent: bool,
}

/// Successes and misses, counted.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    reached: usize,
    missing: usize,
}

impl Count {
    /// One success is enough: what failed as a whole is back, parts follow.
    fn any(self) -> Standing {
        match (self.reached, self.missing) {
            (1.., _) => Standing::Clear,
            (0, 1..) => Standing::Against,
            (0, 0) => Standing::Blind,
        }
    }

    /// One miss is enough against it.
    fn all(self) -> Standing {
        match (self.reached, self.missing) {
            (_, 1..) => Standing::Against,
            (1.., 0) => Standing::Clear,
            (0, 0) => Standing::Blind,
        }
    }
}

impl Ground<'_> {
    fn count<'p>(
        &self,
        since: Option<Tick>,
        paths: impl Iterator<Item = (&'p Vantage, &'p Path)>,
    ) -> Count {
        let mut count = Count::default();
        for (vantage, path) in paths {
            if !self.board.is_reporting(vantage, self.now) {
                continue;
            }
            match path.state.verdict_at(self.now, self.board.limits()) {
                Verdict::Up | Verdict::Degraded
                    if since.is_none_or(|s| path.state.last_success() > Some(s)) =>
                {
                    count.reached += 1;
                }
                Verdict::Suspect | Verdict::Down => count.missing += 1,
                _ => {}
            }
        }
        count
    }

    fn clients<'p>(
        &'p self,
        subject: &Subject,
        layer: Layer,
    ) -> impl Iterator<Item = (&'p Vantage, &'p Path)> {
        self.board
            .paths_to(subject, layer)
            .filter(|(v, _)| v.is_witness())
    }

    /// Whether any of its paths still loses too much: that it is most of them is needed to be
    /// blamed, not to stay so.
    fn is_lossy(&self, finding: &Finding) -> bool {
        let id = &finding.identity;
        self.board.lossy_paths().any(|(vantage, subject)| match id.blame {
            Blame::Node => match subject {
                Subject::Node(node) => Some(node) == finding.node.as_ref(),
                Subject::Account(..) => {
                    let target = self.inventory.targets.get(subject);
                    target.is_some_and(|t| Some(&t.node) == finding.node.as_ref())
                }
                Subject::Neighbour(_) | Subject::Control => false,
            },
            Blame::Host => {
                let heard = matches!(subject, Subject::Neighbour(v) if v.host() == finding.host.as_ref());
                heard || vantage.host() == finding.host.as_ref()
            }
            Blame::Account => {
                matches!(subject, Subject::Account(a, ..) if Some(a) == finding.account.as_ref())
            }
            _ => true,
        })
    }

    /// Whether anybody's newest read of many segments from what is blamed has stalled.
    fn loses_large(&self, finding: &Finding) -> bool {
        let id = &finding.identity;
        self.inventory.targets.iter().any(|(subject, target)| {
            self.board.large(subject).any(|(vantage, read, at)| {
                let theirs = match id.blame {
                    Blame::Node => Some(&target.node) == finding.node.as_ref(),
                    Blame::Host => vantage.host() == finding.host.as_ref(),
                    Blame::Account => Some(&target.account) == finding.account.as_ref(),
                    _ => true,
                };
                theirs
                    && quality::is_recent(at, self.now)
                    && quality::has_stalled(read)
                    && self.board.is_reporting(vantage, self.now)
            })
        })
    }

    fn lease(&self, vantage: &Vantage) -> Standing {
        if self.dhcp_silent {
            return Standing::Clear;
        }
        let sight = self.board.vantages().get(vantage);
        let Some((facts, _)) = sight.and_then(|s| s.link.as_ref()) else {
            return Standing::Blind;
        };
        if !self.board.tells_link(vantage, self.now) {
            return Standing::Blind;
        }
        let pn = self.inventory.pn_cidr;
        let overdue = facts.lease(pn).is_some_and(|lease| {
            let (left, granted) = (lease.remaining.as_secs_f64(), lease.granted.as_secs_f64());
            table::lease_sign(left, granted) != LeaseSign::Fresh
        });
        // Gone is not renewed; an address held for ever has no lease to renew.
        if facts.pn_address(pn).is_none() || overdue {
            Standing::Against
        } else {
            Standing::Clear
        }
    }

    fn network(&self, since: Option<Tick>) -> Standing {
        let nodes = self.inventory.nodes.keys().cloned().map(Subject::Node);
        let peers = self.inventory.vantages.keys().cloned();
        let mut all = Count::default();
        for subject in nodes.chain(peers.map(Subject::Neighbour)) {
            let one = self.count(since, self.clients(&subject, Layer::Arp));
            all.reached += one.reached;
            all.missing += one.missing;
        }
        all.any()
    }

    fn node(&self, node: &Node, fault: Fault, since: Option<Tick>) -> Standing {
        let ports = |layer| {
            let mut all = Count::default();
            for (subject, _) in self.inventory.targets_of(node) {
                let one = self.count(since, self.clients(subject, layer));
                all.reached += one.reached;
                all.missing += one.missing;
            }
            all
        };
        match fault {
            Fault::LeaseNotRenewed => self.lease(&Vantage::Node(node.clone())),
            Fault::NodeportNotServed => ports(Layer::Tcp).any(),
            _ => {
                let subject = Subject::Node(node.clone());
                let mut all = self.count(since, self.clients(&subject, Layer::Arp));
                let tcp = ports(Layer::Tcp);
                all.reached += tcp.reached;
                all.missing += tcp.missing;
                all.any()
            }
        }
    }

    /// Each target is reached by somebody, through to its answer.
    fn targets<'p>(
        &self,
        targets: impl Iterator<Item = &'p Subject>,
        since: Option<Tick>,
    ) -> Standing {
        let mut all = Count::default();
        for subject in targets {
            let tcp = self.count(since, self.clients(subject, Layer::Tcp));
            let http = self.count(since, self.clients(subject, Layer::Http));
            // Connecting alone is no answer.
            match (tcp.any(), http.any()) {
                (Standing::Against, _) | (_, Standing::Against) => all.missing += 1,
                (_, Standing::Clear) => all.reached += 1,
                (_, Standing::Blind) => {}
            }
        }
        all.all()
    }

    fn host(&self, host: &Host, fault: Fault, since: Option<Tick>) -> Standing {
        let own = Vantage::Host(host.clone());
        match fault {
            Fault::LeaseNotRenewed => self.lease(&own),
            Fault::VmNatMissing | Fault::VmNetworkDead => {
                let vm = |v: &Vantage| matches!(v, Vantage::Vm(h, _) if h == host);
                self.over_targets(Layer::Tcp, since, vm).any()
            }
            Fault::PortFiltered => {
                // What nobody else reaches either is no sign against the host.
                let elsewhere = |subject: &&Subject| {
                    let others = self.clients(subject, Layer::Tcp);
                    let others = others.filter(|(v, _)| v.host() != Some(host));
                    self.count(since, others).reached > 0
                };
                let mut all = Count::default();
                for subject in self.inventory.targets.keys().filter(elsewhere) {
                    let own = self
                        .clients(subject, Layer::Tcp)
                        .filter(|(v, _)| **v == own);
                    let one = self.count(since, own);
                    all.reached += one.reached;
                    all.missing += one.missing;
                }
                all.all()
            }
            _ => self.own_checks(&own, since).any(),
        }
    }

    fn over_targets(
        &self,
        layer: Layer,
        since: Option<Tick>,
        counts: impl Fn(&Vantage) -> bool,
    ) -> Count {
        let mut all = Count::default();
        for subject in self.inventory.targets.keys() {
            let paths = self
                .board
                .paths_to(subject, layer)
                .filter(|(v, _)| counts(v));
            let one = self.count(since, paths);
            all.reached += one.reached;
            all.missing += one.missing;
        }
        all
    }

    /// Everything on the PN that one vantage checks.
    fn own_checks(&self, own: &Vantage, since: Option<Tick>) -> Count {
        let mut all = self.over_targets(Layer::Tcp, since, |v| v == own);
        let nodes = self.inventory.nodes.keys().cloned().map(Subject::Node);
        let peers = self.inventory.vantages.keys().cloned();
        for subject in nodes.chain(peers.map(Subject::Neighbour)) {
            let paths = self.board.paths_to(&subject, Layer::Arp);
            let one = self.count(since, paths.filter(|(v, _)| *v == own));
            all.reached += one.reached;
            all.missing += one.missing;
        }
        all
    }

    fn vantage(&self, vantage: &Vantage, fault: Fault, since: Option<Tick>) -> Standing {
        if !self.inventory.vantages.contains_key(vantage) {
            return Standing::Clear;
        }
        if !self.board.is_reporting(vantage, self.now) {
            return Standing::Blind;
        }
        match fault {
            Fault::LocalNetworkDenied if self.board.denied(vantage) => Standing::Against,
            Fault::VantageLost => match self.own_checks(vantage, since).any() {
                Standing::Against => Standing::Against,
                // It speaks again; that there is nothing to check is no loss.
                Standing::Clear | Standing::Blind => Standing::Clear,
            },
            _ => Standing::Clear,
        }
    }
}

/// Faults that come from elsewhere than checks and links: their judge alone opens and ends them.
fn has_own_judge(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::FilterStale
            | Fault::NotDispatched
            | Fault::Shedding
            | Fault::StatusStale
            | Fault::AddressConflict
            | Fault::Saturated
            | Fault::BindingMissing
            | Fault::NeverReady
            | Fault::DuplicateClaim
            | Fault::DhcpSilent
            | Fault::Lossy
            | Fault::LargePacketsLost
            | Fault::StateExhausted
            | Fault::MonitorBlind
            | Fault::TrafficSilent
            | Fault::BudgetBurn
    )
}

/// What the evidence says of `finding`, which began at `since`.
pub(super) fn of(ground: &Ground<'_>, finding: &Finding, since: Option<Tick>) -> Standing {
    let fault = finding.fault;
    if !ground.known {
        return Standing::Blind;
    }
    let goes_on = match fault {
        Fault::Lossy => ground.is_lossy(finding),
        Fault::LargePacketsLost => ground.loses_large(finding),
        _ => false,
    };
    if goes_on {
        return Standing::Against;
    }
    if has_own_judge(fault) {
        return Standing::Clear;
    }
    let inventory = ground.inventory;
    match finding.identity.blame {
        Blame::Network => ground.network(since),
        Blame::Node => match &finding.node {
            Some(node) if inventory.nodes.contains_key(node) => {
                if matches!(fault, Fault::PortFiltered | Fault::GatewayBroken) {
                    let theirs = inventory.targets_of(node);
                    let theirs = theirs.filter(|(_, t)| finding.accounts.contains(&t.account));
                    ground.targets(theirs.map(|(s, _)| s), since)
                } else {
                    ground.node(node, fault, since)
                }
            }
            _ => Standing::Clear,
        },
        Blame::Account => {
            let of = |account| inventory.targets.of_account(account);
            let mut theirs = finding.account.iter().flat_map(of).peekable();
            if theirs.peek().is_none() {
                return Standing::Clear;
            }
            ground.targets(theirs.map(|(s, _)| s), since)
        }
        Blame::Host => match &finding.host {
            Some(host) => ground.host(host, fault, since),
            None => Standing::Clear,
        },
        Blame::Vantage => match finding.identity.subject.parse() {
            Ok(vantage) => ground.vantage(&vantage, fault, since),
            Err(_) => Standing::Clear,
        },
        Blame::ControlPlane | Blame::Monitor => Standing::Clear,
    }
}
