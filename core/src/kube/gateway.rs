//! The https gateways that are handed out, by what looks at them bring: F39 (`gateway_broken`).
//!
//! Plain state over looks that somebody else makes. A name must resolve to the address that the
//! status hands out and to nothing else; where the gateway can be asked, it must answer over a
//! certificate that fits its name. Two bad looks in a row are told; one is weather.

use core::net::{IpAddr, Ipv4Addr};
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

/// What one look at a gateway brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What its name resolves to; an error is a sentence.
    pub addresses: Result<Vec<IpAddr>, String>,
    /// The status of `GET /up` over TLS, or why there is none; `None` = not asked from here.
    pub answer: Option<Result<u16, String>>,
}

/// What is wrong with a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// Its name.
    Name,
    /// Its answer.
    Answer,
}

/// The first thing that is wrong, as a sentence without the gateway's name.
fn trouble(gateway: &Gateway, look: &Look) -> Option<(Trouble, String)> {
    let addresses = match &look.addresses {
        Ok(addresses) => addresses,
        Err(why) => return Some((Trouble::Name, format!("does not resolve: {}", cut(why)))),
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
        return Some((Trouble::Name, text));
    }
    match &look.answer {
        Some(Err(why)) => Some((Trouble::Answer, format!("gives no answer: {}", cut(why)))),
        Some(Ok(status)) if *status >= 500 => {
            Some((Trouble::Answer, format!("answers /up with {status}")))
        }
        Some(Ok(_)) | None => None,
    }
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

    /// Takes a look in that was begun at `at`.
    pub fn take(&mut self, gateway: &Gateway, look: &Look, at: Tick) {
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
    pub fn diagnoses(&self, now: Now) -> Vec<Diagnosis> {
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
    (since, summary): (Tick, String),
    lines: Vec<String>,
    now: Now,
) -> Diagnosis {
    let named = Named {
        fault: Fault::GatewayBroken,
        severity: Severity::Critical,
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
    let mut told = told(subject, (bad.since, summary), vec![text], now);
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
    let mut told = told((Blame::Node, node.as_str()), (since, summary), lines, now);
    told.node = Some(node.clone());
    told.accounts = bad
        .iter()
        .map(|(gateway, _)| gateway.account.clone())
        .collect();
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Account;
    use crate::time::Timestamp;

    fn gateway(account: &str) -> Gateway {
        Gateway {
            account: Account::new(account).unwrap(),
            instance: Instance::new(format!("kura-{account}")).unwrap(),
            node: Node::new("n1").unwrap(),
            host: format!("{account}.kura.example.dev"),
            port: 443,
            address: [172, 16, 0, 2].into(),
        }
    }

    fn look(addresses: &[&str], answer: Option<Result<u16, &str>>) -> Look {
        Look {
            addresses: Ok(addresses.iter().map(|a| a.parse().unwrap()).collect()),
            answer: answer.map(|a| a.map_err(str::to_owned)),
        }
    }

    fn at(seconds: u64) -> Now {
        Now {
            tick: Tick::from_millis(seconds * 1000),
            wall: Timestamp::from_unix_seconds(1_790_000_000 + seconds),
        }
    }

    #[test]
    fn what_is_wrong_by_what_a_look_brings() {
        let right = "172.16.0.2";
        let rows: [(Look, Option<&str>); 9] = [
            (look(&[right], None), None),
            (look(&[right, right], Some(Ok(200))), None),
            (look(&[right, "2001:db8::1"], Some(Ok(404))), None),
            (look(&[], None), Some("resolves to no IPv4 address")),
            (look(&["2001:db8::1"], None), Some("no IPv4 address")),
            (
                look(&["172.16.0.9"], Some(Ok(200))),
                Some("resolves to 172.16.0.9, status.nodeAddress is 172.16.0.2"),
            ),
            (
                look(&[right, "172.16.0.9"], None),
                Some("172.16.0.2, 172.16.0.9"),
            ),
            (look(&[right], Some(Ok(502))), Some("answers /up with 502")),
            (
                look(&[right], Some(Err("invalid peer certificate: Expired"))),
                Some("gives no answer: invalid peer certificate: Expired"),
            ),
        ];
        for (look, expected) in rows {
            let said = trouble(&gateway("acme"), &look).map(|(_, text)| text);
            match (said, expected) {
                (Some(said), Some(expected)) => assert!(said.contains(expected), "{said}"),
                (said, expected) => assert_eq!(said.is_some(), expected.is_some(), "{look:?}"),
            }
        }
        let failed = Look {
            addresses: Err("no such\nname".into()),
            answer: None,
        };
        let said = trouble(&gateway("acme"), &failed).unwrap().1;
        assert_eq!(said, "does not resolve: no such name");
    }

    #[test]
    fn two_bad_looks_are_told_with_the_time_of_the_first_and_a_good_one_ends_it() {
        let (mut all, acme) = (Gateways::default(), gateway("acme"));
        let bad = look(&["172.16.0.9"], None);
        all.take(&acme, &bad, at(10).tick);
        assert_eq!(all.diagnoses(at(10)), []);
        all.take(&acme, &bad, at(25).tick);
        let told = all.diagnoses(at(25));
        assert_eq!((told.len(), told[0].since), (1, at(10).tick));
        assert_eq!(told[0].blame, Blame::Account);
        assert!(
            told[0]
                .summary
                .contains("acme.kura.example.dev:443 resolves")
        );
        all.take(&acme, &look(&["172.16.0.2"], None), at(40).tick);
        assert_eq!(all.diagnoses(at(40)), []);
        all.take(&acme, &bad, at(50).tick);
        all.take(&acme, &bad, at(60).tick);
        all.keep(&[]);
        assert_eq!(all.diagnoses(at(60)), []);
    }

    #[test]
    fn when_no_gateway_of_a_node_answers_it_is_the_nodes() {
        let mut all = Gateways::default();
        let silent = look(&["172.16.0.2"], Some(Err("timed out")));
        let astray = look(&["172.16.0.9"], None);
        for second in [0, 15] {
            all.take(&gateway("a"), &silent, at(second).tick);
            all.take(&gateway("b"), &silent, at(second).tick);
        }
        let told = all.diagnoses(at(15));
        assert_eq!((told.len(), told[0].blame), (1, Blame::Node));
        assert_eq!(told[0].accounts.len(), 2);
        // A name that leads astray is its account's, whatever the others do.
        all.take(&gateway("b"), &astray, at(30).tick);
        let blames: Vec<Blame> = all.diagnoses(at(30)).iter().map(|d| d.blame).collect();
        assert_eq!(blames, [Blame::Account, Blame::Account]);
    }
}
