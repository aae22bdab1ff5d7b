//! `pnwatch-bench footprint`: what watching costs, in CPU and memory of the whole process.
//!
//! Stand-ins for the targets listen in this process, so that their work is not counted; `pnwatch
//! serve` and `pnwatch probe` run as they ship, each a process of its own, on loopback. The
//! stand-ins' own counters prove that the checks were really made.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use pnwatch_standin::{Standin, StandinConfig};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::process::{Look, look};

/// Caches, logs and connections settle before anything is counted.
const WARM_UP: Duration = Duration::from_secs(8);
/// Checks that may be missing at the edges of the window.
const LEAST_SHARE: f64 = 0.95;

/// CPU and memory of prober and exporter with many targets on loopback
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command to measure
    #[arg(long, value_name = "PATH", default_value = "target/release/pnwatch")]
    pnwatch: PathBuf,
    /// Account targets, each checked once a second over TCP and HTTP
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=2000))]
    targets: u16,
    /// How long to count
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    lasting: Duration,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// A child that ends with the measurement.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It keeps nothing that would have to be written.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    fn start(pnwatch: &Path, command: &str, config: &Path) -> anyhow::Result<Self> {
        let child = Command::new(pnwatch)
            .args([command, "--config"])
            .arg(config)
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {}; build it with `cargo build --release`, or name it by --pnwatch",
                    pnwatch.display()
                )
            })?;
        Ok(Self(child))
    }
}

/// Measures and tells.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.lasting >= Duration::from_secs(5),
        "--for must be at least 5s: the kernel counts CPU in hundredths of a second"
    );
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(measure(args))
}

async fn measure(args: &Args) -> anyhow::Result<()> {
    let mut standins = Vec::new();
    for n in 0..args.targets {
        standins.push(Standin::start(StandinConfig::loopback(&format!("account-{n}"))).await?);
    }
    let folder = tempfile::tempdir()?;
    let [serve, probe] = write_files(folder.path(), &standins)?;
    let exporter = Daemon::start(&args.pnwatch, "serve", &serve)?;
    let prober = Daemon::start(&args.pnwatch, "probe", &probe)?;
    let began = Instant::now();
    while checks(&standins) == 0 {
        if began.elapsed() > Duration::from_secs(30) {
            bail!("no check came within 30 s; the daemons' own lines above say why");
        }
        sleep(Duration::from_millis(100)).await;
    }
    sleep(WARM_UP).await;

    let (counted, at) = (checks(&standins), Instant::now());
    let before = [look(prober.0.id())?, look(exporter.0.id())?];
    sleep(args.lasting).await;
    let window = at.elapsed();
    let after = [look(prober.0.id())?, look(exporter.0.id())?];
    let made = checks(&standins) - counted;
    let due = f64::from(args.targets) * window.as_secs_f64();
    ensure!(
        made as f64 >= due * LEAST_SHARE,
        "only {made} of {due:.0} checks were made: this machine is too busy to measure on"
    );

    let [prober, exporter] = [0, 1].map(|n| cost(before[n], after[n], window));
    let spent = after[0].cpu.saturating_sub(before[0].cpu);
    let told = json!({
        "targets": args.targets,
        "seconds": window.as_secs_f64(),
        "checks": made,
        "prober": prober,
        "prober_cpu_us_per_check": spent.as_micros() as f64 / made as f64,
        "exporter": exporter,
    });
    if args.json {
        println!("{told}");
    } else {
        tell(&told);
    }
    Ok(())
}

fn cost(before: Look, after: Look, window: Duration) -> Value {
    let cpu = after.cpu.saturating_sub(before.cpu);
    json!({
        "cpu_percent": 100.0 * cpu.as_secs_f64() / window.as_secs_f64(),
        "resident_mib": after.resident_kb as f64 / 1024.0,
        "peak_mib": after.peak_kb as f64 / 1024.0,
        "threads": after.threads,
    })
}

fn tell(told: &Value) {
    println!(
        "{} targets for {:.0} s: {} checks (TCP connect and GET /up each)",
        told["targets"],
        told["seconds"].as_f64().unwrap_or_default(),
        told["checks"]
    );
    for who in ["prober", "exporter"] {
        let figure = |name: &str| told[who][name].as_f64().unwrap_or_default();
        println!(
            "{who:<9} {:5.2} % of one CPU  {:5.1} MiB resident  {:5.1} MiB at most  {} threads",
            figure("cpu_percent"),
            figure("resident_mib"),
            figure("peak_mib"),
            told[who]["threads"]
        );
    }
    println!(
        "prober    {:.0} µs of CPU per check",
        told["prober_cpu_us_per_check"].as_f64().unwrap_or_default()
    );
}

/// Answers of `/up` in all.
fn checks(standins: &[Standin]) -> u64 {
    let requests = standins.iter().flat_map(Standin::requests);
    requests
        .filter(|(route, _)| route.route == "/up")
        .map(|(_, count)| count)
        .sum()
}

/// Configurations of exporter and prober, and an inventory of the stand-ins. JSON is YAML
/// (YAML 1.2 §1.3).
fn write_files(folder: &Path, standins: &[Standin]) -> anyhow::Result<[PathBuf; 2]> {
    let targets: Vec<Value> = standins
        .iter()
        .enumerate()
        .map(|(n, standin)| {
            json!({
                "account": format!("account-{n}"), "tenant": format!("account-{n}"),
                "instance": format!("kura-{n}"), "node": "bench-node",
                "address": "127.0.0.1", "port": standin.address().port(),
            })
        })
        .collect();
    let inventory = json!({
        "pn_cidr": "127.0.0.0/8",
        "nodes": [{ "name": "bench-node", "address": "127.0.0.1" }],
        "vantages": [{ "vantage": "host/bench" }],
        "targets": targets,
    });
    let [inventory_file, token] = ["inventory.yaml", "token"].map(|name| folder.join(name));
    // Freed at once: the daemons take them. A thief in between fails the run, loudly.
    let ports: Vec<u16> = (0..4)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<Vec<_>, _>>()?
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<std::io::Result<_>>()?;
    let at = |n: usize| format!("127.0.0.1:{}", ports[n]);
    let exporters = json!([{ "url": format!("http://{}", at(0)), "token_file": token }]);
    let probe = json!({
        "cluster": "bench",
        "log": { "level": "warn" },
        "probe": {
            "vantage": "host/bench", "interface": "lo", "pn_cidr": "127.0.0.0/8",
            "exporters": exporters, "listen": at(3),
        },
    });
    let serve = json!({
        "cluster": "bench",
        "log": { "level": "warn" },
        "serve": {
            "listen": { "ingest": at(0), "page": at(1), "metrics": at(2) },
            "inventory": { "file": inventory_file },
            "tokens": [{ "vantage": "host/bench", "file": token }],
        },
    });
    let configs = ["serve.yaml", "probe.yaml"].map(|name| folder.join(name));
    std::fs::write(&inventory_file, inventory.to_string())?;
    std::fs::write(&token, format!("bench-{}", std::process::id()))?;
    std::fs::write(&configs[0], serve.to_string())?;
    std::fs::write(&configs[1], probe.to_string())?;
    Ok(configs)
}
