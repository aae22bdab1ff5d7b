//! Who is slow because something is in the way, and who because they asked for no more (F25).
//!
//! [`plateau`] finds flat levels where a device is sampled; here they are held against what is
//! known to be flat by itself, and accounts against their caps. Bandwidth never pages.

pub mod caps;
pub mod plateau;
pub mod rate;
pub mod throughput;

pub use caps::{Caps, capacities};
pub use plateau::{Detector, Known, Plateau};
pub use rate::BitRate;
pub use throughput::Throughput;

use crate::diagnosis::Diagnosis;
use crate::diagnosis::table::Named;
use crate::fault::{Blame, Confidence, Fault, Severity};
use crate::finding::Evidence;
use crate::name::{Account, Instance, Node, Vantage};
use crate::time::{Now, Tick, spoken};
use crate::view::View;
use core::time::Duration;

/// Share of its cap above which an account stands at it.
const AT_CAP: f64 = 0.95;
/// Share of its cap above which an account takes part in a level.
const ACTIVE: f64 = 0.3;

/// What is configured of caps, cards and links, bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Egress cap of an account whose objects name none.
    pub account_cap: u64,
    /// What one client's network card carries.
    pub client_card: u64,
    /// What a node's PN device carries, where its driver does not know.
    pub node_capacity: Option<u64>,
}

/// What one account sends to clients from one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Egress {
    /// Whose.
    pub account: Account,
    /// Which instance.
    pub instance: Instance,
    /// From where.
    pub node: Option<Node>,
    /// Bytes per second.
    pub rate: f64,
}

/// A level at which a node's PN device is held down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clamp {
    /// Whose device.
    pub node: Node,
    /// Which.
    pub device: String,
    /// It is what it sends, not what it receives.
    pub sends: bool,
    /// The level.
    pub plateau: Plateau,
}

/// Everything that is saturated, as of `now`, by the clamps that [`clamps`] found.
pub fn saturated(
    view: &View,
    egress: &[Egress],
    limits: Limits,
    clamps: &[Clamp],
    now: Now,
) -> Vec<Diagnosis> {
    let mut found: Vec<Diagnosis> = Vec::new();
    for clamp in clamps {
        // One finding a node: the first direction names it.
        if found.iter().all(|d| d.node.as_ref() != Some(&clamp.node)) {
            found.push(clamped(clamp, egress, now));
        }
    }
    let caps = Caps::of(view, limits);
    for seen in egress {
        let cap = caps.instance(&seen.instance);
        if seen.rate >= cap as f64 * AT_CAP {
            found.push(capped(seen, cap, now));
        }
    }
    found
}

/// Where nodes are held down: levels that followed a burst and that neither caps nor cards
/// explain.
pub fn clamps(view: &View, egress: &[Egress], limits: Limits) -> Vec<Clamp> {
    let caps = Caps::of(view, limits);
    let mut found = Vec::new();
    for seen in &view.vantages {
        let Vantage::Node(node) = &seen.vantage else {
            continue;
        };
        for device in seen.devices.iter().filter(|d| d.plane == "pn") {
            let levels = [
                (true, device.transmit_plateau),
                (false, device.receive_plateau),
            ];
            for (sends, plateau) in levels {
                let Some(plateau) = plateau else { continue };
                let known = known(&caps, node, egress, limits);
                if known.explains(plateau.level).is_none() {
                    found.push(Clamp {
                        node: node.clone(),
                        device: device.device.clone(),
                        sends,
                        plateau,
                    });
                }
            }
        }
    }
    found
}

/// What makes the throughput of `node` flat without anything being in the way. Without the
/// caches' own counters any number of its accounts may be active.
fn known(caps: &Caps, node: &Node, egress: &[Egress], limits: Limits) -> Known {
    let here: Vec<&Egress> = egress
        .iter()
        .filter(|e| e.node.as_ref() == Some(node))
        .collect();
    let caps = if here.is_empty() {
        caps.on(node)
    } else {
        here.iter()
            .map(|e| (e.rate, caps.instance(&e.instance)))
            .filter(|(rate, cap)| *rate >= *cap as f64 * ACTIVE)
            .map(|(_, cap)| cap)
            .collect()
    };
    Known {
        caps,
        cards: vec![limits.client_card],
    }
}

fn named(confidence: Confidence) -> Named {
    Named {
        fault: Fault::Saturated,
        severity: Severity::Warning,
        confidence,
    }
}

fn clamped(clamp: &Clamp, egress: &[Egress], now: Now) -> Diagnosis {
    let (node, device, plateau) = (&clamp.node, &clamp.device, clamp.plateau);
    let does = if clamp.sends { "sends" } else { "receives" };
    let held = Duration::from_millis(plateau.held_ms);
    let since: Tick = now.tick.before(held);
    let mut diagnosis =
        Diagnosis::new(Blame::Node, node.as_str(), named(Confidence::Medium), since);
    diagnosis.summary = format!(
        "node {node}: {device} {does} flat at {} for {} after {}: it is held down there",
        megabits(plateau.level),
        spoken(held),
        megabits(plateau.burst),
    );
    diagnosis.evidence = vec![evidence(
        format!(
            "{device} {does} {} within 6 %, after at least two seconds of {} and a step down; no sum of active egress caps, no client's card",
            megabits(plateau.level),
            megabits(plateau.burst),
        ),
        Some(Vantage::Node(node.clone())),
        now,
    )];
    let mut busiest: Vec<&Egress> = egress
        .iter()
        .filter(|e| e.node.as_ref() == Some(node) && e.rate > 0.0)
        .collect();
    busiest.sort_by(|a, b| b.rate.total_cmp(&a.rate));
    if busiest.is_empty() {
        diagnosis.missing = vec![
            "who sends how much: the caches' own counters are not scraped (serve.traffic)"
                .to_owned(),
        ];
    }
    for seen in busiest.iter().take(3) {
        diagnosis.evidence.push(evidence(
            format!(
                "account {} sends {}",
                seen.account,
                megabits(seen.rate as u64)
            ),
            None,
            now,
        ));
    }
    diagnosis.node = Some(node.clone());
    diagnosis
}

fn capped(seen: &Egress, cap: u64, now: Now) -> Diagnosis {
    let mut diagnosis = Diagnosis::new(
        Blame::Account,
        seen.account.as_str(),
        named(Confidence::High),
        now.tick,
    );
    diagnosis.summary = format!(
        "account {}: sends {} of a cap of {}: its own egress cap makes it slow",
        seen.account,
        megabits(seen.rate as u64),
        megabits(cap),
    );
    diagnosis.evidence = vec![evidence(
        format!(
            "the cache's own counter of bytes sent: {} over the last minute",
            megabits(seen.rate as u64)
        ),
        None,
        now,
    )];
    diagnosis.node.clone_from(&seen.node);
    diagnosis.account = Some(seen.account.clone());
    diagnosis.accounts = vec![seen.account.clone()];
    diagnosis
}

fn evidence(text: String, vantage: Option<Vantage>, now: Now) -> Evidence {
    Evidence {
        layer: None,
        vantage,
        text,
        seen_at: now.wall,
    }
}

/// `1520 Mbit/s`.
fn megabits(bytes_per_second: u64) -> String {
    format!("{:.0} Mbit/s", bytes_per_second as f64 * 8.0 / 1e6)
}

#[cfg(test)]
#[path = "saturated_tests.rs"]
mod tests;
