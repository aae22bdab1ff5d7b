//! A stream over the private network at a pace, so that a device has something to carry.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Bytes per write: large enough to cost little, small enough to pace by.
const CHUNK: usize = 64 << 10;
/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes what comes on `address`, one connection after the other, until it is ended.
pub fn take(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot bind {address}"))?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let (mut stream, _) = listener.accept()?;
        while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
    }
}

/// Sends to `address` at most `megabits` a second until it is ended; prints what each second
/// carried. What could not be sent in its time is not made up for: a bucket that is full stays so.
pub fn send(address: SocketAddr, megabits: u64) -> Result<()> {
    let mut stream = connect(address)?;
    // A slice that the peer does not take must not hold up the pace.
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let chunk = vec![0; CHUNK];
    let gap = Duration::from_nanos((CHUNK as u64 * 8 * 1_000).div_ceil(megabits.max(1)));
    let mut due = Instant::now();
    let mut second = Count::new(due);
    loop {
        let sent = match stream.write(&chunk) {
            Ok(sent) => sent,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(error) => return Err(error).context("the stream broke"),
        };
        second.add(sent, Instant::now());
        due += gap.mul_f64(sent as f64 / CHUNK as f64);
        let now = Instant::now();
        if now.saturating_duration_since(due) > gap * 4 {
            due = now;
        }
        std::thread::sleep(due.saturating_duration_since(now));
    }
}

/// What is sent in each second.
struct Count {
    since: Instant,
    bytes: usize,
}

impl Count {
    fn new(since: Instant) -> Self {
        Self { since, bytes: 0 }
    }

    fn add(&mut self, sent: usize, now: Instant) {
        let second = Duration::from_secs(1);
        if now.saturating_duration_since(self.since) >= second {
            println!("{} bytes in a second", self.bytes);
            self.bytes = 0;
            self.since += second;
        }
        self.bytes += sent;
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let began = Instant::now();
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
            Ok(stream) => return Ok(stream),
            Err(error) if began.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("cannot connect to {address}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
