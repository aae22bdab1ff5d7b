//! Who is slow because something is in the way, and who because they asked for no more (F25).
//!
//! [`plateau`] finds flat levels where a device is sampled; here they are held against what is
//! known to be flat by itself, and accounts against their caps. Bandwidth never pages.

pub mod plateau;
pub mod throughput;

pub use plateau::{Detector, Known, Plateau};
pub use throughput::Throughput;

use crate::diagnosis::Diagnosis;
use crate::diagnosis::table::Named;
use crate::fault::{Blame, Confidence, Fault, Severity};
use crate::finding::Evidence;
use crate::name::{Account, Node, Vantage};
use crate::time::{Now, Tick, spoken};
use crate::view::View;
use core::time::Duration;

/// Share of its cap above which an account stands at it.
const AT_CAP: f64 = 0.95;
/// Share of its cap above which an account takes part in a level.
const ACTIVE: f64 = 0.3;

/// What is known of caps and cards, bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Egress cap of one account.
    pub account_cap: u64,
    /// What one client's network card carries.
    pub client_card: u64,
}

/// What one account sends to clients from one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Egress {
    /// Whose.
    pub account: Account,
    /// From where.
    pub node: Option<Node>,
    /// Bytes per second.
    pub rate: f64,
}

/// Everything that is saturated, as of `now`.
pub fn saturated(view: &View, egress: &[Egress], limits: Limits, now: Now) -> Vec<Diagnosis> {
    let mut found: Vec<Diagnosis> = Vec::new();
    for seen in &view.vantages {
        let Vantage::Node(node) = &seen.vantage else {
            continue;
        };
        for device in seen.devices.iter().filter(|d| d.plane == "pn") {
            let known = known(view, node, egress, limits);
            let levels = [
                ("sends", device.transmit_plateau),
                ("receives", device.receive_plateau),
            ];
            for (does, plateau) in levels {
                let Some(plateau) = plateau.filter(|p| known.explains(p.level).is_none()) else {
                    continue;
                };
                // One finding a node: the first direction names it.
                if found.iter().all(|d| d.node.as_ref() != Some(node)) {
                    found.push(clamped(node, &device.device, does, plateau, egress, now));
                }
            }
        }
    }
    let cap = limits.account_cap as f64;
    for seen in egress.iter().filter(|e| e.rate >= cap * AT_CAP) {
        found.push(capped(seen, limits, now));
    }
    found
}

/// What makes the throughput of `node` flat without anything being in the way. Without the
/// caches' own counters any number of its accounts may be active.
fn known(view: &View, node: &Node, egress: &[Egress], limits: Limits) -> Known {
    let here = |e: &&Egress| e.node.as_ref() == Some(node);
    let counted = egress.iter().filter(here).count();
    let active = if counted == 0 {
        view.targets
            .iter()
            .filter(|seen| seen.target.node == *node)
            .count()
    } else {
        let least = limits.account_cap as f64 * ACTIVE;
        egress
            .iter()
            .filter(here)
            .filter(|e| e.rate >= least)
            .count()
    };
    Known {
        caps: vec![limits.account_cap; active],
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

fn clamped(
    node: &Node,
    device: &str,
    does: &str,
    plateau: Plateau,
    egress: &[Egress],
    now: Now,
) -> Diagnosis {
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

fn capped(seen: &Egress, limits: Limits, now: Now) -> Diagnosis {
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
        megabits(limits.account_cap),
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
mod tests {
    use super::{Egress, Limits, Plateau, saturated};
    use crate::name::Vantage;
    use crate::time::{Now, Tick, Timestamp};
    use crate::view::{VantageView, View};
    use crate::wire::DeviceReport;

    const LIMITS: Limits = Limits {
        account_cap: 93_750_000,
        client_card: 117_000_000,
    };

    fn view(level: Option<u64>) -> View {
        let plateau = level.map(|level| Plateau {
            level,
            burst: level * 3,
            held_ms: 7_000,
        });
        let device = DeviceReport {
            device: "pn0".to_owned(),
            plane: "pn".to_owned(),
            transmit_plateau: plateau,
            ..DeviceReport::default()
        };
        let node: Vantage = "node/kura-fleet-1".parse().unwrap();
        View {
            cluster: crate::name::Cluster::new("staging").unwrap(),
            at: Timestamp::from_unix_seconds(1_000),
            started_at: Timestamp::from_unix_seconds(0),
            open: Vec::new(),
            closed: Vec::new(),
            nodes: Vec::new(),
            targets: Vec::new(),
            vantages: vec![VantageView {
                vantage: node,
                expected: true,
                reporting: true,
                stopping: false,
                last_report: None,
                address: None,
                link: None,
                counters: Vec::new(),
                devices: vec![device],
            }],
            paths: Vec::new(),
        }
    }

    fn egress(account: &str, megabits: f64) -> Egress {
        Egress {
            account: account.parse().unwrap(),
            node: Some("kura-fleet-1".parse().unwrap()),
            rate: megabits * 125_000.0,
        }
    }

    fn told(level: Option<u64>, egress: &[Egress]) -> Vec<(String, String)> {
        let now = Now {
            tick: Tick::from_millis(100_000),
            wall: Timestamp::from_unix_seconds(1_000),
        };
        saturated(&view(level), egress, LIMITS, now)
            .into_iter()
            .map(|d| (format!("{}/{}", d.blame, d.subject), d.summary))
            .collect()
    }

    #[test]
    fn a_level_that_nothing_explains_is_the_nodes() {
        let found = told(Some(25_000_000), &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "node/kura-fleet-1");
        assert!(
            found[0]
                .1
                .contains("pn0 sends flat at 200 Mbit/s for 7.0 s after 600 Mbit/s"),
            "{}",
            found[0].1
        );
    }

    #[test]
    fn caps_of_active_accounts_and_cards_are_no_clamp() {
        let two = [egress("a", 700.0), egress("b", 600.0), egress("c", 3.0)];
        assert_eq!(told(Some(2 * 93_750_000), &two), []);
        assert_eq!(told(Some(117_000_000), &two), []);
        // Three caps, but only two accounts are active.
        assert_eq!(told(Some(3 * 93_750_000), &two).len(), 1);
        assert_eq!(told(None, &two), []);
    }

    #[test]
    fn an_account_at_its_cap_is_its_own() {
        let found = told(None, &[egress("a", 748.0), egress("b", 700.0)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "account/a");
    }
}
