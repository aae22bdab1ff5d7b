//! The listening socket on the VMs' bridge: there while the bridge is, nowhere else.

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::net::TcpListener;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait in the kernel.
const BACKLOG: i32 = 64;

/// The device that holds the gateway address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its index: a bridge that was made anew is another one.
    pub index: u32,
}

/// The device that holds `gateway` now: macOS names it bridge100, or bridge101 the next time.
pub fn find(gateway: IpAddr) -> Option<Bridge> {
    pnet::datalink::interfaces()
        .into_iter()
        .find(|device| device.ips.iter().any(|net| net.ip() == gateway))
        .map(|device| Bridge {
            name: device.name,
            index: device.index,
        })
}

/// Listens on `gateway`, for packets that come in by `bridge` alone: the address by itself would
/// answer on every device of the host (weak host model, RFC 1122 §3.3.4.2).
pub fn listen(gateway: SocketAddr, bridge: &Bridge) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(gateway),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    bind_device(&socket, bridge)?;
    socket.bind(&gateway.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(target_os = "linux")]
fn bind_device(socket: &Socket, bridge: &Bridge) -> io::Result<()> {
    socket.bind_device(Some(bridge.name.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn bind_device(socket: &Socket, bridge: &Bridge) -> io::Result<()> {
    socket.bind_device_by_index_v4(core::num::NonZeroU32::new(bridge.index))
}
