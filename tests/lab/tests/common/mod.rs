//! What the lab's tests look at from inside a namespace.

#![allow(clippy::unwrap_used)] // a test fails by panicking, in its helpers too

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use pnwatch_lab::command::{IP, Program};
use pnwatch_lab::net::Namespace;

pub(crate) const ARPING: Program = Program {
    name: "arping",
    package: "iputils-arping",
};
/// Long enough for any answer that is going to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// Long enough to call a silence one: an answer takes about a millisecond.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);

pub(crate) fn arp(from: &Namespace, device: &str, address: Ipv4Addr) -> bool {
    let address = address.to_string();
    let words = [
        "netns",
        "exec",
        from.name(),
        ARPING.name,
        "-c",
        "1",
        "-w",
        "2",
        "-I",
        device,
        &address,
    ];
    IP.run(words, "").is_ok()
}

pub(crate) fn connects(from: &Namespace, address: Ipv4Addr, port: u16, patience: Duration) -> bool {
    let to = SocketAddr::new(IpAddr::V4(address), port);
    from.inside(|| TcpStream::connect_timeout(&to, patience).is_ok())
        .unwrap()
}
