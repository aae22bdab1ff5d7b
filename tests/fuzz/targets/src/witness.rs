//! The host's witness: a capture of packets, counted.

use core::time::Duration;

use pnwatch_core::link::Mac;
use pnwatch_core::time::Tick;
use pnwatch_core::witness::{MAX_CLAIMS, MAX_FLOWS};
use pnwatch_prober::witness::counts::Counts;
use pnwatch_prober::witness::packet::{ARP, IP, read};

use crate::site::now;

/// A capture: each packet is a byte for its protocol and for the pause before it, two bytes of
/// length (big-endian), and its bytes; the last one may be cut off.
pub(crate) fn witness(bytes: &[u8]) -> bool {
    let opened = now().tick;
    let mut counts = Counts::new(opened);
    counts.set_own(Some(Mac([2, 0, 0, 0, 0, 1])), Some([172, 16, 0, 11].into()));
    let (mut at, mut rest, mut read_all) = (opened, bytes, 0);
    while let [head, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (packet, after) = tail.split_at(length);
        rest = after;
        at = at.after(pause(*head));
        let protocol = if head & 1 == 0 { IP } else { ARP };
        if let Some(said) = read(protocol, packet) {
            counts.take(said, at);
            read_all += 1;
        }
    }
    assert_eq!(counts.packets(), read_all);
    tell(&mut counts, at);
    // A minute later nothing of it is a flow any more.
    let report = tell(&mut counts, at.after(Duration::from_mins(1)));
    assert!(report.0 == 0 && report.1 == 0, "{report:?}");
    read_all > 0
}

/// Up to sixteen seconds.
fn pause(head: u8) -> Duration {
    Duration::from_millis(u64::from(head >> 1) * 128)
}

/// How many flows and claims are told, both within bounds.
fn tell(counts: &mut Counts, at: Tick) -> (usize, usize) {
    let report = counts.report(at);
    assert!(report.flows.len() <= MAX_FLOWS);
    assert!(report.claims.len() <= MAX_CLAIMS);
    for flow in &report.flows {
        assert!(flow.syns > 0 && flow.repeats <= flow.syns, "{flow:?}");
    }
    let json = serde_json::to_vec(&report).expect("plain numbers");
    let back: pnwatch_core::witness::WitnessReport =
        serde_json::from_slice(&json).expect("what was written");
    assert_eq!(back, report);
    (report.flows.len(), report.claims.len())
}
