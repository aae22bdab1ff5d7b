//! The stage: stand-ins, exporter and prober, all on loopback, all real.
//!
//! Runs concurrently: the stand-ins' tasks, the exporter on the caller's runtime, the prober on
//! a thread of its own. [`Scene::strike`] ends all of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::assign::Sparse;
use pnwatch_core::finding::Transition;
use pnwatch_core::inventory::{AccountTarget, ExpectedVantage, InventoryFile, NodeTarget};
use pnwatch_core::link::Cidr;
use pnwatch_core::name::{Account, Cluster, Host, Instance, NameError, Node, Tenant, Vantage};
use pnwatch_core::plan::Pace;
use pnwatch_core::subject::TargetKind;
use pnwatch_edge::clock::SystemClock;
use pnwatch_edge::config::{
    Bandwidth, BaseUrl, Config, ExporterEndpoint, Gate, InventorySource, Listen, Log, Probe, Serve,
    Slo, TokenBinding, Traffic,
};
use pnwatch_edge::shutdown::{Shutdown, Trigger};
use pnwatch_exporter::Exporter;
use pnwatch_exporter::owner::Handle;
use pnwatch_prober::settings::{Settings, fresh_boot_id};
use pnwatch_prober::transport::{HttpTransport, Transport};
use pnwatch_standin::{Fault, Standin, StandinConfig};
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinHandle;

use super::super::daemon::runtime;
use super::super::failure::{Failure, code};
use super::story::Act;

/// The accounts of the demo; the last one is never broken.
const ACCOUNTS: [&str; 4] = ["acme", "globex", "initech", "umbrella"];

/// Everything that plays.
pub(super) struct Scene {
    standins: Vec<(&'static str, Standin)>,
    engine: Handle,
    page: SocketAddr,
    trigger: Trigger,
    exporter: JoinHandle<Result<(), pnwatch_exporter::ServeError>>,
    prober: std::thread::JoinHandle<Result<(), Failure>>,
    folder: PathBuf,
}

fn failed(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(code::UNAVAILABLE, format!("{what}: {error}"))
}

fn named(error: &NameError) -> Failure {
    Failure::new(code::SOFTWARE, error.to_string())
}

impl Scene {
    /// Starts everything; the page listens on `port`.
    pub(super) async fn set(port: u16) -> Result<Self, Failure> {
        let mut standins = Vec::new();
        for account in ACCOUNTS {
            let standin = Standin::start(StandinConfig::loopback(account))
                .await
                .map_err(|error| failed("a stand-in did not start", &error))?;
            standins.push((account, standin));
        }
        let boot = fresh_boot_id().map_err(|error| failed("no randomness", &error))?;
        let folder = std::env::temp_dir().join(format!("pnwatch-demo-{boot}"));
        let (inventory, token) = write_files(&folder, &standins, &boot)?;
        let cluster = Cluster::new("demo").map_err(|error| named(&error))?;
        let host = Vantage::Host(Host::new("this-machine").map_err(|error| named(&error))?);
        let serve = serve(port, inventory, &token, &host);
        let config = Config {
            cluster: cluster.clone(),
            log: Log::default(),
            probe: None,
            serve: Some(serve),
            vm: None,
        };
        let clock = SystemClock::shared();
        let exporter = Exporter::bind(&config, clock.clone())
            .await
            .map_err(|error| Failure::from_error(error.exit_code(), &error))?;
        let at = exporter
            .addresses()
            .map_err(|error| Failure::from_error(error.exit_code(), &error))?;
        let engine = exporter.engine();
        let (trigger, shutdown) = Shutdown::manual();
        let exporter = tokio::spawn(exporter.run(shutdown.clone()));
        let probe = probe(host, at.ingest, token)?;
        let prober = start_prober(&cluster, probe, shutdown)?;
        Ok(Self {
            standins,
            engine,
            page: at.page,
            trigger,
            exporter,
            prober,
            folder,
        })
    }

    pub(super) fn page(&self) -> SocketAddr {
        self.page
    }

    pub(super) fn accounts(&self) -> Vec<&'static str> {
        self.standins.iter().map(|(account, _)| *account).collect()
    }

    pub(super) fn transitions(&self) -> Receiver<Arc<Transition>> {
        self.engine.transitions()
    }

    /// Whom `act` strikes.
    pub(super) fn account_of(act: Act) -> &'static str {
        match act {
            Act::BlackHole | Act::Refused => ACCOUNTS[0],
            Act::WrongTenant | Act::ServerError => ACCOUNTS[1],
            Act::PodDead | Act::NotHttp => ACCOUNTS[2],
        }
    }

    /// Breaks or mends the account of `act`.
    pub(super) async fn switch(&self, act: Act, on: bool) {
        let account = Self::account_of(act);
        for (name, standin) in &self.standins {
            if *name == account {
                let fault = if on { act.standin() } else { Fault::None };
                standin.set_fault(fault).await;
            }
        }
    }

    /// Returns once every account is reached.
    pub(super) async fn until_all_reached(&self, patience: Duration) -> Result<(), Failure> {
        let reached = async {
            let mut often = tokio::time::interval(Duration::from_millis(100));
            loop {
                often.tick().await;
                let Ok(snapshot) = self.engine.read().await else {
                    continue;
                };
                let targets = &snapshot.view.targets;
                if targets.len() == ACCOUNTS.len() && targets.iter().all(|t| t.verdict.is_reached())
                {
                    return;
                }
            }
        };
        tokio::time::timeout(patience, reached).await.map_err(|_| {
            Failure::new(
                code::UNAVAILABLE,
                "the demo's own checks do not succeed on loopback; is a local firewall in the way?",
            )
        })
    }

    /// Ends everything that plays and removes its files.
    pub(super) async fn strike(self) -> Result<(), Failure> {
        self.trigger.request();
        drop(self.engine);
        let served = self.exporter.await;
        let probed = tokio::task::spawn_blocking(move || self.prober.join()).await;
        // Only ours is inside; what cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.folder);
        match (served, probed) {
            (Ok(Ok(())), Ok(Ok(result))) => result,
            (Ok(Err(error)), _) => Err(Failure::from_error(error.exit_code(), &error)),
            _ => Err(Failure::new(
                code::SOFTWARE,
                "a part of the demo ended early",
            )),
        }
    }
}

fn start_prober(
    cluster: &Cluster,
    probe: Probe,
    shutdown: Shutdown,
) -> Result<std::thread::JoinHandle<Result<(), Failure>>, Failure> {
    let boot = fresh_boot_id().map_err(|error| failed("no randomness", &error))?;
    let mut settings = Settings::new(cluster, &probe, boot);
    // Its counters travel in its reports; the demo needs no page of its own for them.
    settings.listen = None;
    let play = move || {
        let mut ways: Vec<Arc<dyn Transport>> = Vec::new();
        for endpoint in &probe.exporters {
            let way = HttpTransport::new(endpoint)
                .map_err(|error| failed("the prober's client did not start", &error))?;
            ways.push(Arc::new(way));
        }
        runtime(1)?
            .block_on(pnwatch_prober::run_with(
                settings,
                ways,
                SystemClock::shared(),
                shutdown,
            ))
            .map_err(|error| failed("the prober ended", &error))
    };
    std::thread::Builder::new()
        .name("prober".into())
        .spawn(play)
        .map_err(|error| failed("the prober's thread did not start", &error))
}

fn serve(port: u16, inventory: PathBuf, token: &std::path::Path, host: &Vantage) -> Serve {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Serve {
        listen: Listen {
            ingest: free,
            page: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            metrics: free,
        },
        inventory: InventorySource {
            file: Some(inventory),
            kubernetes: None,
        },
        tokens: vec![TokenBinding {
            vantage: host.clone(),
            file: token.to_owned(),
        }],
        readers: Vec::new(),
        alertmanager: None,
        state_dir: None,
        sparse: Sparse::default(),
        tls: None,
        blind_critical_after: Duration::from_mins(10),
        pace: Pace::default(),
        traffic: Traffic::default(),
        bandwidth: Bandwidth::default(),
        slo: Slo::default(),
        gate: Gate::default(),
    }
}

fn probe(host: Vantage, ingest: SocketAddr, token: PathBuf) -> Result<Probe, Failure> {
    let url = BaseUrl::new(&format!("http://{ingest}"))
        .map_err(|why| Failure::new(code::SOFTWARE, why))?;
    Ok(Probe {
        vantage: host,
        interface: if cfg!(target_os = "macos") {
            "lo0"
        } else {
            "lo"
        }
        .into(),
        devices: Vec::new(),
        pn_cidr: loopback()?,
        exporters: vec![ExporterEndpoint {
            url,
            token_file: Some(token),
            ca_file: None,
            identity: None,
            proxy: None,
        }],
        plan_file: None,
        state_dir: None,
        control: Vec::new(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        pace: Pace::default(),
        relay: None,
    })
}

fn loopback() -> Result<Cidr, Failure> {
    Cidr::new(Ipv4Addr::LOCALHOST, 8)
        .ok_or_else(|| Failure::new(code::SOFTWARE, "127.0.0.0/8 is no network"))
}

/// Writes inventory and token into a folder that only this user can read.
fn write_files(
    folder: &std::path::Path,
    standins: &[(&'static str, Standin)],
    secret: &str,
) -> Result<(PathBuf, PathBuf), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let node = Node::new("demo-node").map_err(|error| named(&error))?;
    let host = Host::new("this-machine").map_err(|error| named(&error))?;
    let mut targets = Vec::new();
    for (account, standin) in standins {
        targets.push(AccountTarget {
            account: Account::new(*account).map_err(|error| named(&error))?,
            tenant: Some(Tenant::new(*account).map_err(|error| named(&error))?),
            instance: Instance::new(format!("kura-{account}")).map_err(|error| named(&error))?,
            kind: TargetKind::Nodeport,
            node: node.clone(),
            address: Ipv4Addr::LOCALHOST,
            port: standin.address().port(),
            excuse: None,
            metrics: None,
            egress_cap: None,
        });
    }
    let inventory = InventoryFile {
        pn_cidr: loopback()?,
        nodes: vec![NodeTarget {
            name: node,
            address: Ipv4Addr::LOCALHOST,
            ready: None,
        }],
        vantages: vec![ExpectedVantage {
            vantage: Vantage::Host(host),
            address: None,
        }],
        targets,
    };
    let written = || -> std::io::Result<(PathBuf, PathBuf)> {
        std::fs::DirBuilder::new().mode(0o700).create(folder)?;
        let (list, token) = (folder.join("inventory.yaml"), folder.join("token"));
        // JSON is YAML (YAML 1.2 §1.3).
        std::fs::write(&list, serde_json::to_vec_pretty(&inventory)?)?;
        std::fs::write(&token, secret)?;
        Ok((list, token))
    };
    written().map_err(|error| {
        let folder = folder.display();
        failed(
            &format!("cannot write into {folder} (set TMPDIR to a folder that can be)"),
            &error,
        )
    })
}
