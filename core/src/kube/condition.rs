//! The node condition `PrivateNetworkReachable`: what it says, and when to write it.
//!
//! From the node target (what client vantages' ARP finds) and the node's own link alone: an
//! account's trouble is never the node's. `False` needs proof, `True` needs a witness; without
//! either it is `Unknown`, which taints nothing.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::link::{Cidr, LinkState};
use crate::name::{Node, Vantage};
use crate::path::Verdict;
use crate::time::{Now, Tick, Timestamp};
use crate::view::View;

/// The type of the condition.
pub const CONDITION: &str = "PrivateNetworkReachable";
/// How long a new status must hold before it is written.
const HOLD_FALSE: Duration = Duration::from_millis(500);
/// Shorter than a finding's hold-down: who waits for the node should have it back within five
/// seconds of its repair, and a relapse costs one more Event, not a page.
const HOLD_TRUE: Duration = Duration::from_secs(3);
const HOLD_UNKNOWN: Duration = Duration::from_secs(30);
/// How often an unchanged status is written again, so that readers see that it is alive.
pub const HEARTBEAT: Duration = Duration::from_mins(1);

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A client vantage reaches the node.
    True,
    /// The node's link is broken, or no client vantage reaches it.
    False,
    /// Nobody can say.
    Unknown,
}

impl Status {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// As Kubernetes writes it; anything else is no status.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::True, Self::False, Self::Unknown]
            .into_iter()
            .find(|s| s.as_str() == text)
    }

    fn hold(self) -> Duration {
        match self {
            Self::True => HOLD_TRUE,
            Self::False => HOLD_FALSE,
            Self::Unknown => HOLD_UNKNOWN,
        }
    }
}

/// What there is to say of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The status.
    pub status: Status,
    /// A word in camel case.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// What the view says of every node. A node under suspicion is left out: its status stays.
pub fn observe(view: &View, pn: Cidr) -> BTreeMap<Node, Said> {
    let link_of = |node: &Node, address| {
        let own = Vantage::Node(node.clone());
        let sight = view.vantages.iter().find(|v| v.vantage == own)?;
        let link = sight.link.as_ref().filter(|_| sight.reporting)?;
        Some(link.assess(pn, Some(address)))
    };
    let of = |n: &crate::view::NodeView| {
        let said = say(link_of(&n.node, n.address), n.verdict)?;
        Some((n.node.clone(), said))
    };
    view.nodes.iter().filter_map(of).collect()
}

/// The table: the node's own link, if it reports, and what client vantages find.
pub fn say(link: Option<LinkState>, verdict: Verdict) -> Option<Said> {
    let said = |status, reason, message: &str| {
        Some(Said {
            status,
            reason,
            message: message.to_owned(),
        })
    };
    match (link, verdict) {
        (Some(LinkState::InterfaceMissing), _) => said(
            Status::False,
            "InterfaceMissing",
            "the PN interface is missing on this node",
        ),
        (Some(LinkState::AdminDown | LinkState::NoCarrier), _) => said(
            Status::False,
            "InterfaceDown",
            "the PN interface of this node is down",
        ),
        (Some(LinkState::AddressLost), _) => said(
            Status::False,
            "AddressLost",
            "the PN interface of this node has no address inside the PN",
        ),
        (Some(LinkState::AddressWrong { holds }), _) => said(
            Status::False,
            "AddressWrong",
            &format!("the PN interface of this node holds {holds}, its label says another"),
        ),
        (Some(LinkState::RouteWrong), _) => said(
            Status::False,
            "RouteWrong",
            "traffic of this node to the PN leaves by another interface",
        ),
        (_, Verdict::Up | Verdict::Degraded) => said(
            Status::True,
            "Reachable",
            "client vantages reach this node on the PN",
        ),
        (_, Verdict::Down) => said(
            Status::False,
            "NoAnswer",
            "no client vantage that reports gets an ARP answer from this node",
        ),
        (_, Verdict::Suspect) => None,
        (_, Verdict::Unknown) => said(
            Status::Unknown,
            "NoWitness",
            "no client vantage reports on this node",
        ),
    }
}

/// A condition to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Of which node.
    pub node: Node,
    /// What.
    pub said: Said,
    /// `lastTransitionTime`.
    pub changed: Timestamp,
    /// The status before, if this is a transition that deserves an Event.
    pub from: Option<Status>,
}

#[derive(Debug, Clone)]
struct Told {
    status: Status,
    changed: Timestamp,
    written: Option<Tick>,
    pending: Option<(Status, Tick)>,
}

/// The conditions of all nodes with their hysteresis.
#[derive(Debug, Clone, Default)]
pub struct Conditions(BTreeMap<Node, Told>);

impl Conditions {
    /// Whether nothing is known of what the node's condition says in the cluster.
    pub fn is_new(&self, node: &Node) -> bool {
        !self.0.contains_key(node)
    }

    /// Takes over what the cluster says: no Event for what did not change.
    pub fn adopt(&mut self, node: Node, status: Status, changed: Timestamp) {
        let told = Told {
            status,
            changed,
            written: None,
            pending: None,
        };
        self.0.insert(node, told);
    }

    /// What is to be written now.
    pub fn due(&mut self, observed: &BTreeMap<Node, Said>, now: Now) -> Vec<Due> {
        self.0.retain(|node, told| {
            let known = observed.contains_key(node);
            if !known {
                told.pending = None;
            }
            known
                || told
                    .written
                    .is_some_and(|at| now.tick.since(at) < HEARTBEAT * 10)
        });
        let mut due = Vec::new();
        for (node, said) in observed {
            let Some(told) = self.0.get_mut(node) else {
                let (node, said) = (node.clone(), said.clone());
                due.push(Due {
                    node,
                    said,
                    changed: now.wall,
                    from: None,
                });
                continue;
            };
            let mut from = None;
            if told.status == said.status {
                told.pending = None;
            } else {
                let since = match told.pending {
                    Some((status, since)) if status == said.status => since,
                    _ => now.tick,
                };
                told.pending = Some((said.status, since));
                if now.tick.since(since) < said.status.hold() {
                    continue;
                }
                from = Some(told.status);
            }
            let beat = told
                .written
                .is_none_or(|at| now.tick.since(at) >= HEARTBEAT);
            if from.is_some() || beat {
                let changed = if from.is_some() {
                    now.wall
                } else {
                    told.changed
                };
                let (node, said) = (node.clone(), said.clone());
                due.push(Due {
                    node,
                    said,
                    changed,
                    from,
                });
            }
        }
        due
    }

    /// The write was accepted.
    pub fn written(&mut self, due: &Due, now: Now) {
        let told = Told {
            status: due.said.status,
            changed: due.changed,
            written: Some(now.tick),
            pending: None,
        };
        self.0.insert(due.node.clone(), told);
    }

    /// Another writes now: everything is asked anew before the next write.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Now {
        Now {
            tick: Tick::from_millis(1_000_000 + millis),
            wall: Timestamp::from_unix_seconds(1_790_000_000).after(Duration::from_millis(millis)),
        }
    }

    fn observed(said: Option<Said>) -> BTreeMap<Node, Said> {
        said.map(|s| (Node::new("n").unwrap(), s))
            .into_iter()
            .collect()
    }

    #[test]
    fn the_table_is_complete() {
        use LinkState as L;
        let links = [
            None,
            Some(L::Fine),
            Some(L::InterfaceMissing),
            Some(L::AdminDown),
            Some(L::NoCarrier),
            Some(L::AddressLost),
            Some(L::AddressWrong {
                holds: [172, 16, 0, 9].into(),
            }),
            Some(L::RouteWrong),
        ];
        let verdicts = [
            Verdict::Up,
            Verdict::Degraded,
            Verdict::Suspect,
            Verdict::Down,
            Verdict::Unknown,
        ];
        for link in links {
            for verdict in verdicts {
                let status = say(link, verdict).map(|s| s.status);
                let expected = match (link, verdict) {
                    (None | Some(L::Fine), Verdict::Up | Verdict::Degraded) => Some(Status::True),
                    (None | Some(L::Fine), Verdict::Suspect) => None,
                    (None | Some(L::Fine), Verdict::Unknown) => Some(Status::Unknown),
                    _ => Some(Status::False),
                };
                assert_eq!(status, expected, "{link:?} {verdict:?}");
            }
        }
    }

    #[test]
    fn a_flip_is_written_once_and_back_after_it_held() {
        let mut all = Conditions::default();
        let up = observed(say(None, Verdict::Up));
        let down = observed(say(Some(LinkState::InterfaceMissing), Verdict::Down));
        let step = |all: &mut Conditions, o: &BTreeMap<Node, Said>, ms| {
            let due = all.due(o, at(ms));
            for d in &due {
                all.written(d, at(ms));
            }
            due.first().map(|d| (d.said.status, d.from))
        };
        assert_eq!(step(&mut all, &up, 0), Some((Status::True, None)));
        assert_eq!(step(&mut all, &up, 1000), None);
        assert_eq!(step(&mut all, &down, 2000), None);
        assert_eq!(
            step(&mut all, &down, 2600),
            Some((Status::False, Some(Status::True)))
        );
        assert_eq!(step(&mut all, &down, 3000), None);
        assert_eq!(step(&mut all, &up, 4000), None);
        assert_eq!(step(&mut all, &down, 5000), None, "a blip of success");
        assert_eq!(step(&mut all, &up, 6000), None);
        assert_eq!(step(&mut all, &up, 8_900), None);
        assert_eq!(
            step(&mut all, &up, 9_100),
            Some((Status::True, Some(Status::False)))
        );
        // A heartbeat keeps the time of the transition.
        let beat = all.due(&up, at(80_000));
        assert_eq!((beat[0].changed, beat[0].from), (at(9_100).wall, None));
        // Silence of all vantages is not lost reachability, and not at once.
        let blind = observed(say(None, Verdict::Unknown));
        assert!(all.due(&blind, at(81_000)).iter().all(|d| d.from.is_none()));
        assert_eq!(
            step(&mut all, &blind, 111_500),
            Some((Status::Unknown, Some(Status::True)))
        );
        // Under suspicion nothing is said.
        assert_eq!(step(&mut all, &observed(None), 112_000), None);
    }

    #[test]
    fn a_new_writer_adopts_what_stands() {
        let mut all = Conditions::default();
        let up = observed(say(None, Verdict::Up));
        all.adopt(Node::new("n").unwrap(), Status::True, at(0).wall);
        let due = all.due(&up, at(90_000));
        assert_eq!((due[0].changed, due[0].from), (at(0).wall, None));
    }
}
