//! What a job was handed and what came of it, told to the host's relay: so that a fleet knows how
//! many jobs went on without their cache, and nobody has to ask each VM.
//!
//! One small POST with a deadline of its own. Whether anybody listens changes nothing for the
//! job: the answer is not even read to its end. No name travels, only an address.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub use crate::relay::talk::{HANDED as PATH, Handed, VERSION};

/// How long telling may take: less than what `once` may exceed its budget by.
pub const WITHIN: Duration = Duration::from_millis(30);

/// Tells `relay`; an error says why it may not have heard.
pub async fn tell(relay: SocketAddr, handed: &Handed) -> io::Result<()> {
    let telling = async {
        let mut stream = TcpStream::connect(relay).await?;
        // Plain numbers and words always serialize.
        let body = serde_json::to_vec(handed).unwrap_or_default();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {relay}\r\nUser-Agent: pnwatch/{} (+once)\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION"),
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
        // Closed before it was read, the message could be lost to a reset.
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        match &status {
            b"HTTP/1.1 200" | b"HTTP/1.1 202" | b"HTTP/1.1 204" => Ok(()),
            _ => Err(io::Error::other("the relay did not take it")),
        }
    };
    match tokio::time::timeout(WITHIN, telling).await {
        Ok(told) => told,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
