//! The prober's engine on one row: one connection, one ARP request, and what the receiver says.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use pnwatch_core::link::LinkState;
use pnwatch_core::outcome::Outcome;
use pnwatch_core::schedule::CheckId;
use pnwatch_core::time::Tick;
use pnwatch_core::witness::Arrival;
use pnwatch_edge::clock::{Clock as _, SystemClock};
use pnwatch_prober::engine::poller::Readiness;
use pnwatch_prober::engine::{Ask, Due, Engine as _, Limits, Seen, Sockets, What};
use pnwatch_prober::link::Leg;
use pnwatch_prober::witness::Snapshot;
use serde::Serialize;

use super::rows::{Expected, Neighbour, Row};
use super::wire::{NODE, OWN, OWN_DEVICE, Wire};

/// Longer than the longest check; a result that does not come is an error of the lab.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the node's link must stand still to be told.
const SETTLED: Duration = Duration::from_millis(700);

/// What is seen of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tuple {
    /// The cause at the last layer, `reached`, or why nothing was measured.
    pub cause: String,
    /// What one ARP request found.
    pub arp: String,
    /// The prober's own leg.
    pub link: String,
    /// What the node itself says: its leg, and what became of the SYN.
    pub receiver: String,
}

impl Tuple {
    /// Whether it is what a row expects.
    pub fn is(&self, (cause, arp, link, receiver): Expected) -> bool {
        (self.cause.as_str(), self.arp.as_str()) == (cause, arp)
            && (self.link.as_str(), self.receiver.as_str()) == (link, receiver)
    }
}

/// The prober's engine on a runtime of the calling thread.
pub(super) struct Prober {
    engine: Sockets,
    clock: SystemClock,
    readiness: Readiness,
}

impl Prober {
    /// Must be made inside the namespace and a runtime.
    pub(super) fn new(unbound: bool, leg: &Leg) -> Result<Self> {
        let clock = SystemClock::new();
        let vantage = if unbound { "vm/a/0" } else { "host/a" };
        let mut engine = Sockets::new(
            &vantage.parse()?,
            Arc::new(clock.clone()),
            Limits::default(),
        )?;
        engine.set_leg(leg);
        let readiness = Readiness::of(engine.readiness())?;
        Ok(Self {
            engine,
            clock,
            readiness,
        })
    }

    /// Makes one check and waits for its end.
    pub(super) async fn check(&mut self, ask: Ask) -> Result<Outcome> {
        self.engine.submit(&[Due {
            id: CheckId(1),
            ask,
            patience: Duration::from_millis(1300),
            within: Duration::from_millis(2600),
        }]);
        let end = Instant::now() + PATIENCE;
        let mut seen: Vec<Seen> = Vec::new();
        loop {
            let now = self.clock.now().tick;
            let next = self.engine.next_deadline();
            let wait = next.map_or(Duration::from_secs(1), |at| at.since(now));
            tokio::select! {
                news = self.readiness.news() => news?,
                () = tokio::time::sleep(wait) => {}
            }
            self.engine.drain(self.clock.now().tick, &mut seen);
            if let Some(last) = seen.iter().find(|seen| seen.done) {
                return match last.what {
                    What::Outcome { outcome, .. } => Ok(outcome),
                    other => bail!("no outcome: {other:?}"),
                };
            }
            if Instant::now() > end {
                bail!("the check does not end");
            }
        }
    }
}

pub(super) fn up(port: u16) -> Ask {
    Ask::Up {
        to: SocketAddrV4::new(NODE, port),
        request: Arc::from(&b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"[..]),
        tenant: Some("t1".into()),
    }
}

fn word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unreached(cause) => cause.as_label().to_owned(),
        other => other.to_string(),
    }
}

/// Runs the row: warm the neighbour if asked, break, dial, ask by ARP, hear the receiver.
pub(super) fn observe(
    wire: &Wire,
    row: &Row,
    neighbour: Neighbour,
) -> Result<(Tuple, Arrival, Option<bool>)> {
    if neighbour == Neighbour::Warm {
        let leg = leg(&wire.own_leg)?;
        let reached = inside(wire, row.unbound, &leg, |mut prober| async move {
            prober.check(up(31001)).await
        })?;
        if reached != Outcome::Reached {
            bail!("not healthy before the fault: {reached}");
        }
    } else {
        // Peers and the watch itself may have left an entry.
        wire.own.ip(&format!("neigh flush dev {OWN_DEVICE}"))?;
    }
    // The warming connection is not the row's.
    let clock = SystemClock::new();
    let since = clock.now().tick;
    (row.inject)(wire)?;
    settle(wire);
    let own = leg(&wire.own_leg)?;
    let port = row.port;
    let (cause, arp) = inside(wire, row.unbound, &own, |mut prober| async move {
        let cause = prober.check(up(port)).await?;
        let arp = prober.check(Ask::Arp(NODE)).await?;
        anyhow::Ok((cause, arp))
    })?;
    let Snapshot { report, at } = heard_after(wire, clock.now().tick)?;
    let node = leg(&wire.node_leg)?;
    let arrival = report.arrival((OWN, NODE, port), at.since(since));
    let flow = report
        .flows
        .iter()
        .find(|f| (f.client, f.server, f.port) == (OWN, NODE, port));
    let repeated = flow.is_some_and(|f| f.repeats > 0);
    let queue_full = report.queue_full();
    let came = match arrival {
        Arrival::NeverCame => "no SYN came",
        Arrival::Unwatched => "nobody watched",
        Arrival::Unanswered => "SYN came, unanswered",
        Arrival::AnswerLost if repeated => "SYN came, answer lost",
        Arrival::AnswerLost => "SYN answered",
    };
    let full = port == 31012 && queue_full == Some(true);
    let full = if full { "; accept queue full" } else { "" };
    let tuple = Tuple {
        cause: word(cause),
        arp: word(arp),
        link: link(&own, None),
        receiver: format!("link {}; {came}{full}", link(&node, Some(NODE))),
    };
    Ok((tuple, arrival, queue_full))
}

fn link(leg: &Leg, expected: Option<std::net::Ipv4Addr>) -> String {
    let Ok(pn) = "172.16.0.0/22".parse() else {
        return String::new();
    };
    match leg.facts.assess(pn, expected) {
        LinkState::Fine => "fine",
        LinkState::InterfaceMissing => "interface_missing",
        LinkState::AdminDown => "admin_down",
        LinkState::NoCarrier => "no_carrier",
        LinkState::AddressLost => "address_lost",
        LinkState::AddressWrong { .. } => "address_wrong",
        LinkState::RouteWrong => "route_wrong",
    }
    .to_owned()
}

fn leg(of: &tokio::sync::watch::Receiver<Option<Leg>>) -> Result<Leg> {
    of.borrow().clone().context("no leg is known")
}

/// The kernel tells of the fault by netlink: until nothing new comes.
fn settle(wire: &Wire) {
    let mut last = (leg(&wire.own_leg).ok(), leg(&wire.node_leg).ok());
    let mut since = Instant::now();
    while since.elapsed() < SETTLED {
        std::thread::sleep(Duration::from_millis(50));
        let now = (leg(&wire.own_leg).ok(), leg(&wire.node_leg).ok());
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

/// The first report of the witness that was made after `after`.
fn heard_after(wire: &Wire, after: Tick) -> Result<Snapshot> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let heard = wire.heard.borrow().clone();
        if let Some(snapshot) = heard.filter(|snapshot| snapshot.at > after) {
            return Ok(snapshot);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("the witness says nothing")
}

/// Runs `work` with a fresh prober on a runtime inside the prober's namespace.
pub(super) fn inside<T: Send, F>(
    wire: &Wire,
    unbound: bool,
    leg: &Leg,
    work: impl FnOnce(Prober) -> F + Send,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    wire.own.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async { work(Prober::new(unbound, leg)?).await })
    })?
}
