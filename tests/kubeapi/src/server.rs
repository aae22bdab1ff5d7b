//! The running server: state, listener, connections.
//!
//! One thread with its own single-threaded runtime owns the listener and all connections, so that a test may use
//! any runtime (paused time too) or none. The state lives in [`Shared`], behind locks that are never held across an
//! await; the handle and the connections both use it. A restart replaces the listener and cuts the connections.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Body;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    auth::Auth, faults::Switches, kinds::Kinds, requests::RequestLog, routes, store::Store,
};

/// A client that has not sent its request line and headers by then is cut off.
const HEADER_DEADLINE: Duration = Duration::from_secs(30);

/// How the server runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// How many changes a watch can go back. A real server keeps some minutes.
    pub history: usize,
    /// How often a watch that asked for bookmarks gets one (about a minute on a real server).
    pub bookmark_every: Duration,
    /// Whether a watch from a forgotten version is refused with HTTP 410 instead of an `ERROR` event. Real servers do
    /// both, by the state of their cache.
    pub gone_as_http: bool,
    /// The wall clock for creation times and the like.
    pub now: fn() -> Timestamp,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            history: 10_000,
            bookmark_every: Duration::from_secs(10),
            gone_as_http: false,
            now: Timestamp::now,
        }
    }
}

/// The state behind the handle and all connections.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    store: Mutex<Store>,
    kinds: Mutex<Kinds>,
    auth: Mutex<Auth>,
    pub(crate) switches: Mutex<Switches>,
    pub(crate) log: Mutex<RequestLog>,
    /// Wakes the watches; the number itself says nothing.
    pub(crate) news: watch::Sender<u64>,
}

/// State behind a poisoned lock is still whole enough for a test that is failing anyway.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        let history = options.history.max(1);
        Self {
            options,
            store: Mutex::new(Store::new(history)),
            kinds: Mutex::default(),
            auth: Mutex::new(Auth::new()),
            switches: Mutex::default(),
            log: Mutex::default(),
            news: watch::Sender::new(0),
        }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        locked(&self.store)
    }

    pub(crate) fn kinds(&self) -> MutexGuard<'_, Kinds> {
        locked(&self.kinds)
    }

    pub(crate) fn auth(&self) -> MutexGuard<'_, Auth> {
        locked(&self.auth)
    }

    /// Tells the watches that there is something to read.
    pub(crate) fn announce(&self) {
        self.news.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// The wall clock as Kubernetes writes it.
    pub(crate) fn time(&self) -> String {
        (self.options.now)()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
    }

    /// The storage name of a resource given as `plural` or `plural.group`.
    pub(crate) fn storage_of(&self, resource: &str) -> String {
        self.kinds()
            .named(resource)
            .map_or_else(|| resource.to_owned(), |kind| kind.storage())
    }
}

/// What the handle tells the serving thread.
pub(crate) enum Order {
    Listen(TcpListener),
    Close,
}

/// A listener that the runtime can take.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until the order channel closes.
pub(crate) async fn run(
    shared: Arc<Shared>,
    first: TcpListener,
    cut: watch::Sender<u64>,
    mut orders: tokio::sync::mpsc::UnboundedReceiver<Order>,
) {
    let mut listener = tokio::net::TcpListener::from_std(first).ok();
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Listen(new)) => listener = tokio::net::TcpListener::from_std(new).ok(),
                Some(Order::Close) => {
                    listener = None;
                    cut.send_modify(|n| *n += 1);
                }
                None => return,
            },
            connection = accepted => match connection {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(serve(Arc::clone(&shared), stream, cut.subscribe()));
                }
                // Out of file descriptors, or a client that left early: neither ends the server.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            },
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: tokio::net::TcpStream, mut cut: watch::Receiver<u64>) {
    cut.mark_unchanged();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        routes::answer(Arc::clone(&shared), request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that breaks off is its own affair.
        _ = connection => {}
        _ = cut.changed() => {}
    }
}
