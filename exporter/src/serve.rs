//! The exporter put together: files read, ports bound, then every task started.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use pnwatch_core::engine::{Engine, Settings as EngineSettings};
use pnwatch_core::gate::MAX_WAIT;
use pnwatch_core::inventory::Inventory;
use pnwatch_core::name::Cluster;
use pnwatch_core::wire::Report;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::{Alertmanager, Config, InventorySource, Listener, Serve};
use pnwatch_edge::http::{Client, ClientSettings};
use pnwatch_edge::listen::{Limits, ListenError, bind, serve_within};
use pnwatch_edge::secret::SecretFile;
use pnwatch_edge::shutdown::{Reloads, Shutdown};
use pnwatch_edge::tls::ServerTls;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::alert::{
    HashJitter, Heartbeat, Jitter, Peer, Push, Settings as AlertSettings, Standing,
};
use crate::error::ServeError;
use crate::gate::{Gate, MAX_WAITING, Sources};
use crate::health::{Health, Pulse};
use crate::ingest::{Ingest, MAX_TAKEN, Plans, Tokens};
use crate::inventory::Watched;
use crate::kube::{InventorySnapshot, Live, Reviewer};
use crate::ledger::{Books, FILE_NAME, Inputs, Inquiries, Keeper, Ledger, Statement, keep};
use crate::metrics::Metrics;
use crate::owner::{Handle, Owner};
use crate::page::{Links, Page, Readers};
use crate::reload::{Reload, Reread};
use crate::tally::Tally;
use crate::traffic::{Verdicts, Watcher};
use crate::wishes::Wishes;

/// How long the ledger may take to write its last second.
const GOODBYE: Duration = Duration::from_secs(6);

/// Runs the exporter of `config` until the shutdown; SIGHUP reads everything again, the
/// configuration by `reread`.
pub async fn run(
    config: Config,
    reread: Reread,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let mut reloads = Reloads::on_signals().map_err(ServeError::Signals)?;
    let mut exporter = Exporter::bind(&config, clock).await?;
    exporter.reread = Some(reread);
    let [files, inventory] = [exporter.reload_files(), exporter.reload()];
    let forward = tokio::spawn(async move {
        loop {
            reloads.next().await;
            files.notify_one();
            inventory.notify_one();
        }
    });
    let ended = exporter.run(shutdown).await;
    forward.abort();
    ended
}

/// An exporter that has read its files and has its ports, but serves nothing yet.
pub struct Exporter {
    serve: Serve,
    clock: SharedClock,
    owner: Owner,
    engine: Handle,
    tally: Arc<Tally>,
    tokens: Arc<Tokens>,
    readers: Arc<Readers>,
    cluster: Cluster,
    source: Source,
    listeners: Listeners,
    pushes: Vec<Push>,
    pulses: Vec<Arc<Pulse>>,
    reload: Arc<Notify>,
    reload_files: Arc<Notify>,
    reread: Option<Reread>,
    tls: Option<Arc<ServerTls>>,
    heartbeats: Vec<Heartbeat>,
    books: Books,
    statement: watch::Receiver<Arc<Statement>>,
    watcher: Option<Watcher>,
    reports: mpsc::Receiver<Arc<Report>>,
}

/// Where the inventory comes from.
enum Source {
    File(Watched),
    Kubernetes(Box<Live>),
}

impl Source {
    async fn open(
        config: &Config,
        inventory: &InventorySource,
        clock: &SharedClock,
    ) -> Result<(Self, Inventory, bool), ServeError> {
        if let Some(kubernetes) = &inventory.kubernetes {
            let mut live = Live::start(kubernetes, &config.cluster, Arc::clone(clock)).await?;
            let (inventory, known) = live.first().await;
            return Ok((Self::Kubernetes(Box::new(live)), inventory, known));
        }
        let file = inventory.file.as_ref().ok_or(ServeError::NoInventory)?;
        let (watched, inventory) =
            Watched::read(file, &config.cluster).map_err(ServeError::Inventory)?;
        Ok((Self::File(watched), inventory, true))
    }

    /// The cluster's pods as they come and go.
    fn pods(&self) -> Option<watch::Receiver<InventorySnapshot>> {
        match self {
            Self::File(_) => None,
            Self::Kubernetes(live) => Some(live.readings()),
        }
    }

    fn reviewer(&self) -> Option<Arc<Reviewer>> {
        match self {
            Self::File(_) => None,
            Self::Kubernetes(live) => Some(Arc::new(live.reviewer())),
        }
    }
}

struct Listeners {
    ingest: TcpListener,
    page: TcpListener,
    metrics: TcpListener,
}

/// The addresses that an exporter is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Reports and plans.
    pub ingest: SocketAddr,
    /// Page and API.
    pub page: SocketAddr,
    /// Metrics.
    pub metrics: SocketAddr,
}

impl Exporter {
    /// Reads inventory and tokens, binds the listeners.
    pub async fn bind(config: &Config, clock: SharedClock) -> Result<Self, ServeError> {
        Self::bind_with(config, clock, Arc::new(HashJitter)).await
    }

    /// As [`Self::bind`], with the randomness of retries given.
    pub async fn bind_with(
        config: &Config,
        clock: SharedClock,
        jitter: Arc<dyn Jitter>,
    ) -> Result<Self, ServeError> {
        let serve = config.serve.clone().ok_or(ServeError::NoSection)?;
        let (source, inventory, known) = Source::open(config, &serve.inventory, &clock).await?;
        let tokens = Arc::new(Tokens::read(&serve.tokens)?);
        let readers = Readers::read(&serve.readers)?;
        let tls = serve.tls.as_ref();
        let tls = tls
            .map(|tls| ServerTls::read(&tls.files, tls.client_ca_file.as_deref()))
            .transpose()?;
        let listeners = Listeners {
            ingest: bind("serve.listen.ingest", serve.listen.ingest).await?,
            page: bind("serve.listen.page", serve.listen.page).await?,
            metrics: bind("serve.listen.metrics", serve.listen.metrics).await?,
        };
        let now = clock.now();
        let tally = Arc::new(Tally::default());
        tally.inventory_loaded(now.wall);
        let mut pulses = vec![Pulse::new("engine", now.tick)];
        // Before anything is served: what was open must be known to the first report.
        let path = serve.state_dir.as_ref().map(|dir| dir.join(FILE_NAME));
        let (ledger, restored) = Ledger::open(path.as_deref(), Arc::clone(&clock));
        let mut settings = EngineSettings::default();
        settings.patience.blind_critical_after = serve.blind_critical_after;
        let mut engine = Engine::new(inventory, settings, now);
        engine.restore(restored.findings);
        if !known {
            engine.await_inventory();
        }
        let (mut owner, handle) = Owner::new(engine, Arc::clone(&clock), Arc::clone(&pulses[0]));
        let reports = owner.tap();
        let slo = serve.slo.clone();
        let pods = source.pods();
        let watcher = Watcher::new(&serve.traffic, slo.maintenance.clone(), pods, &clock)?;
        pulses.extend(watcher.as_ref().map(Watcher::pulse));
        let (told, statement) = watch::channel(Arc::default());
        let mut exporter = Self {
            clock,
            owner,
            engine: handle,
            tally,
            tokens,
            readers,
            cluster: config.cluster.clone(),
            source,
            listeners,
            pushes: Vec::new(),
            pulses: Vec::new(),
            books: (
                Keeper::new(restored.book, slo.policy, slo.maintenance.clone()),
                ledger,
                told,
            ),
            statement,
            watcher,
            reports,
            reload: Arc::default(),
            reload_files: Arc::default(),
            reread: None,
            tls,
            heartbeats: Vec::new(),
            serve,
        };
        if let Some(settings) = exporter.serve.alertmanager.clone() {
            exporter.push_to(&settings, &jitter, &mut pulses)?;
        }
        exporter.pulses = pulses;
        Ok(exporter)
    }

    fn push_to(
        &mut self,
        settings: &Alertmanager,
        jitter: &Arc<dyn Jitter>,
        pulses: &mut Vec<Arc<Pulse>>,
    ) -> Result<(), ServeError> {
        let mut headers = Vec::new();
        for (name, value) in &settings.headers {
            let unsendable = || ServeError::Header("serve.alertmanager", name.clone());
            headers.push((
                HeaderName::try_from(name).map_err(|_| unsendable())?,
                HeaderValue::try_from(value).map_err(|_| unsendable())?,
            ));
        }
        let client = Arc::new(Client::new(ClientSettings {
            ca_file: settings.ca_file.clone(),
            token_file: settings.token_file.clone(),
            timeout: settings.timeout,
            body_limit: 256 << 10,
            headers,
            ..ClientSettings::default()
        })?);
        for url in &settings.urls {
            let pulse = Pulse::new("alertmanager", self.clock.now().tick);
            pulses.push(Arc::clone(&pulse));
            let base = url.as_str().trim_end_matches('/');
            let peer = Peer::default();
            if !settings.heartbeat.is_zero() {
                self.heartbeats.push(Heartbeat {
                    url: format!("{base}/api/v2/alerts"),
                    client: Arc::clone(&client),
                    engine: self.engine.clone(),
                    cluster: self.cluster.clone(),
                    replica: format!("{:016x}", (jitter.fraction() * 2f64.powi(53)) as u64),
                    every: settings.heartbeat,
                    clock: Arc::clone(&self.clock),
                    jitter: Arc::clone(jitter),
                    peer: peer.clone(),
                });
            }
            self.pushes.push(Push {
                url: format!("{base}/api/v2/alerts"),
                client: Arc::clone(&client),
                engine: self.engine.clone(),
                settings: AlertSettings {
                    resend: settings.resend,
                    runbooks: settings.runbooks.as_ref().map(ToString::to_string),
                    grafana: settings.grafana.as_ref().map(ToString::to_string),
                },
                clock: Arc::clone(&self.clock),
                jitter: Arc::clone(jitter),
                standing: Standing::new(base),
                tally: Arc::clone(&self.tally),
                peer,
                pulse,
            });
        }
        Ok(())
    }

    /// Where it listens.
    pub fn addresses(&self) -> Result<Addresses, ServeError> {
        let of = |name: &str, listener: &TcpListener, asked| {
            listener.local_addr().map_err(|source| ListenError::Other {
                name: name.to_owned(),
                address: asked,
                source,
            })
        };
        let (has, asked) = (&self.listeners, self.serve.listen);
        Ok(Addresses {
            ingest: of("serve.listen.ingest", &has.ingest, asked.ingest)?,
            page: of("serve.listen.page", &has.page, asked.page)?,
            metrics: of("serve.listen.metrics", &has.metrics, asked.metrics)?,
        })
    }

    /// The engine, for other judges in this process.
    pub fn engine(&self) -> Handle {
        self.engine.clone()
    }

    /// Notified, it reads the inventory file at once.
    pub fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Notified, it reads configuration, tokens and certificate at once.
    pub fn reload_files(&self) -> Arc<Notify> {
        Arc::clone(&self.reload_files)
    }

    /// Serves until the shutdown; an error if a task ends before it.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), ServeError> {
        let at = self.addresses()?;
        tracing::info!(ingest = %at.ingest, page = %at.page, metrics = %at.metrics, "serving");
        let mut listening = JoinSet::new();
        let mut tasks: JoinSet<&'static str> = JoinSet::new();
        let health = Health::new(Arc::clone(&self.clock), self.pulses);
        let standings = self.pushes.iter().map(|p| p.standing.clone()).collect();

        let wishes = Wishes::new(Arc::clone(&self.clock));
        let (inquiries, asked) = Inquiries::new();
        let ingest = Ingest {
            cluster: self.cluster,
            tokens: Arc::clone(&self.tokens),
            reviewer: self.source.reviewer(),
            plans: Plans::new(self.engine.basis(), self.serve.pace, self.serve.sparse),
            engine: self.engine.clone(),
            wishes: Arc::clone(&wishes),
            tally: Arc::clone(&self.tally),
            shutdown: shutdown.clone(),
        };
        // Without a watcher nothing is ever sent, and no verdict is shown.
        let verdicts = self
            .watcher
            .as_ref()
            .map_or_else(|| watch::channel(Verdicts::default()).1, Watcher::verdicts);
        let page = Page {
            engine: self.engine.clone(),
            shutdown: shutdown.clone(),
            verdicts: verdicts.clone(),
            books: self.statement.clone(),
            local: at.page.ip().is_loopback(),
            links: links(&self.serve),
            readers: self.readers,
            tally: Arc::clone(&self.tally),
            clock: Arc::clone(&self.clock),
        };
        let gate = Gate::new(
            Sources {
                engine: self.engine.clone(),
                books: self.statement.clone(),
                inquiries,
            },
            Arc::clone(&self.tally),
            wishes,
            self.serve.gate.token_file.as_ref().map(SecretFile::new),
            shutdown.clone(),
        );
        let limits = crate::bandwidth::limits(&self.serve.bandwidth);
        let (learned, _) = watch::channel(crate::bandwidth::Learned::default());
        let metrics = Metrics {
            engine: self.engine.clone(),
            tally: Arc::clone(&self.tally),
            standings,
            verdicts: verdicts.clone(),
            limits,
            learned: learned.subscribe(),
            books: self.statement,
        };
        let routers = [
            (
                Listener::Ingest,
                self.listeners.ingest,
                ingest.routes().merge(health.clone().routes()),
            ),
            (
                Listener::Page,
                self.listeners.page,
                page.routes(health.clone().routes().merge(gate.routes())),
            ),
            (
                Listener::Metrics,
                self.listeners.metrics,
                metrics.routes().merge(health.routes()),
            ),
        ];
        let encrypted = self.serve.tls.as_ref().map(|tls| tls.listeners.clone());
        let encrypted = encrypted.unwrap_or_default();
        for (kind, listener, router) in routers {
            let name = listener_name(kind);
            let tls = self.tls.clone().filter(|_| encrypted.contains(&kind));
            let shutdown = shutdown.clone();
            // Waiting at the gate is a long request, and must leave connections to the page.
            let usual = Limits::default();
            let (connections, request_timeout) = if name == "page" {
                (
                    MAX_WAITING + usual.connections,
                    MAX_WAIT + usual.request_timeout,
                )
            } else {
                (usual.connections, usual.request_timeout)
            };
            let limits = Limits {
                connections,
                request_timeout,
                // Ingest counts for itself, so that its refusal arrives and says what to do.
                body_bytes: if name == "ingest" {
                    MAX_TAKEN
                } else {
                    64 << 10
                },
                ..usual
            };
            listening.spawn(async move {
                serve_within((listener, tls), router, shutdown, limits).await;
                name
            });
        }
        let owner = self.owner.run(shutdown.clone());
        tasks.spawn(async move {
            owner.await;
            "engine"
        });
        let saturation = crate::bandwidth::watch(
            self.engine.clone(),
            crate::bandwidth::Ends { verdicts, learned },
            limits,
            Arc::clone(&self.clock),
            shutdown.clone(),
        );
        tasks.spawn(async move {
            saturation.await;
            "bandwidth"
        });
        for push in self.pushes {
            tasks.spawn(async move {
                push.run().await;
                "alertmanager"
            });
        }
        if let Some(watcher) = self.watcher {
            let watching = watcher.run(self.engine.clone(), shutdown.clone());
            tasks.spawn(async move {
                watching.await;
                "traffic"
            });
        }
        let books = tokio::spawn(keep(
            self.books,
            Inputs {
                reports: self.reports,
                inquiries: asked,
            },
            self.engine.clone(),
            Arc::clone(&self.clock),
            shutdown.clone(),
        ));
        let (engine, tally) = (self.engine.clone(), Arc::clone(&self.tally));
        match self.source {
            Source::File(watched) => {
                let followed = watched.follow(engine, tally, self.clock, self.reload);
                tasks.spawn(async move {
                    followed.await;
                    "inventory"
                });
            }
            Source::Kubernetes(live) => {
                tasks.spawn(async move {
                    live.follow(engine, &tally).await;
                    "Kubernetes inventory"
                });
            }
        }
        for heartbeat in self.heartbeats {
            tasks.spawn(async move {
                heartbeat.run().await;
                "heartbeat"
            });
        }
        let reload = Reload {
            tokens: self.tokens,
            tls: self.tls,
            tally: self.tally,
            reread: self.reread,
            settings: self.serve,
            asked: self.reload_files,
        };
        tasks.spawn(async move {
            reload.run().await;
            "reload"
        });
        // Only the tasks may hold handles: the engine's queue closes when they are gone.
        drop(self.engine);
        let ended = supervise(listening, tasks, shutdown).await;
        // The last second is written before the process ends; an error elsewhere ends it too.
        if tokio::time::timeout(GOODBYE, books).await.is_err() {
            tracing::warn!("the ledger did not finish in time");
        }
        ended
    }
}

fn links(serve: &Serve) -> Links {
    let manager = serve.alertmanager.as_ref();
    let url = manager.and_then(|manager| manager.external_url.as_ref());
    Links {
        alertmanager: url.map(|url| url.as_str().trim_end_matches('/').to_owned()),
    }
}

fn listener_name(listener: Listener) -> &'static str {
    match listener {
        Listener::Ingest => "ingest",
        Listener::Page => "page",
        Listener::Metrics => "metrics",
    }
}

/// Waits for the shutdown, then for the listeners' goodbye; a task that ends before is an error.
async fn supervise(
    mut listening: JoinSet<&'static str>,
    mut tasks: JoinSet<&'static str>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let ended = tokio::select! {
        biased;
        () = shutdown.requested() => None,
        ended = listening.join_next() => ended,
        ended = tasks.join_next() => ended,
    };
    if let Some(ended) = ended
        // Both may come at once: then it is the shutdown.
        && !shutdown.is_requested()
    {
        return Err(ServeError::Died(ended.unwrap_or("panicked")));
    }
    // Bounded by the listeners' own grace. The other tasks end with their set.
    while listening.join_next().await.is_some() {}
    tracing::info!("stopped");
    Ok(())
}
