//! `serve.slo`: what is promised, over which period, and when work is planned.

use std::time::Duration;

use pnwatch_core::burn::{Objective, PERIOD, TIERS, Table};
use pnwatch_core::name::{Account, Node as NodeName};
use pnwatch_core::slo::{Maintenance, Policy, Scope};
use pnwatch_core::time::Timestamp;
use serde::Deserialize as _;
use serde::de::value::StrDeserializer;

use super::section::{Findings, FromNode, FromSection, Place, Section};
use super::serve::between;
use super::tree::{Node, Value};
use super::value::text;

const DAY: u64 = 24 * 60 * 60;
/// The shortest period: longer than the longest burn window.
const LEAST_PERIOD: u64 = 4 * DAY;

/// What is promised, and when work is planned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slo {
    /// Objectives, period and burn windows.
    pub policy: Policy,
    /// Planned work: bad events within are excused, and no traffic is missed.
    pub maintenance: Vec<Maintenance>,
}

impl FromSection for Slo {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let reachability = section.or("reachability", Objective::REACHABILITY);
        let latency = section.or("latency", Objective::LATENCY);
        let default = Policy::default();
        let fast = section.or("latency_within", default.fast);
        if fast.is_zero() || fast > Duration::from_secs(3) {
            section.refuse("latency_within", "write 1ms to 3s");
        }
        let period = between(
            section,
            "period",
            PERIOD.as_secs(),
            LEAST_PERIOD,
            PERIOD.as_secs(),
        );
        // Refused above where it cannot be made.
        let table = Table::new(period, TIERS.to_vec()).unwrap_or_default();
        Some(Self {
            policy: Policy {
                reachability,
                latency,
                fast,
                table,
            },
            maintenance: section.or("maintenance", Vec::new()),
        })
    }
}

impl FromNode for Objective {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let percent = match &node.value {
            Value::Int(whole) => i32::try_from(*whole).ok().map(f64::from),
            Value::Float(number) => Some(*number),
            Value::Text(text) => text.trim().trim_end_matches('%').trim().parse().ok(),
            _ => None,
        };
        let objective = percent
            .filter(|p| p.is_finite() && (0.0..100.0).contains(p))
            .and_then(|p| Self::from_ppm((p * 10_000.0).round() as u32));
        if objective.is_none() {
            findings.problems.push(place.error(
                "an objective is a percentage above 0 and below 100, like 99.95: at 100 every miss is a breach for ever",
            ));
        }
        objective
    }
}

impl FromNode for Timestamp {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let text = text(node, place, findings, "a time like 2026-06-22T09:00:00Z")?;
        let read = Self::deserialize(StrDeserializer::<serde::de::value::Error>::new(text));
        if read.is_err() {
            let found = super::tree::shortened(text);
            findings.problems.push(place.error(format!(
                "{found:?} is no time; write it like 2026-06-22T09:00:00Z, with `Z` or an offset"
            )));
        }
        read.ok()
    }
}

impl FromNode for Scope {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let text = text(node, place, findings, "all, node/NAME or account/NAME")?;
        let scope = match text.split_once('/') {
            None if text == "all" => Some(Self::All),
            Some(("node", name)) => NodeName::new(name).ok().map(Self::Node),
            Some(("account", name)) => Account::new(name).ok().map(Self::Account),
            _ => None,
        };
        if scope.is_none() {
            let found = super::tree::shortened(text);
            findings.problems.push(place.error(format!(
                "{found:?} is no scope; write all, node/NAME or account/NAME"
            )));
        }
        scope
    }
}

impl FromSection for Maintenance {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let scope = section.required("scope", "all, node/NAME or account/NAME");
        let from = section.required("from", "2026-06-22T09:00:00Z");
        let until = section.required("until", "2026-06-22T11:00:00Z");
        let reason = section.required("reason", "WHY");
        let window = Self {
            scope: scope?,
            from: from?,
            until: until?,
            reason: reason?,
        };
        if let Err(error) = window.validate() {
            section.refuse("until", error.to_string());
        }
        Some(window)
    }
}
