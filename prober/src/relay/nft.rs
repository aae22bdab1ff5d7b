//! What the packet filter of a Linux stand-in does for its VMs, read by `nft -j` (nft(8),
//! libnftables-json(5)). The parser is pure and total.

use core::time::Duration;
use std::process::Stdio;

use pnwatch_core::filter::{FilterFacts, FilterKind, MAX_PORT_SPANS, PortSpan};
use pnwatch_core::link::Cidr;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::watch;

/// How often it is read.
const EVERY: Duration = Duration::from_secs(1);
/// How long one reading may take.
const WITHIN: Duration = Duration::from_secs(2);
/// Where the kernel counts connections (nf_conntrack-sysctl).
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// What is read, and of whom.
#[derive(Debug, Clone)]
pub struct Table {
    /// Family and name.
    pub table: String,
    /// The VMs' addresses.
    pub vms: Cidr,
    /// The PN device.
    pub device: String,
}

/// Reads it for ever.
pub async fn follow(table: Table, tell: watch::Sender<Option<FilterFacts>>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let facts = read(&table).await;
        tell.send_if_modified(|held| {
            let differs = *held != facts;
            *held = facts;
            differs
        });
    }
}

/// `None` = it cannot be read, which says nothing of the rules.
async fn read(table: &Table) -> Option<FilterFacts> {
    let listed = Command::new("nft")
        .args(["-j", "list", "table"])
        .args(table.table.split(' '))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let listed = tokio::time::timeout(WITHIN, listed).await.ok()?.ok()?;
    let mut facts = if listed.status.success() {
        facts(&listed.stdout, table)?
    } else if String::from_utf8_lossy(&listed.stderr).contains("No such file") {
        missing()
    } else {
        return None;
    };
    facts.states = number(COUNT);
    facts.states_limit = facts.states_limit.or_else(|| number(MAX));
    Some(facts)
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The table is not there.
fn missing() -> FilterFacts {
    FilterFacts {
        kind: FilterKind::Nft,
        admits_vms: Some(false),
        nat_rule: Some(false),
        ..FilterFacts::default()
    }
}

/// Reads the listing of one table; `None` = it is no listing.
pub(crate) fn facts(json: &[u8], table: &Table) -> Option<FilterFacts> {
    let listing: Value = serde_json::from_slice(json).ok()?;
    let rules: Vec<&Value> = listing
        .get("nftables")?
        .as_array()?
        .iter()
        .filter_map(|entry| entry.get("rule")?.get("expr"))
        .collect();
    let admits: Vec<&&Value> = rules.iter().filter(|r| admits(r, table.vms)).collect();
    let nats: Vec<&&Value> = rules
        .iter()
        .filter(|r| translates(r, &table.device))
        .collect();
    let limit = rules.iter().find_map(|r| state_limit(r));
    Some(FilterFacts {
        kind: FilterKind::Nft,
        admits_vms: Some(!admits.is_empty()),
        ports: admits
            .iter()
            .filter_map(|r| span(r))
            .take(MAX_PORT_SPANS)
            .collect(),
        nat_rule: Some(!nats.is_empty()),
        duplicate: is_twice(&admits) || is_twice(&nats),
        states_limit: limit,
        ..FilterFacts::default()
    })
}

fn expressions(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.as_array().into_iter().flatten()
}

/// The right-hand side of the rule's match on `field` of a payload.
fn matched<'a>(rule: &'a Value, field: &'a str) -> Option<&'a Value> {
    expressions(rule).find_map(|e| {
        let matching = e.get("match")?;
        let named = matching.get("left")?.get("payload")?.get("field")?;
        (named == field).then(|| matching.get("right"))?
    })
}

fn has(rule: &Value, verdict: &str) -> bool {
    expressions(rule).any(|e| e.get(verdict).is_some())
}

/// Lets the VMs through to some port.
fn admits(rule: &Value, vms: Cidr) -> bool {
    has(rule, "accept")
        && matched(rule, "dport").is_some()
        && matched(rule, "saddr").is_some_and(|source| prefix(source) == Some(vms))
}

/// The destination ports of a rule: a range, or one port.
fn span(rule: &Value) -> Option<PortSpan> {
    let ports = matched(rule, "dport")?;
    let port = |value: &Value| u16::try_from(value.as_u64()?).ok();
    let (first, last) = match ports.get("range").and_then(Value::as_array) {
        Some(range) => (port(range.first()?)?, port(range.get(1)?)?),
        None => (port(ports)?, port(ports)?),
    };
    Some(PortSpan { first, last })
}

fn prefix(value: &Value) -> Option<Cidr> {
    let prefix = value.get("prefix")?;
    let address = prefix.get("addr")?.as_str()?.parse().ok()?;
    let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
    Cidr::new(address, length)
}

/// Translates what leaves by `device`.
fn translates(rule: &Value, device: &str) -> bool {
    let names = |value: &Value| {
        let listed = value.get("set").and_then(Value::as_array);
        value == device || listed.is_some_and(|set| set.iter().any(|one| one == device))
    };
    let leaves = expressions(rule).any(|e| {
        let Some(matching) = e.get("match") else {
            return false;
        };
        let key = matching.pointer("/left/meta/key");
        key.is_some_and(|key| key == "oifname" || key == "oif")
            && matching.get("right").is_some_and(names)
    });
    leaves && (has(rule, "masquerade") || has(rule, "snat"))
}

/// `ct count over N drop`: the table's own limit of connections.
fn state_limit(rule: &Value) -> Option<u64> {
    let count = expressions(rule).find_map(|e| e.get("ct count"))?;
    has(rule, "drop").then(|| count.get("val")?.as_u64())?
}

/// Whether one rule is there twice.
fn is_twice(rules: &[&&Value]) -> bool {
    let twice = |(n, rule): (usize, &&&Value)| rules.iter().skip(n + 1).any(|r| r == rule);
    rules.iter().enumerate().any(twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nft 1.0.6 prints it.
    const LISTED: &str = include_str!("nft_sample.json");

    fn table() -> Table {
        Table {
            table: "ip vmnat".to_owned(),
            vms: "192.168.64.0/22".parse().unwrap(),
            device: "vlan0".to_owned(),
        }
    }

    fn read(json: &str) -> FilterFacts {
        facts(json.as_bytes(), &table()).unwrap()
    }

    #[test]
    fn a_whole_table_admits_and_translates() {
        let facts = read(LISTED);
        assert_eq!((facts.admits_vms, facts.nat_rule), (Some(true), Some(true)));
        assert!(!facts.duplicate);
        assert_eq!(facts.states_limit, Some(20));
        assert_eq!(
            (facts.ports[0].first, facts.ports[0].last),
            (30_000, 32_767)
        );
        assert_eq!(facts.flaws([30_815]), []);
    }

    #[test]
    fn what_is_missing_is_named() {
        let elsewhere = read(&LISTED.replace("\"vlan0\"", "\"vlan1\""));
        assert_eq!(elsewhere.nat_rule, Some(false));
        assert_eq!(elsewhere.admits_vms, Some(true));
        let closed = read(&LISTED.replace("\"accept\": null", "\"drop\": null"));
        assert_eq!(closed.admits_vms, Some(false));
        let others = read(&LISTED.replace("192.168.64.0", "192.168.128.0"));
        assert_eq!(others.admits_vms, Some(false));
        assert_eq!(missing().nat_rule, Some(false));
        // Two rules of one text: loaded twice.
        let twice = read(
            &LISTED
                .replace("\"set\": [\"x1\", \"mgmt0\"]", "\"set\": [\"vlan0\"]")
                .replace("\"right\": {\"set\": [\"vlan0\"]}", "\"right\": \"vlan0\""),
        );
        assert!(twice.duplicate);
    }

    #[test]
    fn rubbish_is_no_listing() {
        for text in ["", "{}", "[]", "{\"nftables\":1}", "nonsense"] {
            assert_eq!(facts(text.as_bytes(), &table()), None, "{text:?}");
        }
        let empty = read("{\"nftables\":[{\"rule\":{\"expr\":7}},3]}");
        assert_eq!(empty.nat_rule, Some(false));
    }
}
