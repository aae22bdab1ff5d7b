//! The handle that tests hold: start, stop, look in, change, break. It may be used from any thread, with or without
//! a runtime; every call is done when it returns.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    auth::Identity,
    faults::Faults,
    kinds::Kind,
    requests::Request,
    rules::text,
    server::{Options, Order, Shared, bind, locked, run},
    status::Refusal,
    store::{Key, map_of, metadata_mut},
};

/// How long a restart waits for its old port.
const PORT_PATIENCE: Duration = Duration::from_secs(10);

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

    /// The token expires now: 401 for its bearer, not authenticated in a `TokenReview`.
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
