//! The running server and the handle that tests hold.
//!
//! One thread with its own single-threaded runtime owns the listener and all connections, so that a test may use
//! any runtime (paused time too) or none. The state lives in [`Shared`], behind locks that are never held across an
//! await; the handle and the connections both use it. A restart replaces the listener and cuts the connections.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use axum::body::Body;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    auth::{Auth, Identity},
    faults::{Faults, Switches},
    kinds::{Kind, Kinds},
    requests::{Request, RequestLog},
    routes,
    status::Refusal,
    store::{Key, Store, map_of, metadata_mut},
    write::text,
};

/// A client that has not sent its request line and headers by then is cut off.
const HEADER_DEADLINE: Duration = Duration::from_secs(30);
/// How long a restart waits for its old port.
const PORT_PATIENCE: Duration = Duration::from_secs(10);

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
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new(options: Options) -> Self {
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

enum Order {
    Listen(TcpListener),
    Close,
}

/// A running fake API server; it ends with this value.
#[derive(Debug)]
pub struct FakeApi {
    shared: Arc<Shared>,
    address: SocketAddr,
    cut: watch::Sender<u64>,
    orders: tokio::sync::mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl FakeApi {
    /// Starts on a loopback port of the kernel's choice.
    ///
    /// # Panics
    /// If this machine has no free loopback port or thread left: no test could go on then.
    pub fn start() -> Self {
        Self::try_start(Options::default())
            .expect("the fake API server needs a loopback port and a thread")
    }

    /// Starts as told. Fails if the address cannot be listened on or no thread can be had.
    pub fn try_start(options: Options) -> io::Result<Self> {
        let listener = bind(options.listen)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let cut = watch::Sender::new(0);
        let (orders, inbox) = tokio::sync::mpsc::unbounded_channel();
        let thread = {
            let (shared, cut) = (Arc::clone(&shared), cut.clone());
            std::thread::Builder::new()
                .name("fake-apiserver".into())
                .spawn(move || runtime.block_on(run(shared, listener, cut, inbox)))?
        };
        let api = Self {
            shared,
            address,
            cut,
            orders,
            thread: Some(thread),
        };
        for namespace in ["default", "kube-system", "kube-node-lease"] {
            api.ensure_namespace(namespace);
        }
        Ok(api)
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig for a caller with this token ([`crate::ADMIN_TOKEN`] may do everything).
    pub fn kubeconfig(&self, token: &str) -> String {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url()}}],
            "users": [{"name": "caller", "user": {"token": token}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "caller", "namespace": "default"}}],
        });
        // JSON is YAML.
        format!("{config:#}\n")
    }

    /// Serves one more resource, or replaces the rules of one.
    pub fn register(&self, kind: Kind) {
        self.shared.kinds().register(kind);
    }

    /// From now on this token stands for this identity.
    pub fn token(&self, token: &str, identity: Identity) {
        self.shared.auth().set(token, identity);
    }

    /// The token expires now: 401 for its bearer, not authenticated in a TokenReview.
    pub fn revoke(&self, token: &str) {
        self.shared.auth().revoke(token);
    }

    /// Stores the object as it is, status and all, whatever there was (a `List` object: each item).
    ///
    /// UID, creation time and generation are filled in or kept where the object names none; its Namespace is made.
    /// Refuses an object of an unknown kind or without a name.
    pub fn apply(&self, object: Value) -> Result<Value, Refusal> {
        if object["kind"] == "List" {
            let items = object["items"].as_array().cloned().unwrap_or_default();
            let applied: Result<Vec<Value>, Refusal> =
                items.into_iter().map(|item| self.apply(item)).collect();
            return Ok(json!({"kind": "List", "apiVersion": "v1", "items": applied?}));
        }
        let named = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let (api_version, kind_name) = (named("apiVersion"), named("kind"));
        let kind = self.shared.kinds().of_object(&api_version, &kind_name);
        let Some(kind) = kind.filter(|k| !k.virtual_only) else {
            let why = format!("no matches for kind {kind_name:?} in version {api_version:?}");
            return Err(Refusal::new(404, "NotFound", why));
        };
        if text(&object, "name").is_empty() {
            return Err(Refusal::invalid(
                &kind,
                "",
                "metadata.name",
                "Required value: name is required",
            ));
        }
        let mut namespace = text(&object, "namespace").to_owned();
        if kind.namespaced {
            namespace = if namespace.is_empty() {
                "default".into()
            } else {
                namespace
            };
            self.ensure_namespace(&namespace);
        } else {
            namespace.clear();
        }
        let stored = self.put(&kind, &namespace, object);
        self.shared.announce();
        Ok(stored)
    }

    fn put(&self, kind: &Kind, namespace: &str, object: Value) -> Value {
        let mut object = crate::convert::to_storage(kind, object);
        let key = Key {
            resource: kind.storage(),
            namespace: namespace.into(),
            name: text(&object, "name").into(),
        };
        let time = self.shared.time();
        let mut store = self.shared.store();
        let before = store.get(&key);
        let uid = store.next_uid();
        let spec_changed = before.as_ref().is_some_and(|b| b["spec"] != object["spec"]);
        let metadata = metadata_mut(&mut object);
        if kind.namespaced {
            metadata.insert("namespace".into(), namespace.into());
        }
        let kept = |field: &str| {
            before
                .as_ref()
                .and_then(|b| b["metadata"].get(field))
                .cloned()
        };
        if kind.generation && !metadata.contains_key("generation") {
            let was = kept("generation")
                .and_then(|g| g.as_i64())
                .unwrap_or(i64::from(before.is_none()));
            metadata.insert(
                "generation".into(),
                was.saturating_add(i64::from(spec_changed)).into(),
            );
        }
        for (field, fresh) in [("uid", uid), ("creationTimestamp", time)] {
            if !metadata.contains_key(field) {
                metadata.insert(field.into(), kept(field).unwrap_or_else(|| fresh.into()));
            }
        }
        (*store.put(key, object)).clone()
    }

    fn ensure_namespace(&self, name: &str) {
        let key = Key {
            resource: "namespaces".into(),
            namespace: String::new(),
            name: name.into(),
        };
        if self.shared.store().get(&key).is_some() {
            return;
        }
        let kind = Kind::builtin("", "v1", "namespaces", "Namespace").cluster_scoped();
        self.put(&kind, "", json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}
        }));
        self.shared.announce();
    }

    fn key(&self, resource: &str, namespace: &str, name: &str) -> Key {
        Key {
            resource: self.shared.storage_of(resource),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The object as stored; `resource` is `nodes`, `leases` or `leases.coordination.k8s.io`, `namespace` empty for
    /// cluster-scoped ones.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = self.key(resource, namespace, name);
        self.shared
            .store()
            .get(&key)
            .map(|object| (*object).clone())
    }

    /// All objects of a resource.
    pub fn list(&self, resource: &str) -> Vec<Value> {
        let storage = self.shared.storage_of(resource);
        self.shared
            .store()
            .all(&storage, None)
            .map(|(_, object)| (**object).clone())
            .collect()
    }

    /// Changes an object in place, past all rules; false if it is not there.
    pub fn edit(&self, resource: &str, at: (&str, &str), change: impl FnOnce(&mut Value)) -> bool {
        let key = self.key(resource, at.0, at.1);
        let mut store = self.shared.store();
        let Some(object) = store.get(&key) else {
            return false;
        };
        let mut object = (*object).clone();
        change(&mut object);
        map_of(&mut object);
        store.put(key, object);
        drop(store);
        self.shared.announce();
        true
    }

    /// Deletes an object, finalizers or not; false if it was not there.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> bool {
        let key = self.key(resource, namespace, name);
        let gone = self.shared.store().remove(&key).is_some();
        self.shared.announce();
        gone
    }

    /// Every request so far, oldest first (health and version paths are not logged). A watch is logged when it opens.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.shared.log).all()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        locked(&self.shared.log).clear();
    }

    /// The fault switches.
    pub fn faults(&self) -> Faults {
        Faults {
            shared: Arc::clone(&self.shared),
            cut: self.cut.clone(),
        }
    }

    /// Stops listening and cuts every connection; the store stays. Clients then meet "connection refused".
    pub fn stop(&self) {
        let _ = self.orders.send(Order::Close);
        let started = Instant::now();
        // The old listener is gone once its address refuses; the thread needs a moment to get the order.
        while started.elapsed() < PORT_PATIENCE
            && std::net::TcpStream::connect(self.address).is_ok()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Listens again on the same port. Fails if somebody else has taken it for longer than ten seconds.
    pub fn resume(&self) -> io::Result<()> {
        let started = Instant::now();
        loop {
            match bind(self.address) {
                Ok(listener) => {
                    let _ = self.orders.send(Order::Listen(listener));
                    return Ok(());
                }
                Err(error) if started.elapsed() > PORT_PATIENCE => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// A restart: same store and port, every connection cut.
    pub fn restart(&self) -> io::Result<()> {
        self.stop();
        self.resume()
    }

    /// Blocks until the server ends, which without an order from elsewhere is never.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        // Dropping the sender is the order to end.
        let (orders, _) = tokio::sync::mpsc::unbounded_channel();
        self.orders = orders;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn run(
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
