//! `serve.bandwidth`: what is known to make throughput flat without anything being in the way.

use pnwatch_core::bandwidth::BitRate;

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
    /// What a node's PN device carries, bits per second; `None` = what its driver tells.
    pub node_capacity: Option<BitRate>,
}

impl Default for Bandwidth {
    fn default() -> Self {
        Self {
            account_cap: BitRate::from_megabits(750),
            client_card: BitRate::from_megabits(936),
            node_capacity: None,
        }
    }
}

impl FromSection for Bandwidth {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let usual = Self::default();
        Some(Self {
            account_cap: section.or("account_cap", usual.account_cap),
            client_card: section.or("client_card", usual.client_card),
            node_capacity: section.optional("node_capacity"),
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
