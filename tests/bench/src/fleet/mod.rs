//! `pnwatch-bench fleet`: one exporter and a fleet of vantages that report to it.
//!
//! `pnwatch serve` runs as it ships, a process of its own with its ledger on disk. The vantages
//! are made up in this process, their reports are real: the prober's own transport, one
//! connection each for reports and one for its plan. Measured: CPU and memory of the exporter,
//! series, the time of a whole scrape, and the time from handing a report over to having the
//! answer, which the exporter gives after it has judged.
//!
//! `--case` chooses: one size (`steady`), the growth with vantages, accounts and findings
//! (`growth`), what leaves (`leave`), 50,000 targets (`targets`), 10,000 findings (`findings`).

mod cases;
mod plot;
mod site;
mod vantages;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, sleep};

use self::site::{Site, Size};
use self::vantages::{Checked, Fleet};
use crate::process::{Look, look};

/// Connections, plans and caches settle before anything is counted.
const WARM_UP: Duration = Duration::from_secs(10);
/// Reports that may be missing at the edges of the window.
const LEAST_SHARE: f64 = 0.9;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Case {
    /// One size
    Steady,
    /// Cost against vantages, accounts and findings
    Growth,
    /// Accounts and vantages that go, and what stays of them
    Leave,
    /// 50,000 targets in a plan
    Targets,
    /// 10,000 findings at once
    Findings,
    /// All of it
    All,
}

/// One exporter and a fleet of vantages that report to it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command to measure
    #[arg(long, value_name = "PATH", default_value = "target/release/pnwatch")]
    pnwatch: PathBuf,
    /// What is measured
    #[arg(long, value_enum, default_value = "steady")]
    case: Case,
    /// Vantages, each a report a second
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=500))]
    vantages: u16,
    /// Accounts, each one target
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=2000))]
    accounts: u16,
    /// How long to count, per size
    #[arg(long = "for", value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    lasting: Duration,
    /// Between two scrapes of /metrics
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    scrape: Duration,
    /// Where to write the growth as a picture (SVG)
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Measures and tells: progress on stderr, a table, and one JSON object as the last line.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.lasting >= Duration::from_secs(5),
        "--for must be at least 5s: the kernel counts CPU in hundredths of a second"
    );
    let told = tokio::runtime::Runtime::new()?.block_on(measure(args))?;
    println!("{told}");
    Ok(())
}

async fn measure(args: &Args) -> anyhow::Result<Value> {
    let wanted = |case| args.case == case || args.case == Case::All;
    let mut told = serde_json::Map::new();
    let size = Size::new(usize::from(args.vantages), usize::from(args.accounts));
    if wanted(Case::Steady) {
        let point = steady(args, size).await?;
        table(std::slice::from_ref(&point));
        told.insert("steady".into(), point);
    }
    if wanted(Case::Growth) {
        let growth = cases::growth(args).await?;
        if let Some(file) = &args.plot {
            std::fs::write(file, plot::growth(&growth))?;
            eprintln!("growth drawn: {}", file.display());
        }
        told.insert("growth".into(), growth);
    }
    if wanted(Case::Leave) {
        told.insert("leave".into(), cases::leave(args).await?);
    }
    if wanted(Case::Targets) {
        told.insert("targets".into(), cases::targets(args).await?);
    }
    if wanted(Case::Findings) {
        told.insert(
            "findings".into(),
            cases::findings(args, 20_000, 10_000).await?,
        );
    }
    Ok(Value::Object(told))
}

/// One size: a new exporter, all vantages, a window.
async fn steady(args: &Args, size: Size) -> anyhow::Result<Value> {
    eprintln!(
        "{} vantages x {} accounts: starting …",
        size.vantages, size.accounts
    );
    let site = Site::start(&args.pnwatch, size, None).await?;
    let checked = Arc::new(Checked::of(&site));
    let names: Vec<String> = (0..size.vantages).map(site::vantage).collect();
    let fleet = Fleet::start(&site, &names, &checked)?;
    sleep(WARM_UP).await;
    let window = window(args, &site, &fleet).await?;
    let mut told = window.told();
    told["vantages"] = size.vantages.into();
    told["accounts"] = size.accounts.into();
    told["paths"] = (size.vantages * checked.paths()).into();
    told["plans"] = fleet.shared.plans.load(Ordering::Relaxed).into();
    eprintln!("  {told}");
    let due = size.vantages as f64 * window.lasted.as_secs_f64();
    ensure!(
        window.reports as f64 >= due * LEAST_SHARE,
        "only {} of {due:.0} reports were taken ({} refused): this machine is too busy, or the exporter too slow",
        window.reports,
        fleet.shared.refused.load(Ordering::Relaxed)
    );
    fleet.vanish().await;
    Ok(told)
}

/// What was seen in a window of time.
struct Window {
    lasted: Duration,
    reports: u64,
    cpu: Duration,
    after: Look,
    scrapes: Vec<Duration>,
    series: usize,
    bytes: usize,
    judged: Vec<Duration>,
}

/// Scrapes while the fleet reports.
async fn window(args: &Args, site: &Site, fleet: &Fleet) -> anyhow::Result<Window> {
    fleet.shared.take_judged();
    let before = look(site.id()?)?;
    let (reports, began) = (
        fleet.shared.accepted.load(Ordering::Relaxed),
        Instant::now(),
    );
    let mut scrapes = Vec::new();
    let (mut series, mut bytes) = (0, 0);
    let mut ticks = tokio::time::interval(args.scrape);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while began.elapsed() < args.lasting {
        ticks.tick().await;
        let (text, took) = site.scrape().await?;
        scrapes.push(took);
        series = text.lines().filter(|l| !l.starts_with('#')).count();
        bytes = text.len();
    }
    let after = look(site.id()?)?;
    let lasted = began.elapsed();
    let mut judged = fleet.shared.take_judged();
    judged.sort_unstable();
    scrapes.sort_unstable();
    Ok(Window {
        lasted,
        reports: fleet.shared.accepted.load(Ordering::Relaxed) - reports,
        cpu: after.cpu.saturating_sub(before.cpu),
        after,
        scrapes,
        series,
        bytes,
        judged,
    })
}

impl Window {
    fn told(&self) -> Value {
        json!({
            "seconds": self.lasted.as_secs_f64(),
            "reports": self.reports,
            "cores": self.cpu.as_secs_f64() / self.lasted.as_secs_f64(),
            "cpu_us_per_report": self.cpu.as_micros() as f64 / self.reports.max(1) as f64,
            "resident_mib": self.after.resident_kb as f64 / 1024.0,
            "peak_mib": self.after.peak_kb as f64 / 1024.0,
            "series": self.series,
            "metrics_bytes": self.bytes,
            "metrics_ms": { "median": ms(&self.scrapes, 0.5), "worst": ms(&self.scrapes, 1.0) },
            "judged_ms": {
                "p50": ms(&self.judged, 0.5), "p99": ms(&self.judged, 0.99),
                "worst": ms(&self.judged, 1.0),
            },
        })
    }
}

/// A quantile of sorted times, in milliseconds.
fn ms(sorted: &[Duration], quantile: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * quantile).round() as usize;
    sorted.get(at).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3)
}

fn table(points: &[Value]) {
    println!("vantages  accounts  open   cores  MiB   series  /metrics ms  judged p50/p99 ms");
    for p in points {
        let f = |v: &Value| v.as_f64().unwrap_or(f64::NAN);
        println!(
            "{:>8}  {:>8}  {:>5}  {:>5.2}  {:>4.0}  {:>6}  {:>5.0} {:>5.0}  {:>6.1} / {:.1}",
            p["vantages"],
            p["accounts"],
            p["open"].as_u64().unwrap_or(0),
            f(&p["cores"]),
            f(&p["resident_mib"]),
            p["series"],
            f(&p["metrics_ms"]["median"]),
            f(&p["metrics_ms"]["worst"]),
            f(&p["judged_ms"]["p50"]),
            f(&p["judged_ms"]["p99"]),
        );
    }
}
