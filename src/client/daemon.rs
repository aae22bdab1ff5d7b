//! `pnwatch probe` and `pnwatch serve`: configuration, logging, signals, and the daemon.
//!
//! An embedded prober runs on a thread and a runtime of its own, so that a busy exporter cannot
//! starve its checks. Whichever of the two ends takes the other with it.

use std::error::Error;
use std::path::Path;

use pnwatch_edge::clock::{SharedClock, SystemClock};
use pnwatch_edge::config::{self, Config};
use pnwatch_edge::log;
use pnwatch_edge::shutdown::{self, Shutdown};

#[cfg(feature = "exporter")]
use pnwatch_exporter::Reread;

use super::failure::{Failure, code};

/// Runs the prober until it is told to stop.
#[cfg(feature = "prober")]
pub(super) fn probe(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    if let Some(vm) = config.vm {
        return vm_agent(&vm);
    }
    if config.probe.is_none() {
        return Err(missing(path, "probe"));
    }
    prober_runtime()?.block_on(async {
        let shutdown = signals()?;
        outlive_hangups()?;
        run_prober(config, SystemClock::shared(), shutdown).await
    })
}

/// Says how ready this machine is to be the vantage that the file names.
#[cfg(feature = "prober")]
pub(super) fn preflight(
    path: &Path,
    print: impl Fn(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    use pnwatch_prober::preflight::{self, Standing};

    let config = config::load(path).map_err(|error| Failure::from_config(&error))?;
    let Some(probe) = &config.config.probe else {
        return Err(missing(path, "probe"));
    };
    let clock = SystemClock::shared();
    let items = prober_runtime()?.block_on(preflight::run(probe, clock));
    for item in &items {
        let word = item.standing.word();
        print(&format!("{word}  {:<8}  {}\n", item.what, item.said))?;
    }
    let bad = items.iter().filter(|item| item.standing == Standing::Bad);
    match bad.count() {
        0 => Ok(()),
        count => Err(Failure::new(
            code::UNAVAILABLE,
            format!("{count} of {} checks failed", items.len()),
        )),
    }
}

/// Runs the agent of a runner VM until it is told to stop.
#[cfg(feature = "prober")]
fn vm_agent(vm: &config::Vm) -> Result<(), Failure> {
    single()?.block_on(async {
        let shutdown = signals()?;
        outlive_hangups()?;
        pnwatch_prober::vm::run(vm, SystemClock::shared(), shutdown)
            .await
            .map_err(|error| Failure::from_error(code::UNAVAILABLE, &error))
    })
}

/// Reads what VMs send until the prober that started it goes.
#[cfg(feature = "prober")]
pub(super) fn relay_parser(vms: pnwatch_core::link::Cidr) -> Result<(), Failure> {
    single()?
        .block_on(pnwatch_prober::relay::parser::run(
            vms,
            SystemClock::shared(),
        ))
        .map_err(|error| Failure::from_error(code::USAGE, &error))
}

/// Reads one question's outputs of macOS' commands.
#[cfg(feature = "prober")]
pub(super) fn read_outputs() -> Result<(), Failure> {
    pnwatch_prober::mac::apart::run().map_err(|error| Failure::from_error(code::USAGE, &error))
}

/// A runtime without a thread of its own.
#[cfg(feature = "prober")]
fn single() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| unavailable("the async runtime did not start", &error))
}

/// Runs the exporter, and a prober beside it if the file has one, until told to stop.
#[cfg(feature = "exporter")]
pub(super) fn serve(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    if config.serve.is_none() {
        return Err(missing(path, "serve"));
    }
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    runtime(threads.max(2))?.block_on(async {
        let shutdown = signals()?;
        let clock = SystemClock::shared();
        if config.probe.is_some() {
            both(config, reread(path), clock, shutdown).await
        } else {
            run_exporter(config, reread(path), clock, shutdown).await
        }
    })
}

/// Reads the file again, for SIGHUP.
#[cfg(feature = "exporter")]
fn reread(path: &Path) -> Reread {
    let path = path.to_owned();
    std::sync::Arc::new(move || {
        config::load(&path)
            .map(|loaded| loaded.config)
            .map_err(|error| error.to_string())
    })
}

#[cfg(feature = "prober")]
async fn run_prober(config: Config, clock: SharedClock, shutdown: Shutdown) -> Result<(), Failure> {
    let Some(probe) = &config.probe else {
        return Ok(());
    };
    pnwatch_prober::run(&config.cluster, probe, clock, shutdown)
        .await
        .map_err(|error| Failure::from_error(error.exit_code(), &error))
}

#[cfg(feature = "exporter")]
async fn run_exporter(
    config: Config,
    reread: Reread,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), Failure> {
    // Boxed: the future of a whole exporter is large, and lives once.
    Box::pin(pnwatch_exporter::run(config, reread, clock, shutdown))
        .await
        .map_err(|error| Failure::from_error(error.exit_code(), &error))
}

/// How long the embedded prober may take to say goodbye.
#[cfg(all(feature = "exporter", feature = "prober"))]
const GOODBYE: std::time::Duration = std::time::Duration::from_secs(3);

#[cfg(all(feature = "exporter", feature = "prober"))]
async fn both(
    config: Config,
    reread: Reread,
    clock: SharedClock,
    asked: Shutdown,
) -> Result<(), Failure> {
    let (stop_prober, prober_told) = Shutdown::manual();
    let (stop_exporter, exporter_told) = Shutdown::manual();
    let (told, ended) = tokio::sync::oneshot::channel();
    let prober = {
        let (config, clock, shutdown) = (config.clone(), clock.clone(), prober_told);
        let prober = move || {
            let result = prober_runtime()
                .and_then(|runtime| runtime.block_on(run_prober(config, clock, shutdown)));
            // The exporter may have ended first and stopped listening.
            let _ = told.send(result);
        };
        std::thread::Builder::new()
            .name("prober".to_owned())
            .spawn(prober)
            .map_err(|error| unavailable("the prober's thread did not start", &error))?
    };
    let exporter = run_exporter(config, reread, clock, exporter_told);
    tokio::pin!(exporter);
    tokio::pin!(ended);
    let (mut served, mut probed) = (None, None);
    tokio::select! {
        () = asked.requested() => {}
        result = &mut exporter => served = Some(result),
        result = &mut ended => probed = Some(result),
    }
    stop_prober.request();
    // The prober's last report goes through the exporter's ingest: the exporter stops after it.
    if served.is_none() && probed.is_none() {
        tokio::select! {
            result = &mut exporter => served = Some(result),
            result = &mut ended => probed = Some(result),
            () = tokio::time::sleep(GOODBYE) => {}
        }
    }
    stop_exporter.request();
    let served = match served {
        Some(result) => result,
        None => exporter.await,
    };
    let probed = match probed {
        Some(result) => result,
        None => ended.await,
    };
    let _ = prober.join();
    served.and(probed.unwrap_or_else(|_| {
        Err(Failure::new(
            code::SOFTWARE,
            "the embedded prober ended without a word",
        ))
    }))
}

#[cfg(all(feature = "exporter", not(feature = "prober")))]
async fn both(
    config: Config,
    reread: Reread,
    clock: SharedClock,
    asked: Shutdown,
) -> Result<(), Failure> {
    tracing::warn!("this build has no prober: the section `probe` is ignored");
    run_exporter(config, reread, clock, asked).await
}

fn load(path: &Path) -> Result<Config, Failure> {
    let loaded = config::load(path).map_err(|error| Failure::from_config(&error))?;
    log::init(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!(
            file = %warning.file.display(),
            line = warning.line,
            key = warning.path,
            "{}",
            warning.message
        );
    }
    Ok(loaded.config)
}

fn missing(path: &Path, section: &str) -> Failure {
    Failure::new(
        code::CONFIG,
        format!(
            "{}: {section}: required by `pnwatch {section}`, but missing; `pnwatch check --print-default` shows it",
            path.display()
        ),
    )
}

/// Few and small tasks: on one thread an answer wakes who reads it, and nobody else.
#[cfg(feature = "prober")]
fn prober_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| unavailable("the async runtime did not start", &error))
}

#[cfg(feature = "exporter")]
pub(super) fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| unavailable("the async runtime did not start", &error))
}

pub(super) fn signals() -> Result<Shutdown, Failure> {
    shutdown::on_signals().map_err(|error| unavailable("cannot listen for signals", &error))
}

/// The exporter takes SIGHUP as a wish to read its files again; the prober has none to read,
/// and must not end by it either.
#[cfg(feature = "prober")]
fn outlive_hangups() -> Result<(), Failure> {
    let mut reloads = shutdown::Reloads::on_signals()
        .map_err(|error| unavailable("cannot listen for signals", &error))?;
    tokio::spawn(async move {
        loop {
            reloads.next().await;
            tracing::warn!(
                "SIGHUP changes nothing: settings are read at the start (restart to change them), token files are followed without a signal"
            );
        }
    });
    Ok(())
}

fn unavailable(what: &str, error: &dyn Error) -> Failure {
    Failure::new(
        code::UNAVAILABLE,
        format!("{what}: {error}; check the limits of processes and open files"),
    )
}
