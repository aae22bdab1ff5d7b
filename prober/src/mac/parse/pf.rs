//! `pfctl -s …` (pfctl(8)): read-only, and never more than is needed.
//!
//! macOS prints two lines on ALTQ before everything it says; they and every rule of another
//! shape are left out.

use core::net::Ipv4Addr;

use pnwatch_core::filter::{MAX_PORT_SPANS, PortSpan};
use pnwatch_core::link::Cidr;

use super::{device, lines};

/// `pfctl -s info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Info {
    /// It filters.
    pub enabled: Option<bool>,
    /// States in use.
    pub states: Option<u64>,
}

/// Reads `pfctl -s info`: `Status: Enabled for 3 days …`, `current entries  120`.
pub fn info(text: &str) -> Info {
    let mut info = Info::default();
    for line in lines(text) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Status:"), Some(word)) if info.enabled.is_none() => {
                info.enabled = match word {
                    "Enabled" => Some(true),
                    "Disabled" => Some(false),
                    _ => None,
                };
            }
            (Some("current"), Some("entries")) if info.states.is_none() => {
                info.states = words.next().and_then(|count| count.parse().ok());
            }
            _ => {}
        }
    }
    info
}

/// Reads `pfctl -s memory`: `states        hard limit    10000`.
pub fn states_limit(text: &str) -> Option<u64> {
    lines(text).find_map(|line| {
        let mut words = line.split_whitespace();
        let head = (words.next()?, words.next()?, words.next()?);
        (head == ("states", "hard", "limit")).then(|| words.next()?.parse().ok())?
    })
}

/// How often the main rules call the anchor `name` (`pfctl -s rules`): `anchor "NAME" all`.
pub fn anchor_calls(text: &str, name: &str) -> usize {
    let quoted = format!("anchor \"{name}\"");
    lines(text)
        .filter(|line| line.trim_start().starts_with(&quoted))
        .count()
}

/// A rule that lets VM sources through to the PN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The table of sources that it names; `None` = addresses written out, or any.
    pub table: Option<String>,
    /// The ports that it admits; empty = all.
    pub ports: Vec<PortSpan>,
}

/// The rules of an anchor (`pfctl -a NAME -s rules`) that admit to a part of `pn` by name: a
/// rule for any destination is the internet's. Blocks before them are not looked at: what a
/// rule set means as a whole only pf can say.
pub fn admissions(text: &str, pn: Cidr) -> Vec<Admission> {
    lines(text)
        .filter(|line| line.trim_start().starts_with("pass "))
        .filter(|line| ends(line).1.is_some_and(|to| concerns(to, pn)))
        .take(64)
        .map(|line| Admission {
            table: table_of(ends(line).0),
            ports: ports(line),
        })
        .collect()
}

/// What stands after `from` and after `to` in a rule.
fn ends(line: &str) -> (Option<&str>, Option<&str>) {
    let mut words = line.split_whitespace();
    let from = words.by_ref().skip_while(|word| *word != "from").nth(1);
    let to = words.by_ref().skip_while(|word| *word != "to").nth(1);
    (from, to)
}

/// Whether a destination is a part of the PN, or holds it; `any` is the internet's.
fn concerns(to: &str, pn: Cidr) -> bool {
    let network = to.parse::<Cidr>().ok();
    let network = network.or_else(|| Cidr::new(to.parse::<Ipv4Addr>().ok()?, 32));
    to != "0.0.0.0/0" && network.is_some_and(|network| network.covers(pn) || pn.covers(network))
}

fn table_of(from: Option<&str>) -> Option<String> {
    let name = from?.strip_prefix('<')?;
    // pfctl marks a table without addresses: `<vm_sources:0>`.
    let name = name.split(['>', ':']).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (!name.is_empty() && name.len() < 32 && name.chars().all(plain)).then(|| name.to_owned())
}

/// The destination ports: `port 30000:32767`, `port = 443`, `port 29999 >< 32768`; after `to`.
fn ports(line: &str) -> Vec<PortSpan> {
    let Some((_, after)) = line.split_once(" to ") else {
        return Vec::new();
    };
    let mut words = after.split_whitespace().skip(1);
    if words.next() != Some("port") {
        return Vec::new();
    }
    let words: Vec<&str> = words.take(3).collect();
    span(&words).into_iter().take(MAX_PORT_SPANS).collect()
}

fn span(words: &[&str]) -> Option<PortSpan> {
    let port = |text: &&str| text.parse::<u16>().ok();
    match words {
        ["=", port_word, ..] => {
            let port = port(port_word)?;
            Some(PortSpan {
                first: port,
                last: port,
            })
        }
        [first, "><", last] => Some(PortSpan {
            first: port(first)?.checked_add(1)?,
            last: port(last)?.checked_sub(1)?,
        }),
        [range, ..] => {
            let (first, last) = range.split_once(':')?;
            Some(PortSpan {
                first: port(&first)?,
                last: port(&last)?,
            })
        }
        [] => None,
    }
}

/// A NAT rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// On which device.
    pub device: Option<String>,
    /// It has an address to translate to; `nat on vlan0 … -> (vlan0)` follows the device's.
    pub translates: bool,
}

/// The NAT rules of an anchor (`pfctl -a NAME -s nat`) from VM sources to a part of `pn`.
pub fn nats(text: &str, pn: Cidr) -> Vec<Nat> {
    lines(text)
        .filter(|line| line.trim_start().starts_with("nat "))
        .filter(|line| ends(line).1.is_some_and(|to| concerns(to, pn)))
        .take(64)
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.by_ref().skip_while(|word| *word != "on").nth(1);
            let target = words.skip_while(|word| *word != "->").nth(1);
            Nat {
                device: name.and_then(device),
                translates: target.is_some(),
            }
        })
        .collect()
}

/// Entries of a table (`pfctl -a NAME -t TABLE -T show`): one address or network per line.
pub fn entries(text: &str) -> u32 {
    let is_entry = |line: &&str| {
        let line = line.trim();
        let line = line.strip_prefix('!').unwrap_or(line).trim();
        line.parse::<Ipv4Addr>().is_ok() || line.parse::<Cidr>().is_ok()
    };
    u32::try_from(lines(text).filter(is_entry).count()).unwrap_or(u32::MAX)
}

/// What pfctl complains of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    /// `Resource busy`: a load of rules failed, or another one is under way.
    Busy,
    /// The anchor or table does not exist.
    Missing,
    /// Not permitted: it needs root.
    Denied,
}

/// What stands on standard error, worst first.
pub fn complaint(text: &str) -> Option<Complaint> {
    let mut found = None;
    for line in lines(text) {
        let this = if line.contains("Resource busy") {
            Complaint::Busy
        } else if line.contains("does not exist") {
            Complaint::Missing
        } else if line.contains("Permission denied") || line.contains("Operation not permitted") {
            Complaint::Denied
        } else {
            continue;
        };
        found = Some(found.map_or(this, |held: Complaint| held.min(this)));
    }
    found
}
