//! The public listening socket, and the faults that live below HTTP.
//!
//! [`FaultyListener`] is what axum accepts from. It hands out only connections that are to be
//! served; under a fault such as `accept_queue_full` it hands out none. A connection that is
//! already open is spoiled at its next read, so a client with keep-alive sees the fault as well.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Shared;
use crate::fault::{Fault, Listening, Spoil};

/// Connections that may wait to be accepted when all is well.
const BACKLOG: i32 = 1024;
/// Own connections sent at a queue of one: Linux accepts `backlog + 1` before it drops SYNs.
const FILLERS: usize = 4;
/// Loopback completes a handshake in well under a millisecond; what is not there by now was dropped.
const FILLER_TIMEOUT: Duration = Duration::from_millis(100);
/// Between two tries to listen again, or to accept after an error (no file descriptors left).
const RETRY: Duration = Duration::from_millis(50);

/// What a spoiled connection says when it is not to speak HTTP.
const NOT_HTTP: &[u8] = b"-ERR unknown command\r\n";
/// A head that promises more than ever comes.
const STALLED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4096\r\n\r\n{\"status\":\"ok\",";

/// Accepts connections as the current fault allows.
#[derive(Debug)]
pub(crate) struct FaultyListener {
    address: SocketAddr,
    shared: Arc<Shared>,
    orders: watch::Receiver<(u64, Fault)>,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(TcpListener),
    /// The connections that fill the queue stay open as long as the fault.
    QueueFull {
        listener: TcpListener,
        _fillers: Vec<TcpStream>,
    },
    Closed,
}

impl FaultyListener {
    pub(crate) fn bind(wanted: SocketAddr, shared: Arc<Shared>) -> io::Result<Self> {
        let listener = open(wanted)?;
        Ok(Self {
            address: listener.local_addr()?,
            orders: shared.faults.subscribe(),
            state: State::Open(listener),
            shared,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Brings the socket into the state that the newest order wants, and confirms it.
    async fn obey(&mut self) {
        let (number, fault) = *self.orders.borrow_and_update();
        match fault.listening() {
            Listening::Open => self.reopen().await,
            Listening::QueueFull => {
                self.reopen().await;
                if let State::Open(listener) = std::mem::replace(&mut self.state, State::Closed) {
                    let fillers = fill_queue(&listener, self.address).await;
                    self.state = State::QueueFull {
                        listener,
                        _fillers: fillers,
                    };
                }
            }
            Listening::Closed => self.state = State::Closed,
        }
        self.shared.faults.confirm(number);
    }

    async fn reopen(&mut self) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(listener) => self.state = State::Open(listener),
            State::QueueFull { listener, .. } => {
                // A second listen(2) only sets the backlog anew (Linux: inet_listen).
                if let Err(error) = SockRef::from(&listener).listen(BACKLOG) {
                    tracing::warn!(%error, "the stand-in cannot widen its accept queue");
                }
                self.state = State::Open(listener);
            }
            State::Closed => loop {
                match open(self.address) {
                    Ok(listener) => {
                        self.state = State::Open(listener);
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(address = %self.address, %error, "the stand-in cannot listen again yet");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            },
        }
    }
}

impl axum::serve::Listener for FaultyListener {
    type Io = FaultyStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (FaultyStream, SocketAddr) {
        loop {
            if self.orders.has_changed().unwrap_or(false) {
                self.obey().await;
                continue;
            }
            let State::Open(listener) = &self.state else {
                // Never fails: the sender lives in `shared`.
                let _ = self.orders.changed().await;
                self.orders.mark_changed();
                continue;
            };
            tokio::select! {
                biased;
                _ = self.orders.changed() => self.orders.mark_changed(),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        return (FaultyStream::new(stream, Arc::clone(&self.shared)), peer);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the stand-in cannot accept a connection");
                        tokio::time::sleep(RETRY).await;
                    }
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Without it, listening again fails while closed connections are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Shrinks the accept queue to one place and takes that place.
async fn fill_queue(listener: &TcpListener, address: SocketAddr) -> Vec<TcpStream> {
    if let Err(error) = SockRef::from(listener).listen(0) {
        tracing::warn!(%error, "the stand-in cannot narrow its accept queue");
    }
    let mut dial = address;
    if dial.ip().is_unspecified() {
        dial.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let connections = (0..FILLERS).map(|_| timeout(FILLER_TIMEOUT, TcpStream::connect(dial)));
    futures_util::future::join_all(connections)
        .await
        .into_iter()
        .filter_map(|connected| connected.ok()?.ok())
        .collect()
}

/// A connection that the fault can spoil.
#[derive(Debug)]
pub(crate) struct FaultyStream {
    stream: TcpStream,
    shared: Arc<Shared>,
    spoiled: Option<Spoil>,
    /// What is still to be written of a fault's own answer.
    own_answer: &'static [u8],
}

impl FaultyStream {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> Self {
        // Answers are small and whole: no reason to wait for more.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            shared,
            spoiled: None,
            own_answer: &[],
        }
    }

    /// Decides what to do with request bytes that just came, under the fault of this moment.
    fn spoil(&mut self) -> Option<Spoil> {
        if self.spoiled.is_none() {
            self.spoiled = self.shared.faults.current().spoils_connection();
            self.own_answer = match self.spoiled {
                Some(Spoil::NotHttp) => NOT_HTTP,
                Some(Spoil::StallBody) => STALLED,
                _ => &[],
            };
        }
        self.spoiled
    }

    fn write_own_answer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.own_answer.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, self.own_answer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.own_answer = self.own_answer.get(written..).unwrap_or_default();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and discards until the peer goes away: the connection stays open, as a dead
    /// application behind a live kernel leaves it.
    fn swallow(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0_u8; 1024];
        loop {
            let mut sink = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut sink))?;
            if sink.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_spoiled(&mut self, how: Spoil, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match how {
            Spoil::Hang => self.swallow(context),
            Spoil::StallBody => {
                ready!(self.write_own_answer(context))?;
                self.swallow(context)
            }
            Spoil::NotHttp => self.write_own_answer(context),
            // An empty read tells hyper that the peer is done: it closes with FIN.
            Spoil::Eof => Poll::Ready(Ok(())),
            Spoil::Reset => {
                // Linger 0: close(2) sends RST (tcp(7), SO_LINGER).
                let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }
}

impl AsyncRead for FaultyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(how) = this.spoiled {
            return this.poll_spoiled(how, context);
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        match this.spoil() {
            None => Poll::Ready(Ok(())),
            Some(how) => {
                buffer.set_filled(before);
                this.poll_spoiled(how, context)
            }
        }
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.spoiled.is_some() {
            // Whatever hyper would add (a 400 for the cut request) must not reach the peer.
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
