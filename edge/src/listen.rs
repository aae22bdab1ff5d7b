//! Listeners that stay up: bounded connections, slow clients cut off, a clean goodbye.
//!
//! [`serve`] runs one task per connection and ends when all of them have, or when the grace
//! after the shutdown is over.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shutdown::Shutdown;
use crate::tls::{PeerNames, ServerTls};

/// What one listener accepts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take for a request's head, and how long a connection may idle.
    pub header_timeout: Duration,
    /// How long one request may take until its answer begins, body and long-poll included.
    pub request_timeout: Duration,
    /// Largest accepted request body in bytes, for axum's extractors.
    pub body_bytes: usize,
    /// How long open requests may go on after the shutdown.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(90),
            body_bytes: 1 << 20,
            grace: Duration::from_secs(3),
        }
    }
}

/// Why an address cannot be listened on. `name` is the configuration key.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has the port.
    #[error(
        "{name}: {address} is in use by another process; stop that one (`ss -ltnp` names it) or give `{name}` another port"
    )]
    InUse {
        /// The configuration key.
        name: String,
        /// The address.
        address: SocketAddr,
    },
    /// This user may not.
    #[error(
        "{name}: this user may not listen on {address}; give `{name}` a port from 1024 up, or grant CAP_NET_BIND_SERVICE"
    )]
    NotPermitted {
        /// The configuration key.
        name: String,
        /// The address.
        address: SocketAddr,
    },
    /// No interface of this machine has the address.
    #[error(
        "{name}: this machine does not have the address {address}; write one that it has (`ip address`), or 0.0.0.0"
    )]
    NotHere {
        /// The configuration key.
        name: String,
        /// The address.
        address: SocketAddr,
    },
    /// Something else.
    #[error("{name}: cannot listen on {address}: {source}; correct `{name}`")]
    Other {
        /// The configuration key.
        name: String,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: Error,
    },
}

impl ListenError {
    /// The exit code of a process that cannot go on without the listener (sysexits.h).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::InUse { .. } | Self::NotHere { .. } | Self::Other { .. } => 69,
            Self::NotPermitted { .. } => 77,
        }
    }
}

/// Listens on `address`; `name` is the configuration key that holds it.
pub async fn bind(name: &str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| {
        let name = name.to_owned();
        match source.kind() {
            ErrorKind::AddrInUse => ListenError::InUse { name, address },
            ErrorKind::PermissionDenied => ListenError::NotPermitted { name, address },
            ErrorKind::AddrNotAvailable => ListenError::NotHere { name, address },
            _ => ListenError::Other {
                name,
                address,
                source,
            },
        }
    })
}

/// Serves `router` within the default [`Limits`] until the shutdown.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    serve_within((listener, None), router, shutdown, Limits::default()).await;
}

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Serves `router` until the shutdown, over TLS where there is a certificate. Handlers can extract `ConnectInfo<SocketAddr>`
/// and, of clients that showed a certificate, `Extension<PeerNames>`.
/// Dropping the future stops accepting; open connections then end with their requests.
pub async fn serve_within(
    (listener, tls): (TcpListener, Option<Arc<ServerTls>>),
    router: Router,
    shutdown: Shutdown,
    limits: Limits,
) {
    let router = router.layer(DefaultBodyLimit::max(limits.body_bytes));
    let free = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, peer, permit) = tokio::select! {
            next = accept(&listener, &free) => next,
            () = shutdown.requested() => break,
        };
        let router = router.clone();
        let acceptor = tls.as_ref().map(|tls| tls.acceptor());
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            // The permit is given back when the connection ends.
            let _permit = permit;
            let (stream, names): (Box<dyn Stream>, _) = match acceptor {
                None => (Box::new(stream), None),
                Some(acceptor) => {
                    // A client must not hold a connection by never saying hello.
                    let hello =
                        tokio::time::timeout(limits.header_timeout, acceptor.accept(stream));
                    match hello.await {
                        Ok(Ok(stream)) => {
                            let names = PeerNames::of(stream.get_ref().1.peer_certificates());
                            (Box::new(stream), names)
                        }
                        Ok(Err(error)) => {
                            tracing::debug!(%peer, %error, "no TLS connection");
                            return;
                        }
                        Err(_) => return,
                    }
                }
            };
            let connection = connection(stream, (peer, names), router, limits);
            // A client that hangs up or talks nonsense is no event.
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(limits.grace, graceful.shutdown()).await;
}

/// One connection that was accepted elsewhere, within `limits`; done when this ends.
pub async fn serve_one(stream: TcpStream, peer: SocketAddr, router: Router, limits: Limits) {
    let router = router.layer(DefaultBodyLimit::max(limits.body_bytes));
    if let Err(error) = connection(stream, (peer, None), router, limits).await {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

fn connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    (peer, names): (SocketAddr, Option<PeerNames>),
    router: Router,
    limits: Limits,
) -> http1::Connection<
    TokioIo<S>,
    impl hyper::service::Service<
        Request<Incoming>,
        Response = Response,
        Error = std::convert::Infallible,
        Future: Send,
    >,
> {
    let service = service_fn(move |request: Request<Incoming>| {
        answer(router.clone(), request, (peer, names.clone()), limits)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
}

async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = Arc::clone(free).acquire_owned().await else {
            // Nobody closes the semaphore.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without it small answers wait for the peer's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                return (stream, peer, permit);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: others must give some back first.
                tracing::warn!(%error, "cannot accept connections; trying again in a second");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Errors that accept(2) passes on from the connection itself.
fn is_of_one_connection(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    (peer, names): (SocketAddr, Option<PeerNames>),
    limits: Limits,
) -> Result<Response, std::convert::Infallible> {
    // A body that says that it is too large is refused before a byte of it is read.
    let least = hyper::body::Body::size_hint(request.body()).lower();
    if least > limits.body_bytes as u64 {
        let most = limits.body_bytes;
        let said = format!("the body has {least} bytes, at most {most} are accepted\n");
        return Ok((StatusCode::PAYLOAD_TOO_LARGE, said).into_response());
    }
    request.extensions_mut().insert(ConnectInfo(peer));
    if let Some(names) = names {
        request.extensions_mut().insert(names);
    }
    let service = TowerToHyperService::new(router);
    let answered = hyper::service::Service::call(&service, request);
    Ok(
        match tokio::time::timeout(limits.request_timeout, answered).await {
            Ok(Ok(response)) => response,
            Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
        },
    )
}

#[cfg(test)]
mod tests;
