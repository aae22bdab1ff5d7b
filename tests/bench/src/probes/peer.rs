//! The peer: answers `/up` on every address of its end, as cheaply as threads can.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::wire::{End, Wire, far};

/// The first port that answers.
const PORT: u16 = 30_000;
/// How many answer, a thread each: one that waits for a slow client must not stop the others.
const PORTS: u16 = 25;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 74\r\n\
Connection: close\r\n\r\n{\"status\":\"ok\",\"tenant_id\":\"bench\",\"ring_members\":1,\"generation\":1234567}\n";

/// Answers until the process ends.
pub(super) struct Peer {
    answered: Arc<AtomicU64>,
}

impl Peer {
    pub(super) fn start(wire: &Wire) -> anyhow::Result<Self> {
        let listeners = wire.inside(End::Far, || {
            let listen = |n| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.set_reuse_address(true)?;
                socket.bind(&std::net::SocketAddr::from(([0, 0, 0, 0], PORT + n)).into())?;
                socket.listen(4096)?;
                Ok(TcpListener::from(socket))
            };
            (0..PORTS).map(listen).collect::<anyhow::Result<Vec<_>>>()
        });
        let listeners = listeners.join();
        let answered = Arc::new(AtomicU64::new(0));
        for listener in listeners.map_err(|_| anyhow::anyhow!("panicked"))?? {
            let answered = Arc::clone(&answered);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if answer(stream).is_ok() {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        Ok(Self { answered })
    }

    /// Requests that were answered so far.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// Target number `n`: 25 ports to an address, so that the kernel's table of neighbours suffices.
pub(super) fn target(n: usize) -> (Ipv4Addr, u16) {
    let ports = usize::from(PORTS);
    (far(n / ports), PORT + u16::try_from(n % ports).unwrap_or(0))
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut request = [0; 1024];
    let mut length = 0;
    while !request[..length].ends_with(b"\r\n\r\n") {
        match stream.read(&mut request[length..])? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => length += count,
        }
    }
    stream.write_all(ANSWER)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(super::ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }
}
