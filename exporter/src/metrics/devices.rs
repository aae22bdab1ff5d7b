//! What goes over the nodes' devices, as metric families.

use std::collections::BTreeMap;

use pnwatch_core::bandwidth::{Caps, Clamp, Limits, capacities};
use pnwatch_core::metric;
use pnwatch_core::name::Vantage;
use pnwatch_core::view::View;
use pnwatch_core::wire::DeviceReport;

use super::family::Exposition;

type Read = fn(&DeviceReport) -> u64;

/// By node, device and plane: a device that a report lists twice would make two samples of one
/// name.
type Unique<'a> = BTreeMap<(&'a str, &'a str, &'a str), &'a DeviceReport>;

/// The devices of every node.
pub(super) fn project(out: &mut Exposition, view: &View) {
    let unique = unique(view);
    counters(out, &unique);
    throughput(out, &unique);
}

/// What nodes carry and what is asked of them: speeds, clamps, caps of accounts.
pub(super) fn capacity(out: &mut Exposition, view: &View, limits: Limits, learned: &[Clamp]) {
    out.add(&metric::NETWORK_CAPACITY, |f| {
        for ((node, device, plane), seen) in &unique(view) {
            let configured = limits.node_capacity.filter(|_| *plane == "pn");
            let told = seen.speed_bps.map(|bits| bits / 8);
            if let Some(bytes) = configured.or(told) {
                f.push(&[node, device, plane], bytes as f64);
            }
        }
    });
    out.add(&metric::NETWORK_CLAMP, |f| {
        for clamp in learned {
            let direction = if clamp.sends { "transmit" } else { "receive" };
            let labels = [clamp.node.as_str(), &clamp.device, direction];
            f.push(&labels, clamp.plateau.level as f64);
        }
    });
    let caps = Caps::of(view, limits);
    out.add(&metric::ACCOUNT_EGRESS_CAP, |f| {
        for ((account, node), cap) in caps.accounts() {
            f.push(&[account.as_str(), node.as_str()], cap as f64);
        }
    });
    let capacities = capacities(view, limits, learned);
    out.add(&metric::NODE_OVERSUBSCRIPTION, |f| {
        for (node, cap) in caps.nodes() {
            if let Some(capacity) = capacities.get(node).filter(|bytes| **bytes > 0) {
                f.push(&[node.as_str()], cap as f64 / *capacity as f64);
            }
        }
    });
}

fn unique(view: &View) -> Unique<'_> {
    let mut unique = Unique::new();
    for seen in &view.vantages {
        if let Vantage::Node(node) = &seen.vantage {
            for device in &seen.devices {
                unique.insert((node.as_str(), &device.device, &device.plane), device);
            }
        }
    }
    unique
}

fn counters(out: &mut Exposition, unique: &Unique<'_>) {
    let counters: [(_, Read); 6] = [
        (&metric::NETWORK_RECEIVE, |d| d.receive_bytes),
        (&metric::NETWORK_TRANSMIT, |d| d.transmit_bytes),
        (&metric::NETWORK_RECEIVE_DROPS, |d| d.receive_drops),
        (&metric::NETWORK_TRANSMIT_DROPS, |d| d.transmit_drops),
        (&metric::NETWORK_RECEIVE_ERRORS, |d| d.receive_errors),
        (&metric::NETWORK_TRANSMIT_ERRORS, |d| d.transmit_errors),
    ];
    for (metric, read) in counters {
        out.add(metric, |f| {
            for ((node, device, plane), seen) in unique {
                f.push(&[node, device, plane], read(seen) as f64);
            }
        });
    }
}

fn throughput(out: &mut Exposition, unique: &Unique<'_>) {
    out.add(&metric::NETWORK_PEAK, |f| {
        for ((node, device, plane), seen) in unique {
            let windows: BTreeMap<u32, _> = seen.peaks.iter().map(|p| (p.window_s, p)).collect();
            for (window, peak) in windows {
                let window = format!("{window}s");
                let labels = |direction| [*node, *device, *plane, direction, &window];
                f.push(&labels("receive"), peak.receive as f64);
                f.push(&labels("transmit"), peak.transmit as f64);
            }
        }
    });
    out.add(&metric::NETWORK_THROUGHPUT, |f| {
        for ((node, device, plane), seen) in unique {
            for (direction, throughput) in [
                ("receive", &seen.receive_throughput),
                ("transmit", &seen.transmit_throughput),
            ] {
                if let Some(seen) = throughput.as_ref().filter(|seen| seen.is_readable()) {
                    f.push_throughput(&[node, device, plane, direction], seen);
                }
            }
        }
    });
    out.add(&metric::NETWORK_PLATEAU, |f| {
        for ((node, device, plane), seen) in unique {
            for (direction, plateau) in [
                ("receive", seen.receive_plateau),
                ("transmit", seen.transmit_plateau),
            ] {
                if let Some(plateau) = plateau {
                    f.push(&[node, device, plane, direction], plateau.level as f64);
                }
            }
        }
    });
}
