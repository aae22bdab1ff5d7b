//! The PN leg from rtnetlink(7): subscribed, so that a lost address is known in milliseconds.
//!
//! An event only says *that* something changed; the facts are then read afresh, so that a lost
//! or misunderstood message can never leave a wrong picture. They are also read at the start,
//! every [`REFRESH`], and whenever the subscription had to be opened again (overrun).
//! One task, [`follow`], cancel-safe: dropping it closes the sockets.

use core::net::Ipv4Addr;
use core::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use pnwatch_core::link::{
    Cidr, DeviceState, HeldAddress, LinkFacts, MAX_ADDRESSES, Mac, RouteFact,
};
use pnwatch_edge::clock::SharedClock;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use super::Leg;

/// The facts are read at least this often.
pub const REFRESH: Duration = Duration::from_secs(30);
/// Least time between two readings: a node that starts pods sends many events.
const SPACING: Duration = Duration::from_millis(10);

/// Follows the device `name` for ever. `target` is the PN address whose route is looked up.
pub async fn follow(
    name: String,
    pn: Cidr,
    mut target: watch::Receiver<Option<Ipv4Addr>>,
    clock: SharedClock,
    leg: watch::Sender<Option<Leg>>,
) {
    loop {
        if let Err(error) = session(&name, pn, &mut target, &clock, &leg).await {
            tracing::warn!(device = %name, %error, "the link subscription ended; opening it again");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn session(
    name: &str,
    pn: Cidr,
    target: &mut watch::Receiver<Option<Ipv4Addr>>,
    clock: &SharedClock,
    leg: &watch::Sender<Option<Leg>>,
) -> Result<(), LinkError> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv4Route,
        // A policy rule moves the PN's traffic without touching any route (rtnetlink(7)).
        MulticastGroup::Ipv4Rule,
    ];
    let (connection, handle, mut events) =
        new_multicast_connection(&groups).map_err(LinkError::Open)?;
    // Ends with the session: aborted when the guard is dropped.
    let _guard = AbortOnDrop(tokio::spawn(connection));
    loop {
        let route = *target.borrow_and_update();
        let reader = Reader {
            handle: &handle,
            name,
            pn,
            route,
        };
        let read = reader.leg(clock).await?;
        leg.send_if_modified(|held| match held {
            Some(held) => {
                held.update(read);
                // Lifetimes too are news to the report.
                true
            }
            none => {
                *none = Some(read);
                true
            }
        });
        tokio::time::sleep(SPACING).await;
        tokio::select! {
            event = events.next() => event.map(drop).ok_or(LinkError::Ended)?,
            changed = target.changed() => changed.map_err(|_| LinkError::Ended)?,
            () = tokio::time::sleep(REFRESH) => {}
        }
        while let Some(event) = events.next().now_or_never() {
            event.map(drop).ok_or(LinkError::Ended)?;
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot open a netlink socket: {0}")]
    Open(std::io::Error),
    #[error("the kernel dropped events or closed the socket")]
    Ended,
    #[error("a netlink request failed: {0}")]
    Request(rtnetlink::Error),
}

struct Reader<'a> {
    handle: &'a Handle,
    name: &'a str,
    pn: Cidr,
    route: Option<Ipv4Addr>,
}

/// A refusal by the kernel is an answer (no such device, no such route); the rest is not.
fn refused<T>(result: Result<T, rtnetlink::Error>) -> Result<Option<T>, LinkError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rtnetlink::Error::NetlinkError(_)) => Ok(None),
        Err(other) => Err(LinkError::Request(other)),
    }
}

impl Reader<'_> {
    async fn leg(&self, clock: &SharedClock) -> Result<Leg, LinkError> {
        let link = self.handle.link().get().match_name(self.name.to_owned());
        let link = refused(link.execute().try_next().await)?.flatten();
        let now = clock.now().tick;
        let index = link.as_ref().map(|link| link.header.index);
        let mut facts = LinkFacts {
            device: self.name.to_owned(),
            state: DeviceState::Absent,
            mac: None,
            addresses: Vec::new(),
            route: None,
            filter: None,
        };
        let mut arp = false;
        if let Some(link) = &link {
            let flags = link.header.flags;
            facts.state = state(flags);
            facts.mac = mac(link);
            facts.addresses = self.addresses(link.header.index).await?;
            arp =
                !flags.intersects(LinkFlags::Loopback | LinkFlags::Noarp | LinkFlags::Pointopoint);
        }
        facts.route = self.route(index).await?;
        let source = facts.pn_address(self.pn).map(|held| held.address);
        Ok(Leg {
            facts,
            index,
            arp,
            source,
            read_at: now,
            since: now,
        })
    }

    async fn addresses(&self, index: u32) -> Result<Vec<HeldAddress>, LinkError> {
        let mut request = self.handle.address().get().set_link_index_filter(index);
        request.message_mut().header.family = AddressFamily::Inet;
        let mut stream = std::pin::pin!(request.execute());
        let mut held = Vec::new();
        let uptime = uptime_hundredths();
        while let Some(message) = refused(stream.try_next().await)?.flatten() {
            // Without strict checking the kernel ignores the filter (rtnetlink(7)).
            if message.header.index == index {
                hold(&mut held, &message, uptime);
            }
        }
        Ok(held)
    }

    async fn route(&self, own: Option<u32>) -> Result<Option<RouteFact>, LinkError> {
        let Some(to) = self.route else {
            return Ok(None);
        };
        let request = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to, 32)
            .build();
        let mut stream = std::pin::pin!(self.handle.route().get(request).execute());
        let found = refused(stream.try_next().await)?.flatten();
        let (out, via_gateway) = found.as_ref().map_or((None, false), leaves_by);
        let device = match out {
            Some(index) if Some(index) == own => Some(self.name.to_owned()),
            Some(index) => self.name_of(index).await?,
            None => None,
        };
        Ok(Some(RouteFact {
            to,
            device,
            via_gateway,
        }))
    }

    async fn name_of(&self, index: u32) -> Result<Option<String>, LinkError> {
        let request = self.handle.link().get().match_index(index).execute();
        let link = refused(std::pin::pin!(request).try_next().await)?.flatten();
        Ok(link.and_then(|link| {
            link.attributes.into_iter().find_map(|a| match a {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            })
        }))
    }
}

pub(crate) fn state(flags: LinkFlags) -> DeviceState {
    if !flags.contains(LinkFlags::Up) {
        DeviceState::AdminDown
    } else if flags.contains(LinkFlags::Running | LinkFlags::LowerUp) {
        DeviceState::Up
    } else {
        DeviceState::NoCarrier
    }
}

pub(crate) fn mac(link: &LinkMessage) -> Option<Mac> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok().map(Mac),
            _ => None,
        })
}

pub(crate) fn leaves_by(route: &RouteMessage) -> (Option<u32>, bool) {
    let mut out = (None, false);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => out.0 = Some(*index),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => out.1 = true,
            _ => {}
        }
    }
    out
}

/// Hundredths of a second since boot as `ifa_cacheinfo.tstamp` counts them: jiffies, which stand
/// still in a suspend as `CLOCK_MONOTONIC` does. Wraps after 497 days, as the stamp does.
fn uptime_hundredths() -> u32 {
    let uptime = clock_gettime(ClockId::Monotonic);
    let hundredths = uptime
        .tv_sec
        .wrapping_mul(100)
        .wrapping_add(uptime.tv_nsec / 10_000_000);
    hundredths as u32
}

/// Adds the address that a message tells of, if there is room.
pub(crate) fn hold(held: &mut Vec<HeldAddress>, message: &AddressMessage, uptime: u32) {
    if held.len() < MAX_ADDRESSES {
        held.extend(address(message, uptime));
    }
}

fn address(message: &AddressMessage, uptime: u32) -> Option<HeldAddress> {
    let (mut local, mut any, mut cache) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(std::net::IpAddr::V4(address)) => local = Some(*address),
            AddressAttribute::Address(std::net::IpAddr::V4(address)) => any = Some(*address),
            AddressAttribute::CacheInfo(info) => cache = Some(*info),
            _ => {}
        }
    }
    // INFINITY_LIFE_TIME: a static hold has no lifetime, and so no renewal.
    let leased = cache.filter(|info| info.ifa_valid != u32::MAX);
    Some(HeldAddress {
        // On point-to-point links IFA_ADDRESS is the peer (if_addr.h).
        address: local.or(any)?,
        prefix_len: message.header.prefix_len,
        valid_for_s: leased.map(|info| info.ifa_valid.into()),
        renewed_ago_s: leased.map(|info| (uptime.wrapping_sub(info.tstamp) / 100).into()),
    })
}

/// The names of this machine's interfaces, for the line that says that one is missing.
pub fn interface_names() -> Vec<String> {
    let mut names: Vec<String> = pnet::datalink::interfaces()
        .into_iter()
        .map(|interface| interface.name)
        .collect();
    names.sort();
    names
}
