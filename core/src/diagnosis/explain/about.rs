//! What an explanation is about, and how a person writes it.

use core::fmt;

use super::super::scope::Case;
use super::is_named;
use crate::fault::Blame;
use crate::finding::Finding;
use crate::inventory::{AccountTarget, Inventory, NodeTarget};
use crate::name::{Account, Host, Node, Vantage};
use crate::outcome::Layer;
use crate::subject::Subject;

/// What an explanation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The private network.
    Network,
    /// The monitor itself.
    Monitor,
    /// A cache node.
    Node(Node),
    /// A Mac host and its VMs.
    Host(Host),
    /// An account.
    Account(Account),
    /// One vantage's way to a node, host or account.
    Path(Vantage, Box<Self>),
}

/// A text names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AboutError {
    /// Not of any of the forms.
    #[error(
        "{0:?} names nothing; write node/NAME, host/NAME, account/NAME, network, monitor, the bare \
         name, or a path: VANTAGE:node/NAME, VANTAGE:account/NAME"
    )]
    Form(String),
    /// A bare name that nothing has.
    #[error("nothing here is called {0:?}; `pnwatch status` lists accounts, nodes and hosts")]
    Unknown(String),
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("network"),
            Self::Monitor => f.write_str("monitor"),
            Self::Node(node) => write!(f, "node/{node}"),
            Self::Host(host) => write!(f, "host/{host}"),
            Self::Account(account) => write!(f, "account/{account}"),
            Self::Path(vantage, to) => write!(f, "{vantage}:{to}"),
        }
    }
}

impl About {
    /// Reads what a person wrote; a bare name is looked up in `inventory`.
    pub fn read(text: &str, inventory: &Inventory) -> Result<Self, AboutError> {
        let shown: String = text.chars().take(100).collect();
        let form = || AboutError::Form(shown.clone());
        if let Some((from, to)) = text.split_once(':') {
            let vantage = from.parse().map_err(|_| form())?;
            return match Self::read(to, inventory)? {
                Self::Path(..) | Self::Network | Self::Monitor => Err(form()),
                to => Ok(Self::Path(vantage, Box::new(to))),
            };
        }
        match text.split_once('/') {
            Some(("node", name)) => Node::new(name).map(Self::Node).map_err(|_| form()),
            Some(("host", name)) => Host::new(name).map(Self::Host).map_err(|_| form()),
            Some(("account", name)) => Account::new(name).map(Self::Account).map_err(|_| form()),
            // A VM is known by its host.
            Some(("vm", rest)) => {
                let host = rest.split('/').next().unwrap_or_default();
                Host::new(host).map(Self::Host).map_err(|_| form())
            }
            Some(_) => Err(form()),
            None if text == "network" || text == "PN" => Ok(Self::Network),
            None if text == "monitor" => Ok(Self::Monitor),
            None => bare(text, inventory).ok_or(AboutError::Unknown(shown)),
        }
    }

    /// What is wrong with one of this blame and subject is what is asked about.
    pub fn of(blame: Blame, subject: &str) -> Option<Self> {
        match blame {
            Blame::Network => Some(Self::Network),
            Blame::Monitor => Some(Self::Monitor),
            Blame::Node => Node::new(subject).ok().map(Self::Node),
            Blame::Host => Host::new(subject).ok().map(Self::Host),
            Blame::Account => Account::new(subject).ok().map(Self::Account),
            Blame::Vantage => match subject.parse().ok()? {
                Vantage::Node(node) => Some(Self::Node(node)),
                Vantage::Host(host) | Vantage::Vm(host, _) => Some(Self::Host(host)),
            },
            // An object: of an account, or of a node.
            Blame::ControlPlane => None,
        }
    }

    /// Whether it is expected or reports.
    pub(super) fn exists(&self, case: &Case<'_>) -> bool {
        let inventory = case.inventory;
        match self {
            Self::Network | Self::Monitor => true,
            Self::Node(node) => inventory.nodes.contains_key(node),
            Self::Host(host) => {
                let of = |v: &Vantage| v.host() == Some(host);
                inventory.vantages.keys().any(of) || case.board.vantages().keys().any(of)
            }
            Self::Account(account) => inventory.targets.values().any(|t| t.account == *account),
            Self::Path(vantage, to) => {
                let known = inventory.vantages.contains_key(vantage)
                    || case.board.vantages().contains_key(vantage);
                known && to.exists(case)
            }
        }
    }

    /// Whether it reports, or anybody says anything of it.
    pub(super) fn is_known_now(&self, case: &Case<'_>) -> bool {
        let now = case.now.tick;
        let fresh = |subject: &Subject, layer| {
            case.board
                .paths_to(subject, layer)
                .any(|(v, _)| case.board.is_reporting(v, now))
        };
        match self {
            Self::Network | Self::Monitor => {
                let mut all = case.board.vantages().keys();
                all.any(|v| v.is_witness() && case.board.is_reporting(v, now))
            }
            Self::Node(node) => {
                fresh(&Subject::Node(node.clone()), Layer::Arp)
                    || case.board.is_reporting(&Vantage::Node(node.clone()), now)
            }
            Self::Host(host) => case.board.is_reporting(&Vantage::Host(host.clone()), now),
            Self::Account(account) => {
                let theirs = case.inventory.targets.iter();
                let mut theirs = theirs.filter(|(_, t)| t.account == *account);
                theirs.any(|(s, _)| fresh(s, Layer::Tcp))
            }
            Self::Path(vantage, _) => case.board.is_reporting(vantage, now),
        }
    }

    /// Whether this is whom a finding of that identity blames.
    pub(super) fn is(&self, case: &Case<'_>, blame: Blame, subject: &str) -> bool {
        match self {
            Self::Network => blame == Blame::Network,
            Self::Monitor => blame == Blame::Monitor,
            Self::Node(node) => {
                let of = |n: &NodeTarget| n.address.to_string() == subject;
                is_named(blame, subject, (Blame::Node, node.as_str()))
                    || blame == Blame::ControlPlane
                        && (subject == node.as_str()
                            || case.inventory.nodes.get(node).is_some_and(of))
                    || blame == Blame::Vantage && subject == format!("node/{node}")
            }
            Self::Host(host) => {
                is_named(blame, subject, (Blame::Host, host.as_str()))
                    || blame == Blame::Vantage && subject == format!("host/{host}")
            }
            Self::Account(account) => {
                let mut targets = case.inventory.targets.values();
                let theirs =
                    |t: &AccountTarget| t.account == *account && t.instance.as_str() == subject;
                is_named(blame, subject, (Blame::Account, account.as_str()))
                    || blame == Blame::ControlPlane
                        && (subject == account.as_str() || targets.any(theirs))
            }
            Self::Path(vantage, to) => {
                blame == Blame::Vantage && subject == vantage.to_string()
                    || to.is(case, blame, subject)
            }
        }
    }

    /// Whether a finding is about it, or explains what it suffers.
    pub(super) fn concerns(&self, case: &Case<'_>, finding: &Finding) -> bool {
        let id = &finding.identity;
        self.is(case, id.blame, &id.subject)
            || id.blame == Blame::Network
            || match self {
                Self::Network | Self::Monitor => false,
                Self::Node(node) => finding.node.as_ref() == Some(node) && id.blame == Blame::Node,
                Self::Host(host) => finding.host.as_ref() == Some(host),
                Self::Account(account) => {
                    finding.account.as_ref() == Some(account) || finding.accounts.contains(account)
                }
                Self::Path(vantage, to) => {
                    vantage
                        .host()
                        .is_some_and(|h| finding.host.as_ref() == Some(h))
                        || to.concerns(case, finding)
                }
            }
    }

    /// Whether a table that was asked of (blame, subject) decides about it.
    pub(super) fn is_asked_of(&self, case: &Case<'_>, blame: Blame, subject: &str) -> bool {
        if self.is(case, blame, subject) {
            return true;
        }
        match self {
            Self::Network | Self::Monitor => false,
            Self::Node(_) | Self::Host(_) => blame == Blame::Network,
            Self::Account(account) => {
                let mut targets = case.inventory.targets.values();
                blame == Blame::Node
                    && targets.any(|t| t.account == *account && t.node.as_str() == subject)
            }
            Self::Path(vantage, to) => {
                let from = vantage.host();
                from.is_some_and(|h| is_named(blame, subject, (Blame::Host, h.as_str())))
                    || to.is_asked_of(case, blame, subject)
            }
        }
    }

    /// Whether what was held back about `of` concerns it: itself, or what it is reached by.
    pub(super) fn is_held(&self, case: &Case<'_>, of: &str) -> bool {
        match self {
            Self::Network => of == "PN" || of.starts_with("neighbour:"),
            Self::Monitor => of == case.inventory.cluster.as_str(),
            Self::Node(node) => {
                let theirs = |(s, _): (&Subject, _)| s.to_string() == of;
                of == node.as_str()
                    || of.strip_prefix("node:").or(of.strip_prefix("node/")) == Some(node.as_str())
                    || case.inventory.targets_of(node).any(theirs)
            }
            Self::Host(host) => {
                let name = host.as_str();
                of == name
                    || of.strip_prefix("host/") == Some(name)
                    || of.strip_prefix("neighbour:host/") == Some(name)
                    || of.strip_prefix("vm/").and_then(|v| v.split('/').next()) == Some(name)
            }
            Self::Account(account) => {
                let mut theirs = case.inventory.targets.iter();
                theirs.any(|(s, t)| t.account == *account && s.to_string() == of)
            }
            Self::Path(vantage, to) => of == vantage.to_string() || to.is_held(case, of),
        }
    }
}

fn bare(text: &str, inventory: &Inventory) -> Option<About> {
    if let Some(target) = inventory
        .targets
        .values()
        .find(|t| t.account.as_str() == text)
    {
        return Some(About::Account(target.account.clone()));
    }
    // A node is known by its address too.
    let of_node = |n: &&NodeTarget| n.name.as_str() == text || n.address.to_string() == text;
    if let Some(node) = inventory.nodes.values().find(of_node) {
        return Some(About::Node(node.name.clone()));
    }
    let mut hosts = inventory.vantages.keys().filter_map(Vantage::host);
    hosts
        .find(|h| h.as_str() == text)
        .map(|h| About::Host(h.clone()))
}
