//! The https gateways that are handed out, by what looks at them bring: F39 (`gateway_broken`).
//!
//! Plain state over looks that somebody else makes. A name must resolve to the address that the
//! status hands out and to nothing else; where the gateway can be asked, it must answer over a
//! certificate that fits its name and does not run out soon. Two bad looks in a row are told; one
//! is weather. What the looker's own resolver cannot say accuses nobody.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use super::Gateway;
use crate::diagnosis::Diagnosis;
use crate::diagnosis::table::Named;
use crate::fault::{Blame, Confidence, Fault, Severity};
use crate::finding::{Evidence, Repair};
use crate::name::{Instance, Node};
use crate::time::{Now, Tick, spoken};

/// Bad looks in a row before anything is told.
const BAD_LOOKS: u32 = 2;
/// Most bytes of somebody else's words in a sentence.
const MAX_WORDS: usize = 200;

/// Certificates are renewed a month before they end (cert-manager's default for 90 days is a
/// third of them): who has less than this missed several attempts, and there is time to mend it.
const ENDS_SOON: Duration = Duration::from_hours(14 * 24);
/// Nobody sleeps over this.
const ENDS_NOW: Duration = Duration::from_hours(2 * 24);

/// What a name resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Its addresses; none, if it has none.
    To(Vec<IpAddr>),
    /// The resolver says that there is no such name.
    Nothing(String),
    /// The resolver itself gave no answer, in its own words.
    Unasked(String),
}

/// What `GET /up` over TLS brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP answer.
    Status {
        /// Its status code.
        code: u16,
        /// How much longer the chain of certificates is valid; `None` = unknown.
        valid_for: Option<Duration>,
    },
    /// Its certificate was refused; a sentence.
    Refused(String),
    /// Nothing answered; a sentence.
    Silent(String),
}

/// What one look at a gateway brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What its name resolves to.
    pub name: Resolved,
    /// What it answered; `None` = not asked from here.
    pub answer: Option<Answer>,
}

/// What is wrong with a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// Its name does not exist.
    Unknown,
    /// Its name leads elsewhere.
    Astray,
    /// Its certificate.
    Certificate,
    /// Its certificate ends within days.
    Ending,
    /// Its answer.
    Answer,
}

impl Trouble {
    fn severity(self) -> Severity {
        match self {
            Self::Ending => Severity::Warning,
            Self::Unknown | Self::Astray | Self::Certificate | Self::Answer => Severity::Critical,
        }
    }
}

/// The first thing that is wrong, as a sentence without the gateway's name.
fn trouble(gateway: &Gateway, look: &Look) -> Option<(Trouble, String)> {
    let addresses = match &look.name {
        Resolved::To(addresses) => addresses,
        Resolved::Nothing(why) => {
            return Some((Trouble::Unknown, format!("does not resolve: {}", cut(why))));
        }
        Resolved::Unasked(_) => return None,
    };
    let of_four = |address: &IpAddr| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    };
    let mut found: Vec<Ipv4Addr> = addresses.iter().filter_map(of_four).collect();
    found.sort_unstable();
    found.dedup();
    if found != [gateway.address] {
        let named: Vec<String> = found.iter().take(4).map(ToString::to_string).collect();
        let named = if named.is_empty() {
            "no IPv4 address".to_owned()
        } else {
            named.join(", ")
        };
        let expected = gateway.address;
        let text = format!("resolves to {named}, status.nodeAddress is {expected}");
        return Some((Trouble::Astray, text));
    }
    match look.answer.as_ref()? {
        Answer::Silent(why) => Some((Trouble::Answer, format!("gives no answer: {}", cut(why)))),
        Answer::Refused(why) => {
            let text = format!("shows a certificate that does not fit: {}", cut(why));
            Some((Trouble::Certificate, text))
        }
        Answer::Status { code, .. } if *code >= 500 => {
            Some((Trouble::Answer, format!("answers /up with {code}")))
        }
        Answer::Status { valid_for, .. } => ending((*valid_for)?),
    }
}

fn ending(left: Duration) -> Option<(Trouble, String)> {
    let what = if left < ENDS_NOW {
        Trouble::Certificate
    } else {
        Trouble::Ending
    };
    let text = format!(
        "shows a certificate that ends in {}: its renewal fails",
        spoken(left)
    );
    (left < ENDS_SOON).then_some((what, text))
}

fn cut(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_WORDS)
        .collect()
}

#[derive(Debug, Clone)]
struct Bad {
    since: Tick,
    looks: u32,
    what: Trouble,
    text: String,
}

/// All gateways over time. Bounded by the gateways.
#[derive(Debug, Clone, Default)]
pub struct Gateways(BTreeMap<Instance, (Gateway, Option<Bad>)>);

impl Gateways {
    /// Forgets those that are handed out no more, or anew.
    pub fn keep(&mut self, gateways: &[Gateway]) {
        self.0
            .retain(|_, (known, _)| gateways.iter().any(|gateway| gateway == known));
    }

    /// Takes a look in that was begun at `at`. Without an answer of the resolver, what was known
    /// stays.
    pub fn take(&mut self, gateway: &Gateway, look: &Look, at: Tick) {
        if let Resolved::Unasked(_) = look.name {
            return;
        }
        let entry = self
            .0
            .entry(gateway.instance.clone())
            .or_insert_with(|| (gateway.clone(), None));
        entry.0 = gateway.clone();
        entry.1 = trouble(gateway, look).map(|(what, text)| {
            let before = entry.1.as_ref();
            Bad {
                since: before.map_or(at, |bad| bad.since),
                looks: before.map_or(1, |bad| bad.looks.saturating_add(1)),
                what,
                text,
            }
        });
    }

    /// What is to be told. Several gateways of one node that all give no answer are the node's.
    /// When not one name of several exists, it is the looker's resolver that does not serve their
    /// zone (split horizon): nothing is known then.
    pub fn diagnoses(&self, now: Now) -> Vec<Diagnosis> {
        let unknown =
            |bad: &Option<Bad>| bad.as_ref().is_some_and(|bad| bad.what == Trouble::Unknown);
        if self.0.len() > 1 && self.0.values().all(|(_, bad)| unknown(bad)) {
            return Vec::new();
        }
        let mut by_node: BTreeMap<&Node, Vec<(&Gateway, Option<&Bad>)>> = BTreeMap::new();
        for (gateway, bad) in self.0.values() {
            let bad = bad.as_ref().filter(|bad| bad.looks >= BAD_LOOKS);
            by_node
                .entry(&gateway.node)
                .or_default()
                .push((gateway, bad));
        }
        let mut found = Vec::new();
        for (node, all) in by_node {
            let bad: Vec<(&Gateway, &Bad)> = all
                .iter()
                .filter_map(|(gateway, bad)| Some((*gateway, (*bad)?)))
                .collect();
            let silent = bad.iter().all(|(_, bad)| bad.what == Trouble::Answer);
            if all.len() > 1 && bad.len() == all.len() && silent {
                found.push(of_node(node, &bad, now));
            } else {
                found.extend(
                    bad.iter()
                        .map(|(gateway, bad)| of_account(gateway, bad, now)),
                );
            }
        }
        found
    }
}

fn line(gateway: &Gateway, bad: &Bad) -> String {
    format!("https://{}:{} {}", gateway.host, gateway.port, bad.text)
}

fn told(
    (blame, subject): (Blame, &str),
    (severity, since, summary): (Severity, Tick, String),
    lines: Vec<String>,
    now: Now,
) -> Diagnosis {
    let named = Named {
        fault: Fault::GatewayBroken,
        severity,
        confidence: Confidence::Medium,
    };
    let mut diagnosis = Diagnosis::new(blame, subject, named, since);
    diagnosis.summary = summary;
    let evidence = |text| Evidence {
        layer: None,
        vantage: None,
        text,
        seen_at: now.wall,
    };
    diagnosis.evidence = lines.into_iter().take(10).map(evidence).collect();
    diagnosis.repair = Some(Repair {
        place: "in the cluster".into(),
        command: None,
        text: "compare the record of the name with the label of the node, then the certificate and the pods of the gateway".into(),
    });
    diagnosis
}

fn of_account(gateway: &Gateway, bad: &Bad, now: Now) -> Diagnosis {
    let Gateway { account, node, .. } = gateway;
    let text = line(gateway, bad);
    let summary = format!(
        "account {account}: its gateway is broken for {}: {text}",
        spoken(now.tick.since(bad.since))
    );
    let subject = (Blame::Account, account.as_str());
    let what = (bad.what.severity(), bad.since, summary);
    let mut told = told(subject, what, vec![text], now);
    told.account = Some(account.clone());
    told.accounts = vec![account.clone()];
    told.node = Some(node.clone());
    told.address = Some(gateway.address);
    told
}

fn of_node(node: &Node, bad: &[(&Gateway, &Bad)], now: Now) -> Diagnosis {
    let since = bad.iter().map(|(_, bad)| bad.since).min();
    let since = since.unwrap_or(now.tick);
    let lines: Vec<String> = bad
        .iter()
        .map(|(gateway, bad)| line(gateway, bad))
        .collect();
    let first = lines.first().cloned().unwrap_or_default();
    let summary = format!(
        "node {node}: none of its {} gateways answers, for {}: {first}",
        bad.len(),
        spoken(now.tick.since(since))
    );
    let what = (Severity::Critical, since, summary);
    let mut told = told((Blame::Node, node.as_str()), what, lines, now);
    told.node = Some(node.clone());
    told.accounts = bad
        .iter()
        .map(|(gateway, _)| gateway.account.clone())
        .collect();
    told
}

#[cfg(test)]
mod tests;
