//! The agent: plan → schedule → checks → evidence → reports.
//!
//! Runs on every vantage, has no Kubernetes rights, pushes everything outward to every exporter
//! named, and goes on with its last plan when none answers. One loop owns all state
//! ([`agent`]); what touches sockets sits behind the engine seam ([`engine`]).

pub mod agent;
pub mod checklist;
pub mod counters;
pub mod devices;
pub mod engine;
pub mod evidence;
pub mod exporters;
#[cfg(all(feature = "fuzzing", target_os = "linux"))]
pub mod fuzzing;
pub mod handed;
pub mod link;
pub mod listener;
pub mod mac;
pub mod once;
pub mod os;
pub mod outbox;
pub mod plans;
pub mod preflight;
pub mod relay;
pub mod rounds;
#[cfg(test)]
mod samples;
pub mod settings;
pub mod spool;
pub mod transport;
mod unprivileged;
pub mod vm;
pub mod witness;

use std::sync::Arc;

use pnwatch_core::link::FilterFacts;
use pnwatch_core::name::{Cluster, Vantage};
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::Probe;
use pnwatch_edge::http::ClientError;
use pnwatch_edge::listen::{self, ListenError};
use pnwatch_edge::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};

use agent::{Agent, Ears};
use engine::{Limits, Sockets};
use link::Leg;
use listener::Status;
use plans::PlanFileError;
use relay::RelayState;
use relay::evidence::VmNews;
use relay::host::Relay;
use rounds::Rounds;
use settings::{Settings, fresh_boot_id};
use transport::{HttpTransport, Transport};

/// Who is asking, in every HTTP check.
pub const USER_AGENT: &str = concat!("pnwatch/", env!("CARGO_PKG_VERSION"), " (+prober)");

/// Why the prober cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The client of an exporter cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The page's address cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The plan file cannot be used.
    #[error(transparent)]
    PlanFile(#[from] PlanFileError),
    /// The kernel refused something basic.
    #[error("the prober cannot run: {0}")]
    System(#[from] std::io::Error),
}

impl RunError {
    /// The exit code (sysexits.h).
    pub fn exit_code(&self) -> u8 {
        match self {
            // What a client or a plan needs is named in the configuration.
            Self::Client(_) | Self::PlanFile(_) => 78,
            Self::Listen(error) => error.exit_code(),
            Self::System(_) => 71,
        }
    }
}

/// Probes by the configuration until the shutdown.
pub async fn run(
    cluster: &Cluster,
    probe: &Probe,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let settings = Settings::new(cluster, probe, fresh_boot_id()?);
    let mut transports: Vec<Arc<dyn Transport>> = Vec::new();
    for endpoint in &probe.exporters {
        transports.push(Arc::new(HttpTransport::new(endpoint)?));
    }
    run_with(settings, transports, clock, shutdown).await
}

/// Probes with ways to exporters of the caller's own: what an embedded prober and tests use.
pub async fn run_with(
    settings: Settings,
    transports: Vec<Arc<dyn Transport>>,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let settings = Arc::new(settings);
    let limits = Limits::of_process();
    let engine = Sockets::new(&settings.vantage, clock.clone(), limits)?;
    let rounds = Rounds::new(
        engine,
        &settings.vantage,
        limits,
        settings.control.clone(),
        USER_AGENT.to_owned(),
    );
    let status = Status::default();
    let mut tasks = tokio::task::JoinSet::new();
    if let Some(address) = settings.listen {
        let socket = listen::bind("probe.listen", address).await?;
        let router = listener::router(status.clone(), clock.clone());
        tasks.spawn(listen::serve(socket, router, shutdown.clone()));
    }
    let fallback = match (&settings.plan_file, &settings.state_dir) {
        (Some(path), _) => Some(plans::from_file(
            path,
            &settings.cluster,
            &settings.vantage,
            settings.pace,
        )?),
        (None, Some(dir)) => plans::restore(dir, &settings.cluster, &settings.vantage),
        (None, None) => None,
    };
    let (leg_tell, leg) = watch::channel(None);
    let (mut agent, target) =
        Agent::new(settings.clone(), clock.clone(), rounds, transports, status);
    agent.set_fallback(fallback);
    let vms = open_relay(&settings, &clock, &agent, leg.clone(), &mut tasks);
    tasks.spawn(os::follow(
        settings.interface.clone(),
        settings.pn_cidr,
        target,
        clock.clone(),
        leg_tell,
    ));
    let (witness_tell, witness) = watch::channel(None);
    // A VM sees its host's translation only, and holds no privilege.
    if !matches!(settings.vantage, Vantage::Vm(..)) {
        tasks.spawn(os::follow_witness(leg.clone(), clock.clone(), witness_tell));
    }
    let (devices_tell, devices) = watch::channel(Vec::new());
    tasks.spawn(devices::follow(
        settings.interface.clone(),
        settings.devices.clone(),
        clock,
        devices_tell,
    ));
    let ears = Ears {
        leg,
        devices,
        witness,
        vms: vms.news,
        relay: vms.state,
        filter: vms.filter,
    };
    agent.run(ears, shutdown).await?;
    Ok(())
}

/// What comes from the relay, if there is one.
struct FromRelay {
    news: mpsc::Receiver<VmNews>,
    state: watch::Receiver<Option<RelayState>>,
    filter: watch::Receiver<Option<FilterFacts>>,
}

/// Opens the relay and the reading of the packet filter, where the configuration asks for it.
fn open_relay<E: engine::Engine>(
    settings: &Settings,
    clock: &SharedClock,
    agent: &Agent<E>,
    leg: watch::Receiver<Option<Leg>>,
    tasks: &mut tokio::task::JoinSet<()>,
) -> FromRelay {
    let (news_tell, news) = mpsc::channel(64);
    let (state_tell, state) = watch::channel(None);
    let (filter_tell, filter) = watch::channel(None);
    if let Some(relay) = settings.relay.clone() {
        let weighed = if let Some(table) = relay.filter_table.clone() {
            let table = relay::nft::Table {
                table,
                vms: relay.vms,
                device: settings.interface.clone(),
            };
            tasks.spawn(relay::nft::follow(table, filter_tell));
            filter.clone()
        } else {
            // On macOS the filter is read with the link, and reported with it.
            let (tell, weighed) = watch::channel(None);
            tasks.spawn(filter_of(leg, tell));
            weighed
        };
        let ears = relay::host::Ears {
            targets: agent.watch_targets(),
            filter: weighed,
        };
        let mouth = relay::host::Mouth {
            news: news_tell,
            state: state_tell,
        };
        tasks.spawn(Relay::new(relay, clock.clone(), ears, mouth).run());
    }
    FromRelay {
        news,
        state,
        filter,
    }
}

/// Passes on what the link's reader says of the packet filter.
async fn filter_of(
    mut leg: watch::Receiver<Option<Leg>>,
    tell: watch::Sender<Option<FilterFacts>>,
) {
    while leg.changed().await.is_ok() {
        let filter = leg
            .borrow_and_update()
            .as_ref()
            .and_then(|leg| leg.facts.filter.clone());
        tell.send_if_modified(|told| {
            let is_news = *told != filter;
            *told = filter;
            is_news
        });
    }
}

/// Probes on a thread and runtime of its own, so that a busy exporter in the same process never
/// makes it late. Ends with the shutdown; join the handle to see how.
pub fn embedded(
    cluster: Cluster,
    probe: Probe,
    clock: SharedClock,
    shutdown: Shutdown,
) -> std::io::Result<std::thread::JoinHandle<Result<(), RunError>>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("prober".to_owned())
        .spawn(move || runtime.block_on(run(&cluster, &probe, clock, shutdown)))
}
