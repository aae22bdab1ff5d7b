//! `serve.bandwidth`: what is known to make throughput flat without anything being in the way.

use super::section::{Findings, FromNode, FromSection, Place, Section};
use super::tree::Node;
use super::value::text;

/// What is known of caps and cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth {
    /// Egress cap of one account, bits per second.
    pub account_cap: BitRate,
    /// What one client's network card carries, bits per second.
    pub client_card: BitRate,
}

/// A rate in bits per second, written as Kubernetes writes quantities: `750M`, `1.5G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitRate(pub u64);

impl BitRate {
    /// In bytes per second.
    pub fn bytes(self) -> u64 {
        self.0 / 8
    }

    /// Reads `750M`; decimal suffixes k, M, G and binary ones Ki, Mi, Gi (the `Quantity` of
    /// Kubernetes' API, as far as a rate needs it).
    pub fn parse(text: &str) -> Option<Self> {
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = text.split_at(split.unwrap_or(text.len()));
        let factor = match unit {
            "" => 1.0,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "Ki" => 1024.0,
            "Mi" => 1024.0 * 1024.0,
            "Gi" => 1024.0 * 1024.0 * 1024.0,
            _ => return None,
        };
        let rate = number.parse::<f64>().ok()? * factor;
        (1.0..=1e13).contains(&rate).then_some(Self(rate as u64))
    }
}

impl Default for Bandwidth {
    fn default() -> Self {
        Self {
            account_cap: BitRate(750_000_000),
            client_card: BitRate(936_000_000),
        }
    }
}

impl FromSection for Bandwidth {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let usual = Self::default();
        Some(Self {
            account_cap: section.or("account_cap", usual.account_cap),
            client_card: section.or("client_card", usual.client_card),
        })
    }
}

impl FromNode for BitRate {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let text = text(node, place, findings, "a rate like 750M")?;
        let rate = Self::parse(text.trim());
        if rate.is_none() {
            let found = super::tree::shortened(text);
            findings.problems.push(place.error(format!(
                "{found:?} is no rate in bits per second; write it like 750M or 1.5G"
            )));
        }
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::BitRate;

    #[test]
    fn rates_are_read_as_kubernetes_writes_them() {
        for (text, bits) in [
            ("750M", Some(750_000_000)),
            ("1.5G", Some(1_500_000_000)),
            ("1Gi", Some(1_073_741_824)),
            ("64000", Some(64_000)),
            ("", None),
            ("M", None),
            ("-5M", None),
            ("5m", None),
            ("1e9", None),
            ("99999999G", None),
        ] {
            assert_eq!(BitRate::parse(text).map(|rate| rate.0), bits, "{text}");
        }
    }
}
