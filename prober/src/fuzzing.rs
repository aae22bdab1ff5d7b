//! What reads bytes from outside and is private otherwise, for the fuzz targets (`tests/fuzz`).
//! With the feature `fuzzing` alone, on Linux.

use core::net::Ipv4Addr;
use std::path::Path;

use bytes::BytesMut;
use pnwatch_core::filter::FilterFacts;
use pnwatch_core::link::{DeviceState, LinkFacts, Mac, RouteFact};
use pnwatch_core::time::Now;
use pnwatch_core::wire::Report;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::proto::{NetlinkCodec, NetlinkMessageCodec as _};

use crate::devices::sysfs;
use crate::link::netlink;
use crate::relay::talk::Brief;
use crate::relay::{neighbours, nft};
use crate::spool::Spool;
use crate::vm::line;
use crate::witness::kernel;

/// What the messages of one netlink datagram say of a device, put together as
/// [`netlink::follow`] does with the answers to its questions.
pub fn netlink(datagram: &[u8], uptime_hundredths: u32) -> LinkFacts {
    let mut facts = LinkFacts {
        device: "pn0".to_owned(),
        state: DeviceState::Absent,
        mac: None,
        addresses: Vec::new(),
        route: None,
        filter: None,
    };
    let mut bytes = BytesMut::from(datagram);
    while let Ok(Some(message)) = NetlinkCodec::decode::<RouteNetlinkMessage>(&mut bytes) {
        match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                facts.state = netlink::state(link.header.flags);
                facts.mac = netlink::mac(&link);
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => {
                netlink::hold(&mut facts.addresses, &address, uptime_hundredths);
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                let (_, via_gateway) = netlink::leaves_by(&route);
                facts.route = Some(RouteFact {
                    to: Ipv4Addr::UNSPECIFIED,
                    device: None,
                    via_gateway,
                });
            }
            _ => {}
        }
    }
    facts
}

/// What `nft -j list table` printed.
pub fn nft(json: &[u8], table: &nft::Table) -> Option<FilterFacts> {
    nft::facts(json, table)
}

/// The neighbour table, and bootpd's leases: who is behind `peer`.
pub fn neighbour(table: &str, leases: &str, peer: Ipv4Addr) -> (Option<Mac>, Option<Mac>) {
    (
        neighbours::in_table(table, peer),
        neighbours::in_leases(leases, peer),
    )
}

/// `/proc/net/netstat`, `/proc/net/stat/nf_conntrack` and `/proc/net/route`, each out of `text`.
pub fn proc_tables(text: &str) -> (Option<u64>, Option<u64>, Option<String>) {
    (
        kernel::listen_overflows(text),
        kernel::conntrack_drops(text),
        sysfs::parse_default_route(text),
    )
}

/// What a relay told a VM to do.
pub fn brief(bytes: &[u8]) -> Result<Brief, String> {
    line::brief(bytes)
}

/// One line of a spool, as it would be replayed at `now` in the boot called `boot`.
pub fn spooled(line: &[u8], boot: &str, now: Now) -> Option<Report> {
    Spool::new(Path::new(""), "", boot, 0).revive(line, now)
}
