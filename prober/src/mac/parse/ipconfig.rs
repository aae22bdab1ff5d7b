//! `ipconfig getpacket` and `getsummary` (ipconfig(8)), and the lease file of the DHCP client.
//!
//! The summary's times carry no zone; the command is run with `TZ=UTC`, and its times count
//! only where they agree with the lease's length. The lease file's times are always UTC.

use core::net::Ipv4Addr;

use pnwatch_core::time::Timestamp;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::StrDeserializer;

use super::{after, lines, number};

/// The last DHCP answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packet {
    /// `yiaddr`: the address that was given.
    pub address: Option<Ipv4Addr>,
    /// Who gave it.
    pub server: Option<Ipv4Addr>,
    /// For how long, seconds.
    pub lease_s: Option<u64>,
    /// When to renew, seconds after the start.
    pub renew_s: Option<u64>,
    /// It was an ACK.
    pub ack: bool,
}

/// What the DHCP client knows of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Configured by DHCP.
    pub dhcp: bool,
    /// The client holds a lease (`Bound`, `Renew`, `Rebind`, …).
    pub state: Option<String>,
    /// When the lease began.
    pub start: Option<Timestamp>,
    /// When it ends.
    pub end: Option<Timestamp>,
    /// The answer that it came with.
    pub packet: Packet,
}

/// The lease of a device as it is kept on disk (`/var/db/dhcpclient/leases/DEVICE.plist`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseFile {
    /// The address.
    pub address: Ipv4Addr,
    /// When the lease began.
    pub start: Timestamp,
    /// For how long, seconds.
    pub length_s: u64,
}

/// Reads `ipconfig getpacket`. Empty where there is none.
pub fn packet(text: &str) -> Packet {
    let mut packet = Packet::default();
    for line in lines(text) {
        take(&mut packet, line);
    }
    packet
}

fn take(packet: &mut Packet, line: &str) {
    let line = line.trim();
    let ip = |text: &str| text.trim().parse::<Ipv4Addr>().ok();
    if let Some(address) = line.strip_prefix("yiaddr = ") {
        packet.address = ip(address).filter(|address| !address.is_unspecified());
    } else if let Some(server) = after(line, "server_identifier (ip)") {
        packet.server = ip(server);
    } else if let Some(lease) = after(line, "lease_time (uint32)") {
        packet.lease_s = number(lease);
    } else if let Some(renew) = after(line, "renewal_t1_time_value (uint32)") {
        packet.renew_s = number(renew);
    } else if let Some(kind) = after(line, "dhcp_message_type (uint8)") {
        packet.ack = kind.split_whitespace().next() == Some("ACK");
    }
}

/// Reads `ipconfig getsummary`.
pub fn summary(text: &str) -> Summary {
    let mut summary = Summary::default();
    let mut v6 = false;
    for line in lines(text) {
        let line = line.trim();
        // The IPv6 part has states and leases of its own.
        if line.starts_with("IPv6 :") || line.starts_with("DHCPv6 :") {
            v6 = true;
        } else if line.starts_with("IPv4 :") || line.starts_with("DHCP :") {
            v6 = false;
        }
        if v6 {
            continue;
        }
        take(&mut summary.packet, line);
        if after(line, "ConfigMethod") == Some("DHCP") {
            summary.dhcp = true;
        } else if let Some(time) = after(line, "LeaseStartTime") {
            summary.start = written_time(time);
        } else if let Some(time) = after(line, "LeaseExpirationTime") {
            summary.end = written_time(time);
        } else if let Some(state) = after(line, "State")
            && summary.state.is_none()
        {
            let word = state.split_whitespace().next().unwrap_or_default();
            let plain = !word.is_empty() && word.len() <= 24 && word.is_ascii();
            summary.state = plain.then(|| word.to_ascii_lowercase());
        }
    }
    summary
}

/// `07/30/2026 15:48:29`, perhaps with a zone, which must then be UTC.
fn written_time(text: &str) -> Option<Timestamp> {
    let mut words = text.split_whitespace();
    let (date, time) = (words.next()?, words.next()?);
    if !matches!(words.next(), None | Some("UTC" | "GMT" | "Etc/UTC")) {
        return None;
    }
    let mut parts = date.splitn(3, '/');
    let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if !(digits(month, 2) && digits(day, 2) && digits(year, 4) && time.len() == 8) {
        return None;
    }
    timestamp(&format!("{year}-{month}-{day}T{time}Z"))
}

fn timestamp(text: &str) -> Option<Timestamp> {
    // RFC 3339, as on the wire.
    let text: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    Timestamp::deserialize(text).ok()
}

/// Reads a lease file (an XML property list).
pub fn lease_file(text: &str) -> Option<LeaseFile> {
    let value = |key: &str, kind: &str| {
        let (_, rest) = text.split_once(&format!("<key>{key}</key>"))?;
        let rest = rest.trim_start().strip_prefix(&format!("<{kind}>"))?;
        let (value, _) = rest.split_once(&format!("</{kind}>"))?;
        Some(value.trim())
    };
    Some(LeaseFile {
        address: value("IPAddress", "string")?.parse().ok()?,
        start: timestamp(value("LeaseStartDate", "date")?)?,
        length_s: value("LeaseLength", "integer")?.parse().ok()?,
    })
}
