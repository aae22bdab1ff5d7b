//! The receiver's witness: what arrives at, and leaves by, the PN device of this machine.
//!
//! A filtered packet socket shows SYN, SYN-ACK, DHCP and ARP ([`ring`]); [`packet`] reads them,
//! [`counts`] counts them by source within bounds. It tells what no client can: whether a SYN
//! came at all, whether an answer left, that a host forwards its VMs without translating, that
//! the DHCP server is silent, that another machine claims our address. Real builds are seen like
//! checks. One task, [`follow`], that looks at most ten times a second; dropping it closes the
//! socket.

pub mod counts;
pub mod kernel;
pub mod packet;
#[cfg(target_os = "linux")]
pub mod ring;

#[cfg(target_os = "linux")]
pub use watch::follow;

use pnwatch_core::time::Tick;
use pnwatch_core::witness::WitnessReport;

use crate::link::micros;

/// What was said, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// As it was told at `at`.
    pub report: WitnessReport,
    /// When.
    pub at: Tick,
}

impl Snapshot {
    /// As it is told at `now`: everything is older by what has passed.
    pub fn told(&self, now: Tick) -> WitnessReport {
        let passed = micros(now.since(self.at));
        let mut report = self.report.clone();
        let older = |age: &mut u64| *age = age.saturating_add(passed);
        for flow in &mut report.flows {
            older(&mut flow.syn_age_us);
            flow.syn_ack_age_us.iter_mut().for_each(older);
        }
        report.dhcp.waiting_us.iter_mut().for_each(older);
        report.dhcp.answer_age_us.iter_mut().for_each(older);
        for claim in &mut report.claims {
            older(&mut claim.age_us);
        }
        report
    }
}

#[cfg(target_os = "linux")]
mod watch {
    use core::net::Ipv4Addr;
    use core::time::Duration;
    use std::io;
    use std::os::fd::AsFd as _;

    use pnwatch_core::link::Mac;
    use pnwatch_core::time::Tick;
    use pnwatch_edge::clock::SharedClock;
    use tokio::sync::watch;

    use super::Snapshot;
    use super::counts::{Counts, WINDOW};
    use super::kernel::Tables;
    use super::packet;
    use super::ring::Ring;
    use crate::engine::poller::Readiness;
    use crate::link::Leg;

    /// From look to look, at least: what a busy network costs in wake-ups.
    const PAUSE: Duration = Duration::from_millis(100);
    /// From report to report.
    const TELL: Duration = Duration::from_secs(1);
    /// How long a refusal to open the socket is believed.
    const RETRY: Duration = Duration::from_secs(30);
    /// From own-address probe to own-address probe (RFC 5227 §2.1.1), and while another machine
    /// claims the address.
    const PROBE: Duration = Duration::from_secs(10);
    const PROBE_CLAIMED: Duration = Duration::from_secs(2);

    /// Watches the PN device for ever; says what it sees once a second.
    pub async fn follow(
        mut leg: watch::Receiver<Option<Leg>>,
        clock: SharedClock,
        tell: watch::Sender<Option<Snapshot>>,
    ) {
        loop {
            let held = leg.borrow_and_update().clone();
            let Some(index) = held.as_ref().and_then(|leg| leg.index) else {
                tell.send_replace(None);
                if leg.changed().await.is_err() {
                    return;
                }
                continue;
            };
            match Ring::open(index) {
                Ok(ring) => {
                    let mut session = Session::new(ring, clock.clone());
                    if let Err(error) = session.run(index, &mut leg, &tell).await {
                        tracing::warn!(%error, "the witness's socket failed; opening it again");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                Err(error) => {
                    tell.send_replace(None);
                    tracing::warn!(
                        "no witness on the PN device: {error}. SYNs that never come, that are not \
                         answered and whose answers are lost look alike without it; grant NET_RAW"
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    struct Session {
        ring: Ring,
        clock: SharedClock,
        counts: Counts,
        tables: Tables,
        own: Option<(Mac, Ipv4Addr)>,
        probe_at: Tick,
    }

    impl Session {
        fn new(ring: Ring, clock: SharedClock) -> Self {
            let now = clock.now().tick;
            Self {
                ring,
                counts: Counts::new(now),
                tables: Tables::default(),
                own: None,
                probe_at: now,
                clock,
            }
        }

        /// Until the device is another one.
        async fn run(
            &mut self,
            index: u32,
            leg: &mut watch::Receiver<Option<Leg>>,
            tell: &watch::Sender<Option<Snapshot>>,
        ) -> io::Result<()> {
            let readiness = Readiness::of(self.ring.as_fd())?;
            let mut every = tokio::time::interval(TELL);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            self.own(leg.borrow_and_update().as_ref());
            loop {
                tokio::select! {
                    news = readiness.news() => {
                        news?;
                        self.look();
                        tokio::time::sleep(PAUSE).await;
                    }
                    _ = every.tick() => {
                        self.look();
                        tell.send_replace(Some(self.snapshot()));
                        self.probe();
                    }
                    changed = leg.changed() => {
                        if changed.is_err() {
                            return Ok(());
                        }
                        let held = leg.borrow_and_update();
                        if held.as_ref().and_then(|leg| leg.index) != Some(index) {
                            return Ok(());
                        }
                        self.own(held.as_ref());
                    }
                }
            }
        }

        fn own(&mut self, leg: Option<&Leg>) {
            let mac = leg.and_then(|leg| leg.facts.mac);
            let address = leg.and_then(|leg| leg.source);
            self.own = mac.zip(address);
            self.counts.set_own(mac, address);
        }

        fn look(&mut self) {
            let now = self.clock.now();
            let counts = &mut self.counts;
            self.ring.walk(|frame| {
                if let Some(said) = packet::read(frame.protocol, frame.bytes) {
                    // Stamped by the kernel: a late look changes no time.
                    let age = now.wall.since(frame.at).min(Duration::from_secs(5));
                    counts.take(said, now.tick.before(age));
                }
            });
            let dropped = self.ring.dropped();
            if dropped > 0 {
                self.counts.lost(dropped, now.tick);
            }
        }

        fn snapshot(&mut self) -> Snapshot {
            let at = self.clock.now().tick;
            let mut report = self.counts.report(at);
            let window = Duration::from_secs(WINDOW as u64);
            self.tables.tell(at, window, &mut report);
            Snapshot { report, at }
        }

        /// Asks for our own address in nobody's name: whoever answers has it too.
        fn probe(&mut self) {
            let now = self.clock.now().tick;
            let Some((mac, address)) = self.own.filter(|_| now >= self.probe_at) else {
                return;
            };
            let claimed = self.counts.is_claimed();
            self.probe_at = now.after(if claimed { PROBE_CLAIMED } else { PROBE });
            // A device that is going: its absence is reported by the link.
            let _ = self.ring.send_arp(&own_address_probe(mac, address));
        }
    }

    /// An ARP request with sender 0.0.0.0 (RFC 5227 §2.1.1): it changes nobody's table.
    fn own_address_probe(mac: Mac, address: Ipv4Addr) -> [u8; 28] {
        let mut packet = [0u8; 28];
        packet[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
        packet[8..14].copy_from_slice(&mac.0);
        packet[24..].copy_from_slice(&address.octets());
        packet
    }

    #[cfg(test)]
    mod tests {
        use super::super::packet::Said;
        use super::*;

        #[test]
        fn a_probe_claims_nothing() {
            let (mac, address) = (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(172, 16, 0, 2));
            let packet = own_address_probe(mac, address);
            let said = packet::read(packet::ARP, &packet);
            assert_eq!(said, Some(Said::Arp(mac, Ipv4Addr::UNSPECIFIED)));
            assert_eq!(packet[24..], address.octets());
        }
    }
}
